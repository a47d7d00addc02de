//! PURE. What must be observed: SRV on every server, A and AAAA of targets per resolver, endpoints of
//! resolved hosts.

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;
use siphasher::sip::SipHasher13;

use crate::model::observation::MAX_ENDPOINTS;
use crate::model::plan::Depth;
use crate::model::srv::naming_hosts;
use crate::model::{
    EndpointKey, LookupKey, Name, Plan, PlannedDomain, Profile, Reachability, Record, Resolver,
};

use super::resolution::{ADDRESS_KINDS, Resolution, Verdict, resolve};
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
    let mut planner = Planner::new(plan, state, now);
    plan.domains.iter().for_each(|domain| planner.add_domain(domain));
    plan.profiles.iter().for_each(|profile| planner.add_profile(profile));
    planner.work
}

/// The part of [`work`] that is there for this domain of the plan.
pub(super) fn work_of(plan: &Plan, domain: &PlannedDomain, state: &State, now: Timestamp) -> Work {
    let mut planner = Planner::new(plan, state, now);
    planner.add_domain(domain);
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

/// The endpoints of a host.
struct Endpoints {
    keys: Vec<EndpointKey>,
    /// For how many more room is kept while its addresses are awaited: else the hosts behind it would
    /// take their place until they come, and be probed for it.
    reserved: usize,
    /// Whether all of them are work already.
    are_added: bool,
}

struct Planner<'a> {
    plan: &'a Plan,
    state: &'a State,
    horizon: Horizon,
    /// Endpoints by resolver (its place in memory: resolvers of a plan are shared) and host.
    hosts: HashMap<(*const Resolver, &'a Name, u16), Endpoints, FixedState>,
    targets: HashSet<(*const Resolver, &'a Name), FixedState>,
    work: Work,
}

impl<'a> Planner<'a> {
    fn new(plan: &'a Plan, state: &'a State, now: Timestamp) -> Self {
        Self {
            plan,
            state,
            horizon: Horizon::new(now, plan.stale_after()),
            hosts: HashMap::default(),
            targets: HashSet::default(),
            work: Work::default(),
        }
    }

    fn add_domain(&mut self, domain: &'a PlannedDomain) {
        let mut room = MAX_ENDPOINTS;
        for resolver in domain.resolvers.iter() {
            let mut records = naming_hosts(held_records(self.state, domain, resolver));
            records.sort_unstable_by_key(|record| (record.priority, &record.target, record.port));
            for record in records {
                self.add_host(resolver, &record.target, record.port, &mut room);
            }
        }
    }

    /// What its clients may come to over its path. What a domain brings already is the same key.
    fn add_profile(&mut self, profile: &'a Profile) {
        profile.search.iter().for_each(|domain| self.add_domain(domain));
        for (host, _) in profile.fixed_hosts() {
            let mut room = MAX_ENDPOINTS;
            self.add_host(&profile.resolver, &host.target, host.port, &mut room);
        }
    }

    fn add_host(
        &mut self,
        resolver: &'a Arc<Resolver>,
        target: &'a Name,
        port: u16,
        room: &mut usize,
    ) {
        let key = (Arc::as_ptr(resolver), target, port);
        let endpoints = if let Some(known) = self.hosts.get_mut(&key) {
            known
        } else {
            let resolution = resolve(self.state, resolver, target, &self.horizon);
            self.add_target(resolver, target, resolution.verdict);
            let endpoints =
                endpoints_of(self.plan, self.state, resolver, (target, port), resolution);
            self.hosts.entry(key).or_insert(endpoints)
        };
        let taken = endpoints.keys.len().min(*room);
        if !endpoints.are_added {
            self.work.endpoints.extend(endpoints.keys[..taken].iter().cloned());
            endpoints.are_added = taken == endpoints.keys.len();
        }
        *room -= taken.max(endpoints.reserved.min(*room));
    }

    /// One server of the resolver a turn, as a client would; all of them where none has an address.
    fn add_target(&mut self, resolver: &'a Resolver, target: &'a Name, verdict: Verdict) {
        let key: *const Resolver = resolver;
        if target.as_address().is_some() || !self.targets.insert((key, target)) {
            return;
        }
        let first = usize::try_from(spread(target) % resolver.upstreams.len() as u64).unwrap_or(0);
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
    (target, port): (&Name, u16),
    resolution: Resolution,
) -> Endpoints {
    if !plan.is_probed(target) {
        return Endpoints { keys: Vec::new(), reserved: 0, are_added: true };
    }
    let reserved = usize::from(resolution.verdict == Verdict::Pending);
    let suiting = resolution.addresses.into_iter().filter(|address| resolver.path.suits(*address));
    let at_port = |port| {
        move |address| EndpointKey {
            path: resolver.path.clone(),
            address: SocketAddr::new(address, port),
        }
    };
    let mut keys: Vec<EndpointKey> = suiting.map(at_port(port)).collect();
    if port != plan.kms_port && plan.probe.depth == Depth::Rpc && fails(state, &keys) {
        let elsewhere: Vec<_> =
            keys.iter().map(|key| at_port(plan.kms_port)(key.address.ip())).collect();
        keys.extend(elsewhere);
    }
    Endpoints { keys, reserved, are_added: false }
}

/// Whether every endpoint was probed and none is up.
fn fails(state: &State, endpoints: &[EndpointKey]) -> bool {
    let fails = |key: &EndpointKey| {
        state.probe(key).is_some_and(|probe| probe.value.outcome.reachability() != Reachability::Up)
    };
    endpoints.iter().all(fails)
}
