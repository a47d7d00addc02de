//! What comes of it: the code that Windows will show, and what mends it.

use std::collections::BTreeMap;

use crate::model::discovery::{End, Failure, Reason, Verdict};
use crate::model::preflight::{Step, StepId, StepState};
use crate::model::snapshot::ProfileView;
use crate::model::{Check, Discovery, Host, Product, Subject};

use super::Scene;
use super::connect::endpoints;
use super::words::{MOST, listed, named, short};

pub(super) fn step(scene: &Scene, view: &ProfileView) -> Step {
    let remedy = view.discoveries().find_map(|discovery| remedy(scene, discovery));
    Step {
        remedy: remedy.map(|remedy| with_clients(scene, remedy)).unwrap_or_default(),
        ..of(view)
    }
}

/// What comes of it, without what mends it.
pub(super) fn of(view: &ProfileView) -> Step {
    let state = match view.is_served() {
        Some(true) => StepState::Passed,
        Some(false) => StepState::Failed,
        None => StepState::Unknown,
    };
    Step {
        client_error: view.client_error(),
        tells: &[
            Check::ProfileNoSuffix,
            Check::ProfileNoKms,
            Check::ProfileShadowed,
            Check::ProfilePinned,
        ],
        ..Step::new(StepId::Verdict, state, parts(view).join("; "))
    }
}

/// Where neither subnet nor source are declared, this machine knows from where it asks.
fn with_clients(scene: &Scene, remedy: String) -> String {
    let Some(source) = scene.seat.source else { return remedy };
    let family = if source.is_ipv4() { "ip" } else { "ip6" };
    remedy.replace(&format!(" {family} saddr <clients>"), &format!(" {family} saddr {source}"))
}

/// Nothing could be asked.
pub(super) fn of_nothing() -> Step {
    Step::new(StepId::Verdict, StepState::Unknown, "nothing can be told of these clients from here")
}

/// What mends a failure: where hosts that a search leads to answer these clients with something else,
/// what mends the first; else what the finding about the profile has.
fn remedy(scene: &Scene, discovery: &Discovery) -> Option<String> {
    let failure = discovery.failure()?;
    let own = Subject::Profile(scene.profile.name.clone());
    let of_host = discovery
        .hosts
        .first()
        .map(|choice| &choice.host)
        .filter(|_| failure.reason == Reason::HostsDown && discovery.hidden.is_none())
        .filter(|_| !discovery.hosts.iter().any(|choice| is_lost(scene, &choice.host)))
        .map(|host| Subject::Host(host.clone()));
    let findings = of_host.iter().chain([&own]).flat_map(|subject| {
        scene.snapshot.findings.iter().filter(move |finding| finding.subject == *subject)
    });
    // One about a fixed host for Office says nothing of Windows, and the other way round.
    let is_of = |check| (check == Check::ProfilePinned) == (discovery.end == End::Fixed);
    let grave = findings.filter(|finding| finding.client_error.is_some());
    let fitting = grave.filter(|finding| finding.subject != own || is_of(finding.check));
    let mut remedies = fitting.map(|finding| finding.remedy.clone());
    remedies.find(|remedy| !remedy.is_empty())
}

/// Whether a connection to the host did not get an answer of its own: then the way is mended first.
fn is_lost(scene: &Scene, host: &Host) -> bool {
    let mut probes = endpoints(scene.snapshot, scene.profile.path(), host)
        .filter_map(|endpoint| endpoint.probe.as_ref());
    probes.any(|probe| probe.is_lost_on_the_way())
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
