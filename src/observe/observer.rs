//! The loop that owns the state: it gives work out, takes observations in, and never outruns either.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::model::journal::{Entry, Remembered};
use crate::model::{EndpointKey, LookupKey, Observation, Plan, Upstream};
use crate::stats::Stats;

use super::schedule::{EntryId, Key, Progress, Schedule};
use super::state::{Changes, State};
use super::visits::{VisitId, Visits};
use super::work::{srv_keys, work};

/// Where work goes out to. Both take what they have room for at once, and give back the rest.
pub trait Outlet {
    /// How many lookups a server has room for now.
    fn room(&self, upstream: &Arc<Upstream>) -> usize;
    /// Asks a server.
    fn lookups(&self, upstream: &Arc<Upstream>, keys: Vec<LookupKey>) -> Vec<LookupKey>;
    /// How many probes there is room for now.
    fn free_places(&self) -> usize;
    /// Probes endpoints.
    fn probes(&self, keys: Vec<EndpointKey>) -> Vec<EndpointKey>;
}

/// Owns the state: gives work out when it is due, and takes observations in.
#[derive(Debug)]
pub struct Observer {
    plan: Arc<Plan>,
    state: State,
    schedule: Schedule,
    backlog: Backlog,
    visits: Visits,
    inbox: mpsc::Receiver<Vec<Observation>>,
    clock: Clock,
    stats: Arc<Stats>,
    /// The revision of the state that the schedule knows.
    revision: Option<u64>,
    /// When the work may be worked out again.
    next_work: Instant,
    /// Whether the first pass over the plan is over.
    was_complete: bool,
}

/// Keys whose time has come, and that nobody had room for yet.
#[derive(Debug, Default)]
struct Backlog {
    lookups: HashMap<Arc<Upstream>, VecDeque<EntryId>, FixedState>,
    probes: VecDeque<EntryId>,
}

/// At most so many keys are handed over at once.
const BATCH: usize = 256;
/// Working out the work takes one part in so many of the time: with 10,000 domains, some 5 ms each 1.5 s.
/// That much later a host is looked up whose record is new, but no later than that: of larger estates, it
/// is a greater part.
const WORK_PART: u32 = 300;
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Nobody minds when an observation is so much later than its slot.
const LONGEST_MOMENT: Duration = Duration::from_millis(200);

impl Observer {
    /// Begins with `plan`; everything is due at once. `inbox` is what the outlet's observations
    /// come through.
    pub fn new(
        plan: Arc<Plan>,
        inbox: mpsc::Receiver<Vec<Observation>>,
        clock: Clock,
        stats: Arc<Stats>,
    ) -> Self {
        let now = Instant::now();
        let keys = srv_keys(&plan);
        let room = keys.len();
        let mut schedule = Schedule::new(plan.interval, now);
        schedule.replan(plan.interval, keys, now, |_| false);
        Self {
            plan,
            state: State::with_room(room),
            schedule,
            backlog: Backlog::default(),
            visits: Visits::default(),
            inbox,
            clock,
            stats,
            revision: None,
            next_work: now,
            was_complete: false,
        }
    }

    /// Keeps a history from now on, which goes on where what is remembered ends. To be called before
    /// anything is observed.
    pub fn remember(&mut self, remembered: &Remembered) {
        self.state.remember(&self.plan, remembered);
    }

    /// Takes over another plan: observations whose keys remain are kept, late results of removed
    /// keys are dropped, and visits end unfinished.
    pub fn replan(&mut self, plan: Arc<Plan>) {
        let now = Instant::now();
        self.take_back();
        let state = &self.state;
        self.plan = plan;
        self.schedule.replan(self.plan.interval, srv_keys(&self.plan), now, |key| {
            state.lookup(key).is_some()
        });
        self.reconcile(now);
        self.forget();
        self.state.replan(&self.plan);
        self.visits.clear();
        // What is new is a first pass again.
        self.was_complete = false;
    }

    /// Gives out what is due and takes in what comes; returns at `until` at the latest, and after
    /// each batch of observations, and at once while finished visits are not taken. It may be dropped at its await without losing anything.
    pub async fn step(&mut self, outlet: &impl Outlet, until: Instant) {
        let now = Instant::now();
        if self.is_work_due(now) && self.reconcile(now) > 0 {
            self.forget();
        }
        self.was_complete |= self.is_complete();
        self.advance_visits(now);
        if self.visits.has_finished() {
            return;
        }
        while let Some(id) = self.schedule.next_due(now) {
            self.backlog.push(self.schedule.key(id), id);
        }
        self.give_out(outlet, now);
        let wake = self.next_wake(now, until);
        tokio::select! {
            biased;
            batch = self.inbox.recv() => self.take(batch.into_iter().flatten()),
            () = sleep_until(wake) => {}
        }
        while let Ok(batch) = self.inbox.try_recv() {
            self.take(batch);
        }
        self.advance_visits(Instant::now());
    }

    /// Makes the keys of a part of the plan due now, and those that they lead to. What is in flight
    /// is joined, not asked again.
    pub fn visit(&mut self, plan: Arc<Plan>) -> VisitId {
        self.visits.begin(plan, &mut self.schedule, Instant::now())
    }

    /// Nobody waits for this any more.
    pub fn leave(&mut self, visit: VisitId) {
        self.visits.end(visit);
    }

    /// The visits whose every key was observed since the last call.
    pub fn take_finished(&mut self) -> Vec<VisitId> {
        self.visits.take_finished()
    }

