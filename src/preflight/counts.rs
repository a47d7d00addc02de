//! How many machines come to each host, against what it must count before it activates any.

use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Check, Finding, Subject};

use super::Scene;
use super::words::{MOST, listed};

/// Kinds as the findings name them, in words, and what a host must count (Microsoft's documentation).
const KINDS: [(&str, &str, u32); 3] = [
    ("clients", "Windows clients", 25),
    ("servers", "servers", 5),
    ("office", "machines with Office", 5),
];

/// `None` where machines of profiles that are not observed yet may still make it enough.
pub(super) fn step(scene: &Scene, view: &ProfileView) -> Option<Step> {
    let is_few = findings(scene).next().is_some();
    (scene.is_complete || !is_few).then(|| judged(scene, view))
}

fn judged(scene: &Scene, view: &ProfileView) -> Step {
    let machines = view.profile.machines;
    let declared = [machines.clients, machines.servers, machines.office];
    let rows: Vec<Row> = KINDS
        .into_iter()
        .zip(declared)
        .filter_map(|((key, words, needed), count)| Some(row(scene, key, words, needed, count?)))
        .collect();
    if rows.is_empty() {
        let says = "how many machines will live there is not declared";
        return Step::new(StepId::Counts, StepState::Skipped, says);
    }
    if view.choices().is_empty() {
        let says = "there is no host to come to";
        return Step::new(StepId::Counts, StepState::Skipped, says);
    }
    let short: Vec<String> =
        rows.iter().filter(|row| row.state == StepState::Info).map(words_of).collect();
    let (state, message) = if short.is_empty() {
        (StepState::Passed, "each host gets enough of what is declared".to_owned())
    } else {
        let few = listed(&short, MOST);
        let says = format!("too few {few} come to some host: it then activates none of them");
        (StepState::Info, says)
    };
    let finding = findings(scene).next();
    Step {
        rows,
        client_error: finding.and_then(|finding| finding.client_error),
        remedy: finding.map(|finding| finding.remedy.clone()).unwrap_or_default(),
        tells: &[Check::ProfileBelowThreshold],
        ..Step::new(StepId::Counts, state, message)
    }
}

fn findings<'a>(scene: &Scene<'a>) -> impl Iterator<Item = &'a Finding> {
    let subject = Subject::Profile(scene.profile.name.clone());
    let all = scene.snapshot.findings.iter().map(|finding| &**finding);
    all.filter(move |finding| {
        finding.check == Check::ProfileBelowThreshold && finding.subject == subject
    })
}

fn row(scene: &Scene, key: &str, words: &str, needed: u32, count: u32) -> Row {
    let finding = findings(scene)
        .find(|finding| finding.evidence.get("kind").is_some_and(|kind| kind == key));
    let expected = finding.and_then(|finding| finding.evidence.get("expected")?.as_object());
    let gets =
        expected.into_iter().flatten().map(|(host, gets)| format!("{host} gets about {gets}"));
    Row {
        state: if finding.is_some() { StepState::Info } else { StepState::Passed },
        cells: vec![
            Cell::Text(words.to_owned()),
            Cell::Text(count.to_string()),
            Cell::Text(format!("a host needs {needed}")),
            Cell::Text(listed(&gets.collect::<Vec<_>>(), MOST)),
        ],
    }
}

fn words_of(row: &Row) -> String {
    match row.cells.first() {
        Some(Cell::Text(words)) => words.clone(),
        _ => String::new(),
    }
}
