//! What a wrong command line is told.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands, flags and formats of the contract that this version does not have.
const NOT_BUILT: [&str; 4] = ["journal", "ack", "unack", "--shard"];

/// Prints help or what is wrong, and how to do it; the exit code to end with.
pub(super) fn explain(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    match not_built(error) {
        Some(what) => {
            let text = "is not in this version; `kmswatch --help` lists what is";
            // Where stderr is closed, nobody can be told.
            let _ = writeln!(std::io::stderr(), "error: {what} {text}");
        }
        None => drop(error.print()),
    }
    ExitCode::from(super::CANNOT_AUDIT)
}

fn not_built(error: &clap::Error) -> Option<String> {
    let kinds =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue];
    kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(text)) => {
            let bare = text.split('=').next().unwrap_or(text);
            NOT_BUILT.contains(&bare).then(|| bare.to_owned())
        }
        _ => None,
    })
}
