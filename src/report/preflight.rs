//! A preflight as a document, as JSON, and in a sentence.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::checked;
use super::document::{Cell, Document, Item, Section, State, Table};
use super::human::hops::short_duration;
use super::human::percent;
use super::json::{seconds, shown};
use super::text::{counted, listed};
use crate::model::finding::{ClientError, FindingId};
use crate::model::preflight::{self, ProfileRun, Row, Step, StepId, StepState};
use crate::model::{Path, Preflight, Profile, Status};

/// One sentence: whose clients will find their KMS hosts, and what the others will show.
pub fn preflight_verdict(preflight: &Preflight) -> String {
    let of = |state| {
        let runs = preflight.runs.iter();
        let names = runs.filter(move |run| verdict_state(run) == state);
        names.map(|run| run.profile.name.to_string()).collect::<Vec<_>>()
    };
    let (failing, unknown) = (of(StepState::Failed), of(StepState::Unknown));
    let count = counted(preflight.runs.len(), "profile");
    let mut parts = Vec::new();
    if !failing.is_empty() {
        let failing = preflight.runs.iter().filter(|run| verdict_state(run) == StepState::Failed);
        let failing: Vec<String> = failing.map(failure).collect();
        parts.push(format!("clients of {}", listed(&failing, MOST_LISTED)));
    }
    if !unknown.is_empty() {
        let names = listed(&unknown, MOST_LISTED);
        parts.push(format!("whether those of {names} will succeed cannot be told"));
    }
    if parts.is_empty() {
        let warned = preflight.status() >= Status::Warning;
        let but = if warned { ", but something needs a look" } else { "" };
        return match preflight.runs.as_slice() {
            [only] => format!("Clients of {} will find their KMS host{but}.", only.profile.name),
            _ => format!("Clients of all {count} will find their KMS hosts{but}."),
        };
    }
    let said = parts.join("; ");
    if preflight.runs.len() == 1 {
        return sentence(&said);
    }
    let troubled = failing.len() + unknown.len();
    let have = if troubled == 1 { "has" } else { "have" };
    format!("{troubled} of {count} {have} trouble: {said}.")
}

/// Of a list in a sentence.
const MOST_LISTED: usize = 3;

/// The last line: what was done.
pub(super) fn closing(preflight: &Preflight) -> String {
    let steps = || preflight.runs.iter().flat_map(|run| &run.steps);
    let of = |wanted: &[StepState]| steps().filter(|step| wanted.contains(&step.state)).count();
    format!(
        "{}, {}: {} passed, {}, {} failed; {:.2} s",
        counted(preflight.runs.len(), "profile"),
        counted(steps().count(), "step"),
        of(&[StepState::Passed, StepState::Info]),
        counted(of(&[StepState::Warning, StepState::Unknown]), "warning"),
        of(&[StepState::Failed]),
        preflight.duration().as_secs_f64(),
    )
}

