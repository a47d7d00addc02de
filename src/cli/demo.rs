//! `kmswatch demo`: the daemon against an estate that this program plays itself.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::config;
use crate::demo::{self, Lab};

use super::{Problem, run};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the pages are; port 0: any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = demo::LISTEN)]
    listen: SocketAddr,
}

pub(super) fn demo(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    // The lab has threads of its own: it must not make the daemon look busy.
    let runtime = runtime.map_err(|error| format!("cannot start the lab: {error}"))?;
    let lab = runtime.block_on(Lab::start()).map_err(|error| error.to_string())?;
    let config = lab.config(arguments.listen);
    let mut plan = config::parse(&config, "demo").map_err(|errors| errors.to_string())?.plan;
    plan.kms_port = lab.kms_port();
    let refuse = || Err("the demo has no config file to read again".to_owned());
    let ended = run::serve(
        || Ok(plan),
        Box::new(refuse),
        |listening| {
            // Where stderr is closed, nobody reads it.
            let _ =
                std::io::stderr().write_all(demo::intro(&lab, listening, demo::EVERY).as_bytes());
            runtime.spawn(async move {
                let say = |text: &str| tracing::info!("demo: {text}");
                let error = demo::script(&lab, say, demo::EVERY).await;
                tracing::error!("demo: nothing happens any more: {error}");
                // The lab stays as it is until the daemon ends.
                std::future::pending::<()>().await;
            });
        },
    );
    runtime.shutdown_background();
    ended
}
