//! PURE. Per finding: pending → firing → resolved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::notice::{Alert, MOST_RETURNS, Rules, annotations, labels};
use crate::model::finding::FindingId;
use crate::model::journal::Entry;
use crate::model::{Finding, FindingState, Severity, Snapshot};

/// Every finding that is, or may come to be, told. Nothing here depends on whether telling succeeds.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    tracked: BTreeMap<FindingId, Tracked>,
}

/// What was made of a snapshot.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the journal: the state of each finding whose state changed.
    pub entries: Vec<Entry>,
    /// Whether [`Ledger::board`] is another now.
    pub is_news: bool,
}

impl Ledger {
    /// Goes on where these states, which [`Ledger::observe`] gave to the journal, end. Gives also those that
    /// no version of it wrote.
    pub fn restore(rules: Rules, states: &[(FindingId, String)]) -> (Self, Vec<FindingId>) {
        let mut ledger = Self { rules, tracked: BTreeMap::new() };
        let mut unreadable = Vec::new();
        for (id, state) in states {
            match serde_json::from_str(state) {
                Ok(kept) => {
                    ledger.tracked.insert(id.clone(), Tracked { kept, made_of: None });
                }
                Err(_) => unreadable.push(id.clone()),
            }
        }
        (ledger, unreadable)
    }

    /// Other rules from the next snapshot on.
    pub fn replan(&mut self, rules: Rules) {
        if rules != self.rules {
            self.rules = rules;
            self.tracked.values_mut().for_each(|tracked| tracked.made_of = None);
        }
    }

    /// Takes a snapshot in.
    pub fn observe(&mut self, snapshot: &Snapshot) -> Outcome {
        let mut seen: HashMap<&FindingId, &Arc<Finding>, FixedState> = HashMap::default();
        for finding in &snapshot.findings {
            seen.insert(&finding.id, finding);
            if self.rules.tells(finding) && !self.tracked.contains_key(&finding.id) {
                self.tracked.insert(finding.id.clone(), Tracked::default());
            }
        }
        let (rules, now) = (&self.rules, snapshot.at);
        let mut outcome = Outcome::default();
        self.tracked.retain(|id, tracked| {
            let step = tracked.step(Sight::of(seen.get(id).copied(), rules), rules, now);
            let remains = tracked.kept != Kept::default();
            outcome.is_news |= step.is_news;
            if step.is_changed {
                let state = remains.then(|| tracked.kept.text());
                outcome.entries.push(Entry::Alert { id: id.clone(), state });
            }
            remains
        });
        outcome
    }

    /// Every alert that fires, and those that have just ended.
    pub fn board(&self) -> Vec<Arc<Alert>> {
        let alerts = self.tracked.values().flat_map(|tracked| {
            let firing = match &tracked.kept.phase {
                Phase::Firing(firing) => Some(&firing.alert),
                Phase::Quiet | Phase::Pending(_) => None,
            };
            firing.into_iter().chain(&tracked.kept.resolved)
        });
        alerts.cloned().collect()
    }

    /// The findings that it knows.
    pub fn ids(&self) -> impl Iterator<Item = &FindingId> {
        self.tracked.keys()
    }
}

impl Rules {
    fn tells(&self, finding: &Finding) -> bool {
        finding.is_active() && finding.severity >= self.min_severity
    }
}

/// What a snapshot says of a finding.
#[derive(Clone, Copy)]
enum Sight<'a> {
    /// It is to be told.
    There(&'a Arc<Finding>),
    /// It is not there, or less than what is told, or a greater one explains it.
    Gone,
    /// People know of it; nobody need be told.
    Known(FindingState),
}

impl<'a> Sight<'a> {
    fn of(finding: Option<&'a Arc<Finding>>, rules: &Rules) -> Self {
        match finding {
            Some(finding) if rules.tells(finding) => Self::There(finding),
            Some(finding) if !finding.is_active() && finding.state != FindingState::Suppressed => {
                Self::Known(finding.state)
            }
            _ => Self::Gone,
        }
    }
}

#[derive(Debug, Default)]
struct Tracked {
    kept: Kept,
    /// What labels and annotations were made of: the finding, and how often it had returned. They are not
    /// made again from the same.
    made_of: Option<(Arc<Finding>, usize)>,
}

