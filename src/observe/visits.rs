//! Somebody waits for a part of the plan to be observed: its keys are due now, and those in flight
//! are joined.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::model::Plan;

use super::schedule::{Key, Schedule};
use super::state::State;
use super::work::{srv_keys, work};

/// A wait for a part of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitId(u64);

/// Everything that is waited for.
#[derive(Debug, Default)]
pub(super) struct Visits {
    under_way: HashMap<VisitId, Visit>,
    finished: Vec<VisitId>,
    last: u64,
}

/// A part of the plan, and how far it was observed.
#[derive(Debug)]
struct Visit {
    plan: Arc<Plan>,
    asked: HashSet<Key, FixedState>,
    waiting: HashSet<Key, FixedState>,
}

impl Visits {
    /// Begins with the SRV lookups of a part of the plan; what they lead to follows.
    pub(super) fn begin(
        &mut self,
        plan: Arc<Plan>,
        schedule: &mut Schedule,
        now: Instant,
    ) -> VisitId {
        self.last += 1;
        let id = VisitId(self.last);
        let keys = srv_keys(&plan).into_iter().map(Key::Lookup);
        let mut visit = Visit { plan, asked: HashSet::default(), waiting: HashSet::default() };
        visit.ask(keys, schedule, now);
        self.under_way.insert(id, visit);
        id
    }

    /// Nobody waits any more.
    pub(super) fn end(&mut self, id: VisitId) {
        self.under_way.remove(&id);
    }

    /// All waits are over, unfinished.
    pub(super) fn clear(&mut self) {
        self.under_way.clear();
    }

    /// A key was observed.
    pub(super) fn ended(&mut self, key: &Key) {
        for visit in self.under_way.values_mut() {
            visit.waiting.remove(key);
        }
    }

    /// Asks for what the observations led to; the schedule must know of it already. `at` is `now` by
    /// the clock.
    pub(super) fn advance(
        &mut self,
        state: &State,
        schedule: &mut Schedule,
        now: Instant,
        at: Timestamp,
    ) {
        let finished = &mut self.finished;
        self.under_way.retain(|id, visit| {
            // What is not wanted any more is not observed any more.
            visit.waiting.retain(|key| schedule.contains(key));
            if visit.waiting.is_empty() {
                let work = work(&visit.plan, state, at);
                let first = work.addresses.into_iter().filter(|(_, turn)| turn.offset == 0);
                let addresses = first.map(|(key, _)| Key::Lookup(key));
                let endpoints = work.endpoints.into_iter().map(Key::Endpoint);
                visit.ask(addresses.chain(endpoints), schedule, now);
            }
            let is_over = visit.waiting.is_empty();
            if is_over {
                finished.push(*id);
            }
            !is_over
        });
    }

    /// Whether some ended and nobody was told.
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The visits that ended since the last call, everything observed.
    pub(super) fn take_finished(&mut self) -> Vec<VisitId> {
        std::mem::take(&mut self.finished)
    }
}

impl Visit {
    /// Each key once. A key that is not scheduled will not be observed, and is not waited for.
    fn ask(&mut self, keys: impl Iterator<Item = Key>, schedule: &mut Schedule, now: Instant) {
        for key in keys {
            if self.asked.insert(key.clone()) && schedule.hasten(&key, now) {
                self.waiting.insert(key);
            }
        }
    }
}
