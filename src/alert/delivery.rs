//! One receiver and what it is told: its own state, its own failures, whatever becomes of the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::alertmanager;
use super::http::Http;
use super::notice::Alert;
use super::outbox::{Outbox, Rhythm};
use super::webhook;
use crate::clock::Clock;
use crate::model::alert::{ReceiverUrl, SendTo};
use crate::stats::Stats;

/// Every alert that fires, and those that have just ended.
pub(super) type Board = Arc<Vec<Arc<Alert>>>;

/// What a reload may change under way.
#[derive(Debug)]
pub(super) struct Wiring {
    pub http: Http,
    pub external_url: String,
}

/// What a receiver is, and what telling it takes.
#[derive(Clone)]
pub(super) struct Receiver {
    pub url: ReceiverUrl,
    pub kind: SendTo,
    pub wiring: watch::Receiver<Arc<Wiring>>,
    pub stats: Arc<Stats>,
    pub clock: Clock,
}

/// Tells the receiver what is on the board, until the board's sender is gone; then once more what is due.
pub(super) async fn deliver(receiver: Receiver, mut board: watch::Receiver<Board>) {
    let mut delivery = Delivery::new(receiver);
    let latest = board.borrow_and_update().clone();
    delivery.receive(&latest);
    loop {
        delivery.tell_if_may().await;
        let wake = delivery.next_try();
        let pause = async {
            match wake {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = board.changed() => {
                let latest = board.borrow_and_update().clone();
                delivery.receive(&latest);
                if changed.is_err() {
                    break;
                }
            }
            () = pause => {}
        }
    }
    delivery.tell().await;
}

struct Delivery {
    receiver: Receiver,
    outbox: Outbox,
    /// How often it failed, one after another.
    failures: u32,
    /// Not before this is it tried again.
    patience: Instant,
    /// Whether it was logged that something goes wrong.
    is_troubled: bool,
}

/// The first pause after a failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer: a receiver that comes back hears of everything within a minute.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// So many alerts go to Alertmanager in one message.
const MOST_TOGETHER: usize = 256;

/// What these say is not about the message: somebody may mend the receiver, or the token.
const MAY_PASS: [StatusCode; 6] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
];

/// How a message ended.
enum Ended {
    Accepted,
    /// As it is, it will not be accepted.
    Refused {
        status: StatusCode,
        reason: String,
    },
    /// It may be accepted later.
    Failed {
        reason: String,
    },
}

impl Delivery {
    fn new(receiver: Receiver) -> Self {
        let (repeat, repeats_resolved) = match receiver.kind {
            SendTo::Alertmanager => (alertmanager::RESEND, true),
            SendTo::Webhook | SendTo::Nobody => (webhook::REPEAT, false),
        };
        let outbox = Outbox::new(Rhythm { repeat, repeats_resolved });
        let patience = Instant::now();
        Self { receiver, outbox, failures: 0, patience, is_troubled: false }
    }

    fn receive(&mut self, board: &Board) {
        let given_up = self.outbox.receive(board);
        if given_up > 0 {
            self.receiver.stats.alerts_failed(given_up);
            tracing::warn!("{}: {given_up} ends of alerts are given up", self.receiver.url);
        }
    }

    /// How long there is nothing to do; `None`: until the board changes.
    fn next_try(&self) -> Option<Duration> {
        let due = self.outbox.next_due()?.duration_since(self.receiver.clock.now());
        let due = Duration::try_from(due).unwrap_or_default();
        Some(due.max(self.patience.saturating_duration_since(Instant::now())))
    }

    async fn tell_if_may(&mut self) {
        if Instant::now() >= self.patience {
            self.tell().await;
        }
    }

