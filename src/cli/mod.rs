//! The commands (contract, design section 6); one file each.

mod ack;
mod check;
mod completions;
mod config;
mod demo;
mod explain;
mod http;
mod init;
mod journal;
mod man;
mod output;
mod preflight;
mod publication;
mod run;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Color, LogFormat};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return usage::explain(&error),
    };
    let _log = output::start_logging(line.log_format, line.verbose, line.color);
    let outcome = match line.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments, line.color, line.verbose > 0),
        Command::Preflight(arguments) => {
            preflight::preflight(&arguments, line.color, line.verbose > 0)
        }
        Command::Config(arguments) => config::config(&arguments),
        Command::Journal(arguments) => journal::journal(&arguments),
        Command::Ack(arguments) => ack::ack(&arguments),
        Command::Unack(arguments) => ack::unack(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Completions(arguments) => completions::completions(&arguments),
        Command::Man => man::man(),
        Command::Demo(arguments) => demo::demo(&arguments),
    };
    outcome.unwrap_or_else(|problem| {
        // Where stderr is closed, nobody can be told.
        let _ =
            std::io::Write::write_all(&mut std::io::stderr(), format!("{problem}\n").as_bytes());
        ExitCode::from(CANNOT_AUDIT)
    })
}

/// Bad usage, bad config, our own failure.
pub(crate) const CANNOT_AUDIT: u8 = 3;

/// What a person is told before an exit with [`CANNOT_AUDIT`].
type Problem = String;

/// Watches that Windows and Office machines can find and reach their KMS hosts.
#[derive(Debug, Parser)]
#[command(name = "kmswatch", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Line {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, value_name = "FORMAT")]
    log_format: LogFormat,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

const AFTER_HELP: &str = "\
Exit codes: 0 nothing at or above --fail-on, 1 warning, 2 critical, 3 could not audit.
kmswatch asks DNS and opens connections; it never sends an activation request and changes nothing.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch: metrics, JSON and logs, until SIGTERM; SIGHUP reads the config again
    Run(run::Arguments),
    /// Audit once and report; without arguments: the machine's own domains on its own resolvers
    Check(check::Arguments),
    /// Play the clients of a subnet, step by step, before they move in
    Preflight(preflight::Arguments),
    /// Say what a check or a Windows error code means, and what to do
    Explain(explain::Arguments),
    /// Show what appeared, changed and vanished, from the daemon's journal
    Journal(journal::Arguments),
    /// Tell the daemon that a finding is known: it stays in the report, and nobody is paged
    Ack(ack::AckArguments),
    /// Tell the daemon that a finding is not known any more
    Unack(ack::UnackArguments),
    /// Check, show or begin a config
    Config(config::Arguments),
    /// Watch a small estate with faults that this program plays itself, on loopback
    Demo(demo::Arguments),
    /// Print what a shell needs to complete these commands
    Completions(completions::Arguments),
    /// Print the manual page, as roff
    Man,
}
