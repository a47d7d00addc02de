//! `kmswatch config check|show|init`: is the config right, what does it come to, and a first one.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

use super::{Problem, init, output, run};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say every error of a config, or what load it puts on servers and hosts
    Check(File),
    /// Print the effective config, defaults filled in and secrets masked
    Show(File),
    /// Print a first config, with the hosts that DNS publishes now as those that should be
    Init(init::Arguments),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn config(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let file = match &arguments.what {
        What::Init(arguments) => return init::init(arguments),
        What::Check(file) | What::Show(file) => file,
    };
    let loaded = run::load(&file.config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let text = match &arguments.what {
        What::Show(_) => config::show(&loaded.plan),
        _ => format!(
            "{} is right: domains {}, resolvers {}\n{}",
            file.config.display(),
            loaded.plan.domains.len(),
            loaded.plan.resolvers.len(),
            config::load_report(&loaded.plan)
        ),
    };
    output::write(&text, None)?;
    Ok(ExitCode::SUCCESS)
}
