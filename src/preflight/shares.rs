//! Who picks which host, and what happens if it fails.

use crate::model::discovery::{Choice, Failover, Verdict};
use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Check, Discovery, Product};

use super::words::{MOST, listed, named, short};

pub(super) fn step(view: &ProfileView) -> Step {
    let groups = groups(view);
    if groups.iter().all(|(discovery, _)| discovery.hosts.is_empty()) {
        return Step::new(StepId::Shares, StepState::Skipped, "there is no host to go to");
    }
    let rows: Vec<Row> = groups
        .iter()
        .flat_map(|(discovery, products)| {
            let pairs = discovery.hosts.iter().zip(&discovery.failovers);
            pairs.map(|(choice, failover)| row(products, choice, failover))
        })
        .collect();
    let (state, message) = judge(&groups);
    if state == StepState::Skipped {
        return Step::new(StepId::Shares, state, message);
    }
    Step {
        rows,
        tells: &[Check::RedundancyLost, Check::RedundancyNone, Check::TierDown],
        ..Step::new(StepId::Shares, state, message)
    }
}

/// Windows and Office, together unless they go different ways.
fn groups(view: &ProfileView) -> Vec<(&Discovery, Vec<Product>)> {
    if view.windows.end == view.office.end && view.windows.hosts == view.office.hosts {
        return vec![(&view.windows, Product::ALL.to_vec())];
    }
    vec![(&view.windows, vec![Product::Windows]), (&view.office, vec![Product::Office])]
}

fn judge(groups: &[(&Discovery, Vec<Product>)]) -> (StepState, String) {
    let serving = groups.iter().filter(|(discovery, _)| discovery.verdict == Verdict::Served);
    let mut alone: Vec<(String, bool)> = Vec::new();
    let mut is_served = false;
    for (discovery, products) in serving {
        is_served = true;
        let up: Vec<&Choice> =
            discovery.hosts.iter().filter(|choice| choice.status.is_up()).collect();
        if let [only] = up.as_slice() {
            let whose = format!("{} has {} alone", named(products), short(&only.host));
            let whose = if products.len() > 1 { whose.replace(" has ", " have ") } else { whose };
            alone.push((whose, discovery.hosts.len() > 1));
        }
    }
    if !is_served {
        return (StepState::Skipped, "no host is up to go to".to_owned());
    }
    if alone.is_empty() {
        return (StepState::Passed, "if any one host fails, others take over".to_owned());
    }
    let is_lost = alone.iter().any(|(_, is_lost)| *is_lost);
    let words: Vec<String> = alone.into_iter().map(|(words, _)| words).collect();
    let state = if is_lost { StepState::Warning } else { StepState::Info };
    (state, format!("{}: if it fails, clients fail", listed(&words, MOST)))
}

fn row(products: &[Product], choice: &Choice, failover: &Failover) -> Row {
    let takes: Vec<String> = failover
        .takes_over
        .iter()
        .map(|(host, part)| format!("{} takes {:.0} %", short(host), part * 100.0))
        .collect();
    let then = match &failover.verdict {
        Verdict::Served => listed(&takes, MOST),
        Verdict::Unknown => "what then happens is not known".to_owned(),
        Verdict::Fails(failure) => match failure.error {
            Some(code) => format!("clients show {code}"),
            None => "clients fail".to_owned(),
        },
    };
    Row {
        state: if choice.status.is_up() { StepState::Passed } else { StepState::Warning },
        cells: vec![
            Cell::Text(named(products)),
            Cell::Text(short(&choice.host)),
            Cell::Share(choice.share),
            Cell::Share(choice.live_share),
            Cell::Text(then),
        ],
    }
}
