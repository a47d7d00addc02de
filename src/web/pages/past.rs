//! What the journal says of domains: a strip of their status, and what changed last.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::Frame;
use super::journal::Row;
use super::serve::Look;
use crate::journal::JournalError;
use crate::model::finding::Evidence;
use crate::model::journal::{Event, EventKind, EventQuery};
use crate::model::snapshot::DomainEntry;
use crate::model::{Name, Status};
use crate::report::{self, State, Strip};
use crate::web;

/// How much of the past a strip shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Day,
    Month,
}

impl Span {
    /// A day, unless more is asked for.
    pub(super) fn of(text: Option<&str>) -> Self {
        if text == Some("30d") { Self::Month } else { Self::Day }
    }

    pub(super) fn is_long(self) -> bool {
        self == Self::Month
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Day => "Last 24 h",
            Self::Month => "Last 30 d",
        }
    }

    fn length(self) -> SignedDuration {
        match self {
            Self::Day => SignedDuration::from_hours(24),
            Self::Month => SignedDuration::from_hours(30 * 24),
        }
    }

    /// Half hours, or half days.
    fn slots(self) -> usize {
        match self {
            Self::Day => 48,
            Self::Month => 60,
        }
    }
}

/// A strip as it is drawn: stretches of one status.
pub(super) struct StripView {
    pub(super) slots: usize,
    pub(super) runs: Vec<Run>,
    /// The same in words.
    pub(super) label: String,
}

/// A stretch of slots of one status. How bad it is shows as its height too.
pub(super) struct Run {
    pub(super) state: State,
    pub(super) from: usize,
    pub(super) length: usize,
    pub(super) height: usize,
}

/// What the journal says of the domains of a page: nothing, where it cannot be read.
#[derive(Default)]
pub(super) struct Past {
    strips: HashMap<Name, StripView>,
    last: HashMap<Name, (Timestamp, String)>,
}

/// What the journal says of one domain.
#[derive(Default)]
pub(super) struct Timeline {
    /// Each with what it shows.
    pub(super) strips: Vec<(&'static str, StripView)>,
    /// The latest events, the latest first.
    pub(super) events: Vec<Row>,
}

/// Of a domain's timeline; the journal has the rest.
const MOST_EVENTS: usize = 50;
/// Of all domains of a page: where there are more, what is older is not drawn.
const MOST_READ: usize = 50_000;
/// What a strip is drawn of, and what is a change.
const KINDS: [EventKind; 5] = [
    EventKind::Status,
    EventKind::Started,
    EventKind::Appeared,
    EventKind::Vanished,
    EventKind::Changed,
];
/// Of stretches that are told in words.
const MOST_TOLD: usize = 5;

impl Past {
    /// A strip of each domain, and what changed last within the longest span.
    pub(super) fn of_domains(
        look: &Look,
        entries: &[&DomainEntry],
        span: Span,
    ) -> Result<Self, JournalError> {
        let domains: Vec<(Name, Status)> =
            entries.iter().map(|entry| (entry.view.domain.name.clone(), entry.status)).collect();
        let events = read(look, &domains)?;
        let mut last = HashMap::new();
        for event in &events {
            let Some(domain) = &event.domain else { continue };
            last.entry(domain.clone()).or_insert_with(|| (event.at, report::event_message(event)));
        }
        let strips = drawn(&events, &domains, look.snapshot.at, span);
        let names = domains.into_iter().map(|(name, _)| name);
        Ok(Self { strips: names.zip(strips).collect(), last })
    }

    pub(super) fn take_last(&mut self, name: &Name) -> Option<(Timestamp, String)> {
        self.last.remove(name)
    }

    pub(super) fn take_strip(&mut self, name: &Name) -> Option<StripView> {
        self.strips.remove(name)
    }
}

impl Timeline {
    /// Both strips of a domain, and its latest events.
    pub(super) fn of(look: &Look, entry: &DomainEntry) -> Result<Self, JournalError> {
        let domain = [(entry.view.domain.name.clone(), entry.status)];
        let events = read(look, &domain)?;
        let strips = [Span::Day, Span::Month].map(|span| {
            drawn(&events, &domain, look.snapshot.at, span).pop().map(|strip| (span.title(), strip))
        });
        let [(name, _)] = domain;
        let query = EventQuery { domains: vec![name], limit: MOST_EVENTS, ..EventQuery::default() };
        let (events, _) = web::journal::events(look.journal, Some(look.snapshot), query)?;
        let strips = strips.into_iter().flatten().collect();
        Ok(Self { strips, events: events.iter().map(Row::of).collect() })
    }
}

/// What was read of the journal, or what the page says of it: it has all that the journal need not know.
pub(super) fn or_trouble<T: Default>(read: Result<T, JournalError>, frame: &mut Frame) -> T {
    read.unwrap_or_else(|error| {
        frame.journal = Some(format!("The journal cannot be read: {error}"));
        T::default()
    })
}

fn read(look: &Look, domains: &[(Name, Status)]) -> Result<Vec<Event>, JournalError> {
    let query = EventQuery {
        domains: domains.iter().map(|(name, _)| name.clone()).collect(),
        since: look.snapshot.at.checked_sub(Span::Month.length()).ok(),
        kinds: KINDS.to_vec(),
        limit: MOST_READ,
        ..EventQuery::default()
    };
    if query.domains.is_empty() {
        return Ok(Vec::new());
    }
    let events = look.journal.events(&query)?;
    let most = if look.journal.is_whole() { MOST_READ } else { 0 };
    Ok(cut(events, most, look.snapshot.at))
}

/// Where there are more events than that, nobody knows what was before: as if a daemon that remembers
/// nothing had started there, or now, where there are none.
fn cut(mut events: Vec<Event>, most: usize, now: Timestamp) -> Vec<Event> {
    if events.len() < most {
        return events;
    }
    let at = events.last().map_or(now, |event| event.at);
    let (kind, evidence) = (EventKind::Started, Evidence::new());
    events.push(Event { at, kind, domain: None, host: None, servers: Vec::new(), evidence });
    events
}

fn drawn(
    events: &[Event],
    domains: &[(Name, Status)],
    at: Timestamp,
    span: Span,
) -> Vec<StripView> {
    let from = at.checked_sub(span.length()).unwrap_or(Timestamp::MIN);
    let strips = report::strips(events, domains, from, at, span.slots());
    strips.iter().map(|strip| StripView::of(strip, span)).collect()
}

impl StripView {
    fn of(strip: &Strip, span: Span) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for (at, slot) in strip.slots.iter().enumerate() {
            let state = slot.worst.map_or(State::Unknown, State::from);
            match runs.last_mut() {
                Some(run) if run.state == state => run.length += 1,
                _ => runs.push(Run { state, from: at, length: 1, height: height(state) }),
            }
        }
        Self { slots: strip.slots.len(), label: label(strip, &runs, span), runs }
    }
}

