//! What one lookup or probe saw. A remote failure is data here, never an `Err`.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{EndpointKey, LookupKey, Name, Record};

/// What one lookup or probe saw, and when.
#[derive(Debug, Clone)]
pub enum Observation {
    /// A server was asked.
    Lookup {
        /// What was asked, of whom.
        key: LookupKey,
        /// What came of it.
        answer: Arc<Answer>,
        /// When it ended.
        at: Timestamp,
    },
    /// An endpoint was probed.
    Probe {
        /// Which endpoint, from where.
        key: EndpointKey,
        /// What came of it.
        probe: Arc<Probe>,
        /// When it ended.
        at: Timestamp,
    },
}

/// At most so many records of one answer are kept; the rest is counted in [`Answer::omitted`].
pub const MAX_RECORDS: usize = 128;
/// At most so many addresses of one target are probed.
pub const MAX_ADDRESSES: usize = 16;
/// At most so many endpoints of one domain are probed.
pub const MAX_ENDPOINTS: usize = 64;

/// What came of one lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The outcome.
    pub outcome: LookupOutcome,
    /// Header flags of the answer; `tc` says that a truncated answer came first.
    pub flags: Flags,
    /// From the last transmission to the answer; `None` where nothing came.
    pub rtt: Option<Duration>,
    /// SRV records, sorted, at most [`MAX_RECORDS`]; empty unless the outcome is `records` of an SRV lookup.
    pub records: Vec<Record>,
    /// Addresses, sorted, without repeats; empty unless the outcome is `records` of an address lookup.
    pub addresses: Vec<IpAddr>,
    /// The CNAME chain from the asked name, in order; empty where there is none.
    pub aliases: Vec<Name>,
    /// Records beyond the bound, dropped.
    pub omitted: usize,
    /// What else a person should know, e.g. that TCP was refused after a truncated answer.
    pub detail: Option<Arc<str>>,
}

/// What the detail of an outcome says where this machine lacks what the path names: it says nothing
/// of the peer. `what` is `source 10.40.7.250` or `interface eth1`.
pub fn not_here(what: impl std::fmt::Display) -> String {
    format!("the {what} {NOT_HERE}")
}

const NOT_HERE: &str = "is not on this machine";

/// Why this machine itself has no way to a peer: it says nothing of the peer, nor of clients elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// No route leads there, or its interface is down.
    Route,
    /// A route drops it, or the address lacks its scope.
    Blackhole,
    /// This machine forbids it.
    Policy,
    /// No address, or no free port, of this machine suits it.
    Address,
    /// This machine does not have the address family.
    Family,
}

impl NoWay {
    const ALL: [Self; 5] =
        [Self::Route, Self::Blackhole, Self::Policy, Self::Address, Self::Family];

    /// What an error says; `None` where the peer or the network may have said it. It means that only
    /// where no ICMP error came.
    pub fn of(error: ErrorKind) -> Option<Self> {
        match error {
            ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => Some(Self::Route),
            ErrorKind::InvalidInput => Some(Self::Blackhole),
            ErrorKind::PermissionDenied => Some(Self::Policy),
            ErrorKind::AddrNotAvailable => Some(Self::Address),
            _ => None,
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "this machine has no route to it",
            Self::Blackhole => "a blackhole route of this machine, or an address without a scope",
            Self::Policy => {
                "a prohibit route, firewall or security policy of this machine forbids it"
            }
            Self::Address => "this machine has no address, or no free port, to reach it from",
            Self::Family => "this machine does not have this address family",
        }
    }
}

fn lacks_path(detail: Option<&Arc<str>>) -> bool {
    let says = |words: &str| detail.is_some_and(|detail| detail.ends_with(words));
    says(NOT_HERE) || NoWay::ALL.iter().any(|way| says(way.as_str()))
}

