//! profile-no-suffix, profile-no-kms, profile-shadowed, profile-pinned, profile-below-threshold: what a
//! declared client would see over its own path.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::client::discovery::{Told, discover};
use crate::client::errors::COUNT_INSUFFICIENT;
use crate::model::discovery::{Choice, End, Failure, Reason, Step};
use crate::model::snapshot::{AnswerView, HostStatus, HostView, ProfileView};
use crate::model::{
    Check, Discovery, Finding, Host, LookupOutcome, Name, Plan, PlannedDomain, Probe, Product,
    Profile, Resolver, Severity, Subject,
};
use crate::observe::state::{Horizon, State};

use super::domain::Asked;
use super::draft::{Draft, listed};
use super::sight::Sight;
use super::texts::{Key, Part};

/// What came of auditing one profile.
pub(super) struct ProfileAudit {
    pub(super) view: Arc<ProfileView>,
    /// Each host that its clients may come to, as they see it.
    pub(super) sights: Vec<Arc<Sight>>,
}

impl ProfileAudit {
    /// A connection that a host of the search itself did not answer; first one of the clients' family,
    /// and one that somebody else rejected.
    fn blocked(&self) -> Option<(&Host, IpAddr, &Probe)> {
        let tried =
            self.sights.iter().filter(|sight| self.is_picked(&sight.host)).flat_map(|sight| {
                sight.endpoints.iter().filter_map(|endpoint| {
                    Some((&*sight.host, endpoint.address, &**endpoint.probe.as_ref()?))
                })
            });
        let lost = tried.filter(|(_, _, probe)| probe.is_lost_on_the_way());
        let clients = self.clients();
        lost.min_by_key(|(_, address, probe)| {
            let is_foreign = clients.is_some_and(|clients| !is_of_family(clients, *address));
            (is_foreign, probe.rejected_by.is_none())
        })
    }

    /// Whether it is the way that has to be mended. Records are to be removed only where a host is dead;
    /// one that answers on none of several paths is.
    fn is_blocked(&self, check: Check, seen: &[Arc<HostView>]) -> bool {
        let is_dead = |host: &Host| {
            let view = seen.iter().find(|view| view.host == *host);
            view.is_some_and(|view| view.status == HostStatus::Down && view.paths.len() > 1)
        };
        self.blocked().is_some_and(|(host, ..)| check != Check::ProfileShadowed || !is_dead(host))
    }

    /// The network that clients will live in, else the address that is theirs here.
    fn clients(&self) -> Option<IpNet> {
        let profile = &self.view.profile;
        profile.subnet.or_else(|| profile.path().source.map(IpNet::from))
    }

    fn is_picked(&self, host: &Host) -> bool {
        let search = self.view.discoveries().find(|discovery| discovery.end != End::Fixed);
        search.is_some_and(|search| search.hosts.iter().any(|choice| choice.host == *host))
    }
}

/// Audits one profile. `sight` tells what a resolver's clients see of a host.
pub(super) fn audit(
    profile: &Arc<Profile>,
    state: &State,
    horizon: &Horizon,
    mut sight: impl FnMut(&Arc<Resolver>, &Host) -> Arc<Sight>,
) -> ProfileAudit {
    let mut told: HashMap<&Name, Told> = HashMap::new();
    let mut answers: Vec<(Arc<PlannedDomain>, AnswerView)> = Vec::new();
    let mut hosts: Vec<Host> =
        profile.fixed_hosts().into_iter().map(|(host, _)| host.clone()).collect();
    for domain in profile.search.iter() {
        let mut said = Vec::new();
        let asked = Asked::new(domain, &profile.resolver, state, horizon, &mut said);
        told.insert(&domain.name, tell(&asked));
        answers.extend(said.into_iter().map(|answer| (domain.clone(), answer)));
        hosts.extend(asked.hosts());
    }
    hosts.sort_unstable();
    hosts.dedup();
    let sights: Vec<Arc<Sight>> = hosts.iter().map(|host| sight(&profile.resolver, host)).collect();
    let status = |host: &Host| {
        let found = sights.iter().find(|sight| *sight.host == *host);
        found.map_or(HostStatus::Unknown, |sight| status_of(sight))
    };
    let told = |domain: &Name| told.get(domain).cloned().unwrap_or_default();
    let [windows, office] = Product::ALL.map(|product| discover(profile, product, told, status));
    let view = ProfileView { profile: profile.clone(), windows, office, answers };
    ProfileAudit { view: Arc::new(view), sights }
}

