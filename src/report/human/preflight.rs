//! A preflight as a person reads it, while it goes on: the head of each profile, each step when it is
//! known, and the end.

use super::super::document::State;
use super::super::preflight::{FURTHER, NEVER_MET, cell_text, closing, played, preflight_verdict};
use super::super::text::{aligned, clean, wrapped};
use super::finding::{WHAT_TO_DO, windows_shows};
use super::hops::short_duration;
use super::{Ink, MIN_WIDTH, Style, paint};
use crate::model::preflight::{Cell, Further, Row, Step, StepId, StepState};
use crate::model::{Preflight, Profile, Severity};

/// What stands above the steps of a profile.
pub fn preflight_head(profile: &Profile, style: &Style) -> String {
    let mut out = String::new();
    paint(&mut out, *style, Ink::Strong, &clean(&profile.name));
    out.extend(["  ", &*clean(&played(profile)), "\n"]);
    out
}

/// One step: its mark, its name and its sentence; below it what that sums up, where there is more to it.
pub fn preflight_step(step: &Step, style: &Style) -> String {
    let mut out = String::new();
    let ink = ink(step.state);
    paint(&mut out, *style, ink, mark(step.state));
    out.push(' ');
    let name = format!("{:<NAME$}", step.id.as_str());
    let is_verdict = step.id == StepId::Verdict;
    paint(&mut out, *style, if is_verdict { ink } else { Ink::Faint }, &name);
    let width = style.width.max(MIN_WIDTH) - INDENT;
    let message = format!("{}{}", step.message, beside(step));
    for (at, line) in wrapped(&clean(&message), width).iter().enumerate() {
        out.push_str(if at == 0 { "  " } else { MARGIN });
        paint(&mut out, *style, if is_verdict { ink } else { Ink::Plain }, line);
        out.push('\n');
    }
    for line in rows(step) {
        out.extend([MARGIN, &*clean(&line), "\n"]);
    }
    remedy(&mut out, step);
    if is_verdict {
        out.push('\n');
    }
    out
}

/// What no step tells, the verdict over all profiles, and the counts.
pub fn preflight_end(preflight: &Preflight, style: &Style) -> String {
    let mut out = String::new();
    let least = if style.verbose { Severity::Info } else { Severity::Warning };
    let further = preflight.further().filter(|further| further.finding.severity >= least);
    for (at, Further { finding, counts }) in further.enumerate() {
        if at == 0 {
            out.extend([FURTHER, ":\n"]);
        }
        let (ink, state) = match counts {
            true => (Ink::of(finding.severity.into()), finding.severity.into()),
            false => (Ink::Faint, State::Skipped),
        };
        paint(&mut out, *style, ink, state.mark());
        let but = if counts { String::new() } else { format!("; {NEVER_MET}") };
        let text = format!("{}: {}{but}", finding.check, finding.message);
        for (at, line) in wrapped(&clean(&text), style.width.max(MIN_WIDTH) - 2).iter().enumerate()
        {
            out.extend([if at == 0 { " " } else { "  " }, line, "\n"]);
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    for line in wrapped(&preflight_verdict(preflight), style.width.max(MIN_WIDTH)) {
        paint(&mut out, *style, Ink::of(preflight.status()), &line);
        out.push('\n');
    }
    out.push_str(&closing(preflight));
    out.push('\n');
    out
}

/// The longest name of a step.
const NAME: usize = 8;
/// Of what stands beside the names.
const INDENT: usize = NAME + 4;
const MARGIN: &str = "            ";

/// The times of the only row of a step that passed, which has no more to say.
fn beside(step: &Step) -> String {
    let ([row], StepState::Passed, StepId::Servers) = (step.rows.as_slice(), step.state, step.id)
    else {
        return String::new();
    };
    let columns = step.id.columns().iter().zip(&row.cells);
    let measured: Vec<String> = columns
        .filter(|(_, cell)| matches!(cell, Cell::Time(Some(_)) | Cell::Timed(_, Some(_))))
        .map(|(column, cell)| labelled(step.id, column, cell))
        .collect();
    if measured.is_empty() { String::new() } else { format!(": {}", measured.join(", ")) }
}

/// The step's rows, where they say more than its sentence.
fn rows(step: &Step) -> Vec<String> {
    let is_told = step.rows.len() == 1 && step.state == StepState::Passed;
    if is_told && matches!(step.id, StepId::Servers | StepId::Counts) {
        return Vec::new();
    }
    // Where all passed, none needs a mark; where all is the same, a column says nothing.
    let is_marked = step.rows.iter().any(|row| row.state != StepState::Passed);
    let is_plain = |at: usize| match step.id.columns()[at] {
        "product" => step.rows.iter().all(|row| row.cells[at] == step.rows[0].cells[at]),
        "live_share" => step.rows.iter().all(|row| row.cells[at] == row.cells[at - 1]),
        _ => false,
    };
    let line = |row: &Row| -> Vec<String> {
        let mark = if is_marked { mark(row.state) } else { "" };
        let columns = step.id.columns().iter().zip(&row.cells).enumerate();
        let cells = columns.map(|(at, (column, cell))| match is_plain(at) {
            true => String::new(),
            false => labelled(step.id, column, cell),
        });
        std::iter::once(mark.to_owned()).chain(cells).collect()
    };
    aligned(&step.rows.iter().map(line).collect::<Vec<_>>())
}

/// A cell that says by itself what it is, as there is no head above it.
fn labelled(step: StepId, column: &str, cell: &Cell) -> String {
    let text = cell_text(cell);
    match (step, column, cell) {
        _ if text.is_empty() => text,
        (StepId::Shares, "live_share", _) => format!("now {text}"),
        (StepId::Shares, "if_it_fails", _) => format!("if it fails: {text}"),
        (_, column, Cell::Timed(_, Some(took))) => {
            format!("{} {}", column.to_uppercase(), short_duration(*took))
        }
        (_, column, Cell::Timed(..)) => format!("{} {text}", column.to_uppercase()),
        (_, column, Cell::Time(_)) => format!("{column} {text}"),
        _ => text,
    }
}

/// Line by line as written: a wrapped command is a broken one.
fn remedy(out: &mut String, step: &Step) {
    // What clients show stands in the verdict's sentence.
    if let Some(code) = step.client_error.filter(|_| step.id == StepId::Suffixes) {
        out.extend([MARGIN, &windows_shows(code), "\n"]);
    }
    if step.id != StepId::Verdict || step.remedy.trim().is_empty() {
        return;
    }
    out.extend([MARGIN, WHAT_TO_DO, "\n"]);
    for line in step.remedy.lines() {
        let line = clean(line);
        let line = if line.is_empty() { String::new() } else { format!("{MARGIN}  {line}") };
        out.push_str(&line);
        out.push('\n');
    }
}

fn mark(state: StepState) -> &'static str {
    match state {
        StepState::Unknown => State::Unknown.mark(),
        state => State::from(state).mark(),
    }
}

fn ink(state: StepState) -> Ink {
    match state {
        StepState::Skipped => Ink::Faint,
        state => Ink::of(state.status()),
    }
}
