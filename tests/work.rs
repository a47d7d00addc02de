//! What must be observed follows from what was seen: a first pass over generated worlds comes to an
//! end, leaves nothing unseen that must be known, and keeps its bounds.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kmswatch::model::observation::{MAX_ADDRESSES, MAX_ENDPOINTS, MAX_RECORDS};
use kmswatch::model::plan::{Depth, HostNote};
use kmswatch::model::{
    Answer, EndpointKey, Host, KmsMode, Labels, LookupKey, LookupOutcome, Name, Observation, Path,
    Plan, PlannedDomain, Probe, ProbeOutcome, Reachability, Record, RecordKind, Resolver, Server,
    Transport, Upstream,
};
use kmswatch::observe::resolution::{Verdict, resolve};
use kmswatch::observe::state::{Horizon, State};
use kmswatch::observe::work::{Work, held_records, srv_keys, work};
use proptest::prelude::*;

/// What there is to be seen, by numbers that the generator chose.
#[derive(Debug, Clone)]
struct World {
    plan: Arc<Plan>,
    /// By server and domain: which targets it names, and on which port; none where it denies.
    records: Vec<Vec<(usize, u16)>>,
    /// By server and target: how many addresses of each family it gives; `None` where it fails.
    addresses: Vec<Option<(u8, u8)>>,
    /// By target: what its published port and the well-known port answer.
    probes: Vec<(ProbeOutcome, ProbeOutcome)>,
}

const SERVERS: usize = 4;
const DOMAINS: usize = 3;
const TARGETS: usize = 9;
const KMS_PORT: u16 = 1688;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_first_pass_ends_and_knows_what_it_must(world in worlds()) {
        let (state, work) = first_pass(&world)?;
        for domain in &world.plan.domains {
            for resolver in domain.resolvers.iter() {
                let records = held_records(&state, domain, resolver);
                for record in records.filter(|record| !record.target.is_root()) {
                    let horizon = Horizon::new(now(), world.plan.stale_after());
                    let verdict = resolve(&state, resolver, &record.target, &horizon).verdict;
                    prop_assert_ne!(verdict, Verdict::Pending, "{} at {}", record.target, resolver.name);
                }
            }
        }
        // Nothing that was seen again changes what must be seen.
        prop_assert_eq!(work, kmswatch::observe::work::work(&world.plan, &state, now()));
    }

    #[test]
    fn each_question_is_asked_once(world in worlds()) {
        let keys = srv_keys(&world.plan);
        let distinct: HashSet<&LookupKey> = keys.iter().collect();
        prop_assert_eq!(distinct.len(), keys.len());
        for domain in &world.plan.domains {
            for upstream in domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams) {
                prop_assert!(distinct.contains(&domain.srv_key(upstream)));
            }
        }
        let (_, work) = first_pass(&world)?;
        for (key, turn) in &work.addresses {
            prop_assert!(turn.offset < turn.every, "{key:?}: {turn:?}");
            prop_assert!(key.name.as_address().is_none() && !key.name.is_root());
        }
    }

    #[test]
    fn only_what_may_be_probed_is_probed(world in worlds()) {
        let (state, work) = first_pass(&world)?;
        for key in &work.endpoints {
            prop_assert!(key.path.suits(key.address.ip()));
            let target = target_of(key.address.ip());
            prop_assert!(world.plan.is_probed(&name(target)), "{key:?}");
            let published = published_ports(&world, &state, key, target);
            if published.contains(&key.address.port()) {
                continue;
            }
            // Not published, so it is the well-known port beside a published one that fails.
            prop_assert_eq!((key.address.port(), world.plan.probe.depth), (KMS_PORT, Depth::Rpc));
            let fails = |port: &u16| {
                let published = EndpointKey { path: key.path.clone(), address: (key.address.ip(), *port).into() };
                state.probe(&published).is_some_and(|seen| seen.value.outcome.reachability() != Reachability::Up)
            };
            prop_assert!(published.iter().any(fails), "{key:?}");
        }
    }

    /// Who keeps the work of one revision misses nothing while what was seen is fresh.
    #[test]
    fn work_changes_only_with_the_revision(world in worlds(), then in worlds(), last in worlds()) {
        let (mut state, mut known) = first_pass(&world)?;
        for next in [then, last].map(|next| World { plan: world.plan.clone(), ..next }) {
            let mut keys: Vec<LookupKey> = known.addresses.keys().cloned().collect();
            keys.extend(srv_keys(&world.plan));
            for key in keys {
                let before = state.revision();
                see(&mut state, &key, said(&next, &key));
                let fresh = work(&world.plan, &state, now());
                prop_assert!(state.revision() != before || fresh == known, "{key:?}");
                known = fresh;
            }
            for key in known.endpoints.clone() {
                let before = state.revision();
                see_probe(&mut state, &key, answered(&next, &key));
                let fresh = work(&world.plan, &state, now());
                prop_assert!(state.revision() != before || fresh == known, "{key:?}");
                known = fresh;
            }
        }
    }

    /// With as many records and addresses as servers like to send.
    #[test]
    fn bounds_hold(world in worlds(), targets in prop_oneof![Just(1), 1..MAX_RECORDS], v4 in 0..40_u8, v6 in 0..40_u8) {
        let domain = world.plan.domains[0].clone();
        let mut plan = (*world.plan).clone();
        plan.domains = vec![domain.clone()];
        let numbered = |number: usize| Name::parse(&format!("many{number}.test")).expect("a name");
        let records: Vec<Record> = (0..targets)
            .map(|number| Record { priority: 1, weight: 1, port: 1700, target: numbered(number), ttl: 60 })
            .collect();
        let mut state = State::default();
        for key in srv_keys(&plan) {
            let answer = Answer { records: records.clone(), ..Answer::bare(LookupOutcome::Records) };
            see(&mut state, &key, answer);
        }
        for _ in 0..3 {
            let wanted = work(&plan, &state, now());
            for key in wanted.addresses.keys() {
                let target = usize::from(key.name.as_str().as_bytes()[4]);
                see(&mut state, key, address_answer(target, key.kind, Some((v4, v6))));
            }
            for key in &wanted.endpoints {
                see_probe(&mut state, key, ProbeOutcome::Refused);
            }
            prop_assert!(wanted.endpoints.len() <= MAX_ENDPOINTS);
            if targets == 1 {
                let addresses: BTreeSet<IpAddr> = wanted.endpoints.iter().map(|key| key.address.ip()).collect();
                prop_assert!(addresses.len() <= MAX_ADDRESSES);
            }
        }
    }
}

