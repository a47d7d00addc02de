//! The JSON report (contract, design section 7): structs that borrow the snapshot and are written as
//! they are walked, so that a large estate is never held twice.

mod profiles;

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use profiles::ProfileJson;

use super::preflight::RunJson;
use crate::model::finding::{ClientError, Evidence, FindingId};
use crate::model::journal::JournalCondition;
use crate::model::snapshot::{
    AnswerView, DomainEntry, DomainHost, DomainView, EndpointView, HostStatus, HostView, LeftOut,
    ProfileEntry, SeenHost, Summary,
};
use crate::model::{
    Finding, FindingState, KmsMode, Labels, LookupOutcome, Name, Path, Preflight, ProbeOutcome,
    Record, Server, Severity, Snapshot, Status, Subject,
};

/// The whole report.
pub fn json(snapshot: &Snapshot) -> impl Serialize {
    report(snapshot)
}

/// The report of a preflight: the same keys, and `preflight` with the steps of each profile. `status`
/// and the counts are those of what counts for its clients.
pub fn json_preflight(preflight: &Preflight) -> impl Serialize {
    let steps = Some(preflight.runs.iter().map(RunJson::from).collect());
    let (status, summary) = (preflight.status(), SummaryJson::from(preflight.summary()));
    Report { status, summary, preflight: steps, ..report(&preflight.snapshot) }
}

fn report(snapshot: &Snapshot) -> Report<'_> {
    Report {
        version: 1,
        vantage: snapshot.vantage.as_deref(),
        started: snapshot.started,
        duration_seconds: seconds(snapshot.duration()),
        status: snapshot.status,
        domains: &snapshot.domains,
        hosts: &snapshot.hosts,
        profiles: &snapshot.profiles,
        findings: &snapshot.findings,
        summary: SummaryJson::from(snapshot.summary),
        preflight: None,
        journal: snapshot.journal.as_ref().map(JournalJson::from),
    }
}

/// The report's `domains` alone: an array.
pub fn json_domains(snapshot: &Snapshot) -> impl Serialize {
    Each::<_, DomainJson>::of(&snapshot.domains)
}

/// One element of the report's `domains`; `None` where no such domain is configured.
pub fn json_domain<'a>(snapshot: &'a Snapshot, name: &Name) -> Option<impl Serialize + use<'a>> {
    snapshot.domain(name).map(DomainJson::from)
}

/// The report's `hosts` alone: an array.
pub fn json_hosts(snapshot: &Snapshot) -> impl Serialize {
    Each::<_, HostJson>::of(&snapshot.hosts)
}

/// The report's `findings` alone: an array, suppressed ones included.
pub fn json_findings(snapshot: &Snapshot) -> impl Serialize {
    Each::<_, FindingJson>::of(&snapshot.findings)
}

/// The report's `profiles` alone: an array.
pub fn json_profiles(snapshot: &Snapshot) -> impl Serialize {
    Each::<_, ProfileJson>::of(&snapshot.profiles)
}

/// A document as text, with a newline at its end.
///
/// # Panics
/// Never for the documents of this module: writing to memory does not fail, and all their keys are
/// strings.
pub fn json_text(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string(document).expect("string keys, written to memory");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Report<'a> {
    version: u8,
    vantage: Option<&'a str>,
    started: Timestamp,
    duration_seconds: f64,
    status: Status,
    #[serde(serialize_with = "each::<_, DomainJson, _>")]
    domains: &'a [DomainEntry],
    #[serde(serialize_with = "each::<_, HostJson, _>")]
    hosts: &'a [std::sync::Arc<HostView>],
    #[serde(serialize_with = "each::<_, ProfileJson, _>")]
    profiles: &'a [ProfileEntry],
    #[serde(serialize_with = "each::<_, FindingJson, _>")]
    findings: &'a [std::sync::Arc<Finding>],
    summary: SummaryJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    preflight: Option<Vec<RunJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalJson<'a>>,
}

/// How the journal is: `durable`, `in-memory` or `degraded`.
#[derive(Serialize)]
struct JournalJson<'a> {
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

