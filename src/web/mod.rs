//! HTTP: the pages, metrics, JSON and the control paths (contract, design section 10).
//!
//! Everything is read from the latest snapshot; no request causes traffic, but `/probe`. What takes long in a large
//! estate is made once a snapshot, away from the runtime's threads.

mod acks;
mod assets;
mod connection;
mod encoding;
mod events;
mod journal;
mod pages;
mod probe;
mod question;
mod reload;
mod routes;
mod socket;
mod trust;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::finding::FindingId;
use crate::model::moment::Moment;
use crate::model::plan::Tokens;
use crate::model::{Name, Snapshot};
use crate::stats::Stats;
use connection::{Guest, Limited};
pub use question::{Question, patience};
pub use socket::{Socket, SocketError};

/// What the server shows, and whom it asks.
#[derive(Debug)]
pub struct Site {
    /// The latest snapshot; `None` before the first audit.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What the process counts about itself.
    pub stats: Arc<Stats>,
    /// Who reloads the config.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Who observes a domain now.
    pub probe: mpsc::Sender<ProbeRequest>,
    /// Who knows what was said of findings.
    pub acks: mpsc::Sender<AckRequest>,
    /// Who else than the unix socket's users may change something.
    pub tokens: watch::Receiver<Option<Tokens>>,
    /// What time it is.
    pub clock: Clock,
    /// What appeared, changed and vanished.
    pub journal: Arc<Journal>,
}

/// Somebody wants the config to be read again.
#[derive(Debug)]
pub struct ReloadRequest {
    /// What was taken over, or every error of the config that was refused.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// Somebody wants a domain to be observed now.
#[derive(Debug)]
pub struct ProbeRequest {
    /// The domain, perhaps one that is not configured.
    pub domain: Name,
    /// The only server to ask, as somebody wrote it; `None`: all that the domain is asked of.
    pub server: Option<String>,
    /// The domain alone, after everything of it was observed, or why it is not. Dropped where it will
    /// not be.
    pub reply: oneshot::Sender<Result<Snapshot, String>>,
}

/// Somebody says that a finding is known, or not any more.
#[derive(Debug)]
pub struct AckRequest {
    /// Of the finding, as somebody wrote it.
    pub id: FindingId,
    /// What is said.
    pub say: Say,
    /// Until when it is known now.
    pub reply: oneshot::Sender<Result<Option<Timestamp>, AckRefusal>>,
}

/// What somebody says of a finding.
#[derive(Debug)]
pub enum Say {
    /// That it is known.
    Known {
        /// It ends by itself.
        until: Moment,
        /// Why.
        reason: Option<String>,
    },
    /// That it is not known any more.
    NotKnown,
}

/// Why something that was said is not heeded; in words for people.
#[derive(Debug)]
pub enum AckRefusal {
    /// There is no such finding, or it is not known.
    NotFound(String),
    /// It would end in the past, or never.
    Wrong(String),
    /// Nothing was found yet: the first audit is under way.
    TooSoon,
}

/// Serves until `shutdown` is ready; then lets requests under way end, for two seconds at most.
///
/// # Errors
/// The operating system's, where the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    socket: Option<Socket>,
    site: Site,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stop = watch::Sender::new(false);
    let stopped = |mut told: watch::Receiver<bool>| async move {
        // Whoever tells may be gone: that tells as much.
        let _ = told.wait_for(|is_told| *is_told).await;
    };
    let service =
        routes::router(site, stop.subscribe()).into_make_service_with_connect_info::<Guest>();
    let network = axum::serve(Limited::new(listener), service.clone())
        .with_graceful_shutdown(stopped(stop.subscribe()))
        .into_future();
    let (local, file) = socket.map(|socket| (socket.listener, socket.file)).unzip();
    let local_stopped = stopped(stop.subscribe());
    let local = async {
        let Some(listener) = local else { return Ok(()) };
        axum::serve(Limited::new(listener), service).with_graceful_shutdown(local_stopped).await
    };
    let grace = async {
        shutdown.await;
        // Who asks now should find nobody, and not wait for one that ends.
        drop(file);
        stop.send_replace(true);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = async { tokio::try_join!(network, local) } => result.map(|_| ()),
        () = grace => Ok(()),
    }
}

/// The daemon has five seconds to end, and others need some of them.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