/// What the servers together say: whoever has records is believed, and what exists for one exists.
fn tell(asked: &Asked) -> Told {
    if !asked.is_heard() {
        return Told::default();
    }
    if !asked.is_known() {
        let latest = asked.servers.iter().find_map(|says| says.latest);
        // This machine is not where the clients are: that says nothing of them.
        let outcome = latest.filter(|answer| !answer.lacks_path()).map(|answer| answer.outcome);
        return Told { outcome, records: Vec::new() };
    }
    let seen: Vec<LookupOutcome> = asked.usable().map(|(_, answer)| answer.outcome).collect();
    let order = [LookupOutcome::Records, LookupOutcome::Nodata, LookupOutcome::Nxdomain];
    let outcome = order.into_iter().find(|outcome| seen.contains(outcome));
    let mut records: Vec<_> =
        asked.usable().flat_map(|(_, answer)| &answer.records).cloned().collect();
    records.sort_unstable();
    records.dedup_by(|later, first| later.identity() == first.identity());
    Told { outcome, records }
}

fn status_of(sight: &Sight) -> HostStatus {
    let mut probes =
        sight.endpoints.iter().filter_map(|endpoint| endpoint.probe.as_ref()).peekable();
    // Where some address was really tried, that one tells: this machine may have one family only.
    let was_tried = probes.peek().is_none() || probes.any(|probe| !probe.lacks_path());
    if was_tried { sight.status } else { HostStatus::Unknown }
}

/// Every finding about the profiles.
pub(super) fn check(
    plan: &Plan,
    audits: &[ProfileAudit],
    hosts: &[Arc<HostView>],
    findings: &mut Vec<Arc<Finding>>,
) {
    for audit in audits {
        let view = &*audit.view;
        findings.extend(search(plan, audit, hosts));
        findings.extend(view.discoveries().filter_map(|discovery| pinned(plan, view, discovery)));
    }
    thresholds(plan, audits, findings);
}

/// The search leads nowhere.
fn search(plan: &Plan, audit: &ProfileAudit, seen: &[Arc<HostView>]) -> Option<Arc<Finding>> {
    let view = &*audit.view;
    let discovery = view.discoveries().find(|discovery| discovery.end != End::Fixed)?;
    let failure = discovery.failure()?;
    let (check, message) = match (&discovery.end, &discovery.hidden) {
        (End::NoSuffix, _) => (Check::ProfileNoSuffix, no_suffix(view)),
        (End::Answered(domain), Some(hidden)) => {
            (Check::ProfileShadowed, shadowed(view, discovery, domain, hidden))
        }
        _ => (Check::ProfileNoKms, no_kms(view, discovery, failure)),
    };
    let mut hit: Vec<Name> = match discovery.domain() {
        Some(domain) => vec![domain.clone()],
        None => discovery.steps.iter().map(|step| step.domain.clone()).collect(),
    };
    hit.sort_unstable();
    let draft = draft(plan, view, check, hit, message, failure.domain.as_ref());
    let draft = match check {
        Check::ProfileNoSuffix => draft,
        _ => draft.at_resolver(&view.profile.resolver),
    };
    let draft = draft.client_error(failure.error).evidence("search", steps(discovery));
    let draft = match discovery.hosts.first() {
        Some(first) => {
            let values = first.host.clone();
            draft
                .valued(plan, |known| {
                    known.set(Key::Target, &values.target).set(Key::Port, values.port)
                })
                .evidence("hosts", hosts(discovery))
        }
        None => draft,
    };
    let draft = match mends(check, failure.reason, audit.is_blocked(check, seen)) {
        Some(part) => mended(plan, draft.valued(plan, |values| values.part(part)), audit),
        None => draft,
    };
    let draft = match &discovery.hidden {
        Some((domain, host)) => draft.evidence("hidden", format!("{host} in {domain}")),
        None => draft,
    };
    Some(draft.done())
}

/// The part of a check's page that mends a failure.
fn mends(check: Check, reason: Reason, is_blocked: bool) -> Option<Part> {
    let part = match (check, reason) {
        (Check::ProfileNoSuffix, _) => return None,
        (Check::ProfileShadowed, _) if is_blocked => Part::HidingWayBlocked,
        (Check::ProfileShadowed, _) => Part::HidingHostsFail,
        (_, Reason::LookupFailed(LookupOutcome::Timeout | LookupOutcome::Unreachable)) => {
            Part::LookupUnanswered
        }
        (_, Reason::LookupFailed(_)) => Part::LookupFails,
        (_, Reason::Declined) => Part::Declined,
        (_, Reason::HostsDown | Reason::FixedHostDown) if is_blocked => Part::WayBlocked,
        (_, Reason::HostsDown | Reason::FixedHostDown) => Part::HostsFail,
        (_, Reason::NoSuffix | Reason::NameDoesNotExist | Reason::NoRecords) => Part::NoRecords,
    };
    Some(part)
}

