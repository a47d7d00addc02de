//! Snapshots for the tests of every publisher.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::discovery::{Choice, Effect, End, Failover, Failure, Reason, Step, Verdict};
use crate::model::finding::{ClientError, FindingId};
use crate::model::snapshot::{
    AnswerView, DomainEntry, DomainHost, DomainView, EndpointView, HostStatus, HostView, LeftOut,
    ProfileEntry, ProfileView, SeenHost, Summary,
};
use crate::model::{
    Answer, Check, Discovery, Finding, FindingState, Flags, Host, KmsMode, Labels, LookupOutcome,
    Name, Path, PlannedDomain, Probe, ProbeOutcome, Product, Profile, Record, Resolver, Server,
    Severity, Snapshot, Status, Subject, Transport, Upstream,
};

/// Two domains that are well and one that should have no KMS and has none.
pub(crate) fn healthy() -> Snapshot {
    let hq = hq();
    let near = record("kms-e1.east.example", 10, 75);
    let far = record("kms-e2.east.example", 10, 25);
    snapshot(
        vec![
            entry(&hq, "east.example", KmsMode::Required, Status::Ok, &[near, far]),
            entry(&hq, "parked.example", KmsMode::None, Status::Ok, &[]),
            entry(
                &hq,
                "west.example",
                KmsMode::Required,
                Status::Ok,
                &[record("kms-w1.west.example", 0, 0)],
            ),
        ],
        vec![
            host("kms-e1.east.example", &["east.example"], [10, 1, 0, 1], ProbeOutcome::Kms),
            host("kms-e2.east.example", &["east.example"], [10, 1, 0, 2], ProbeOutcome::Kms),
            host("kms-w1.west.example", &["west.example"], [10, 2, 0, 1], ProbeOutcome::Kms),
        ],
        Vec::new(),
    )
}

/// 400 domains, whose metrics are some 300 KB: more than a connection takes at once.
pub(crate) fn large() -> Snapshot {
    let (hq, records) = (hq(), [record("k.east.example", 0, 0)]);
    let of =
        |number| entry(&hq, &format!("d{number}.example"), KmsMode::Required, Status::Ok, &records);
    snapshot((0..400).map(of).collect(), Vec::new(), Vec::new())
}

/// A domain whose record is gone, one whose only host is dead, a domain that the same host hits a
/// little, a lab with one host, and one that is well.
pub(crate) fn troubled() -> Snapshot {
    let hq = hq();
    let dead = record("kms-n2.north.example", 0, 0);
    let live = record("kms-n1.north.example", 0, 0);
    let mut domains = vec![
        entry(&hq, "berlin.example", KmsMode::Required, Status::Critical, &[]),
        entry(
            &hq,
            "east.example",
            KmsMode::Required,
            Status::Ok,
            &[record("kms-e1.east.example", 10, 75), record("kms-e2.east.example", 10, 25)],
        ),
        entry(
            &hq,
            "lab.example",
            KmsMode::Required,
            Status::Info,
            &[record("kms-e1.east.example", 0, 0)],
        ),
        entry(&hq, "north.example", KmsMode::Required, Status::Critical, &[live, dead.clone()]),
        entry(&hq, "south.example", KmsMode::Required, Status::Critical, &[dead]),
    ];
    let down = |entry: &mut DomainEntry, live_shares: &[f64]| {
        let view = Arc::get_mut(&mut entry.view).expect("not shared yet");
        for (host, live_share) in view.hosts.iter_mut().zip(live_shares) {
            host.live_share = *live_share;
            if host.host.target.as_str() == "kms-n2.north.example" {
                host.status = HostStatus::Down;
            }
        }
    };
    down(&mut domains[3], &[1.0, 0.0]);
    down(&mut domains[4], &[0.0]);
    let hosts = vec![
        host(
            "kms-e1.east.example",
            &["east.example", "lab.example"],
            [10, 1, 0, 1],
            ProbeOutcome::Kms,
        ),
        host("kms-e2.east.example", &["east.example"], [10, 1, 0, 2], ProbeOutcome::Kms),
        host("kms-n1.north.example", &["north.example"], [10, 3, 0, 1], ProbeOutcome::Kms),
        host(
            "kms-n2.north.example",
            &["north.example", "south.example"],
            [10, 3, 0, 2],
            ProbeOutcome::Refused,
        ),
    ];
    snapshot(domains, hosts, trouble())
}

