//! `/hosts`: each host over each path that leads to it.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use super::query::{Parameter, Query};
use super::serve::{Look, Rendered};
use super::{Frame, Pager, View};
use crate::model::snapshot::{EndpointView, HostStatus, HostView};
use crate::model::{Name, Path, Probe, Reachability, Snapshot};
use crate::report::{self, State};

pub(super) const TAKES: &[Parameter] = &[
    Parameter::Text("q"),
    Parameter::OneOf("status", &["up", "degraded", "down", "unknown"]),
    Parameter::Page,
];

/// More on a page are scrolled, not read.
const PAGE: usize = 100;
/// Of a host's domains.
const MOST_DOMAINS: usize = 5;

#[derive(Template)]
#[template(path = "hosts.html")]
struct HostsPage<'a> {
    frame: Frame<'a>,
    query: &'a Query,
    sentence: String,
    total: usize,
    paths: Vec<String>,
    rows: Vec<Row<'a>>,
    pager: Pager,
}

struct Row<'a> {
    host: String,
    short: String,
    status: HostStatus,
    state: State,
    paths: Vec<Cell>,
    last_up: Option<Timestamp>,
    domains: &'a [Name],
    more: usize,
}

struct Cell {
    path: String,
    endpoints: Vec<EndpointCell>,
}

pub(super) struct EndpointCell {
    state: State,
    address: String,
    outcome: String,
    times: String,
    detail: String,
}

pub(super) fn render(look: &Look) -> Rendered {
    let snapshot = look.snapshot;
    let (needle, status) = (look.query.needle(), look.query.get("status"));
    let views: Vec<&HostView> = report::hosts_worst_first(snapshot)
        .into_iter()
        .filter(|view| status.is_none_or(|status| view.status.as_str() == status))
        .filter(|view| needle.as_deref().is_none_or(|needle| is_named(view, needle)))
        .collect();
    let (pager, range) = Pager::of(views.len(), PAGE, look.query);
    let shown = &views[range];
    let paths: Vec<&Path> = paths(shown);
    let page = HostsPage {
        frame: look.frame(View::Hosts),
        query: look.query,
        sentence: sentence(snapshot),
        total: snapshot.hosts.len(),
        rows: shown.iter().map(|view| row(view, &paths)).collect(),
        paths: paths.into_iter().map(named).collect(),
        pager,
    };
    Ok(page.render()?)
}

fn is_named(view: &HostView, needle: &str) -> bool {
    view.host.to_string().contains(needle)
        || view.domains.iter().any(|domain| domain.as_str().contains(needle))
        || view.endpoints.iter().any(|endpoint| endpoint.address.to_string().contains(needle))
}

fn sentence(snapshot: &Snapshot) -> String {
    let count = |status| snapshot.hosts.iter().filter(|view| view.status == status).count();
    let [up, degraded, down, unknown] =
        [HostStatus::Up, HostStatus::Degraded, HostStatus::Down, HostStatus::Unknown].map(count);
    let all = snapshot.hosts.len();
    let parts = [(down, "down"), (degraded, "degraded"), (unknown, "unknown")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    match (all, parts.is_empty()) {
        (0, _) => "No host is published.".to_owned(),
        (1, true) => "The only host is up.".to_owned(),
        (_, true) => format!("All {all} hosts are up."),
        _ => format!("{up} of {all} hosts are up, {}.", parts.join(", ")),
    }
}

/// Every path that some of these hosts are probed over, the default one first.
fn paths<'a>(views: &[&'a HostView]) -> Vec<&'a Path> {
    let endpoints = views.iter().flat_map(|view| &view.endpoints);
    endpoints.map(|endpoint| &*endpoint.path).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The path as the head of a column.
fn named(path: &Path) -> String {
    let text = path.to_string();
    if text.is_empty() { "From this machine".to_owned() } else { format!("From {text}") }
}

fn row<'a>(view: &'a HostView, paths: &[&Path]) -> Row<'a> {
    let cell = |path: &&Path| Cell {
        path: named(path),
        endpoints: view
            .endpoints
            .iter()
            .filter(|endpoint| *endpoint.path == **path)
            .map(endpoint)
            .collect(),
    };
    let domains = &view.domains[..view.domains.len().min(MOST_DOMAINS)];
    Row {
        host: view.host.to_string(),
        short: report::short_host(&view.host).into_owned(),
        status: view.status,
        state: report::host_state(view.status),
        paths: paths.iter().map(cell).collect(),
        last_up: view.last_up,
        domains,
        more: view.domains.len() - domains.len(),
    }
}

/// What a probe's outcome counts as.
pub(super) fn state_of(probe: Option<&Probe>) -> State {
    match probe.map(|probe| probe.outcome.reachability()) {
        Some(Reachability::Up) => State::Passed,
        Some(Reachability::Down) => State::Critical,
        Some(Reachability::Unknown) | None => State::Unknown,
    }
}

fn endpoint(view: &EndpointView) -> EndpointCell {
    let address = view.address.to_string();
    let Some(probe) = &view.probe else {
        let outcome = "not probed".to_owned();
        let (times, detail) = (String::new(), String::new());
        return EndpointCell { state: State::Unknown, address, outcome, times, detail };
    };
    let times = [("connect", probe.connect), ("bind", probe.bind)];
    let times = times
        .into_iter()
        .filter_map(|(what, took)| Some(format!("{what} {}", report::short_duration(took?))));
    EndpointCell {
        state: state_of(Some(probe)),
        address,
        outcome: probe.outcome.to_string(),
        times: times.collect::<Vec<_>>().join(", "),
        detail: report::circumstances(probe),
    }
}
