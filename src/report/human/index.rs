//! What the findings say, by domain and by cause.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::model::finding::FindingId;
use crate::model::{Finding, Name, Snapshot};

pub(in crate::report) struct Index<'a> {
    by_id: ById<'a>,
    hits: HashMap<&'a Name, Vec<&'a Finding>, RandomState>,
    known: HashMap<&'a Name, Vec<&'a Finding>, RandomState>,
    explained: HashMap<&'a FindingId, Vec<&'a Finding>, RandomState>,
}

type ById<'a> = HashMap<&'a FindingId, &'a Finding, RandomState>;

impl<'a> Index<'a> {
    pub(in crate::report) fn of(snapshot: &'a Snapshot) -> Self {
        let by_id = snapshot.findings.iter().map(|finding| (&finding.id, &**finding)).collect();
        let mut index = Self {
            by_id,
            hits: HashMap::default(),
            known: HashMap::default(),
            explained: HashMap::default(),
        };
        for finding in snapshot.findings.iter().map(|finding| &**finding) {
            if finding.is_active() || finding.is_known() {
                let of = if finding.is_known() { &mut index.known } else { &mut index.hits };
                for domain in &finding.domains {
                    of.entry(domain).or_default().push(finding);
                }
            } else if let Some(cause) = cause(finding, &index.by_id) {
                index.explained.entry(&cause.id).or_default().push(finding);
            }
        }
        index
    }

    /// The finding of an id.
    pub(in crate::report) fn get(&self, id: &FindingId) -> Option<&'a Finding> {
        self.by_id.get(id).copied()
    }

    /// The active findings that hit a domain, worst first.
    pub(in crate::report) fn hits(&self, domain: &Name) -> Vec<&'a Finding> {
        self.hits.get(domain).cloned().unwrap_or_default()
    }

    /// The findings that hit a domain and that people know of, worst first.
    pub(in crate::report) fn known(&self, domain: &Name) -> &[&'a Finding] {
        self.known.get(domain).map_or(&[], Vec::as_slice)
    }

    /// The findings that this one explains, also through others.
    pub(in crate::report) fn explained(&self, by: &FindingId) -> &[&'a Finding] {
        self.explained.get(by).map_or(&[], Vec::as_slice)
    }
}

/// The greater finding at the end of the chain of suppression.
fn cause<'a>(finding: &'a Finding, by_id: &ById<'a>) -> Option<&'a Finding> {
    let mut cause = finding;
    // Longer than any chain of the contract; a loop would be the audit's fault, not a reason to hang.
    for _ in 0..16 {
        match &cause.suppressed_by {
            Some(id) => cause = by_id.get(id)?,
            None => return Some(cause),
        }
    }
    None
}
