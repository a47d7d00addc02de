//! What a domain's status was over a span of time, from the events of the journal: a bar of slots.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::journal::{Event, EventKind};
use crate::model::{Name, Status};

/// What a domain's status was over a span of time, in slots of equal length, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Where the first slot begins.
    pub from: Timestamp,
    /// Where the last slot ends.
    pub until: Timestamp,
    /// They cover the span without a gap; none where it has no length.
    pub slots: Vec<Slot>,
}

/// A part of a strip: from its first moment on, up to but without its last.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends, and the next one begins.
    pub until: Timestamp,
    /// The worst status in it; `None`: nobody watched in any of it.
    pub worst: Option<Status>,
    /// The part of it, 0 to 1, that was watched.
    pub watched: f64,
}

/// One strip for each of `domains`, which come with their status now. `events` are those of the kinds
/// [`EventKind::Status`] and [`EventKind::Started`] since `from`, the latest first, as the journal gives
/// them; others do no harm, but where some are missing, a status is thought to have held for longer.
///
/// Before an event of a status the domain had the one that it `was`; without that, nobody watched it until
/// then, and the same holds where a daemon `started` and knows of none before. Where it knows until when
/// another one watched, what was before that is as it was told after. The earliest status that is known
/// holds since `from`.
pub fn strips(
    events: &[Event],
    domains: &[(Name, Status)],
    from: Timestamp,
    until: Timestamp,
    slots: usize,
) -> Vec<Strip> {
    let draw = |(_, status): &(Name, Status)| Drawing::new(*status, from, until, slots);
    let mut drawings: Vec<Drawing> = domains.iter().map(draw).collect();
    let places: HashMap<&Name, usize> =
        domains.iter().enumerate().map(|(place, (name, _))| (name, place)).collect();
    for event in events {
        match event.kind {
            EventKind::Status => {
                let place = event.domain.as_ref().and_then(|domain| places.get(domain));
                if let Some(place) = place {
                    drawings[*place].turned(event.at, was(event));
                }
            }
            EventKind::Started => {
                let watched_until = watched_until(event);
                drawings.iter_mut().for_each(|one| one.started(event.at, watched_until));
            }
            _ => {}
        }
    }
    drawings.into_iter().map(Drawing::finish).collect()
}

/// What an event of a status says that it was before.
fn was(event: &Event) -> Option<Status> {
    Status::of_word(event.evidence.get("was")?.as_str()?)
}

fn watched_until(event: &Event) -> Option<Timestamp> {
    event.evidence.get("watched_until")?.as_str()?.parse().ok()
}

/// A strip that is drawn from its end back. Times are nanoseconds since 1970.
struct Drawing {
    from: Timestamp,
    until: Timestamp,
    /// The status just before `drawn`; `None`: nobody watched.
    status: Option<Status>,
    /// From there on, all is drawn.
    drawn: i128,
    /// The worst status of each slot, and for how long it was watched.
    slots: Vec<(Option<Status>, i128)>,
}

impl Drawing {
    fn new(status: Status, from: Timestamp, until: Timestamp, slots: usize) -> Self {
        let slots = if from < until { vec![(None, 0); slots] } else { Vec::new() };
        Self { from, until, status: Some(status), drawn: until.as_nanosecond(), slots }
    }

    /// Its status was another before.
    fn turned(&mut self, at: Timestamp, was: Option<Status>) {
        self.draw_back_to(at);
        self.status = was;
    }

    /// Nobody watched just before, since a moment or ever.
    fn started(&mut self, at: Timestamp, watched_until: Option<Timestamp>) {
        self.draw_back_to(at);
        match watched_until {
            Some(watched_until) => self.drawn = self.drawn.min(watched_until.as_nanosecond()),
            None => self.status = None,
        }
    }

    fn draw_back_to(&mut self, at: Timestamp) {
        // A clock that was set makes events look older than those before them: what is drawn stays.
        let start = at.max(self.from).as_nanosecond().min(self.drawn);
        if let Some(status) = self.status {
            self.draw(start, status);
        }
        self.drawn = start;
    }

    fn draw(&mut self, start: i128, status: Status) {
        for place in self.place(start)..self.slots.len() {
            let [begin, end] = [place, place + 1].map(|place| self.bound(place));
            let overlap = end.min(self.drawn) - begin.max(start);
            if begin >= self.drawn {
                break;
            }
            if overlap > 0 {
                let (worst, watched) = &mut self.slots[place];
                *worst = Some(status).max(*worst);
                *watched += overlap;
            }
        }
    }

    /// Where the slot begins; that behind the last, where the strip ends.
    fn bound(&self, place: usize) -> i128 {
        let (from, until) = (self.from.as_nanosecond(), self.until.as_nanosecond());
        from + (until - from) * place as i128 / self.slots.len() as i128
    }

