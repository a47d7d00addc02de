//! What a plan asks of servers and hosts, before anything is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::units::format_duration;
use crate::model::{Host, Name, Path, Plan, PlannedDomain, Resolver};

/// The load of a plan, as far as it can be known without asking.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadReport {
    /// Every key is observed once in this time.
    pub interval: Duration,
    /// Queries a second to one server, at most.
    pub rate: u32,
    /// By address: `rate` is of an address, over all transports and paths.
    pub servers: Vec<ServerLoad>,
    /// The hosts that the config lists, by name and port; those that only DNS names are not known.
    pub hosts: Vec<HostLoad>,
    /// What does not fit.
    pub warnings: Vec<String>,
}

/// What one server is asked in an interval.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLoad {
    /// The server.
    pub address: SocketAddr,
    /// SRV lookups: exact, without retries.
    pub srv_lookups: f64,
    /// A and AAAA lookups of listed hosts: an estimate, as the servers of a resolver take turns.
    pub address_lookups: f64,
    /// Both together, over the interval.
    pub queries_per_second: f64,
    /// How long it really takes, where `rate` cannot fit the interval.
    pub true_interval: Option<Duration>,
}

/// How often one listed host is probed.
#[derive(Debug, Clone, PartialEq)]
pub struct HostLoad {
    /// The host.
    pub host: Host,
    /// For each of its addresses that a path can reach; how many there are, DNS says. 0: `probe =
    /// false`.
    pub probes_per_minute: f64,
    /// Over so many paths.
    pub paths: usize,
}

/// Counts what a plan will ask.
pub fn load_report(plan: &Plan) -> LoadReport {
    let counts = count(plan);
    let seconds = plan.interval.as_secs_f64();
    let capacity = USABLE_RATE * f64::from(plan.dns.rate);
    let servers: Vec<ServerLoad> = counts
        .servers
        .into_iter()
        .map(|(address, (srv_lookups, address_lookups))| {
            let lookups = srv_lookups + address_lookups;
            let fits = lookups / seconds <= capacity;
            let true_interval = (!fits).then(|| Duration::from_secs_f64(lookups / capacity));
            let queries_per_second = lookups / seconds;
            ServerLoad { address, srv_lookups, address_lookups, queries_per_second, true_interval }
        })
        .collect();
    let hosts = counts.hosts.into_iter().map(|(host, paths)| {
        let paths = paths.len();
        let probed = plan.is_probed(&host.target);
        let probes_per_minute = if probed { number(paths) * 60.0 / seconds } else { 0.0 };
        HostLoad { host: host.clone(), probes_per_minute, paths }
    });
    let warnings = servers.iter().filter_map(|server| warning(server, plan)).collect();
    let (interval, rate) = (plan.interval, plan.dns.rate);
    LoadReport { interval, rate, hosts: hosts.collect(), servers, warnings }
}

/// A little of the rate is left for retries.
const USABLE_RATE: f64 = 0.98;

/// Lookups by server, SRV and addresses apart; paths by listed host.
#[derive(Default)]
struct Counts<'p> {
    servers: BTreeMap<SocketAddr, (f64, f64)>,
    hosts: BTreeMap<&'p Host, BTreeSet<&'p Path>>,
}

fn count(plan: &Plan) -> Counts<'_> {
    let mut counts = Counts::default();
    let mut targets: HashMap<*const Resolver, (&Resolver, HashSet<&Name>)> = HashMap::new();
    for (resolvers, domains) in by_resolvers(plan) {
        // One key, however many resolvers share the server and path.
        let upstreams: HashSet<_> = resolvers.iter().flat_map(|one| &one.upstreams).collect();
        for upstream in upstreams {
            counts.servers.entry(upstream.server.address).or_default().0 += number(domains.len());
        }
        let listed = domains.iter().filter_map(|domain| domain.hosts.as_deref()).flatten();
        let hosts: BTreeSet<&Host> = listed.map(|listed| &listed.host).collect();
        for resolver in resolvers {
            let known = targets.entry(Arc::as_ptr(resolver)).or_insert((resolver, HashSet::new()));
            known.1.extend(hosts.iter().map(|host| &host.target));
            for host in &hosts {
                counts.hosts.entry(host).or_default().insert(&resolver.path);
            }
        }
    }
    for key in plan.profile_keys() {
        counts.servers.entry(key.upstream.server.address).or_default().0 += 1.0;
    }
    for (resolver, names) in targets.into_values() {
        let share = KINDS * number(names.len()) / number(resolver.upstreams.len()).max(1.0);
        for upstream in &resolver.upstreams {
            counts.servers.entry(upstream.server.address).or_default().1 += share;
        }
    }
    counts
}

/// A and AAAA.
const KINDS: f64 = 2.0;

/// Resolvers, and the domains that are asked of them.
type Group<'p> = (&'p [Arc<Resolver>], Vec<&'p PlannedDomain>);

/// The domains by the slice of resolvers that they share.
fn by_resolvers(plan: &Plan) -> Vec<Group<'_>> {
    let mut groups: HashMap<_, Group<'_>> = HashMap::new();
    for domain in &plan.domains {
        let group = groups.entry(Arc::as_ptr(&domain.resolvers));
        group.or_insert((&domain.resolvers, Vec::new())).1.push(domain);
    }
    groups.into_values().collect()
}

fn warning(server: &ServerLoad, plan: &Plan) -> Option<String> {
    let true_interval = server.true_interval?;
    let shown = format_duration(Duration::from_secs_f64(true_interval.as_secs_f64().ceil()));
    Some(format!(
        "{}: {:.0} lookups do not fit into an interval of {} at rate = {}: the true interval is {shown}; \
         raise rate or interval",
        server.address,
        server.srv_lookups + server.address_lookups,
        format_duration(plan.interval),
        plan.dns.rate,
    ))
}

/// Counts stay far below where an f64 would round.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

impl fmt::Display for LoadReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = format_duration(self.interval);
        writeln!(formatter, "queries, every {interval} (at most {} a second each):", self.rate)?;
        for server in &self.servers {
            writeln!(
                formatter,
                "  {}: {:.1} a second: {:.0} SRV, and about {:.0} A and AAAA of listed hosts",
                server.address,
                server.queries_per_second,
                server.srv_lookups,
                server.address_lookups,
            )?;
        }
        writeln!(formatter, "  and A and AAAA of every host that only DNS names: not known here")?;
        if !self.hosts.is_empty() {
            writeln!(formatter, "probes of listed hosts, for each address that DNS gives them:")?;
        }
        for load in &self.hosts {
            let (host, rate) = (&load.host, load.probes_per_minute);
            let paths = if load.paths == 1 { "path" } else { "paths" };
            writeln!(formatter, "  {host}: {rate:.1} a minute over {} {paths}", load.paths)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(formatter, "warning: {warning}"))
    }
}