/// What a restart needs. Default: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    phase: Phase,
    /// Those that ended a short time ago.
    resolved: Vec<Arc<Alert>>,
}

impl Kept {
    /// As [`Ledger::restore`] reads it. It cannot fail: keys are texts, and memory takes every byte.
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// It is not there.
    #[default]
    Quiet,
    /// It has not been there for long.
    Pending(Standing),
    /// It is told.
    Firing(Firing),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Firing {
    standing: Standing,
    alert: Arc<Alert>,
    /// Since when the finding has not been there.
    gone: Option<Timestamp>,
    /// When it came back, within the last hour; the latest ones.
    returns: Vec<Timestamp>,
}

/// Since when a finding has been there, and how bad it is taken to be: another severity must last as the
/// finding itself must, so that one that goes to and fro wakes nobody each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    since: Timestamp,
    #[serde(with = "SeverityWord")]
    severity: Severity,
    /// What it says now, where that is another.
    other: Option<Other>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Other {
    #[serde(with = "SeverityWord")]
    severity: Severity,
    since: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Severity", rename_all = "lowercase")]
enum SeverityWord {
    Info,
    Warning,
    Critical,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// The journal must know.
    is_changed: bool,
    /// Receivers must know.
    is_news: bool,
}

impl Step {
    const NOTHING: Self = Self { is_changed: false, is_news: false };
    const CHANGED: Self = Self { is_changed: true, is_news: false };
    const NEWS: Self = Self { is_changed: true, is_news: true };

    fn and(self, other: Self) -> Self {
        Self {
            is_changed: self.is_changed | other.is_changed,
            is_news: self.is_news | other.is_news,
        }
    }
}

impl Tracked {
    fn step(&mut self, sight: Sight, rules: &Rules, now: Timestamp) -> Step {
        let expired = self.forget_resolved(rules, now);
        let step = match (&mut self.kept.phase, sight) {
            (Phase::Quiet, Sight::There(finding)) => {
                let standing = Standing { since: now, severity: finding.severity, other: None };
                self.kept.phase = Phase::Pending(standing);
                Step::CHANGED.and(self.ripen(finding, rules, now))
            }
            (Phase::Pending(standing), Sight::There(finding)) => {
                let step = standing.weigh(finding.severity, Duration::ZERO, rules.after, now);
                step.and(self.ripen(finding, rules, now))
            }
            (Phase::Firing(firing), Sight::There(finding)) => {
                let returned = firing.returned(now);
                let Standing { severity, .. } = firing.standing;
                let step = firing.standing.weigh(finding.severity, rules.hold, rules.after, now);
                let is_other = severity != firing.standing.severity;
                returned.and(step).and(self.refresh(finding, is_other, rules, now))
            }
            (Phase::Firing(firing), Sight::Gone) => match firing.gone {
                None => {
                    firing.gone = Some(now);
                    Step::CHANGED
                }
                Some(since) if lasted(since, now, rules.hold) => self.resolve(None, now),
                Some(_) => Step::NOTHING,
            },
            (Phase::Firing(_), Sight::Known(state)) => self.resolve(Some(state), now),
            (Phase::Pending(_), Sight::Gone | Sight::Known(_)) => {
                self.kept.phase = Phase::Quiet;
                Step::CHANGED
            }
            (Phase::Quiet, Sight::Gone | Sight::Known(_)) => Step::NOTHING,
        };
        expired.and(step)
    }

    /// Those that ended long enough ago are not told any more.
    fn forget_resolved(&mut self, rules: &Rules, now: Timestamp) -> Step {
        let before = self.kept.resolved.len();
        let is_recent = |alert: &Arc<Alert>| {
            alert.ends_at.is_some_and(|end| !lasted(end, now, rules.resolved_for))
        };
        self.kept.resolved.retain(is_recent);
        if self.kept.resolved.len() == before { Step::NOTHING } else { Step::NEWS }
    }

    /// What has been pending for long enough fires.
    fn ripen(&mut self, finding: &Arc<Finding>, rules: &Rules, now: Timestamp) -> Step {
        let Phase::Pending(standing) = &self.kept.phase else { return Step::NOTHING };
        if !lasted(standing.since, now, rules.after) {
            return Step::NOTHING;
        }
        let standing = standing.clone();
        let alert = Arc::new(Alert {
            labels: labels(finding, standing.severity, rules),
            annotations: annotations(finding, standing.since, 0, rules),
            starts_at: now,
            ends_at: None,
        });
        self.forget_same(&alert);
        self.made_of = Some((finding.clone(), 0));
        self.kept.phase =
            Phase::Firing(Firing { standing, alert, gone: None, returns: Vec::new() });
        Step::NEWS
    }

    /// Makes the alert anew where its finding says something else. With other labels it is another one to
    /// receivers: the old one ends and the new one begins in one step.
    fn refresh(
        &mut self,
        finding: &Arc<Finding>,
        is_other: bool,
        rules: &Rules,
        now: Timestamp,
    ) -> Step {
        let Phase::Firing(firing) = &mut self.kept.phase else { return Step::NOTHING };
        let returns = firing.returns.len();
        let is_same = |(of, count): &(Arc<Finding>, usize)| {
            Arc::ptr_eq(of, finding) && *count == returns && !is_other
        };
        if self.made_of.as_ref().is_some_and(is_same) {
            return Step::NOTHING;
        }
        let mut alert = Alert {
            labels: labels(finding, firing.standing.severity, rules),
            annotations: annotations(finding, firing.standing.since, returns, rules),
            starts_at: firing.alert.starts_at,
            ends_at: None,
        };
        self.made_of = Some((finding.clone(), returns));
        if alert == *firing.alert {
            return Step::NOTHING;
        }
        let was = firing.alert.clone();
        if alert.labels != was.labels {
            alert.starts_at = now;
            self.kept.resolved.push(Arc::new(Alert { ends_at: Some(now), ..(*was).clone() }));
        }
        let alert = Arc::new(alert);
        firing.alert = alert.clone();
        self.forget_same(&alert);
        Step::NEWS
    }

    /// What fires is not told as resolved beside.
    fn forget_same(&mut self, alert: &Alert) {
        self.kept.resolved.retain(|resolved| resolved.labels != alert.labels);
    }

    fn resolve(&mut self, because: Option<FindingState>, now: Timestamp) -> Step {
        let Phase::Firing(firing) = std::mem::take(&mut self.kept.phase) else {
            return Step::NOTHING;
        };
        let mut alert = Arc::unwrap_or_clone(firing.alert);
        alert.ends_at = Some(now);
        if let Some(state) = because {
            alert.annotations.insert("resolved_because".to_owned(), state.to_string());
        }
        self.kept.resolved.push(Arc::new(alert));
        self.made_of = None;
        Step::NEWS
    }
}

impl Firing {
    /// The finding is there; it may have been gone, and what is more than an hour ago no longer counts.
    fn returned(&mut self, now: Timestamp) -> Step {
        let before = self.returns.len();
        self.returns.retain(|at| !lasted(*at, now, COUNTED_FOR));
        let is_back = self.gone.take().is_some();
        if is_back {
            if self.returns.len() >= MOST_RETURNS {
                self.returns.remove(0);
            }
            self.returns.push(now);
        }
        if is_back || self.returns.len() != before { Step::CHANGED } else { Step::NOTHING }
    }
}

/// How long it is told that a finding went and came back.
const COUNTED_FOR: Duration = Duration::from_hours(1);

impl Standing {
    /// Takes in what the finding says now: what is better counts after `better`, what is worse after
    /// `worse`.
    fn weigh(
        &mut self,
        severity: Severity,
        better: Duration,
        worse: Duration,
        now: Timestamp,
    ) -> Step {
        if severity == self.severity {
            return if self.other.take().is_some() { Step::CHANGED } else { Step::NOTHING };
        }
        let since = match &self.other {
            Some(other) if other.severity == severity => other.since,
            _ => now,
        };
        let wanted = if severity < self.severity { better } else { worse };
        let other = if lasted(since, now, wanted) {
            self.severity = severity;
            None
        } else {
            Some(Other { severity, since })
        };
        let is_changed = other.is_none() || other != self.other;
        self.other = other;
        Step { is_changed, is_news: false }
    }
}

/// Whether so much time has passed.
fn lasted(since: Timestamp, now: Timestamp, wanted: Duration) -> bool {
    let wanted = SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX);
    now.duration_since(since) >= wanted
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
