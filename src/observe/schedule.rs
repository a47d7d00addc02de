//! When each key is observed: at once in the first pass, then at its own phase of the interval.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use tokio::time::Instant;

use crate::model::{EndpointKey, LookupKey, Path, RecordKind, Upstream};

use super::work::{Turn, Work, spread};

/// When each key is observed. A key is in flight once; a slot that comes while it is, is skipped.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    /// Slots are counted from here.
    epoch: Instant,
    entries: Vec<Entry>,
    free: Vec<EntryId>,
    /// By key; the keys themselves stand in the entries alone, as most of them are not in the
    /// processor's cache.
    index: HashTable<EntryId>,
    /// What was due already when it was put here: all of the first pass.
    due: VecDeque<Slot>,
    /// The slots to come.
    slots: BinaryHeap<Reverse<Slot>>,
    /// Keys of the first pass that were not observed yet.
    unmet: usize,
}

/// What is scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A lookup.
    Lookup(LookupKey),
    /// A probe.
    Endpoint(EndpointKey),
}

/// A key's place in the schedule, while it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(u32);

impl EntryId {
    fn place(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    turn: Turn,
    /// Counts up with each change of the slot: older slots of this entry are void.
    version: u32,
    /// The next one; of what is in flight, the last one.
    slot: Instant,
    in_flight: bool,
    was_observed: bool,
    standing: Standing,
}

/// Whether a key belongs to the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It does.
    Wanted,
    /// A reconciliation is under way that has not named it yet.
    Unnamed,
    /// It was removed while in flight, and goes when that ends.
    Gone,
}

/// A slot: when, which entry, which version of it.
type Slot = (Instant, EntryId, u32);

/// What is left to do of the first pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Keys that are scheduled.
    pub known: usize,
    /// Those of them that must still be observed once.
    pub unmet: usize,
}

impl Schedule {
    /// Nothing to do, yet.
    pub fn new(interval: Duration, epoch: Instant) -> Self {
        Self {
            interval,
            epoch,
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            due: VecDeque::new(),
            slots: BinaryHeap::new(),
            unmet: 0,
        }
    }

    /// Takes over the SRV lookups of a plan and its interval. `was_observed` tells of keys whose
    /// observations were kept.
    pub fn replan(
        &mut self,
        interval: Duration,
        keys: Vec<LookupKey>,
        now: Instant,
        was_observed: impl Fn(&LookupKey) -> bool,
    ) {
        self.drop_flights(&keys, now);
        let is_other_interval = self.interval != interval;
        self.interval = interval;
        self.mark_unwanted(Key::is_srv);
        // Those of before are mostly the same.
        let new = keys.len().saturating_sub(self.index.len());
        let entries = &self.entries;
        self.index.reserve(new, |id| hash(&entries[id.place()].key));
        self.entries.reserve(new);
        self.due.reserve(new);
        self.slots.reserve(new);
        for key in keys {
            let was_observed = was_observed(&key);
            self.want(Key::Lookup(key), Turn::ALWAYS, now, was_observed);
        }
        self.remove_unwanted();
        if is_other_interval {
            self.reschedule_all(now);
        }
    }

    /// Makes the addresses and endpoints be those of `work`; returns how many keys were removed.
    pub fn reconcile(&mut self, work: &Work, now: Instant) -> usize {
        self.mark_unwanted(|key| !key.is_srv());
        for (key, turn) in &work.addresses {
            self.want(Key::Lookup(key.clone()), *turn, now, false);
        }
        for key in &work.endpoints {
            self.want(Key::Endpoint(key.clone()), Turn::ALWAYS, now, false);
        }
        self.remove_unwanted()
    }

    /// Takes a key in that [`Self::reconcile`] would; one that is scheduled stays as it is.
    pub fn add(&mut self, key: &Key, turn: Turn, now: Instant) {
        if !self.contains(key) {
            self.want(key.clone(), turn, now, false);
        }
    }

