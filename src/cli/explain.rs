//! `kmswatch explain`: what a check or a code means, and what to do.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::audit::texts;
use crate::client::codes::{self, codes};
use crate::config;
use crate::model::Check;

use super::{Problem, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A check such as srv-missing, or a code such as 0x8007232B; none: a list of all
    #[arg(value_name = "CHECK | CODE")]
    topic: Option<String>,
}

pub(super) fn explain(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let text = match &arguments.topic {
        None => list(),
        Some(topic) => explanation(topic).ok_or_else(|| unknown(topic))?,
    };
    output::write(&text, None)?;
    Ok(ExitCode::SUCCESS)
}

fn explanation(topic: &str) -> Option<String> {
    if let Some(check) = Check::parse(&topic.to_ascii_lowercase()) {
        return Some(texts::page_for_terminal(check));
    }
    let code = codes::parse_code(topic)?;
    let known = codes().iter().find(|known| known.code == code)?;
    Some(format!("# {}\n", known.section))
}

/// Everything that can be explained, a line each.
fn list() -> String {
    let mut text = "Checks:\n".to_owned();
    for check in Check::ALL {
        let summary = texts::summary(*check).unwrap_or("(not in this version)");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {check:<width$}  {summary}", width = longest_id());
    }
    text.push_str("\nCodes that Windows and Office show:\n");
    for known in codes() {
        let _ = writeln!(text, "  {}  {}", known.code, known.title);
    }
    text
}

fn longest_id() -> usize {
    Check::ALL.iter().map(|check| check.as_str().len()).max().unwrap_or_default()
}

fn unknown(topic: &str) -> Problem {
    let shown: String = topic.chars().take(MOST_SHOWN).collect();
    // Codes are written with and without 0x, and are compared by their digits.
    let code = |known: &codes::Code| known.code.to_string().to_lowercase();
    let topics: Vec<String> =
        Check::ALL.iter().map(ToString::to_string).chain(codes().iter().map(code)).collect();
    let word = if codes::parse_code(topic).is_some() && !topic.starts_with("0x") {
        format!("0x{topic}")
    } else {
        shown.clone()
    };
    let nearest = config::nearest(&word, topics.iter().map(String::as_str));
    let nearest = nearest.map_or("", |(_, nearest)| nearest);
    let nearest = codes::parse_code(nearest).map_or(nearest.to_owned(), |code| code.to_string());
    format!(
        "error: {shown:?} is no check and no code that is known here; did you mean {nearest}? \
         `kmswatch explain` lists all"
    )
}

/// Of what was asked for, in an answer.
const MOST_SHOWN: usize = 80;
