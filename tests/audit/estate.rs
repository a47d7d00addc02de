//! Generated small estates: a plan, and what may be seen of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kmswatch::model::maintenance::{Maintenance, Weekly, Window, WorkedOn};
use kmswatch::model::plan::ListedHost;
use kmswatch::model::profile::Machines;
use kmswatch::model::{
    Answer, Check, EndpointKey, Flags, Host, KmsMode, Labels, LookupKey, LookupOutcome, Name,
    Observation, Path, Plan, PlannedDomain, Probe, ProbeOutcome, Profile, Record, RecordKind,
    Resolver, Server, Severity, Transport, Upstream,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Something that is seen, and how long after the one before.
#[derive(Debug, Clone)]
pub struct Step {
    /// Seconds since the step before.
    pub after: i64,
    pub seen: Seen,
}

#[derive(Debug, Clone)]
pub enum Seen {
    Srv { domain: Index, server: Index, answer: Answer },
    Address { target: Index, kind: RecordKind, server: Index, answer: Answer },
    Probe { path: Index, address: IpAddr, port: u16, probe: Probe },
}

pub fn start() -> Timestamp {
    "2026-06-30T12:00:00Z".parse().expect("a time")
}

/// The steps as observations of the plan's own keys, in the order of their times.
pub fn observations(plan: &Plan, steps: &[Step]) -> Vec<Observation> {
    let upstreams: Vec<&Arc<Upstream>> =
        plan.asked_resolvers().flat_map(|resolver| &resolver.upstreams).collect();
    let paths: Vec<&Arc<Path>> = plan.asked_resolvers().map(|resolver| &resolver.path).collect();
    let mut at = start();
    let observe = |step: &Step| {
        at += SignedDuration::from_secs(step.after);
        let lookup = |server: &Index, name: Name, kind, answer: &Answer| {
            let upstream = (*server.get(&upstreams)).clone();
            let key = LookupKey { upstream, name, kind };
            Observation::Lookup { key, answer: Arc::new(answer.clone()), at }
        };
        match &step.seen {
            Seen::Srv { domain, server, answer } => {
                let owner = domain.get(&plan.domains).owner.clone();
                lookup(server, owner, RecordKind::Srv, answer)
            }
            Seen::Address { target, kind, server, answer } => {
                lookup(server, target.get(&targets()).clone(), *kind, answer)
            }
            Seen::Probe { path, address, port, probe } => {
                let path = (*path.get(&paths)).clone();
                let key = EndpointKey { path, address: (*address, *port).into() };
                Observation::Probe { key, probe: Arc::new(probe.clone()), at }
            }
        }
    };
    steps.iter().map(observe).collect()
}

/// Two or three resolvers that share servers, three to five domains of any mode.
pub fn plans() -> impl Strategy<Value = Arc<Plan>> {
    let resolver = (1..8_usize, any::<bool>());
    let domain = (1..8_usize, 0..5_usize, 0..4_usize);
    (
        proptest::collection::vec(resolver, 2..=3),
        proptest::collection::vec(domain, 3..=5),
        0..8_usize,
    )
        .prop_map(|(resolvers, domains, exceptions)| {
            Arc::new(plan(&resolvers, &domains, exceptions))
        })
}

fn plan(resolvers: &[(usize, bool)], domains: &[(usize, usize, usize)], exceptions: usize) -> Plan {
    let mut plan = Plan::empty();
    plan.interval = Duration::from_mins(1);
    plan.record_stale_after = Duration::from_secs(100);
    plan.vanished_for = Duration::from_secs(90);
    plan.settle = Duration::from_secs(40);
    let paths = [Path::default(), Path { source: Some([10, 9, 0, 9].into()), ..Path::default() }];
    let upstreams: Vec<Vec<Arc<Upstream>>> = paths.iter().map(servers).collect();
    for (number, (members, has_source)) in resolvers.iter().enumerate() {
        let path = usize::from(*has_source);
        plan.resolvers.push(Arc::new(Resolver {
            name: format!("r{number}").into(),
            upstreams: chosen(&upstreams[path], *members),
            path: Arc::new(paths[path].clone()),
            labels: Labels::default(),
            base: None,
        }));
    }
    for (number, (members, mode, list)) in domains.iter().enumerate() {
        let mut asked = chosen(&plan.resolvers, *members);
        if asked.is_empty() {
            asked.push(plan.resolvers[0].clone());
        }
        let kms = match mode {
            0 => KmsMode::Optional,
            1 => KmsMode::None,
            _ => KmsMode::Required,
        };
        let name = Name::parse(&format!("d{number}.contoso.test")).expect("a name");
        let domain = PlannedDomain::new(name, asked.into(), kms, listed(*list), Labels::default());
        plan.domains.push(Arc::new(domain));
    }
    let of = |plan: &Plan, at: usize| Name::parse(plan.domains[at].name.as_str()).expect("a name");
    let (first, last) = (of(&plan, 0), of(&plan, plan.domains.len() - 1));
    let resolver = plan.resolvers[0].clone();
    let searching = |name: &str, resolver, suffixes: Vec<Name>| {
        let suffixes = suffixes.into();
        Arc::new(Profile { suffixes, ..Profile::of(name, resolver) }.with_search())
    };
    plan.profiles.push(searching("near", resolver.clone(), vec![last.clone(), first.clone()]));
    plan.profiles.push(searching("far", resolver.over(paths[1].clone()), vec![first, last]));
    let host = Host { target: targets()[0].clone(), port: 1688 };
    let machines = Machines { clients: Some(40), servers: None, office: Some(3) };
    let far = plan.profiles[1].resolver.clone();
    let pinned = Profile { office_kms_host: Some(host), machines, ..Profile::of("pinned", far) };
    plan.profiles.push(Arc::new(pinned.with_search()));
    let note =
        |probe| kmswatch::model::plan::HostNote { probe, reason: None, labels: Labels::default() };
    plan.hosts.insert(targets()[3].clone(), Arc::new(note(false)));
    plan.exceptions = all_exceptions().into_iter().take(exceptions.saturating_sub(4)).collect();
    plan.maintenance = chosen(&all_maintenance(), exceptions);
    plan
}

/// Within the minutes in which something is seen: of domains, of a host, of a resolver.
fn all_maintenance() -> [Maintenance; 3] {
    let at = |seconds| start() + SignedDuration::from_secs(seconds);
    let of = |from, until, pattern: Option<&str>| {
        let mut globs = globset::GlobSet::builder();
        pattern.map(|pattern| globs.add(globset::Glob::new(pattern).expect("a glob")));
        Maintenance {
            patterns: pattern.iter().map(|pattern| (*pattern).to_owned()).collect(),
            domains: globs.build().expect("globs"),
            hosts: Vec::new(),
            resolvers: Vec::new(),
            window: Window::Once(at(from), at(until)),
            reason: Some("work".to_owned()),
        }
    };
    let host = WorkedOn { target: targets()[0].clone(), port: None };
    let weekly = Weekly {
        day: Weekday::Tuesday,
        from: Time::constant(14, 1, 0, 0),
        until: Time::constant(14, 9, 0, 0),
        zone: TimeZone::get("Europe/Berlin").expect("a zone"),
    };
    let window = Window::Weekly(weekly);
    [
        of(30, 700, Some("d[01].*")),
        Maintenance { hosts: vec![host], ..of(100, 300, None) },
        Maintenance { resolvers: vec!["r0".into()], window, ..of(0, 0, None) },
    ]
}

fn servers(path: &Path) -> Vec<Arc<Upstream>> {
    let server =
        |last| Server { transport: Transport::Udp, address: ([10, 0, 0, last], 53).into() };
    (1..=3).map(|last| Arc::new(Upstream { server: server(last), path: path.clone() })).collect()
}

/// Those whose bit is set.
fn chosen<T: Clone>(all: &[T], bits: usize) -> Vec<T> {
    all.iter()
        .enumerate()
        .filter(|(at, _)| bits >> at & 1 == 1)
        .map(|(_, one)| one.clone())
        .collect()
}

fn listed(which: usize) -> Option<Arc<[ListedHost]>> {
    let host = |at: usize, port, priority_and_weight| ListedHost {
        host: Host { target: targets()[at].clone(), port },
        priority_and_weight,
    };
    match which {
        0 => Some([host(0, 1688, None), host(1, 1700, Some((10, 75)))].into()),
        1 => Some([host(0, 1688, Some((10, 75))), host(1, 1688, None), host(2, 1688, None)].into()),
        _ => None,
    }
}

fn all_exceptions() -> [kmswatch::model::plan::Exception; 3] {
    let exception = |checks: &[Check], pattern: &str, severity| {
        let glob = globset::Glob::new(pattern).expect("a glob");
        kmswatch::model::plan::Exception {
            checks: checks.to_vec(),
            patterns: vec![pattern.to_owned()],
            domains: globset::GlobSet::builder().add(glob).build().expect("globs"),
            severity,
            reason: None,
            expires: Some("2026-06-30".parse().expect("a day")),
        }
    };
    [
        exception(&[Check::ServerFailure, Check::TierDown], "*", None),
        exception(&[Check::AllHostsDown, Check::SrvMissing], "d0.*", Some(Severity::Info)),
        exception(&[Check::HostDown, Check::TargetUnresolvable], "d?.contoso.test", None),
    ]
}

/// What records may name: hosts, one that is not probed, a missing dot, an address, hostile bytes,
/// the root.
pub fn targets() -> Vec<Name> {
    let hostile: [&[u8]; 3] = [b"-vc {target}", &[0, 255, b'.', b'\\', b'"', b'$'], b"test"];
    let name = |text: &str| Name::from_labels(text.split('.').map(str::as_bytes));
    vec![
        name("kms0.contoso.test"),
        name("kms1.contoso.test"),
        name("kms2.contoso.test"),
        name("unprobed.contoso.test"),
        name("kms.contoso.test.contoso.test"),
        name("10.1.0.1"),
        Name::from_labels(hostile.into_iter()),
        Name::from_labels(std::iter::empty()),
    ]
}

/// Steps of any kind and outcome; times mostly within the interval, sometimes past staleness.
pub fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![8 => 0..4_i64, 4 => 5..30_i64, 1 => Just(60_i64), 1 => Just(181_i64), 1 => Just(3600 * 13)];
    let step = (after, seen()).prop_map(|(after, seen)| Step { after, seen });
    proptest::collection::vec(step, count)
}

