//! `kmswatch completions`: what a shell completes.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Line, Problem, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(super) fn completions(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Line::command(), "kmswatch", &mut script);
    output::write(script, None)?;
    Ok(ExitCode::SUCCESS)
}