    /// The next key whose time has come; it is in flight from now on.
    pub fn next_due(&mut self, now: Instant) -> Option<EntryId> {
        if self.next_slot()? > now {
            return None;
        }
        let id = match self.due.pop_front() {
            Some((_, id, _)) => id,
            None => self.slots.pop()?.0.1,
        };
        if self.due.is_empty() {
            // It held the first pass.
            self.due = VecDeque::new();
        }
        self.entries[id.place()].in_flight = true;
        Some(id)
    }

    /// What is in flight.
    pub fn key(&self, id: EntryId) -> &Key {
        &self.entries[id.place()].key
    }

    /// When what is in flight should have been observed.
    pub fn slot(&self, id: EntryId) -> Instant {
        self.entries[id.place()].slot
    }

    /// When the next key is due.
    pub fn next_slot(&mut self) -> Option<Instant> {
        let entries = &self.entries;
        let is_current = |id: &EntryId, version| entries[id.place()].version == version;
        while let Some((slot, id, version)) = self.due.front() {
            if is_current(id, *version) {
                return Some(*slot);
            }
            self.due.pop_front();
        }
        while let Some(Reverse((slot, id, version))) = self.slots.peek() {
            if is_current(id, *version) {
                return Some(*slot);
            }
            self.slots.pop();
        }
        None
    }

    /// A key was observed. False: it is not wanted any more, and what was seen is to be dropped.
    pub fn ended(&mut self, key: &Key, now: Instant) -> bool {
        let Some(id) = self.id(key).filter(|id| self.land(*id, now)) else { return false };
        let entry = &mut self.entries[id.place()];
        if !entry.was_observed {
            entry.was_observed = true;
            self.unmet -= usize::from(entry.is_needed());
        }
        true
    }

    /// Makes a key due now, besides its slots; one in flight stays as it is. False: it is not
    /// scheduled.
    pub fn hasten(&mut self, key: &Key, now: Instant) -> bool {
        let Some(id) = self.wanted(key) else { return false };
        let entry = &self.entries[id.place()];
        if !entry.in_flight && entry.slot > now {
            self.set_due(id, now);
        }
        true
    }

    /// Nobody was asked for what was given out: it is as due as it was, if it is wanted still.
    pub fn give_back(&mut self, id: EntryId) {
        let entry = &mut self.entries[id.place()];
        entry.in_flight = false;
        if entry.standing == Standing::Gone {
            return self.remove(id);
        }
        let slot = entry.at(entry.slot, id);
        self.due.push_back(slot);
    }

    /// Whether the key is scheduled.
    pub fn contains(&self, key: &Key) -> bool {
        self.wanted(key).is_some()
    }

    /// How far the first pass is.
    pub fn progress(&self) -> Progress {
        Progress { known: self.index.len(), unmet: self.unmet }
    }

    fn id(&self, key: &Key) -> Option<EntryId> {
        self.index.find(hash(key), |id| self.entries[id.place()].key == *key).copied()
    }

    fn wanted(&self, key: &Key) -> Option<EntryId> {
        self.id(key).filter(|id| self.entries[id.place()].standing == Standing::Wanted)
    }

    /// A key is in flight no more, and waits for its next slot; false: it was removed meanwhile, and goes
    /// now.
    fn land(&mut self, id: EntryId, now: Instant) -> bool {
        let entry = &mut self.entries[id.place()];
        let was_in_flight = std::mem::replace(&mut entry.in_flight, false);
        if entry.standing == Standing::Gone {
            self.remove(id);
            return false;
        }
        if was_in_flight {
            // A slot that came meanwhile is skipped.
            let after = |moment| slot_after(self.epoch, self.interval, entry, moment);
            let next = after(entry.slot);
            let next = if next > now { next } else { after(now) };
            self.set_slot(id, next);
        }
        true
    }

    fn remove(&mut self, id: EntryId) {
        let entry = &mut self.entries[id.place()];
        entry.version = entry.version.wrapping_add(1);
        if let Ok(place) = self.index.find_entry(hash(&entry.key), |other| *other == id) {
            place.remove();
        }
        self.free.push(id);
    }

