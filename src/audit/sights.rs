//! What every resolver's clients see of every host, and which domains lead them there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;

use super::domain::DomainAudit;
use super::profiles::ProfileAudit;
use super::sight::Sight;
use crate::model::{Host, Plan, Resolver};
use crate::observe::state::{Changes, State};

/// Each sight is looked at once and then shared. Who publishes its host is kept up with each domain that is
/// audited: to gather it from all domains would take longer than all else that an audit does.
#[derive(Debug, Default)]
pub(super) struct Sights {
    known: HashMap<Key, Sighted, FixedState>,
}

/// A resolver, by its place in memory (the plan keeps it there), and a host.
type Key = (usize, Host);

/// A resolver and a host, both by their places in memory: to hash names a thousand times takes longer.
pub(super) type Place = (usize, usize);

#[derive(Debug)]
struct Sighted {
    sight: Arc<Sight>,
    /// The places in the plan of the domains that publish the host to these clients, in their order.
    domains: Vec<u32>,
    /// Those that do so since, or no more: taken over all at once, for thousands may leave a host together.
    come: Vec<u32>,
    gone: Vec<u32>,
}

/// Who publishes a host, and who sees it.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// The places of the domains in the plan, in their order.
    pub(super) domains: Vec<u32>,
    /// One for each resolver that leads to it.
    pub(super) sights: Vec<Arc<Sight>>,
}

