//! `kmswatch ack` and `unack`: a finding is known, or not any more; the daemon is told.

use std::process::ExitCode;

use axum::http::Method;
use serde_json::{Value, json};

use crate::model::moment::Moment;

use super::http::{Answer, Transport};
use super::{Problem, output};

#[derive(Debug, clap::Args)]
pub(super) struct AckArguments {
    /// The finding's id, as in /api/v1/findings
    id: String,
    /// Until when: 7d, 2026-12-01 (the whole day, UTC) or 2026-12-01T08:00:00+01:00; at most a year
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: String,
    /// Why
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    transport: Transport,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnackArguments {
    /// The finding's id
    id: String,
    #[command(flatten)]
    transport: Transport,
}

pub(super) fn ack(arguments: &AckArguments) -> Result<ExitCode, Problem> {
    let AckArguments { id, until, reason, transport } = arguments;
    let body = json!({ "until": until, "reason": reason }).to_string();
    let told = told(&transport.ask(Method::PUT, &path(id), body)?)?;
    let until = told["acknowledged_until"].as_str().unwrap_or(until);
    output::write(format!("{id} is acknowledged until {until}\n"), None)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn unack(arguments: &UnackArguments) -> Result<ExitCode, Problem> {
    let UnackArguments { id, transport } = arguments;
    told(&transport.ask(Method::DELETE, &path(id), String::new())?)?;
    output::write(format!("{id} is not acknowledged any more\n"), None)?;
    Ok(ExitCode::SUCCESS)
}

/// The daemon has the last word, by its clock; what is no time at all is told at once.
fn time(text: &str) -> Result<String, String> {
    Moment::parse(text).map(|_| text.to_owned()).map_err(|wrong| wrong.to_string())
}

fn path(id: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    // In a path a plus is a plus.
    format!("/api/v1/acks/{}", id.replace('+', "%20"))
}

/// What the daemon says, or why it refuses.
fn told(answer: &Answer) -> Result<Value, Problem> {
    let told: Option<Value> = serde_json::from_str(&answer.body).ok();
    if answer.status.is_success() {
        return Ok(told.unwrap_or_default());
    }
    let error = told.as_ref().and_then(|told| told["error"].as_str());
    Err(error.map_or_else(
        || format!("the daemon refuses: {}", answer.status),
        |error| format!("the daemon refuses: {error}"),
    ))
}
