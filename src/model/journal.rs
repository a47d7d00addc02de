//! What outlives the process: what was seen of records and hosts, what changed, and what people said
//! of findings. The types that `observe` and `audit` make, `journal` keeps, and publishers read.

use std::sync::Arc;

use jiff::Timestamp;

use super::finding::{Evidence, FindingId};
use super::observation::display_and_serialize_as_str;
use super::{Host, Name, Status, Upstream};

/// Who showed something: a server and the path that it was asked over, or a path that probes leave
/// by. As published, so that it is found again after a restart whatever else changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Witness {
    /// As [`super::Server`] displays it; empty for what probes saw.
    pub server: Arc<str>,
    /// As [`super::Path`] displays it.
    pub path: Arc<str>,
}

impl Witness {
    /// The witness that this upstream is.
    pub fn of(upstream: &Upstream) -> Self {
        Self { server: upstream.server.to_string().into(), path: upstream.path.to_string().into() }
    }
}

/// One record as one server showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// The domain that publishes it.
    pub domain: Name,
    /// The server that showed it.
    pub witness: Witness,
    /// Target and port: what makes it this record.
    pub host: Host,
    /// As last seen.
    pub priority: u16,
    /// As last seen.
    pub weight: u16,
    /// By this server.
    pub first_seen: Timestamp,
    /// By this server. Of a row that is open the journal keeps no time of its own: it is that of the
    /// server's last heartbeat.
    pub last_seen: Timestamp,
    /// Since when usable answers of this server lack it; `None` where it is there.
    pub gone: Option<Timestamp>,
}

/// Until when a host or an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUp<K> {
    /// Of whom.
    pub of: K,
    /// When it was up last; while it is up, that of the last heartbeat of its path's probes.
    pub last_up: Timestamp,
    /// Whether it was up when it was last looked at.
    pub is_up: bool,
}

/// An endpoint as the journal names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeenEndpoint {
    /// Address and port.
    pub address: std::net::SocketAddr,
    /// The path that it was probed over; `server` is empty.
    pub witness: Witness,
}

/// What a domain's status was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStatus {
    /// Of which domain.
    pub domain: Name,
    /// At the last audit.
    pub status: Status,
    /// The first audit that found it so, without another one between.
    pub since: Timestamp,
}

/// What somebody said of a finding: that it is known, until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Of the finding.
    pub id: FindingId,
    /// When it was said.
    pub at: Timestamp,
    /// It ends by itself.
    pub until: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// What kind of change an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A record that no server showed is shown by one.
    Appeared,
    /// A record is gone from the last server that showed it.
    Vanished,
    /// A record has another priority or weight.
    Changed,
    /// No endpoint of a host answers any more.
    HostDown,
    /// A host answers again.
    HostUp,
    /// A server gives no usable answer any more.
    ServerFailing,
    /// A server answers again.
    ServerAnswering,
    /// The status of a domain is another (`was`, `status`), or, without `was`, is known for the first
    /// time: nobody watched the domain before.
    Status,
    /// The config was taken over.
    Reloaded,
    /// Somebody acknowledged a finding.
    Acknowledged,
    /// An acknowledgement was taken back.
    Unacknowledged,
    /// A daemon began to watch. Nobody did since `watched_until`; where that is absent, nobody ever did
    /// as far as this journal knows.
    Started,
}

impl EventKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Appeared,
        Self::Vanished,
        Self::Changed,
        Self::HostDown,
        Self::HostUp,
        Self::ServerFailing,
        Self::ServerAnswering,
        Self::Status,
        Self::Reloaded,
        Self::Acknowledged,
        Self::Unacknowledged,
        Self::Started,
    ];

    /// As the journal and the JSON name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Changed => "changed",
            Self::HostDown => "host-down",
            Self::HostUp => "host-up",
            Self::ServerFailing => "server-failing",
            Self::ServerAnswering => "server-answering",
            Self::Status => "status",
            Self::Reloaded => "reloaded",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Started => "started",
        }
    }
}

