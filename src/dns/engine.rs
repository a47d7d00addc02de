//! The engine: one task per server and path, fed and drained in batches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::asker::{Asker, Orders};
use super::limit::Limiters;
use crate::clock::Clock;
use crate::model::plan::DnsSettings;
use crate::model::{LookupKey, Observation, Upstream};
use crate::stats::Stats;

/// Asks DNS servers. Dropping it ends its tasks and drops what is under way.
#[derive(Debug)]
pub struct Engine {
    settings: watch::Sender<DnsSettings>,
    clock: Clock,
    stats: Arc<Stats>,
    observations: mpsc::Sender<Vec<Observation>>,
    askers: HashMap<Arc<Upstream>, Handle>,
    limiters: Limiters,
}

/// Keys that wait at one server before [`Engine::submit`] gives them back.
pub const QUEUE: usize = 1024;

#[derive(Debug)]
struct Handle {
    queue: mpsc::Sender<LookupKey>,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// An engine that asks nobody yet. Every key that [`Engine::submit`] takes leads to one
    /// observation in `observations`; while that channel is full, the engine takes nothing new up.
    pub fn new(
        settings: DnsSettings,
        clock: Clock,
        stats: Arc<Stats>,
        observations: mpsc::Sender<Vec<Observation>>,
    ) -> Self {
        Self {
            settings: watch::Sender::new(settings),
            clock,
            stats,
            observations,
            askers: HashMap::new(),
            limiters: Limiters::default(),
        }
    }

    /// Takes over how and whom to ask. Servers that stay keep their sockets, measurements and what
    /// is under way; what is under way at servers that go is dropped. Needs a tokio runtime.
    pub fn apply(&mut self, settings: DnsSettings, upstreams: &[Arc<Upstream>]) {
        self.settings.send_if_modified(|current| std::mem::replace(current, settings) != settings);
        let wanted: HashSet<&Arc<Upstream>> = upstreams.iter().collect();
        self.askers.retain(|upstream, _| wanted.contains(upstream));
        for upstream in upstreams {
            if !self.askers.contains_key(upstream) {
                let handle = self.start(upstream.clone());
                self.askers.insert(upstream.clone(), handle);
            }
        }
        self.limiters.prune(Instant::now());
    }

    /// Takes what the server's queue has room for, in order, and gives back the rest; all of it
    /// where the server is unknown. After keys were given back, there is room again at the latest
    /// when the next observation of that server arrives.
    pub fn submit(&self, upstream: &Arc<Upstream>, mut keys: Vec<LookupKey>) -> Vec<LookupKey> {
        let Some(handle) = self.askers.get(upstream) else { return keys };
        let room = handle.queue.capacity().min(keys.len());
        let Ok(permits) = handle.queue.try_reserve_many(room) else { return keys };
        for (permit, key) in permits.zip(keys.drain(..room)) {
            permit.send(key);
        }
        keys
    }

    /// How many keys the server's queue has room for now; none where the server is unknown.
    pub fn room(&self, upstream: &Arc<Upstream>) -> usize {
        self.askers.get(upstream).map_or(0, |handle| handle.queue.capacity())
    }

    /// Ends all tasks and drops what is under way.
    pub fn shutdown(&mut self) {
        self.askers.clear();
    }

    fn start(&mut self, upstream: Arc<Upstream>) -> Handle {
        let (queue, to_ask) = mpsc::channel(QUEUE);
        let orders = Orders {
            limiter: self.limiters.of(upstream.server.address),
            upstream,
            settings: self.settings.subscribe(),
            clock: self.clock,
            stats: self.stats.clone(),
            queue: to_ask,
            observations: self.observations.clone(),
        };
        let task = tokio::spawn(Asker::new(orders).run()).abort_handle();
        Handle { queue, task }
    }
}
