//! What comes of it: the code that Windows will show, and what mends it.

use std::collections::BTreeMap;

use crate::model::discovery::{End, Failure, Reason, Verdict};
use crate::model::preflight::{Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Check, Discovery, Product, Subject};

use super::Scene;
use super::words::{MOST, listed, named, short};

pub(super) fn step(scene: &Scene, view: &ProfileView) -> Step {
    let parts = parts(view);
    let state = match view.is_served() {
        Some(true) => StepState::Passed,
        Some(false) => StepState::Failed,
        None => StepState::Unknown,
    };
    let remedy = view.discoveries().find_map(|discovery| remedy(scene, discovery));
    Step {
        client_error: view.client_error(),
        remedy: remedy.unwrap_or_default(),
        tells: &[
            Check::ProfileNoSuffix,
            Check::ProfileNoKms,
            Check::ProfileShadowed,
            Check::ProfilePinned,
        ],
        ..Step::new(StepId::Verdict, state, parts.join("; "))
    }
}

/// Nothing could be asked.
pub(super) fn of_nothing() -> Step {
    Step::new(StepId::Verdict, StepState::Unknown, "nothing can be told of these clients from here")
}

/// What mends a failure: where hosts that a search leads to are dead, what mends the first; else what
/// the finding about the profile has.
fn remedy(scene: &Scene, discovery: &Discovery) -> Option<String> {
    let failure = discovery.failure()?;
    let first = discovery.hosts.first().map(|choice| Subject::Host(choice.host.clone()));
    let of_host =
        first.filter(|_| failure.reason == Reason::HostsDown && discovery.hidden.is_none());
    let own = Subject::Profile(scene.profile.name.clone());
    let findings = of_host.iter().chain([&own]).flat_map(|subject| {
        scene.snapshot.findings.iter().filter(move |finding| finding.subject == *subject)
    });
    let grave = findings.filter(|finding| finding.client_error.is_some());
    let mut remedies = grave.map(|finding| finding.remedy.clone());
    remedies.find(|remedy| !remedy.is_empty())
}

/// What comes of Windows and Office, together where it is the same.
fn parts(view: &ProfileView) -> Vec<String> {
    let mut parts: BTreeMap<(usize, String), Vec<Product>> = BTreeMap::new();
    let said = view.discoveries().map(outcome);
    let said: Vec<String> = said.collect();
    for (discovery, words) in view.discoveries().zip(&said) {
        let first = said.iter().position(|other| other == words).unwrap_or_default();
        parts.entry((first, words.clone())).or_default().push(discovery.product);
    }
    parts
        .into_iter()
        .map(|((_, words), products)| format!("{} {words}", named(&products)))
        .collect()
}

/// Follows `Windows and Office`; "will" suits one as well as both.
fn outcome(discovery: &Discovery) -> String {
    match &discovery.verdict {
        Verdict::Served => {
            let up = discovery.hosts.iter().filter(|choice| choice.status.is_up());
            let hosts: Vec<String> = up.map(|choice| short(&choice.host)).collect();
            let through = match &discovery.end {
                End::Answered(domain) => format!(" through {domain}"),
                End::Fixed => ", which is preset".to_owned(),
                _ => String::new(),
            };
            format!("will find {}{through}", listed(&hosts, MOST))
        }
        Verdict::Unknown => "may or may not find a host: that cannot be told from here".to_owned(),
        Verdict::Fails(failure) => fails(discovery, failure),
    }
}

fn fails(discovery: &Discovery, failure: &Failure) -> String {
    let shows = match failure.error {
        Some(code) => format!("will fail with {code}"),
        None => "will fail".to_owned(),
    };
    let of = match &failure.domain {
        Some(domain) => format!(" ({domain})"),
        None => String::new(),
    };
    let hidden = match &discovery.hidden {
        Some((domain, host)) => {
            format!("; {} in {domain} is up, but is never asked for", short(host))
        }
        None => String::new(),
    };
    format!("{shows}: {}{of}{hidden}", failure.reason)
}
