//! Tells receivers of findings, for those who have no Prometheus rules that do (`[alert] send_to`).
//!
//! `state` decides (pure: pending → firing → resolved), `notice` says what receivers are told, `outbox`
//! what each has still to be told, and `delivery` tells it, one task a receiver.

mod alertmanager;
mod delivery;
mod http;
mod notice;
mod outbox;
mod state;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

pub use notice::{Alert, Fingerprint, Rules};
pub use state::{Ledger, Outcome};

use delivery::{Board, Receiver, Wiring, deliver};
use http::Http;

use crate::clock::Clock;
use crate::model::alert::{AlertSettings, ReceiverUrl, SendTo};
use crate::model::finding::FindingId;
use crate::model::journal::Entry;
use crate::model::{Plan, Snapshot};
use crate::stats::Stats;

/// The alerts of a daemon. Needs a tokio runtime. Dropped without [`Alerts::close`], it delivers nothing
/// more.
#[derive(Debug)]
pub struct Alerts {
    stats: Arc<Stats>,
    clock: Clock,
    kind: SendTo,
    /// `None` where nobody is told.
    ledger: Option<Ledger>,
    board: watch::Sender<Board>,
    wiring: watch::Sender<Arc<Wiring>>,
    deliveries: JoinSet<()>,
    receivers: HashMap<ReceiverUrl, AbortHandle>,
    /// For the journal, with the next snapshot.
    entries: Vec<Entry>,
}

impl Alerts {
    /// Goes on where the remembered states end: what fired is told again, as nobody knows whom the process
    /// before told.
    pub fn start(
        plan: &Plan,
        remembered: &[(FindingId, String)],
        stats: Arc<Stats>,
        clock: Clock,
    ) -> Self {
        let forgotten = |id: &FindingId| Entry::Alert { id: id.clone(), state: None };
        let (ledger, entries) = match Rules::of(plan) {
            None => (None, remembered.iter().map(|(id, _)| forgotten(id)).collect()),
            Some(rules) => {
                let (ledger, unreadable) = Ledger::restore(rules, remembered);
                if !unreadable.is_empty() {
                    let count = unreadable.len();
                    tracing::warn!("the journal's states of {count} alerts are not understood");
                }
                (Some(ledger), unreadable.iter().map(forgotten).collect())
            }
        };
        let board = Arc::new(ledger.as_ref().map(Ledger::board).unwrap_or_default());
        let mut alerts = Self {
            stats,
            clock,
            kind: plan.alert.send_to,
            ledger,
            board: watch::Sender::new(board),
            wiring: watch::Sender::new(wiring(plan)),
            deliveries: JoinSet::new(),
            receivers: HashMap::new(),
            entries,
        };
        alerts.begin_deliveries(&plan.alert);
        alerts
    }

    /// Takes a snapshot in, and gives what the journal should keep. Call it after each audit; it waits for
    /// nobody.
    pub fn observe(&mut self, snapshot: &Snapshot) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.entries);
        if let Some(ledger) = &mut self.ledger {
            let outcome = ledger.observe(snapshot);
            entries.extend(outcome.entries);
            if outcome.is_news {
                self.board.send_replace(Arc::new(ledger.board()));
            }
        }
        entries
    }

    /// Takes a config over: rules hold from the next snapshot on, a receiver that stays is told no more than
    /// before, and certificates are read anew.
    pub fn apply(&mut self, plan: &Plan) {
        match (&mut self.ledger, Rules::of(plan)) {
            (Some(ledger), Some(rules)) => ledger.replan(rules),
            (ledger @ None, Some(rules)) => *ledger = Some(Ledger::restore(rules, &[]).0),
            (ledger, None) => {
                let ids = ledger.take();
                let ids = ids.iter().flat_map(Ledger::ids);
                self.entries.extend(ids.map(|id| Entry::Alert { id: id.clone(), state: None }));
            }
        }
        let board = self.ledger.as_ref().map(Ledger::board).unwrap_or_default();
        self.board.send_replace(Arc::new(board));
        self.wiring.send_replace(wiring(plan));
        let stays =
            |url: &ReceiverUrl| plan.alert.send_to == self.kind && plan.alert.urls.contains(url);
        self.receivers.retain(|url, task| {
            stays(url) || {
                task.abort();
                false
            }
        });
        self.begin_deliveries(&plan.alert);
    }

    /// Tells what is due once more, for two seconds at most, and ends.
    pub async fn close(self) {
        let Self { board, mut deliveries, wiring: _wiring, .. } = self;
        drop(board);
        let all = async { while deliveries.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!("some alerts could not be delivered before the end");
        }
    }

    /// To each receiver that has none yet.
    fn begin_deliveries(&mut self, settings: &AlertSettings) {
        self.kind = settings.send_to;
        for url in &settings.urls {
            if self.receivers.contains_key(url) {
                continue;
            }
            let receiver = Receiver {
                url: url.clone(),
                kind: self.kind,
                wiring: self.wiring.subscribe(),
                stats: self.stats.clone(),
                clock: self.clock,
            };
            let task = self.deliveries.spawn(deliver(receiver, self.board.subscribe()));
            self.receivers.insert(url.clone(), task);
        }
    }
}

fn wiring(plan: &Plan) -> Arc<Wiring> {
    let external_url = plan.web.external_url.clone();
    Arc::new(Wiring { http: Http::new(&plan.alert), external_url })
}

/// How long the end of the process may wait for receivers.
const LAST_WORDS: Duration = Duration::from_secs(2);
