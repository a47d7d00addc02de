//! Each suffix in the client's order, with what it says on each server.

use std::collections::BTreeSet;

use crate::model::discovery::{Effect, End, Reason};
use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::snapshot::{AnswerView, ProfileView};
use crate::model::{Answer, Check, Discovery, LookupOutcome, Name, PlannedDomain};

use super::Scene;
use super::words::{MOST, counted, listed, short};

pub(super) fn step(scene: &Scene, view: &ProfileView) -> Option<Step> {
    let servers = scene.profile.resolver.upstreams.len();
    let is_told = |domain: &PlannedDomain| answers(view, domain).len() >= servers;
    let is_asked = view.discoveries().any(|discovery| discovery.end != End::Fixed);
    let is_complete = !is_asked || scene.profile.search.iter().all(|domain| is_told(domain));
    is_complete.then(|| of(view))
}

/// The same of what was seen so far.
pub(super) fn of(view: &ProfileView) -> Step {
    let Some(search) = view.discoveries().find(|discovery| discovery.end != End::Fixed) else {
        let says = "not asked: a fixed host switches discovery off";
        return Step::new(StepId::Suffixes, StepState::Skipped, says);
    };
    let told: Vec<(&PlannedDomain, Vec<&AnswerView>)> =
        view.profile.search.iter().map(|domain| (&**domain, answers(view, domain))).collect();
    let differing = |(_, answers): &&(&PlannedDomain, Vec<&AnswerView>)| differ(answers);
    let divided: Vec<String> =
        told.iter().filter(differing).map(|(domain, _)| domain.name.to_string()).collect();
    let partial = |(_, answers): &&(&PlannedDomain, Vec<&AnswerView>)| is_partial(answers);
    let partial: Vec<String> =
        told.iter().filter(partial).map(|(domain, _)| domain.name.to_string()).collect();
    let ending = ending(search);
    let is_split = !divided.is_empty() || !partial.is_empty();
    let state = match ending.0 {
        StepState::Passed if is_split || has_failed(search) => StepState::Warning,
        state => state,
    };
    let told_of = |what: &str, domains: &[String]| match domains {
        [] => String::new(),
        domains => format!("; {what} {}", listed(domains, MOST)),
    };
    let message = [
        ending.1,
        told_of("servers differ about", &divided),
        told_of("not every server answers for", &partial),
    ]
    .concat();
    let rows = told.iter().flat_map(|(domain, answers)| rows(search, &domain.name, answers));
    Step {
        rows: rows.collect(),
        client_error: search
            .failure()
            .filter(|_| state == StepState::Failed)
            .and_then(|failure| failure.error),
        tells: &[
            Check::SrvMissing,
            Check::SrvEmpty,
            Check::SrvDeclined,
            Check::DnsFailure,
            Check::ServerDivergence,
        ],
        ..Step::new(StepId::Suffixes, state, message)
    }
}

fn answers<'v>(view: &'v ProfileView, domain: &PlannedDomain) -> Vec<&'v AnswerView> {
    let of_domain = view.answers.iter().filter(|(asked, _)| asked.name == domain.name);
    of_domain.map(|(_, answer)| answer).collect()
}

/// What counts of an answer: TTL and order do not.
type Said<'a> = (LookupOutcome, BTreeSet<(&'a Name, u16, u16, u16)>);

fn said(answer: &Answer) -> Said<'_> {
    let records = answer
        .records
        .iter()
        .map(|record| (&record.target, record.port, record.priority, record.weight));
    (answer.outcome, records.collect())
}

/// Whether servers contradict each other; one that fails says nothing.
fn differ(answers: &[&AnswerView]) -> bool {
    let usable = |answer: &&&AnswerView| answer.answer.outcome.is_usable();
    let mut said = answers.iter().filter(usable).map(|answer| said(&answer.answer));
    said.next().is_some_and(|first| said.any(|other| other != first))
}

/// Whether some servers answer and some fail.
fn is_partial(answers: &[&AnswerView]) -> bool {
    let mut usable = answers.iter().map(|answer| answer.answer.outcome.is_usable());
    usable.next().is_some_and(|first| usable.any(|other| other != first))
}

