//! target-*, port-mismatch, host-*: one finding a host, whatever many domains it hits.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::errors::{NO_KMS_CONTACTED, RPC_UNAVAILABLE};
use crate::model::snapshot::{DomainHost, DomainView, EndpointView, HostStatus, HostView};
use crate::model::{
    Check, Finding, Host, KmsMode, Name, Path, Plan, ProbeOutcome, Reachability, Resolver,
    Severity, Subject,
};
use crate::observe::resolution::Verdict;

use super::domain::DomainAudit;
use super::draft::{Draft, listed};
use super::records::with_host;
use super::sight::{Sight, status};
use super::texts::Key;

/// A host, who sees it how, and whom it concerns.
pub(super) struct Case<'a> {
    pub(super) plan: &'a Plan,
    pub(super) host: &'a Host,
    /// One for each resolver that leads to it, in the order of the plan.
    pub(super) sights: Vec<&'a Arc<Sight>>,
    /// The places of the domains that publish it, in their order.
    pub(super) domains: &'a [u32],
    /// Those of all domains.
    pub(super) audits: &'a [Option<DomainAudit>],
}

impl<'a> Case<'a> {
    /// The domains that publish it, sorted.
    pub(super) fn domains(&self) -> impl Iterator<Item = &'a DomainView> {
        let audit = |place: &u32| self.audits.get(usize::try_from(*place).ok()?)?.as_ref();
        self.domains.iter().filter_map(audit).map(|audit| &*audit.view)
    }
}

/// The host over all its endpoints and paths.
pub(super) fn view(case: &Case) -> HostView {
    let mut endpoints: Vec<EndpointView> =
        case.sights.iter().flat_map(|sight| &sight.endpoints).cloned().collect();
    endpoints.sort_by(|one, other| (&one.path, one.address).cmp(&(&other.path, other.address)));
    endpoints.dedup_by(|later, first| later.path == first.path && later.address == first.address);
    let paths: BTreeSet<&Arc<Path>> =
        case.sights.iter().map(|sight| &sight.resolver.path).collect();
    let over = |path: &Arc<Path>| {
        let mine = case.sights.iter().filter(|sight| sight.resolver.path == *path);
        (path.clone(), status(mine.flat_map(|sight| sight.signs())))
    };
    HostView {
        host: case.host.clone(),
        status: status(case.sights.iter().flat_map(|sight| sight.signs())),
        paths: paths.into_iter().map(over).collect(),
        last_up: endpoints.iter().filter(|endpoint| is_up(endpoint)).filter_map(|one| one.at).max(),
        domains: case.domains().map(|view| view.domain.name.clone()).collect(),
        endpoints,
    }
}

fn is_up(endpoint: &EndpointView) -> bool {
    let probe = endpoint.probe.as_ref();
    probe.is_some_and(|probe| probe.outcome.reachability() == Reachability::Up)
}

/// Every finding about the host.
pub(super) fn check(case: &Case, view: &HostView, findings: &mut Vec<Arc<Finding>>) {
    let Some(first) = case.domains().find(|view| is_hit(view)) else { return };
    let context = Context { case, view, hit: OnceCell::new(), first };
    let all = [
        context.unresolvable(),
        context.alias(),
        context.suffix_doubled(),
        context.literal(),
        context.port_mismatch(),
        context.down(),
        context.unconfirmed(),
        context.accepts_any(),
        context.degraded(),
        context.slow(),
    ];
    findings.extend(all.into_iter().flatten());
}

/// Where there shall be no host, a host's trouble is nobody's.
fn is_hit(view: &DomainView) -> bool {
    view.domain.kms != KmsMode::None
}

struct Context<'a> {
    case: &'a Case<'a>,
    view: &'a HostView,
    /// As far as somebody asked: mostly all is well, and some hosts have very many domains.
    hit: OnceCell<Vec<&'a DomainView>>,
    first: &'a DomainView,
}

impl<'a> Context<'a> {
    fn hit(&self) -> &[&'a DomainView] {
        self.hit.get_or_init(|| self.case.domains().filter(|view| is_hit(view)).collect())
    }

