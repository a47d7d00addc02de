//! What a wrong command line is told.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::report;

use super::output;

/// Commands, flags and formats of the contract that this version does not have.
const NOT_BUILT: [&str; 1] = ["--shard"];

/// Prints help or what is wrong, and how to do it; the exit code to end with.
pub(super) fn explain(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let not_built = not_built(error).map(|what| {
        format!("error: {what} is not in this version; `kmswatch --help` lists what is\n")
    });
    if asks_for_plugin(std::env::args_os().skip(1)) {
        let text = not_built.clone().unwrap_or_else(|| error.render().to_string());
        // Where stdout is closed, too, nobody can be told.
        let _ = output::write(report::nagios_unknown(&text), None);
    }
    match not_built {
        // Where stderr is closed, nobody can be told.
        Some(text) => drop(std::io::stderr().write_all(text.as_bytes())),
        None => drop(error.print()),
    }
    ExitCode::from(super::CANNOT_AUDIT)
}

/// Whoever runs a plugin reads stdout alone. The line did not parse: its words are all there is.
fn asks_for_plugin(words: impl Iterator<Item = OsString>) -> bool {
    let mut words = words.take_while(|word| word != "--").peekable();
    while let Some(word) = words.next() {
        let is_format = word == "--format" && words.peek().is_some_and(|next| next == "nagios");
        if is_format || word == "--format=nagios" {
            return true;
        }
    }
    false
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
