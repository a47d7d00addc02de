//! The first sentence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::text::{clean, counted, listed};
use super::profiles::shows;
use super::{MOST_LISTED, texts};
use crate::model::finding::{ClientError, FindingId};
use crate::model::{Finding, Name, Severity, Snapshot, Status, Subject};

/// How many domains have trouble, and what clients in them would show; then the same of the profiles,
/// where there are some.
pub fn verdict(snapshot: &Snapshot) -> String {
    let profiles = profiles(snapshot);
    match (snapshot.domains.is_empty(), profiles) {
        (true, Some(profiles)) => profiles,
        (false, Some(profiles)) => format!("{} {profiles}", domains(snapshot)),
        (_, None) => domains(snapshot),
    }
}

/// Which profiles fail, and with what; `None` where there are none.
pub fn profiles(snapshot: &Snapshot) -> Option<String> {
    let total = snapshot.profiles.len();
    let entries = || snapshot.profiles.iter();
    let failing: Vec<String> = entries()
        .filter(|entry| entry.view.is_served() == Some(false))
        .map(|entry| format!("{} with {}", clean(&entry.view.profile.name), shows(entry)))
        .collect();
    let unknown = entries().filter(|entry| entry.view.is_served().is_none()).count();
    let of = counted(total, "profile");
    Some(match (failing.len(), unknown, total) {
        (_, _, 0) => return None,
        (0, 0, 1) => "The profile finds a KMS host.".to_owned(),
        (0, 0, _) => format!("All {of} find a KMS host."),
        (0, unknown, _) => format!("Of {unknown} of {of} it cannot be told."),
        (1, ..) => format!("1 of {of} fails: {}.", listed(&failing, MOST_LISTED)),
        (some, ..) => format!("{some} of {of} fail: {}.", listed(&failing, MOST_LISTED)),
    })
}

fn domains(snapshot: &Snapshot) -> String {
    let total = snapshot.domains.len();
    let troubled = snapshot.domains.iter().filter(|entry| entry.status >= Status::Warning).count();
    if troubled == 0 {
        return untroubled(snapshot);
    }
    let have = if troubled == 1 { "has" } else { "have" };
    let of = format!("{troubled} of {} {have} trouble", counted(total, "domain"));
    let failures = failures(snapshot);
    if failures.is_empty() {
        // The next sentence tells which profiles fail.
        let fails = snapshot.profiles.iter().any(|entry| entry.view.is_served() == Some(false));
        let yet = if fails { "" } else { "; no client is predicted to fail yet" };
        return format!("{of}{yet}.");
    }
    let clauses: Vec<String> = failures
        .iter()
        .take(MOST_LISTED)
        .enumerate()
        .map(|(at, (code, domains))| {
            let in_domains = listed(&texts(domains), MOST_LISTED);
            let verb = if at == 0 { "would fail " } else { "" };
            format!("in {in_domains} {verb}with {code}")
        })
        .collect();
    format!("{of}: clients {}.", clauses.join(", "))
}

fn untroubled(snapshot: &Snapshot) -> String {
    let elsewhere = snapshot
        .findings
        .iter()
        .filter(|finding| finding.is_active() && finding.severity >= Severity::Warning)
        .count();
    let known = snapshot.findings.iter().filter(|finding| finding.is_known()).count();
    match (elsewhere, snapshot.domains.as_slice()) {
        (0, _) if known > 0 => format!(
            "No trouble that is not known: {} acknowledged or in maintenance.",
            counted(known, "finding")
        ),
        (0, [only]) => format!("{} is well.", only.view.domain.name),
        (0, all) => format!("All {} are well.", counted(all.len(), "domain")),
        (1, _) => "No domain is hit, but 1 finding needs a look.".to_owned(),
        (some, _) => format!("No domain is hit, but {some} findings need a look."),
    }
}

/// What clients show, the worst finding's code first, and in which domains.
fn failures(snapshot: &Snapshot) -> Vec<(ClientError, Vec<Name>)> {
    let mut order: Vec<ClientError> = Vec::new();
    let mut domains: BTreeMap<ClientError, BTreeSet<&Name>> = BTreeMap::new();
    let known = snapshot.findings.iter().filter(|finding| finding.is_known());
    let known: HashSet<&FindingId> = known.map(|finding| &finding.id).collect();
    // A greater cause explains a failure, it does not undo it; an info predicts none. What clients of a
    // profile show is told of the profiles.
    let counts = |finding: &Finding| {
        !known.contains(finding.suppressed_by.as_ref().unwrap_or(&finding.id))
            && finding.severity >= Severity::Warning
            && !matches!(finding.subject, Subject::Profile(_))
    };
    for finding in snapshot.findings.iter().filter(|finding| counts(finding)) {
        let Some(code) = finding.client_error else { continue };
        for domain in finding.domains.iter().filter(|domain| fails(snapshot, finding, domain)) {
            if !order.contains(&code) {
                order.push(code);
            }
            domains.entry(code).or_default().insert(domain);
        }
    }
    let names = |code: &ClientError| domains[code].iter().copied().cloned().collect();
    order.iter().map(|code| (*code, names(code))).collect()
}

/// A host's finding hits domains that have another host, too; their clients do not fail.
fn fails(snapshot: &Snapshot, finding: &Finding, domain: &Name) -> bool {
    if !matches!(finding.subject, Subject::Host(_)) {
        return true;
    }
    snapshot
        .domain(domain)
        .is_none_or(|entry| !entry.view.hosts.iter().any(|host| host.status.is_up()))
}
