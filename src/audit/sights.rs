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
            Sighted { sight, domains: Vec::new() }
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

    /// The domain at this place of the plan leads its clients there now, and led them elsewhere before.
    pub(super) fn lead(&mut self, domain: u32, before: &[Arc<Sight>], now: &[Arc<Sight>]) {
        if before.iter().map(place).eq(now.iter().map(place)) {
            return;
        }
        for sight in before {
            let Some(known) = self.known.get_mut(&key_of(sight)) else { continue };
            known.domains.binary_search(&domain).ok().map(|at| known.domains.remove(at));
        }
        for sight in now {
            let Some(known) = self.known.get_mut(&key_of(sight)) else { continue };
            if let Err(at) = known.domains.binary_search(&domain) {
                known.domains.insert(at, domain);
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
    use super::*;
    use crate::model::{Labels, Name};

    #[test]
    fn what_nobody_uses_any_more_is_forgotten() {
        let (plan, state) = (Plan::empty(), State::default());
        let resolver = Arc::new(Resolver {
            name: "hq".into(),
            upstreams: Vec::new(),
            path: Arc::default(),
            labels: Labels::default(),
            base: None,
        });
        let mut sights = Sights::default();
        let [used, other] = ["kms1.test", "kms2.test"].map(|target| {
            let host = Host { target: Name::parse(target).expect("a name"), port: 1688 };
            sights.of(&plan, &state, (&resolver, &host), Timestamp::UNIX_EPOCH)
        });
        sights.lead(0, &[], &[used.clone(), other.clone()]);
        sights.lead(0, &[used.clone(), other], std::slice::from_ref(&used));
        let published = sights.uses(&[], &[]);
        let led: Vec<_> = published.iter().map(|(host, by)| (*host, &by.domains[..])).collect();
        assert_eq!(led, [(&*used.host, &[0][..])]);
        let places = HashSet::from_iter([place(&used)]);
        sights.keep(&places);
        assert_eq!(sights.iter().map(place).collect::<HashSet<_, _>>(), places);
    }
}
