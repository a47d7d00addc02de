//! Connect and RPC bind to each address from there.

use std::time::Duration;

use crate::model::plan::Depth;
use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::{EndpointView, HostStatus, ProfileView};
use crate::model::{Check, Host, Path, Probe, ProbeOutcome, Reachability, Snapshot};

use super::words::{MOST, listed, short};
use super::{Scene, summed};

pub(super) fn step(scene: &Scene, view: &ProfileView) -> Option<Step> {
    let mut rows = Vec::new();
    for choice in view.choices() {
        if !scene.plan.is_probed(&choice.host.target) {
            rows.push(unprobed(scene, &choice.host));
            continue;
        }
        for endpoint in endpoints(scene.snapshot, scene.profile.path(), &choice.host) {
            rows.push(row(
                scene.plan.probe.slow,
                &choice.host,
                endpoint,
                endpoint.probe.as_deref()?,
            ));
        }
    }
    if rows.is_empty() {
        // Addresses that were found and not audited yet would make it seem so.
        let says = "there is no address to connect to";
        return scene.is_complete.then(|| Step::new(StepId::Connect, StepState::Skipped, says));
    }
    let state = match summed(rows.iter().map(|row| row.state)) {
        // Every address is down, but some host's state is not known.
        StepState::Failed
            if !view.choices().iter().all(|choice| choice.status == HostStatus::Down) =>
        {
            StepState::Unknown
        }
        state => state,
    };
    let message = message(scene.plan.probe.depth, &rows);
    Some(Step {
        rows,
        tells: &[
            Check::HostDown,
            Check::HostNotKms,
            Check::HostUnconfirmed,
            Check::HostAcceptsAny,
            Check::HostDegraded,
            Check::HostSlow,
            Check::AllHostsDown,
        ],
        ..Step::new(StepId::Connect, state, message)
    })
}

/// The addresses of a host over the profile's path.
pub(super) fn endpoints<'a>(
    snapshot: &'a Snapshot,
    path: &'a Path,
    host: &Host,
) -> impl Iterator<Item = &'a EndpointView> {
    let endpoints = snapshot.host(host).into_iter().flat_map(|view| &view.endpoints);
    endpoints.filter(move |endpoint| *endpoint.path == *path)
}

/// `slow` is what a connect may take.
pub(super) fn row(slow: Duration, host: &Host, endpoint: &EndpointView, probe: &Probe) -> Row {
    let is_slow = probe.connect.is_some_and(|took| took > slow);
    let state = match (probe.outcome, probe.outcome.reachability()) {
        // Clients live elsewhere.
        _ if probe.lacks_path() => StepState::Unknown,
        (ProbeOutcome::AcceptsAny, _) => StepState::Warning,
        (_, Reachability::Up) if is_slow => StepState::Info,
        (_, Reachability::Up) => StepState::Passed,
        (_, Reachability::Unknown) => StepState::Unknown,
        (_, Reachability::Down) => StepState::Failed,
    };
    let address = std::net::SocketAddr::new(endpoint.address, host.port).to_string();
    let by = probe.rejected_by.map(|by| format!("rejected by {by}"));
    let detail: Vec<String> =
        by.into_iter().chain(probe.detail.as_deref().map(str::to_owned)).collect();
    Row {
        state,
        cells: vec![
            Cell::Text(short(host)),
            Cell::Text(address),
            Cell::Text(probe.outcome.to_string()),
            Cell::Time(probe.connect),
            Cell::Time(probe.bind),
            Cell::Text(detail.join(": ")),
        ],
    }
}

fn unprobed(scene: &Scene, host: &Host) -> Row {
    let note = scene.plan.hosts.get(&host.target);
    let reason = note.and_then(|note| note.reason.clone()).unwrap_or_default();
    let text = |text: &str| Cell::Text(text.to_owned());
    Row {
        state: StepState::Unknown,
        cells: vec![
            Cell::Text(short(host)),
            text(""),
            text("not probed"),
            Cell::Time(None),
            Cell::Time(None),
            Cell::Text(reason),
        ],
    }
}

pub(super) fn message(depth: Depth, rows: &[Row]) -> String {
    let good = |row: &&Row| row.state < StepState::Unknown;
    let up = rows.iter().filter(good).count();
    let answers = match depth {
        Depth::Rpc => "as KMS",
        Depth::Tcp => "at all (connects only: depth = \"tcp\")",
    };
    match (up, rows.len()) {
        (1, 1) => format!("the only address answers {answers}"),
        (up, all) if up == all => format!("all {all} addresses answer {answers}"),
        (0, _) => {
            let mut seen: Vec<String> = rows.iter().map(outcome).collect();
            seen.dedup();
            format!("no address answers: {}", listed(&seen, MOST))
        }
        (up, all) => format!("{up} of {all} addresses answer {answers}"),
    }
}

fn outcome(row: &Row) -> String {
    match row.cells.get(2) {
        Some(Cell::Text(outcome)) => outcome.clone(),
        _ => String::new(),
    }
}
