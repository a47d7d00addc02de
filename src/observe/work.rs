//! PURE. What must be observed: SRV on every server, A and AAAA of targets per resolver, endpoints of
//! resolved hosts.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;
use siphasher::sip::SipHasher13;

use crate::model::observation::MAX_ENDPOINTS;
use crate::model::plan::Depth;
use crate::model::{
    EndpointKey, Host, LookupKey, Name, Plan, PlannedDomain, Profile, Reachability, Record,
    Resolver,
};

use super::resolution::{ADDRESS_KINDS, Verdict, resolve};
use super::state::{Horizon, State};

/// What must be observed beyond the SRV lookups: it follows from what was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Address lookups, and in which intervals each is made.
    pub addresses: HashMap<LookupKey, Turn, FixedState>,
    /// Endpoints; each is probed once an interval.
    pub endpoints: HashSet<EndpointKey, FixedState>,
}

/// In which intervals a key is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Turn {
    /// Once in so many intervals; at least 1.
    pub every: u32,
    /// In which of them; 0 is the first pass.
    pub offset: u32,
}

impl Turn {
    /// Once in each interval.
    pub const ALWAYS: Self = Self { every: 1, offset: 0 };
}

/// The SRV lookups of a plan: every domain on every server that it is asked of, and over the paths of
/// the profiles that search it; each once.
pub fn srv_keys(plan: &Plan) -> Vec<LookupKey> {
    let mut keys = Vec::new();
    for domain in &plan.domains {
        let start = keys.len();
        for upstream in domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams) {
            let key = domain.srv_key(upstream);
            // Two resolvers may share a server.
            if !keys[start..].contains(&key) {
                keys.push(key);
            }
        }
    }
    keys.extend(plan.profile_keys());
    keys
}

/// What must be observed beyond [`srv_keys`], by what was seen until `now`.
pub fn work(plan: &Plan, state: &State, now: Timestamp) -> Work {
    let mut planner = Planner {
        plan,
        state,
        horizon: Horizon::new(now, plan.stale_after()),
        hosts: HashMap::default(),
        targets: HashSet::default(),
        work: Work::default(),
    };
    plan.domains.iter().for_each(|domain| planner.add_domain(domain));
    plan.profiles.iter().for_each(|profile| planner.add_profile(profile));
    planner.work
}

/// The records that a resolver's servers returned last, for one domain; held while they are silent.
pub fn held_records<'a>(
    state: &'a State,
    domain: &'a PlannedDomain,
    resolver: &'a Resolver,
) -> impl Iterator<Item = &'a Record> {
    let usable = |upstream| state.lookup(&domain.srv_key(upstream))?.usable.as_ref();
    resolver.upstreams.iter().filter_map(usable).flat_map(|usable| &usable.value.records)
}

/// A number that spreads names evenly and is the same in every process.
pub(crate) fn spread(name: &Name) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_str().as_bytes());
    hasher.finish()
}

/// The endpoints of a host, and for how many of them room is kept while its addresses are awaited.
type Endpoints = (Arc<[EndpointKey]>, usize);

struct Planner<'a> {
    plan: &'a Plan,
    state: &'a State,
    horizon: Horizon,
    /// Endpoints by resolver (its place in memory: resolvers of a plan are shared) and host.
    hosts: HashMap<(*const Resolver, Host), Endpoints, FixedState>,
    targets: HashSet<(*const Resolver, Name), FixedState>,
    work: Work,
}