    /// Tells all that is due, until something fails.
    async fn tell(&mut self) {
        let now = self.receiver.clock.now();
        let mut parcels = self.parcels(self.outbox.due(now));
        while let Some(parcel) = parcels.pop() {
            let now = self.receiver.clock.now();
            self.outbox.tried(&parcel, now);
            match self.post(&parcel, now).await {
                Ended::Accepted => self.accepted(&parcel, now),
                Ended::Refused { status, .. } if parcel.len() > 1 && is_about_content(status) => {
                    // One of them may be what it does not take.
                    let (first, second) = parcel.split_at(parcel.len() / 2);
                    parcels.extend([second.to_vec(), first.to_vec()]);
                }
                Ended::Refused { reason, .. } => self.refused(&parcel, &reason, now),
                Ended::Failed { reason } => return self.failed(&parcel, &reason),
            }
        }
    }

    /// What goes together, the first last.
    fn parcels(&self, due: Vec<Arc<Alert>>) -> Vec<Vec<Arc<Alert>>> {
        let mut parcels: Vec<Vec<Arc<Alert>>> = match self.receiver.kind {
            SendTo::Alertmanager => due.chunks(MOST_TOGETHER).map(<[_]>::to_vec).collect(),
            SendTo::Webhook | SendTo::Nobody => {
                let mut places: BTreeMap<String, usize> = BTreeMap::new();
                let mut parcels: Vec<Vec<_>> = Vec::new();
                for alert in due {
                    let next = parcels.len();
                    let at = *places.entry(alert.finding().to_owned()).or_insert(next);
                    if at == next {
                        parcels.push(Vec::new());
                    }
                    parcels[at].push(alert);
                }
                parcels
            }
        };
        parcels.reverse();
        parcels
    }

    async fn post(&self, parcel: &[Arc<Alert>], now: Timestamp) -> Ended {
        let Receiver { url, kind, wiring, .. } = &self.receiver;
        let wiring = wiring.borrow().clone();
        let Wiring { http, external_url } = &*wiring;
        let posted = match kind {
            SendTo::Alertmanager => {
                let url = format!("{}{}", url.as_str(), alertmanager::PATH);
                http.post(&url, alertmanager::body(parcel, now)).await
            }
            SendTo::Webhook | SendTo::Nobody => {
                http.post(url.as_str(), webhook::body(parcel, external_url)).await
            }
        };
        let reply = match posted {
            Ok(reply) => reply,
            Err(error) => return Ended::Failed { reason: error.to_string() },
        };
        let status = reply.status;
        let reason = format!("it answers {status}: {}", reply.said);
        match status {
            _ if status.is_success() => Ended::Accepted,
            _ if status.is_server_error() || MAY_PASS.contains(&status) => Ended::Failed { reason },
            _ => Ended::Refused { status, reason },
        }
    }

    fn accepted(&mut self, parcel: &[Arc<Alert>], now: Timestamp) {
        self.receiver.stats.alerts_sent(parcel.len());
        self.outbox.told(parcel, now);
        self.failures = 0;
        if std::mem::take(&mut self.is_troubled) {
            tracing::info!("{}: alerts are delivered again", self.receiver.url);
        }
    }

    /// It counts as told: it is tried again when it would be repeated, and not before.
    fn refused(&mut self, parcel: &[Arc<Alert>], reason: &str, now: Timestamp) {
        self.outbox.told(parcel, now);
        self.trouble(parcel, reason);
    }

    fn failed(&mut self, parcel: &[Arc<Alert>], reason: &str) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.patience = Instant::now() + pause;
        self.failures = self.failures.saturating_add(1);
        self.trouble(parcel, reason);
    }

    /// Counted each time, and logged once until something is accepted.
    fn trouble(&mut self, parcel: &[Arc<Alert>], reason: &str) {
        self.receiver.stats.alerts_failed(parcel.len());
        if !std::mem::replace(&mut self.is_troubled, true) {
            tracing::error!("{}: cannot deliver alerts: {reason}", self.receiver.url);
        }
    }
}

/// Whether another message may fare better.
fn is_about_content(status: StatusCode) -> bool {
    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY]
        .contains(&status)
}
