use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::snapshot::DomainView;
use crate::model::snapshot::{DomainEntry, EndpointView, HostStatus, HostView};
use crate::model::{
    Answer, Check, FindingState, Host, KmsMode, LookupOutcome, Name, Path, Probe, ProbeOutcome,
    Record, Severity, Status, Subject,
};
use crate::report::fixture;

/// All pieces of it; panics where they are not as long as it says.
fn whole(scrape: Scrape) -> Vec<u8> {
    let length = scrape.length();
    let pieces: Vec<Piece> = scrape.collect();
    let text = pieces.iter().map(Piece::as_ref).collect::<Vec<_>>().concat();
    assert_eq!(text.len(), length);
    text
}

fn text_of(snapshot: Snapshot) -> String {
    let exposition = Exposition::new(Stats::new());
    let text = whole(exposition.render(Some(&Arc::new(snapshot)), Encoding::Plain));
    String::from_utf8(text).expect("UTF-8")
}

/// Family → labels as written → value; panics where a series is repeated or a value does not parse.
fn parsed(text: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut families: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let value: f64 = value.parse().expect("a number");
        let labels = labels.strip_suffix('}').expect("closed labels").to_owned();
        let before = families.entry(name.to_owned()).or_default().insert(labels, value);
        assert_eq!(before, None, "repeated: {series}");
    }
    families
}

fn family(snapshot: Snapshot, name: &str) -> BTreeMap<String, f64> {
    parsed(&text_of(snapshot)).remove(&format!("kmswatch_{name}")).unwrap_or_default()
}

fn expected(series: &[(&str, f64)]) -> BTreeMap<String, f64> {
    series.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect()
}

fn one_domain(records: &[Record]) -> DomainEntry {
    fixture::entry(&fixture::hq(), "east.example", KmsMode::Required, Status::Ok, records)
}

/// Changes a domain's view, which nobody else holds yet.
fn with(
    mut entry: DomainEntry,
    change: impl FnOnce(&mut crate::model::snapshot::DomainView),
) -> Snapshot {
    change(Arc::get_mut(&mut entry.view).expect("not shared"));
    fixture::snapshot(vec![entry], Vec::new(), Vec::new())
}

#[test]
fn profiles_are_ok_or_show_a_code_or_are_not_known() {
    let ok = expected(&[("profile=\"lab\"", 1.0), ("profile=\"shop\"", 0.0)]);
    assert_eq!(family(fixture::with_profiles(), "profile_ok"), ok);
    let shows = expected(&[("profile=\"shop\",code=\"0x8007007B\"", 1.0)]);
    assert_eq!(family(fixture::with_profiles(), "profile_client_error_info"), shows);
}

