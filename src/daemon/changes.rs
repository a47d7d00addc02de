//! What a log says of two snapshots: findings that began and that ended.

use std::collections::HashSet;

use crate::model::finding::FindingId;
use crate::model::{Finding, Severity, Snapshot};

/// Logs the active findings that the later snapshot has and the earlier has not, and the reverse.
pub(super) fn log(before: Option<&Snapshot>, after: &Snapshot) {
    let earlier = ids(before);
    let later = ids(Some(after));
    for finding in active(after).filter(|finding| !earlier.contains(&finding.id)) {
        let (check, subject) = (finding.check.as_str(), finding.subject.to_string());
        match finding.severity {
            Severity::Critical => {
                tracing::error!(check, subject, id = %finding.id, "{}", finding.message);
            }
            Severity::Warning => {
                tracing::warn!(check, subject, id = %finding.id, "{}", finding.message);
            }
            Severity::Info => {
                tracing::debug!(check, subject, id = %finding.id, "{}", finding.message);
            }
        }
    }
    let gone = before.into_iter().flat_map(active).filter(|finding| !later.contains(&finding.id));
    for finding in gone.filter(|finding| finding.severity > Severity::Info) {
        let (check, subject) = (finding.check.as_str(), finding.subject.to_string());
        tracing::info!(check, subject, id = %finding.id, "over: {}", finding.message);
    }
}

fn active(snapshot: &Snapshot) -> impl Iterator<Item = &Finding> {
    snapshot.findings.iter().map(|finding| &**finding).filter(|finding| finding.is_active())
}

fn ids(snapshot: Option<&Snapshot>) -> HashSet<&FindingId> {
    snapshot.into_iter().flat_map(active).map(|finding| &finding.id).collect()
}
