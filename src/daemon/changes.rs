//! What a log says of two snapshots: findings that began and that ended.

use std::collections::{HashMap, HashSet};

use crate::model::finding::FindingId;
use crate::model::{Finding, Severity, Snapshot};

/// Logs the active findings that the later snapshot has and the earlier had not, or not so bad; and
/// those that are no longer found, for whatever reason, not even as the effect of a greater one.
pub(super) fn log(before: Option<&Snapshot>, after: &Snapshot) {
    let earlier: HashMap<&FindingId, Severity> = before
        .into_iter()
        .flat_map(active)
        .map(|finding| (&finding.id, finding.severity))
        .collect();
    let later: HashSet<&FindingId> = after.findings.iter().map(|finding| &finding.id).collect();
    let is_new = |finding: &&Finding| {
        earlier.get(&finding.id).is_none_or(|severity| *severity < finding.severity)
    };
    for finding in active(after).filter(is_new) {
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
        tracing::info!(check, subject, id = %finding.id, "no longer found: {}", finding.message);
    }
}

fn active(snapshot: &Snapshot) -> impl Iterator<Item = &Finding> {
    snapshot.findings.iter().map(|finding| &**finding).filter(|finding| finding.is_active())
}
