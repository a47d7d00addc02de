//! `/findings`: each with what it explains below it.

use askama::Template;

use super::query::{Parameter, Query};
use super::serve::{Look, Refusal, Rendered};
use super::{Frame, Pager, View};
use crate::model::{Check, Finding, FindingState, Name};
use crate::report::{self, Findings, Item};

pub(super) const TAKES: &[Parameter] = &[
    Parameter::Text("q"),
    Parameter::OneOf("severity", &["info", "warning", "critical"]),
    Parameter::OneOf("state", &["active", "suppressed", "acknowledged", "maintenance"]),
    Parameter::Text(CHECK),
    Parameter::Page,
];

const CHECK: &str = "check";
/// In full; more on a page are scrolled, not read.
const PAGE: usize = 25;
/// Findings that are shown with all that belongs to them.
const MOST_OPEN: usize = 3;
/// Of the domains that a finding hits, and of those that it explains.
const MOST_LISTED: usize = 12;

#[derive(Template)]
#[template(path = "findings.html")]
struct FindingsPage<'a> {
    frame: Frame<'a>,
    query: &'a Query,
    verdict: String,
    /// Those that there are.
    checks: Vec<&'a str>,
    total: usize,
    findings: Vec<Shown<'a>>,
    pager: Pager,
}

/// A finding in full.
pub(super) struct Shown<'a> {
    pub(super) finding: &'a Finding,
    pub(super) item: Item,
    pub(super) subject: String,
    pub(super) domains: &'a [Name],
    pub(super) more: usize,
    pub(super) explained: Vec<&'a Finding>,
    pub(super) unlisted: usize,
    /// Whether what was seen and what to do is shown at once.
    pub(super) is_open: bool,
}

impl<'a> Shown<'a> {
    /// `among` so many: more than a few are looked through first.
    pub(super) fn of(finding: &'a Finding, findings: &Findings<'a>, among: usize) -> Self {
        let explained = findings.explained(&finding.id);
        let domains = &finding.domains[..finding.domains.len().min(MOST_LISTED)];
        Self {
            item: findings.page_item(finding),
            subject: report::what(finding),
            more: finding.domains.len() - domains.len(),
            domains,
            explained: explained.iter().take(MOST_LISTED).copied().collect(),
            unlisted: explained.len().saturating_sub(MOST_LISTED),
            is_open: among <= MOST_OPEN,
            finding,
        }
    }
}

pub(super) fn render(look: &Look) -> Rendered {
    let snapshot = look.snapshot;
    let findings = Findings::of(snapshot);
    let filter = Filter::of(look.query)?;
    let fitting: Vec<&Finding> = snapshot
        .findings
        .iter()
        .map(|finding| &**finding)
        .filter(|finding| filter.shows(finding, &findings))
        .collect();
    let (pager, range) = Pager::of(fitting.len(), PAGE, look.query);
    let mut checks: Vec<&str> =
        snapshot.findings.iter().map(|finding| finding.check.as_str()).collect();
    checks.sort_unstable();
    checks.dedup();
    if let Some(check) = look.query.get(CHECK).and_then(Check::parse).map(Check::as_str)
        && !checks.contains(&check)
    {
        checks.push(check);
    }
    let shown = &fitting[range];
    let page = FindingsPage {
        frame: look.frame(View::Findings),
        query: look.query,
        verdict: report::verdict(snapshot),
        checks,
        total: snapshot.findings.len(),
        findings: shown.iter().map(|finding| Shown::of(finding, &findings, shown.len())).collect(),
        pager,
    };
    Ok(page.render()?)
}

/// What is wanted.
struct Filter<'a> {
    needle: Option<String>,
    severity: Option<&'a str>,
    state: Option<&'a str>,
    check: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn of(query: &'a Query) -> Result<Self, Refusal> {
        let check = query.get(CHECK);
        if let Some(unknown) = check.filter(|check| Check::parse(check).is_none()) {
            let ids: Vec<&str> = Check::ALL.iter().map(|check| check.as_str()).collect();
            let ids = ids.join(", ");
            return Err(Refusal::Wrong(format!("{CHECK} {unknown:?} is none; write one of {ids}")));
        }
        Ok(Self {
            needle: query.needle(),
            severity: query.get("severity"),
            state: query.get("state"),
            check,
        })
    }

    /// A suppressed finding is shown below its cause; where it is asked for by its state, by itself.
    fn shows(&self, finding: &Finding, findings: &Findings) -> bool {
        let is_below = finding.state == FindingState::Suppressed
            && self.state.is_none()
            && findings.has_cause(finding);
        let lesser = || findings.explained(&finding.id);
        !is_below
            && self.severity.is_none_or(|severity| finding.severity.as_str() == severity)
            && self.state.is_none_or(|state| finding.state.as_str() == state)
            && (self.is_about(finding)
                || self.state.is_none() && lesser().iter().any(|lesser| self.is_about(lesser)))
    }

    /// What also a finding shows that only explains such a one.
    fn is_about(&self, finding: &Finding) -> bool {
        self.check.is_none_or(|check| finding.check.as_str() == check)
            && self.needle.as_deref().is_none_or(|needle| holds(finding, needle))
    }
}

/// Whether a finding is about this: by its text, or whom it hits.
fn holds(finding: &Finding, needle: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(needle);
    has(finding.id.as_str())
        || has(&finding.message)
        || has(&finding.subject.to_string())
        || finding.domains.iter().any(|domain| domain.as_str().contains(needle))
        || finding.resolver.as_deref().is_some_and(has)
        || finding.client_error.is_some_and(|code| has(&code.to_string()))
        || finding.labels.iter().any(|(name, value)| has(name) || has(value))
}
