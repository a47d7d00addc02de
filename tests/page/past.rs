//! A month that the demo's estate never had, so that pages have one to show.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kmswatch::clock::Clock;
use kmswatch::journal::Journal;
use kmswatch::model::finding::Evidence;
use kmswatch::model::journal::{Entry, Event, EventKind, SeenStatus};
use kmswatch::model::plan::JournalSettings;
use kmswatch::model::{Name, Status};

/// What each domain was, and since how many hours.
const STATUSES: &str = "
any.contoso.test         ok 720, warning 301
broken.contoso.test      ok 720, critical 11
cut-off.contoso.test     ok 720, warning 610, ok 600, critical 19
dead.contoso.test        ok 720, warning 86, critical 83
declined.contoso.test    critical 720
dotless.contoso.test     ok 720, critical 45
drift.contoso.test       ok 720, warning 520
east.contoso.test        ok 720, warning 340, ok 331, warning 9, ok 7
empty.contoso.test       ok 720, critical 402
guests.contoso.test      ok 720, critical 250, ok 244
half.contoso.test        warning 720
incomplete.contoso.test  ok 720, critical 15
lame.contoso.test        ok 720, warning 130
last.contoso.test        ok 720, warning 64
missing.contoso.test     ok 720, critical 5
port.contoso.test        ok 720, warning 190, critical 188
rogue.contoso.test       ok 720, critical 2
silent.contoso.test      ok 720, warning 400, ok 390, warning 370
split.contoso.test       ok 720, warning 29
tier.contoso.test        ok 720, critical 98, warning 96
web.contoso.test         ok 720, warning 222
west.contoso.test        ok 720, critical 500, ok 498, critical 17, ok 16
";

/// Writes a journal of it, in which nobody watched for five hours ten days ago.
pub fn write(path: &Path) {
    let clock = Clock::start();
    let settings = JournalSettings { path: Some(path.to_owned()), ..JournalSettings::default() };
    let (journal, _) = Journal::open(&settings, clock).expect("a new journal");
    let now = clock.now();
    let ago = |hours: i64| now - SignedDuration::from_hours(hours);
    let started = |hours, until: Option<i64>| {
        let until = until.map(|hours| ("watched_until".to_owned(), ago(hours).to_string().into()));
        event(ago(hours), EventKind::Started, None, until.into_iter().collect())
    };
    let mut events = vec![started(720, None), started(240, Some(245))];
    let mut statuses = Vec::new();
    for line in STATUSES.trim().lines() {
        let (name, turns) = line.split_once(' ').expect("a name and its past");
        let domain = Name::parse(name).expect("a name");
        let mut was: Option<&str> = None;
        for turn in turns.split(',') {
            let (word, hours) = turn.trim().split_once(' ').expect("a status and a time");
            let since = ago(hours.parse().expect("a number"));
            let values = [("was", was), ("status", Some(word))].into_iter();
            let values = values.filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
            events.push(event(since, EventKind::Status, Some(&domain), values.collect()));
            let status = Status::of_word(word).expect("a status");
            statuses.push(Entry::Status(SeenStatus { domain: domain.clone(), status, since }));
            was = Some(word);
        }
    }
    events.sort_by_key(|event| event.at);
    let entries = events.into_iter().map(Entry::Event).chain(statuses);
    journal.record(entries.chain([Entry::Watched(now)]).collect::<Vec<_>>());
    journal.close();
}

fn event(at: Timestamp, kind: EventKind, domain: Option<&Name>, evidence: Evidence) -> Event {
    Event { at, kind, domain: domain.cloned(), host: None, servers: Vec::new(), evidence }
}
