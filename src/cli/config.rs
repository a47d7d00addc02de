//! `kmswatch config check|show`: is the config right, and what does it come to?

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

use super::{Problem, output, run};

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
}

#[derive(Debug, clap::Args)]
struct File {
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn config(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let (What::Check(file) | What::Show(file)) = &arguments.what;
    let loaded = run::load(&file.config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let text = match &arguments.what {
        What::Show(_) => config::show(&loaded.plan),
        What::Check(file) => format!(
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
