//! `kmswatch journal`: what changed, from the journal of a daemon that may be running.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::{self, DEFAULT_JOURNAL};
use crate::journal::Reader;
use crate::model::Name;
use crate::model::journal::EventQuery;
use crate::report;

use super::check::domain;
use super::{Problem, output, run};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only of this domain and the hosts that it publishes or did; default: of everything
    #[arg(value_name = "DOMAIN", value_parser = domain)]
    domain: Option<Name>,
    /// The config that the daemon runs with; default: the journal kmswatch.db of this folder
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = config::parse_duration)]
    since: Duration,
    /// How the events look
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, the latest first
    Human,
    /// A list of objects, the latest first
    Json,
}

pub(super) fn journal(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let reader = Reader::open(&path(arguments.config.as_deref())?);
    let reader = reader.map_err(|error| error.to_string())?;
    let domains = Vec::from_iter(arguments.domain.clone());
    let hosts = domains.iter().map(|domain| reader.hosts_of(domain)).collect::<Result<Vec<_>, _>>();
    let hosts = hosts.map_err(|error| error.to_string())?.concat();
    let query = EventQuery {
        domains,
        hosts,
        since: Some(since(Clock::start().now(), arguments.since)),
        kinds: Vec::new(),
        limit: MOST_EVENTS,
    };
    let events = reader.events(&query).map_err(|error| error.to_string())?;
    if events.len() == MOST_EVENTS {
        tracing::warn!(
            "only the latest {MOST_EVENTS} events are shown; name a domain, or a shorter --since"
        );
    }
    let text = match arguments.format {
        Format::Human => report::human_events(&events),
        Format::Json => report::json_text(&report::json_events(&events)),
    };
    output::write(text, None)?;
    Ok(ExitCode::SUCCESS)
}

/// A year of a large estate would not fit into memory.
const MOST_EVENTS: usize = 100_000;

fn path(config: Option<&Path>) -> Result<PathBuf, Problem> {
    let Some(file) = config else { return Ok(DEFAULT_JOURNAL.into()) };
    run::load(file)?.plan.journal.path.ok_or_else(|| {
        format!(
            "{}: this config keeps the journal in memory ([journal] path = \"\"), where only the \
             daemon has it; give it a path such as \"/var/lib/kmswatch/kmswatch.db\"",
            file.display()
        )
    })
}

fn since(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
    now.checked_sub(ago).unwrap_or(Timestamp::MIN)
}
