//! How a declared client finds its KMS host: its search through the suffixes, and what comes of it.
//!
//! Microsoft documents the order (a fixed host, a lookup domain, the suffixes), not what a client
//! makes of suffixes that answer differently. Our model: NXDOMAIN and NODATA go on to the next
//! suffix; records end the search; a failure goes on, but is the code if no later suffix has records;
//! NODATA beats NXDOMAIN.

use crate::model::discovery::{
    Choice, Discovery, Effect, End, Failover, Failure, Reason, Step, Verdict,
};
use crate::model::snapshot::HostStatus;
use crate::model::{Host, LookupOutcome, Name, Product, Profile, Record, Selection};

use super::errors::{self, NO_KMS_CONTACTED, NO_SUFFIX};
use super::shares::{Offer, offers, shares};

/// What the profile's resolver says of one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `None` where that is not known, or not yet.
    pub outcome: Option<LookupOutcome>,
    /// The records; empty unless the outcome is `records`.
    pub records: Vec<Record>,
}

/// How a profile's clients find a host for `product`. `told` is what its resolver says of a domain,
/// `status` what is seen of a host, both over the profile's path.
pub fn discover(
    profile: &Profile,
    product: Product,
    told: impl Fn(&Name) -> Told,
    status: impl Fn(&Host) -> HostStatus,
) -> Discovery {
    if let Some(host) = profile.fixed_host(product) {
        return fixed(product, host, status(host));
    }
    let search: Vec<(Name, Told)> =
        profile.search.iter().map(|domain| (domain.name.clone(), told(&domain.name))).collect();
    let (steps, end) = walk(&search);
    let records = |domain: &Name| search.iter().find(|(name, _)| name == domain);
    let picked = match &end {
        End::Answered(domain) => records(domain).map(|(_, told)| told.records.as_slice()),
        _ => None,
    };
    let hosts = choices(profile.selection, picked.unwrap_or_default(), &status);
    let verdict = match &end {
        End::Answered(domain) => among(&hosts, None, Reason::HostsDown, Some(domain)),
        End::Unknown(_) => Verdict::Unknown,
        end => Verdict::Fails(failure(&steps, end)),
    };
    let failovers = failovers(profile.selection, &hosts, Reason::HostsDown, end_domain(&end));
    let fails = matches!(verdict, Verdict::Fails(_));
    let hidden = fails.then(|| hidden(&search, &steps, &status)).flatten();
    Discovery { product, steps, end, hosts, failovers, verdict, hidden }
}

fn fixed(product: Product, host: &Host, status: HostStatus) -> Discovery {
    let live_share = if status.is_up() { 1.0 } else { 0.0 };
    let host = host.clone();
    let hosts = vec![Choice { host, priority: 0, weight: 0, share: 1.0, live_share, status }];
    Discovery {
        product,
        steps: Vec::new(),
        end: End::Fixed,
        failovers: failovers(Selection::Weighted, &hosts, Reason::FixedHostDown, None),
        verdict: among(&hosts, None, Reason::FixedHostDown, None),
        hosts,
        hidden: None,
    }
}

/// The search: each domain with its effect, and where it ends.
fn walk(search: &[(Name, Told)]) -> (Vec<Step>, End) {
    let mut end = None;
    let mut steps = Vec::with_capacity(search.len());
    for (domain, told) in search {
        let effect = match (&end, told.outcome) {
            (Some(_), _) => Effect::NotReached,
            (None, None) => Effect::Unknown,
            (None, Some(LookupOutcome::Records)) => Effect::Ends,
            (None, Some(_)) => Effect::GoesOn,
        };
        match effect {
            Effect::Unknown => end = Some(End::Unknown(domain.clone())),
            Effect::Ends if told.records.iter().all(|record| record.target.is_root()) => {
                end = Some(End::Declined(domain.clone()));
            }
            Effect::Ends => end = Some(End::Answered(domain.clone())),
            Effect::GoesOn | Effect::NotReached => {}
        }
        steps.push(Step { domain: domain.clone(), outcome: told.outcome, effect });
    }
    let nowhere = if search.is_empty() { End::NoSuffix } else { End::Exhausted };
    (steps, end.unwrap_or(nowhere))
}

fn end_domain(end: &End) -> Option<&Name> {
    match end {
        End::Answered(domain) | End::Declined(domain) | End::Unknown(domain) => Some(domain),
        End::Fixed | End::NoSuffix | End::Exhausted => None,
    }
}

