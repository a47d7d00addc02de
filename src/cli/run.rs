//! `kmswatch run`: the daemon.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::config::{self, Loaded};
use crate::daemon::{self, Signals, Start};
use crate::model::Plan;

use super::Problem;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let read = || {
        let loaded = load(&arguments.config)?;
        let of_load = config::load_report(&loaded.plan).warnings;
        loaded.warnings.iter().chain(&of_load).for_each(|warning| tracing::warn!("{warning}"));
        Ok(loaded.plan)
    };
    let file = arguments.config.clone();
    serve(read, Box::new(move || load(&file)), |_| ())
}

/// Reads a config; the problem is every error of it.
pub(super) fn load(file: &Path) -> Result<Loaded, Problem> {
    config::load(file).map_err(|errors| errors.to_string())
}

/// Heeds signals, reads the plan, listens, and runs the daemon to its end. `listening` is told the
/// address before anything else happens.
pub(super) fn serve(
    read: impl FnOnce() -> Result<Plan, Problem>,
    reload: Box<dyn FnMut() -> Result<Loaded, String> + Send>,
    listening: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Problem> {
    runtime()?.block_on(async {
        let signals = Signals::new().map_err(|error| error.to_string())?;
        let plan = read()?;
        let (listener, address) = listen(plan.web.listen).await?;
        listening(address);
        tracing::info!("watching domains: {}; http://{address}/", plan.domains.len());
        let ended = daemon::run(Start { signals, plan, listener, reload }).await;
        ended.map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
    })
}

async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Problem> {
    let bound = async {
        let listener = TcpListener::bind(wanted).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    bound.await.map_err(|error| {
        format!("cannot listen on {wanted}: {error}; give another address ([web] listen, or demo --listen)")
    })
}

/// Two threads: one observes, the other serves; more would not be used.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| format!("cannot start: {error}"))
}
