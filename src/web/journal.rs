//! `/api/v1/journal`: what changed, as `kmswatch journal --format json` tells it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::routes::{App, JSON_TYPE, error};
use crate::journal::{Journal, JournalError};
use crate::model::journal::{Event, EventKind, EventQuery};
use crate::model::moment::Moment;
use crate::model::{Host, Name, Snapshot};
use crate::report;

/// The latest first; 400 with what to write for a wrong question.
pub(super) async fn journal(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let query = match parse(query.unwrap_or_default().as_bytes(), app.site.clock.now()) {
        Ok(query) => query,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    let read = app.rendered(move |app| {
        let snapshot = app.snapshot();
        let (events, is_truncated) = events(&app.site.journal, snapshot.as_deref(), query)?;
        Ok::<_, JournalError>((report::json_text(&report::json_events(&events)), is_truncated))
    });
    match read.await {
        Ok(Ok((text, true))) => (JSON_TYPE, TRUNCATED, text).into_response(),
        Ok(Ok((text, false))) => (JSON_TYPE, text).into_response(),
        Ok(Err(problem)) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
        Err(status) => status.into_response(),
    }
}

/// The events that are asked for, and whether there are more than were wanted. Those of a domain come with
/// those of its hosts. Blocks.
pub(super) fn events(
    journal: &Journal,
    snapshot: Option<&Snapshot>,
    query: EventQuery,
) -> Result<(Vec<Event>, bool), JournalError> {
    let limit = query.limit;
    let one_more = EventQuery { limit: limit + 1, ..query };
    let mut events = journal.events(&with_hosts(one_more, journal, snapshot))?;
    let is_truncated = events.len() > limit;
    events.truncate(limit);
    Ok((events, is_truncated))
}

/// A query that asks, beside its domains, for the hosts that they publish or did: the journal remembers those
/// for longer than a snapshot shows them, and the snapshot knows them where the journal is in memory. A
/// journal that cannot be read says so when it is asked for the events. Blocks.
fn with_hosts(query: EventQuery, journal: &Journal, snapshot: Option<&Snapshot>) -> EventQuery {
    let remembered = query.domains.iter().flat_map(|domain| journal.hosts_of(domain));
    let views = query.domains.iter().filter_map(|domain| Some(&snapshot?.domain(domain)?.view));
    let shown = views.flat_map(|view| {
        let published = view.hosts.iter().map(|host| &host.host);
        published.chain(view.seen.iter().map(|seen| &seen.host)).cloned()
    });
    let mut hosts: Vec<Host> = remembered.flatten().chain(shown).collect();
    hosts.sort_unstable();
    hosts.dedup();
    EventQuery { hosts, ..query }
}

/// Says that the limit has cut the answer: there are older events.
const TRUNCATED: [(HeaderName, &str); 1] =
    [(HeaderName::from_static("x-kmswatch-truncated"), "true")];

/// What a query string asks for, `application/x-www-form-urlencoded`; the last week, where nothing is said of time.
pub(super) fn parse(query: &[u8], now: Timestamp) -> Result<EventQuery, String> {
    let mut wanted = EventQuery { since: None, limit: USUAL, ..EventQuery::default() };
    let mut since = Moment::Away(WEEK);
    let mut given = HashSet::new();
    for (key, value) in form_urlencoded::parse(query) {
        if key != "kind" && !given.insert(key.clone()) {
            let key: String = key.chars().take(80).collect();
            return Err(format!("{key:?} is given twice; {USAGE}"));
        }
        match &*key {
            "domain" => {
                let domain = Name::parse_domain(&value).map_err(|wrong| wrong.to_string())?;
                wanted.domains.push(domain);
            }
            "since" => since = Moment::parse(&value).map_err(|wrong| format!("since: {wrong}"))?,
            "kind" => wanted.kinds.push(kind(&value)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                wanted.limit = limit.ok_or_else(|| format!("limit: write 1 to {MOST}"))?;
            }
            _ => {
                let key: String = key.chars().take(80).collect();
                return Err(format!("{key:?} is nothing that the journal knows; {USAGE}"));
            }
        }
    }
    Ok(EventQuery { since: Some(since.since(now)), ..wanted })
}

fn kind(text: &str) -> Result<EventKind, String> {
    let known = EventKind::ALL.iter().find(|kind| kind.as_str() == text);
    known.copied().ok_or_else(|| {
        let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let text: String = text.chars().take(80).collect();
        format!("{text:?} is no kind of event; write one of {}", all.join(", "))
    })
}

const USAGE: &str =
    "write /api/v1/journal?domain=contoso.com&since=7d&kind=vanished&limit=100, or some of it";
/// As `kmswatch journal` has it.
const WEEK: std::time::Duration = std::time::Duration::from_hours(7 * 24);
/// More than anybody reads at once.
const USUAL: usize = 1000;
/// What fits into memory, for a few at a time.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_or_refused_with_what_to_write() {
        let now: Timestamp = "2026-12-08T00:00:00Z".parse().expect("a time");
        let week: Timestamp = "2026-12-01T00:00:00Z".parse().expect("a time");
        let read = |query: &str| parse(query.as_bytes(), now);
        let usual = EventQuery { since: Some(week), limit: 1000, ..EventQuery::default() };
        assert_eq!(read(""), Ok(usual.clone()));
        let day = EventQuery {
            domains: vec![Name::parse("a.test").expect("a name")],
            hosts: Vec::new(),
            since: "2026-12-07T00:00:00Z".parse().ok(),
            kinds: vec![EventKind::Vanished, EventKind::HostDown],
            limit: 5,
        };
        assert_eq!(read("domain=A.test&since=1d&kind=vanished&kind=host-down&limit=5"), Ok(day));
        for (query, words) in [
            ("x=1", "\"x\" is nothing that the journal knows; write /api/v1/journal?domain="),
            ("domain=", "write a DNS name"),
            ("since=yesterday", "since: \"yesterday\" is no time; write one such as \"7d\""),
            ("kind=gone", "\"gone\" is no kind of event; write one of appeared, vanished, "),
            ("limit=0", "limit: write 1 to 10000"),
            ("limit=10001", "limit: write 1 to 10000"),
            ("limit=5&limit=5", "\"limit\" is given twice; write /api/v1/journal?"),
            ("domain=a.test&domain=b.test", "\"domain\" is given twice; "),
            ("since=1d&kind=status&since=2d", "\"since\" is given twice; "),
        ] {
            let told = read(query).expect_err(query);
            assert!(told.contains(words), "{query}: {told}");
        }
    }
}
