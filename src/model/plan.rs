//! The validated config: what is watched, from where, and how. Made by `config`, changed by nobody.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::alert::AlertSettings;
use super::finding::Severity;
use super::maintenance::Maintenance;
use super::observation::display_and_serialize_as_str;
use super::srv::KMS_PORT;
use super::{Check, Host, Labels, LookupKey, Name, Path, Profile, RecordKind, Upstream};

/// What is watched, from where, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where this daemon stands, when several watch from several sites; a constant label of metrics and
    /// alerts.
    pub vantage: Option<Arc<str>>,
    /// Every key is observed once per interval.
    pub interval: Duration,
    /// How long a round really takes at least, where `rate` cannot fit it into the interval.
    pub true_interval: Duration,
    /// How servers are asked.
    pub dns: DnsSettings,
    /// How endpoints are probed.
    pub probe: ProbeSettings,
    /// The resolvers, in the order of the config; at least one.
    pub resolvers: Vec<Arc<Resolver>>,
    /// The domains, sorted by name, each name once: those of the config, and the suffixes of profiles.
    /// At least one, or a profile.
    pub domains: Vec<Arc<PlannedDomain>>,
    /// The declared clients, in the order of the config.
    pub profiles: Vec<Arc<Profile>>,
    /// What is known of a host, by target.
    pub hosts: HashMap<Name, Arc<HostNote>>,
    /// Accepted findings, in the order of the config.
    pub exceptions: Vec<Exception>,
    /// Known work, in the order of the config.
    pub maintenance: Vec<Maintenance>,
    /// The pages and metrics.
    pub web: WebSettings,
    /// Whom the daemon itself tells of findings.
    pub alert: AlertSettings,
    /// What outlives the process.
    pub journal: JournalSettings,
    /// How long a record's host may not answer until the record is stale. Default 7 days.
    pub record_stale_after: Duration,
    /// How long a vanished record stays a finding. Default 1 day.
    pub vanished_for: Duration,
    /// How long divergence is a warning before it is critical. Default 30 minutes.
    pub settle: Duration,
    /// Whether every server is asked for a target's addresses in each interval, and not one in turn; for
    /// one pass that must not wait for a server that is dead.
    pub asks_all: bool,
    /// The well-known port that port-mismatch and port-unusual compare with; only tests and the demo
    /// change it.
    pub kms_port: u16,
}

impl Plan {
    /// A plan of everything at its default, without resolvers and domains.
    pub fn empty() -> Self {
        Self {
            vantage: None,
            interval: Duration::from_mins(1),
            true_interval: Duration::ZERO,
            dns: DnsSettings::default(),
            probe: ProbeSettings::default(),
            resolvers: Vec::new(),
            domains: Vec::new(),
            profiles: Vec::new(),
            hosts: HashMap::new(),
            exceptions: Vec::new(),
            maintenance: Vec::new(),
            web: WebSettings::default(),
            alert: AlertSettings::default(),
            journal: JournalSettings::default(),
            record_stale_after: Duration::from_hours(7 * 24),
            vanished_for: Duration::from_hours(24),
            settle: Duration::from_mins(30),
            asks_all: false,
            kms_port: KMS_PORT,
        }
    }

    /// What is older than this is unknown: 3 intervals, as long as they really are; and long enough
    /// that what a silent peer is asked again and again never grows old between two timeouts.
    pub fn stale_after(&self) -> Duration {
        let silence = (self.dns.timeout * self.dns.attempts).max(self.probe.timeout);
        (self.interval.max(self.true_interval) * 3).max(self.interval * 2 + silence)
    }

    /// Every resolver over every path that is used: those of the config, then those of profiles with a
    /// path of their own; each once.
    pub fn asked_resolvers(&self) -> impl Iterator<Item = &Arc<Resolver>> {
        let own = |(at, profile): (usize, &'_ Arc<Profile>)| {
            let is_first = || {
                self.profiles[..at].iter().all(|one| !Arc::ptr_eq(&one.resolver, &profile.resolver))
            };
            profile.resolver.base.is_some() && is_first()
        };
        let derived = self.profiles.iter().enumerate().filter(move |one| own(*one));
        self.resolvers.iter().chain(derived.map(|(_, profile)| &profile.resolver))
    }