impl<'a> From<&'a JournalCondition> for JournalJson<'a> {
    fn from(condition: &'a JournalCondition) -> Self {
        let (reason, lost) = match condition {
            JournalCondition::Degraded { reason, lost } => (Some(&**reason), Some(*lost)),
            JournalCondition::Durable | JournalCondition::InMemory => (None, None),
        };
        Self { condition: condition.as_str(), reason, lost }
    }
}

#[derive(Serialize)]
struct SummaryJson {
    domains: usize,
    hosts: usize,
    endpoints: usize,
    critical: usize,
    warning: usize,
    info: usize,
}

impl From<Summary> for SummaryJson {
    fn from(summary: Summary) -> Self {
        Self {
            domains: summary.domains,
            hosts: summary.hosts,
            endpoints: summary.endpoints,
            critical: summary.critical,
            warning: summary.warning,
            info: summary.info,
        }
    }
}

#[derive(Serialize)]
struct DomainJson<'a> {
    name: &'a Name,
    status: Status,
    kms: KmsMode,
    #[serde(serialize_with = "each::<_, AnswerJson, _>")]
    answers: &'a [AnswerView],
    hosts: Vec<DomainHostJson<'a>>,
    /// Hosts that left lately.
    vanished: Vec<VanishedJson<'a>>,
    left_out: LeftOut,
}

impl<'a> From<&'a DomainEntry> for DomainJson<'a> {
    fn from(entry: &'a DomainEntry) -> Self {
        let view = &*entry.view;
        Self {
            name: &entry.view.domain.name,
            status: entry.status,
            kms: entry.view.domain.kms,
            answers: &entry.view.answers,
            hosts: view.hosts.iter().map(|host| DomainHostJson::of(host, view)).collect(),
            vanished: view.vanished().map(VanishedJson::from).collect(),
            left_out: entry.view.left_out,
        }
    }
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    resolver: &'a str,
    #[serde(serialize_with = "shown")]
    server: Server,
    role: &'static str,
    #[serde(serialize_with = "shown")]
    path: &'a Path,
    outcome: LookupOutcome,
    rtt_seconds: Option<f64>,
    flags: Vec<&'static str>,
    #[serde(serialize_with = "each::<_, RecordJson, _>")]
    records: &'a [Record],
    /// Records beyond the bound of one answer.
    omitted: usize,
}

impl<'a> From<&'a AnswerView> for AnswerJson<'a> {
    fn from(view: &'a AnswerView) -> Self {
        Self {
            resolver: &view.resolver.name,
            server: view.upstream.server,
            role: view.role(),
            path: &view.upstream.path,
            outcome: view.answer.outcome,
            rtt_seconds: view.answer.rtt.map(seconds),
            flags: view.answer.flags.names().collect(),
            records: &view.answer.records,
            omitted: view.answer.omitted,
        }
    }
}

#[derive(Serialize)]
struct RecordJson<'a> {
    target: &'a Name,
    port: u16,
    priority: u16,
    weight: u16,
    ttl: u32,
}

impl<'a> From<&'a Record> for RecordJson<'a> {
    fn from(record: &'a Record) -> Self {
        let Record { priority, weight, port, target, ttl } = record;
        Self { target, port: *port, priority: *priority, weight: *weight, ttl: *ttl }
    }
}

#[derive(Serialize)]
struct DomainHostJson<'a> {
    target: &'a Name,
    port: u16,
    priority: u16,
    weight: u32,
    share: f64,
    live_share: f64,
    status: HostStatus,
    /// By some server; null where no history is kept.
    first_seen: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

impl<'a> DomainHostJson<'a> {
    fn of(host: &'a DomainHost, view: &DomainView) -> Self {
        let seen = view.seen_of(&host.host);
        Self {
            target: &host.host.target,
            port: host.host.port,
            priority: host.priority,
            weight: host.weight,
            share: host.share,
            live_share: host.live_share,
            status: host.status,
            first_seen: seen.map(|seen| seen.first_seen),
            last_seen: seen.map(|seen| seen.last_seen),
        }
    }
}