fn seen() -> impl Strategy<Value = Seen> {
    let kind = || select(vec![RecordKind::A, RecordKind::Aaaa]);
    let address = (any::<Index>(), kind(), any::<Index>(), addresses()).prop_map(
        |(target, kind, server, mut answer)| {
            answer.addresses.retain(|address| address.is_ipv4() == (kind == RecordKind::A));
            if answer.outcome == LookupOutcome::Records && answer.addresses.is_empty() {
                answer = Answer::bare(LookupOutcome::Nodata);
            }
            Seen::Address { target, kind, server, answer }
        },
    );
    let probe = (
        any::<Index>(),
        select(pool()),
        select(vec![1688, 1700]),
        select(ProbeOutcome::ALL.to_vec()),
        any::<bool>(),
    );
    let probe = probe.prop_map(|(path, address, port, outcome, is_slow)| {
        let connect = Some(Duration::from_millis(if is_slow { 800 } else { 2 }));
        Seen::Probe { path, address, port, probe: Probe { connect, ..Probe::bare(outcome) } }
    });
    let srv = (any::<Index>(), any::<Index>(), srv_answers())
        .prop_map(|(domain, server, answer)| Seen::Srv { domain, server, answer });
    prop_oneof![2 => srv, 2 => address, 1 => probe]
}