    /// A and AAAA are both denied.
    fn unresolvable(&self) -> Option<Arc<Finding>> {
        let denies = |sight: &&&Arc<Sight>| sight.resolution.verdict == Verdict::Denied;
        let denying: Vec<&Resolver> =
            self.case.sights.iter().filter(denies).map(|sight| &*sight.resolver).collect();
        let first = denying.first()?;
        let names = || denying.iter().map(|resolver| &resolver.name);
        let asks = |view: &&&DomainView| {
            view.domain.resolvers.iter().any(|resolver| names().any(|name| *name == resolver.name))
        };
        let hit: Vec<&DomainView> = self.hit().iter().filter(asks).copied().collect();
        let message = format!(
            "{} has neither A nor AAAA records (resolver {})",
            self.target(),
            listed(names())
        );
        let code = self.is_last(&hit).then_some(NO_KMS_CONTACTED);
        let draft = self.draft(Check::TargetUnresolvable, &hit, message).client_error(code);
        let draft = match (denying.len(), self.case.sights.len()) {
            (1, 2..) => draft.at_resolver(first),
            _ => draft.asking(first),
        };
        Some(draft.evidence("resolvers", strings(names())).done())
    }

    /// The target is a CNAME, which RFC 2782 forbids.
    fn alias(&self) -> Option<Arc<Finding>> {
        let sight = self.case.sights.iter().find(|sight| !sight.resolution.aliases.is_empty())?;
        let aliases = &sight.resolution.aliases;
        let message = format!(
            "{} is an alias of {}: RFC 2782 forbids that, and some clients do not follow it",
            self.target(),
            aliases.last()?
        );
        let draft = self.draft(Check::TargetAlias, self.hit(), message).asking(&sight.resolver);
        let draft = draft.valued(self.case.plan, |values| match aliases.last() {
            Some(name) => values.set(Key::RightTarget, name),
            None => values,
        });
        Some(draft.evidence("aliases", strings(aliases)).done())
    }

    /// The target ends twice in the same suffix: a missing dot in the zone.
    fn suffix_doubled(&self) -> Option<Arc<Finding>> {
        let suffixes = doubled_suffixes(self.target());
        if suffixes.is_empty() {
            return None;
        }
        let below = |view: &&DomainView| {
            let labels: Vec<&str> = view.domain.name.labels().collect();
            suffixes.iter().find(|suffix| labels.ends_with(suffix))
        };
        let is_below = |view: &&&DomainView| below(view).is_some();
        let hit: Vec<&DomainView> = self.hit().iter().filter(is_below).copied().collect();
        let suffix = below(hit.first()?)?.join(".");
        let message = format!(
            "{} ends twice in {suffix}: a dot is missing at its end in the zone",
            self.target()
        );
        // The name with the suffix once.
        let right = &self.target().as_str()[..self.target().as_str().len() - suffix.len() - 1];
        let draft = self.draft(Check::TargetSuffixDoubled, &hit, message);
        let draft = draft.valued(self.case.plan, |values| values.set(Key::RightTarget, right));
        Some(draft.evidence("suffix", suffix).done())
    }

    /// The target is an address written as a name.
    fn literal(&self) -> Option<Arc<Finding>> {
        let address = self.spelled_address()?;
        let message = format!(
            "{} is an address written as a name; an SRV target is a host name",
            self.target()
        );
        let draft = self.draft(Check::TargetLiteral, self.hit(), message);
        Some(draft.evidence("address", address).done())
    }

    /// The address that the target spells, by itself or before a suffix of a domain (a missing dot).
    fn spelled_address(&self) -> Option<String> {
        if let Some(address) = self.target().as_address() {
            return Some(address.to_string());
        }
        let labels: Vec<&str> = self.target().labels().collect();
        let (spelled, suffix) = labels.split_at_checked(4)?;
        let address: std::net::Ipv4Addr = spelled.join(".").parse().ok()?;
        let of_domain =
            |view: &&DomainView| view.domain.name.labels().collect::<Vec<_>>().ends_with(suffix);
        self.hit().iter().any(of_domain).then(|| address.to_string())
    }

    /// The published port fails, and the well-known one answers as KMS.
    fn port_mismatch(&self) -> Option<Arc<Finding>> {
        if self.view.status.is_up() {
            return None;
        }
        let sight = self.case.sights.iter().find(|sight| sight.elsewhere.is_some())?;
        let (address, kms_port) = (sight.elsewhere?, self.case.plan.kms_port);
        let state = match self.view.status {
            HostStatus::Down => "fails",
            // All was probed: it is silent, or closed early.
            _ => "connects without an answer",
        };
        let message = format!(
            "{} is published on port {}, which {state}, but {address} answers as KMS on port {kms_port}",
            self.target(),
            self.case.host.port
        );
        let code = self.is_last(self.hit()).then_some(NO_KMS_CONTACTED);
        let draft = self.draft(Check::PortMismatch, self.hit(), message).client_error(code);
        Some(
            draft
                .evidence("address", address.to_string())
                .evidence("endpoints", self.endpoints())
                .done(),
        )
    }

