//! The hop that fails: what the servers said, or what the endpoints did.

use std::time::Duration;

use super::super::text::{aligned, clean, listed};
use super::{MOST_LISTED, short_host, verdict};
use crate::model::snapshot::{AnswerView, DomainHost, EndpointView, HostView};
use crate::model::{Check, Finding, Host, Name, Path, Probe, Record, Snapshot, Subject};

/// One line for each server, host or endpoint that led to the finding.
pub(super) fn hops(snapshot: &Snapshot, finding: &Finding) -> Vec<String> {
    match &finding.subject {
        Subject::Domain(domain) if is_about_hosts(finding.check) => hosts(snapshot, domain),
        Subject::Domain(domain) | Subject::Record { domain, .. } => {
            answers(snapshot, domain, finding.resolver.as_deref())
        }
        Subject::Host(host) => endpoints(snapshot, host),
        Subject::Server(_) | Subject::Profile(_) => Vec::new(),
    }
}

fn is_about_hosts(check: Check) -> bool {
    matches!(
        check,
        Check::AllHostsDown | Check::TierDown | Check::RedundancyLost | Check::RedundancyNone
    )
}

fn answers(snapshot: &Snapshot, domain: &Name, resolver: Option<&str>) -> Vec<String> {
    let Some(entry) = verdict::entry(snapshot, domain) else { return Vec::new() };
    let views = entry.view.answers.iter();
    let wanted = views.filter(|view| resolver.is_none_or(|name| *view.resolver.name == *name));
    let rows: Vec<_> = wanted.map(answer_row).collect();
    aligned(&rows)
}

fn answer_row(view: &AnswerView) -> [String; 5] {
    let answer = &view.answer;
    let records: Vec<String> = answer.records.iter().map(record).collect();
    let said = match &answer.detail {
        Some(detail) => clean(detail).into_owned(),
        None => listed(&records, MOST_LISTED),
    };
    [
        from(&view.upstream.server.to_string(), &view.upstream.path),
        view.resolver.name.to_string(),
        answer.outcome.to_string(),
        answer.rtt.map(short_duration).unwrap_or_default(),
        said,
    ]
}

fn record(record: &Record) -> String {
    format!("{} {} {}", short_host(&record.host()), record.priority, record.weight)
}

fn hosts(snapshot: &Snapshot, domain: &Name) -> Vec<String> {
    let Some(entry) = verdict::entry(snapshot, domain) else { return Vec::new() };
    let rows: Vec<_> = entry.view.hosts.iter().map(|host| host_row(snapshot, host)).collect();
    aligned(&rows)
}

fn host_row(snapshot: &Snapshot, host: &DomainHost) -> [String; 3] {
    let endpoints = view(snapshot, &host.host).map_or(&[][..], |view| &view.endpoints);
    let seen: Vec<String> = endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint, endpoint.probe.as_deref()?)))
        .map(|(endpoint, probe)| format!("{} {}", endpoint.address, probe.outcome))
        .collect();
    [short_host(&host.host), host.status.to_string(), listed(&seen, MOST_LISTED)]
}

fn endpoints(snapshot: &Snapshot, host: &Host) -> Vec<String> {
    let endpoints = view(snapshot, host).map_or(&[][..], |view| &view.endpoints);
    let rows: Vec<_> = endpoints.iter().map(|endpoint| endpoint_row(endpoint, host)).collect();
    aligned(&rows)
}

fn endpoint_row(endpoint: &EndpointView, host: &Host) -> [String; 4] {
    let address = std::net::SocketAddr::new(endpoint.address, host.port).to_string();
    let address = from(&address, &endpoint.path);
    let Some(probe) = &endpoint.probe else {
        return [address, "not probed".to_owned(), String::new(), String::new()];
    };
    let connected = probe.connect.map(short_duration).unwrap_or_default();
    [address, probe.outcome.to_string(), connected, circumstances(probe)]
}

fn circumstances(probe: &Probe) -> String {
    let detail = probe.detail.as_deref().map(clean).unwrap_or_default();
    match probe.rejected_by {
        Some(by) if detail.is_empty() => format!("rejected by {by}"),
        Some(by) => format!("rejected by {by}: {detail}"),
        None => detail.into_owned(),
    }
}

fn from(whom: &str, path: &Path) -> String {
    let path = path.to_string();
    if path.is_empty() { whom.to_owned() } else { format!("{whom} from {path}") }
}

fn view<'a>(snapshot: &'a Snapshot, host: &Host) -> Option<&'a HostView> {
    let at = snapshot.hosts.binary_search_by(|view| view.host.cmp(host)).ok()?;
    Some(&snapshot.hosts[at])
}

fn short_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}