/// Why a search without hosts fails: the first failed lookup, else the first NODATA, else the first
/// NXDOMAIN.
fn failure(steps: &[Step], end: &End) -> Failure {
    if let End::Declined(domain) = end {
        let (reason, domain) = (Reason::Declined, Some(domain.clone()));
        return Failure { reason, domain, error: Some(NO_KMS_CONTACTED) };
    }
    let rank = |outcome: LookupOutcome| match outcome {
        LookupOutcome::Nxdomain => 2,
        LookupOutcome::Nodata => 1,
        _ => 0,
    };
    let told = steps.iter().filter_map(|step| Some((step, step.outcome?)));
    let Some((step, outcome)) = told.min_by_key(|(_, outcome)| rank(*outcome)) else {
        return Failure { reason: Reason::NoSuffix, domain: None, error: Some(NO_SUFFIX) };
    };
    let reason = match outcome {
        LookupOutcome::Nxdomain => Reason::NameDoesNotExist,
        LookupOutcome::Nodata => Reason::NoRecords,
        other => Reason::LookupFailed(other),
    };
    Failure { reason, domain: Some(step.domain.clone()), error: errors::of_lookup(outcome) }
}

fn choices(
    selection: Selection,
    records: &[Record],
    status: &impl Fn(&Host) -> HostStatus,
) -> Vec<Choice> {
    let mut hosts: Vec<Choice> = offers(records)
        .into_iter()
        .map(|(host, priority, weight)| {
            let status = status(&host);
            Choice { host, priority, weight, share: 0.0, live_share: 0.0, status }
        })
        .collect();
    let all = parts(selection, &hosts, |_| true);
    let live = parts(selection, &hosts, |host| host.status.is_up());
    for (host, (share, live_share)) in hosts.iter_mut().zip(all.into_iter().zip(live)) {
        (host.share, host.live_share) = (share, live_share);
    }
    hosts
}

/// The part of clients that each host gets, among those that count.
fn parts(selection: Selection, hosts: &[Choice], counts: impl Fn(&Choice) -> bool) -> Vec<f64> {
    let offer = |host: &Choice| {
        let (priority, weight) = match selection {
            Selection::Weighted => (host.priority, host.weight),
            Selection::Uniform => (0, 0),
        };
        Offer { priority, weight, counts: counts(host) }
    };
    shares(&hosts.iter().map(offer).collect::<Vec<_>>())
}

/// What comes of these hosts without one of them.
fn among(
    hosts: &[Choice],
    without: Option<&Host>,
    reason: Reason,
    domain: Option<&Name>,
) -> Verdict {
    let mut rest = hosts.iter().filter(|choice| Some(&choice.host) != without);
    if rest.clone().any(|choice| choice.status.is_up()) {
        return Verdict::Served;
    }
    if rest.any(|choice| choice.status == HostStatus::Unknown) {
        return Verdict::Unknown;
    }
    Verdict::Fails(Failure { reason, domain: domain.cloned(), error: Some(NO_KMS_CONTACTED) })
}

fn failovers(
    selection: Selection,
    hosts: &[Choice],
    reason: Reason,
    domain: Option<&Name>,
) -> Vec<Failover> {
    let failover = |failing: &Choice| {
        let host = &failing.host;
        let counts = |choice: &Choice| choice.host != *host && choice.status.is_up();
        let parts = parts(selection, hosts, counts);
        let gets = hosts.iter().zip(parts).filter(|(_, part)| *part > 0.0);
        Failover {
            host: host.clone(),
            takes_over: gets.map(|(choice, part)| (choice.host.clone(), part)).collect(),
            verdict: among(hosts, Some(host), reason, domain),
        }
    };
    hosts.iter().map(failover).collect()
}

/// A later domain with a host that is up, and that host.
fn hidden(
    search: &[(Name, Told)],
    steps: &[Step],
    status: &impl Fn(&Host) -> HostStatus,
) -> Option<(Name, Host)> {
    let later = search.iter().zip(steps).filter(|(_, step)| step.effect == Effect::NotReached);
    later.into_iter().find_map(|((domain, told), _)| {
        let mut hosts = offers(&told.records).into_iter().map(|(host, _, _)| host);
        Some((domain.clone(), hosts.find(|host| status(host).is_up())?))
    })
}
