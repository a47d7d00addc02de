//! `[alert]`: whom the daemon itself tells of findings.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::errors::Log;
use super::file::{Item, Keys, Section};
use super::include::{bytes, unreadable};
use super::plan::FirstPlaces;
use super::refusal::{Refusal, shown};
use crate::model::Severity;
use crate::model::alert::{AlertSettings, ReceiverUrl, SendTo};

/// Reads the table.
pub(super) fn read(root: &Section<'_>, log: &Log) -> AlertSettings {
    let section = root.table("alert", &ALERT);
    let default = AlertSettings::default();
    let kinds = [SendTo::Nobody, SendTo::Alertmanager, SendTo::Webhook];
    let send_to =
        section.get("send_to").map(|item| item.choose(&kinds.map(|kind| (kind.as_str(), kind))));
    // One that is wrong says nothing of what the urls should be.
    let kind = send_to.unwrap_or(Some(default.send_to));
    let severities = [Severity::Warning, Severity::Info, Severity::Critical];
    let severities = severities.map(|severity| (severity.as_str(), severity));
    let after = section.get("after").and_then(|item| item.duration(&AFTER, "\"2m\""));
    let min_severity = section.get("min_severity").and_then(|item| item.choose(&severities));
    let settings = AlertSettings {
        send_to: kind.unwrap_or(default.send_to),
        urls: urls(&section, kind),
        token_file: file(&section, "token_file", "token", is_token),
        ca_file: file(&section, "ca_file", "certificates", are_certificates),
        after: after.unwrap_or(default.after),
        min_severity: min_severity.unwrap_or(default.min_severity),
    };
    warn_of_open_token(&section, &settings, log);
    settings
}

fn urls(section: &Section<'_>, kind: Option<SendTo>) -> Vec<ReceiverUrl> {
    let example = match kind {
        Some(SendTo::Webhook) => "\"https://chat.contoso.com/hook\"",
        _ => "\"http://alertmanager.contoso.com:9093\"",
    };
    let list = format!("[{example}]");
    let item = match kind {
        None | Some(SendTo::Nobody) => section.get("urls"),
        Some(_) => section.require("urls", &list),
    };
    let Some(item) = item else { return Vec::new() };
    let Some(items) = item.array(&list) else { return Vec::new() };
    match kind {
        Some(SendTo::Nobody) if !items.is_empty() => item.refuse(Refusal::new(
            "nobody is sent anything, as send_to is \"none\"",
            "write send_to = \"alertmanager\" or \"webhook\", or urls = []",
        )),
        Some(SendTo::Alertmanager | SendTo::Webhook) if items.is_empty() => {
            item.refuse(Refusal::new("no receiver", format!("write urls = {list}")));
        }
        _ => {}
    }
    let mut seen = FirstPlaces::default();
    let url = |item: &Item<'_>| {
        let url = item.read(example, |text| url(text, kind))?;
        seen.is_new(url.clone(), &url.to_string(), item).then_some(url)
    };
    items.iter().filter_map(url).collect()
}

/// Errors show no more of it than [`ReceiverUrl`] does: the rest may be a secret.
fn url(text: &str, kind: Option<SendTo>) -> Result<ReceiverUrl, Refusal> {
    let bare = text.trim_end_matches('/');
    let url = ReceiverUrl::new(bare);
    let refuse = |problem: &str, advice: &str| {
        Err(Refusal::new(format!("{} {problem}", shown(&url.to_string())), advice))
    };
    let uri: Option<Uri> = text.parse().ok();
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    if !scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme))
        || host.is_empty()
        || text.contains('#')
    {
        return refuse(
            "is no http URL",
            "write one such as \"http://alertmanager.contoso.com:9093\"",
        );
    }
    if uri
        .as_ref()
        .and_then(Uri::authority)
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return refuse("holds an account", "write the URL without it, and token_file");
    }
    if kind == Some(SendTo::Alertmanager) && (bare.contains('?') || bare.contains("/api/v")) {
        return refuse(
            "is more than an Alertmanager's URL",
            "write it without query and /api/v2/alerts, such as \"http://alertmanager.contoso.com:9093\"",
        );
    }
    Ok(url)
}

/// A file that holds what it should; relative to the config that names it. Empty: none.
fn file(section: &Section<'_>, key: &str, what: &str, holds: fn(&[u8]) -> bool) -> Option<PathBuf> {
    let item = section.get(key)?;
    let text = item.string("\"/etc/kmswatch/alert\"").filter(|text| !text.is_empty())?;
    let path = item.source().base.join(text);
    let bytes = item.take(bytes(&path).map_err(|error| unreadable(&path, &error)))?;
    let problem = || {
        let problem = format!("{} holds no {what}", shown(&path.display().to_string()));
        Refusal::new(problem, format!("name a file that holds the {what} alone"))
    };
    item.take(holds(&bytes).then_some(()).ok_or_else(problem))?;
    Some(path)
}

/// One line of plain text.
fn is_token(bytes: &[u8]) -> bool {
    let token = bytes.trim_ascii();
    !token.is_empty() && token.iter().all(u8::is_ascii_graphic)
}

fn are_certificates(bytes: &[u8]) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    certificates.is_ok_and(|found| !found.is_empty())
}

/// A token that travels in clear text is one that others read.
fn warn_of_open_token(section: &Section<'_>, settings: &AlertSettings, log: &Log) {
    let is_local = |url: &ReceiverUrl| {
        let uri: Option<Uri> = url.as_str().parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    let open = settings.urls.iter().find(|url| !url.is_secure() && !is_local(url));
    if let (Some(open), Some(item), true) =
        (open, section.get("token_file"), settings.token_file.is_some())
    {
        let warning = format!("{open} gets the token in clear text; write https");
        log.warn(&item.place(), item.path(), warning);
    }
}

/// What lasts a week is no alert any more.
const AFTER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(7 * 24);

const ALERT: Keys = Keys {
    known: &["send_to", "urls", "token_file", "ca_file", "after", "min_severity"],
    later: &[],
};
