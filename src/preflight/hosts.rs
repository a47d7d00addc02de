//! The hosts that clients may pick, and their addresses over the path.

use std::sync::Arc;

use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Check, Host, LookupKey, Upstream};
use crate::observe::resolution::{ADDRESS_KINDS, Resolution, Verdict, resolve};
use crate::observe::state::Horizon;

use super::words::{MOST, counted, listed, short};
use super::{Scene, summed};

pub(super) fn step(scene: &Scene, view: &ProfileView) -> Option<Step> {
    let choices = view.choices();
    if choices.is_empty() {
        let says = "there is no host to look up";
        return Some(Step::new(StepId::Hosts, StepState::Skipped, says));
    }
    let horizon = Horizon::new(scene.now, scene.plan.stale_after());
    let mut rows = Vec::with_capacity(choices.len());
    let mut addresses = 0;
    for choice in &choices {
        let host = &choice.host;
        let found = resolve(scene.state, &scene.profile.resolver, &host.target, &horizon);
        if !is_asked(scene, host) {
            return None;
        }
        let (row, count) = row(scene, host, &found);
        addresses += count;
        rows.push(row);
    }
    let state = summed(rows.iter().map(|row| row.state));
    let lacking: Vec<String> = choices
        .iter()
        .zip(&rows)
        .filter(|(_, row)| row.state != StepState::Passed)
        .map(|(choice, _)| short(&choice.host))
        .collect();
    let message = match lacking.is_empty() {
        true => {
            let plural = if addresses == 1 { "address" } else { "addresses" };
            format!("{} with {addresses} {plural}", counted(choices.len(), "host"))
        }
        false => format!("no address for {}", listed(&lacking, MOST)),
    };
    Some(Step {
        rows,
        tells: &[Check::TargetUnresolvable],
        ..Step::new(StepId::Hosts, state, message)
    })
}

/// Whether every server was asked for its addresses.
pub(super) fn is_asked(scene: &Scene, host: &Host) -> bool {
    let upstreams = &scene.profile.resolver.upstreams;
    let is_known = |upstream: &Arc<Upstream>, kind| {
        let key = LookupKey { upstream: upstream.clone(), name: host.target.clone(), kind };
        scene.state.lookup(&key).is_some()
    };
    host.target.as_address().is_some()
        || upstreams.iter().all(|one| ADDRESS_KINDS.iter().all(|kind| is_known(one, *kind)))
}

/// The row, and how many addresses can be reached over the path.
fn row(scene: &Scene, host: &Host, found: &Resolution) -> (Row, usize) {
    let path = scene.profile.path();
    let suiting: Vec<String> = found
        .addresses
        .iter()
        .filter(|address| path.suits(**address))
        .map(ToString::to_string)
        .collect();
    let (state, said) = match (found.verdict, suiting.as_slice(), found.addresses.len()) {
        (Verdict::Denied, ..) => (StepState::Failed, "has neither A nor AAAA".to_owned()),
        (Verdict::Resolved, [], 1..) => {
            let family =
                if path.source.is_some_and(|source| source.is_ipv4()) { "IPv4" } else { "IPv6" };
            // Clients may have the other family as well; this path has not.
            (StepState::Unknown, format!("has no {family} address"))
        }
        (Verdict::Resolved, suiting, _) => (StepState::Passed, listed(suiting, MOST)),
        (Verdict::Unknown | Verdict::Pending, ..) => {
            (StepState::Unknown, "the lookups of A and AAAA fail".to_owned())
        }
    };
    let said = match found.aliases.last() {
        Some(alias) => format!("{said} (alias of {alias})"),
        None => said,
    };
    let cells = vec![Cell::Text(short(host)), Cell::Text(said)];
    (Row { state, cells }, suiting.len())
}