/// SRV answers of every outcome, with up to 6 records.
pub fn srv_answers() -> impl Strategy<Value = Answer> {
    let record = (
        select(vec![10_u16, 20]),
        select(vec![0_u16, 25, 75]),
        any::<Index>(),
        select(vec![30_u32, 3600]),
    );
    let record = record.prop_map(|(priority, weight, target, ttl)| {
        let at = target.index(targets().len());
        // One port a target, or "published elsewhere" would hang on what other servers say.
        let port = if at == 1 { 1700 } else { 1688 };
        Record { priority, weight, port, target: targets()[at].clone(), ttl }
    });
    let records =
        (proptest::collection::vec(record, 1..6), any::<bool>()).prop_map(|(mut records, aa)| {
            records.sort_unstable();
            let flags = Flags { aa, ..Flags::default() };
            Answer { records, flags, ..Answer::bare(LookupOutcome::Records) }
        });
    prop_oneof![3 => records, 2 => empty()]
}

/// Address answers of every outcome; addresses of both families, to be told apart by the caller.
pub fn addresses() -> impl Strategy<Value = Answer> {
    let some = proptest::collection::btree_set(select(pool()), 1..3);
    let records = (some, proptest::bool::weighted(0.1)).prop_map(|(addresses, is_alias)| {
        let aliases = if is_alias { vec![targets()[0].clone()] } else { Vec::new() };
        let addresses = addresses.into_iter().collect();
        Answer { addresses, aliases, ..Answer::bare(LookupOutcome::Records) }
    });
    prop_oneof![3 => records, 2 => empty()]
}

fn empty() -> impl Strategy<Value = Answer> {
    let denials = select(vec![LookupOutcome::Nxdomain, LookupOutcome::Nodata]);
    let others = select(LookupOutcome::ALL[1..].to_vec());
    prop_oneof![denials, others].prop_map(Answer::bare)
}

fn pool() -> Vec<IpAddr> {
    ["10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8::1"]
        .map(|text| text.parse().expect("an address"))
        .to_vec()
}
