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
use super::work::{Turn, Work, srv_keys, work, work_of};

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

    /// Asks for what the observations led to. What the whole plan wants of it, too, the schedule learns here:
    /// where much changes, it is a while until all work is worked out again, and somebody waits. `at` is
    /// `now` by the clock.
    pub(super) fn advance(
        &mut self,
        whole: &Plan,
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
                for (key, turn) in visit.leads_to(whole, state, at) {
                    visit.ask(key, turn, schedule, now);
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
    /// What the observations led to; with a turn, what the whole plan wants, too: one of its servers by itself
    /// may lead to more than the domain has room for.
    fn leads_to(&self, whole: &Plan, state: &State, at: Timestamp) -> Vec<(Key, Option<Turn>)> {
        let domains = self.plan.domains.iter().filter_map(|domain| whole.domain(&domain.name));
        let wanted: Vec<Work> = domains.map(|domain| work_of(whole, domain, state, at)).collect();
        let Work { addresses, endpoints } = work(&self.plan, state, at);
        let first = addresses.into_iter().filter(|(_, turn)| turn.offset == 0);
        let addresses = first.map(|(key, turn)| {
            let is_wanted = wanted.iter().any(|work| work.addresses.contains_key(&key));
            (Key::Lookup(key), is_wanted.then_some(turn))
        });
        let endpoints = endpoints.into_iter().map(|key| {
            let is_wanted = wanted.iter().any(|work| work.endpoints.contains(&key));
            (Key::Endpoint(key), is_wanted.then_some(Turn::ALWAYS))
        });
        addresses.chain(endpoints).collect()
    }

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
        Answer, KmsMode, LookupKey, LookupOutcome, Name, Observation, Probe, ProbeOutcome, Record,
        RecordKind,
    };

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    /// What server `.53` says: one record, whose target has one address, where a host is up. `.54` has 64
    /// more ports of it.
    fn seen(key: &Key, at: Timestamp) -> Observation {
        let records = Answer::bare(LookupOutcome::Records);
        let record =
            |port| Record { priority: 0, weight: 0, port, target: name("kms.test"), ttl: 60 };
        let answer = |key: &LookupKey| match key.kind {
            RecordKind::Srv if key.upstream.server.to_string() == "10.0.0.54" => {
                Answer { records: (1..=64).map(record).collect(), ..records }
            }
            RecordKind::Srv => Answer { records: vec![record(1688)], ..records },
            RecordKind::A => Answer { addresses: vec![([10, 0, 0, 1]).into()], ..records },
            RecordKind::Aaaa => Answer::bare(LookupOutcome::Nodata),
        };
        match key {
            Key::Lookup(key) => {
                Observation::Lookup { key: key.clone(), answer: Arc::new(answer(key)), at }
            }
            Key::Endpoint(key) => {
                let probe = Arc::new(Probe::bare(ProbeOutcome::Kms));
                Observation::Probe { key: key.clone(), probe, at }
            }
        }
    }

    /// A plan of one domain, asked of resolvers of one server each.
    fn plan(servers: &[&str]) -> Arc<Plan> {
        let server = |text: &&str| parse_server(text).expect("a server");
        let resolvers = servers.iter().map(|text| resolver_of(text, &[server(text)])).collect();
        Arc::new(plan_for(&[name("east.test")], KmsMode::Required, resolvers))
    }

    /// What is asked for a visit, sorted, while nothing but that is worked out; `before` is known already.
    fn asked(whole: &Arc<Plan>, part: Arc<Plan>, before: &[Key]) -> Vec<String> {
        let (now, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut schedule = Schedule::new(Duration::from_mins(1), now);
        schedule.replan(Duration::from_mins(1), srv_keys(whole), now, |_| true);
        let (mut state, mut visits) = (State::default(), Visits::default());
        before.iter().for_each(|key| state.record(seen(key, at)));
        let visit = visits.begin(part, &mut schedule, now);
        let mut asked = Vec::new();
        while let Some(id) = schedule.next_due(now) {
            let key = schedule.key(id).clone();
            asked.push(match &key {
                Key::Lookup(key) => format!("{} {} {}", key.upstream.server, key.name, key.kind),
                Key::Endpoint(key) => key.address.to_string(),
            });
            visits.ended(&key);
            assert!(schedule.ended(&key, now));
            state.record(seen(&key, at));
            assert_eq!(visits.take_finished(), [], "after {asked:?}");
            visits.advance(whole, &state, &mut schedule, now, at);
        }
        assert_eq!(visits.take_finished(), [visit], "after {asked:?}");
        asked.sort_unstable();
        asked
    }

    const OF_NAMES: [&str; 3] =
        ["10.0.0.53 _vlmcs._tcp.east.test SRV", "10.0.0.53 kms.test A", "10.0.0.53 kms.test AAAA"];

    /// All other work is worked out seldom where much changes: whoever waits does not wait for that.
    #[tokio::test(start_paused = true)]
    async fn a_visit_goes_on_by_itself() {
        let plan = plan(&["10.0.0.53"]);
        let [srv, a, aaaa] = OF_NAMES;
        assert_eq!(asked(&plan, plan.clone(), &[]), ["10.0.0.1:1688", srv, a, aaaa]);
    }

    /// What a domain has no room for is not probed because one server is asked by itself: the estate would
    /// see it come and go.
    #[tokio::test(start_paused = true)]
    async fn a_visit_brings_nothing_that_the_plan_does_not_want() {
        let whole = plan(&["10.0.0.54", "10.0.0.53"]);
        let upstream = whole.resolvers[0].upstreams[0].clone();
        let address = |kind| LookupKey { upstream: upstream.clone(), name: name("kms.test"), kind };
        let of_other = [
            whole.domains[0].srv_key(&upstream),
            address(RecordKind::A),
            address(RecordKind::Aaaa),
        ];
        assert_eq!(asked(&whole, plan(&["10.0.0.53"]), &of_other.map(Key::Lookup)), OF_NAMES);
    }
}