impl Planner<'_> {
    fn add_domain(&mut self, domain: &PlannedDomain) {
        let mut room = MAX_ENDPOINTS;
        let mut hosts: Vec<(u16, Host)> = Vec::with_capacity(8);
        for resolver in domain.resolvers.iter() {
            hosts.clear();
            for record in held_records(self.state, domain, resolver) {
                let known = |(_, host): &(u16, Host)| {
                    host.port == record.port && host.target == record.target
                };
                if !record.target.is_root() && !hosts.iter().any(known) {
                    hosts.push((record.priority, record.host()));
                }
            }
            hosts.sort_unstable();
            for (_, host) in hosts.drain(..) {
                self.add_host(resolver, host, &mut room);
            }
        }
    }

    /// What its clients may come to over its path. What a domain brings already is the same key.
    fn add_profile(&mut self, profile: &Profile) {
        profile.search.iter().for_each(|domain| self.add_domain(domain));
        for (host, _) in profile.fixed_hosts() {
            let mut room = MAX_ENDPOINTS;
            self.add_host(&profile.resolver, host.clone(), &mut room);
        }
    }

    fn add_host(&mut self, resolver: &Arc<Resolver>, host: Host, room: &mut usize) {
        let (endpoints, reserved) = match self.hosts.entry((Arc::as_ptr(resolver), host)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => {
                let host = unknown.key().1.clone();
                let made = endpoints_of(self.plan, self.state, resolver, &host, &self.horizon);
                unknown.insert(made.clone());
                self.add_target(resolver, &host.target);
                made
            }
        };
        let taken = endpoints.len().min(*room);
        self.work.endpoints.extend(endpoints[..taken].iter().cloned());
        // Else the hosts behind it would take its place until its address comes, and be probed for it.
        *room -= taken.max(reserved.min(*room));
    }

    /// One server of the resolver a turn, as a client would; all of them where none has an address.
    fn add_target(&mut self, resolver: &Arc<Resolver>, target: &Name) {
        if target.as_address().is_some()
            || !self.targets.insert((Arc::as_ptr(resolver), target.clone()))
        {
            return;
        }
        let first = usize::try_from(spread(target) % resolver.upstreams.len() as u64).unwrap_or(0);
        let verdict = resolve(self.state, resolver, target, &self.horizon).verdict;
        let asked_first = ADDRESS_KINDS.iter().all(|kind| {
            let upstream = resolver.upstreams[first].clone();
            self.state.lookup(&LookupKey { upstream, name: target.clone(), kind: *kind }).is_some()
        });
        let all = self.plan.asks_all || asked_first && verdict != Verdict::Resolved;
        let count = resolver.upstreams.len();
        for (position, upstream) in resolver.upstreams.iter().enumerate() {
            let turn = match all {
                true => Turn::ALWAYS,
                false => turn_of(count, (position + count - first) % count),
            };
            for kind in ADDRESS_KINDS {
                let key = LookupKey { upstream: upstream.clone(), name: target.clone(), kind };
                // Two resolvers may share a server: as often as one wants it, as early as the other.
                let known = self.work.addresses.entry(key).or_insert(turn);
                known.every = known.every.min(turn.every);
                known.offset = known.offset.min(turn.offset);
            }
        }
    }
}

fn turn_of(count: usize, offset: usize) -> Turn {
    let clamp = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Turn { every: clamp(count), offset: clamp(offset) }
}

/// The endpoints of a host over the resolver's path; those at the well-known port only where the
/// published port fails.
fn endpoints_of(
    plan: &Plan,
    state: &State,
    resolver: &Resolver,
    host: &Host,
    horizon: &Horizon,
) -> Endpoints {
    if !plan.is_probed(&host.target) {
        return (Arc::new([]), 0);
    }
    let resolution = resolve(state, resolver, &host.target, horizon);
    let reserved = usize::from(resolution.verdict == Verdict::Pending);
    let suiting = resolution.addresses.into_iter().filter(|address| resolver.path.suits(*address));
    let at_port = |port| {
        move |address| EndpointKey {
            path: resolver.path.clone(),
            address: SocketAddr::new(address, port),
        }
    };
    let mut endpoints: Vec<EndpointKey> = suiting.map(at_port(host.port)).collect();
    if host.port != plan.kms_port && plan.probe.depth == Depth::Rpc && fails(state, &endpoints) {
        let elsewhere: Vec<_> =
            endpoints.iter().map(|key| at_port(plan.kms_port)(key.address.ip())).collect();
        endpoints.extend(elsewhere);
    }
    (endpoints.into(), reserved)
}

/// Whether every endpoint was probed and none is up.
fn fails(state: &State, endpoints: &[EndpointKey]) -> bool {
    let fails = |key: &EndpointKey| {
        state.probe(key).is_some_and(|probe| probe.value.outcome.reachability() != Reachability::Up)
    };
    endpoints.iter().all(fails)
}
