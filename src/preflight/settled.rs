//! Whether all that decides about one profile was observed: it does not wait for the others.

use std::net::SocketAddr;

use crate::model::observation::MAX_ADDRESSES;
use crate::model::snapshot::ProfileView;
use crate::model::srv::naming_hosts;
use crate::model::{EndpointKey, Host};
use crate::observe::resolution::resolve;
use crate::observe::state::Horizon;

use super::{Scene, hosts};

/// Whether every server said something of every suffix.
pub(super) fn is_searched(scene: &Scene, view: &ProfileView) -> bool {
    let servers = scene.profile.resolver.upstreams.len();
    view.answers.len() >= scene.profile.search.len() * servers
}

/// Whether every host that some suffix names was looked up and probed, whether clients come there or not.
pub(super) fn is_settled(scene: &Scene, view: &ProfileView) -> bool {
    if scene.is_complete {
        return true;
    }
    // Why clients fail may be told by probes that do not follow from the search.
    if !is_searched(scene, view) || view.is_served() != Some(true) {
        return false;
    }
    let records = view.answers.iter().flat_map(|(_, answer)| &answer.answer.records);
    let mut named: Vec<Host> = naming_hosts(records).iter().map(|record| record.host()).collect();
    named.extend(scene.profile.fixed_hosts().into_iter().map(|(host, _)| host.clone()));
    named.sort_unstable();
    named.dedup();
    named.iter().all(|host| is_probed(scene, host))
}

fn is_probed(scene: &Scene, host: &Host) -> bool {
    if !hosts::is_asked(scene, host) {
        return false;
    }
    let horizon = Horizon::new(scene.now, scene.plan.stale_after());
    let found = resolve(scene.state, &scene.profile.resolver, &host.target, &horizon);
    let path = scene.profile.path();
    let probed = |address| {
        let address = SocketAddr::new(address, host.port);
        scene.state.probe(&EndpointKey { path: path.clone(), address }).is_some()
    };
    let suiting = found.addresses.into_iter().filter(|address| path.suits(*address));
    !scene.plan.is_probed(&host.target) || suiting.take(MAX_ADDRESSES).all(probed)
}
