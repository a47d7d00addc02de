//! TOML as written → validated plan; all errors at once.
//!
//! [`load`] reads a file and what it includes into recoverable trees (`file`, `syntax`, `include`), walks them
//! (`plan`, `domains`, `profiles`, `exceptions`, `maintenance`, `tokens`) with one grammar for each kind of text (`units`, `server`,
//! `hosts`), and gives the plan or every error with its place. [`show`] writes a plan back,
//! [`load_report`] says what a plan will ask of servers and hosts.

mod alert;
mod domains;
mod errors;
mod exceptions;
mod file;
mod hosts;
mod include;
mod load;
mod maintenance;
mod plan;
mod profiles;
mod refusal;
mod server;
mod show;
mod syntax;
mod system;
mod tokens;
mod units;

use std::path::Path;

pub use errors::{ConfigError, ConfigErrors, Place};
pub use hosts::parse_listed_host;
pub use load::{HostLoad, LoadReport, ServerLoad, load_report};
pub use plan::{DEFAULT_JOURNAL, plan_for};
pub use profiles::{
    parse_fixed_host, parse_interface, parse_source, parse_subnet, parse_suffix, plan_for_profiles,
};
pub use refusal::nearest;
pub use server::{parse_server, resolver_of};
pub use show::show;
pub use system::{SystemResolver, system_resolver};
pub use tokens::read_token;
pub use units::{format_duration, parse_duration};

use errors::Log;
use file::{Section, Source};
use system::ReadSystem;

use crate::model::Plan;

/// A config that holds.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub plan: Plan,
    /// What is legal, and probably not meant; `FILE:LINE:COLUMN: KEY: …` each.
    pub warnings: Vec<String>,
}

/// Reads a config file and what it includes.
///
/// # Errors
/// Every error of all files, in the order in which they are read.
pub fn load(file: &Path) -> Result<Loaded, ConfigErrors> {
    let log = Log::default();
    match include::read(file, &log) {
        Ok(source) => read(&source, file, log, system_resolver),
        Err(error) => {
            let place = Source::new(file, "", &log).place(0);
            Err(ConfigErrors::one(place, include::unreadable(file, &error)))
        }
    }
}

/// Reads a config from a text; `file` is what errors name and what relative paths are relative to.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file: &str) -> Result<Loaded, ConfigErrors> {
    parse_with(text, file, system_resolver)
}

fn parse_with(text: &str, file: &str, read_system: ReadSystem) -> Result<Loaded, ConfigErrors> {
    let log = Log::default();
    let file = Path::new(file);
    read(&Source::new(file, text, &log), file, log, read_system)
}

fn read(
    main: &Source,
    file: &Path,
    log: Log,
    read_system: ReadSystem,
) -> Result<Loaded, ConfigErrors> {
    let plan = {
        let first = main.parse(&log);
        let sources = include::included(&first, file, &log);
        let others: Vec<_> = sources.iter().map(|source| source.parse(&log)).collect();
        for part in &others {
            include::refuse_nested(part, &log);
        }
        let parts: Vec<_> = std::iter::once(first).chain(others).collect();
        plan::build(&Section::root(&parts, &log, &include::ROOT), &log, read_system)
    };
    Ok(Loaded { warnings: log.finish()?, plan })
}

#[cfg(test)]
mod tests;