#[derive(Serialize)]
struct VanishedJson<'a> {
    target: &'a Name,
    port: u16,
    priority: u16,
    weight: u16,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// Since when all servers that ever showed it lack it.
    gone: Timestamp,
}

impl<'a> From<(&'a SeenHost, Timestamp)> for VanishedJson<'a> {
    fn from((seen, gone): (&'a SeenHost, Timestamp)) -> Self {
        let SeenHost { host, priority, weight, first_seen, last_seen, .. } = seen;
        let (priority, weight) = (*priority, *weight);
        let (first_seen, last_seen) = (*first_seen, *last_seen);
        Self {
            target: &host.target,
            port: host.port,
            priority,
            weight,
            first_seen,
            last_seen,
            gone,
        }
    }
}

#[derive(Serialize)]
struct HostJson<'a> {
    target: &'a Name,
    port: u16,
    status: HostStatus,
    /// When one of its endpoints answered last, as far as anybody remembers.
    last_up: Option<Timestamp>,
    domains: &'a [Name],
    #[serde(serialize_with = "probed")]
    endpoints: &'a [EndpointView],
}

impl<'a> From<&'a std::sync::Arc<HostView>> for HostJson<'a> {
    fn from(view: &'a std::sync::Arc<HostView>) -> Self {
        Self {
            target: &view.host.target,
            port: view.host.port,
            status: view.status,
            last_up: view.last_up,
            domains: &view.domains,
            endpoints: &view.endpoints,
        }
    }
}

#[derive(Serialize)]
struct EndpointJson<'a> {
    address: std::net::IpAddr,
    #[serde(serialize_with = "shown")]
    path: &'a Path,
    outcome: ProbeOutcome,
    connect_seconds: Option<f64>,
    bind_seconds: Option<f64>,
    rejected_by: Option<std::net::IpAddr>,
    detail: Option<&'a str>,
}

impl<'a> EndpointJson<'a> {
    fn of(view: &'a EndpointView) -> Option<Self> {
        let probe = view.probe.as_deref()?;
        Some(Self {
            address: view.address,
            path: &view.path,
            outcome: probe.outcome,
            connect_seconds: probe.connect.map(seconds),
            bind_seconds: probe.bind.map(seconds),
            rejected_by: probe.rejected_by,
            detail: probe.detail.as_deref(),
        })
    }
}

#[derive(Serialize)]
struct FindingJson<'a> {
    id: &'a FindingId,
    check: crate::model::Check,
    severity: Severity,
    state: FindingState,
    suppressed_by: Option<&'a FindingId>,
    subject: &'a Subject,
    resolver: Option<&'a str>,
    domains: &'a [Name],
    since: Option<Timestamp>,
    message: &'a str,
    evidence: &'a Evidence,
    client_error: Option<ClientError>,
    remedy: &'a str,
    labels: &'a Labels,
}

impl<'a> From<&'a std::sync::Arc<Finding>> for FindingJson<'a> {
    fn from(finding: &'a std::sync::Arc<Finding>) -> Self {
        Self {
            id: &finding.id,
            check: finding.check,
            severity: finding.severity,
            state: finding.state,
            suppressed_by: finding.suppressed_by.as_ref(),
            subject: &finding.subject,
            resolver: finding.resolver.as_deref(),
            domains: &finding.domains,
            since: finding.since,
            message: &finding.message,
            evidence: &finding.evidence,
            client_error: finding.client_error,
            remedy: &finding.remedy,
            labels: &finding.labels,
        }
    }
}

/// A slice that is written as the array of what its items become.
struct Each<'a, T, V> {
    items: &'a [T],
    becomes: std::marker::PhantomData<fn() -> V>,
}

impl<'a, T, V> Each<'a, T, V> {
    fn of(items: &'a [T]) -> Self {
        Self { items, becomes: std::marker::PhantomData }
    }
}

