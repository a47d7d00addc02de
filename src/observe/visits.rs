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
use super::work::{Turn, srv_keys, work};

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
        keys.for_each(|key| visit.ask(key, None, schedule, now));
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

    /// Asks for what the observations led to. The schedule learns of it here: where much changes, it is a
    /// while until all work is worked out again, and somebody waits. `at` is `now` by the clock.
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
                for (key, turn) in work.addresses.into_iter().filter(|(_, turn)| turn.offset == 0) {
                    visit.ask(Key::Lookup(key), Some(turn), schedule, now);
                }
                for key in work.endpoints {
                    visit.ask(Key::Endpoint(key), Some(Turn::ALWAYS), schedule, now);
                }
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
    /// Each key once. With a turn, it is scheduled if it is not yet; without, a key that is not will not be
    /// observed, and is not waited for.
    fn ask(&mut self, key: Key, turn: Option<Turn>, schedule: &mut Schedule, now: Instant) {
        if !self.asked.insert(key.clone()) {
            return;
        }
        turn.into_iter().for_each(|turn| schedule.add(&key, turn, now));
        if schedule.hasten(&key, now) {
            self.waiting.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{parse_server, plan_for, resolver_of};
    use crate::model::{
        Answer, KmsMode, LookupOutcome, Name, Observation, Probe, ProbeOutcome, Record, RecordKind,
    };

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    /// What is there: one record, whose target has one address, where a host is up.
    fn seen(key: &Key, at: Timestamp) -> Observation {
        let records = Answer::bare(LookupOutcome::Records);
        let target = name("kms.test");
        let answer = |kind| match kind {
            RecordKind::Srv => Answer {
                records: vec![Record { priority: 0, weight: 0, port: 1688, target, ttl: 60 }],
                ..records
            },
            RecordKind::A => Answer { addresses: vec![([10, 0, 0, 1]).into()], ..records },
            RecordKind::Aaaa => Answer::bare(LookupOutcome::Nodata),
        };
        match key {
            Key::Lookup(key) => {
                Observation::Lookup { key: key.clone(), answer: Arc::new(answer(key.kind)), at }
            }
            Key::Endpoint(key) => {
                let probe = Arc::new(Probe::bare(ProbeOutcome::Kms));
                Observation::Probe { key: key.clone(), probe, at }
            }
        }
    }

    /// All other work is worked out seldom where much changes: whoever waits does not wait for that.
    #[tokio::test(start_paused = true)]
    async fn a_visit_goes_on_by_itself() {
        let server = parse_server("10.0.0.53").expect("a server");
        let resolver = resolver_of("hq", &[server]);
        let plan = Arc::new(plan_for(&[name("east.test")], KmsMode::Required, vec![resolver]));
        let (now, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut schedule = Schedule::new(Duration::from_mins(1), now);
        schedule.replan(Duration::from_mins(1), srv_keys(&plan), now, |_| false);
        let (mut state, mut visits) = (State::default(), Visits::default());
        let visit = visits.begin(plan, &mut schedule, now);
        let mut asked = Vec::new();
        while let Some(id) = schedule.next_due(now) {
            let key = schedule.key(id).clone();
            asked.push(match &key {
                Key::Lookup(key) => format!("{} {}", key.name, key.kind),
                Key::Endpoint(key) => key.address.to_string(),
            });
            visits.ended(&key);
            assert!(schedule.ended(&key, now));
            state.record(seen(&key, at));
            assert_eq!(visits.take_finished(), [], "after {asked:?}");
            visits.advance(&state, &mut schedule, now, at);
        }
        asked[1..3].sort_unstable();
        let expected =
            ["_vlmcs._tcp.east.test SRV", "kms.test A", "kms.test AAAA", "10.0.0.1:1688"];
        assert_eq!(asked, expected);
        assert_eq!(visits.take_finished(), [visit]);
    }
}