impl Sights {
    /// What a resolver's clients see of a host.
    pub(super) fn of(
        &mut self,
        plan: &Plan,
        state: &State,
        (resolver, host): (&Arc<Resolver>, &Host),
        now: Timestamp,
    ) -> Arc<Sight> {
        let new = || {
            let sight = Arc::new(Sight::new(plan, state, resolver, &Arc::new(host.clone()), now));
            Sighted { sight, domains: Vec::new(), come: Vec::new(), gone: Vec::new() }
        };
        self.known.entry((id(resolver), host.clone())).or_insert_with(new).sight.clone()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Sight>> {
        self.known.values().map(|sighted| &sighted.sight)
    }

    /// Looks again at those that were touched; tells which look different to a domain now.
    pub(super) fn refresh(
        &mut self,
        plan: &Plan,
        state: &State,
        changes: &Changes,
        now: Timestamp,
    ) -> HashSet<Place, FixedState> {
        let mut moved = HashSet::default();
        for Sighted { sight, .. } in self.known.values_mut() {
            let is_touched = sight.expires < now
                || changes.targets.contains(&sight.host.target)
                || sight.watches(plan, |endpoint| changes.endpoints.contains(endpoint));
            if !is_touched {
                continue;
            }
            let fresh = Sight::new(plan, state, &sight.resolver, &sight.host, now);
            if !fresh.is_same_for_domains(sight) {
                moved.insert(place(sight));
            }
            *sight = Arc::new(fresh);
        }
        moved
    }

    /// The domain at this place of the plan leads its clients there now, and led them elsewhere before;
    /// [`Self::settle`] comes when all have said so.
    pub(super) fn lead(&mut self, domain: u32, before: &[Arc<Sight>], now: &[Arc<Sight>]) {
        if before.iter().map(place).eq(now.iter().map(place)) {
            return;
        }
        for (sights, is_now) in [(before, false), (now, true)] {
            let has =
                |others: &[Arc<Sight>], one| others.iter().map(place).any(|it| it == place(one));
            let others = if is_now { before } else { now };
            for sight in sights.iter().filter(|sight| !has(others, sight)) {
                let Some(known) = self.known.get_mut(&key_of(sight)) else { continue };
                if is_now { known.come.push(domain) } else { known.gone.push(domain) }
            }
        }
    }

    /// Takes over where domains lead now.
    pub(super) fn settle(&mut self) {
        for Sighted { domains, come, gone, .. } in self.known.values_mut() {
            if !gone.is_empty() {
                gone.sort_unstable();
                domains.retain(|domain| gone.binary_search(domain).is_err());
                *gone = Vec::new();
            }
            if !come.is_empty() {
                domains.append(come);
                domains.sort_unstable();
                domains.dedup();
                *come = Vec::new();
            }
        }
    }

    /// Every host that is published or that profiles come to, the domains that publish it, and who sees it.
    pub(super) fn uses(
        &self,
        audits: &[Option<DomainAudit>],
        profiles: &[ProfileAudit],
    ) -> BTreeMap<&Host, Use> {
        let mut seen: BTreeMap<&Host, Vec<&Sighted>> = BTreeMap::new();
        for sighted in self.known.values().filter(|sighted| !sighted.domains.is_empty()) {
            seen.entry(&sighted.sight.host).or_default().push(sighted);
        }
        // The map has no order of its own, and what is told shall not change with it.
        for seen in seen.values_mut().filter(|seen| seen.len() > 1) {
            seen.sort_by_key(|sighted| sighted.rank(audits));
        }
        for sight in profiles.iter().flat_map(|audit| &audit.sights) {
            let Some(sighted) = self.known.get(&key_of(sight)) else { continue };
            let seen = seen.entry(&sighted.sight.host).or_default();
            if !seen.iter().any(|one| std::ptr::eq(*one, sighted)) {
                seen.push(sighted);
            }
        }
        seen.into_iter().map(|(host, seen)| (host, Use::of(&seen))).collect()
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, used: &HashSet<Place, FixedState>) {
        self.known.retain(|_, sighted| used.contains(&place(&sighted.sight)));
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

impl Sighted {
    /// Where it comes first: in which domain, and which of its sights it is.
    fn rank(&self, audits: &[Option<DomainAudit>]) -> Option<(u32, usize)> {
        let first = *self.domains.first()?;
        let audit = audits.get(usize::try_from(first).ok()?)?.as_ref()?;
        let mine = place(&self.sight);
        Some((first, audit.sights.iter().position(|sight| place(sight) == mine)?))
    }
}

impl Use {
    fn of(seen: &[&Sighted]) -> Self {
        let mut domains: Vec<u32> =
            seen.iter().flat_map(|sighted| &sighted.domains).copied().collect();
        if seen.len() > 1 {
            domains.sort_unstable();
            domains.dedup();
        }
        Self { domains, sights: seen.iter().map(|sighted| sighted.sight.clone()).collect() }
    }
}

pub(super) fn place(sight: &Arc<Sight>) -> Place {
    (id(&sight.resolver), Arc::as_ptr(&sight.host).addr())
}

fn key_of(sight: &Sight) -> Key {
    (id(&sight.resolver), Host::clone(&sight.host))
}

fn id(resolver: &Arc<Resolver>) -> usize {
    Arc::as_ptr(resolver).addr()
}

#[cfg(test)]
mod tests {
    use super::super::domain::audit_domain;
    use super::*;
    use crate::config::{parse_server, plan_for, resolver_of};
    use crate::model::{KmsMode, Name};

    fn resolvers() -> [Arc<Resolver>; 2] {
        let server = parse_server("10.0.0.53").expect("a server");
        ["one", "two"].map(|name| resolver_of(name, &[server]))
    }

    fn sight(sights: &mut Sights, resolver: &Arc<Resolver>, target: &str) -> Arc<Sight> {
        let (plan, state) = (Plan::empty(), State::default());
        let host = Host { target: Name::parse(target).expect("a name"), port: 1688 };
        sights.of(&plan, &state, (resolver, &host), Timestamp::UNIX_EPOCH)
    }

    /// The domains that publish each host.
    fn publishers(sights: &Sights) -> Vec<(String, Vec<u32>)> {
        let all = sights.uses(&[], &[]).into_iter();
        all.map(|(host, by)| (host.target.to_string(), by.domains)).collect()
    }

    #[test]
    fn what_nobody_uses_any_more_is_forgotten() {
        let ([resolver, _], mut sights) = (resolvers(), Sights::default());
        let [used, other] =
            ["kms1.test", "kms2.test"].map(|host| sight(&mut sights, &resolver, host));
        let both = [used.clone(), other];
        sights.lead(0, &[], &both);
        sights.settle();
        sights.lead(0, &both, &both[..1]);
        sights.settle();
        assert_eq!(publishers(&sights), [("kms1.test".to_owned(), vec![0])]);
        let places = HashSet::from_iter([place(&used)]);
        sights.keep(&places);
        assert_eq!(sights.iter().map(place).collect::<HashSet<_, _>>(), places);
    }

    #[test]
    fn domains_come_and_go_together_in_any_order() {
        let ([resolver, _], mut sights) = (resolvers(), Sights::default());
        let [one, other] =
            ["kms1.test", "kms2.test"].map(|host| [sight(&mut sights, &resolver, host)]);
        [7, 3, 5, 1].into_iter().for_each(|domain| sights.lead(domain, &[], &one));
        sights.settle();
        [1, 5].into_iter().for_each(|domain| sights.lead(domain, &one, &other));
        sights.lead(3, &one, &[]);
        sights.lead(2, &[], &one);
        sights.settle();
        let expected = [("kms1.test".to_owned(), vec![2, 7]), ("kms2.test".to_owned(), vec![1, 5])];
        assert_eq!(publishers(&sights), expected);
    }

    /// Those of the first domain that publishes the host, whichever was looked at first.
    #[test]
    fn sights_of_a_host_come_in_the_order_of_its_domains() {
        let resolvers = resolvers();
        let plan = plan_for(
            &["a.test", "b.test"].map(|name| Name::parse(name).expect("a name")),
            KmsMode::Required,
            resolvers.to_vec(),
        );
        for turned in [false, true] {
            let mut sights = Sights::default();
            let mut made: Vec<_> =
                resolvers.iter().map(|resolver| sight(&mut sights, resolver, "kms.test")).collect();
            if turned {
                made.reverse();
            }
            let audits: Vec<Option<DomainAudit>> = (0..)
                .zip(&plan.domains)
                .map(|(number, domain)| {
                    let now = Timestamp::UNIX_EPOCH;
                    let audit = audit_domain(&plan, domain, &State::default(), now, |_, _| {
                        unreachable!("nothing was seen")
                    });
                    sights.lead(number, &[], &made[1..]);
                    Some(DomainAudit { sights: made.clone(), ..audit })
                })
                .collect();
            sights.lead(1, &made[1..], &made);
            sights.lead(0, &made[1..], &made);
            sights.settle();
            let used = sights.uses(&audits, &[]);
            let [used] = &used.values().collect::<Vec<_>>()[..] else { panic!("one host") };
            let places = |sights: &[Arc<Sight>]| sights.iter().map(place).collect::<Vec<_>>();
            assert_eq!(places(&used.sights), places(&made), "turned: {turned}");
            assert_eq!(used.domains, [0, 1]);
        }
    }
}