/// [`healthy`] with three profiles: one served by the hosts in the east, one that shows 0x8007007B but
/// for Office, which has a dead fixed host, and one of which nothing is known.
pub(crate) fn with_profiles() -> Snapshot {
    let mut snapshot = healthy();
    let east = name("east.example");
    let choice = |target: &str, share, status| Choice {
        host: named_host(target),
        priority: 10,
        weight: 0,
        share,
        live_share: share,
        status,
    };
    let discovery = |end, hosts, verdict| Discovery {
        product: Product::Windows,
        steps: Vec::new(),
        end,
        hosts,
        failovers: Vec::new(),
        verdict,
        hidden: None,
    };
    let hosts = vec![
        choice("kms-e1.east.example", 0.75, HostStatus::Up),
        choice("kms-e2.east.example", 0.25, HostStatus::Up),
    ];
    let mut served = discovery(End::Answered(east.clone()), hosts, Verdict::Served);
    let ends = Effect::Ends;
    served.steps =
        vec![Step { domain: east.clone(), outcome: Some(LookupOutcome::Records), effect: ends }];
    served.failovers = vec![Failover {
        host: named_host("kms-e1.east.example"),
        takes_over: vec![(named_host("kms-e2.east.example"), 1.0)],
        verdict: Verdict::Served,
    }];
    let fails = |reason, code| {
        Verdict::Fails(Failure { reason, domain: None, error: Some(ClientError(code)) })
    };
    let none = discovery(End::NoSuffix, vec![], fails(Reason::NoSuffix, 0x8007_007B));
    let dead = vec![choice("kms-w1.west.example", 1.0, HostStatus::Down)];
    let pinned = discovery(End::Fixed, dead, fails(Reason::FixedHostDown, 0xC004_F074));
    let unknown = discovery(End::Unknown(east), vec![], Verdict::Unknown);
    let entry = |name: &str, status, windows: Discovery, office: Discovery| {
        let profile = Arc::new(Profile::of(name, hq()));
        let view = ProfileView { profile, windows, office, answers: Vec::new() };
        ProfileEntry { status, view: Arc::new(view) }
    };
    snapshot.profiles = vec![
        entry("lab", Status::Ok, served.clone(), served),
        entry("shop", Status::Critical, none, pinned),
        entry("van", Status::Ok, unknown.clone(), unknown),
    ];
    snapshot
}

fn trouble() -> Vec<Arc<Finding>> {
    let down = Finding {
        client_error: Some(ClientError(0xC004_F074)),
        remedy: "See it with:\n  Test-NetConnection kms-n2.north.example -Port 1688\nStart the service on the host:\n  net start sppsvc".into(),
        ..finding(
            Check::HostDown,
            Severity::Critical,
            Subject::Host(named_host("kms-n2.north.example")),
            &["north.example", "south.example"],
            "kms-n2.north.example:1688 refuses connections at its only address; a firewall \u{1b}[31msays so.",
        )
    };
    let missing = Finding {
        resolver: Some("hq".into()),
        client_error: Some(ClientError(0x8007_232B)),
        remedy:
            "Publish it again.\nSee:\n  nslookup -type=SRV _vlmcs._tcp.berlin.example 10.0.0.53"
                .into(),
        ..finding(
            Check::SrvMissing,
            Severity::Critical,
            Subject::Domain(name("berlin.example")),
            &["berlin.example"],
            "Every server of resolver hq that answered says that _vlmcs._tcp.berlin.example does not exist.",
        )
    };
    let explained = |check: Check, domain: &str, by: &Finding| Finding {
        state: FindingState::Suppressed,
        suppressed_by: Some(by.id.clone()),
        ..finding(check, check.severity(), Subject::Domain(name(domain)), &[domain], "explained")
    };
    let all_down = explained(Check::AllHostsDown, "south.example", &down);
    let lost = explained(Check::RedundancyLost, "north.example", &all_down);
    let single = finding(
        Check::RedundancyNone,
        Severity::Info,
        Subject::Domain(name("lab.example")),
        &["lab.example"],
        "Only one host is published.",
    );
    [missing, down, all_down, lost, single].map(Arc::new).to_vec()
}

/// A snapshot around these parts, its counts and status made from them.
pub(crate) fn snapshot(
    domains: Vec<DomainEntry>,
    hosts: Vec<Arc<HostView>>,
    findings: Vec<Arc<Finding>>,
) -> Snapshot {
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.is_active() && finding.severity == severity)
            .count()
    };
    let summary = Summary {
        domains: domains.len(),
        hosts: hosts.len(),
        endpoints: hosts.iter().map(|host| host.endpoints.len()).sum(),
        critical: count(Severity::Critical),
        warning: count(Severity::Warning),
        info: count(Severity::Info),
    };
    let active = findings.iter().filter(|finding| finding.is_active());
    let status = active.map(|finding| Status::from(finding.severity)).max().unwrap_or(Status::Ok);
    Snapshot {
        vantage: None,
        generation: 1,
        started: time("2026-03-01T12:00:00Z"),
        at: time("2026-03-01T12:00:00.41Z"),
        status,
        domains,
        hosts,
        findings,
        profiles: Vec::new(),
        departed: Vec::new(),
        summary,
        journal: None,
    }
}

/// An active finding without resolver, error and remedy.
pub(crate) fn finding(
    check: Check,
    severity: Severity,
    subject: Subject,
    domains: &[&str],
    message: &str,
) -> Finding {
    Finding {
        id: FindingId::new(check, &subject, ""),
        check,
        severity,
        state: FindingState::Active,
        suppressed_by: None,
        subject,
        resolver: None,
        domains: domains.iter().map(|text| name(text)).collect(),
        since: None,
        message: message.to_owned(),
        evidence: serde_json::Map::new(),
        client_error: None,
        remedy: String::new(),
        labels: Labels::default(),
    }
}

