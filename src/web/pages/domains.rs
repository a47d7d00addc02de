//! `/`: a sentence, what is wrong, and every domain, the worst first.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use super::past::{Past, Span, StripView, or_trouble};
use super::query::{Parameter, Query, SPAN};
use super::serve::{Look, Rendered};
use super::{Frame, Pager, View, hundredths};
use crate::model::snapshot::{AnswerView, DomainEntry, DomainHost, HostStatus, Summary};
use crate::model::{Finding, Severity, Snapshot, Status};
use crate::report::{self, Findings, State};

pub(super) const TAKES: &[Parameter] = &[
    Parameter::Text("q"),
    Parameter::OneOf("status", &["ok", "info", "warning", "critical"]),
    Parameter::OneOf(SPAN, &["24h", "30d"]),
    Parameter::Page,
];

/// More on a page are scrolled, not read.
const PAGE: usize = 100;
/// Of what is wrong, above the domains.
const MOST_CAUSES: usize = 5;

#[derive(Template)]
#[template(path = "domains.html")]
struct DomainsPage<'a> {
    frame: Frame<'a>,
    query: &'a Query,
    verdict: String,
    summary: Summary,
    profiles: Vec<ProfileMark<'a>>,
    causes: Vec<Cause<'a>>,
    more_causes: usize,
    rows: Vec<Row<'a>>,
    pager: Pager,
    span: Span,
}

struct ProfileMark<'a> {
    name: &'a str,
    state: State,
    code: Option<String>,
}

struct Cause<'a> {
    finding: &'a Finding,
    state: State,
}

struct Row<'a> {
    name: &'a str,
    status: Status,
    state: State,
    /// The checks that hit it.
    findings: Vec<&'static str>,
    up: usize,
    hosts: usize,
    /// Of the hosts that new clients go to now.
    priority: Option<u16>,
    shares: Vec<Share>,
    /// What stands instead of shares.
    nobody: &'static str,
    servers: Agreement,
    last: Option<(Timestamp, String)>,
    strip: Option<StripView>,
}

/// The part of new clients that a host serves now.
struct Share {
    host: String,
    percent: String,
    from: String,
    width: String,
}

/// Whether a domain's servers say the same.
pub(super) struct Agreement {
    pub(super) state: State,
    pub(super) words: String,
}

pub(super) fn render(look: &Look) -> Rendered {
    let snapshot = look.snapshot;
    let needle = look.query.needle();
    let status = look.query.get("status");
    let fits = |entry: &&DomainEntry| {
        status.is_none_or(|status| entry.status.as_str() == status)
            && needle.as_deref().is_none_or(|needle| is_named(entry, needle))
    };
    let entries: Vec<&DomainEntry> =
        report::worst_first(snapshot).into_iter().filter(fits).collect();
    let (pager, range) = Pager::of(entries.len(), PAGE, look.query);
    let shown = &entries[range];
    let span = Span::of(look.query.get(SPAN));
    let mut frame = look.frame(View::Domains);
    let mut past = or_trouble(Past::of_domains(look, shown, span), &mut frame);
    let findings = Findings::of(snapshot);
    let rows = shown.iter().map(|entry| row(entry, &findings, &mut past));
    let causes: Vec<Cause> = causes(snapshot).collect();
    let page = DomainsPage {
        frame,
        query: look.query,
        verdict: report::verdict(snapshot),
        summary: snapshot.summary,
        profiles: profiles(snapshot),
        more_causes: causes.len().saturating_sub(MOST_CAUSES),
        causes: causes.into_iter().take(MOST_CAUSES).collect(),
        rows: rows.collect(),
        pager,
        span,
    };
    Ok(page.render()?)
}

/// Whether the domain, or a host that it publishes, is named so.
fn is_named(entry: &DomainEntry, needle: &str) -> bool {
    let hosts = &entry.view.hosts;
    entry.view.domain.name.as_str().contains(needle)
        || hosts.iter().any(|host| host.host.to_string().contains(needle))
}

fn causes(snapshot: &Snapshot) -> impl Iterator<Item = Cause<'_>> {
    let grave = snapshot.findings.iter().map(|finding| &**finding);
    let grave =
        grave.filter(|finding| finding.is_active() && finding.severity >= Severity::Warning);
    grave.map(|finding| Cause { finding, state: finding.severity.into() })
}

fn profiles(snapshot: &Snapshot) -> Vec<ProfileMark<'_>> {
    let mark = |entry| ProfileMark {
        state: report::profile_state(entry),
        code: entry.view.client_error().map(|code| code.to_string()),
        name: &entry.view.profile.name,
    };
    snapshot.profiles.iter().map(mark).collect()
}

fn row<'a>(entry: &'a DomainEntry, findings: &Findings<'a>, past: &mut Past) -> Row<'a> {
    let view = &entry.view;
    let name = &view.domain.name;
    let mut checks: Vec<&str> =
        findings.hits(name).iter().map(|finding| finding.check.as_str()).collect();
    checks.dedup();
    let up = view.hosts.iter().filter(|host| host.status.is_up());
    Row {
        name: name.as_str(),
        status: entry.status,
        state: entry.status.into(),
        findings: checks,
        up: up.clone().count(),
        hosts: view.hosts.len(),
        priority: up.map(|host| host.priority).min(),
        shares: shares(&view.hosts),
        nobody: nobody(entry),
        servers: agreement(&view.answers),
        last: past.take_last(name),
        strip: past.take_strip(name),
    }
}

/// What stands where no host is known to serve.
fn nobody(entry: &DomainEntry) -> &'static str {
    let hosts = &entry.view.hosts;
    match hosts.iter().any(|host| host.status == HostStatus::Unknown) {
        _ if hosts.is_empty() => report::without_hosts(entry),
        true => "unknown",
        false => "nobody",
    }
}

fn shares(hosts: &[DomainHost]) -> Vec<Share> {
    let mut from = 0.0;
    let serving = hosts.iter().filter(|host| host.live_share > 0.0);
    serving
        .map(|host| {
            let begin = from;
            from += host.live_share;
            Share {
                host: report::short_host(&host.host).into_owned(),
                percent: report::percent(host.live_share).into_owned(),
                from: hundredths(begin),
                // A line between two hosts, where there is room for one.
                width: hundredths((host.live_share - 0.01).max(host.live_share / 2.0)),
            }
        })
        .collect()
}

/// TTL and order do not count.
pub(super) fn agreement(answers: &[AnswerView]) -> Agreement {
    let said: Vec<BTreeSet<_>> = answers
        .iter()
        .filter(|view| view.answer.outcome.is_usable())
        .map(|view| {
            let records = view.answer.records.iter();
            records.map(|one| (one.priority, one.weight, one.port, &one.target)).collect()
        })
        .collect();
    let (usable, all) = (said.len(), answers.len());
    let differ = said.windows(2).any(|pair| pair[0] != pair[1]);
    let (state, words) = match (usable, all) {
        (_, 0) => (State::Unknown, "not asked yet".to_owned()),
        (0, 1) => (State::Critical, "no usable answer".to_owned()),
        (0, _) => (State::Critical, format!("none of {all} answers usably")),
        _ if differ => (State::Warning, format!("{usable} of {all} answer, and differ")),
        (1, 1) => (State::Passed, "the only one answers".to_owned()),
        (usable, all) if usable < all => (State::Warning, format!("{usable} of {all} answer")),
        (_, all) => (State::Passed, format!("all {all} agree")),
    };
    Agreement { state, words }
}