fn now() -> Timestamp {
    "2026-06-30T12:00:00Z".parse().expect("a time")
}

/// Observes what must be observed first until nothing is left.
fn first_pass(world: &World) -> Result<(State, Work), TestCaseError> {
    let mut state = State::default();
    for key in srv_keys(&world.plan) {
        see(&mut state, &key, said(world, &key));
    }
    // One server, all servers, the published port, the well-known one; and once to see the end.
    for _ in 0..5 {
        let wanted = work(&world.plan, &state, now());
        let lookups = wanted
            .addresses
            .iter()
            .filter(|(key, turn)| turn.offset == 0 && state.lookup(key).is_none());
        let lookups: Vec<LookupKey> = lookups.map(|(key, _)| key.clone()).collect();
        let probes: Vec<EndpointKey> =
            wanted.endpoints.iter().filter(|key| state.probe(key).is_none()).cloned().collect();
        if lookups.is_empty() && probes.is_empty() {
            return Ok((state, wanted));
        }
        for key in &lookups {
            see(&mut state, key, said(world, key));
        }
        for key in &probes {
            let (published, well_known) = world.probes[target_of(key.address.ip())];
            see_probe(
                &mut state,
                key,
                if key.address.port() == KMS_PORT { well_known } else { published },
            );
        }
    }
    Err(TestCaseError::fail("there is always more to observe"))
}

fn see(state: &mut State, key: &LookupKey, answer: Answer) {
    state.record(Observation::Lookup { key: key.clone(), answer: Arc::new(answer), at: now() });
}

fn see_probe(state: &mut State, key: &EndpointKey, outcome: ProbeOutcome) {
    let probe = Arc::new(Probe::bare(outcome));
    state.record(Observation::Probe { key: key.clone(), probe, at: now() });
}

fn said(world: &World, key: &LookupKey) -> Answer {
    if key.kind == RecordKind::Srv {
        return srv_answer(world, key);
    }
    let target = (0..TARGETS).find(|number| name(*number) == key.name).expect("a target");
    let seen = world.addresses[server_of(&key.upstream) * TARGETS + target];
    address_answer(target, key.kind, seen)
}

fn answered(world: &World, key: &EndpointKey) -> ProbeOutcome {
    let (published, well_known) = world.probes[target_of(key.address.ip())];
    if key.address.port() == KMS_PORT { well_known } else { published }
}

fn srv_answer(world: &World, key: &LookupKey) -> Answer {
    let domain = world.plan.domains.iter().position(|domain| domain.owner == key.name);
    let named = &world.records[server_of(&key.upstream) * DOMAINS + domain.expect("a domain")];
    let record = |(target, port): &(usize, u16)| Record {
        priority: 10,
        weight: 1,
        port: *port,
        target: name(*target),
        ttl: 60,
    };
    let mut records: Vec<Record> = named.iter().map(record).collect();
    records.sort_unstable();
    let outcome = if records.is_empty() { LookupOutcome::Nxdomain } else { LookupOutcome::Records };
    Answer { records, ..Answer::bare(outcome) }
}

