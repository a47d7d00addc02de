//! all-hosts-down, tier-down, redundancy-lost, redundancy-none: how much is left of what a domain
//! publishes.

use std::sync::Arc;

use crate::client::errors::NO_KMS_CONTACTED;
use crate::model::snapshot::HostStatus;
use crate::model::{Check, Finding};

use super::domain::Scene;
use super::draft::{Draft, counted, listed};
use super::records::with_host;

pub(super) fn check(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    let draft = |check, message| {
        let draft = Draft::domain(check, scene.domain, message);
        let draft = match scene.domain.resolvers.first() {
            Some(resolver) => draft.asking(resolver),
            None => draft,
        };
        // The commands mend, or remove, what is broken: never the host that still works.
        let broken = scene.down().next().or(scene.hosts.first());
        draft.valued(scene.plan, |values| match broken {
            Some(host) => with_host(values, host),
            None => values,
        })
    };
    if scene.hosts.is_empty() {
        return;
    }
    let all = || counted(scene.hosts.len(), "host");
    let (down, up) = (scene.down().count(), scene.up().count());
    let dead = || listed(scene.down().map(|host| &host.host));
    if down == scene.hosts.len() {
        let message =
            format!("{} publishes {} and none answers: {}", scene.domain.name, all(), dead());
        let draft = draft(Check::AllHostsDown, message).client_error(Some(NO_KMS_CONTACTED));
        findings.push(draft.evidence("hosts", hosts(scene.down())).done());
    }
    if let Some(message) = tier_down(scene) {
        findings
            .push(draft(Check::TierDown, message).evidence("hosts", hosts(scene.down())).done());
    }
    if let ([_, _, ..], 1, Some(left)) = (scene.hosts, up, scene.up().next())
        && down + up == scene.hosts.len()
    {
        let message = format!(
            "{} publishes {} and only {} answers: the next failure leaves its clients without KMS",
            scene.domain.name,
            all(),
            left.host
        );
        findings.push(
            draft(Check::RedundancyLost, message).evidence("hosts", hosts(scene.down())).done(),
        );
    }
    if let [only] = scene.hosts {
        let message = format!("{} publishes one host only, {}", scene.domain.name, only.host);
        findings.push(draft(Check::RedundancyNone, message).done());
    }
}

/// Every host of the lowest priority is down, and a later one is up.
fn tier_down(scene: &Scene) -> Option<String> {
    let lowest = scene.hosts.iter().map(|host| host.priority).min()?;
    let mut tier = scene.hosts.iter().filter(|host| host.priority == lowest);
    let next = scene.up().map(|host| host.priority).min()?;
    tier.all(|host| host.status == HostStatus::Down).then(|| {
        let mine = scene.hosts.iter().filter(|host| host.priority == lowest);
        let theirs = scene.up().filter(|host| host.priority == next);
        format!(
            "Every host of priority {lowest} in {} is down ({}): clients go to priority {next} ({})",
            scene.domain.name,
            listed(mine.map(|host| &host.host)),
            listed(theirs.map(|host| &host.host)),
        )
    })
}

fn hosts<'a>(
    hosts: impl Iterator<Item = &'a crate::model::snapshot::DomainHost>,
) -> serde_json::Value {
    hosts.map(|host| serde_json::Value::from(host.host.to_string())).collect()
}