/// Whether a lookup before the end failed: clients wait for it, and its domain is not known.
fn has_failed(search: &Discovery) -> bool {
    search.steps.iter().any(|step| {
        step.effect == Effect::GoesOn && step.outcome.is_some_and(|outcome| !outcome.is_usable())
    })
}

/// How the search ends, and in words.
fn ending(search: &Discovery) -> (StepState, String) {
    match &search.end {
        End::Answered(domain) => {
            let hosts = counted(search.hosts.len(), "host");
            (StepState::Passed, format!("{domain} names {hosts}, and the search ends there"))
        }
        End::Declined(domain) => {
            (StepState::Failed, format!("{domain} declares that it has no KMS host"))
        }
        End::NoSuffix => {
            let says = "there is no suffix, so these clients send no query".to_owned();
            (StepState::Failed, says)
        }
        End::Exhausted => match (search.steps.as_slice(), unheard(search)) {
            // Unknown is not absent.
            ([_], Some((domain, outcome))) => (
                StepState::Failed,
                format!(
                    "whether {domain} has a KMS record is not known: the lookup fails ({outcome})"
                ),
            ),
            (steps, Some((domain, outcome))) => (
                StepState::Failed,
                format!(
                    "none of {} suffixes is known to have a KMS record: the lookup in {domain} fails ({outcome})",
                    steps.len()
                ),
            ),
            ([only], None) => (StepState::Failed, format!("{} has no KMS record", only.domain)),
            (steps, None) => {
                (StepState::Failed, format!("none of {} suffixes has a KMS record", steps.len()))
            }
        },
        End::Unknown(domain) => (StepState::Unknown, format!("what {domain} says is not known")),
        End::Fixed => (StepState::Skipped, String::new()),
    }
}

/// The lookup that fails, where that is why the search does.
fn unheard(search: &Discovery) -> Option<(&Name, LookupOutcome)> {
    let failure = search.failure()?;
    match failure.reason {
        Reason::LookupFailed(outcome) => Some((failure.domain.as_ref()?, outcome)),
        _ => None,
    }
}

/// One row where all servers say the same, else one for each.
fn rows(search: &Discovery, domain: &Name, answers: &[&AnswerView]) -> Vec<Row> {
    let step = search.steps.iter().find(|step| step.domain == *domain);
    let then = step.map_or("", |step| effect(step.effect));
    let state = |answer: &Answer| match (differ(answers), answer.outcome.is_usable()) {
        (true, _) | (_, false) => StepState::Warning,
        (false, true) => StepState::Passed,
    };
    let then = |answer: &Answer| match then {
        NOT_REACHED => NOT_REACHED,
        _ if is_partial(answers) && !answer.outcome.is_usable() => "another server is heard",
        then => then,
    };
    let row = |server: String, view: &AnswerView| Row {
        state: match then(&view.answer) {
            NOT_REACHED => StepState::Skipped,
            _ => state(&view.answer),
        },
        cells: [domain.to_string(), server, shown(&view.answer), then(&view.answer).to_owned()]
            .map(Cell::Text)
            .into(),
    };
    match answers {
        [] => Vec::new(),
        [first, rest @ ..]
            if rest.iter().all(|other| said(&other.answer) == said(&first.answer)) =>
        {
            vec![row(String::new(), first)]
        }
        all => all.iter().map(|view| row(view.upstream.server.to_string(), view)).collect(),
    }
}

const NOT_REACHED: &str = "is not reached";

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::GoesOn => "goes on",
        Effect::Ends => "ends the search",
        Effect::Unknown => "is not known",
        Effect::NotReached => NOT_REACHED,
    }
}

fn shown(answer: &Answer) -> String {
    match answer.outcome {
        LookupOutcome::Records => {
            let mut records: Vec<_> = answer.records.iter().collect();
            // As clients prefer them.
            records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
            let shown = records.into_iter().map(|record| {
                format!("{} {} {}", short(&record.host()), record.priority, record.weight)
            });
            listed(&shown.collect::<Vec<_>>(), MOST)
        }
        outcome => match &answer.detail {
            Some(detail) => format!("{outcome}: {detail}"),
            None => outcome.to_string(),
        },
    }
}