impl<'a, T, V: From<&'a T> + Serialize> Serialize for Each<'a, T, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(V::from))
    }
}

fn each<'a, T: 'a, V: From<&'a T> + Serialize, S: Serializer>(
    items: &&'a [T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Each::<T, V>::of(items).serialize(serializer)
}

/// An endpoint that was not probed has no outcome, and the contract has no word for it: it is left
/// out.
fn probed<S: Serializer>(items: &&[EndpointView], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().filter_map(EndpointJson::of))
}

fn each_shown<S: Serializer>(items: &[impl Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(ToString::to_string))
}

pub(super) fn shown<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Microseconds are as fine as anything here is measured.
#[expect(clippy::cast_precision_loss, reason = "2^52 µs are 142 years")]
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as value};

    use super::*;
    use crate::report::fixture;

    fn parsed(document: &impl Serialize) -> Value {
        serde_json::from_str(&json_text(document)).expect("valid JSON")
    }

    #[test]
    fn the_report_has_exactly_the_keys_of_the_contract() {
        let report = parsed(&json(&fixture::troubled()));
        let mut rest = report.clone();
        for key in ["domains", "hosts", "findings"] {
            rest.as_object_mut().expect("an object").remove(key);
        }
        let expected = value!({
            "version": 1, "vantage": null, "started": "2026-03-01T12:00:00Z",
            "duration_seconds": 0.41, "status": "critical", "profiles": [],
            "summary": { "domains": 5, "hosts": 4, "endpoints": 4, "critical": 2, "warning": 0, "info": 1 },
        });
        assert_eq!(rest, expected);
    }

    #[test]
    fn the_vantage_is_told() {
        let snapshot = Snapshot { vantage: Some("hq".into()), ..fixture::healthy() };
        assert_eq!(parsed(&json(&snapshot))["vantage"], "hq");
    }

    #[test]
    fn a_domain_shows_its_answers_and_hosts() {
        let snapshot = fixture::troubled();
        let answer = |server: &str| {
            value!({
                "resolver": "hq", "server": server, "role": "resolver", "path": "",
                "outcome": "records", "rtt_seconds": 0.0012, "flags": ["aa"],
                "records": [{ "target": "kms-n2.north.example", "port": 1688, "priority": 0, "weight": 0, "ttl": 3600 }],
                "omitted": 0,
            })
        };
        let expected = value!({
            "name": "south.example", "status": "critical", "kms": "required",
            "answers": [answer("10.0.0.53"), answer("10.0.0.54:5353")],
            "hosts": [{ "target": "kms-n2.north.example", "port": 1688, "priority": 0, "weight": 0,
                        "share": 1.0, "live_share": 0.0, "status": "down",
                        "first_seen": null, "last_seen": null }],
            "vanished": [],
            "left_out": { "records": 0, "addresses": 0, "endpoints": 0 },
        });
        let south = json_domain(&snapshot, &fixture::name("south.example")).expect("configured");
        assert_eq!(parsed(&south), expected);
        assert_eq!(parsed(&json_domains(&snapshot))[4], expected);
        assert_eq!(parsed(&json(&snapshot))["domains"][4], expected);
        assert!(json_domain(&snapshot, &fixture::name("unknown.example")).is_none());
    }

    #[test]
    fn what_was_seen_is_told_of_what_is_there_and_of_what_left() {
        let mut snapshot = fixture::troubled();
        let entry = &mut snapshot.domains[4];
        let view = std::sync::Arc::get_mut(&mut entry.view).expect("not shared");
        view.seen = vec![
            fixture::seen("kms-n1.north.example", Some("2026-03-01T11:00:01Z")),
            fixture::seen("kms-n2.north.example", None),
        ];
        let host = std::sync::Arc::get_mut(&mut snapshot.hosts[3]).expect("not shared");
        host.last_up = Some(fixture::time("2026-03-01T11:59:59Z"));
        let south = &parsed(&json(&snapshot))["domains"][4];
        let (first, last) = ("2026-02-01T00:00:00Z", "2026-03-01T11:00:00Z");
        assert_eq!(south["hosts"][0]["first_seen"], first);
        assert_eq!(south["hosts"][0]["last_seen"], last);
        let vanished = value!([{ "target": "kms-n1.north.example", "port": 1688, "priority": 0, "weight": 0,
                                 "first_seen": first, "last_seen": last, "gone": "2026-03-01T11:00:01Z" }]);
        assert_eq!(south["vanished"], vanished);
        assert_eq!(parsed(&json_hosts(&snapshot))[3]["last_up"], "2026-03-01T11:59:59Z");
    }

    #[test]
    fn a_host_shows_its_endpoints_as_far_as_they_were_probed() {
        let mut snapshot = fixture::troubled();
        let host = std::sync::Arc::get_mut(&mut snapshot.hosts[3]).expect("not shared");
        let mut unprobed = host.endpoints[0].clone();
        unprobed.probe = None;
        host.endpoints.push(unprobed);
        let expected = value!({
            "target": "kms-n2.north.example", "port": 1688, "status": "down",
            "last_up": null,
            "domains": ["north.example", "south.example"],
            "endpoints": [{ "address": "10.3.0.2", "path": "", "outcome": "refused",
                            "connect_seconds": null, "bind_seconds": null,
                            "rejected_by": null, "detail": "ICMP \u{7}code" }],
        });
        assert_eq!(parsed(&json_hosts(&snapshot))[3], expected);
        assert_eq!(parsed(&json(&snapshot))["hosts"][3], expected);
    }

    #[test]
    fn a_profile_shows_its_search_and_what_happens_if_a_host_fails() {
        let snapshot = fixture::with_profiles();
        let profiles = &parsed(&json(&snapshot))["profiles"];
        let (one, other) = ("kms-e1.east.example", "kms-e2.east.example");
        let host = |target: &str, share: f64| value!({ "target": target, "port": 1688, "share": share, "live_share": share, "status": "up" });
        let served = value!({
            "verdict": "served", "end": "answered", "client_error": null,
            "search": [{ "domain": "east.example", "outcome": "records", "effect": "ends" }],
            "hosts": [host(one, 0.75), host(other, 0.25)],
            "if_fails": [{ "host": format!("{one}:1688"), "verdict": "served", "client_error": null,
                           "takes_over": [{ "host": format!("{other}:1688"), "share": 1.0 }] }],
        });
        let expected = value!({
            "name": "lab", "status": "ok", "domain": "east.example",
            "kms_hosts": [format!("{one}:1688"), format!("{other}:1688")], "client_error": null,
            "resolver": "hq", "path": "", "selection": "weighted", "windows": served, "office": served,
        });
        assert_eq!(profiles[0], expected);
        let shop = &profiles[1];
        assert_eq!((&shop["domain"], &shop["client_error"]), (&Value::Null, &value!("0x8007007B")));
        assert_eq!(shop["kms_hosts"], value!(["kms-w1.west.example:1688"]));
        assert_eq!(shop["office"]["client_error"], "0xC004F074");
    }

    #[test]
    fn a_finding_shows_everything_and_who_explains_it() {
        let snapshot = fixture::troubled();
        let findings = parsed(&json_findings(&snapshot));
        let expected = value!({
            "id": snapshot.findings[0].id.as_str(), "check": "srv-missing", "severity": "critical",
            "state": "active", "suppressed_by": null, "subject": "domain:berlin.example",
            "resolver": "hq", "domains": ["berlin.example"], "since": null,
            "message": snapshot.findings[0].message, "evidence": {}, "client_error": "0x8007232B",
            "remedy": "Publish it again.\nSee:\n  nslookup -type=SRV _vlmcs._tcp.berlin.example 10.0.0.53", "labels": {},
        });
        assert_eq!(findings[0], expected);
        assert_eq!(findings[2]["state"], "suppressed");
        assert_eq!(findings[2]["suppressed_by"], findings[1]["id"]);
        assert_eq!(parsed(&json(&snapshot))["findings"], findings);
    }
}
