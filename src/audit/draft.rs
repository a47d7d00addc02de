//! A finding in the making.

use std::sync::Arc;

use serde_json::Value;

use crate::model::finding::{ClientError, Evidence, FindingId};
use crate::model::{
    Check, Finding, FindingState, Host, Labels, Name, Plan, PlannedDomain, Resolver, Severity,
    Subject,
};

use super::texts::{Key, Values, remedy};

/// A finding in the making: what every check has to say, in the words of the contract.
pub(super) struct Draft {
    finding: Finding,
    values: Values,
}

impl Draft {
    /// About a domain as a whole.
    pub(super) fn domain(check: Check, domain: &PlannedDomain, message: String) -> Self {
        Self::of_domain(check, Subject::Domain(domain.name.clone()), domain, message)
    }

    /// About a record of a domain.
    pub(super) fn record(
        check: Check,
        domain: &PlannedDomain,
        host: &Host,
        message: String,
    ) -> Self {
        let subject = Subject::Record { domain: domain.name.clone(), host: host.clone() };
        let mut draft = Self::of_domain(check, subject, domain, message);
        draft.values = draft.values.set(Key::Target, &host.target).set(Key::Port, host.port);
        draft
    }

    /// About anything, hitting these domains.
    pub(super) fn new(check: Check, subject: Subject, domains: Vec<Name>, message: String) -> Self {
        let finding = Finding {
            id: FindingId::new(check, &subject, ""),
            check,
            severity: check.severity(),
            state: FindingState::Active,
            suppressed_by: None,
            subject,
            resolver: None,
            domains,
            since: None,
            message,
            evidence: Evidence::new(),
            client_error: None,
            remedy: String::new(),
            labels: Labels::default(),
        };
        Self { finding, values: Values::default() }
    }

    fn of_domain(check: Check, subject: Subject, domain: &PlannedDomain, message: String) -> Self {
        let mut draft = Self::new(check, subject, vec![domain.name.clone()], message);
        draft.values = draft.values.set(Key::Domain, &domain.name).set(Key::Owner, &domain.owner);
        draft.finding.labels = match &*domain.resolvers {
            [only] => merged(&only.labels, &domain.labels),
            _ => domain.labels.clone(),
        };
        draft
    }

    /// Only this resolver's clients are hit: a finding of its own, asked at its first server.
    pub(super) fn of_resolver(self, resolver: &Resolver) -> Self {
        self.scoped(&resolver.scope()).at_resolver(resolver)
    }

    /// Only this resolver's clients are hit, now; the finding stays the same when others join.
    pub(super) fn at_resolver(mut self, resolver: &Resolver) -> Self {
        self.finding.resolver = Some(resolver.name.clone());
        self.finding.labels = merged(&resolver.labels, &self.finding.labels);
        self.asking(resolver)
    }

    /// The remedy asks this resolver's first server.
    pub(super) fn asking(mut self, resolver: &Resolver) -> Self {
        if let Some(upstream) = resolver.upstreams.first() {
            self.values = self.values.server(&upstream.server);
        }
        self
    }

    /// The remedy speaks of this record.
    pub(super) fn valued(mut self, plan: &Plan, set: impl FnOnce(Values) -> Values) -> Self {
        self.values = set(self.values.set(Key::KmsPort, plan.kms_port));
        self
    }

    /// Tells it apart from the same check's verdicts on the same subject.
    pub(super) fn scoped(mut self, scope: &str) -> Self {
        self.finding.id = FindingId::new(self.finding.check, &self.finding.subject, scope);
        self
    }

    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.finding.severity = severity;
        self
    }

    pub(super) fn labels(mut self, labels: &Labels) -> Self {
        self.finding.labels = merged(&self.finding.labels, labels);
        self
    }

    pub(super) fn client_error(mut self, code: Option<ClientError>) -> Self {
        self.finding.client_error = code;
        self
    }

    /// A value that led to the verdict.
    pub(super) fn evidence(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.finding.evidence.insert(name.to_owned(), value.into());
        self
    }

    /// With its remedy.
    pub(super) fn done(mut self) -> Arc<Finding> {
        self.finding.remedy = remedy(self.finding.check, &self.values);
        Arc::new(self.finding)
    }
}

/// `over` wins.
fn merged(under: &Labels, over: &Labels) -> Labels {
    match (under.is_empty(), over.is_empty()) {
        (true, _) => over.clone(),
        (_, true) => under.clone(),
        _ => {
            let mut labels = (**under).clone();
            labels.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
            Arc::new(labels)
        }
    }
}

/// Names, joined for a sentence; of many only the first.
pub(super) fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if items.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        many => format!("{} and {} more", many[..SHOWN].join(", "), many.len() - SHOWN),
    }
}

/// `1 host`, `2 hosts`.
pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_a_sentence_and_stay_short() {
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed(["a", "b"]), "a and b");
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }

    #[test]
    fn the_nearer_label_wins() {
        let labels = |value: &str| Labels::new([("site".to_owned(), value.to_owned())].into());
        assert_eq!(merged(&labels("hq"), &labels("lab"))["site"], "lab");
        let (some, none) = (labels("hq"), Labels::default());
        for alone in [merged(&some, &none), merged(&none, &some)] {
            assert!(
                Arc::ptr_eq(&alone, &some),
                "nothing is copied where there is nothing to merge"
            );
        }
    }
}
