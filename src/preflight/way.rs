//! The way of a profile's clients as a snapshot has it: for pages, which ask nobody.

use std::time::Duration;

use super::words::short;
use super::{connect, shares, suffixes, summed, verdict};
use crate::model::plan::Depth;
use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::{EndpointView, ProfileView};
use crate::model::{Host, ProbeOutcome, Snapshot};

/// The steps that a snapshot knows of: suffixes, connections, shares and, last, the verdict.
pub fn way(snapshot: &Snapshot, view: &ProfileView) -> Vec<Step> {
    vec![suffixes::of(view), connections(snapshot, view), shares::step(view), verdict::of(view)]
}

fn connections(snapshot: &Snapshot, view: &ProfileView) -> Step {
    let path = view.profile.path();
    let mut rows = Vec::new();
    let mut depth = Depth::Rpc;
    for choice in view.choices() {
        let before = rows.len();
        for endpoint in connect::endpoints(snapshot, path, &choice.host) {
            rows.push(row(&choice.host, endpoint));
            let outcome = endpoint.probe.as_ref().map(|probe| probe.outcome);
            if outcome == Some(ProbeOutcome::Open) {
                depth = Depth::Tcp;
            }
        }
        if rows.len() == before {
            rows.push(unknown(&choice.host, String::new(), "no address is known"));
        }
    }
    if rows.is_empty() {
        let says = "there is no host to connect to";
        return Step::new(StepId::Connect, StepState::Skipped, says);
    }
    let state = summed(rows.iter().map(|row| row.state));
    let message = connect::message(depth, &rows);
    Step { rows, ..Step::new(StepId::Connect, state, message) }
}

fn row(host: &Host, endpoint: &EndpointView) -> Row {
    match &endpoint.probe {
        // That it is slow is a finding's to say: what slow means stands in the plan.
        Some(probe) => connect::row(Duration::MAX, host, endpoint, probe),
        None => unknown(host, endpoint.address.to_string(), "not probed"),
    }
}

fn unknown(host: &Host, address: String, outcome: &str) -> Row {
    let text = |text: String| Cell::Text(text);
    let none = Cell::Time(None);
    Row {
        state: StepState::Unknown,
        cells: vec![
            text(short(host)),
            text(address),
            text(outcome.to_owned()),
            none.clone(),
            none,
            text(String::new()),
        ],
    }
}