    fn want(&mut self, key: Key, turn: Turn, now: Instant, was_observed: bool) {
        if let Some(id) = self.id(&key) {
            let entry = &mut self.entries[id.place()];
            if std::mem::replace(&mut entry.standing, Standing::Wanted) == Standing::Gone {
                // It comes back while what was asked before is still under way: that is joined.
                entry.was_observed = was_observed;
                self.unmet += usize::from(entry.is_needed() && !entry.was_observed);
            }
            self.set_turn(id, turn, now);
            return;
        }
        let hashed = hash(&key);
        let entry = Entry {
            key,
            turn,
            version: 0,
            slot: now,
            in_flight: false,
            was_observed,
            standing: Standing::Wanted,
        };
        let id = self.insert(entry);
        let entries = &self.entries;
        self.index.insert_unique(hashed, id, |id| hash(&entries[id.place()].key));
        self.begin(id, now);
    }

    /// Keys of the first pass are due at once, all others at their slot.
    fn begin(&mut self, id: EntryId, now: Instant) {
        let entry = &self.entries[id.place()];
        if entry.is_needed() && !entry.was_observed {
            self.unmet += 1;
            self.set_due(id, now);
        } else {
            self.set_next_slot(id, now);
        }
    }

    fn set_turn(&mut self, id: EntryId, turn: Turn, now: Instant) {
        let entry = &mut self.entries[id.place()];
        if entry.turn == turn {
            return;
        }
        let is_counted = |entry: &Entry| entry.is_needed() && !entry.was_observed;
        self.unmet -= usize::from(is_counted(entry));
        entry.turn = turn;
        // What is in flight will be observed; it is not asked twice.
        match entry.in_flight {
            false => self.begin(id, now),
            true => self.unmet += usize::from(is_counted(entry)),
        }
    }

    fn insert(&mut self, entry: Entry) -> EntryId {
        if let Some(id) = self.free.pop() {
            let version = self.entries[id.place()].version.wrapping_add(1);
            self.entries[id.place()] = Entry { version, ..entry };
            return id;
        }
        if self.entries.len() == self.entries.capacity() {
            // Twice as many would be for hundreds of domains what a few hosts need.
            self.entries.reserve_exact(self.entries.len() / 8 + 16);
        }
        self.entries.push(entry);
        // Each key takes over a hundred octets: there is no memory for 2³² of them.
        EntryId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
    }

    fn mark_unwanted(&mut self, which: impl Fn(&Key) -> bool) {
        let wanted = self.entries.iter_mut().filter(|entry| entry.standing == Standing::Wanted);
        wanted
            .filter(|entry| which(&entry.key))
            .for_each(|entry| entry.standing = Standing::Unnamed);
    }

    /// What is in flight stays until it ends, so that it is not asked a second time meanwhile.
    fn remove_unwanted(&mut self) -> usize {
        let mut removed = 0;
        for place in 0..self.entries.len() {
            let entry = &mut self.entries[place];
            if entry.standing != Standing::Unnamed {
                continue;
            }
            removed += 1;
            self.unmet -= usize::from(entry.is_needed() && !entry.was_observed);
            entry.standing = Standing::Gone;
            if !entry.in_flight {
                self.remove(EntryId(u32::try_from(place).unwrap_or(u32::MAX)));
            }
        }
        removed
    }

    /// Who is no longer asked at all has dropped what was under way: nothing will end there.
    fn drop_flights(&mut self, keys: &[LookupKey], now: Instant) {
        if self.index.is_empty() {
            return;
        }
        let upstreams: HashSet<&Upstream> = keys.iter().map(|key| &*key.upstream).collect();
        let is_dropped = |id: &EntryId| match &self.entries[id.place()].key {
            Key::Lookup(lookup) => !upstreams.contains(&*lookup.upstream),
            Key::Endpoint(_) => false,
        };
        let dropped: Vec<EntryId> = self.index.iter().copied().filter(is_dropped).collect();
        for id in dropped {
            self.land(id, now);
        }
    }

    fn reschedule_all(&mut self, now: Instant) {
        let ids: Vec<EntryId> = self.index.iter().copied().collect();
        for id in ids {
            // What is due already stays due.
            let entry = &self.entries[id.place()];
            if entry.slot > now && entry.standing == Standing::Wanted {
                self.set_next_slot(id, now);
            }
        }
    }

