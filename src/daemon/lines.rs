//! The lines out to the servers and hosts.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::dns::Engine;
use crate::model::{EndpointKey, LookupKey, Observation, Plan, Upstream};
use crate::observe::observer::Outlet;
use crate::probe::Prober;
use crate::stats::Stats;

/// The query engine and the prober; what they see comes back through one bounded channel.
#[derive(Debug)]
pub(super) struct Lines {
    engine: Engine,
    prober: Prober,
}

/// Batches of observations that wait at most; then servers and hosts are asked nothing more.
const WAITING: usize = 256;

impl Lines {
    pub(super) fn new(
        plan: &Plan,
        clock: Clock,
        stats: &Arc<Stats>,
    ) -> (Self, mpsc::Receiver<Vec<Observation>>) {
        let (sender, inbox) = mpsc::channel(WAITING);
        let engine = Engine::new(plan.dns, clock, stats.clone(), sender.clone());
        let prober = Prober::new(plan.probe, clock, stats.clone(), sender);
        let mut lines = Self { engine, prober };
        lines.apply(plan);
        (lines, inbox)
    }

    /// Takes over whom to ask and how; servers that stay are not disturbed.
    pub(super) fn apply(&mut self, plan: &Plan) {
        let upstreams = plan.asked_resolvers().flat_map(|resolver| &resolver.upstreams);
        let distinct: HashSet<&Arc<Upstream>> = upstreams.collect();
        let upstreams: Vec<Arc<Upstream>> = distinct.into_iter().cloned().collect();
        self.engine.apply(plan.dns, &upstreams);
        self.prober.apply(plan.probe);
    }
}

impl Outlet for Lines {
    fn room(&self, upstream: &Arc<Upstream>) -> usize {
        self.engine.room(upstream)
    }

    fn lookups(&self, upstream: &Arc<Upstream>, keys: Vec<LookupKey>) -> Vec<LookupKey> {
        self.engine.submit(upstream, keys)
    }

    fn free_places(&self) -> usize {
        self.prober.free_places()
    }

    fn probes(&self, keys: Vec<EndpointKey>) -> Vec<EndpointKey> {
        self.prober.submit(keys)
    }
}
