//! One domain: what its servers say, what it publishes, and what is wrong with it by itself.

use std::sync::Arc;

use jiff::Timestamp;

use crate::client::shares::{self as client, Offer, shares};
use crate::model::finding::FindingId;
use crate::model::observation::MAX_ENDPOINTS;
use crate::model::snapshot::{AnswerView, DomainHost, DomainView, HostStatus, LeftOut, SeenHost};
use crate::model::srv::naming_hosts;
use crate::model::{
    Answer, Finding, Host, KmsMode, Plan, PlannedDomain, Record, Resolver, Upstream,
};
use crate::observe::history::Past;
use crate::observe::state::{Horizon, State};

use super::past::{self, Vanished};
use super::sight::{Sight, status};
use super::{lookups, records, tiers};

/// What came of auditing one domain.
#[derive(Debug)]
pub(super) struct DomainAudit {
    pub(super) view: Arc<DomainView>,
    /// Of this domain alone; those of its hosts and servers are the estate's.
    pub(super) findings: Vec<Arc<Finding>>,
    /// Each published host as the clients of each resolver see it.
    pub(super) sights: Vec<Arc<Sight>>,
    /// Which resolvers lack the host that a record-missing is about.
    pub(super) lacking: Vec<(FindingId, Vec<Arc<str>>)>,
    /// What its record-vanished explain, and by what they may be explained.
    pub(super) vanished: Vanished,
    /// Until then, only a new observation changes it.
    pub(super) expires: Timestamp,
    /// What the estate would else look up in the view, once for each domain with each audit.
    pub(super) answered: Option<Answered>,
    /// Whether some host is down.
    pub(super) has_down: bool,
    /// Whether some host vanished.
    pub(super) has_gone: bool,
}

/// Every server that the domain is asked of answered usably.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) resolvers: Arc<[Arc<Resolver>]>,
    /// When the oldest of the answers came.
    pub(super) oldest: Timestamp,
}

/// What the servers of one resolver say of the domain.
pub(super) struct Asked<'a> {
    pub(super) resolver: &'a Arc<Resolver>,
    pub(super) servers: Vec<Says<'a>>,
}

/// What one server says of the domain.
pub(super) struct Says<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    /// Whether it ever said something, or failed to.
    pub(super) was_asked: bool,
    /// The latest answer, if it is fresh.
    pub(super) latest: Option<&'a Answer>,
    /// The last usable answer, if it is fresh: what absence and difference are concluded from.
    pub(super) usable: Option<&'a Answer>,
    /// The last usable answer, however old: what is published as far as anybody knows.
    pub(super) held: Option<&'a Answer>,
    /// When that came.
    pub(super) held_at: Option<Timestamp>,
}

/// All that the checks of a domain look at.
pub(super) struct Scene<'a> {
    pub(super) plan: &'a Plan,
    pub(super) domain: &'a PlannedDomain,
    pub(super) asked: &'a [Asked<'a>],
    pub(super) records: &'a [Record],
    pub(super) hosts: &'a [DomainHost],
    pub(super) sights: &'a [Arc<Sight>],
    /// Also those that vanished lately.
    pub(super) seen: &'a [SeenHost],
    /// What they are made of, where a history is kept.
    pub(super) past: Option<&'a Past>,
}

/// Audits one domain. `sight` tells what a resolver's clients see of a host.
pub(super) fn audit_domain(
    plan: &Plan,
    domain: &Arc<PlannedDomain>,
    state: &State,
    now: Timestamp,
    mut sight: impl FnMut(&Arc<Resolver>, &Host) -> Arc<Sight>,
) -> DomainAudit {
    let horizon = Horizon::new(now, plan.stale_after());
    let mut answers = Vec::with_capacity(servers(domain));
    let asked: Vec<Asked> = domain
        .resolvers
        .iter()
        .map(|resolver| Asked::new(domain, resolver, state, &horizon, &mut answers))
        .collect();
    let mut sights = Vec::new();
    for asked in &asked {
        asked.hosts().iter().for_each(|host| sights.push(sight(asked.resolver, host)));
    }
    let records = union(&asked);
    let hosts = domain_hosts(&records, &sights);
    let past = state.past(&domain.owner);
    let (seen, vanish_end) = past::seen(past, &asked, plan, now);
    let scene = Scene {
        plan,
        domain,
        asked: &asked,
        records: &records,
        hosts: &hosts,
        sights: &sights,
        seen: &seen,
        past,
    };
    let mut findings = Vec::new();
    lookups::check(&scene, &mut findings);
    let lacking = records::check(&scene, &mut findings);
    let vanished = past::vanished(&scene, &mut findings);
    if domain.kms != KmsMode::None {
        tiers::check(&scene, &mut findings);
    }
    let is_known = asked.iter().flat_map(|asked| &asked.servers).any(|says| says.held.is_some());
    let left_out = left_out(&asked, &sights);
    if left_out != LeftOut::default() {
        findings.iter_mut().for_each(|finding| tell(left_out, Arc::make_mut(finding)));
    }
    let answered = answered(domain, &answers);
    let has_gone = seen.iter().any(|seen| seen.gone.is_some());
    let has_down = hosts.iter().any(|host| host.status == HostStatus::Down);
    let domain = domain.clone();
    let view =
        DomainView { domain, answers, records, is_known, hosts, seen, left_out, audited: now };
    let (view, expires) = (Arc::new(view), horizon.expires().min(vanish_end));
    DomainAudit { view, findings, sights, lacking, vanished, expires, answered, has_down, has_gone }
}

fn answered(domain: &PlannedDomain, answers: &[AnswerView]) -> Option<Answered> {
    let is_usable = |answer: &AnswerView| answer.answer.outcome.is_usable();
    let oldest = answers.iter().map(|answer| answer.at).min()?;
    let all = answers.len() == servers(domain) && answers.iter().all(is_usable);
    all.then(|| Answered { resolvers: domain.resolvers.clone(), oldest })
}

