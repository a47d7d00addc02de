//! The pages: what a browser shows of a snapshot, whole without JavaScript. Each module reads what its
//! view needs, and a template of the same name lays it out.
//!
//! A page is made once a snapshot and address, however many look at it.

mod badge;
mod domain;
mod domains;
mod findings;
mod hosts;
mod journal;
mod past;
mod profiles;
mod query;
mod serve;

use std::borrow::Borrow;
use std::fmt;

use askama::Template;
use jiff::Timestamp;

pub(super) use badge::badge;
pub(super) use serve::{Made, page, route};

use crate::model::Snapshot;
use crate::model::journal::JournalCondition;
use crate::report::{State, clean};

/// The views that the head of each page leads to: which, its name, its path.
pub(super) const VIEWS: &[(View, &str, &str)] = &[
    (View::Domains, "Domains", ""),
    (View::Hosts, "Hosts", "hosts"),
    (View::Findings, "Findings", "findings"),
    (View::Profiles, "Profiles", "profiles"),
    (View::Journal, "Journal", "journal"),
];

/// What a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Domains,
    Hosts,
    Findings,
    Profiles,
    Journal,
    /// One domain, or something that no entry of [`VIEWS`] leads to.
    Other,
}

/// What surrounds every page.
struct Frame<'a> {
    view: View,
    title: String,
    /// Of the whole estate; a domain's page has its own.
    state: State,
    /// The status as the contract names it; `unknown` before the first audit.
    word: &'static str,
    /// From this page to the root: links work behind a proxy that puts all below a path.
    up: &'static str,
    /// The same view as JSON, from the root.
    json: Option<String>,
    /// When the audit was made; `None` before the first.
    at: Option<Timestamp>,
    now: Timestamp,
    vantage: Option<&'a str>,
    /// What is the matter with the journal.
    journal: Option<String>,
}

impl<'a> Frame<'a> {
    /// Of a view of the estate, at the root.
    fn of(snapshot: &'a Snapshot, view: View, now: Timestamp) -> Self {
        let (_, title, path) = VIEWS.iter().find(|(one, ..)| *one == view).unwrap_or(&VIEWS[0]);
        Self {
            view,
            title: (*title).to_owned(),
            state: snapshot.status.into(),
            word: snapshot.status.as_str(),
            up: ".",
            json: Some(format!("api/v1/{}", if path.is_empty() { "domains" } else { path })),
            at: Some(snapshot.at),
            now,
            vantage: snapshot.vantage.as_deref(),
            journal: match &snapshot.journal {
                Some(JournalCondition::Degraded { reason, .. }) => {
                    Some(format!("The journal cannot be written: {reason}"))
                }
                _ => None,
            },
        }
    }

    /// Before the first audit, or where there is nothing to show.
    fn bare(title: &str, up: &'static str, now: Timestamp) -> Self {
        Self {
            view: View::Other,
            title: title.to_owned(),
            state: State::Unknown,
            word: "unknown",
            up,
            json: None,
            at: None,
            now,
            vantage: None,
            journal: None,
        }
    }

    /// What the script compares with what it is told; 0 before the first audit.
    fn at_milliseconds(&self) -> i64 {
        self.at.map_or(0, Timestamp::as_millisecond)
    }
}

/// A page that says one thing: a refusal, or that there is nothing yet.
#[derive(Template)]
#[template(path = "told.html")]
struct Told<'a> {
    frame: Frame<'a>,
    message: &'a str,
    link: Option<(String, &'static str)>,
}

/// Escapes every text of a page: it may come from the network, and then may hold what hides or reorders
/// text, as well as markup.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Foreign;

impl askama::filters::Escaper for Foreign {
    fn write_escaped_str<W: fmt::Write>(&self, dest: W, text: &str) -> fmt::Result {
        askama::filters::Html.write_escaped_str(dest, &clean(text))
    }
}

/// A time as people compare it: to the second.
const WHEN: &str = "%Y-%m-%d %H:%M:%S";

/// How long ago, in milliseconds since 1970, in the largest unit that tells two apart; the script writes
/// the same.
fn ago(at: impl Borrow<i64>, now: impl Borrow<i64>) -> String {
    let seconds = (now.borrow() - at.borrow()).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A part, 0..=1, as a width of 100, with a digit behind the point.
fn hundredths(part: impl Borrow<f64>) -> String {
    format!("{:.1}", part.borrow().clamp(0.0, 1.0) * 100.0)
}

/// A command, and where it runs, which stands behind ` # `.
fn command(line: &str) -> (&str, Option<&str>) {
    match line.split_once("  # ") {
        Some((command, place)) => (command.trim_end(), Some(place)),
        None => (line, None),
    }
}

/// The part of a list that a page shows.
struct Pager {
    total: usize,
    first_shown: usize,
    last_shown: usize,
    last: usize,
    previous: Option<String>,
    next: Option<String>,
}

impl Pager {
    /// Page `query.page()` of `total`, `size` each; beyond the last is the last.
    fn of(total: usize, size: usize, query: &query::Query) -> (Self, std::ops::Range<usize>) {
        let last = total.div_ceil(size).max(1);
        let page = query.page().min(last);
        let range = (page - 1) * size..(page * size).min(total);
        let pager = Self {
            total,
            first_shown: range.start + 1,
            last_shown: range.end,
            last,
            previous: (page > 1).then(|| query.link(page - 1)),
            next: (page < last).then(|| query.link(page + 1)),
        };
        (pager, range)
    }
}

#[cfg(test)]
mod tests;
