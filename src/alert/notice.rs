//! PURE. What receivers are told of a finding: the alert, made of the finding alone, so that it can be
//! told as resolved when the finding is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::alert::{AlertSettings, SendTo};
use crate::model::{Finding, Plan, Severity, Subject};

/// One alert as receivers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What makes it this alert: nothing else may differ between two messages about it.
    pub labels: BTreeMap<String, String>,
    /// What may change while it fires.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// Since when it does not any more.
    pub ends_at: Option<Timestamp>,
}

impl Alert {
    /// The finding that it tells of.
    pub fn finding(&self) -> &str {
        self.labels.get(FINDING).map_or("", String::as_str)
    }

    /// Where the finding shows; `None` where the config does not say where people reach kmswatch.
    pub fn link(&self) -> Option<&str> {
        self.annotations.get(LINK).map(String::as_str)
    }

    /// Tells it apart from every other alert, as Alertmanager does: FNV-1a over the labels.
    pub fn fingerprint(&self) -> Fingerprint {
        const START: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        let texts = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let hash = texts.fold(START, |hash, text| text.bytes().chain([0xff]).fold(hash, add));
        Fingerprint(hash)
    }
}

/// See [`Alert::fingerprint`]. Shows as Alertmanager shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// When a finding is told, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A finding must be there for so long.
    pub after: Duration,
    /// It must be gone for so long: as long, and two intervals at least.
    pub hold: Duration,
    /// What is less is not told.
    pub min_severity: Severity,
    /// So long after its end an alert is told as resolved.
    pub resolved_for: Duration,
    /// Where this daemon stands.
    pub vantage: Option<Arc<str>>,
    /// Where people reach it; empty where unknown.
    pub external_url: Arc<str>,
}

impl Rules {
    /// What a plan says; `None` where nobody is told.
    pub fn of(plan: &Plan) -> Option<Self> {
        let AlertSettings { send_to, after, min_severity, .. } = plan.alert;
        let resolved_for = match send_to {
            SendTo::Nobody => return None,
            SendTo::Alertmanager => RESOLVED_FOR,
            SendTo::Webhook => RESOLVED_FOR * 12,
        };
        Some(Self {
            after,
            hold: after.max(plan.interval.max(plan.true_interval) * 2),
            min_severity,
            resolved_for,
            vantage: plan.vantage.clone(),
            external_url: plan.web.external_url.as_str().into(),
        })
    }
}

/// Alertmanager may be told again and again that something is over, and so is whoever comes up
/// meanwhile. A webhook is told once; it has an hour, should there be a restart before it listens.
const RESOLVED_FOR: Duration = Duration::from_mins(5);

/// The label that holds the finding's id.
pub(super) const FINDING: &str = "finding";
/// The annotation that leads to the finding.
const LINK: &str = "link";

/// The labels of a finding's alert: identity alone, and the severity, as people route by it. Labels of the
/// config come last and replace nothing.
pub(super) fn labels(
    finding: &Finding,
    severity: Severity,
    rules: &Rules,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            labels.entry(name.to_owned()).or_insert(value);
        }
    };
    add("alertname", finding.check.to_string());
    add(FINDING, finding.id.to_string());
    add("severity", severity.to_string());
    match &finding.subject {
        Subject::Domain(name) => add("domain", name.to_string()),
        Subject::Server(upstream) => {
            add("server", upstream.server.to_string());
            add("path", upstream.path.to_string());
        }
        Subject::Host(host) => {
            add("target", host.target.to_string());
            add("port", host.port.to_string());
        }
        Subject::Record { domain, host } => {
            add("domain", domain.to_string());
            add("target", host.target.to_string());
            add("port", host.port.to_string());
        }
        Subject::Profile(name) => add("profile", name.to_string()),
    }
    add("resolver", finding.resolver.as_deref().unwrap_or_default().to_owned());
    add("vantage", rules.vantage.as_deref().unwrap_or_default().to_owned());
    finding.labels.iter().for_each(|(name, value)| add(name, value.clone()));
    labels
}

/// What people read of a finding that has been there since then, and came back so often.
pub(super) fn annotations(
    finding: &Finding,
    since: Timestamp,
    returns: usize,
    rules: &Rules,
) -> BTreeMap<String, String> {
    let since = finding.since.map_or(since, |known| known.min(since));
    let flaps = match returns {
        0 => String::new(),
        1 => "went and came back once within the last hour".to_owned(),
        _ if returns >= MOST_RETURNS => {
            format!("flaps: went and came back {MOST_RETURNS} times or more within the last hour")
        }
        _ => format!("flaps: went and came back {returns} times within the last hour"),
    };
    let texts = [
        ("summary", plain(&finding.message)),
        ("description", plain(&finding.remedy)),
        ("client_error", finding.client_error.map(|error| error.to_string()).unwrap_or_default()),
        ("domains", domains(finding)),
        ("since", since.round(jiff::Unit::Second).unwrap_or(since).to_string()),
        ("flaps", flaps),
        ("runbook_url", format!("{RUNBOOKS}/{}.md", finding.check)),
        (LINK, link(finding, &rules.external_url)),
    ];
    let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
    told.map(|(name, text)| (name.to_owned(), text)).collect()
}

/// No more returns than this are counted.
pub(super) const MOST_RETURNS: usize = 60;

/// Where the pages of the checks are.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/checks");

/// Those that are hit, as many as a person reads.
fn domains(finding: &Finding) -> String {
    const MOST: usize = 20;
    let mut shown: Vec<&str> =
        finding.domains.iter().take(MOST).map(crate::model::Name::as_str).collect();
    let more = finding.domains.len().saturating_sub(MOST);
    let rest = format!("and {more} more");
    if more > 0 {
        shown.push(&rest);
    }
    shown.join(", ")
}

fn link(finding: &Finding, external_url: &str) -> String {
    if external_url.is_empty() {
        return String::new();
    }
    match &finding.subject {
        Subject::Domain(domain) | Subject::Record { domain, .. } => {
            format!("{external_url}/domains/{}", in_path(domain.as_str()))
        }
        _ => format!("{external_url}/findings?q={}", finding.id),
    }
}

/// A name as a segment of a URL's path: it may hold any byte.
fn in_path(name: &str) -> String {
    let segment = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(segment).collect()
}

/// Without what could move a terminal's cursor, and no longer than a message can be: the network writes
/// parts of it.
fn plain(text: &str) -> String {
    const MOST: usize = 4000;
    let clean = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(MOST).map(clean).collect()
}
