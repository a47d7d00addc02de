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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Labels, Path, Resolver};

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn profile(suffixes: &[&str], selection: Selection) -> Profile {
        let (upstreams, path) = (Vec::new(), Arc::new(Path::default()));
        let resolver =
            Resolver { name: "hq".into(), upstreams, path, labels: Labels::default(), base: None };
        let suffixes = suffixes.iter().map(|suffix| name(suffix)).collect();
        Profile { suffixes, selection, ..Profile::of("lab", Arc::new(resolver)) }.with_search()
    }

    /// One suffix that offers these hosts: `k0.test` and so on.
    fn offered(selection: Selection, hosts: &[(u16, u16, HostStatus)]) -> Discovery {
        let target = |at: usize| name(&format!("k{at}.test"));
        let record = |(at, (priority, weight, _)): (usize, &(u16, u16, HostStatus))| Record {
            priority: *priority,
            weight: *weight,
            port: 1688,
            target: target(at),
            ttl: 60,
        };
        let records: Vec<Record> = hosts.iter().enumerate().map(record).collect();
        let told =
            |_: &Name| Told { outcome: Some(LookupOutcome::Records), records: records.clone() };
        let status = |host: &Host| {
            let at = (0..hosts.len()).find(|at| target(*at) == host.target);
            hosts[at.expect("offered")].2
        };
        discover(&profile(&["a.test"], selection), Product::Windows, told, status)
    }

    fn host(at: usize) -> Host {
        Host { target: name(&format!("k{at}.test")), port: 1688 }
    }

    /// The chance of each host to be the first that answers, by walking every order in which a client
    /// may try them: within a priority it picks by weight among those not tried yet, at random where
    /// all of them weigh nothing; then comes the next priority.
    fn walked(
        tiers: &[Vec<usize>],
        hosts: &[(u16, u16, HostStatus)],
        chance: f64,
        served: &mut [f64],
    ) {
        let Some((tier, later)) = tiers.split_first() else { return };
        if tier.is_empty() {
            return walked(later, hosts, chance, served);
        }
        let sum: u32 = tier.iter().map(|at| u32::from(hosts[*at].1)).sum();
        for at in tier {
            #[expect(clippy::cast_precision_loss, reason = "a handful of hosts")]
            let part = match sum {
                0 => 1.0 / tier.len() as f64,
                _ => f64::from(hosts[*at].1) / f64::from(sum),
            };
            if part == 0.0 {
                continue;
            }
            if hosts[*at].2.is_up() {
                served[*at] += chance * part;
            } else {
                let rest: Vec<usize> = tier.iter().copied().filter(|one| one != at).collect();
                let tiers: Vec<Vec<usize>> = [vec![rest], later.to_vec()].concat();
                walked(&tiers, hosts, chance * part, served);
            }
        }
    }

    /// By walking the picks of RFC 2782; of clients that ignore them, all hosts are alike.
    fn expected(selection: Selection, hosts: &[(u16, u16, HostStatus)]) -> Vec<f64> {
        let alike: Vec<_> = hosts.iter().map(|(_, _, status)| (0, 0, *status)).collect();
        let hosts = if selection == Selection::Uniform { alike.as_slice() } else { hosts };
        let mut priorities: Vec<u16> = hosts.iter().map(|host| host.0).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let tier =
            |priority: &u16| (0..hosts.len()).filter(|at| hosts[*at].0 == *priority).collect();
        let tiers: Vec<Vec<usize>> = priorities.iter().map(tier).collect();
        let mut served = vec![0.0; hosts.len()];
        walked(&tiers, hosts, 1.0, &mut served);
        served
    }

    fn statuses() -> impl Strategy<Value = HostStatus> {
        use HostStatus::{Degraded, Down, Unknown, Up};
        proptest::sample::select(vec![Up, Down, Down, Degraded, Unknown])
    }

    fn selections() -> impl Strategy<Value = Selection> {
        proptest::sample::select(vec![Selection::Weighted, Selection::Uniform])
    }

    proptest! {
        #[test]
        fn parts_are_those_of_every_order_of_picks(
            hosts in proptest::collection::vec((0_u16..3, prop_oneof![Just(0_u16), 0..4_u16, any::<u16>()], statuses()), 1..6),
            selection in selections(),
        ) {
            let discovery = offered(selection, &hosts);
            let all_up: Vec<_> = hosts.iter().map(|(p, w, _)| (*p, *w, HostStatus::Up)).collect();
            let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
            for (at, (first, live)) in expected(selection, &all_up).into_iter().zip(expected(selection, &hosts)).enumerate() {
                let choice = discovery.hosts.iter().find(|choice| choice.host == host(at)).expect("offered");
                prop_assert!(near(choice.share, first), "{at}: share {} is not {first}", choice.share);
                prop_assert!(near(choice.live_share, live), "{at}: live {} is not {live}", choice.live_share);
            }
            for failover in &discovery.failovers {
                let failed: Vec<_> = hosts.iter().enumerate().map(|(at, (p, w, status))| {
                    (*p, *w, if host(at) == failover.host { HostStatus::Down } else { *status })
                }).collect();
                let then = expected(selection, &failed);
                let takes = |at: usize| failover.takes_over.iter().find(|(taker, _)| *taker == host(at)).map_or(0.0, |(_, part)| *part);
                for (at, part) in then.iter().enumerate() {
                    prop_assert!(near(takes(at), *part), "without {}: {at} gets {} instead of {part}", failover.host, takes(at));
                }
                let verdict = offered(selection, &failed).verdict;
                prop_assert_eq!(&failover.verdict, &verdict);
                let served = then.iter().sum::<f64>() > 0.5;
                prop_assert_eq!(verdict == Verdict::Served, served);
            }
        }

        /// The search as the design tells it, step by step, in other words than the code.
        #[test]
        fn a_search_ends_where_the_model_says(outcomes in proptest::collection::vec(proptest::sample::select(LookupOutcome::ALL.to_vec()), 0..5)) {
            let suffixes: Vec<String> = (0..outcomes.len()).map(|at| format!("s{at}.test")).collect();
            let names: Vec<&str> = suffixes.iter().map(String::as_str).collect();
            let record = Record { priority: 0, weight: 0, port: 1688, target: name("k0.test"), ttl: 60 };
            let told = |domain: &Name| {
                let at = names.iter().position(|name| *name == domain.as_str()).expect("asked");
                let records = if outcomes[at] == LookupOutcome::Records { vec![record.clone()] } else { vec![] };
                Told { outcome: Some(outcomes[at]), records }
            };
            let profile = profile(&names, Selection::Weighted);
            let discovery = discover(&profile, Product::Office, told, |_| HostStatus::Up);
            if let Some(first) = outcomes.iter().position(|outcome| *outcome == LookupOutcome::Records) {
                prop_assert_eq!(&discovery.end, &End::Answered(name(names[first])));
                prop_assert_eq!(&discovery.verdict, &Verdict::Served);
                let reached = discovery.steps.iter().filter(|step| step.effect != Effect::NotReached).count();
                prop_assert_eq!(reached, first + 1);
            } else {
                let failed = outcomes.iter().find(|outcome| !outcome.is_usable());
                let nodata = outcomes.iter().find(|outcome| **outcome == LookupOutcome::Nodata);
                let code = failed.or(nodata).or(outcomes.first()).map_or(Some(NO_SUFFIX), |outcome| errors::of_lookup(*outcome));
                let failure = discovery.failure().expect("nothing has records");
                prop_assert_eq!(failure.error, code);
                let told = failure.domain.as_ref().map(|domain| told(domain).outcome);
                prop_assert_eq!(told.flatten(), failed.or(nodata).or(outcomes.first()).copied());
            }
        }
    }

    /// The algorithm of RFC 2782 as it stands there, drawn many times: a running sum over the records
    /// in an order with those of weight 0 first, and a random number up to the sum, both included.
    #[test]
    fn drawing_as_the_rfc_says_comes_to_the_same_shares() {
        use rand::{Rng as _, RngExt as _, SeedableRng as _};
        const DRAWS: u32 = 40_000;
        let mut random = rand::rngs::SmallRng::seed_from_u64(2782);
        let _ = random.next_u64();
        let (up, down) = (HostStatus::Up, HostStatus::Down);
        // Weights are large: then the one number that a record of weight 0 may be drawn by is rare.
        let hosts =
            [(10, 7500, up), (10, 2500, down), (10, 5000, up), (10, 0, up), (20, 30_000, up)];
        let mut served = [0_u32; 5];
        for _ in 0..DRAWS {
            let mut left: Vec<usize> = vec![3, 0, 1, 2];
            while !left.is_empty() {
                let sum: u32 = left.iter().map(|at| hosts[*at].1).sum();
                let drawn = random.random_range(0..=sum);
                let mut running = 0;
                let position = left.iter().position(|at| {
                    running += hosts[*at].1;
                    running >= drawn
                });
                let at = left.remove(position.expect("the sum is reached"));
                if hosts[at].2 == up {
                    served[at] += 1;
                    break;
                }
            }
        }
        let offers = hosts.map(|(priority, weight, status)| {
            (priority, u16::try_from(weight).expect("small"), status)
        });
        let discovery = offered(Selection::Weighted, &offers);
        for (at, count) in served.into_iter().enumerate() {
            let drawn = f64::from(count) / f64::from(DRAWS);
            let choice = discovery.hosts.iter().find(|choice| choice.host == host(at));
            let share = choice.expect("offered").live_share;
            assert!((share - drawn).abs() < 0.015, "{at}: {share}, and drawn {drawn}");
        }
    }
}