/// What the operating system says, as a part of a sentence: without the number that it adds.
pub fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => format!("{}{}", first.to_ascii_lowercase(), rest.as_str()),
        None => String::new(),
    }
}

impl Answer {
    /// Whether nothing was asked, as this machine lacks the path's source or interface, or has no way.
    pub fn lacks_path(&self) -> bool {
        self.outcome == LookupOutcome::Unreachable && lacks_path(self.detail.as_ref())
    }

    /// An answer without any data.
    pub fn bare(outcome: LookupOutcome) -> Self {
        Self {
            outcome,
            flags: Flags::default(),
            rtt: None,
            records: Vec::new(),
            addresses: Vec::new(),
            aliases: Vec::new(),
            omitted: 0,
            detail: None,
        }
    }
}

/// Header flags of an answer (RFC 1035 section 4.1.1, RFC 4035 section 3.2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are bits on the wire")]
pub struct Flags {
    /// Authoritative answer.
    pub aa: bool,
    /// Truncated.
    pub tc: bool,
    /// Authenticated data.
    pub ad: bool,
    /// Recursion available.
    pub ra: bool,
}

impl Flags {
    /// The names of the set flags that the report shows.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.aa, "aa"), (self.tc, "tc"), (self.ad, "ad")]
            .into_iter()
            .filter_map(|(set, name)| set.then_some(name))
    }
}

/// What came of asking one server one question (contract, design section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LookupOutcome {
    /// Records of the asked type.
    Records,
    /// The name does not exist.
    Nxdomain,
    /// The name exists, without records of the type.
    Nodata,
    /// Somebody else should know: no answer, no authority, NS records (a lame server).
    Referral,
    /// RCODE 2.
    Servfail,
    /// RCODE 5.
    Refused,
    /// RCODE 4.
    Notimp,
    /// RCODE 1, also without EDNS.
    Formerr,
    /// Any other RCODE.
    OtherRcode,
    /// No answer within all attempts.
    Timeout,
    /// The operating system says that the server cannot be reached, or its port is closed.
    Unreachable,
    /// Something came from the server that is no valid answer to the question.
    Malformed,
}

impl LookupOutcome {
    /// Every outcome, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Records,
        Self::Nxdomain,
        Self::Nodata,
        Self::Referral,
        Self::Servfail,
        Self::Refused,
        Self::Notimp,
        Self::Formerr,
        Self::OtherRcode,
        Self::Timeout,
        Self::Unreachable,
        Self::Malformed,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Referral => "referral",
            Self::Servfail => "servfail",
            Self::Refused => "refused",
            Self::Notimp => "notimp",
            Self::Formerr => "formerr",
            Self::OtherRcode => "other-rcode",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
        }
    }

    /// Whether presence or absence may be concluded from it.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Records | Self::Nxdomain | Self::Nodata)
    }

    /// Whether the server said that there is nothing.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Nxdomain | Self::Nodata)
    }
}

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The outcome.
    pub outcome: ProbeOutcome,
    /// From the SYN to the established connection; `None` where there was none.
    pub connect: Option<Duration>,
    /// From the bind PDU to its whole reply; `None` where there was none.
    pub bind: Option<Duration>,
    /// Who rejected the connection, where an ICMP error said so.
    pub rejected_by: Option<IpAddr>,
    /// What else a person should know, e.g. the ICMP code or the first bytes of a peer that is no RPC.
    pub detail: Option<Arc<str>>,
}

/// Ends the detail of an ICMP error that this machine sent itself.
pub const SAYS_ITSELF: &str = ", says this machine itself";

impl Probe {
    /// Whether the connection was lost between this machine and the host: an address on its own network
    /// that nobody has is a host that is not there.
    pub fn is_lost_on_the_way(&self) -> bool {
        let is_own = self.detail.as_ref().is_some_and(|detail| detail.ends_with(SAYS_ITSELF));
        self.outcome.is_on_the_way() && !is_own
    }

