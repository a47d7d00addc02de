//! What the daemon counts about its own work. The I/O rooms write it, `metrics` reads it, and
//! neither knows the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts};

use crate::model::{LookupOutcome, ProbeOutcome, Server};

/// Counters of one process; they only grow while it lives, through every reload.
#[derive(Debug)]
pub struct Stats {
    servers: Mutex<BTreeMap<Server, Arc<ServerStats>>>,
    probes: [AtomicU64; ProbeOutcome::ALL.len()],
    query_duration: Histogram,
    lag_microseconds: AtomicU64,
    reload: Mutex<Reload>,
    is_journal_ok: AtomicBool,
}

/// Queries to one server by outcome.
#[derive(Debug, Default)]
pub struct ServerStats {
    outcomes: [AtomicU64; LookupOutcome::ALL.len()],
}

/// How the last (re)load of the config went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reload {
    /// Whether the running config is the one on disk.
    pub successful: bool,
    /// When a config was last taken over.
    pub last_success: Option<Timestamp>,
}

impl Stats {
    /// All at zero.
    ///
    /// # Panics
    /// Never: the histogram's name and buckets are constants that the crate accepts.
    pub fn new() -> Arc<Self> {
        let options = HistogramOpts::new("kmswatch_dns_query_duration_seconds", "x")
            .buckets(QUERY_DURATION_BUCKETS.to_vec());
        Arc::new(Self {
            servers: Mutex::default(),
            probes: Default::default(),
            query_duration: Histogram::with_opts(options).expect("constant options are valid"),
            lag_microseconds: AtomicU64::new(0),
            reload: Mutex::default(),
            is_journal_ok: AtomicBool::new(true),
        })
    }

    /// The counters of one server; hold on to them rather than ask again per query.
    pub fn server(&self, server: Server) -> Arc<ServerStats> {
        lock(&self.servers).entry(server).or_default().clone()
    }

    /// Every server that was ever asked.
    pub fn servers(&self) -> Vec<(Server, Arc<ServerStats>)> {
        lock(&self.servers).iter().map(|(server, stats)| (*server, stats.clone())).collect()
    }

    /// A query was answered after this round trip.
    pub fn query_took(&self, rtt: Duration) {
        self.query_duration.observe(rtt.as_secs_f64());
    }

    /// The round trips of answered queries.
    pub fn query_duration(&self) -> &Histogram {
        &self.query_duration
    }

    /// A probe ended.
    pub fn probe_ended(&self, outcome: ProbeOutcome) {
        self.probes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Probes that ended so.
    pub fn probes(&self, outcome: ProbeOutcome) -> u64 {
        self.probes[outcome as usize].load(Ordering::Relaxed)
    }

    /// How late the scheduler is now.
    pub fn set_lag(&self, lag: Duration) {
        let microseconds = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        self.lag_microseconds.store(microseconds, Ordering::Relaxed);
    }

    /// How late the scheduler was when it last looked.
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.lag_microseconds.load(Ordering::Relaxed))
    }

    /// Whether the journal keeps what it is given.
    pub fn set_journal_ok(&self, is_ok: bool) {
        self.is_journal_ok.store(is_ok, Ordering::Relaxed);
    }

    /// Whether the journal kept what it was given, when somebody last looked.
    pub fn is_journal_ok(&self) -> bool {
        self.is_journal_ok.load(Ordering::Relaxed)
    }

    /// A config was taken over.
    pub fn reload_succeeded(&self, at: Timestamp) {
        *lock(&self.reload) = Reload { successful: true, last_success: Some(at) };
    }

    /// A config was refused; the old one stays.
    pub fn reload_failed(&self) {
        lock(&self.reload).successful = false;
    }

    /// How the last (re)load went.
    pub fn reload(&self) -> Reload {
        *lock(&self.reload)
    }
}

impl ServerStats {
    /// Queries to this server ended so: one for each transmission, whether answered (by its
    /// outcome) or given up (as `timeout`).
    pub fn ended(&self, outcome: LookupOutcome, queries: u64) {
        self.outcomes[outcome as usize].fetch_add(queries, Ordering::Relaxed);
    }

    /// Queries that ended so.
    pub fn count(&self, outcome: LookupOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }
}

/// From a server on the same machine to one that is about to time out.
const QUERY_DURATION_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// A counter that panicked half-way is still a counter.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        let stats = Stats::new();
        for (count, outcome) in (1_u64..).zip(ProbeOutcome::ALL) {
            (0..count).for_each(|_| stats.probe_ended(outcome));
        }
        let counts: Vec<u64> = ProbeOutcome::ALL.map(|outcome| stats.probes(outcome)).to_vec();
        assert_eq!(counts, (1..=12).collect::<Vec<u64>>());
        assert!(LookupOutcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
    }
}