    /// The SRV lookups that profiles need beyond those of the domains: where the same server is asked
    /// over another path. Each once.
    pub fn profile_keys(&self) -> Vec<LookupKey> {
        let mut keys: Vec<LookupKey> = Vec::new();
        for domain in self.profiles.iter().flat_map(|profile| profile.search.iter()) {
            let known = self.domain(&domain.name);
            let asked = known.map_or(&[][..], |known| &known.resolvers);
            let is_asked = |upstream: &&Arc<Upstream>| {
                asked.iter().flat_map(|resolver| &resolver.upstreams).any(|one| one == *upstream)
            };
            for upstream in domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams) {
                let key = domain.srv_key(upstream);
                if !is_asked(&upstream) && !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// The domain of this name.
    pub fn domain(&self, name: &Name) -> Option<&Arc<PlannedDomain>> {
        let at = self.domains.binary_search_by(|domain| domain.name.cmp(name)).ok()?;
        Some(&self.domains[at])
    }

    /// Whether a host's endpoints are probed from here at all.
    pub fn is_probed(&self, target: &Name) -> bool {
        self.hosts.get(target).is_none_or(|note| note.probe)
    }
}

/// How servers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsSettings {
    /// Of one attempt. Default 2 s.
    pub timeout: Duration,
    /// Then the outcome is `timeout`. Default 3, at least 1.
    pub attempts: u32,
    /// Queries per second to one server, at most, everything counted. Default 500, at least 1.
    pub rate: u32,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(2), attempts: 3, rate: 500 }
    }
}

/// How endpoints are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSettings {
    /// How far a probe goes. Default `rpc`.
    pub depth: Depth,
    /// Whether the bind carries a second, random interface as control. Default true.
    pub control: bool,
    /// One deadline over connect and reply together. Default 3 s.
    pub timeout: Duration,
    /// A connect that takes longer is slow. Default 500 ms.
    pub slow: Duration,
    /// Probes under way at once, at most. Default 256, at least 1.
    pub concurrency: usize,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            depth: Depth::Rpc,
            control: true,
            timeout: Duration::from_secs(3),
            slow: Duration::from_millis(500),
            concurrency: 256,
        }
    }
}

/// How far a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Connect only.
    Tcp,
    /// Connect, then one RPC bind.
    Rpc,
}

impl Depth {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Rpc => "rpc",
        }
    }
}

/// A named group of servers that one site's clients use.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Unique within a plan.
    pub name: Arc<str>,
    /// The servers over the resolver's path, in the order of the config; at least one, none twice.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The path of every upstream; also of the probes of the hosts that this resolver leads to.
    pub path: Arc<Path>,
    /// From the config.
    pub labels: Labels,
    /// The resolver of the config that this one is, over a profile's path.
    pub base: Option<Arc<Resolver>>,
}

impl Resolver {
    /// The same servers over another path, as far as they are of its family; itself where the path is
    /// its own.
    pub fn over(self: &Arc<Self>, path: Path) -> Arc<Self> {
        if *self.path == path {
            return self.clone();
        }
        let suits = |upstream: &&Arc<Upstream>| path.suits(upstream.server.address.ip());
        let over = |upstream: &Arc<Upstream>| {
            Arc::new(Upstream { server: upstream.server, path: path.clone() })
        };
        Arc::new(Self {
            name: self.name.clone(),
            upstreams: self.upstreams.iter().filter(suits).map(over).collect(),
            labels: self.labels.clone(),
            base: Some(self.clone()),
            path: Arc::new(path),
        })
    }

    /// Tells it apart from every other resolver of a plan: its name, and the path where that is a
    /// profile's.
    pub fn scope(&self) -> String {
        match self.base {
            None => self.name.to_string(),
            Some(_) => format!("{} from {}", self.name, self.path),
        }
    }
}

/// A domain as configured.
#[derive(Debug, PartialEq, Eq)]
pub struct PlannedDomain {
    /// The domain.
    pub name: Name,
    /// `_vlmcs._tcp.<name>`.
    pub owner: Name,
    /// Who is asked; at least one.
    pub resolvers: Arc<[Arc<Resolver>]>,
    /// Whether absence or presence is a finding.
    pub kms: KmsMode,
    /// The exact set that should be published; `None` where the config does not say.
    pub hosts: Option<Arc<[ListedHost]>>,
    /// From the config.
    pub labels: Labels,
}