#[test]
fn the_vantage_is_a_label_of_every_series() {
    let vantage: Option<Arc<str>> = Some("a \"b\"".into());
    let stats = Stats::new();
    stats.set_vantage(vantage.clone());
    stats.alerts_sent(3);
    let exposition = Exposition::new(stats);
    let snapshot = Arc::new(Snapshot { vantage, ..fixture::troubled() });
    let text = whole(exposition.render(Some(&snapshot), Encoding::Plain));
    let text = String::from_utf8(text).expect("UTF-8");
    let label = r#"vantage="a \"b\"""#;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let without: Vec<&str> = series.filter(|line| line.matches(label).count() != 1).collect();
    assert_eq!(without, [""; 0]);
    let families = parsed(&text);
    assert_eq!(families["kmswatch_alerts_sent_total"], expected(&[(label, 3.0)]));
    assert_eq!(families["kmswatch_alerts_failed_total"], expected(&[(label, 0.0)]));
    let labels = format!(r#"domain="east.example",{label}"#);
    assert!(families["kmswatch_srv_records"].contains_key(&labels), "after the others");
    assert!(families["kmswatch_dns_query_duration_seconds_bucket"].len() > 5);
}

#[test]
fn records_are_published_with_their_least_ttl() {
    let records = [300, 60].map(|ttl| Record { ttl, ..fixture::record("k.east.example", 10, 75) });
    let snapshot = with(one_domain(&records), |_| ());
    let labels = r#"domain="east.example",target="k.east.example",port="1688""#;
    assert_eq!(family(snapshot.clone(), "srv_record_ttl_seconds"), expected(&[(labels, 60.0)]));
    let info = format!(r#"{labels},priority="10",weight="75""#);
    assert_eq!(family(snapshot.clone(), "srv_record_info"), expected(&[(&info, 1.0)]));
    assert_eq!(family(snapshot, "srv_records"), expected(&[(r#"domain="east.example""#, 1.0)]));
}

#[test]
fn records_are_zero_where_denied_and_absent_where_unknown() {
    // Whatever the latest answers were: what counts is whether there ever was a usable one.
    let silent = |view: &mut DomainView| {
        for answer in &mut view.answers {
            answer.answer = Arc::new(Answer::bare(LookupOutcome::Timeout));
        }
    };
    let denied = with(one_domain(&[]), silent);
    let unknown = with(one_domain(&[]), |view| view.is_known = false);
    for name in ["srv_records", "hosts_up"] {
        let zero = expected(&[(r#"domain="east.example""#, 0.0)]);
        assert_eq!(family(denied.clone(), name), zero, "{name}");
        assert_eq!(family(unknown.clone(), name), expected(&[]), "{name}");
    }
    let held = with(one_domain(&[fixture::record("k.east.example", 0, 0)]), silent);
    assert_eq!(family(held, "srv_records"), expected(&[(r#"domain="east.example""#, 1.0)]));
}

#[test]
fn lookups_show_outcome_and_duration() {
    let snapshot = with(one_domain(&[fixture::record("k.east.example", 0, 0)]), |view| {
        view.answers[1].answer = Arc::new(Answer::bare(LookupOutcome::Servfail));
    });
    let labels = |server: &str| {
        format!(r#"domain="east.example",resolver="hq",server="{server}",role="resolver",path="""#)
    };
    let [good, bad] = ["10.0.0.53", "10.0.0.54:5353"].map(labels);
    let success = expected(&[(&good, 1.0), (&bad, 0.0)]);
    assert_eq!(family(snapshot.clone(), "srv_lookup_success"), success);
    let [good_outcome, bad_outcome] =
        [format!(r#"{good},outcome="records""#), format!(r#"{bad},outcome="servfail""#)];
    let outcomes = expected(&[(&good_outcome, 1.0), (&bad_outcome, 1.0)]);
    assert_eq!(family(snapshot.clone(), "srv_lookup_outcome"), outcomes);
    let durations = expected(&[(&good, 0.0012)]);
    assert_eq!(family(snapshot, "srv_lookup_duration_seconds"), durations);
}

#[test]
fn what_was_seen_outlives_what_is_there() {
    let entry = one_domain(&[fixture::record("k.east.example", 0, 0)]);
    let mut snapshot = with(entry, |view| {
        let gone = fixture::seen("gone.east.example", Some("2026-03-01T11:00:01Z"));
        view.seen = vec![gone, fixture::seen("k.east.example", None)];
    });
    let time = |text: &str| fixture::time(text);
    let mut host = fixture::host("k.east.example", &[], [10, 0, 0, 1], ProbeOutcome::Kms);
    Arc::get_mut(&mut host).expect("not shared").last_up = Some(time("1970-01-01T00:00:07Z"));
    let never = fixture::host("never.east.example", &[], [10, 0, 0, 2], ProbeOutcome::Refused);
    snapshot.hosts = vec![host, never];
    let gone = fixture::named_host("gone.east.example");
    snapshot.departed = vec![(gone, time("1970-01-01T00:00:05.5Z"))];
    let host = |target: &str| format!(r#"target="{target}.east.example",port="1688""#);
    let both = |value: f64| -> BTreeMap<String, f64> {
        let hosts = ["gone", "k"].map(host).into_iter();
        hosts.map(|labels| (format!("domain=\"east.example\",{labels}"), value)).collect()
    };
    let (first, last) = (1_769_904_000.0, 1_772_362_800.0);
    assert_eq!(family(snapshot.clone(), "record_first_seen_timestamp_seconds"), both(first));
    assert_eq!(family(snapshot.clone(), "record_last_seen_timestamp_seconds"), both(last));
    let up = expected(&[(&host("gone"), 5.5), (&host("k"), 7.0)]);
    assert_eq!(family(snapshot, "host_last_up_timestamp_seconds"), up);
}

/// A domain of one host that has these statuses over its resolver's path and over a foreign one.
fn host_over_paths(own: &[HostStatus], foreign: HostStatus) -> Snapshot {
    let mut entry = one_domain(&[fixture::record("k.east.example", 0, 0)]);
    let path = |octet| Path { source: Some([10, 0, 0, octet].into()), ..Path::default() };
    let paths: Vec<_> = (0_u8..).zip(own).map(|(at, status)| (path(at), *status)).collect();
    let resolvers = paths.iter().map(|(path, _)| fixture::resolver("r", path, &["10.0.0.53:53"]));
    let view = Arc::get_mut(&mut entry.view).expect("not shared");
    Arc::get_mut(&mut view.domain).expect("not shared").resolvers = resolvers.collect();
    let host = HostView {
        host: fixture::named_host("k.east.example"),
        status: HostStatus::Degraded,
        paths: paths
            .into_iter()
            .chain([(path(250), foreign)])
            .map(|(path, status)| (Arc::new(path), status))
            .collect(),
        last_up: None,
        domains: vec![fixture::name("east.example")],
        endpoints: Vec::new(),
    };
    fixture::snapshot(vec![entry], vec![Arc::new(host)], Vec::new())
}

#[test]
fn a_host_is_as_up_as_over_the_worst_path_of_the_domain() {
    use HostStatus::{Degraded, Down, Unknown, Up};
    let labels = r#"domain="east.example",target="k.east.example",port="1688""#;
    for (paths, value) in [
        (&[Up][..], Some(1.0)),
        (&[Degraded], Some(1.0)),
        (&[Up, Down], Some(0.0)),
        (&[Unknown, Down], Some(0.0)),
        (&[Unknown, Up], Some(1.0)),
        (&[Unknown], None),
    ] {
        for foreign in [Up, Down] {
            let snapshot = host_over_paths(paths, foreign);
            let up: Vec<_> = value.map(|value| (labels, value)).into_iter().collect();
            assert_eq!(family(snapshot.clone(), "host_up"), expected(&up), "{paths:?}");
            let count: Vec<_> =
                value.map(|value| (r#"domain="east.example""#, value)).into_iter().collect();
            assert_eq!(family(snapshot, "hosts_up"), expected(&count), "{paths:?}");
        }
    }
}

#[test]
fn an_endpoint_is_up_down_or_absent() {
    let ends = |outcome| {
        let host = fixture::host("k.east.example", &[], [10, 1, 0, 1], outcome);
        fixture::snapshot(Vec::new(), vec![host], Vec::new())
    };
    let labels = r#"target="k.east.example",port="1688",address="10.1.0.1",path="""#;
    for outcome in ProbeOutcome::ALL {
        let value = match outcome {
            ProbeOutcome::Kms | ProbeOutcome::Open | ProbeOutcome::AcceptsAny => Some(1.0),
            ProbeOutcome::Silent | ProbeOutcome::ClosedEarly => None,
            _ => Some(0.0),
        };
        let up: Vec<_> = value.map(|value| (labels, value)).into_iter().collect();
        assert_eq!(family(ends(outcome), "endpoint_up"), expected(&up), "{outcome}");
        let shown = format!(r#"{labels},outcome="{outcome}""#);
        assert_eq!(family(ends(outcome), "endpoint_outcome"), expected(&[(&shown, 1.0)]));
    }
    let duration = |name| family(ends(ProbeOutcome::Kms), name);
    assert_eq!(duration("endpoint_connect_duration_seconds"), expected(&[(labels, 0.0003)]));
    assert_eq!(duration("endpoint_bind_duration_seconds"), expected(&[(labels, 0.0007)]));
    assert_eq!(family(ends(ProbeOutcome::Reset), "endpoint_bind_duration_seconds"), expected(&[]));
}

#[test]
fn findings_are_counted_for_each_domain_that_they_hit() {
    let mut snapshot = fixture::troubled();
    let server = Subject::Server(fixture::hq().upstreams[0].clone());
    let nobody = fixture::finding(Check::ServerFailure, Severity::Warning, server, &[], "x");
    snapshot.findings.push(Arc::new(nobody));
    let counts = expected(&[
        (r#"domain="",check="server-failure",severity="warning",state="active""#, 1.0),
        (r#"domain="berlin.example",check="srv-missing",severity="critical",state="active""#, 1.0),
        (r#"domain="lab.example",check="redundancy-none",severity="info",state="active""#, 1.0),
        (r#"domain="north.example",check="host-down",severity="critical",state="active""#, 1.0),
        (
            r#"domain="north.example",check="redundancy-lost",severity="warning",state="suppressed""#,
            1.0,
        ),
        (
            r#"domain="south.example",check="all-hosts-down",severity="critical",state="suppressed""#,
            1.0,
        ),
        (r#"domain="south.example",check="host-down",severity="critical",state="active""#, 1.0),
    ]);
    assert_eq!(family(snapshot, "findings"), counts);
}

#[test]
fn before_the_first_audit_only_the_process_is_told() {
    let stats = Stats::new();
    stats.reload_succeeded(fixture::time("2026-03-01T12:00:00.5Z"));
    stats.probe_ended(ProbeOutcome::Kms);
    stats.query_took(Duration::from_millis(2));
    let server = fixture::hq().upstreams[0].server;
    stats.server(server).ended(LookupOutcome::Records, 7);
    let exposition = Exposition::new(stats);
    let text = String::from_utf8(whole(exposition.render(None, Encoding::Plain))).expect("UTF-8");
    let families = parsed(&text);
    assert!(!families.keys().any(|name| name.starts_with("kmswatch_srv")));
    let value = |name: &str, labels: &str| families[name][labels].to_string();
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert_eq!(value("kmswatch_build_info", version), "1");
    assert_eq!(value("kmswatch_config_last_reload_successful", ""), "1");
    let reloaded = "kmswatch_config_last_reload_success_timestamp_seconds";
    assert_eq!(value(reloaded, ""), "1772366400.5");
    let queries = r#"server="10.0.0.53",outcome="records""#;
    assert_eq!(value("kmswatch_dns_queries_total", queries), "7");
    assert_eq!(value("kmswatch_probes_total", r#"outcome="kms""#), "1");
    assert_eq!(value("kmswatch_dns_query_duration_seconds_bucket", r#"le="0.0025""#), "1");
    assert_eq!(value("kmswatch_dns_query_duration_seconds_count", ""), "1");
    assert_ne!(value("process_resident_memory_bytes", ""), "0");
}

/// What one gzip member holds; panics where anything follows it.
fn gunzipped(bytes: Vec<u8>) -> String {
    let length = bytes.len();
    let mut decoder = flate2::bufread::GzDecoder::new(Cursor::new(bytes));
    let mut text = String::new();
    decoder.read_to_string(&mut text).expect("one valid member");
    assert_eq!(decoder.into_inner().position(), u64::try_from(length).expect("small"));
    text
}

#[test]
fn gzip_is_one_member_of_the_same_text() {
    let exposition = Exposition::new(Stats::new());
    for snapshot in [None, Some(Arc::new(fixture::troubled()))] {
        let plain = whole(exposition.render(snapshot.as_ref(), Encoding::Plain));
        let plain = String::from_utf8(plain).expect("UTF-8");
        let is_process = |line: &&str| !line.starts_with("process_");
        for _scrape in 0..2 {
            let unpacked = gunzipped(whole(exposition.render(snapshot.as_ref(), Encoding::Gzip)));
            let [one, other] =
                [&plain, &unpacked].map(|text| text.lines().filter(is_process).collect::<Vec<_>>());
            assert_eq!(one, other);
        }
    }
}

#[test]
fn the_estate_is_made_once_and_the_process_is_fresh() {
    let stats = Stats::new();
    let exposition = Exposition::new(stats.clone());
    let snapshot = Arc::new(fixture::troubled());
    let before = gunzipped(whole(exposition.render(Some(&snapshot), Encoding::Gzip)));
    let made = exposition.estate.of(&snapshot);
    assert!(made.get().is_some());
    let plain = String::from_utf8(whole(exposition.render(Some(&snapshot), Encoding::Plain)));
    let text = estate(&snapshot);
    assert!(plain.expect("UTF-8").as_bytes().starts_with(&text), "as a textfile has it");
    stats.probe_ended(ProbeOutcome::Kms);
    let after = gunzipped(whole(exposition.render(Some(&snapshot), Encoding::Gzip)));
    assert!(Arc::ptr_eq(&made, &exposition.estate.of(&snapshot)));
    let probes = |text: &str| parsed(text)["kmswatch_probes_total"][r#"outcome="kms""#];
    assert_eq!((probes(&before), probes(&after)), (0.0, 1.0));
}

#[test]
fn a_long_text_is_never_held_as_a_whole() {
    let snapshot = Arc::new(fixture::large());
    let text = estate(&snapshot);
    let scrape = Exposition::new(Stats::new()).render(Some(&snapshot), Encoding::Plain);
    let length = scrape.length();
    let pieces: Vec<Piece> = scrape.collect();
    let (last, before) = pieces.split_last().expect("it has something");
    assert!(before.iter().all(|piece| piece.as_ref().len() <= PIECE), "each is short");
    assert!(before.len() >= text.len() / PIECE && before.len() > 10, "{length} bytes");
    let all =
        [before.iter().map(Piece::as_ref).collect::<Vec<_>>().concat(), last.as_ref().to_vec()]
            .concat();
    assert_eq!(all.len(), length);
    assert!(all.starts_with(&text) && all.len() > text.len(), "the process's own is behind it");
}

#[test]
fn promtool_finds_nothing_to_say() {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian package prometheus)");
    let text = text_of(fixture::troubled());
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

/// Few names, one of them hostile, so that parts collide.
fn any_name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec![
        Name::from_labels([&b"a"[..], b"example"].into_iter()),
        Name::from_labels([&b"b"[..], b"example"].into_iter()),
        Name::from_labels([&b"q\"u\n}\\ \xff"[..], b"example"].into_iter()),
        Name::from_labels(std::iter::empty()),
    ])
}

fn any_record() -> impl Strategy<Value = Record> {
    let numbers = (0_u16..2, 0_u16..2, 1688_u16..1690, 0_u32..3);
    (numbers, any_name()).prop_map(|((priority, weight, port, ttl), target)| Record {
        priority,
        weight,
        port,
        target,
        ttl,
    })
}

fn any_path() -> impl Strategy<Value = Path> {
    let sources = prop::sample::select(vec![None, Some([10, 0, 0, 9].into())]);
    let interfaces = prop::sample::select(vec![None, Some("eth\"1".into())]);
    (sources, interfaces).prop_map(|(source, interface)| Path {
        source,
        interface,
        ..Path::default()
    })
}

fn any_status() -> impl Strategy<Value = HostStatus> {
    use HostStatus::{Degraded, Down, Unknown, Up};
    prop::sample::select(vec![Up, Degraded, Down, Unknown])
}

fn any_domain() -> impl Strategy<Value = DomainEntry> {
    let records = prop::collection::vec(any_record(), 0..6);
    let outcomes = prop::collection::vec(prop::sample::select(&LookupOutcome::ALL[..]), 4);
    let statuses = prop::collection::vec(any_status(), 6);
    (any_name(), records, outcomes, statuses, any_path()).prop_map(
        |(name, records, outcomes, statuses, path)| {
            let resolvers = [fixture::hq(), fixture::resolver("two", &path, &["10.0.0.53:53"; 2])];
            let mut parts = resolvers.iter().map(|resolver| {
                fixture::entry(resolver, "x.example", KmsMode::Required, Status::Ok, &records)
            });
            let mut entry = parts.next().expect("two");
            let view = Arc::get_mut(&mut entry.view).expect("not shared");
            for other in parts {
                let other = Arc::into_inner(other.view).expect("not shared");
                view.answers.extend(other.answers);
            }
            for (answer, outcome) in view.answers.iter_mut().zip(outcomes) {
                answer.answer = Arc::new(Answer::bare(outcome));
            }
            for (host, status) in view.hosts.iter_mut().zip(statuses) {
                host.status = status;
            }
            let domain = Arc::get_mut(&mut view.domain).expect("not shared");
            domain.name = name;
            domain.resolvers = resolvers.into();
            entry
        },
    )
}

fn any_host() -> impl Strategy<Value = Arc<HostView>> {
    let probe = prop::option::of(prop::sample::select(&ProbeOutcome::ALL[..]));
    let endpoint = (any_path(), 0_u8..2, probe);
    let endpoints = prop::collection::vec(endpoint, 0..4);
    let paths = prop::collection::vec((any_path().prop_map(Arc::new), any_status()), 0..3);
    (any_name(), 1688_u16..1690, paths, endpoints).prop_map(|(target, port, paths, endpoints)| {
        let endpoints = endpoints.into_iter().map(|(path, octet, outcome)| EndpointView {
            path: Arc::new(path),
            address: [10, 0, 0, octet].into(),
            probe: outcome.map(|outcome| {
                let took = Some(Duration::from_micros(5));
                Arc::new(Probe { connect: took, bind: took, ..Probe::bare(outcome) })
            }),
            at: None,
        });
        Arc::new(HostView {
            host: Host { target, port },
            status: HostStatus::Up,
            paths,
            last_up: None,
            domains: Vec::new(),
            endpoints: endpoints.collect(),
        })
    })
}

fn any_state() -> impl Strategy<Value = FindingState> {
    use FindingState::{Acknowledged, Active, Maintenance, Suppressed};
    prop::sample::select(&[Active, Suppressed, Acknowledged, Maintenance][..])
}

prop_compose! {
    fn any_snapshot()(
        domains in prop::collection::vec(any_domain(), 0..5),
        hosts in prop::collection::vec(any_host(), 0..5),
        checks in prop::collection::vec((prop::sample::select(Check::ALL), any_state()), 0..6),
        hit in prop::collection::vec(any_name(), 0..4),
    ) -> Snapshot {
        let findings = checks.into_iter().map(|(check, state)| {
            let subject = Subject::Domain(fixture::name("x.example"));
            let mut finding = fixture::finding(check, check.severity(), subject, &[], "x");
            finding.domains.clone_from(&hit);
            finding.state = state;
            Arc::new(finding)
        });
        fixture::snapshot(domains, hosts, findings.collect())
    }
}

proptest! {
    /// [`parsed`] panics on a repeated series and on a value that is no number.
    #[test]
    fn no_label_set_appears_twice(snapshot in any_snapshot()) {
        let domains: BTreeSet<Name> =
            snapshot.domains.iter().map(|entry| entry.view.domain.name.clone()).collect();
        let families = parsed(&text_of(snapshot));
        let audits = families.get("kmswatch_domain_last_audit_timestamp_seconds");
        prop_assert_eq!(audits.map_or(0, BTreeMap::len), domains.len());
    }
}
