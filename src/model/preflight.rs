//! What a preflight saw: for each profile the steps of its clients, in their order, and a verdict.
//! Made by `preflight`, laid out by `report`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::discovery::Effect;
use super::finding::ClientError;
use super::observation::display_and_serialize_as_str;
use super::snapshot::{ProfileView, Summary};
use super::{Answer, Check, Finding, Profile, Severity, Snapshot, Status, Subject};

/// What a preflight saw.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// What was observed of the profiles' domains and hosts, and the findings about them.
    pub snapshot: Snapshot,
    /// In the order in which they were asked for.
    pub runs: Vec<ProfileRun>,
}

impl Preflight {
    /// The worst of what counts.
    pub fn status(&self) -> Status {
        self.counted().max().unwrap_or(Status::Ok)
    }

    /// The snapshot's, with the numbers of what counts.
    pub fn summary(&self) -> Summary {
        let count = |severity: Severity| {
            self.counted().filter(|status| *status == Status::from(severity)).count()
        };
        let [critical, warning, info] =
            [Severity::Critical, Severity::Warning, Severity::Info].map(count);
        Summary { critical, warning, info, ..self.snapshot.summary }
    }

    /// What decides, in every format: each step, and each finding that clients meet and no step tells.
    fn counted(&self) -> impl Iterator<Item = Status> {
        let steps = self.runs.iter().flat_map(|run| &run.steps).map(Step::status);
        let further = self.further().filter(|further| further.counts);
        steps.chain(further.map(|further| further.finding.severity.into()))
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
    pub fn further(&self) -> impl Iterator<Item = Further<'_>> {
        let findings = self.snapshot.findings.iter().map(|finding| &**finding);
        findings.filter(|finding| finding.is_active()).filter_map(|finding| {
            let bearings = || self.runs.iter().map(|run| run.bearing(finding));
            let counts = bearings().any(|bearing| bearing == Bearing::Counts);
            let is_told = bearings().any(|bearing| bearing == Bearing::Told);
            (counts || !is_told).then_some(Further { finding, counts })
        })
    }
}

/// A finding that no step tells.
#[derive(Debug, Clone, Copy)]
pub struct Further<'a> {
    /// Which.
    pub finding: &'a Finding,
    /// Whether clients meet it: what they never come to is told, and decides nothing.
    pub counts: bool,
}

/// What a finding is to one profile's clients.
#[derive(PartialEq)]
enum Bearing {
    /// They never come to it.
    None,
    /// A step tells it, and counts for as much; or says that it cannot be told from here.
    Told,
    /// They meet it.
    Counts,
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
        self.steps.iter().map(Step::status).max().unwrap_or(Status::Ok)
    }

    fn bearing(&self, finding: &Finding) -> Bearing {
        if !self.view.as_ref().is_some_and(|view| view.comes_to(&finding.subject)) {
            return Bearing::None;
        }
        let is_told = |step: &Step| {
            step.tells.contains(&finding.check)
                && (step.state == StepState::Unknown
                    || finding.severity == Severity::Info
                    || step.status() >= finding.severity.into())
        };
        if self.steps.iter().any(is_told) { Bearing::Told } else { Bearing::Counts }
    }

    /// Its last step.
    pub fn verdict(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == StepId::Verdict)
    }
}

impl ProfileView {
    /// Whether its clients meet this: a host that they may pick, a domain that they ask in.
    pub fn comes_to(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Host(host) => self.choices().iter().any(|choice| choice.host == *host),
            Subject::Domain(domain) | Subject::Record { domain, .. } => {
                let mut steps = self.discoveries().flat_map(|discovery| &discovery.steps);
                steps.any(|step| step.domain == *domain && step.effect != Effect::NotReached)
            }
            Subject::Server(_) => true,
            Subject::Profile(name) => *name == self.profile.name,
        }
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
    /// What clients show because of it.
    pub client_error: Option<ClientError>,
    /// Commands to see and to mend it, as a finding has them.
    pub remedy: String,
    /// The checks whose findings need not be told beside this step.
    pub tells: &'static [Check],
    /// What it counts as, where exceptions of the config accept what is wrong; `None` where none does.
    pub accepted: Option<Status>,
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
            client_error: None,
            remedy: String::new(),
            tells: &[],
            accepted: None,
            took: Duration::ZERO,
        }
    }

    /// What it counts as.
    pub fn status(&self) -> Status {
        self.accepted.unwrap_or(self.state.status())
    }
}

/// A line of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// How this one went.
    pub state: StepState,
    /// As many as [`StepId::columns`].
    pub cells: Vec<Cell>,
}

/// What stands in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// In words; may be empty.
    Text(String),
    /// In words, and how long it took where that was measured.
    Timed(String, Option<Duration>),
    /// How long it took, where that was measured.
    Time(Option<Duration>),
    /// A part of the clients, 0..=1.
    Share(f64),
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

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Source => "Source address",
            Self::Servers => "DNS servers",
            Self::Suffixes => "Suffixes",
            Self::Hosts => "Hosts",
            Self::Connect => "Connections",
            Self::Shares => "Shares",
            Self::Counts => "Client counts",
            Self::Verdict => "Verdict",
        }
    }

    /// What the cells of its rows are; the keys of JSON.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Source | Self::Verdict => &[],
            Self::Servers => &["server", "udp", "tcp"],
            Self::Suffixes => &["suffix", "server", "answer", "then"],
            Self::Hosts => &["host", "addresses"],
            Self::Connect => &["host", "address", "outcome", "connect", "bind", "detail"],
            Self::Shares => &["product", "host", "share", "live_share", "if_it_fails"],
            Self::Counts => &["kind", "declared", "needed", "expected"],
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