    /// No endpoint answers, or what answers is something else.
    fn down(&self) -> Option<Arc<Finding>> {
        if self.view.status != HostStatus::Down {
            return None;
        }
        let is_other = |outcome| matches!(outcome, ProbeOutcome::RpcOther | ProbeOutcome::NotRpc);
        let (check, message) = match self.outcomes().any(|(_, outcome)| is_other(outcome)) {
            true => (
                Check::HostNotKms,
                format!("{} answers, but not as KMS: {}", self.case.host, self.seen()),
            ),
            false if self.view.endpoints.is_empty() => {
                (Check::HostDown, format!("{} does not answer: it has no address", self.case.host))
            }
            false => {
                (Check::HostDown, format!("{} does not answer: {}", self.case.host, self.seen()))
            }
        };
        let is_last = self.is_last(self.hit());
        let severity = if is_last { Severity::Critical } else { Severity::Warning };
        let draft = self.draft(check, self.hit(), message).severity(severity);
        let draft = draft.client_error(is_last.then_some(NO_KMS_CONTACTED));
        let draft = draft.evidence("event_12288", RPC_UNAVAILABLE.to_string());
        Some(self.with_details(draft.evidence("endpoints", self.endpoints())).done())
    }

    /// The port opens, and then nothing conclusive comes.
    fn unconfirmed(&self) -> Option<Arc<Finding>> {
        let is_silent = |outcome: ProbeOutcome| outcome.reachability() == Reachability::Unknown;
        if self.view.status != HostStatus::Unknown
            || !self.outcomes().any(|(_, outcome)| is_silent(outcome))
        {
            return None;
        }
        let message = format!(
            "{} accepts connections, but whether it is KMS cannot be told: {}",
            self.case.host,
            self.seen()
        );
        let draft = self.draft(Check::HostUnconfirmed, self.hit(), message);
        Some(self.with_details(draft.evidence("endpoints", self.endpoints())).done())
    }

    /// The peer accepts an interface that cannot exist.
    fn accepts_any(&self) -> Option<Arc<Finding>> {
        self.outcomes().find(|(_, outcome)| *outcome == ProbeOutcome::AcceptsAny)?;
        let message = format!(
            "{} accepts even an RPC interface that cannot exist: no Microsoft RPC runtime, perhaps an unauthorised server",
            self.case.host
        );
        let draft = self.draft(Check::HostAcceptsAny, self.hit(), message);
        Some(draft.evidence("endpoints", self.endpoints()).done())
    }

    /// Some addresses or paths answer, some do not.
    fn degraded(&self) -> Option<Arc<Finding>> {
        if self.view.status != HostStatus::Degraded {
            return None;
        }
        let message =
            format!("{} answers on some of its addresses only: {}", self.case.host, self.seen());
        let draft = self.draft(Check::HostDegraded, self.hit(), message);
        Some(self.with_details(draft.evidence("endpoints", self.endpoints())).done())
    }

    /// Connecting takes longer than the config's `slow`.
    fn slow(&self) -> Option<Arc<Finding>> {
        let limit = self.case.plan.probe.slow;
        let connect = |endpoint: &EndpointView| {
            let probe = endpoint.probe.as_ref()?;
            probe.connect.filter(|_| probe.outcome.reachability() == Reachability::Up)
        };
        let slowest: Duration =
            self.view.endpoints.iter().filter_map(connect).filter(|took| *took > limit).max()?;
        let message = format!(
            "{} takes {} ms to connect, longer than {} ms",
            self.case.host,
            slowest.as_millis(),
            limit.as_millis()
        );
        let draft = self.draft(Check::HostSlow, self.hit(), message);
        Some(draft.evidence("connect_seconds", slowest.as_secs_f64()).done())
    }

    fn draft(&self, check: Check, hit: &[&DomainView], message: String) -> Draft {
        let (case, first) = (self.case, hit.first().copied().unwrap_or(self.first));
        let domains: Vec<Name> = hit.iter().map(|view| view.domain.name.clone()).collect();
        let draft = Draft::new(check, Subject::Host(case.host.clone()), domains, message);
        let draft = draft.valued(case.plan, |values| {
            let values =
                values.set(Key::Domain, &first.domain.name).set(Key::Owner, &first.domain.owner);
            let values = match published(first, case.host) {
                Some(host) => with_host(values, host),
                None => values,
            };
            match self.telling_endpoint() {
                Some(endpoint) => values.set(Key::Address, endpoint.address),
                None => values,
            }
        });
        let draft = match case.sights.as_slice() {
            [only] => draft.labels(&only.resolver.labels).asking(&only.resolver),
            [first, ..] => draft.asking(&first.resolver),
            [] => draft,
        };
        match case.plan.hosts.get(&case.host.target) {
            Some(note) => draft.labels(&note.labels),
            None => draft,
        }
    }