    /// The slot that a moment is in, or the one before where it just begins.
    fn place(&self, moment: i128) -> usize {
        let (from, until) = (self.from.as_nanosecond(), self.until.as_nanosecond());
        let place = (moment - from) * self.slots.len() as i128 / (until - from).max(1);
        usize::try_from(place).unwrap_or(0)
    }

    fn finish(mut self) -> Strip {
        self.draw_back_to(self.from);
        let Self { from, until, .. } = self;
        let time = |place| Timestamp::from_nanosecond(self.bound(place)).unwrap_or(until);
        let slot = |(place, (worst, watched)): (usize, &(Option<Status>, i128))| {
            let length = (self.bound(place + 1) - self.bound(place)).max(1);
            let watched = part(*watched, length);
            Slot { from: time(place), until: time(place + 1), worst: *worst, watched }
        };
        Strip { from, until, slots: self.slots.iter().enumerate().map(slot).collect() }
    }
}

/// A length as a part of another.
#[expect(clippy::cast_precision_loss, reason = "nobody sees a nanosecond of a bar")]
fn part(watched: i128, length: i128) -> f64 {
    watched as f64 / length as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::finding::Evidence;
    use Status::{Critical, Info, Ok, Warning};

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    fn event(at: i64, kind: EventKind, domain: Option<&str>, evidence: Evidence) -> Event {
        let (at, domain) = (second(at), domain.map(name));
        Event { at, kind, domain, host: None, servers: Vec::new(), evidence }
    }

    fn turned(at: i64, domain: &str, was: Option<Status>) -> Event {
        let values = was.map(|was| ("was".to_owned(), was.as_str().into()));
        event(at, EventKind::Status, Some(domain), values.into_iter().collect())
    }

    fn started(at: i64, until: Option<i64>) -> Event {
        let until = until.map(|until| ("watched_until".to_owned(), json!(second(until))));
        event(at, EventKind::Started, None, until.into_iter().collect())
    }

    /// The slots of a domain that is ok now, from second 0 to 40: the worst, and what was watched.
    fn drawn(events: &[Event]) -> Vec<(Option<Status>, f64)> {
        let domains = [(name("a.test"), Ok), (name("b.test"), Warning)];
        let [a, b] = &*strips(events, &domains, second(0), second(40), 4) else { panic!("two") };
        assert_eq!((a.from, b.until), (second(0), second(40)));
        a.slots.iter().map(|slot| (slot.worst, slot.watched)).collect()
    }

    #[test]
    fn what_a_domain_was_holds_back_to_the_event_before() {
        let all = |status| vec![(Some(status), 1.0); 4];
        assert_eq!(drawn(&[]), all(Ok));
        assert_eq!(drawn(&[turned(15, "b.test", Some(Critical))]), all(Ok), "another's");
        assert_eq!(drawn(&[turned(40, "a.test", Some(Critical))]), all(Critical));
        let turns = [turned(35, "a.test", Some(Warning)), turned(15, "a.test", Some(Info))];
        let shown = [Info, Warning, Warning, Warning].map(|status| (Some(status), 1.0));
        assert_eq!(drawn(&turns), shown);
        // The worst of a slot, even for a moment that is not the last of it.
        let brief = [turned(17, "a.test", Some(Critical)), turned(16, "a.test", Some(Ok))];
        assert_eq!(drawn(&brief).map_statuses(), [Ok, Critical, Ok, Ok].map(Some));
    }

    trait Statuses {
        fn map_statuses(&self) -> Vec<Option<Status>>;
    }

    impl Statuses for Vec<(Option<Status>, f64)> {
        fn map_statuses(&self) -> Vec<Option<Status>> {
            self.iter().map(|(status, _)| *status).collect()
        }
    }

    #[test]
    fn nobody_watched_before_the_first_status() {
        let first = [turned(15, "a.test", None)];
        assert_eq!(drawn(&first), [(None, 0.0), (Some(Ok), 0.5), (Some(Ok), 1.0), (Some(Ok), 1.0)]);
        // It was configured once before, nobody knows until when.
        let again = [turned(35, "a.test", None), turned(15, "a.test", Some(Critical))];
        let shown = [(Some(Critical), 1.0), (Some(Critical), 0.5), (None, 0.0), (Some(Ok), 0.5)];
        assert_eq!(drawn(&again), shown);
    }

    #[test]
    fn nobody_watched_while_no_daemon_ran() {
        let gap = [started(25, Some(15))];
        let part = |status| [1.0, 0.5, 0.5, 1.0].map(|watched| (Some(status), watched));
        assert_eq!(drawn(&gap), part(Ok));
        let changed = [turned(26, "a.test", Some(Critical)), started(25, Some(15))];
        assert_eq!(drawn(&changed).map_statuses(), [Critical, Critical, Critical, Ok].map(Some));
        let new = [started(25, None)];
        assert_eq!(drawn(&new), [(None, 0.0), (None, 0.0), (Some(Ok), 0.5), (Some(Ok), 1.0)]);
        // By a clock that was wrong, it watched until after it started.
        assert_eq!(drawn(&[started(25, Some(30))]), [(Some(Ok), 1.0); 4]);
        let long_ago = [started(25, Some(-9)), turned(-10, "a.test", Some(Critical))];
        assert_eq!(drawn(&long_ago)[..2], [(None, 0.0); 2]);
    }

    #[test]
    fn a_span_without_length_has_no_slots() {
        let domains = [(name("a.test"), Ok)];
        let of = |from, until, slots| {
            let events = [turned(5, "a.test", None), started(4, Some(1))];
            strips(&events, &domains, second(from), second(until), slots)[0].slots.len()
        };
        assert_eq!([of(0, 0, 3), of(9, 0, 3), of(0, 9, 0), of(0, 9, 3)], [0, 0, 0, 3]);
    }

    fn any_status() -> impl Strategy<Value = Status> {
        prop::sample::select(Status::ALL)
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let turns = (-20..140_i64, any::<bool>(), prop::option::of(any_status()));
        prop_oneof![
            3 => turns.prop_map(|(at, is_a, was)| {
                turned(at, if is_a { "a.test" } else { "b.test" }, was)
            }),
            1 => (-20..140_i64, prop::option::of(1..60_i64))
                .prop_map(|(at, gap)| started(at, gap.map(|gap| at - gap))),
        ]
    }

    /// What domain `a.test` was in the second that begins then, by each event from the latest one on.
    fn by_hand(events: &[Event], mut status: Option<Status>, moment: i64) -> Option<Status> {
        for event in events {
            let at = event.at.as_second() - 1_000_000;
            if at <= moment {
                return status;
            }
            match event.kind {
                EventKind::Started => match watched_until(event) {
                    Some(until) if until.as_second() - 1_000_000 <= moment => return None,
                    Some(_) => {}
                    None => status = None,
                },
                _ if event.domain == Some(name("a.test")) => status = was(event),
                _ => {}
            }
        }
        status
    }

    proptest! {
        #[test]
        fn slots_cover_the_span_and_tell_the_worst_of_each_second(
            mut events in prop::collection::vec(any_event(), 0..12),
            now in any_status(),
            from in 0..50_i64,
            lengths in (1..20_usize, 1..6_i64),
        ) {
            // As the journal gives them.
            events.sort_by_key(|event| std::cmp::Reverse(event.at));
            let (slots, length) = lengths;
            let until = from + length * i64::try_from(slots).expect("few");
            let domains = [(name("a.test"), now)];
            let strip = strips(&events, &domains, second(from), second(until), slots).remove(0);
            prop_assert_eq!(strip.slots.len(), slots);
            let mut begin = from;
            for slot in &strip.slots {
                prop_assert_eq!(slot.from, second(begin));
                prop_assert_eq!(slot.until, second(begin + length));
                let seconds: Vec<_> = (begin..begin + length)
                    .map(|moment| by_hand(&events, Some(now), moment))
                    .collect();
                prop_assert_eq!(slot.worst, seconds.iter().copied().max().flatten());
                let watched = seconds.iter().flatten().count();
                let part = part(watched as i128, length.into());
                prop_assert!((slot.watched - part).abs() < 1e-9, "{} {}", slot.watched, part);
                begin += length;
            }
            prop_assert_eq!(begin, until);
        }

        #[test]
        fn slots_of_any_length_have_no_gap_between_them(
            events in prop::collection::vec(any_event(), 0..12),
            length in 1..1_000_000_i64,
            slots in 1..200_usize,
        ) {
            let (from, until) = (second(0), second(0) + jiff::SignedDuration::from_nanos(length));
            let strip = strips(&events, &[(name("a.test"), Ok)], from, until, slots).remove(0);
            prop_assert_eq!(strip.slots[0].from, from);
            prop_assert_eq!(strip.slots[slots - 1].until, until);
            for pair in strip.slots.windows(2) {
                prop_assert_eq!(pair[0].until, pair[1].from);
            }
            for slot in &strip.slots {
                prop_assert!((0.0..=1.0).contains(&slot.watched));
                prop_assert_eq!(slot.worst.is_some(), slot.watched > 0.0);
            }
        }
    }
}
