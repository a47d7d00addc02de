//! `/journal`: what changed, the latest first.

use askama::Template;
use jiff::Timestamp;

use super::query::{Parameter, Query};
use super::serve::{Look, Refusal, Rendered};
use super::{Frame, View, WHEN};
use crate::model::journal::{Event, EventKind, EventQuery};
use crate::model::{Name, Status};
use crate::report::{self, State};
use crate::web;

pub(super) const TAKES: &[Parameter] = &[
    Parameter::Text(DOMAIN),
    Parameter::Text(KIND),
    Parameter::Text(SINCE),
    Parameter::Text(LIMIT),
];

const DOMAIN: &str = "domain";
const KIND: &str = "kind";
const SINCE: &str = "since";
const LIMIT: &str = "limit";
/// Events on a page, at first.
const PAGE: usize = 100;
/// Beyond, `since` and `domain` find what is looked for.
const MOST: usize = 1000;

#[derive(Template)]
#[template(path = "journal.html")]
struct JournalPage<'a> {
    frame: Frame<'a>,
    query: &'a Query,
    sentence: String,
    kinds: Vec<&'static str>,
    events: Vec<Row>,
    more: Option<String>,
}

/// An event as a page shows it.
pub(super) struct Row {
    pub(super) at: Timestamp,
    pub(super) kind: EventKind,
    pub(super) state: State,
    pub(super) domain: Option<Name>,
    pub(super) message: String,
}

impl Row {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            at: event.at,
            kind: event.kind,
            state: state_of(event),
            domain: event.domain.clone(),
            message: report::event_message(event),
        }
    }
}

pub(super) fn render(look: &Look) -> Rendered {
    let query = events_wanted(look.query, look.now).map_err(Refusal::Wrong)?;
    let (limit, since) = (query.limit, query.since);
    let read = web::journal::events(look.journal, Some(look.snapshot), query);
    let (events, is_more) = read.map_err(|error| Refusal::Failed(error.to_string()))?;
    let mut frame = look.frame(View::Journal);
    frame.json = Some(format!("api/v1/journal{}", look.query.link_with(LIMIT, &limit.to_string())));
    let page = JournalPage {
        frame,
        query: look.query,
        sentence: sentence(events.len(), is_more, since),
        kinds: EventKind::ALL.iter().map(|kind| kind.as_str()).collect(),
        events: events.iter().map(Row::of).collect(),
        more: (is_more && limit < MOST)
            .then(|| look.query.link_with(LIMIT, &(limit * 3).min(MOST).to_string())),
    };
    Ok(page.render()?)
}

fn sentence(count: usize, is_more: bool, since: Option<Timestamp>) -> String {
    let since = since.map_or_else(String::new, |since| format!(" since {}", since.strftime(WHEN)));
    match count {
        0 => format!("Nothing that fits was recorded{since}."),
        1 => format!("One event{since}."),
        count if is_more => format!("The latest {count} events of more{since}."),
        count => format!("{count} events{since}, the latest first."),
    }
}

fn events_wanted(query: &Query, now: Timestamp) -> Result<EventQuery, String> {
    let wanted = web::journal::parse(query.encoded().as_bytes(), now)?;
    Ok(match query.get(LIMIT) {
        Some(_) => wanted,
        None => EventQuery { limit: PAGE, ..wanted },
    })
}

/// How a change reads: what is worse now, what is better.
fn state_of(event: &Event) -> State {
    match event.kind {
        EventKind::Vanished | EventKind::HostDown => State::Critical,
        EventKind::ServerFailing | EventKind::Changed => State::Warning,
        EventKind::Appeared | EventKind::HostUp | EventKind::ServerAnswering => State::Passed,
        EventKind::Status => {
            let now = event.evidence.get("status").and_then(serde_json::Value::as_str);
            now.and_then(Status::of_word).map_or(State::Unknown, Into::into)
        }
        _ => State::Info,
    }
}