/// Who is played from where: `from 10.40.7.250%eth1, asking 10.0.0.53 and 10.0.0.54`.
pub fn played(profile: &Profile) -> String {
    let Path { source, interface, client_subnet } = &**profile.path();
    let source = source.map(|source| format!("from {source}"));
    let interface = interface.as_ref().map(|interface| format!("by {interface}"));
    let upstreams = profile.resolver.upstreams.iter();
    let servers: Vec<String> = upstreams.map(|upstream| upstream.server.to_string()).collect();
    let asking = format!("asking {}", listed(&servers, MOST_LISTED));
    let told = client_subnet.map(|subnet| format!("for {subnet} (EDNS Client Subnet)"));
    let place: Vec<String> = source.into_iter().chain(interface).collect();
    let asking: Vec<String> = std::iter::once(asking).chain(told).collect();
    let parts = [place.join(" "), asking.join(" ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What a cell says, below its column.
pub(super) fn cell_text(cell: &preflight::Cell) -> String {
    use preflight::Cell::{Share, Text, Time, Timed};
    match cell {
        Text(text) => text.clone(),
        Timed(word, None) => word.clone(),
        Timed(word, Some(took)) => format!("{word} {}", short_duration(*took)),
        Time(took) => took.map(short_duration).unwrap_or_default(),
        Share(share) => percent(*share).into_owned(),
    }
}

/// A preflight for JUnit, Markdown and HTML: a section and a suite for each profile.
pub fn preflight_document(preflight: &Preflight) -> Document {
    let mut sections: Vec<Section> = preflight.runs.iter().map(section).collect();
    let items = further(preflight);
    if !items.is_empty() {
        sections.push(Section { title: FURTHER.to_owned(), items, ..Section::default() });
    }
    Document {
        title: "kmswatch preflight".to_owned(),
        status: preflight.status(),
        verdict: preflight_verdict(preflight),
        closing: closing(preflight),
        started: preflight.started(),
        took: preflight.duration(),
        suites: Document::suites_of(&sections),
        sections,
    }
}

/// What no step tells.
pub(super) const FURTHER: &str = "Further findings";

/// Each as in the document of `check`; what does not count fails nothing.
fn further(preflight: &Preflight) -> Vec<Arc<Item>> {
    let further: HashMap<&FindingId, bool> =
        preflight.further().map(|further| (&further.finding.id, further.counts)).collect();
    let findings = &preflight.snapshot.findings;
    let items = checked::items(&preflight.snapshot).into_iter().zip(findings);
    let items = items.filter_map(|(item, finding)| {
        if *further.get(&finding.id)? {
            return Some(item);
        }
        let mut item = Arc::unwrap_or_clone(item);
        item.state = State::Skipped;
        item.details.push(sentence(NEVER_MET));
        Some(Arc::new(item))
    });
    items.collect()
}

/// Of a further finding that does not count.
pub(super) const NEVER_MET: &str = "these clients never come to it, so it does not count";

fn section(run: &ProfileRun) -> Section {
    Section {
        title: run.profile.name.to_string(),
        state: Some(run.status().into()),
        text: vec![capitalised(&format!("{}.", played(&run.profile)))],
        items: run.steps.iter().map(|step| Arc::new(item(step))).collect(),
        tables: Vec::new(),
    }
}

/// A step as an item: its rows are its evidence.
pub fn item(step: &Step) -> Item {
    let table = Table {
        caption: "What was seen".to_owned(),
        headers: step.id.columns().iter().map(|column| header(column)).collect(),
        rows: step.rows.iter().map(|row| cells(row, step.state)).collect(),
    };
    let evidence = if step.rows.is_empty() { Vec::new() } else { vec![table] };
    // What is accepted fails nothing.
    let state = step.accepted.map_or(step.state.into(), State::from);
    Item {
        client_error: step.client_error,
        evidence,
        remedy: step.remedy.clone(),
        took: Some(step.took),
        ..Item::new(step.id.as_str(), step.id.title(), state, sentence(&step.message))
    }
}

fn header(column: &str) -> String {
    match column {
        "udp" | "tcp" => column.to_uppercase(),
        column => capitalised(&column.replace('_', " ")),
    }
}

/// The first carries the row's state, where that is not the step's.
fn cells(row: &Row, of_step: StepState) -> Vec<Cell> {
    let mut cells: Vec<Cell> = row.cells.iter().map(|cell| cell_text(cell).into()).collect();
    if let Some(first) =
        cells.first_mut().filter(|_| row.state != of_step || row.state != StepState::Passed)
    {
        first.state = Some(row.state.into());
    }
    cells
}

/// What cannot be told must stop a pipeline: it counts as a warning, as in the exit code.
impl From<StepState> for State {
    fn from(state: StepState) -> Self {
        match state {
            StepState::Passed => Self::Passed,
            StepState::Skipped => Self::Skipped,
            StepState::Info => Self::Info,
            StepState::Warning | StepState::Unknown => Self::Warning,
            StepState::Failed => Self::Critical,
        }
    }
}

fn verdict_state(run: &ProfileRun) -> StepState {
    run.verdict().map_or(StepState::Unknown, |step| step.state)
}

/// `berlin-lab will fail with 0xC004F074`.
fn failure(run: &ProfileRun) -> String {
    let code = run.verdict().and_then(|step| step.client_error);
    let code = code.map_or(String::new(), |code| format!(" with {code}"));
    format!("{} will fail{code}", run.profile.name)
}

/// A step's message begins as it may stand in a line.
fn sentence(message: &str) -> String {
    format!("{}.", capitalised(message))
}

/// But for what begins with a name or an address, which stays as it is.
fn capitalised(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if word.chars().all(|letter| letter.is_ascii_lowercase()) => {
            format!("{}{}", first.to_ascii_uppercase(), rest.as_str())
        }
        _ => text.to_owned(),
    }
}

/// A profile's steps, as JSON has them.
#[derive(Serialize)]
pub(super) struct RunJson<'a> {
    profile: &'a str,
    status: Status,
    #[serde(serialize_with = "shown")]
    path: &'a Path,
    subnet: Option<String>,
    client_subnet: Option<String>,
    verdict: StepState,
    client_error: Option<ClientError>,
    steps: Vec<StepJson<'a>>,
}

impl<'a> From<&'a ProfileRun> for RunJson<'a> {
    fn from(run: &'a ProfileRun) -> Self {
        Self {
            profile: &run.profile.name,
            status: run.status(),
            path: run.profile.path(),
            subnet: run.profile.subnet.map(|subnet| subnet.to_string()),
            client_subnet: run.profile.path().client_subnet.map(|subnet| subnet.to_string()),
            verdict: verdict_state(run),
            client_error: run.verdict().and_then(|step| step.client_error),
            steps: run.steps.iter().map(StepJson::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct StepJson<'a> {
    id: StepId,
    title: &'static str,
    state: StepState,
    message: &'a str,
    evidence: Vec<RowJson<'a>>,
    client_error: Option<ClientError>,
    remedy: &'a str,
    duration_seconds: f64,
}

impl<'a> From<&'a Step> for StepJson<'a> {
    fn from(step: &'a Step) -> Self {
        Self {
            id: step.id,
            title: step.id.title(),
            state: step.state,
            message: &step.message,
            evidence: step.rows.iter().map(|row| RowJson { id: step.id, row }).collect(),
            client_error: step.client_error,
            remedy: &step.remedy,
            duration_seconds: seconds(step.took),
        }
    }
}

/// An object: the state, and each column under its name; a time under its name and `_seconds`.
struct RowJson<'a> {
    id: StepId,
    row: &'a Row,
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use preflight::Cell::{Share, Text, Time, Timed};
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", &self.row.state)?;
        for (column, cell) in self.id.columns().iter().zip(&self.row.cells) {
            match cell {
                Text(text) | Timed(text, _) => map.serialize_entry(column, text)?,
                Share(share) => map.serialize_entry(column, share)?,
                Time(_) => {}
            }
            if let Time(took) | Timed(_, took) = cell {
                map.serialize_entry(&format!("{column}_seconds"), &took.map(seconds))?;
            }
        }
        map.end()
    }
}