/// With the values of a way that is blocked.
fn mended(plan: &Plan, draft: Draft, audit: &ProfileAudit) -> Draft {
    let Some((host, address, probe)) = audit.blocked() else { return draft };
    let clients = audit.clients().filter(|clients| is_of_family(*clients, address));
    let draft = draft.valued(plan, |values| {
        values
            .set(Key::Target, &host.target)
            .set(Key::Port, host.port)
            .set(Key::Address, address)
            .set(Key::Family, if address.is_ipv4() { "ip" } else { "ip6" })
            // Where nobody knows them, the command shows that they belong there.
            .set(Key::Clients, clients.map_or_else(String::new, shown))
    });
    match probe.rejected_by {
        Some(gate) => draft
            .valued(plan, |values| values.set(Key::Gate, gate))
            .evidence("rejected_by", gate.to_string()),
        None => draft,
    }
}

fn is_of_family(clients: IpNet, address: IpAddr) -> bool {
    clients.addr().is_ipv4() == address.is_ipv4()
}

/// A single address without its length.
fn shown(clients: IpNet) -> String {
    match clients.prefix_len() == clients.max_prefix_len() {
        true => clients.addr().to_string(),
        false => clients.trunc().to_string(),
    }
}

fn no_suffix(view: &ProfileView) -> String {
    format!(
        "{} have no DNS suffix, no lookup domain and no fixed host: they send no query at all",
        whose(view)
    )
}

fn shadowed(
    view: &ProfileView,
    discovery: &Discovery,
    domain: &Name,
    (later, good): &(Name, Host),
) -> String {
    format!(
        "{} stop at {domain}, whose hosts do not answer ({}), and never ask in {later}, where {good} is up",
        whose(view),
        listed(discovery.hosts.iter().map(|choice| &choice.host)),
    )
}

fn no_kms(view: &ProfileView, discovery: &Discovery, failure: &Failure) -> String {
    let who = whose(view);
    let profile = &view.profile;
    let ending = match &discovery.end {
        End::Answered(domain) => format!(
            "the search ends at {domain}, and no host there answers: {}",
            listed(discovery.hosts.iter().map(|choice| &choice.host))
        ),
        End::Declined(domain) => {
            format!("the search ends at {domain}, which declares that it has none")
        }
        _ => listed(discovery.steps.iter().map(|step| {
            let outcome = step.outcome.map_or("not known", LookupOutcome::as_str);
            format!("{} says {outcome}", step.domain)
        })),
    };
    let from = match profile.path().to_string() {
        path if path.is_empty() => path,
        path => format!(" from {path}"),
    };
    let why = match failure.reason {
        Reason::LookupFailed(_) => "; whether records exist is unknown",
        _ => "",
    };
    format!("{who} find no KMS host (resolver {}{from}): {ending}{why}", profile.resolver.name)
}

/// A fixed host switches discovery off.
fn pinned(plan: &Plan, view: &ProfileView, discovery: &Discovery) -> Option<Arc<Finding>> {
    let host = view.profile.fixed_host(discovery.product)?;
    let shared = view.profile.fixed_host(Product::Windows) == Some(host);
    if discovery.product == Product::Office && shared {
        return None;
    }
    let products = match view.profile.fixed_host(Product::Office) == Some(host) {
        true if discovery.product == Product::Windows => "Windows and Office",
        _ => discovery.product.as_str(),
    };
    let part = match discovery.product {
        Product::Windows => Part::FixedForWindows,
        Product::Office => Part::FixedForOffice,
    };
    let status = discovery.hosts.first().map_or(HostStatus::Unknown, |choice| choice.status);
    let is_down = status == HostStatus::Down;
    let state = match status {
        HostStatus::Down => "does not answer, so activation fails",
        HostStatus::Unknown => "may or may not answer: that cannot be told from here",
        HostStatus::Up | HostStatus::Degraded => "answers",
    };
    let asks = if products == discovery.product.as_str() { "asks" } else { "ask" };
    let message = format!(
        "{products} in profile {} {asks} only {host}, a fixed host that switches discovery off; it {state}",
        view.profile.name
    );
    let draft = draft(plan, view, Check::ProfilePinned, Vec::new(), message, None)
        .scoped(discovery.product.as_str())
        .severity(if is_down { Severity::Critical } else { Severity::Info })
        .client_error(discovery.failure().and_then(|failure| failure.error))
        .valued(plan, |values| {
            values.set(Key::Target, &host.target).set(Key::Port, host.port).part(part)
        })
        .asking(&view.profile.resolver)
        .evidence("host", host.to_string())
        .evidence("status", status.as_str())
        .evidence("products", products);
    Some(draft.done())
}

