//! What the journal says of domains: a strip of their status, and what changed last.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::journal::Row;
use super::serve::Look;
use crate::model::Name;
use crate::model::journal::EventQuery;
use crate::model::snapshot::DomainEntry;
use crate::report::State;

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

/// Of a domain's timeline; the journal has the rest.
const MOST_EVENTS: usize = 50;

/// What the journal says of the domains of a page.
#[derive(Default)]
pub(super) struct Past {
    strips: HashMap<Name, StripView>,
    last: HashMap<Name, (Timestamp, String)>,
}

impl Past {
    pub(super) fn of_domains(_look: &Look, _entries: &[&DomainEntry], _span: Span) -> Self {
        Self::default()
    }

    /// Both strips of a domain, and its latest events.
    pub(super) fn of_domain(
        look: &Look,
        entry: &DomainEntry,
    ) -> (Vec<(&'static str, StripView)>, Vec<Row>) {
        let query = EventQuery {
            domain: Some(entry.view.domain.name.clone()),
            limit: MOST_EVENTS,
            ..EventQuery::default()
        };
        let events = look.journal.events(&query).unwrap_or_default();
        (Vec::new(), events.iter().map(Row::of).collect())
    }

    pub(super) fn take_last(&mut self, name: &Name) -> Option<(Timestamp, String)> {
        self.last.remove(name)
    }

    pub(super) fn take_strip(&mut self, name: &Name) -> Option<StripView> {
        self.strips.remove(name)
    }
}