    fn target(&self) -> &Name {
        &self.case.host.target
    }

    /// The endpoint to look at: the first that fails, if one does.
    fn telling_endpoint(&self) -> Option<&EndpointView> {
        let is_up = |outcome: ProbeOutcome| outcome.reachability() == Reachability::Up;
        let failing = self.outcomes().find(|(_, outcome)| !is_up(*outcome));
        failing.map(|(endpoint, _)| endpoint).or(self.view.endpoints.first())
    }

    /// Whether one of these domains has no other host up.
    fn is_last(&self, hit: &[&DomainView]) -> bool {
        let other = |host: &DomainHost| host.host != *self.case.host && host.status.is_up();
        hit.iter().any(|view| !view.hosts.iter().any(other))
    }

    fn outcomes(&self) -> impl Iterator<Item = (&EndpointView, ProbeOutcome)> {
        let outcome =
            |endpoint: &'_ EndpointView| endpoint.probe.as_ref().map(|probe| probe.outcome);
        self.view.endpoints.iter().filter_map(move |endpoint| Some((endpoint, outcome(endpoint)?)))
    }

    /// `10.0.0.5 refused, 10.0.0.6 timeout`.
    fn seen(&self) -> String {
        let names = |(endpoint, outcome): (&EndpointView, ProbeOutcome)| {
            let by = endpoint.probe.as_ref().and_then(|probe| probe.rejected_by);
            let by = by.map_or_else(String::new, |by| format!(" by {by}"));
            format!("{} {outcome}{by}", place(endpoint))
        };
        let denied =
            self.case.sights.iter().any(|sight| sight.resolution.verdict == Verdict::Denied);
        let denied = denied.then(|| "no address for some clients".to_owned());
        listed(self.outcomes().map(names).chain(denied))
    }

    /// The outcome of each address, as evidence.
    fn endpoints(&self) -> Value {
        let pair = |(endpoint, outcome): (&EndpointView, ProbeOutcome)| {
            (place(endpoint), Value::from(outcome.as_str()))
        };
        Value::Object(self.outcomes().map(pair).collect::<Map<_, _>>())
    }

    fn with_details(&self, draft: Draft) -> Draft {
        let detail = |endpoint: &EndpointView| {
            let detail = endpoint.probe.as_ref()?.detail.as_ref()?;
            Some((place(endpoint), Value::from(&**detail)))
        };
        let details: Map<_, _> = self.view.endpoints.iter().filter_map(detail).collect();
        match details.is_empty() {
            true => draft,
            false => draft.evidence("details", Value::Object(details)),
        }
    }
}

fn published<'a>(view: &'a DomainView, host: &Host) -> Option<&'a DomainHost> {
    view.hosts.iter().find(|published| published.host == *host)
}

/// The address, and from where it was tried if not by the default path.
fn place(endpoint: &EndpointView) -> String {
    match endpoint.path.to_string() {
        path if path.is_empty() => endpoint.address.to_string(),
        path => format!("{} from {path}", endpoint.address),
    }
}

fn strings<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(|item| Value::from(item.to_string())).collect()
}

/// The suffixes of two labels or more that stand twice at the end of `target`, shortest first.
fn doubled_suffixes(target: &Name) -> Vec<Vec<&str>> {
    let labels: Vec<&str> = target.labels().collect();
    let is_doubled = |count: &usize| {
        let (rest, suffix) = labels.split_at(labels.len() - count);
        rest.ends_with(suffix)
    };
    let counts = (2..=labels.len() / 2).filter(is_doubled);
    counts.map(|count| labels[labels.len() - count..].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_doubled_at_the_end_and_has_two_labels() {
        let doubled = |target: &str| -> Vec<String> {
            let target = Name::parse(target).expect("a name");
            doubled_suffixes(&target).iter().map(|suffix| suffix.join(".")).collect()
        };
        assert_eq!(doubled("kms.contoso.com.contoso.com"), ["contoso.com"]);
        assert_eq!(doubled("kms.east.contoso.com.east.contoso.com"), ["east.contoso.com"]);
        assert_eq!(doubled("kms.com.com"), [""; 0], "one label is no suffix");
        assert_eq!(doubled("contoso.com.kms.contoso.com"), [""; 0]);
    }
}