impl PlannedDomain {
    /// A domain with its owner name made.
    pub fn new(
        name: Name,
        resolvers: Arc<[Arc<Resolver>]>,
        kms: KmsMode,
        hosts: Option<Arc<[ListedHost]>>,
        labels: Labels,
    ) -> Self {
        let owner = Name::owner_of(&name);
        Self { name, owner, resolvers, kms, hosts, labels }
    }

    /// A domain that only profiles name: no record there is fine.
    pub fn optional(name: &Name, resolvers: Arc<[Arc<Resolver>]>) -> Arc<Self> {
        Arc::new(Self::new(name.clone(), resolvers, KmsMode::Optional, None, Labels::default()))
    }

    /// The SRV lookup of this domain on one of its servers.
    pub fn srv_key(&self, upstream: &Arc<Upstream>) -> LookupKey {
        LookupKey { upstream: upstream.clone(), name: self.owner.clone(), kind: RecordKind::Srv }
    }
}

/// What is expected of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KmsMode {
    /// Absence is a finding.
    Required,
    /// Absence is none.
    Optional,
    /// Any record is a rogue one.
    None,
}

impl KmsMode {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::None => "none",
        }
    }
}

/// A host that a domain should publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedHost {
    /// Target and port.
    pub host: Host,
    /// Priority and weight, compared only where given.
    pub priority_and_weight: Option<(u16, u16)>,
}

/// What the config knows of a host.
#[derive(Debug, PartialEq, Eq)]
pub struct HostNote {
    /// False: not reachable from here by design; its status stays unknown.
    pub probe: bool,
    /// Why.
    pub reason: Option<String>,
    /// From the config.
    pub labels: Labels,
}

/// A known and accepted finding.
#[derive(Debug, Clone)]
pub struct Exception {
    /// Which checks.
    pub checks: Vec<Check>,
    /// The globs as written.
    pub patterns: Vec<String>,
    /// The globs, compiled; a finding is excepted only if all domains that it hits match.
    pub domains: globset::GlobSet,
    /// The severity instead; `None` is "off".
    pub severity: Option<Severity>,
    /// Why.
    pub reason: Option<String>,
    /// The last day (UTC) on which it holds.
    pub expires: Option<jiff::civil::Date>,
}

/// The pages and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Where the daemon listens. Default 127.0.0.1:9688.
    pub listen: SocketAddr,
    /// Where people reach it; without a trailing slash; empty where unknown.
    pub external_url: String,
    /// The unix socket where calls that change something come; `None`: no socket.
    pub socket: Option<PathBuf>,
    /// Who else may change something; `None`: nobody.
    pub tokens: Option<Tokens>,
}

impl WebSettings {
    /// Whether all that stays for the life of the process is the same.
    pub fn is_served_alike(&self, other: &Self) -> bool {
        let Self { listen, external_url, socket, tokens: _ } = self;
        (listen, external_url, socket) == (&other.listen, &other.external_url, &other.socket)
    }
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9688)),
            external_url: String::new(),
            socket: None,
            tokens: None,
        }
    }
}

/// Who may call what changes something, from elsewhere than the unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Where they stand.
    pub file: PathBuf,
    /// As the file had them when it was read last.
    pub tokens: Arc<[Token]>,
}

/// A secret that lets its holder change something.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is, for the log.
    pub name: Arc<str>,
    /// At least 16 characters.
    pub secret: String,
}

/// Never the secret.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// The database; `None` keeps it in memory. The contract's default is `kmswatch.db`; an empty plan
    /// has none, as only `run` writes one.
    pub path: Option<PathBuf>,
    /// How long events are kept. Default 400 days: a year and what makes it comparable.
    pub keep: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { path: None, keep: Duration::from_hours(400 * 24) }
    }
}

display_and_serialize_as_str!(Depth, KmsMode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_intervals_are_never_shorter_than_a_silent_peer_takes() {
        let stale_after = |interval, true_interval| {
            let [interval, true_interval] = [interval, true_interval].map(Duration::from_secs);
            Plan { interval, true_interval, ..Plan::empty() }.stale_after().as_secs()
        };
        assert_eq!(stale_after(60, 0), 180);
        assert_eq!(stale_after(60, 100), 300, "rate does not fit the interval");
        assert_eq!(stale_after(1, 0), 2 + 3 * 2, "three attempts of two seconds");
    }
}
