//! The immutable state after an audit; everything published is read from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::discovery::{Choice, Verdict};
use super::finding::ClientError;
use super::journal::JournalCondition;
use super::observation::display_and_serialize_as_str;
use super::{
    Answer, Discovery, Finding, Host, Name, Path, PlannedDomain, Probe, Profile, Record, Resolver,
    Severity, Status, Subject, Upstream,
};

/// The immutable state after an audit: a generation number and `Arc`s of parts, unchanged ones
/// shared with the generation before.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where the daemon stands that made it, by its config.
    pub vantage: Option<Arc<str>>,
    /// Counts up with every audit.
    pub generation: u64,
    /// When observing began: for `check` its start, for `run` the start of the daemon.
    pub started: Timestamp,
    /// When this audit was made.
    pub at: Timestamp,
    /// The worst active finding.
    pub status: Status,
    /// Sorted by name.
    pub domains: Vec<DomainEntry>,
    /// Every host that some domain publishes or some profile's clients come to, sorted.
    pub hosts: Vec<Arc<HostView>>,
    /// The declared clients, in the order of the config.
    pub profiles: Vec<ProfileEntry>,
    /// Active and suppressed ones; sorted by severity (worst first), check, subject, id.
    pub findings: Vec<Arc<Finding>>,
    /// Until when hosts answered that nobody publishes any more, as long as their records are among
    /// those seen ([`DomainView::seen`]); sorted by host.
    pub departed: Vec<(Host, Timestamp)>,
    /// Counts.
    pub summary: Summary,
    /// How the journal is; `None` where nothing is kept.
    pub journal: Option<JournalCondition>,
}

/// A domain with what the estate's findings make of it.
#[derive(Debug, Clone)]
pub struct DomainEntry {
    /// The worst active finding that hits it.
    pub status: Status,
    /// What was seen of it.
    pub view: Arc<DomainView>,
}

/// What was seen of a domain.
#[derive(Debug, PartialEq)]
pub struct DomainView {
    /// As configured.
    pub domain: Arc<PlannedDomain>,
    /// The latest answer of each server, in the order of resolvers and servers; servers not yet
    /// asked are left out.
    pub answers: Vec<AnswerView>,
    /// The union of the servers' last usable answers: distinct, sorted; the TTL is the least.
    pub records: Vec<Record>,
    /// Whether some server ever answered usably: else nothing is known of the records, not even that
    /// there are none.
    pub is_known: bool,
    /// The hosts of `records`: duplicates collapsed, sorted by priority, weight (greatest first), name.
    pub hosts: Vec<DomainHost>,
    /// Since and until when each host was seen published, by its servers together; also those that vanished
    /// within the config's `vanished_for`. Sorted by host; empty where no history is kept.
    pub seen: Vec<SeenHost>,
    /// What is beyond the bounds, and so was not looked at.
    pub left_out: LeftOut,
    /// When it was audited.
    pub audited: Timestamp,
}

/// How much of a domain is beyond the bounds of [`super::observation`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// SRV records of the longest answer.
    pub records: usize,
    /// Addresses of the targets with too many.
    pub addresses: usize,
    /// Endpoints of the domain.
    pub endpoints: usize,
}

impl DomainView {
    /// Since and until when this host was seen.
    pub fn seen_of(&self, host: &Host) -> Option<&SeenHost> {
        let at = self.seen.binary_search_by(|seen| seen.host.cmp(host)).ok()?;
        Some(&self.seen[at])
    }

    /// The hosts that vanished.
    pub fn vanished(&self) -> impl Iterator<Item = (&SeenHost, Timestamp)> {
        self.seen.iter().filter_map(|seen| Some((seen, seen.gone?)))
    }
}

/// Since and until when a domain was seen to publish a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenHost {
    /// Target and port.
    pub host: Host,
    /// As last seen.
    pub priority: u16,
    /// As last seen.
    pub weight: u16,
    /// When some server showed it first.
    pub first_seen: Timestamp,
    /// When some server showed it last.
    pub last_seen: Timestamp,
    /// Since when no server shows it that ever did, by usable answers of each.
    pub gone: Option<Timestamp>,
}

/// What one server said last.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerView {
    /// The group that the server was asked for.
    pub resolver: Arc<Resolver>,
    /// The server over its path.
    pub upstream: Arc<Upstream>,
    /// The latest answer.
    pub answer: Arc<Answer>,
    /// When it came.
    pub at: Timestamp,
}

impl AnswerView {
    /// The word of the contract for whom was asked. Authorities are not asked in this version.
    pub fn role(&self) -> &'static str {
        "resolver"
    }
}

/// A host as one domain publishes it.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainHost {
    /// Target and port.
    pub host: Host,
    /// The least, where servers differ.
    pub priority: u16,
    /// The weight at that priority; weights of duplicates add.
    pub weight: u32,
    /// The part of new clients that pick it first, 0..=1.
    pub share: f64,
    /// The same over what is up.
    pub live_share: f64,
    /// As seen over the paths of this domain's resolvers.
    pub status: HostStatus,
}

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostStatus {
    /// Every endpoint answers.
    Up,
    /// Some addresses or paths answer, some do not.
    Degraded,
    /// None answers.
    Down,
    /// Cannot be told.
    Unknown,
}

