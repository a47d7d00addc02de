//! The questions under way at one server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::wire::Question;
use crate::model::{LookupKey, LookupOutcome, Name};

/// One socket or connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId(u64);

impl LineId {
    /// A new one.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A question's place among the flights, and which of the questions that had this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    index: u32,
    generation: u32,
}

/// One lookup under way.
#[derive(Debug)]
pub struct Flight {
    /// What was asked of the engine.
    pub key: LookupKey,
    /// What is asked of the server: the key's name, or what it is an alias of.
    pub question: Question,
    /// The aliases that led to the question.
    pub aliases: Vec<Name>,
    /// What may still be answered.
    pub transmissions: Vec<Transmission>,
    /// How often this question was sent.
    pub sends: u32,
    /// How often it may be: the attempts, and one for each answer that demands another form.
    pub limit: u32,
    /// When it is given up; set when it is first sent.
    pub deadline: Option<Instant>,
    /// When it is sent again.
    pub resend_at: Instant,
    /// Whether it waits to be sent.
    pub is_queued: bool,
    /// Whether it counts against the window: until it is silent for too long, or overtaken.
    pub is_in_window: bool,
    /// Whether the window knows that its first query was lost.
    pub is_missed: bool,
    /// How it has to be asked.
    pub form: Form,
    /// What went wrong last: the outcome, if nothing better comes.
    pub trouble: Option<Trouble>,
}

/// The outcome if nothing better comes, and why.
pub type Trouble = (LookupOutcome, Arc<str>);

/// How a question has to be asked, as answers demanded.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Form {
    /// Without EDNS, since an answer refused it.
    pub plain: bool,
    /// Over TCP.
    pub tcp: bool,
    /// A truncated answer came.
    pub truncated: bool,
    /// The server wanted its own new cookie.
    pub new_cookie: bool,
}

/// One query that left and may still be answered.
#[derive(Debug, Clone, Copy)]
pub struct Transmission {
    /// On what.
    pub line: LineId,
    /// Under which id.
    pub id: u16,
    /// When.
    pub sent: Instant,
    /// Whether it carried EDNS.
    pub edns: bool,
    /// Whether it went over TCP.
    pub tcp: bool,
}

/// All questions under way at one server, with one timer each. Places are reused, with what they
/// have allocated.
#[derive(Debug, Default)]
pub struct Flights {
    places: Vec<Place>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(Instant, u32, u32)>>,
}

#[derive(Debug)]
struct Place {
    flight: Flight,
    is_used: bool,
    generation: u32,
    /// Which of the timers that were set for this place counts.
    timer: u32,
}

impl Flights {
    /// How many are under way.
    pub fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes a lookup up.
    pub fn insert(&mut self, key: LookupKey, attempts: u32, now: Instant) -> Slot {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.is_used = true;
            place.flight.reuse(key, attempts, now);
            return Slot { index, generation: place.generation };
        }
        // The caller bounds the flights far below 2³².
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let flight = Flight::new(key, attempts, now);
        self.places.push(Place { flight, is_used: true, generation: 0, timer: 0 });
        Slot { index, generation: 0 }
    }

    /// The lookup, if it is still under way.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Flight> {
        let place = self.places.get_mut(slot.index as usize)?;
        (place.is_used && place.generation == slot.generation).then_some(&mut place.flight)
    }

    /// Ends it.
    pub fn remove(&mut self, slot: Slot) {
        if self.get_mut(slot).is_some() {
            let place = &mut self.places[slot.index as usize];
            place.is_used = false;
            place.generation = place.generation.wrapping_add(1);
            place.timer = place.timer.wrapping_add(1);
            self.free.push(slot.index);
        }
    }

    /// Every lookup that is under way.
    pub fn slots(&self) -> Vec<Slot> {
        let used = (0..).zip(&self.places).filter(|(_, place)| place.is_used);
        used.map(|(index, place)| Slot { index, generation: place.generation }).collect()
    }

    /// Sets its one timer, in place of the one before.
    pub fn wake(&mut self, slot: Slot, at: Instant) {
        if self.get_mut(slot).is_none() {
            return;
        }
        let place = &mut self.places[slot.index as usize];
        place.timer = place.timer.wrapping_add(1);
        let timer = place.timer;
        self.timers.push(Reverse((at, slot.index, timer)));
        if self.timers.len() > 2 * self.count() + 256 {
            let places = &self.places;
            self.timers.retain(|Reverse((_, index, timer))| {
                places[*index as usize].is_used && places[*index as usize].timer == *timer
            });
        }
    }

    /// A lookup whose timer has passed.
    pub fn due(&mut self, now: Instant) -> Option<Slot> {
        let next = self.next_timer()?;
        if next > now {
            return None;
        }
        let Reverse((_, index, _)) = self.timers.pop()?;
        Some(Slot { index, generation: self.places[index as usize].generation })
    }

    /// When the next timer passes.
    pub fn next_timer(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, index, timer))) = self.timers.peek() {
            let place = &self.places[*index as usize];
            if place.is_used && place.timer == *timer {
                return Some(*at);
            }
            self.timers.pop();
        }
        None
    }
}

impl Flight {
    fn new(key: LookupKey, attempts: u32, now: Instant) -> Self {
        Self {
            question: Question::new(key.name.clone(), key.kind),
            key,
            aliases: Vec::new(),
            transmissions: Vec::new(),
            sends: 0,
            limit: attempts,
            deadline: None,
            resend_at: now,
            is_queued: false,
            is_in_window: true,
            is_missed: false,
            form: Form::default(),
            trouble: None,
        }
    }

    fn reuse(&mut self, key: LookupKey, attempts: u32, now: Instant) {
        self.key = key;
        self.aliases = Vec::new();
        self.is_in_window = true;
        self.ask(self.key.name.clone(), attempts, now);
    }

    /// Begins anew with another name.
    pub fn ask(&mut self, name: Name, attempts: u32, now: Instant) {
        self.question.set(name, self.key.kind);
        self.transmissions.clear();
        self.sends = 0;
        self.limit = attempts;
        self.deadline = None;
        self.resend_at = now;
        self.is_queued = false;
        self.is_missed = false;
        self.form = Form::default();
        self.trouble = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{key, upstream};
    use super::*;
    use crate::model::{RecordKind, Transport};

    fn lookup() -> LookupKey {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 53));
        key(&upstream(Transport::Udp, address), "kms.test", RecordKind::A)
    }

    #[test]
    fn a_place_that_is_used_again_is_another_flight() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let first = flights.insert(lookup(), 3, now);
        flights.get_mut(first).expect("it is under way").form.tcp = true;
        flights.wake(first, now);
        flights.remove(first);
        let second = flights.insert(lookup(), 3, now);
        assert!(flights.get_mut(first).is_none());
        assert!(!flights.get_mut(second).expect("it is under way").form.tcp);
        assert_eq!(flights.due(now), None, "the timer was the first one's");
        assert_eq!(flights.count(), 1);
    }

    #[test]
    fn only_the_last_timer_counts_and_old_ones_do_not_pile_up() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let slot = flights.insert(lookup(), 3, now);
        for wait in 0..10_000 {
            flights.wake(slot, now + Duration::from_secs(wait));
        }
        assert!(flights.timers.len() < 300, "{}", flights.timers.len());
        let last = now + Duration::from_secs(9_999);
        assert_eq!(flights.next_timer(), Some(last));
        assert_eq!(flights.due(now), None);
        assert_eq!(flights.due(last), Some(slot));
    }
}