/// Of ten: trouble stands out by its height, too.
fn height(state: State) -> usize {
    match state {
        State::Passed => 3,
        State::Info => 4,
        State::Warning => 7,
        State::Critical => 10,
        State::Skipped | State::Unknown => 1,
    }
}

/// `Last 24 h: critical 12:30 to 14:00, warning since 21:30`.
fn label(strip: &Strip, runs: &[Run], span: Span) -> String {
    let told: Vec<&Run> = runs.iter().filter(|run| run.state != State::Passed).collect();
    let of_span = |words: &str| format!("{}: {words}", span.title());
    match (&told[..], runs) {
        ([], _) => of_span("ok"),
        (_, [only]) => of_span(word(only.state)),
        (told, _) => {
            let more = told.len().saturating_sub(MOST_TOLD);
            let counted = (more > 0).then(|| format!("{more} more"));
            let latest = told[more..].iter().map(|run| run.told(strip, span));
            of_span(&counted.into_iter().chain(latest).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Run {
    /// `critical 12:30 to 14:00`.
    fn told(&self, strip: &Strip, span: Span) -> String {
        let format = if span.is_long() { "%b %d" } else { "%H:%M" };
        let at = |slot: usize| {
            let begins = strip.slots.get(slot).map(|slot| slot.from);
            begins.unwrap_or(strip.until).strftime(format).to_string()
        };
        let (from, until) = (self.from, self.from + self.length);
        // The ends of a day have one time: only what lies between tells when.
        let when = match (from, until == strip.slots.len()) {
            (_, true) => format!("since {}", at(from)),
            (0, _) => format!("until {}", at(until)),
            _ => format!("{} to {}", at(from), at(until)),
        };
        format!("{} {when}", word(self.state))
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Passed => "ok",
        State::Unknown => "not watched",
        state => state.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Slot;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("in range")
    }

    #[test]
    fn a_strip_tells_in_words_when_it_was_not_well() {
        let told = |words: &[Option<Status>]| {
            let slot = |(at, worst): (i64, &Option<Status>)| Slot {
                from: second(at * 3600),
                until: second((at + 1) * 3600),
                worst: *worst,
                watched: 1.0,
            };
            let slots: Vec<Slot> = (0..).zip(words).map(slot).collect();
            let until = second(3600 * i64::try_from(words.len()).expect("few"));
            StripView::of(&Strip { from: second(0), until, slots }, Span::Day).label
        };
        let (ok, bad, none) = (Some(Status::Ok), Some(Status::Critical), None);
        assert_eq!(told(&[ok, ok]), "Last 24 h: ok");
        assert_eq!(told(&[bad, bad]), "Last 24 h: critical");
        assert_eq!(told(&[ok, bad, bad, ok]), "Last 24 h: critical 23:13 to 01:13");
        assert_eq!(
            told(&[none, ok, bad]),
            "Last 24 h: not watched until 23:13, critical since 00:13"
        );
    }

    #[test]
    fn what_was_before_the_oldest_event_that_fits_is_unknown() {
        let name = Name::parse("a.test").expect("a name");
        let turned = |at| Event {
            at: second(at),
            kind: EventKind::Status,
            domain: Some(name.clone()),
            host: None,
            servers: Vec::new(),
            evidence: Evidence::from_iter([("was".to_owned(), "ok".into())]),
        };
        let events = || vec![turned(30), turned(20)];
        let domains = [(name.clone(), Status::Critical)];
        let worst = |events: &[Event]| -> Vec<Option<Status>> {
            let strip = report::strips(events, &domains, second(0), second(40), 4).remove(0);
            strip.slots.iter().map(|slot| slot.worst).collect()
        };
        let (ok, bad) = (Some(Status::Ok), Some(Status::Critical));
        let now = second(40);
        assert_eq!(worst(&cut(events(), 3, now)), [ok, ok, ok, bad]);
        assert_eq!(worst(&cut(events(), 2, now)), [None, None, ok, bad]);
        assert_eq!(worst(&cut(Vec::new(), 0, now)), [None; 4]);
    }
}