impl HostStatus {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// Whether some client is served.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

/// A host over all its endpoints and paths.
#[derive(Debug, PartialEq)]
pub struct HostView {
    /// Target and port.
    pub host: Host,
    /// Over all paths.
    pub status: HostStatus,
    /// The status over each path that leads to it, sorted by path.
    pub paths: Vec<(Arc<Path>, HostStatus)>,
    /// When one of its endpoints answered last, as far as anybody remembers.
    pub last_up: Option<Timestamp>,
    /// The domains that publish it, sorted.
    pub domains: Vec<Name>,
    /// Sorted by path and address.
    pub endpoints: Vec<EndpointView>,
}

/// One address of a host over one path.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// From where.
    pub path: Arc<Path>,
    /// The address; the port is the host's.
    pub address: IpAddr,
    /// The latest probe; `None` where it was not probed yet, or is not to be.
    pub probe: Option<Arc<Probe>>,
    /// When it was probed.
    pub at: Option<Timestamp>,
}

/// A declared client with what the findings about it make of it.
#[derive(Debug, Clone)]
pub struct ProfileEntry {
    /// The worst active finding about it.
    pub status: Status,
    /// What was seen of it.
    pub view: Arc<ProfileView>,
}

/// How a declared client finds its hosts, over its own path.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileView {
    /// As configured.
    pub profile: Arc<Profile>,
    /// Of Windows.
    pub windows: Discovery,
    /// Of Office; differs only where a fixed host does.
    pub office: Discovery,
    /// What each server said last of each domain of the search, in the order of the search and the
    /// servers; those not yet asked are left out.
    pub answers: Vec<(Arc<PlannedDomain>, AnswerView)>,
}

impl ProfileView {
    /// Of both products, Windows first.
    pub fn discoveries(&self) -> impl Iterator<Item = &Discovery> {
        [&self.windows, &self.office].into_iter()
    }

    /// What its clients show in the end; Windows' counts before Office's.
    pub fn client_error(&self) -> Option<ClientError> {
        self.discoveries().find_map(|discovery| discovery.failure()?.error)
    }

    /// Whether every product is served (`true`), some is not (`false`), or that cannot be told.
    pub fn is_served(&self) -> Option<bool> {
        let fails = self.discoveries().any(|discovery| discovery.failure().is_some());
        let served = self.discoveries().all(|discovery| discovery.verdict == Verdict::Served);
        (fails || served).then_some(served)
    }

    /// Every host that its clients may pick, each once: Windows' first.
    pub fn choices(&self) -> Vec<&Choice> {
        let mut choices: Vec<&Choice> = Vec::new();
        for choice in self.discoveries().flat_map(|discovery| &discovery.hosts) {
            if !choices.iter().any(|known| known.host == choice.host) {
                choices.push(choice);
            }
        }
        choices
    }
}

/// Counts over a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Configured domains.
    pub domains: usize,
    /// Hosts that are published or that profiles come to.
    pub hosts: usize,
    /// Their endpoints.
    pub endpoints: usize,
    /// Active critical findings.
    pub critical: usize,
    /// Active warnings.
    pub warning: usize,
    /// Active infos.
    pub info: usize,
}

impl Snapshot {
    /// With these findings, and every status and count that follows from them.
    #[must_use]
    pub fn with_findings(mut self, findings: Vec<Arc<Finding>>) -> Self {
        self.findings = findings;
        let active = || self.findings.iter().filter(|finding| finding.is_active());
        self.domains.iter_mut().for_each(|entry| entry.status = Status::Ok);
        self.profiles.iter_mut().for_each(|entry| entry.status = Status::Ok);
        for finding in active() {
            let status = Status::from(finding.severity);
            for domain in &finding.domains {
                let at = self.domains.binary_search_by(|one| one.view.domain.name.cmp(domain));
                let known = at.ok().map(|at| &mut self.domains[at].status);
                known.into_iter().for_each(|known| *known = status.max(*known));
            }
            if let Subject::Profile(name) = &finding.subject {
                let known = self.profiles.iter_mut().find(|one| one.view.profile.name == *name);
                known.into_iter().for_each(|one| one.status = status.max(one.status));
            }
        }
        let count = |severity| active().filter(|finding| finding.severity == severity).count();
        let [critical, warning, info] =
            [Severity::Critical, Severity::Warning, Severity::Info].map(count);
        self.summary = Summary { critical, warning, info, ..self.summary };
        let statuses = active().map(|finding| finding.severity.into());
        self.status = statuses.max().unwrap_or(Status::Ok);
        self
    }

    /// The domain of this name.
    pub fn domain(&self, name: &Name) -> Option<&DomainEntry> {
        let at = self.domains.binary_search_by(|entry| entry.view.domain.name.cmp(name)).ok()?;
        Some(&self.domains[at])
    }

    /// What is known of this host.
    pub fn host(&self, host: &Host) -> Option<&HostView> {
        let at = self.hosts.binary_search_by(|view| view.host.cmp(host)).ok()?;
        Some(&self.hosts[at])
    }

    /// How long observing took until this audit.
    pub fn duration(&self) -> Duration {
        self.at.duration_since(self.started).unsigned_abs()
    }
}

display_and_serialize_as_str!(HostStatus);
