//! HTTP: metrics, JSON and the control paths (contract, design section 10).
//!
//! Everything is read from the latest snapshot; no request causes traffic, but `/probe`. What takes long in a large
//! estate is made once a snapshot, away from the runtime's threads.

mod connection;
mod encoding;
mod probe;
mod question;
mod reload;
mod routes;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::journal::Journal;
use crate::model::{Name, Snapshot};
use crate::stats::Stats;
use connection::{Limited, Peer};
pub use question::{Question, patience};

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
    /// What appeared, changed and vanished.
    pub journal: Arc<Journal>,
    /// Where people reach the server, without a trailing slash; empty where unknown.
    pub external_url: String,
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

/// Serves until `shutdown` is ready; then lets requests under way end, for two seconds at most.
///
/// # Errors
/// The operating system's, where the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    site: Site,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let service = routes::router(site).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(Limited::new(listener), service).with_graceful_shutdown(signal);
    let grace = async {
        let _ = stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = grace => Ok(()),
    }
}

/// The daemon has five seconds to end, and others need some of them.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