    fn set_next_slot(&mut self, id: EntryId, now: Instant) {
        let slot = slot_after(self.epoch, self.interval, &self.entries[id.place()], now);
        self.set_slot(id, slot);
    }

    fn set_slot(&mut self, id: EntryId, slot: Instant) {
        let slot = self.entries[id.place()].at(slot, id);
        self.slots.push(Reverse(slot));
    }

    fn set_due(&mut self, id: EntryId, now: Instant) {
        let slot = self.entries[id.place()].at(now, id);
        self.due.push_back(slot);
    }
}

impl Key {
    fn is_srv(&self) -> bool {
        matches!(self, Self::Lookup(lookup) if lookup.kind == RecordKind::Srv)
    }
}

impl Entry {
    /// Whether the first pass waits for it.
    fn is_needed(&self) -> bool {
        self.turn.offset == 0
    }

    /// With this slot, instead of the one before.
    fn at(&mut self, slot: Instant, id: EntryId) -> Slot {
        self.version = self.version.wrapping_add(1);
        self.slot = slot;
        (slot, id, self.version)
    }
}

fn hash(key: &Key) -> u64 {
    FixedState::default().hash_one(key)
}

/// The first slot after `now`. Slots are an interval apart (times the turn); each is moved by a
/// jitter of at most a sixteenth of the interval, so that nothing that also runs by the clock meets
/// it every time.
fn slot_after(epoch: Instant, interval: Duration, entry: &Entry, now: Instant) -> Instant {
    let interval = nanoseconds(interval).max(1);
    let hash = phase_hash(&entry.key);
    let phase = hash % interval + u64::from(entry.turn.offset).saturating_mul(interval);
    let period = interval.saturating_mul(u64::from(entry.turn.every));
    let elapsed = nanoseconds(now.saturating_duration_since(epoch));
    let number = (elapsed + period - phase % period) / period;
    let jitter = FixedState::with_seed(hash).hash_one(number) % (interval / 16).max(1);
    let since_epoch = (number * period).saturating_add(phase % period).saturating_add(jitter);
    epoch + Duration::from_nanos(since_epoch)
}

