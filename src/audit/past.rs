//! record-vanished, record-stale: the records over time.

use std::sync::Arc;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::{Map, Value};

use crate::model::finding::FindingId;
use crate::model::snapshot::{DomainView, HostStatus, HostView, SeenHost};
use crate::model::{Check, Finding, Host, KmsMode, Plan, PlannedDomain, Subject};
use crate::observe::history::{Past, Row, Track};

use super::domain::{Asked, Says, Scene};
use super::draft::{Draft, listed};
use super::memory::after;
use super::records::with_host;
use super::texts::Key;

/// Since and until when each host was seen, sorted by host, and the last moment at which that is still so
/// by time alone.
pub(super) fn seen(
    past: Option<&Past>,
    asked: &[Asked],
    plan: &Plan,
    now: Timestamp,
) -> (Vec<SeenHost>, Timestamp) {
    // Servers mostly show the same.
    let room = tracks(past, asked).map(|(track, _)| track.rows.len()).max().unwrap_or(0);
    let mut seen: Vec<SeenHost> = Vec::with_capacity(room);
    for (track, says) in tracks(past, asked) {
        for row in &track.rows {
            add(&mut seen, row, says);
        }
    }
    seen.retain(|seen| seen.gone.is_none_or(|gone| now <= after(gone, plan.vanished_for)));
    let ends = seen.iter().filter_map(|seen| Some(after(seen.gone?, plan.vanished_for)));
    let expires = ends.min().unwrap_or(Timestamp::MAX);
    seen.sort_unstable_by(|one, other| one.host.cmp(&other.host));
    (seen, expires)
}

/// Of those servers that are asked now, each once.
fn tracks<'a>(
    past: Option<&'a Past>,
    asked: &'a [Asked<'a>],
) -> impl Iterator<Item = (&'a Track, &'a Says<'a>)> {
    let says = |track: &'a Track| {
        let mut all = asked.iter().flat_map(|asked| &asked.servers);
        Some((track, all.find(|says| *says.upstream == track.upstream)?))
    };
    past.into_iter().flat_map(Past::tracks).filter_map(says)
}

fn add(seen: &mut Vec<SeenHost>, row: &Row, says: &Says) {
    let last_seen = match row.gone {
        None => says.held_at.map_or(row.last_seen, |at| at.max(row.last_seen)),
        Some(_) => row.last_seen,
    };
    let Row { priority, weight, first_seen, gone, .. } = *row;
    let Some(known) = seen.iter_mut().find(|seen| seen.host == row.host) else {
        let host = row.host.clone();
        seen.push(SeenHost { host, priority, weight, first_seen, last_seen, gone });
        return;
    };
    if last_seen > known.last_seen {
        (known.priority, known.weight, known.last_seen) = (priority, weight, last_seen);
    }
    known.first_seen = known.first_seen.min(first_seen);
    known.gone = known.gone.zip(gone).map(|(one, other)| one.max(other));
}

/// What explains what else.
#[derive(Debug, Default)]
pub(super) struct Vanished {
    /// Each record-vanished, and the resolvers whose servers showed it.
    pub(super) lost: Vec<(FindingId, Vec<Arc<str>>)>,
    /// The record-missing of what is listed, and the record-vanished of what stood for it.
    pub(super) explains: Vec<(FindingId, FindingId)>,
}

/// A record seen before is gone by usable answers.
pub(super) fn vanished(scene: &Scene, findings: &mut Vec<Arc<Finding>>) -> Vanished {
    let mut vanished = Vanished::default();
    if scene.domain.kms == KmsMode::None {
        return vanished;
    }
    for seen in scene.seen.iter().filter(|seen| seen.gone.is_some()) {
        let wanted = stands_for(scene, &seen.host);
        if scene.domain.hosts.is_some() && wanted.is_none() {
            continue;
        }
        let (finding, resolvers) = record_vanished(scene, seen);
        if let Some(listed) = wanted {
            let subject =
                Subject::Record { domain: scene.domain.name.clone(), host: listed.clone() };
            let missing = FindingId::new(Check::RecordMissing, &subject, "");
            vanished.explains.push((missing, finding.id.clone()));
        }
        vanished.lost.push((finding.id.clone(), resolvers));
        findings.push(finding);
    }
    vanished
}

/// The listed host that a record stood for: the same, or one of that target that is not published itself.
fn stands_for<'a>(scene: &Scene<'a>, host: &Host) -> Option<&'a Host> {
    let list = scene.domain.hosts.as_deref().unwrap_or_default();
    let mut listed = list.iter().map(|listed| &listed.host);
    let is_published = |host: &Host| scene.records.iter().any(|record| record.host() == *host);
    let elsewhere = |listed: &&Host| listed.target == host.target && !is_published(listed);
    listed.clone().find(|listed| *listed == host).or_else(|| listed.find(elsewhere))
}

