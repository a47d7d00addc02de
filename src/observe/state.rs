//! PURE. What is known: per key the latest outcome and the last usable answer, both timed. One task
//! owns it.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, hash_map};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};

use crate::model::journal::{Entry, Remembered};
use crate::model::{
    Answer, EndpointKey, LookupKey, Name, Observation, Plan, Probe, Reachability, RecordKind,
};

use super::history::{History, Past};

/// Per key the latest outcome and the last usable answer, both timed.
#[derive(Debug, Default)]
pub struct State {
    lookups: HashMap<LookupKey, Lookup, FixedState>,
    probes: HashMap<EndpointKey, Timed<Probe>, FixedState>,
    changes: Changes,
    revision: u64,
    /// Where somebody watches for long.
    history: Option<Box<History>>,
}

/// Something that was seen, and when.
#[derive(Debug)]
pub struct Timed<T> {
    /// What was seen.
    pub value: Arc<T>,
    /// When.
    pub at: Timestamp,
}

impl<T> Clone for Timed<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), at: self.at }
    }
}

/// What is known of one lookup key.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The latest answer, whatever it was.
    pub latest: Timed<Answer>,
    /// The last answer from which presence or absence may be concluded.
    pub usable: Option<Timed<Answer>>,
}

/// What was observed since the last audit: it must look at these again.
#[derive(Debug, Default)]
pub struct Changes {
    /// Owner names with a new SRV answer.
    pub owners: HashSet<Name, FixedState>,
    /// Targets with a new address answer.
    pub targets: HashSet<Name, FixedState>,
    /// Endpoints with a new probe.
    pub endpoints: HashSet<EndpointKey, FixedState>,
}

impl Changes {
    fn add(&mut self, key: &LookupKey) {
        match key.kind {
            RecordKind::Srv => self.owners.insert(key.name.clone()),
            RecordKind::A | RecordKind::Aaaa => self.targets.insert(key.name.clone()),
        };
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.targets.is_empty() && self.endpoints.is_empty()
    }
}

impl State {
    /// Nothing is known yet; there is room for so many lookups.
    pub fn with_room(lookups: usize) -> Self {
        let lookups = HashMap::with_capacity_and_hasher(lookups, FixedState::default());
        Self { lookups, ..Self::default() }
    }

    /// Keeps a history from now on, which goes on where what is remembered ends.
    pub fn remember(&mut self, plan: &Plan, remembered: &Remembered) {
        self.history = Some(Box::new(History::new(plan, remembered)));
    }

    /// Tells the history of another plan.
    pub fn replan(&mut self, plan: &Plan) {
        let Some(history) = &mut self.history else { return };
        history.replan(plan);
        for domain in &plan.domains {
            let unheard: Vec<_> = history.unheard(&domain.owner).cloned().collect();
            for upstream in unheard {
                // A profile may have asked it before.
                let key = domain.srv_key(&upstream);
                let usable = self.lookups.get(&key).and_then(|lookup| lookup.usable.as_ref());
                if let Some(Timed { value, at }) = usable {
                    history.answered(&key, None, (value, *at));
                }
            }
        }
    }

    /// What was seen over time of the domain with this owner name; `None` where no history is kept.
    pub fn past(&self, owner: &Name) -> Option<&Past> {
        self.history.as_ref()?.of(owner)
    }

    /// What the journal has to keep since the last call.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.history.as_mut().map(|history| history.take_entries()).unwrap_or_default()
    }

    /// The same at the end of the process: every heartbeat is as late as it can be.
    pub fn take_last_entries(&mut self) -> Vec<Entry> {
        self.history.as_mut().map(|history| history.take_last_entries()).unwrap_or_default()
    }

    /// Takes in an observation. Observations of one key come in the order of their times.
    pub fn record(&mut self, observation: Observation) {
        match observation {
            Observation::Lookup { key, answer, at } => {
                self.record_lookup(key, Timed { value: answer, at });
            }
            Observation::Probe { key, probe, at } => {
                self.record_probe(key, Timed { value: probe, at });
            }
        }
    }

    /// What is known of a lookup.
    pub fn lookup(&self, key: &LookupKey) -> Option<&Lookup> {
        self.lookups.get(key)
    }

    /// The latest probe of an endpoint.
    pub fn probe(&self, key: &EndpointKey) -> Option<&Timed<Probe>> {
        self.probes.get(key)
    }

    /// Counts up whenever an observation may have changed what must be observed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What was observed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Forgets every key that is not wanted any more.
    pub fn retain(
        &mut self,
        lookup: impl Fn(&LookupKey) -> bool,
        endpoint: impl Fn(&EndpointKey) -> bool,
    ) {
        let changes = &mut self.changes;
        self.lookups.retain(|key, _| {
            let is_wanted = lookup(key);
            if !is_wanted {
                changes.add(key);
            }
            is_wanted
        });
        self.probes.retain(|key, _| {
            let is_wanted = endpoint(key);
            if !is_wanted {
                changes.endpoints.insert(key.clone());
            }
            is_wanted
        });
        self.history.iter_mut().for_each(|history| history.retain(&endpoint));
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.lookups.len() + self.probes.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn record_lookup(&mut self, key: LookupKey, latest: Timed<Answer>) {
        self.changes.add(&key);
        // Looked for once: a hundred thousand of them are not in the processor's cache.
        let known = self.lookups.entry(key);
        let before = match &known {
            hash_map::Entry::Occupied(known) => Some(known.get()),
            hash_map::Entry::Vacant(_) => None,
        };
        if before.is_none_or(|before| leads_elsewhere(&before.latest.value, &latest.value)) {
            self.revision += 1;
        }
        if let Some(history) = &mut self.history
            && known.key().kind == RecordKind::Srv
            && latest.value.outcome.is_usable()
        {
            let before = before.and_then(|before| before.usable.as_ref());
            let before = before.map(|before| (&*before.value, before.at));
            history.answered(known.key(), before, (&latest.value, latest.at));
        }
        let usable = match latest.value.outcome.is_usable() {
            true => Some(latest.clone()),
            false => before.and_then(|before| before.usable.clone()),
        };
        known.insert_entry(Lookup { latest, usable });
    }

    fn record_probe(&mut self, key: EndpointKey, probe: Timed<Probe>) {
        self.changes.endpoints.insert(key.clone());
        // Only where the published port fails is there more to look at.
        let known = self.probes.get(&key);
        let before = known.map(|before| before.value.outcome.reachability());
        let after = probe.value.outcome.reachability();
        if let Some(history) = &mut self.history {
            let is_up = |probe: &Timed<Probe>| {
                (probe.value.outcome.reachability() == Reachability::Up, probe.at)
            };
            history.probed(&key, known.map(is_up), is_up(&probe));
        }
        if before.unwrap_or(Reachability::Up) != after {
            self.revision += 1;
        }
        self.probes.insert(key, probe);
    }
}