/// How many answers there are where every resolver's servers were asked.
fn servers(domain: &PlannedDomain) -> usize {
    domain.resolvers.iter().map(|resolver| resolver.upstreams.len()).sum()
}

/// What is beyond the bounds: it was not looked at, and is not silently forgotten.
fn left_out(asked: &[Asked], sights: &[Arc<Sight>]) -> LeftOut {
    let held = asked.iter().flat_map(|asked| &asked.servers).filter_map(|says| says.held);
    let endpoints: usize = sights.iter().map(|sight| sight.endpoints.len()).sum();
    LeftOut {
        records: held.map(|answer| answer.omitted).max().unwrap_or(0),
        addresses: sights.iter().map(|sight| sight.resolution.left_out).sum(),
        endpoints: endpoints.saturating_sub(MAX_ENDPOINTS),
    }
}

fn tell(left_out: LeftOut, finding: &mut Finding) {
    let LeftOut { records, addresses, endpoints } = left_out;
    for (what, count) in [("records", records), ("addresses", addresses), ("endpoints", endpoints)]
    {
        if count > 0 {
            finding.evidence.insert(format!("{what}_left_out"), count.into());
        }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        domain: &PlannedDomain,
        resolver: &'a Arc<Resolver>,
        state: &'a State,
        horizon: &Horizon,
        answers: &mut Vec<AnswerView>,
    ) -> Self {
        let mut says = |upstream: &'a Arc<Upstream>| {
            let Some(lookup) = state.lookup(&domain.srv_key(upstream)) else {
                let (latest, usable, held, held_at) = (None, None, None, None);
                return Says { upstream, was_asked: false, latest, usable, held, held_at };
            };
            answers.push(AnswerView {
                resolver: resolver.clone(),
                upstream: upstream.clone(),
                answer: lookup.latest.value.clone(),
                at: lookup.latest.at,
            });
            let usable = lookup.usable.as_ref();
            Says {
                upstream,
                was_asked: true,
                latest: horizon.is_fresh(lookup.latest.at).then_some(&*lookup.latest.value),
                usable: usable
                    .filter(|usable| horizon.is_fresh(usable.at))
                    .map(|usable| &*usable.value),
                held: usable.map(|usable| &*usable.value),
                held_at: usable.map(|usable| usable.at),
            }
        };
        let servers = resolver.upstreams.iter().map(&mut says).collect();
        Self { resolver, servers }
    }

    /// Whether every server was asked, and one at least said something lately: until then nothing is
    /// concluded. One that is overdue is unknown, and keeps nobody from being heard.
    pub(super) fn is_heard(&self) -> bool {
        self.servers.iter().all(|says| says.was_asked)
            && self.servers.iter().any(|says| says.latest.is_some())
    }

    /// Whether some server's latest answer is usable.
    pub(super) fn is_known(&self) -> bool {
        self.servers.iter().any(|says| says.latest.is_some_and(|latest| latest.outcome.is_usable()))
    }

    /// The servers with a fresh usable answer, and that answer.
    pub(super) fn usable(&self) -> impl Iterator<Item = (&'a Arc<Upstream>, &'a Answer)> {
        self.servers.iter().filter_map(|says| Some((says.upstream, says.usable?)))
    }

    /// The hosts that its clients may get, each once.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let held = self.servers.iter().filter_map(|says| says.held);
        let records = naming_hosts(held.flat_map(|answer| &answer.records));
        records.into_iter().map(Record::host).collect()
    }
}

/// The union of the last usable answers: distinct records, the least TTL of each.
fn union(asked: &[Asked]) -> Vec<Record> {
    let held = asked.iter().flat_map(|asked| &asked.servers).filter_map(|says| says.held);
    let mut records: Vec<&Record> = held.flat_map(|answer| &answer.records).collect();
    // The TTL is the last field of the order: the least comes first among equals.
    records.sort_unstable();
    records.dedup_by(|later, first| later.identity() == first.identity());
    records.into_iter().cloned().collect()
}

fn domain_hosts(records: &[Record], sights: &[Arc<Sight>]) -> Vec<DomainHost> {
    let mut hosts: Vec<DomainHost> =
        client::offers(records).into_iter().map(|offer| domain_host(offer, sights)).collect();
    let offers = |counts: fn(&DomainHost) -> bool| -> Vec<Offer> {
        let offer = |host: &DomainHost| Offer {
            priority: host.priority,
            weight: host.weight,
            counts: counts(host),
        };
        hosts.iter().map(offer).collect()
    };
    let (all, live) = (shares(&offers(|_| true)), shares(&offers(|host| host.status.is_up())));
    for (host, (share, live_share)) in hosts.iter_mut().zip(all.into_iter().zip(live)) {
        (host.share, host.live_share) = (share, live_share);
    }
    hosts
}

fn domain_host((host, priority, weight): (Host, u16, u32), sights: &[Arc<Sight>]) -> DomainHost {
    let mine = sights.iter().filter(|sight| *sight.host == host);
    DomainHost {
        priority,
        weight,
        share: 0.0,
        live_share: 0.0,
        status: status(mine.flat_map(|sight| sight.signs())),
        host,
    }
}

impl Scene<'_> {
    /// Whether another host than this one serves the domain's clients.
    pub(super) fn down(&self) -> impl Iterator<Item = &DomainHost> {
        self.hosts.iter().filter(|host| host.status == HostStatus::Down)
    }

    /// The hosts that serve some client.
    pub(super) fn up(&self) -> impl Iterator<Item = &DomainHost> {
        self.hosts.iter().filter(|host| host.status.is_up())
    }
}
