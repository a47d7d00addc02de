//! PURE. What a resolver's servers say of a target's addresses.

use std::net::IpAddr;

use crate::model::observation::MAX_ADDRESSES;
use crate::model::{LookupKey, Name, RecordKind, Resolver};

use super::state::{Horizon, Lookup, State};

/// What a resolver's servers say of a target's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Whether there are addresses.
    pub verdict: Verdict,
    /// Sorted, at most [`MAX_ADDRESSES`]; held from the last answer that had some while no server
    /// says otherwise.
    pub addresses: Vec<IpAddr>,
    /// Addresses beyond the bound.
    pub left_out: usize,
    /// The CNAME chain that led to them, or to their absence; empty where the target is no alias.
    pub aliases: Vec<Name>,
}

/// Whether a target has addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has.
    Resolved,
    /// A and AAAA are both denied by every usable answer.
    Denied,
    /// The lookups failed: nobody knows.
    Unknown,
    /// Not every server that has to be asked was asked yet.
    Pending,
}

/// The two types of addresses.
pub const ADDRESS_KINDS: [RecordKind; 2] = [RecordKind::A, RecordKind::Aaaa];

/// What the servers of `resolver` say of `target`. The freshest answer with addresses counts, as a
/// client would have got it from one of them; only where none has any, all must have been asked.
/// A target that spells an address needs no server.
pub fn resolve(state: &State, resolver: &Resolver, target: &Name, horizon: &Horizon) -> Resolution {
    if let Some(address) = target.as_address() {
        return Resolution {
            verdict: Verdict::Resolved,
            addresses: vec![address],
            left_out: 0,
            aliases: vec![],
        };
    }
    let kinds = ADDRESS_KINDS.map(|kind| Kind::of(state, resolver, target, kind, horizon));
    let known: Vec<&Lookup> = kinds.iter().filter_map(|kind| kind.records).collect();
    let denied = kinds.iter().all(|kind| kind.is_denied);
    let is_fresh =
        |lookup: &&Lookup| lookup.usable.as_ref().is_some_and(|usable| horizon.is_fresh(usable.at));
    let verdict = match known.iter().any(is_fresh) {
        true => Verdict::Resolved,
        false if denied => Verdict::Denied,
        false if kinds.iter().any(|kind| kind.is_pending) => Verdict::Pending,
        false => Verdict::Unknown,
    };
    let held = if verdict == Verdict::Denied { &[][..] } else { &known };
    let answers =
        || held.iter().filter_map(|lookup| lookup.usable.as_ref()).map(|usable| &usable.value);
    let mut addresses: Vec<IpAddr> =
        answers().flat_map(|answer| answer.addresses.iter().copied()).collect();
    addresses.sort_unstable();
    let omitted: usize = answers().map(|answer| answer.omitted).sum();
    let left_out = omitted + addresses.len().saturating_sub(MAX_ADDRESSES);
    addresses.truncate(MAX_ADDRESSES);
    let aliases = kinds.iter().map(|kind| kind.aliases).find(|aliases| !aliases.is_empty());
    Resolution { verdict, addresses, left_out, aliases: aliases.unwrap_or_default().to_vec() }
}

/// What the servers say of one type.
struct Kind<'a> {
    /// The last usable answer with addresses, of the server that gave it last.
    records: Option<&'a Lookup>,
    /// Every server denied lately, and none failed since: a failed lookup is unknown instead.
    is_denied: bool,
    /// The CNAME chain of some usable answer.
    aliases: &'a [Name],
    /// Some server was not asked yet.
    is_pending: bool,
}

impl<'a> Kind<'a> {
    fn of(
        state: &'a State,
        resolver: &Resolver,
        target: &Name,
        kind: RecordKind,
        horizon: &Horizon,
    ) -> Self {
        let (mut records, mut denials, mut is_pending) =
            (None::<(&Lookup, jiff::Timestamp)>, 0, false);
        let mut aliases: &[Name] = &[];
        for upstream in &resolver.upstreams {
            let key = LookupKey { upstream: upstream.clone(), name: target.clone(), kind };
            let Some(lookup) = state.lookup(&key) else {
                is_pending = true;
                continue;
            };
            let Some(usable) = &lookup.usable else { continue };
            let is_fresh = horizon.is_fresh(usable.at);
            if aliases.is_empty() && (is_fresh || !usable.value.outcome.is_denial()) {
                aliases = &usable.value.aliases;
            }
            if usable.value.outcome.is_denial() {
                // A denial before a lookup that failed is no denial now.
                denials += usize::from(is_fresh && lookup.latest.value.outcome.is_usable());
                continue;
            }
            // It had addresses when it was asked last, but its turn was long ago.
            is_pending |= !is_fresh && lookup.latest.at == usable.at;
            if records.is_none_or(|(_, at)| at < usable.at) {
                records = Some((lookup, usable.at));
            }
        }
        Self {
            records: records.map(|(lookup, _)| lookup),
            is_denied: denials == resolver.upstreams.len(),
            aliases,
            is_pending,
        }
    }
}
