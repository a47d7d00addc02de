//! What a preflight saw: for each profile the steps of its clients, in their order, and a verdict.
//! Made by `preflight`, laid out by `report`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::finding::{ClientError, Evidence};
use super::observation::display_and_serialize_as_str;
use super::snapshot::ProfileView;
use super::{Answer, Finding, Profile, Severity, Snapshot, Status};

/// What a preflight saw.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// What was observed of the profiles' domains and hosts, and the findings about them.
    pub snapshot: Snapshot,
    /// In the order in which they were asked for.
    pub runs: Vec<ProfileRun>,
}

impl Preflight {
    /// The worst of all steps and of all active findings.
    pub fn status(&self) -> Status {
        let steps = self.runs.iter().map(ProfileRun::status).max().unwrap_or(Status::Ok);
        steps.max(self.snapshot.status)
    }

    /// When it began.
    pub fn started(&self) -> Timestamp {
        self.snapshot.started
    }

    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.snapshot.duration()
    }

    /// The active findings that no step tells, worst first.
    pub fn further(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.snapshot.findings.iter().map(|finding| &**finding);
        findings.filter(|finding| finding.is_active() && !is_told(finding, &self.runs))
    }
}

fn is_told(finding: &Finding, runs: &[ProfileRun]) -> bool {
    runs.iter().flat_map(|run| &run.steps).any(|step| step.tells.contains(&finding.check))
}

/// The steps of one profile's clients.
#[derive(Debug, Clone)]
pub struct ProfileRun {
    /// As configured, or as the command line has it.
    pub profile: Arc<Profile>,
    /// Every step once, in the order of [`StepId::ALL`].
    pub steps: Vec<Step>,
    /// How its clients find their hosts; `None` where nothing could be asked from here.
    pub view: Option<Arc<ProfileView>>,
}

impl ProfileRun {
    /// The worst of its steps.
    pub fn status(&self) -> Status {
        self.steps.iter().map(|step| step.state.status()).max().unwrap_or(Status::Ok)
    }

    /// Its last step.
    pub fn verdict(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == StepId::Verdict)
    }
}

/// One step of a profile's clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// How it went.
    pub state: StepState,
    /// One sentence for a person.
    pub message: String,
    /// What the sentence sums up, a row for each server, suffix, host or address.
    pub rows: Vec<Row>,
    /// The values that led to it.
    pub evidence: Evidence,
    /// What clients show because of it.
    pub client_error: Option<ClientError>,
    /// Commands to see and to mend it, as a finding has them.
    pub remedy: String,
    /// The checks whose findings need not be told beside this step.
    pub tells: &'static [super::Check],
    /// From the end of the step before it: steps that do not depend on each other run at once.
    pub took: Duration,
}

impl Step {
    /// A step that says one sentence.
    pub fn new(id: StepId, state: StepState, message: impl Into<String>) -> Self {
        Self {
            id,
            state,
            message: message.into(),
            rows: Vec::new(),
            evidence: Evidence::new(),
            client_error: None,
            remedy: String::new(),
            tells: &[],
            took: Duration::ZERO,
        }
    }
}

/// A line of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How this one went.
    pub state: StepState,
    /// As many as [`StepId::columns`].
    pub cells: Vec<String>,
}

/// A step of every client, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepId {
    /// The source address is on this machine and within the subnet.
    Source,
    /// Each DNS server answers over UDP and TCP.
    Servers,
    /// Each suffix, with what it says on each server.
    Suffixes,
    /// The hosts and their addresses.
    Hosts,
    /// Connect and RPC bind to each address.
    Connect,
    /// Who picks which host, and what happens if it fails.
    Shares,
    /// How many machines come to each host, against the thresholds.
    Counts,
    /// What comes of it.
    Verdict,
}

impl StepId {
    /// All, in the client's order.
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Servers,
        Self::Suffixes,
        Self::Hosts,
        Self::Connect,
        Self::Shares,
        Self::Counts,
        Self::Verdict,
    ];

    /// One word, the same in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Servers => "servers",
            Self::Suffixes => "suffixes",
            Self::Hosts => "hosts",
            Self::Connect => "connect",
            Self::Shares => "shares",
            Self::Counts => "counts",
            Self::Verdict => "verdict",
        }
    }

    /// What the cells of its rows are.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Source | Self::Verdict => &[],
            Self::Servers => &["server", "UDP", "TCP"],
            Self::Suffixes => &["suffix", "server", "answer", "then"],
            Self::Hosts => &["host", "addresses"],
            Self::Connect => &["host", "address", "outcome", "connect", "bind", "detail"],
            Self::Shares => &["host", "clients", "if it fails"],
            Self::Counts => &["kind", "declared", "needed"],
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepState {
    /// As it should be.
    Passed,
    /// Not done, because of a step before it, or as there is nothing to do.
    Skipped,
    /// Worth knowing.
    Info,
    /// Clients find a host, but something is wrong; or that cannot be told.
    Warning,
    /// Cannot be told from here.
    Unknown,
    /// Clients fail here.
    Failed,
}

impl StepState {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }

    /// What it counts as: what cannot be told is no pass, so it counts as a warning.
    pub fn status(self) -> Status {
        match self {
            Self::Passed | Self::Skipped => Status::Ok,
            Self::Info => Severity::Info.into(),
            Self::Warning | Self::Unknown => Severity::Warning.into(),
            Self::Failed => Severity::Critical.into(),
        }
    }
}

/// What was seen of the machine: whether a profile's clients can be played from here at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seat {
    /// Why nothing can leave over the profile's path; `None` where it can.
    pub obstacle: Option<Arc<str>>,
    /// From where questions leave: the path's source, or what the kernel picks towards the first
    /// server; `None` where that is not known.
    pub source: Option<IpAddr>,
    /// The interface that has this address; `None` where none lists it (all of 127.0.0.0/8 is here).
    pub interface: Option<String>,
    /// An address of this machine within the profile's subnet.
    pub within: Option<IpAddr>,
}

/// What one server said over each transport; `None`: not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Over UDP.
    pub udp: Option<Arc<Answer>>,
    /// Over TCP.
    pub tcp: Option<Arc<Answer>>,
}

display_and_serialize_as_str!(StepId, StepState);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_no_pass() {
        assert_eq!(StepState::Unknown.status(), Status::Warning);
        assert_eq!(StepState::Skipped.status(), Status::Ok);
        assert_eq!(StepState::Failed.status(), Status::Critical);
    }
}
