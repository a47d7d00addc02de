//! The hop that fails: what the servers said, or what the endpoints did.

use std::time::Duration;

use super::super::text::{clean, listed};
use super::{MOST_LISTED, short_host};
use crate::model::snapshot::{AnswerView, DomainHost, EndpointView};
use crate::model::{Check, Finding, Host, Name, Path, Probe, Record, Snapshot, Subject};

/// The servers, hosts or endpoints that led to a finding, a row each.
#[derive(Debug, Default)]
pub(in crate::report) struct Hops {
    /// One for each column.
    pub headers: &'static [&'static str],
    /// What was seen; columns may be empty throughout.
    pub rows: Vec<Vec<String>>,
}

/// What led to the finding.
pub(in crate::report) fn hops(snapshot: &Snapshot, finding: &Finding) -> Hops {
    match &finding.subject {
        Subject::Domain(domain) if is_about_hosts(finding.check) => hosts(snapshot, domain),
        Subject::Domain(domain) | Subject::Record { domain, .. } => {
            answers(snapshot, domain, finding.resolver.as_deref())
        }
        Subject::Host(host) => endpoints(snapshot, host),
        Subject::Server(_) | Subject::Profile(_) => Hops::default(),
    }
}

fn is_about_hosts(check: Check) -> bool {
    matches!(
        check,
        Check::AllHostsDown | Check::TierDown | Check::RedundancyLost | Check::RedundancyNone
    )
}

fn answers(snapshot: &Snapshot, domain: &Name, resolver: Option<&str>) -> Hops {
    let Some(entry) = snapshot.domain(domain) else { return Hops::default() };
    let views = entry.view.answers.iter();
    let wanted = views.filter(|view| resolver.is_none_or(|name| *view.resolver.name == *name));
    Hops {
        headers: &["Server", "Resolver", "Outcome", "Time", "Answer"],
        rows: wanted.map(answer_row).collect(),
    }
}

fn answer_row(view: &AnswerView) -> Vec<String> {
    let answer = &view.answer;
    let records: Vec<String> = answer.records.iter().map(record).collect();
    let said = match &answer.detail {
        Some(detail) => clean(detail).into_owned(),
        None => listed(&records, MOST_LISTED),
    };
    vec![
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

fn hosts(snapshot: &Snapshot, domain: &Name) -> Hops {
    let Some(entry) = snapshot.domain(domain) else { return Hops::default() };
    Hops {
        headers: &["Host", "Status", "Addresses"],
        rows: entry.view.hosts.iter().map(|host| host_row(snapshot, host)).collect(),
    }
}

fn host_row(snapshot: &Snapshot, host: &DomainHost) -> Vec<String> {
    let endpoints = snapshot.host(&host.host).map_or(&[][..], |view| &view.endpoints);
    let seen: Vec<String> = endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint, endpoint.probe.as_deref()?)))
        .map(|(endpoint, probe)| {
            let address = from(&endpoint.address.to_string(), &endpoint.path);
            format!("{address} {}", probe.outcome)
        })
        .collect();
    vec![short_host(&host.host).into_owned(), host.status.to_string(), listed(&seen, MOST_LISTED)]
}

/// What the endpoints of a host did.
pub(in crate::report) fn endpoints(snapshot: &Snapshot, host: &Host) -> Hops {
    let endpoints = snapshot.host(host).map_or(&[][..], |view| &view.endpoints);
    Hops {
        headers: &["Address", "Outcome", "Connected", "Detail"],
        rows: endpoints.iter().map(|endpoint| endpoint_row(endpoint, host)).collect(),
    }
}

fn endpoint_row(endpoint: &EndpointView, host: &Host) -> Vec<String> {
    let address = std::net::SocketAddr::new(endpoint.address, host.port).to_string();
    let address = from(&address, &endpoint.path);
    let Some(probe) = &endpoint.probe else {
        return vec![address, "not probed".to_owned(), String::new(), String::new()];
    };
    let connected = probe.connect.map(short_duration).unwrap_or_default();
    vec![address, probe.outcome.to_string(), connected, circumstances(probe)]
}

/// What else is known of a probe: who rejected it, and why.
pub fn circumstances(probe: &Probe) -> String {
    let detail = probe.detail.as_deref().map(clean).unwrap_or_default();
    match probe.rejected_by {
        Some(by) if detail.is_empty() => format!("rejected by {by}"),
        Some(by) => format!("rejected by {by}: {detail}"),
        None => detail.into_owned(),
    }
}

/// Whom, and from where if not by the default path.
pub fn from(whom: &str, path: &Path) -> String {
    let path = path.to_string();
    if path.is_empty() { whom.to_owned() } else { format!("{whom} from {path}") }
}

/// As a person reads it.
pub fn short_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn an_address_is_told_with_the_path_over_which_it_was_tried() {
        let mut snapshot = fixture::healthy();
        let domain = snapshot.domains[0].view.clone();
        let at = snapshot.hosts.iter().position(|view| view.host == domain.hosts[0].host);
        let view = std::sync::Arc::get_mut(&mut snapshot.hosts[at.expect("seen")])
            .expect("nobody else has it");
        let mut other = view.endpoints[0].clone();
        other.path =
            std::sync::Arc::new(Path { source: "10.0.0.9".parse().ok(), ..Path::default() });
        let address = other.address;
        view.endpoints.push(other);
        let row = &hosts(&snapshot, &domain.domain.name).rows[0];
        assert_eq!(row[2], format!("{address} kms and {address} from 10.0.0.9 kms"));
    }
}
