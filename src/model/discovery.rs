//! How a declared client finds its KMS host, or why it does not. Made by `client`.

use std::fmt;

use super::finding::ClientError;
use super::observation::display_and_serialize_as_str;
use super::profile::Product;
use super::snapshot::HostStatus;
use super::{Host, LookupOutcome, Name};

/// How a client finds its KMS host: its search, the hosts that it may pick, and what comes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// For which product; they differ where a fixed host does.
    pub product: Product,
    /// Each domain of the search in the client's order, also those that it does not reach; empty where
    /// a fixed host switches discovery off, and where there is no suffix.
    pub steps: Vec<Step>,
    /// Where the search ends, and why.
    pub end: End,
    /// The hosts that it may pick, each once: by priority, weight (greatest first), name.
    pub hosts: Vec<Choice>,
    /// What happens if each of `hosts` fails next, in their order.
    pub failovers: Vec<Failover>,
    /// What comes of it now.
    pub verdict: Verdict,
    /// A later domain of the search with a host that is up, which the end of the search keeps from the
    /// client while its own hosts fail.
    pub hidden: Option<(Name, Host)>,
}

impl Discovery {
    /// The domain that answered with records.
    pub fn domain(&self) -> Option<&Name> {
        match &self.end {
            End::Answered(domain) | End::Declined(domain) => Some(domain),
            End::Fixed | End::NoSuffix | End::Exhausted | End::Unknown(_) => None,
        }
    }

    /// Why it fails, if it does.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.verdict {
            Verdict::Fails(failure) => Some(failure),
            Verdict::Served | Verdict::Unknown => None,
        }
    }
}

/// One domain of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The domain.
    pub domain: Name,
    /// What the resolver says of it; `None` where that is not known.
    pub outcome: Option<LookupOutcome>,
    /// What it does to the search.
    pub effect: Effect,
}

/// What an answer does to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The client asks for the next domain.
    GoesOn,
    /// The client takes its records.
    Ends,
    /// What the client does cannot be told, as the answer is not known.
    Unknown,
    /// The search ended before.
    NotReached,
}

impl Effect {
    /// A word for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoesOn => "goes-on",
            Self::Ends => "ends",
            Self::Unknown => "unknown",
            Self::NotReached => "not-reached",
        }
    }
}

display_and_serialize_as_str!(Effect);

/// Where the search ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A fixed host switches discovery off: the only one of [`Discovery::hosts`].
    Fixed,
    /// This domain has records.
    Answered(Name),
    /// This domain's only target is ".": it declares that it has no KMS host (RFC 2782).
    Declined(Name),
    /// There is no domain to ask in.
    NoSuffix,
    /// No domain of the list has records.
    Exhausted,
    /// What this domain answers is not known.
    Unknown(Name),
}

impl End {
    /// A word for reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Answered(_) => "answered",
            Self::Declined(_) => "declined",
            Self::NoSuffix => "no-suffix",
            Self::Exhausted => "exhausted",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A host that the client may pick.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Target and port.
    pub host: Host,
    /// Lower is tried first; 0 for a fixed host.
    pub priority: u16,
    /// Weights of duplicates add; 0 for a fixed host.
    pub weight: u32,
    /// The part of new clients that pick it first, 0..=1.
    pub share: f64,
    /// The part that it serves, given which are up: a client whose pick fails goes on to the next.
    pub live_share: f64,
    /// Over the profile's path.
    pub status: HostStatus,
}

/// What happens if one host fails next.
#[derive(Debug, Clone, PartialEq)]
pub struct Failover {
    /// The host that fails.
    pub host: Host,
    /// Who serves then, with the part of clients, 0..=1, that it gets; only those with a part.
    pub takes_over: Vec<(Host, f64)>,
    /// What comes of it then.
    pub verdict: Verdict,
}

/// What comes of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Some host that it may pick is up.
    Served,
    /// Cannot be told: an answer, or whether a host is up, is not known.
    Unknown,
    /// The client shows an error.
    Fails(Failure),
}

impl Verdict {
    /// A word for reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Unknown => "unknown",
            Self::Fails(_) => "fails",
        }
    }

    /// What Windows and Office show, where that is known.
    pub fn error(&self) -> Option<ClientError> {
        match self {
            Self::Fails(failure) => failure.error,
            Self::Served | Self::Unknown => None,
        }
    }
}

/// Why a client finds no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// At which domain of the search; `None` without a search.
    pub domain: Option<Name>,
    /// What Windows and Office show in the end; `None` where nobody documents it.
    pub error: Option<ClientError>,
}

/// Why a client finds no host; shows as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has no suffix, so that it sends no query.
    NoSuffix,
    /// The name exists in no domain of the list.
    NameDoesNotExist,
    /// A name exists, and no domain of the list has records.
    NoRecords,
    /// No domain has records, and a lookup failed so.
    LookupFailed(LookupOutcome),
    /// The domain that answers declares that it has no KMS host.
    Declined,
    /// Every host of the domain that answers is down.
    HostsDown,
    /// The fixed host is down.
    FixedHostDown,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuffix => formatter.write_str("there is no suffix to ask in"),
            Self::NameDoesNotExist => formatter.write_str("the name does not exist"),
            Self::NoRecords => formatter.write_str("the name has no SRV records"),
            Self::LookupFailed(outcome) => write!(formatter, "the lookup fails ({outcome})"),
            Self::Declined => formatter.write_str("the domain declares that it has no KMS host"),
            Self::HostsDown => formatter.write_str("no host that it names answers"),
            Self::FixedHostDown => formatter.write_str("the fixed host does not answer"),
        }
    }
}
