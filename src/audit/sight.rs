//! What the clients of one resolver would see of a host.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::plan::Depth;
use crate::model::snapshot::{EndpointView, HostStatus};
use crate::model::{EndpointKey, Host, Plan, ProbeOutcome, Reachability, Resolver};
use crate::observe::resolution::{Resolution, Verdict, resolve};
use crate::observe::state::{Horizon, State};

/// What the clients of one resolver would see of a host.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) resolver: Arc<Resolver>,
    /// One in memory for all that this resolver's clients ever see of the host.
    pub(super) host: Arc<Host>,
    pub(super) resolution: Resolution,
    /// The addresses that suit the resolver's path; none where the config says not to probe.
    pub(super) endpoints: Vec<EndpointView>,
    /// An address that answers as KMS on the well-known port, while the published one fails.
    pub(super) elsewhere: Option<IpAddr>,
    pub(super) status: HostStatus,
    /// Until then, only a new observation changes it.
    pub(super) expires: Timestamp,
}

impl Sight {
    pub(super) fn new(
        plan: &Plan,
        state: &State,
        resolver: &Arc<Resolver>,
        host: &Arc<Host>,
        now: Timestamp,
    ) -> Self {
        let horizon = Horizon::new(now, plan.stale_after());
        let resolution = resolve(state, resolver, &host.target, &horizon);
        let is_probed = plan.is_probed(&host.target);
        let suits = |address: &&IpAddr| is_probed && resolver.path.suits(**address);
        let endpoints: Vec<EndpointView> = resolution
            .addresses
            .iter()
            .filter(suits)
            .map(|address| {
                endpoint(state, resolver, SocketAddr::new(*address, host.port), &horizon)
            })
            .collect();
        let mut sight = Self {
            resolver: resolver.clone(),
            host: host.clone(),
            resolution,
            endpoints,
            elsewhere: None,
            status: HostStatus::Unknown,
            expires: Timestamp::MAX,
        };
        sight.status = status(sight.signs());
        let was_probed = sight.signs().all(|sign| sign.is_some());
        let fails = was_probed && !sight.status.is_up();
        if host.port != plan.kms_port && plan.probe.depth == Depth::Rpc && fails {
            sight.elsewhere = sight.find_elsewhere(plan, state, &horizon);
        }
        sight.expires = horizon.expires();
        sight
    }

    /// What each address says of the host; nothing that was not probed yet counts against it.
    pub(super) fn signs(&self) -> impl Iterator<Item = Option<Reachability>> {
        let probed = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.probe.as_ref().map(|probe| probe.outcome.reachability()));
        let denied =
            (self.resolution.verdict == Verdict::Denied).then_some(Some(Reachability::Down));
        probed.chain(denied)
    }

    /// Whether an observation of this endpoint bears on it.
    pub(super) fn watches(&self, plan: &Plan, is_changed: impl Fn(&EndpointKey) -> bool) -> bool {
        let key = |address, port| EndpointKey {
            path: self.resolver.path.clone(),
            address: SocketAddr::new(address, port),
        };
        self.endpoints.iter().any(|endpoint| {
            is_changed(&key(endpoint.address, self.host.port))
                || (self.host.port != plan.kms_port
                    && is_changed(&key(endpoint.address, plan.kms_port)))
        })
    }

    /// Whether a domain that publishes the host would come to the same verdicts.
    pub(super) fn is_same_for_domains(&self, other: &Self) -> bool {
        self.status == other.status
            && self.resolution == other.resolution
            && self.signs().eq(other.signs())
    }

    fn find_elsewhere(&self, plan: &Plan, state: &State, horizon: &Horizon) -> Option<IpAddr> {
        let answers = |address: &IpAddr| {
            let address = SocketAddr::new(*address, plan.kms_port);
            let view = endpoint(state, &self.resolver, address, horizon);
            view.probe.is_some_and(|probe| probe.outcome == ProbeOutcome::Kms)
        };
        self.endpoints.iter().map(|endpoint| endpoint.address).find(answers)
    }
}

/// Up where everything that was seen is up; degraded where only some is; down where all that is to
/// be seen was seen and is down.
pub(super) fn status(signs: impl Iterator<Item = Option<Reachability>>) -> HostStatus {
    let (mut up, mut down, mut silent, mut unseen) = (false, false, false, false);
    for sign in signs {
        match sign {
            Some(Reachability::Up) => up = true,
            Some(Reachability::Down) => down = true,
            Some(Reachability::Unknown) => silent = true,
            None => unseen = true,
        }
    }
    match up {
        true if down || silent => HostStatus::Degraded,
        true => HostStatus::Up,
        false if down && !silent && !unseen => HostStatus::Down,
        false => HostStatus::Unknown,
    }
}

fn endpoint(
    state: &State,
    resolver: &Resolver,
    address: SocketAddr,
    horizon: &Horizon,
) -> EndpointView {
    let key = EndpointKey { path: resolver.path.clone(), address };
    let seen = state.probe(&key).filter(|seen| horizon.is_fresh(seen.at));
    EndpointView {
        path: key.path,
        address: address.ip(),
        probe: seen.map(|seen| seen.value.clone()),
        at: seen.map(|seen| seen.at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_no_more_than_was_seen() {
        use Reachability::{Down, Unknown, Up};
        let of = |signs: &[Option<Reachability>]| status(signs.iter().copied());
        assert_eq!(of(&[Some(Up), Some(Up)]), HostStatus::Up);
        assert_eq!(of(&[Some(Up), None]), HostStatus::Up);
        assert_eq!(of(&[Some(Up), Some(Down)]), HostStatus::Degraded);
        assert_eq!(of(&[Some(Up), Some(Unknown)]), HostStatus::Degraded);
        assert_eq!(of(&[Some(Down), Some(Down)]), HostStatus::Down);
        assert_eq!(of(&[Some(Down), Some(Unknown)]), HostStatus::Unknown);
        assert_eq!(of(&[Some(Down), None]), HostStatus::Unknown);
        assert_eq!(of(&[]), HostStatus::Unknown);
    }
}