    /// Whether nothing was tried, as this machine lacks the path's source or interface, or has no way.
    pub fn lacks_path(&self) -> bool {
        matches!(self.outcome, ProbeOutcome::Unreachable | ProbeOutcome::Prohibited)
            && lacks_path(self.detail.as_ref())
    }

    /// A probe that got nowhere.
    pub fn bare(outcome: ProbeOutcome) -> Self {
        Self { outcome, connect: None, bind: None, rejected_by: None, detail: None }
    }
}

/// What came of probing one endpoint (contract, design section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeOutcome {
    /// An RPC runtime that has the KMS interface, and rejects one that cannot exist.
    Kms,
    /// The port accepts; the success of depth `tcp`.
    Open,
    /// The RPC peer accepts even an interface that cannot exist.
    AcceptsAny,
    /// RPC, but not KMS.
    RpcOther,
    /// The peer answered, and not as RPC.
    NotRpc,
    /// Connected, and nothing whole came before the deadline.
    Silent,
    /// Connected, and the peer ended the stream before its reply was whole.
    ClosedEarly,
    /// Connection refused.
    Refused,
    /// Connection reset.
    Reset,
    /// No connection before the deadline.
    Timeout,
    /// The network says that there is no way.
    Unreachable,
    /// The network says that the way is forbidden.
    Prohibited,
}

/// What a probe outcome says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reachability {
    /// A client would be served, as far as a bind can tell.
    Up,
    /// A client would fail.
    Down,
    /// Cannot be told.
    Unknown,
}

impl ProbeOutcome {
    /// Every outcome, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Kms,
        Self::Open,
        Self::AcceptsAny,
        Self::RpcOther,
        Self::NotRpc,
        Self::Silent,
        Self::ClosedEarly,
        Self::Refused,
        Self::Reset,
        Self::Timeout,
        Self::Unreachable,
        Self::Prohibited,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Open => "open",
            Self::AcceptsAny => "accepts-any",
            Self::RpcOther => "rpc-other",
            Self::NotRpc => "not-rpc",
            Self::Silent => "silent",
            Self::ClosedEarly => "closed-early",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Prohibited => "prohibited",
        }
    }

    /// Whether no answer of the host itself came: the connection may have been lost on the way.
    pub fn is_on_the_way(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable | Self::Prohibited)
    }

    /// What it says of the endpoint.
    pub fn reachability(self) -> Reachability {
        match self {
            Self::Kms | Self::Open | Self::AcceptsAny => Reachability::Up,
            Self::Silent | Self::ClosedEarly => Reachability::Unknown,
            Self::RpcOther
            | Self::NotRpc
            | Self::Refused
            | Self::Reset
            | Self::Timeout
            | Self::Unreachable
            | Self::Prohibited => Reachability::Down,
        }
    }
}

macro_rules! display_and_serialize_as_str {
    ($($type:ty),+) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )+};
}
pub(crate) use display_and_serialize_as_str;

display_and_serialize_as_str!(LookupOutcome, ProbeOutcome, NoWay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_own_network_that_nobody_has_is_not_lost_on_the_way() {
        let probe =
            |outcome, detail: &str| Probe { detail: Some(detail.into()), ..Probe::bare(outcome) };
        let own = format!("host unreachable (ICMP type 3 code 1){SAYS_ITSELF}");
        assert!(probe(ProbeOutcome::Unreachable, "host unreachable").is_lost_on_the_way());
        assert!(!probe(ProbeOutcome::Unreachable, &own).is_lost_on_the_way());
        assert!(!probe(ProbeOutcome::Refused, "").is_lost_on_the_way());
    }

    #[test]
    fn errors_are_told_in_words_alone() {
        let words = |number| in_words(&io::Error::from_raw_os_error(number));
        assert_eq!([words(111), words(24)], ["connection refused", "too many open files"]);
        assert_eq!(in_words(&io::Error::other("no number")), "no number");
    }
}
