//! Accepted findings: `[[exception]]`.

use std::collections::HashSet;
use std::sync::Arc;

use globset::GlobSet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::finding::FindingId;
use crate::model::plan::Exception;
use crate::model::{Finding, Plan, Subject};

/// Gives accepted findings their other severity, or leaves them out; tells which were accepted. The
/// first exception that fits counts; it fits where it covers every domain that the finding hits.
pub(super) fn apply(
    plan: &Plan,
    findings: Vec<Arc<Finding>>,
    now: Timestamp,
) -> (Vec<Arc<Finding>>, HashSet<FindingId>) {
    if plan.exceptions.is_empty() {
        return (findings, HashSet::new());
    }
    let today = TimeZone::UTC.to_datetime(now).date();
    let mut accepted = HashSet::new();
    let accept = |mut finding: Arc<Finding>| {
        let fitting = plan.exceptions.iter().find(|exception| fits(exception, &finding, today));
        if let Some(exception) = fitting {
            accepted.insert(finding.id.clone());
            accept(exception, Arc::make_mut(&mut finding))?;
        }
        Some(finding)
    };
    (findings.into_iter().filter_map(accept).collect(), accepted)
}

/// The last moment at which every exception that holds now still does.
pub(super) fn expire(plan: &Plan, now: Timestamp) -> Timestamp {
    let today = TimeZone::UTC.to_datetime(now).date();
    let days = plan.exceptions.iter().filter_map(|exception| exception.expires);
    let first = days.filter(|last| today <= *last).min();
    let end =
        first.and_then(|last| TimeZone::UTC.to_timestamp(last.at(23, 59, 59, 999_999_999)).ok());
    end.unwrap_or(Timestamp::MAX)
}

/// `None` for a finding that is off.
fn accept(exception: &Exception, finding: &mut Finding) -> Option<()> {
    finding.severity = exception.severity?;
    if let Some(reason) = &exception.reason {
        finding.evidence.insert("accepted_because".to_owned(), reason.as_str().into());
    }
    Some(())
}

fn fits(exception: &Exception, finding: &Finding, today: Date) -> bool {
    exception.checks.contains(&finding.check)
        && exception.expires.is_none_or(|last| today <= last)
        && covers(&exception.domains, finding)
}

/// Whether globs match every domain that a finding hits. One about a profile that hits no domain is covered
/// by what matches everything.
pub(super) fn covers(globs: &GlobSet, finding: &Finding) -> bool {
    let of_profile = || matches!(finding.subject, Subject::Profile(_)) && globs.is_match("");
    (!finding.domains.is_empty() || of_profile())
        && finding.domains.iter().all(|domain| globs.is_match(domain.as_str()))
}