/// Address lookups of one name have one phase on all servers, so that their turns follow each other.
fn phase_hash(key: &Key) -> u64 {
    let (path, mut hasher) = match key {
        Key::Lookup(lookup) if lookup.kind != RecordKind::Srv => {
            return spread(&lookup.name).rotate_left(lookup.kind as u32);
        }
        Key::Lookup(lookup) => {
            let mut hasher = SipHasher13::new();
            hasher.write(lookup.name.as_str().as_bytes());
            std::hash::Hash::hash(&lookup.upstream.server, &mut hasher);
            (&lookup.upstream.path, hasher)
        }
        Key::Endpoint(endpoint) => {
            let mut hasher = SipHasher13::new();
            std::hash::Hash::hash(&endpoint.address, &mut hasher);
            (&*endpoint.path, hasher)
        }
    };
    std::hash::Hash::hash::<SipHasher13>(path as &Path, &mut hasher);
    hasher.finish()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{Name, Server, Transport, Upstream};

    const MINUTE: Duration = Duration::from_mins(1);

    fn srv(number: usize) -> LookupKey {
        let server = Server { transport: Transport::Udp, address: ([127, 0, 0, 1], 53).into() };
        let name = Name::parse(&format!("d{number}.test")).expect("a name");
        let upstream = Arc::new(Upstream { server, path: Path::default() });
        LookupKey { upstream, name, kind: RecordKind::Srv }
    }

    fn planned(count: usize, epoch: Instant) -> Schedule {
        let mut schedule = Schedule::new(MINUTE, epoch);
        schedule.replan(MINUTE, (0..count).map(srv).collect(), epoch, |_| false);
        schedule
    }

    /// All keys that come due until `end`, each observed at once.
    fn drain(schedule: &mut Schedule, end: Instant) -> Vec<(Key, Instant)> {
        let mut seen = Vec::new();
        while let Some((key, slot)) = next_due(schedule, end) {
            schedule.ended(&key, end);
            seen.push((key, slot));
        }
        seen
    }

    fn next_due(schedule: &mut Schedule, now: Instant) -> Option<(Key, Instant)> {
        let id = schedule.next_due(now)?;
        Some((schedule.key(id).clone(), schedule.slot(id)))
    }

    #[test]
    fn the_first_pass_is_due_at_once_and_then_complete() {
        let epoch = Instant::now();
        let mut schedule = planned(100, epoch);
        assert_eq!(schedule.progress(), Progress { known: 100, unmet: 100 });
        assert_eq!(drain(&mut schedule, epoch).len(), 100);
        assert_eq!(schedule.progress(), Progress { known: 100, unmet: 0 });
        assert!(schedule.next_slot().expect("a next slot") > epoch);
    }

    #[test]
    fn each_key_has_one_slot_an_interval_spread_evenly() {
        let epoch = Instant::now();
        let mut schedule = planned(600, epoch);
        drain(&mut schedule, epoch);
        let mut slots: HashMap<Key, Vec<Duration>> = HashMap::new();
        for second in 1..=300 {
            for (key, slot) in drain(&mut schedule, epoch + Duration::from_secs(second)) {
                slots.entry(key).or_default().push(slot - epoch);
            }
        }
        let jitter = MINUTE / 16;
        let gaps = || {
            slots.values().flat_map(|slots| {
                slots.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap())
            })
        };
        assert_eq!(slots.len(), 600);
        assert!(
            gaps().all(|gap| gap >= MINUTE.checked_sub(jitter).unwrap() && gap <= MINUTE + jitter)
        );
        let mut sixths = [0_usize; 6];
        slots.values().for_each(|slots| sixths[(slots[1].as_secs() % 60 / 10) as usize] += 1);
        assert!(sixths.iter().all(|count| (70..=130).contains(count)), "{sixths:?}");
    }

    #[test]
    fn a_key_in_flight_skips_its_slots() {
        let epoch = Instant::now();
        let mut schedule = planned(1, epoch);
        let (key, _) = next_due(&mut schedule, epoch).expect("due");
        assert!(next_due(&mut schedule, epoch + 3 * MINUTE).is_none());
        assert!(schedule.ended(&key, epoch + 3 * MINUTE));
        assert!(next_due(&mut schedule, epoch + 5 * MINUTE).is_some());
    }

    #[test]
    fn a_hastened_key_is_asked_once_and_keeps_its_slots() {
        let epoch = Instant::now();
        let mut schedule = planned(1, epoch);
        let (key, _) = next_due(&mut schedule, epoch).expect("due");
        assert!(schedule.hasten(&key, epoch), "in flight, and joined");
        schedule.ended(&key, epoch);
        let regular = schedule.next_slot().expect("a slot");
        let soon = epoch + Duration::from_millis(1);
        assert!(soon < regular, "the phase of this key is not at the very start");
        assert_eq!(next_due(&mut schedule, soon), None, "joined: not asked again");
        assert!(schedule.hasten(&key, soon) && schedule.hasten(&key, soon));
        assert_eq!(next_due(&mut schedule, soon), Some((key.clone(), soon)));
        schedule.ended(&key, soon);
        assert_eq!(next_due(&mut schedule, soon), None, "once");
        assert_eq!(schedule.next_slot(), Some(regular));
        assert!(!schedule.hasten(&Key::Lookup(srv(7)), soon), "not scheduled");
    }

    #[test]
    fn a_key_that_comes_back_joins_what_is_still_under_way() {
        let epoch = Instant::now();
        let mut schedule = planned(2, epoch);
        let (first, _) = next_due(&mut schedule, epoch).expect("due");
        let Key::Lookup(lookup) = first.clone() else { unreachable!("it is a lookup") };
        let other = if lookup == srv(0) { srv(1) } else { srv(0) };
        schedule.replan(MINUTE, vec![other.clone()], epoch, |_| false);
        assert!(!schedule.contains(&first));
        assert!(!schedule.hasten(&first, epoch), "what is under way will be dropped");
        schedule.replan(MINUTE, vec![other, lookup], epoch, |_| false);
        assert!(schedule.contains(&first));
        let due: Vec<Key> = drain(&mut schedule, epoch).into_iter().map(|(key, _)| key).collect();
        assert!(!due.contains(&first), "it is in flight: {due:?}");
        assert_eq!(schedule.progress().unmet, 1);
        assert!(schedule.ended(&first, epoch));
        assert_eq!(schedule.progress().unmet, 0);
    }

    #[test]
    fn what_a_removed_server_was_asked_never_ends_and_blocks_nothing() {
        let epoch = Instant::now();
        let mut schedule = planned(1, epoch);
        assert!(next_due(&mut schedule, epoch).is_some());
        schedule.replan(MINUTE, vec![], epoch, |_| false);
        schedule.replan(MINUTE, vec![srv(0)], epoch, |_| false);
        assert!(next_due(&mut schedule, epoch).is_some(), "asked anew");
    }

    #[test]
    fn a_shorter_interval_holds_for_what_is_in_flight_too() {
        let epoch = Instant::now();
        let mut schedule = planned(1, epoch);
        let (key, _) = next_due(&mut schedule, epoch).expect("due");
        let second = Duration::from_secs(1);
        schedule.replan(second, vec![srv(0)], epoch, |_| false);
        schedule.ended(&key, epoch);
        let next = schedule.next_slot().expect("a slot");
        assert!(next <= epoch + 2 * second, "{:?}", next - epoch);
    }

    #[test]
    fn late_results_of_removed_keys_are_refused() {
        let epoch = Instant::now();
        let mut schedule = planned(2, epoch);
        let (key, _) = next_due(&mut schedule, epoch).expect("due");
        schedule.replan(MINUTE, vec![], epoch, |_| false);
        assert!(!schedule.ended(&key, epoch));
        assert_eq!(schedule.progress(), Progress { known: 0, unmet: 0 });
        assert!(next_due(&mut schedule, epoch + MINUTE).is_none());
    }

    #[test]
    fn kept_keys_keep_their_slots_and_new_ones_are_due_at_once() {
        let epoch = Instant::now();
        let mut schedule = planned(1, epoch);
        drain(&mut schedule, epoch);
        schedule.replan(MINUTE, vec![srv(0), srv(1)], epoch, |key| *key == srv(0));
        let due: Vec<Key> = drain(&mut schedule, epoch).into_iter().map(|(key, _)| key).collect();
        assert_eq!(due, [Key::Lookup(srv(1))]);
    }

    #[test]
    fn turns_follow_each_other() {
        let epoch = Instant::now();
        let mut schedule = Schedule::new(MINUTE, epoch);
        let key = |octet: u8| {
            let address = ([127, 0, 0, octet], 53).into();
            let server = Server { transport: Transport::Udp, address };
            let upstream = Arc::new(Upstream { server, path: Path::default() });
            LookupKey { upstream, kind: RecordKind::A, ..srv(0) }
        };
        let mut work = Work::default();
        for offset in 0..3_u8 {
            work.addresses.insert(key(offset), Turn { every: 3, offset: u32::from(offset) });
        }
        schedule.reconcile(&work, epoch);
        assert_eq!(schedule.progress(), Progress { known: 3, unmet: 1 });
        drain(&mut schedule, epoch);
        let slots: Vec<(u8, u64)> = (1..=9)
            .flat_map(|minute| {
                let seen = drain(&mut schedule, epoch + minute * MINUTE);
                seen.into_iter().map(move |(key, slot)| (key, slot, minute))
            })
            .map(|(key, slot, _)| match key {
                Key::Lookup(lookup) => match lookup.upstream.server.address.ip() {
                    std::net::IpAddr::V4(address) => {
                        (address.octets()[3], (slot - epoch).as_secs() / 60)
                    }
                    std::net::IpAddr::V6(_) => unreachable!("the test has no such server"),
                },
                Key::Endpoint(_) => unreachable!("the test has no endpoints"),
            })
            .collect();
        let steps: Vec<u8> = slots.windows(2).map(|pair| (pair[1].0 + 3 - pair[0].0) % 3).collect();
        assert!(slots.len() >= 8 && steps.iter().all(|step| *step == 1), "{slots:?}");
    }
}
