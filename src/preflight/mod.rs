//! PURE. What a preflight saw → the steps of each profile's clients, in their order, each told once it is
//! known.
//!
//! A step reads the snapshot that an audit made of what was seen so far, and what the snapshot does not
//! have: this machine ([`Seat`]), and what each server said over UDP and TCP ([`Reach`]). Every sentence
//! of a preflight stands here.

mod accepted;
mod connect;
mod counts;
mod hosts;
mod servers;
mod settled;
mod shares;
mod source;
mod suffixes;
mod verdict;
mod way;
mod words;

use std::sync::Arc;

pub use way::way;

use jiff::Timestamp;

use crate::model::preflight::{Reach, Seat, Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Plan, Profile, Snapshot, Upstream};
use crate::observe::state::State;

/// Everything that was seen of one profile so far.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What is observed, and how.
    pub plan: &'a Plan,
    /// Whose clients are played.
    pub profile: &'a Arc<Profile>,
    /// Of this machine.
    pub seat: &'a Seat,
    /// Each server of the profile's resolver, in its order.
    pub reach: &'a [(Arc<Upstream>, Reach)],
    /// What was observed.
    pub state: &'a State,
    /// The audit of `state`.
    pub snapshot: &'a Snapshot,
    /// The same without the exceptions of the config; `None` where it has none.
    pub bare: Option<&'a Snapshot>,
    /// Whether all that must be observed was.
    pub is_complete: bool,
    /// When the audit was made.
    pub now: Timestamp,
}

impl<'a> Scene<'a> {
    /// The steps that are known, up to the first that is not; without the first `told`.
    pub fn steps(&self, told: usize) -> Vec<Step> {
        let steps = StepId::ALL.into_iter().skip(told).map_while(|id| self.step(id));
        steps.map(|step| accepted::applied(self, step)).collect()
    }

    fn step(&self, id: StepId) -> Option<Step> {
        if id == StepId::Source {
            return Some(source::step(self));
        }
        if self.seat.obstacle.is_some() {
            return Some(match id {
                StepId::Verdict => verdict::of_nothing(),
                id => Step::new(id, StepState::Skipped, "not done"),
            });
        }
        if id == StepId::Servers {
            return servers::step(self);
        }
        let view = self.view()?;
        match id {
            StepId::Source | StepId::Servers => None,
            // To look closer costs much where there are many.
            StepId::Suffixes if !settled::is_searched(self, view) => None,
            StepId::Suffixes => suffixes::step(self, view),
            StepId::Hosts => hosts::step(self, view),
            StepId::Connect => connect::step(self, view),
            _ if !settled::is_settled(self, view) => None,
            StepId::Shares => Some(shares::step(view)),
            StepId::Counts => counts::step(self, view),
            StepId::Verdict => Some(verdict::step(self, view)),
        }
    }

    fn view(&self) -> Option<&'a Arc<ProfileView>> {
        let entries = self.snapshot.profiles.iter();
        let mut views = entries.map(|entry| &entry.view);
        views.find(|view| view.profile.name == self.profile.name)
    }
}

/// The worst that some of many do to all: if none is good the step fails, if some are not it warns.
fn summed(states: impl Iterator<Item = StepState>) -> StepState {
    let (mut good, mut worst) = (false, StepState::Passed);
    for state in states {
        good |= matches!(state, StepState::Passed | StepState::Info | StepState::Warning);
        worst = worst.max(state);
    }
    match worst {
        StepState::Failed | StepState::Unknown if good => StepState::Warning,
        worst => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_bad_ones_warn_and_only_all_of_them_fail() {
        use StepState::{Failed, Passed, Unknown, Warning};
        let of = |states: &[StepState]| summed(states.iter().copied());
        assert_eq!(of(&[]), Passed);
        assert_eq!(of(&[Passed, Failed]), Warning);
        assert_eq!(of(&[Unknown, Failed]), Failed);
        assert_eq!(of(&[Unknown]), Unknown);
        assert_eq!(of(&[Passed, Warning]), Warning);
    }
}