/// One change, with its time and evidence. What it says in words is made of these alone, by the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it was seen.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// To which domain, where it is about one.
    pub domain: Option<Name>,
    /// To which host, where it is about one.
    pub host: Option<Host>,
    /// By which servers, as published; where it is about a server, that one.
    pub servers: Vec<Arc<str>>,
    /// What else led to it: values by name (`priority`, `weight`, `was`, `id`, …).
    pub evidence: Evidence,
}

/// Something for the journal to keep. Each replaces what was kept of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// One record on one server: by domain, witness and host.
    Record(SeenRecord),
    /// The server is asked for this domain no more.
    ForgetRecord {
        /// The domain.
        domain: Name,
        /// The server.
        witness: Witness,
        /// The record.
        host: Host,
    },
    /// An endpoint went up or down.
    Endpoint(SeenUp<SeenEndpoint>),
    /// A host went up or down.
    Host(SeenUp<Host>),
    /// Since when a finding has been there; `None` once it is not.
    Finding {
        /// Its id.
        id: FindingId,
        /// Since then, without a break.
        since: Option<Timestamp>,
    },
    /// A finding is known.
    Acknowledged(Acknowledgement),
    /// It is not any more.
    Unacknowledged(FindingId),
    /// What the alerts need to go on after a restart, as `alert` writes it; `None` once it is over.
    Alert {
        /// Of the finding.
        id: FindingId,
        /// JSON.
        state: Option<String>,
    },
    /// The witness gave a usable answer then: whatever it shows was there.
    Heartbeat {
        /// Who.
        witness: Witness,
        /// When.
        at: Timestamp,
    },
    /// A domain's status.
    Status(SeenStatus),
    /// The domain is watched no more.
    ForgetStatus(Name),
    /// The daemon watched until then, whatever it saw.
    Watched(Timestamp),
    /// Something changed.
    Event(Event),
}

/// What a journal knows when a process begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remembered {
    /// Every record on every server, open and gone.
    pub records: Vec<SeenRecord>,
    /// Every endpoint.
    pub endpoints: Vec<SeenUp<SeenEndpoint>>,
    /// Every host.
    pub hosts: Vec<SeenUp<Host>>,
    /// Since when the findings that were there had been.
    pub findings: Vec<(FindingId, Timestamp)>,
    /// Those that have not ended.
    pub acknowledgements: Vec<Acknowledgement>,
    /// The alerts' states, as `alert` wrote them.
    pub alerts: Vec<(FindingId, String)>,
    /// Every domain's status.
    pub statuses: Vec<SeenStatus>,
    /// When the daemon before is known to have lived last; `None` in a new journal. It may have lived
    /// for a minute longer, if it was killed.
    pub watched_until: Option<Timestamp>,
}

/// Which events are wanted; the latest come first.
///
/// Where `domains` or `hosts` are named, an event is wanted that is about one of these domains, or about one
/// of these hosts and no domain (that it went down, or is up again). What is about neither is left out then,
/// but for [`EventKind::Started`]: when nobody watched belongs to every timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of these domains.
    pub domains: Vec<Name>,
    /// Of these hosts.
    pub hosts: Vec<Host>,
    /// No older than this.
    pub since: Option<Timestamp>,
    /// Of these kinds only; empty means all.
    pub kinds: Vec<EventKind>,
    /// At most so many.
    pub limit: usize,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalCondition {
    /// What is given to it is on the disk within a second.
    Durable,
    /// By the config, it ends with the process.
    InMemory,
    /// It cannot write, and remembers what it has room for until it can.
    Degraded {
        /// Why, for people.
        reason: String,
        /// What found no room any more.
        lost: u64,
    },
}

impl JournalCondition {
    /// As the JSON names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::InMemory => "in-memory",
            Self::Degraded { .. } => "degraded",
        }
    }
}

display_and_serialize_as_str!(EventKind);