/// Addresses that tell to which target they belong.
fn address_answer(target: usize, kind: RecordKind, count: Option<(u8, u8)>) -> Answer {
    let Some((v4, v6)) = count else { return Answer::bare(LookupOutcome::Timeout) };
    let target = u8::try_from(target).expect("a small number");
    let addresses: Vec<IpAddr> = match kind {
        RecordKind::A => (0..v4).map(|last| Ipv4Addr::new(10, 1, target, last).into()).collect(),
        _ => (0..v6)
            .map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, target.into(), last.into()).into())
            .collect(),
    };
    let outcome = if addresses.is_empty() { LookupOutcome::Nodata } else { LookupOutcome::Records };
    Answer { addresses, ..Answer::bare(outcome) }
}

fn target_of(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(address) => address.octets()[2].into(),
        IpAddr::V6(address) => address.segments()[6].into(),
    }
}

/// Target 7 spells an address, which needs no lookup; the last is the root.
fn name(target: usize) -> Name {
    let text = match target {
        7 => "10.1.7.0".to_owned(),
        8 => String::new(),
        _ => format!("kms{target}.test"),
    };
    Name::from_labels(text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes))
}

fn server_of(upstream: &Upstream) -> usize {
    usize::from(upstream.server.address.port() - 53)
}

/// The ports on which the resolvers of this path lead to the target.
fn published_ports(
    world: &World,
    state: &State,
    key: &EndpointKey,
    target: usize,
) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for domain in &world.plan.domains {
        for resolver in domain.resolvers.iter().filter(|resolver| resolver.path == key.path) {
            let hosts = held_records(state, domain, resolver).map(Record::host);
            ports.extend(
                hosts.filter(|host: &Host| host.target == name(target)).map(|host| host.port),
            );
        }
    }
    ports
}

fn worlds() -> impl Strategy<Value = World> {
    let named =
        proptest::collection::vec((0..TARGETS, prop_oneof![Just(1688_u16), Just(1700)]), 0..5);
    let count = proptest::option::weighted(0.8, (0..4_u8, 0..3_u8));
    let outcome = || proptest::sample::select(ProbeOutcome::ALL.to_vec());
    let resolvers = proptest::collection::vec((1..16_usize, any::<bool>()), 2..=3);
    (
        (resolvers, any::<bool>()),
        proptest::collection::vec(named, SERVERS * DOMAINS),
        proptest::collection::vec(count, SERVERS * TARGETS),
        proptest::collection::vec((outcome(), outcome()), TARGETS),
    )
        .prop_map(|((resolvers, rpc), records, addresses, probes)| World {
            plan: Arc::new(plan(&resolvers, rpc)),
            records,
            addresses,
            probes,
        })
}

/// Resolvers that share servers, over the default path or from an IPv4 source.
fn plan(resolvers: &[(usize, bool)], is_rpc: bool) -> Plan {
    let mut plan = Plan::empty();
    plan.interval = Duration::from_mins(1);
    plan.probe.depth = if is_rpc { Depth::Rpc } else { Depth::Tcp };
    let paths = [Path::default(), Path { source: Some([10, 9, 0, 9].into()), ..Path::default() }];
    let server = |number: usize| {
        let port = 53 + u16::try_from(number).expect("a small number");
        Server { transport: Transport::Udp, address: ([10, 0, 0, 1], port).into() }
    };
    let upstreams = paths.clone().map(|path| {
        let upstream = |number| Arc::new(Upstream { server: server(number), path: path.clone() });
        (0..SERVERS).map(upstream).collect::<Vec<_>>()
    });
    for (number, (members, has_source)) in resolvers.iter().enumerate() {
        let path = usize::from(*has_source);
        let mine = upstreams[path].iter().enumerate().filter(|(at, _)| members >> at & 1 == 1);
        plan.resolvers.push(Arc::new(Resolver {
            name: format!("r{number}").into(),
            upstreams: mine.map(|(_, upstream)| upstream.clone()).collect(),
            path: Arc::new(paths[path].clone()),
            labels: Labels::default(),
            base: None,
        }));
    }
    for number in 0..DOMAINS {
        let name = Name::parse(&format!("d{number}.test")).expect("a name");
        let asked: Vec<Arc<Resolver>> = plan.resolvers.iter().skip(number / 2).cloned().collect();
        let domain =
            PlannedDomain::new(name, asked.into(), KmsMode::Required, None, Labels::default());
        plan.domains.push(Arc::new(domain));
    }
    let note = HostNote { probe: false, reason: None, labels: Labels::default() };
    plan.hosts.insert(name(0), Arc::new(note));
    plan
}