/// A kind of machine, and how many of it a host must count before it activates any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Clients,
    Servers,
    Office,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Clients, Self::Servers, Self::Office];

    fn threshold(self) -> u32 {
        match self {
            Self::Clients => 25,
            Self::Servers | Self::Office => 5,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Clients => "Windows clients",
            Self::Servers => "servers",
            Self::Office => "machines with Office",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Servers => "servers",
            Self::Office => "office",
        }
    }

    /// How many of them a profile declares.
    fn count(self, profile: &Profile) -> Option<u32> {
        match self {
            Self::Clients => profile.machines.clients,
            Self::Servers => profile.machines.servers,
            Self::Office => profile.machines.office,
        }
    }

    /// Where they go.
    fn discovery(self, view: &ProfileView) -> &Discovery {
        match self {
            Self::Clients | Self::Servers => &view.windows,
            Self::Office => &view.office,
        }
    }
}

/// For each kind that a profile declares: a host to which all profiles together bring too few.
fn thresholds(plan: &Plan, audits: &[ProfileAudit], findings: &mut Vec<Arc<Finding>>) {
    let mut sums: BTreeMap<(Kind, &Host), f64> = BTreeMap::new();
    for (view, kind, count) in declared(audits) {
        for choice in &kind.discovery(view).hosts {
            *sums.entry((kind, &choice.host)).or_default() += f64::from(count) * choice.share;
        }
    }
    for (view, kind, _) in declared(audits) {
        let few: Vec<(&Host, f64)> = kind
            .discovery(view)
            .hosts
            .iter()
            .filter(|choice| choice.share > 0.0)
            .filter_map(|choice| Some((&choice.host, *sums.get(&(kind, &choice.host))?)))
            // Shares are sums of parts: what is a whole number is so but for rounding.
            .filter(|(_, sum)| *sum < f64::from(kind.threshold()) - 1e-6)
            .collect();
        if !few.is_empty() {
            findings.push(below(plan, view, kind, &few));
        }
    }
}

/// Every profile that brings machines of a kind.
fn declared(audits: &[ProfileAudit]) -> impl Iterator<Item = (&ProfileView, Kind, u32)> {
    audits.iter().flat_map(|audit| {
        let count = |kind: Kind| Some((&*audit.view, kind, kind.count(&audit.view.profile)?));
        Kind::ALL.into_iter().filter_map(count).filter(|(_, _, count)| *count > 0)
    })
}

fn below(plan: &Plan, view: &ProfileView, kind: Kind, few: &[(&Host, f64)]) -> Arc<Finding> {
    let hosts = few.iter().map(|(host, sum)| format!("{host} gets about {}", rounded(*sum)));
    let message = format!(
        "All profiles together bring too few {} to a host of profile {}: {}, and it activates none below {} (undeclared machines are not seen)",
        kind.words(),
        view.profile.name,
        listed(hosts),
        kind.threshold(),
    );
    let hit = kind.discovery(view).domain().into_iter().cloned().collect();
    let expected: serde_json::Map<String, Value> =
        few.iter().map(|(host, sum)| (host.to_string(), json!(rounded(*sum)))).collect();
    let draft = draft(plan, view, Check::ProfileBelowThreshold, hit, message, None)
        .scoped(kind.key())
        .client_error(Some(COUNT_INSUFFICIENT))
        .evidence("kind", kind.key())
        .evidence("threshold", kind.threshold())
        .evidence("expected", Value::Object(expected));
    match few.first() {
        Some((host, _)) => draft
            .valued(plan, |values| values.set(Key::Target, &host.target).set(Key::Port, host.port)),
        None => draft,
    }
    .done()
}

/// To one decimal.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn draft(
    plan: &Plan,
    view: &ProfileView,
    check: Check,
    hit: Vec<Name>,
    message: String,
    domain: Option<&Name>,
) -> Draft {
    let profile = &view.profile;
    let subject = Subject::Profile(profile.name.clone());
    let domain = domain.or(hit.first()).cloned();
    let draft = Draft::new(check, subject, hit, message).labels(&profile.resolver.labels);
    let draft = draft.labels(&profile.labels).valued(plan, |values| match &domain {
        Some(domain) => values.set(Key::Domain, domain).set(Key::Owner, Name::owner_of(domain)),
        None => values,
    });
    draft.evidence("path", profile.path().to_string())
}

/// Whoever searches: Windows, and Office unless it has a fixed host of its own.
fn whose(view: &ProfileView) -> String {
    let who = if view.windows.end == view.office.end { "Clients" } else { "Windows clients" };
    format!("{who} of profile {}", view.profile.name)
}

fn steps(discovery: &Discovery) -> Value {
    let step = |step: &Step| {
        json!({
            "domain": step.domain.as_str(),
            "outcome": step.outcome.map(LookupOutcome::as_str),
            "effect": step.effect.as_str(),
        })
    };
    discovery.steps.iter().map(step).collect()
}

fn hosts(discovery: &Discovery) -> Value {
    let status = |choice: &Choice| (choice.host.to_string(), Value::from(choice.status.as_str()));
    Value::Object(discovery.hosts.iter().map(status).collect())
}
