//! A check's verdict on a subject, with evidence.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use jiff::Timestamp;
use siphasher::sip::SipHasher13;

use super::observation::display_and_serialize_as_str;
use super::{Check, Host, Labels, Name, Upstream};

/// A check's verdict on a subject. Everything that a publisher says of it stands here, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Stable over time, unique within a report.
    pub id: FindingId,
    /// The rule.
    pub check: Check,
    /// How bad, after circumstances and exceptions.
    pub severity: Severity,
    /// Whether it counts.
    pub state: FindingState,
    /// The greater finding that explains this one.
    pub suppressed_by: Option<FindingId>,
    /// What it is about.
    pub subject: Subject,
    /// The resolver, where only its clients are hit.
    pub resolver: Option<Arc<str>>,
    /// The domains that are hit, sorted.
    pub domains: Vec<Name>,
    /// Since when it has been there without a break, as far as anybody remembers; `None` where nobody
    /// watches for long.
    pub since: Option<Timestamp>,
    /// One sentence for a person.
    pub message: String,
    /// The values that led to the verdict.
    pub evidence: Evidence,
    /// What a client shows in the end.
    pub client_error: Option<ClientError>,
    /// Commands to see and to mend it, with the subject's own values.
    pub remedy: String,
    /// From the config: of the domain, resolver, host or profile.
    pub labels: Labels,
}

impl Finding {
    /// Whether it counts for status and exit code.
    pub fn is_active(&self) -> bool {
        self.state == FindingState::Active
    }

    /// Whether people know of it already, and so nobody needs to be told.
    pub fn is_known(&self) -> bool {
        matches!(self.state, FindingState::Acknowledged | FindingState::Maintenance)
    }

    /// The host that it is about, also as a domain's record.
    pub fn host(&self) -> Option<&Host> {
        match &self.subject {
            Subject::Host(host) | Subject::Record { host, .. } => Some(host),
            Subject::Domain(_) | Subject::Server(_) | Subject::Profile(_) => None,
        }
    }
}

/// JSON values by name, as published.
pub type Evidence = serde_json::Map<String, serde_json::Value>;

/// `srv-missing-0123456789abcdef`: the check and a hash of what it is about. It holds no value that
/// changes while the trouble lasts, so that it can be acknowledged and found again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct FindingId(Arc<str>);

impl FindingId {
    /// The id of a check's verdict on a subject; `scope` tells apart verdicts of one check on one
    /// subject (the resolver, the path).
    pub fn new(check: Check, subject: &Subject, scope: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(subject.to_string().as_bytes());
        hasher.write_u8(0);
        hasher.write(scope.as_bytes());
        Self(format!("{check}-{:016x}", hasher.finish()).into())
    }

    /// The id that [`FindingId::as_str`] gave this text of.
    pub fn from_kept(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for FindingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Clients still find a host, or soon will not.
    Warning,
    /// Clients fail, or are led to the wrong host.
    Critical,
}

impl Severity {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The worst active finding of a domain or of everything, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// No active finding.
    Ok,
    /// The worst is info.
    Info,
    /// The worst is a warning.
    Warning,
    /// The worst is critical.
    Critical,
}

impl Status {
    /// Every status, the best first.
    pub const ALL: &[Self] = &[Self::Ok, Self::Info, Self::Warning, Self::Critical];

    /// The status of a word of the contract; `None` for any other.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == word)
    }

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl From<Severity> for Status {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

/// Whether a finding counts. Of several that fit, the first after `Active` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingState {
    /// It counts.
    Active,
    /// A greater finding explains it.
    Suppressed,
    /// Somebody said that it is known.
    Acknowledged,
    /// It is of known work, while that goes on.
    Maintenance,
}

impl FindingState {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suppressed => "suppressed",
            Self::Acknowledged => "acknowledged",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A domain.
    Domain(Name),
    /// A server over one path; the path shows in the evidence.
    Server(Arc<Upstream>),
    /// A host.
    Host(Host),
    /// A domain's record.
    Record {
        /// The domain that publishes, or should publish, it.
        domain: Name,
        /// The host that it names.
        host: Host,
    },
    /// A declared client.
    Profile(Arc<str>),
}

/// `domain:east.contoso.com`, `server:10.0.0.53`, `host:kms.contoso.com:1688`,
/// `record:east.contoso.com/kms.contoso.com:1688`, `profile:berlin-lab`.
impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => write!(formatter, "domain:{name}"),
            Self::Server(upstream) => write!(formatter, "server:{}", upstream.server),
            Self::Host(host) => write!(formatter, "host:{host}"),
            Self::Record { domain, host } => write!(formatter, "record:{domain}/{host}"),
            Self::Profile(name) => write!(formatter, "profile:{name}"),
        }
    }
}

impl serde::Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The code that Windows or Office shows (facts section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientError(pub u32);

/// `0x8007232B`.
impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{:08X}", self.0)
    }
}

impl serde::Serialize for ClientError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

display_and_serialize_as_str!(Severity, Status, FindingState);