/// A domain that both servers of its resolver agree about; no record is NXDOMAIN. All hosts are up.
pub(crate) fn entry(
    resolver: &Arc<Resolver>,
    domain: &str,
    kms: KmsMode,
    status: Status,
    records: &[Record],
) -> DomainEntry {
    let answer = if records.is_empty() {
        Answer { rtt: Some(Duration::from_micros(900)), ..Answer::bare(LookupOutcome::Nxdomain) }
    } else {
        Answer {
            flags: Flags { aa: true, ..Flags::default() },
            rtt: Some(Duration::from_micros(1200)),
            records: records.to_vec(),
            ..Answer::bare(LookupOutcome::Records)
        }
    };
    let answer = Arc::new(answer);
    let answers = resolver.upstreams.iter().map(|upstream| AnswerView {
        resolver: resolver.clone(),
        upstream: upstream.clone(),
        answer: answer.clone(),
        at: time("2026-03-01T12:00:00.2Z"),
    });
    let planned =
        PlannedDomain::new(name(domain), [resolver.clone()].into(), kms, None, Labels::default());
    let answers: Vec<AnswerView> = answers.collect();
    let view = DomainView {
        domain: Arc::new(planned),
        is_known: answers.iter().any(|view| view.answer.outcome.is_usable()),
        answers,
        records: records.to_vec(),
        hosts: domain_hosts(records),
        seen: Vec::new(),
        left_out: LeftOut::default(),
        audited: time("2026-03-01T12:00:00.4Z"),
    };
    DomainEntry { status, view: Arc::new(view) }
}

fn domain_hosts(records: &[Record]) -> Vec<DomainHost> {
    let total: u32 = records.iter().map(|record| u32::from(record.weight)).sum();
    let even = 1.0 / f64::from(u32::try_from(records.len()).expect("few").max(1));
    let share = |weight: u16| match total {
        0 => even,
        _ => f64::from(weight) / f64::from(total),
    };
    let hosts = records.iter().map(|record| DomainHost {
        host: record.host(),
        priority: record.priority,
        weight: u32::from(record.weight),
        share: share(record.weight),
        live_share: share(record.weight),
        status: HostStatus::Up,
    });
    hosts.collect()
}

/// That a host was seen for a month; `gone` where it left.
pub(crate) fn seen(target: &str, gone: Option<&str>) -> SeenHost {
    SeenHost {
        host: named_host(target),
        priority: 0,
        weight: 0,
        first_seen: time("2026-02-01T00:00:00Z"),
        last_seen: time("2026-03-01T11:00:00Z"),
        gone: gone.map(time),
    }
}

/// A host with one endpoint.
pub(crate) fn host(
    target: &str,
    domains: &[&str],
    address: [u8; 4],
    outcome: ProbeOutcome,
) -> Arc<HostView> {
    let up = outcome == ProbeOutcome::Kms;
    let status = if up { HostStatus::Up } else { HostStatus::Down };
    let path = Arc::new(Path::default());
    let probe = Probe {
        connect: up.then_some(Duration::from_micros(300)),
        bind: up.then_some(Duration::from_micros(700)),
        detail: (!up).then(|| "ICMP \u{7}code".into()),
        ..Probe::bare(outcome)
    };
    Arc::new(HostView {
        host: named_host(target),
        status,
        paths: vec![(path.clone(), status)],
        last_up: None,
        domains: domains.iter().map(|text| name(text)).collect(),
        endpoints: vec![EndpointView {
            path,
            address: IpAddr::from(address),
            probe: Some(Arc::new(probe)),
            at: Some(time("2026-03-01T12:00:00.3Z")),
        }],
    })
}

/// A resolver with two servers.
pub(crate) fn hq() -> Arc<Resolver> {
    resolver("hq", &Path::default(), &["10.0.0.53:53", "10.0.0.54:5353"])
}

/// A resolver with these servers over one path.
pub(crate) fn resolver(resolver_name: &str, path: &Path, addresses: &[&str]) -> Arc<Resolver> {
    let upstreams = addresses.iter().map(|address| {
        let address: SocketAddr = address.parse().expect("a socket address");
        Arc::new(Upstream {
            server: Server { transport: Transport::Udp, address },
            path: path.clone(),
        })
    });
    Arc::new(Resolver {
        name: resolver_name.into(),
        upstreams: upstreams.collect(),
        path: Arc::new(path.clone()),
        labels: Arc::new(BTreeMap::new()),
        base: None,
    })
}

/// A record at port 1688 with a TTL of an hour.
pub(crate) fn record(target: &str, priority: u16, weight: u16) -> Record {
    Record { priority, weight, port: 1688, target: name(target), ttl: 3600 }
}

/// A host at port 1688.
pub(crate) fn named_host(target: &str) -> Host {
    Host { target: name(target), port: 1688 }
}

/// A name that a test spells right.
pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a valid name")
}

/// A time that a test spells right.
pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a valid time")
}