    /// Whether everything that must be known was observed at least once.
    pub fn is_complete(&self) -> bool {
        self.schedule.progress().unmet == 0 && self.is_settled()
    }

    /// How far the first pass is.
    pub fn progress(&self) -> Progress {
        self.schedule.progress()
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was observed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        self.state.take_changes()
    }

    /// What the journal has to keep since the last call.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.state.take_entries()
    }

    /// The same at the end of the process.
    pub fn take_last_entries(&mut self) -> Vec<Entry> {
        self.state.take_last_entries()
    }

    /// Hands over what waits, as far as there is room.
    fn give_out(&mut self, outlet: &impl Outlet, now: Instant) {
        let oldest = self.backlog.give_out(&self.schedule, outlet);
        let lag = oldest.map_or(Duration::ZERO, |slot| now.saturating_duration_since(slot));
        self.stats.set_lag(lag);
    }

    fn take(&mut self, observations: impl IntoIterator<Item = Observation>) {
        let now = Instant::now();
        for observation in observations {
            let key = match &observation {
                Observation::Lookup { key, .. } => Key::Lookup(key.clone()),
                Observation::Probe { key, .. } => Key::Endpoint(key.clone()),
            };
            self.visits.ended(&key);
            if self.schedule.ended(&key, now) {
                self.state.record(observation);
            }
        }
    }

    fn advance_visits(&mut self, now: Instant) {
        let at = self.clock.at(now);
        self.visits.advance(&self.plan, &self.state, &mut self.schedule, now, at);
    }

    fn is_work_due(&self, now: Instant) -> bool {
        if self.is_settled() {
            // Time alone makes answers old, and then other servers must be asked.
            return now >= self.next_work + self.plan.interval;
        }
        // In the first pass somebody waits for it; later, answers that change all the time must not
        // make it all that is done.
        (!self.was_complete && self.schedule.progress().unmet == 0) || now >= self.next_work
    }

    /// Whether the schedule knows what all observations led to.
    fn is_settled(&self) -> bool {
        self.revision == Some(self.state.revision())
    }

    /// Tells the schedule; returns how many keys it has no more.
    fn reconcile(&mut self, now: Instant) -> usize {
        self.revision = Some(self.state.revision());
        let work = work(&self.plan, &self.state, self.clock.at(now));
        let removed = self.schedule.reconcile(&work, now);
        let done = Instant::now();
        self.next_work = done + ((done - now) * WORK_PART).min(LONGEST_REST);
        removed
    }

    /// Forgets what is not scheduled any more.
    fn forget(&mut self) {
        self.take_back();
        let (schedule, state) = (&mut self.schedule, &mut self.state);
        state.retain(
            |key| schedule.contains(&Key::Lookup(key.clone())),
            |key| schedule.contains(&Key::Endpoint(key.clone())),
        );
    }

    /// What waits is taken back from the backlog, for the schedule may have it no more.
    fn take_back(&mut self) {
        let Backlog { lookups, probes } = std::mem::take(&mut self.backlog);
        let waiting = lookups.into_values().flatten().chain(probes);
        waiting.for_each(|id| self.schedule.give_back(id));
    }

    fn next_wake(&mut self, now: Instant, until: Instant) -> Instant {
        // What comes due within a moment is given out together: to wake for each key costs more
        // than to ask it.
        let moment = (self.plan.interval / 300).min(LONGEST_MOMENT);
        let slot = self.schedule.next_slot().map_or(until, |slot| slot.max(now + moment));
        let work = match self.is_settled() {
            true => self.next_work + self.plan.interval,
            false => self.next_work,
        };
        until.min(slot).min(work)
    }
}

impl Backlog {
    fn push(&mut self, key: &Key, id: EntryId) {
        match key {
            Key::Lookup(key) => match self.lookups.get_mut(&key.upstream) {
                Some(queue) => queue.push_back(id),
                None => drop(self.lookups.insert(key.upstream.clone(), VecDeque::from([id]))),
            },
            Key::Endpoint(_) => self.probes.push_back(id),
        }
    }

    /// Returns since when the oldest key that is left waits.
    fn give_out(&mut self, schedule: &Schedule, outlet: &impl Outlet) -> Option<Instant> {
        for (upstream, queue) in &mut self.lookups {
            let key = |id| match schedule.key(id) {
                Key::Lookup(key) => Some(key.clone()),
                Key::Endpoint(_) => None,
            };
            drain(queue, key, || outlet.room(upstream), |keys| outlet.lookups(upstream, keys));
        }
        let key = |id| match schedule.key(id) {
            Key::Endpoint(key) => Some(key.clone()),
            Key::Lookup(_) => None,
        };
        drain(&mut self.probes, key, || outlet.free_places(), |keys| outlet.probes(keys));
        let queues = self.lookups.values().chain([&self.probes]);
        queues.filter_map(|queue| queue.front()).map(|id| schedule.slot(*id)).min()
    }
}

/// Hands over batches until there is no room, or one is not taken whole.
fn drain<K>(
    queue: &mut VecDeque<EntryId>,
    key: impl Fn(EntryId) -> Option<K>,
    room: impl Fn() -> usize,
    submit: impl Fn(Vec<K>) -> Vec<K>,
) {
    loop {
        let length = queue.len().min(BATCH).min(room());
        if length == 0 {
            return;
        }
        let left = submit(queue.iter().take(length).filter_map(|id| key(*id)).collect());
        // What is given back is the end of the batch.
        queue.drain(..length - left.len());
        if !left.is_empty() {
            return;
        }
    }
}