/// Whether the two answers may lead to other keys.
fn leads_elsewhere(before: &Answer, after: &Answer) -> bool {
    let hosts = |answer: &Answer| -> Vec<_> {
        answer.records.iter().map(|record| (record.target.clone(), record.port)).collect()
    };
    before.outcome != after.outcome
        || before.addresses != after.addresses
        || (before.records != after.records && hosts(before) != hosts(after))
}

/// Tells what is fresh at one moment, and remembers when the first fresh thing that it was asked
/// about stops being so: until then, the same questions have the same answers.
#[derive(Debug)]
pub struct Horizon {
    oldest: Timestamp,
    limit: SignedDuration,
    /// The oldest that was found fresh.
    first: Cell<Timestamp>,
}

impl Horizon {
    /// What was seen within `limit` before `now` is fresh.
    pub fn new(now: Timestamp, limit: Duration) -> Self {
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        let oldest = now.saturating_sub(limit).unwrap_or(Timestamp::MIN);
        Self { oldest, limit, first: Cell::new(Timestamp::MAX) }
    }

    /// Whether something seen then is fresh.
    pub fn is_fresh(&self, at: Timestamp) -> bool {
        if at < self.oldest {
            return false;
        }
        self.first.set(self.first.get().min(at));
        true
    }

    /// The last moment at which everything that was found fresh still is.
    pub fn expires(&self) -> Timestamp {
        self.first.get().saturating_add(self.limit).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LookupOutcome, Path, ProbeOutcome, Server, Transport, Upstream};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    fn key() -> LookupKey {
        let server = Server { transport: Transport::Udp, address: ([127, 0, 0, 1], 53).into() };
        let name = Name::parse("kms.contoso.test").expect("a name");
        let upstream = Arc::new(Upstream { server, path: Path::default() });
        LookupKey { upstream, name, kind: RecordKind::A }
    }

    fn lookup(outcome: LookupOutcome, second: i64) -> Observation {
        Observation::Lookup { key: key(), answer: Arc::new(Answer::bare(outcome)), at: at(second) }
    }

    #[test]
    fn a_failure_keeps_the_last_usable_answer() {
        let mut state = State::default();
        state.record(lookup(LookupOutcome::Nxdomain, 10));
        state.record(lookup(LookupOutcome::Timeout, 20));
        let known = state.lookup(&key()).expect("recorded");
        assert_eq!((known.latest.value.outcome, known.latest.at), (LookupOutcome::Timeout, at(20)));
        let usable = known.usable.as_ref().expect("held");
        assert_eq!((usable.value.outcome, usable.at), (LookupOutcome::Nxdomain, at(10)));
    }

    #[test]
    fn only_what_changes_the_work_counts_up() {
        let mut state = State::default();
        let mut revision_after = |observation| {
            state.record(observation);
            state.revision()
        };
        let first = revision_after(lookup(LookupOutcome::Nxdomain, 10));
        assert_eq!(revision_after(lookup(LookupOutcome::Nxdomain, 20)), first);
        assert_ne!(revision_after(lookup(LookupOutcome::Nodata, 30)), first);
    }

    #[test]
    fn changes_are_told_once() {
        let mut state = State::default();
        let endpoint = EndpointKey { path: Arc::default(), address: ([127, 0, 0, 1], 1688).into() };
        let probe = Arc::new(Probe::bare(ProbeOutcome::Kms));
        state.record(Observation::Probe { key: endpoint.clone(), probe, at: at(1) });
        state.record(lookup(LookupOutcome::Nxdomain, 2));
        let changes = state.take_changes();
        assert!(changes.endpoints.contains(&endpoint) && changes.targets.contains(&key().name));
        assert!(changes.owners.is_empty());
        assert!(state.take_changes().is_empty());
    }

    #[test]
    fn what_is_not_wanted_is_forgotten() {
        let mut state = State::default();
        state.record(lookup(LookupOutcome::Nxdomain, 10));
        state.retain(|_| false, |_| false);
        assert!(state.is_empty());
    }

    #[test]
    fn a_horizon_knows_when_its_answers_change() {
        let horizon = Horizon::new(at(100), Duration::from_secs(30));
        assert!(horizon.is_fresh(at(70)) && !horizon.is_fresh(at(69)) && horizon.is_fresh(at(90)));
        assert_eq!(horizon.expires(), at(100));
        assert!(!Horizon::new(at(101), Duration::from_secs(30)).is_fresh(at(70)));
    }
}