fn record_vanished(scene: &Scene, seen: &SeenHost) -> (Arc<Finding>, Vec<Arc<str>>) {
    let SeenHost { host, priority, weight, .. } = seen;
    let losers: Vec<&Says> = holders(scene, host).map(|(_, says)| says).collect();
    let has_lost = |asked: &&Asked| {
        asked.servers.iter().any(|says| losers.iter().any(|one| one.upstream == says.upstream))
    };
    let asked: Vec<&Asked> = scene.asked.iter().filter(has_lost).collect();
    let message = format!(
        "{} does not name {host} any more, say {}: last seen {}",
        scene.domain.owner,
        listed(losers.iter().map(|says| says.upstream.server)),
        shown(seen.last_seen),
    );
    let draft = Draft::record(Check::RecordVanished, scene.domain, host, message);
    let draft = match (asked.as_slice(), scene.asked.len()) {
        ([only], 2..) => draft.at_resolver(only.resolver),
        ([first, ..], _) => draft.asking(first.resolver),
        ([], _) => draft,
    };
    let draft = draft
        .valued(scene.plan, |values| values.set(Key::Priority, priority).set(Key::Weight, weight));
    let servers: Vec<String> = losers.iter().map(|says| says.upstream.server.to_string()).collect();
    let draft = draft
        .evidence("record", format!("{priority} {weight} {} {}", host.port, host.target))
        .evidence("servers", servers)
        .evidence("first_seen", seen.first_seen.to_string())
        .evidence("last_seen", seen.last_seen.to_string())
        .evidence("gone", seen.gone.map(|gone| gone.to_string()));
    (draft.done(), asked.iter().map(|asked| asked.resolver.name.clone()).collect())
}

/// The servers that ever showed the host.
fn holders<'a>(
    scene: &'a Scene<'a>,
    host: &'a Host,
) -> impl Iterator<Item = (&'a Row, &'a Says<'a>)> {
    let row = |(track, says): (&'a Track, &'a Says<'a>)| {
        Some((track.rows.iter().find(|row| row.host == *host)?, says))
    };
    tracks(scene.past, scene.asked).filter_map(row)
}

/// The hosts that left the servers of a resolver, each with when it was last seen.
pub(super) fn left<'a>(scene: &'a Scene<'a>, asked: &Asked) -> Vec<&'a SeenHost> {
    let is_of = |seen: &&SeenHost| {
        holders(scene, &seen.host)
            .any(|(_, says)| asked.servers.iter().any(|own| own.upstream == says.upstream))
    };
    scene.seen.iter().filter(|seen| seen.gone.is_some()).filter(is_of).collect()
}

/// As evidence: when each was last seen.
pub(super) fn last_seen(left: &[&SeenHost]) -> Value {
    let pair = |seen: &&SeenHost| (seen.host.to_string(), Value::from(seen.last_seen.to_string()));
    Value::Object(left.iter().map(pair).collect::<Map<_, _>>())
}

/// For people: to the second, cut as clocks and the journal show it.
pub(super) fn shown(moment: Timestamp) -> String {
    let second = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    moment.round(second).unwrap_or(moment).to_string()
}

/// Published, and the host has not answered for `stale_after`. Returns the last moment at which that is still
/// so by time alone.
pub(super) fn stale<'a>(
    plan: &Plan,
    host: &HostView,
    domains: impl Iterator<Item = &'a DomainView>,
    now: Timestamp,
    findings: &mut Vec<Arc<Finding>>,
) -> Timestamp {
    let mut expires = Timestamp::MAX;
    if host.status != HostStatus::Down {
        return expires;
    }
    for view in domains.filter(|view| view.domain.kms != KmsMode::None) {
        let Some(seen) = view.seen_of(&host.host) else { continue };
        let stale = after(host.last_up.unwrap_or(seen.first_seen), plan.record_stale_after);
        if stale < now {
            findings.push(record_stale(plan, host, view, seen));
        } else {
            expires = expires.min(stale);
        }
    }
    expires
}

fn record_stale(plan: &Plan, host: &HostView, view: &DomainView, seen: &SeenHost) -> Arc<Finding> {
    let domain: &PlannedDomain = &view.domain;
    let when = match host.last_up {
        Some(last_up) => format!("has not answered since {}", shown(last_up)),
        None => format!("has never answered since it was first seen {}", shown(seen.first_seen)),
    };
    let message = format!("{} names {}, which {when}", domain.owner, host.host);
    let draft = Draft::record(Check::RecordStale, domain, &host.host, message);
    let draft = match domain.resolvers.first() {
        Some(resolver) => draft.asking(resolver),
        None => draft,
    };
    let published = view.hosts.iter().find(|published| published.host == host.host);
    let draft = draft.valued(plan, |values| match published {
        Some(published) => with_host(values, published),
        None => values,
    });
    let draft = match host.last_up {
        Some(last_up) => draft.evidence("last_up", last_up.to_string()),
        None => draft,
    };
    draft.evidence("first_seen", seen.first_seen.to_string()).done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_the_journal_shows_it() {
        for at in ["2026-11-21T19:29:08.92Z", "1969-12-31T23:59:58.92Z"] {
            let at: Timestamp = at.parse().expect("a time");
            assert_eq!(shown(at), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
    }
}
