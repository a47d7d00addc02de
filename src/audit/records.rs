//! record-unexpected, record-missing, record-drift, record-duplicate, weight-starved, port-unusual,
//! ttl-extreme: the records by themselves and against the list.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::finding::FindingId;
use crate::model::plan::ListedHost;
use crate::model::snapshot::DomainHost;
use crate::model::srv::naming_hosts;
use crate::model::{Answer, Check, Finding, Host, KmsMode, Record, Upstream};

use super::domain::{Asked, Scene};
use super::draft::{Draft, listed};
use super::lookups::shown;
use super::texts::{Key, Values};

/// Returns which resolvers lack the host of each record-missing.
pub(super) fn check(
    scene: &Scene,
    findings: &mut Vec<Arc<Finding>>,
) -> Vec<(FindingId, Vec<Arc<str>>)> {
    unexpected(scene, findings);
    if scene.domain.kms == KmsMode::None {
        return Vec::new();
    }
    drift(scene, findings);
    duplicates(scene, findings);
    starved(scene, findings);
    findings.extend(unusual_ports(scene));
    findings.extend(extreme_ttls(scene));
    missing(scene, findings)
}

/// The placeholders of one record.
pub(super) fn with_record(values: Values, record: &Record) -> Values {
    let values = values.set(Key::Target, &record.target).set(Key::Port, record.port);
    values.set(Key::Priority, record.priority).set(Key::Weight, record.weight)
}

/// The placeholders of a host as a domain publishes it.
pub(super) fn with_host(values: Values, host: &DomainHost) -> Values {
    let values = values.set(Key::Target, &host.host.target).set(Key::Port, host.host.port);
    values.set(Key::Priority, host.priority).set(Key::Weight, host.weight)
}

fn draft(scene: &Scene, check: Check, record: &Record, message: String) -> Draft {
    let draft = Draft::record(check, scene.domain, &record.host(), message);
    let draft = draft.valued(scene.plan, |values| with_record(values, record));
    let servers: BTreeSet<String> = scene
        .asked
        .iter()
        .flat_map(|asked| holders(asked, record))
        .map(|upstream| upstream.server.to_string())
        .collect();
    let servers: Vec<String> = servers.into_iter().collect();
    let draft = draft.evidence("record", shown(record)).evidence("servers", servers);
    match scene.asked.iter().find(|asked| holders(asked, record).next().is_some()) {
        Some(asked) => draft.asking(asked.resolver),
        None => draft,
    }
}

/// The servers of a resolver whose last usable answer has the record.
fn holders<'a>(asked: &Asked<'a>, record: &Record) -> impl Iterator<Item = &'a Upstream> {
    let has =
        |answer: &Answer| answer.records.iter().any(|one| one.identity() == record.identity());
    let holders = asked.servers.iter().filter(move |says| says.held.is_some_and(has));
    holders.map(|says| &**says.upstream)
}

/// One record for each host: the first by priority.
fn by_host<'a>(scene: &'a Scene) -> impl Iterator<Item = &'a Record> {
    naming_hosts(scene.records.iter()).into_iter()
}

/// A host that the list does not name; any where there shall be none.
fn unexpected(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    let nobody: &[ListedHost] = &[];
    let list = match (&scene.domain.hosts, scene.domain.kms) {
        (_, KmsMode::None) => nobody,
        (Some(list), _) => list,
        (None, _) => return,
    };
    for record in by_host(scene).filter(|record| counterpart(list, scene.records, record).is_none())
    {
        let host = record.host();
        let owner = &scene.domain.owner;
        let message = match scene.domain.kms {
            KmsMode::None => format!("{owner} names {host}, but the domain shall have no KMS host"),
            _ => format!(
                "{owner} names {host}, which is not among the listed hosts: a rogue host, or an outdated list"
            ),
        };
        findings.push(draft(scene, Check::RecordUnexpected, record, message).done());
    }
}

/// The listed host that a record stands for: the same one, or one of that target whose own port is
/// not published.
fn counterpart<'a>(
    list: &'a [ListedHost],
    records: &[Record],
    record: &Record,
) -> Option<&'a ListedHost> {
    let is = |listed: &&ListedHost| {
        listed.host.target == record.target && listed.host.port == record.port
    };
    let elsewhere = |listed: &&ListedHost| {
        let is_published = |record: &Record| {
            record.port == listed.host.port && record.target == listed.host.target
        };
        listed.host.target == record.target && !records.iter().any(is_published)
    };
    list.iter().find(is).or_else(|| list.iter().find(elsewhere))
}

/// Published with another port, priority or weight than listed.
fn drift(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    let Some(list) = &scene.domain.hosts else { return };
    let mut seen: BTreeSet<Host> = BTreeSet::new();
    for record in scene.records.iter().filter(|record| !record.target.is_root()) {
        let Some(listed) = counterpart(list, scene.records, record) else { continue };
        let differences = differences(listed, record);
        if differences.is_empty() || !seen.insert(record.host()) {
            continue;
        }
        let message = format!(
            "{} publishes {} with {}",
            scene.domain.owner,
            record.host(),
            listed_differences(&differences)
        );
        let wanted = listed.priority_and_weight.map_or_else(
            || listed.host.to_string(),
            |(priority, weight)| {
                format!("{priority} {weight} {} {}", listed.host.port, listed.host.target)
            },
        );
        let (priority, weight) = priority_and_weight(listed, record);
        let draft = draft(scene, Check::RecordDrift, record, message);
        let draft = draft.valued(scene.plan, |values| {
            let values = values.set(Key::ListedPort, listed.host.port);
            values.set(Key::ListedPriority, priority).set(Key::ListedWeight, weight)
        });
        findings.push(draft.evidence("listed", wanted).done());
    }
}

fn differences(listed: &ListedHost, record: &Record) -> Vec<(&'static str, u16, u16)> {
    let (priority, weight) = priority_and_weight(listed, record);
    let pairs = [
        ("port", record.port, listed.host.port),
        ("priority", record.priority, priority),
        ("weight", record.weight, weight),
    ];
    pairs.into_iter().filter(|(_, is, shall)| is != shall).collect()
}

/// The priority and weight that the record should have: its own where the config lists none.
fn priority_and_weight(listed: &ListedHost, record: &Record) -> (u16, u16) {
    listed.priority_and_weight.unwrap_or((record.priority, record.weight))
}

fn listed_differences(differences: &[(&'static str, u16, u16)]) -> String {
    listed(differences.iter().map(|(what, is, shall)| format!("{what} {is} instead of {shall}")))
}

/// A listed host that is not published: every fresh usable answer of a resolver lacks it.
fn missing(scene: &Scene, findings: &mut Vec<Arc<Finding>>) -> Vec<(FindingId, Vec<Arc<str>>)> {
    let mut lacking = Vec::new();
    for listed_host in scene.domain.hosts.iter().flat_map(|list| list.iter()) {
        let lacks = |asked: &&Asked| lacks(asked, scene, listed_host);
        let resolvers: Vec<&Asked> = scene.asked.iter().filter(lacks).collect();
        let Some(first) = resolvers.first() else { continue };
        let names: Vec<Arc<str>> =
            resolvers.iter().map(|asked| asked.resolver.name.clone()).collect();
        let host = &listed_host.host;
        let message = format!(
            "{} does not name {host}, which is listed (resolver {})",
            scene.domain.owner,
            listed(&names)
        );
        let draft = Draft::record(Check::RecordMissing, scene.domain, host, message);
        let draft = match (resolvers.len(), scene.asked.len()) {
            (1, _) => draft.at_resolver(first.resolver),
            _ => draft.asking(first.resolver),
        };
        let (priority, weight) = listed_host.priority_and_weight.unwrap_or((0, 0));
        let draft = draft.valued(scene.plan, |values| {
            values.set(Key::Priority, priority).set(Key::Weight, weight)
        });
        let resolvers: Value = names.iter().map(|name| Value::from(&**name)).collect();
        let finding =
            draft.evidence("listed", host.to_string()).evidence("resolvers", resolvers).done();
        lacking.push((finding.id.clone(), names));
        findings.push(finding);
    }
    lacking
}

fn lacks(asked: &Asked, scene: &Scene, listed: &ListedHost) -> bool {
    let list = scene.domain.hosts.as_deref().unwrap_or_default();
    let stands_for = |record: &Record| {
        counterpart(list, scene.records, record)
            .is_some_and(|counterpart| std::ptr::eq(counterpart, listed))
    };
    let usable: Vec<&Answer> = asked.usable().map(|(_, answer)| answer).collect();
    let is_published = usable.iter().any(|answer| !answer.records.is_empty());
    // Where KMS is optional the set may be absent, but not in parts.
    let is_told = !usable.is_empty() && (is_published || scene.domain.kms == KmsMode::Required);
    asked.is_heard()
        && asked.is_known()
        && is_told
        && !usable.iter().any(|answer| answer.records.iter().any(stands_for))
}

/// The same target and port twice in one answer, or two targets with one address and port.
fn duplicates(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    let held = scene.asked.iter().flat_map(|asked| &asked.servers).filter_map(|says| says.held);
    let mut twice: BTreeSet<Host> = BTreeSet::new();
    for answer in held {
        for (at, record) in answer.records.iter().enumerate() {
            if answer.records[..at].iter().any(|other| other.names_host_of(record)) {
                twice.insert(record.host());
            }
        }
    }
    let is_twice = |record: &&Record| !twice.is_empty() && twice.contains(&record.host());
    for record in by_host(scene).filter(is_twice) {
        let message = format!("{} names {} more than once", scene.domain.owner, record.host());
        let all = scene.records.iter().filter(|other| other.host() == record.host());
        let records: Value = all.map(|record| Value::from(shown(record))).collect();
        findings.push(
            draft(scene, Check::RecordDuplicate, record, message)
                .evidence("records", records)
                .done(),
        );
    }
    for (address, hosts) in shared_addresses(scene) {
        let Some(record) = by_host(scene).find(|record| record.host() == hosts[0]) else {
            continue;
        };
        if twice.contains(&hosts[0]) {
            continue;
        }
        let message = format!(
            "{} of {} have one address, {address}: one machine under several names",
            listed(&hosts),
            scene.domain.owner
        );
        let names: Value = hosts.iter().map(|host| Value::from(host.to_string())).collect();
        let draft = draft(scene, Check::RecordDuplicate, record, message);
        findings
            .push(draft.evidence("address", address.to_string()).evidence("hosts", names).done());
    }
}

/// Addresses that several targets of one port have; each group of hosts once.
fn shared_addresses(scene: &Scene) -> Vec<(IpAddr, Vec<Host>)> {
    if scene.hosts.len() < 2 {
        return Vec::new();
    }
    let mut places: Vec<((u16, IpAddr), &Host)> = Vec::new();
    for sight in scene.sights {
        let addresses = sight.resolution.addresses.iter();
        places.extend(addresses.map(|address| ((sight.host.port, *address), &*sight.host)));
    }
    places.sort_unstable();
    places.dedup();
    let mut groups: Vec<(IpAddr, Vec<Host>)> = Vec::new();
    for shared in places.chunk_by(|(one, _), (other, _)| one == other) {
        let ((_, address), first) = shared[0];
        // One finding a record, whatever many addresses it shares with whom.
        if shared.len() > 1 && !groups.iter().any(|(_, known)| known[0] == *first) {
            groups.push((address, shared.iter().map(|(_, host)| (*host).clone()).collect()));
        }
    }
    groups
}

/// Weight 0 beside others in one priority.
fn starved(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    for starved in scene.hosts.iter().filter(|host| host.weight == 0) {
        let beside = |other: &&DomainHost| other.priority == starved.priority && other.weight > 0;
        let Some(other) = scene.hosts.iter().find(beside) else { continue };
        let Some(record) = by_host(scene).find(|record| record.host() == starved.host) else {
            continue;
        };
        let message = format!(
            "{} has weight 0 beside {} with {} in priority {}: clients hardly ever pick it",
            starved.host, other.host, other.weight, record.priority
        );
        findings.push(draft(scene, Check::WeightStarved, record, message).done());
    }
}

/// Not the well-known port, and not listed.
fn unusual_ports(scene: &Scene) -> Vec<Arc<Finding>> {
    let is_listed = |host: &Host| {
        scene.domain.hosts.iter().flat_map(|list| list.iter()).any(|listed| listed.host == *host)
    };
    let unusual = by_host(scene)
        .filter(|record| record.port != scene.plan.kms_port && !is_listed(&record.host()));
    let finding = |record: &Record| {
        let message = format!(
            "{} is published on port {}, not {}",
            record.target, record.port, scene.plan.kms_port
        );
        draft(scene, Check::PortUnusual, record, message).done()
    };
    unusual.map(finding).collect()
}

/// Shorter than this, every client asks again all the time.
const SHORT_TTL: u32 = 60;
/// Longer than this, a change takes days to be seen.
const LONG_TTL: u32 = 86_400;

/// By authoritative answers only: caches count down.
fn extreme_ttls(scene: &Scene) -> Option<Arc<Finding>> {
    let says = scene.asked.iter().flat_map(|asked| &asked.servers);
    let authoritative = says.filter_map(|says| says.held).filter(|answer| answer.flags.aa);
    let ttls = || authoritative.clone().flat_map(|answer| &answer.records).map(|record| record.ttl);
    let differs =
        |answer: &Answer| answer.records.windows(2).any(|pair| pair[0].ttl != pair[1].ttl);
    let (least, most) = (ttls().min()?, ttls().max()?);
    let what = match (least, most) {
        _ if authoritative.clone().any(differs) => {
            "differ within the set (RFC 2181 section 5.2)".to_owned()
        }
        (least, _) if least < SHORT_TTL => {
            format!("is {least} s, under a minute: every change costs many queries")
        }
        (_, most) if most > LONG_TTL => {
            format!("is {most} s, over a day: clients see a change late")
        }
        _ => return None,
    };
    let message = match what.starts_with("differ") {
        true => format!("The TTLs of {} {what}", scene.domain.owner),
        false => format!("The TTL of {} {what}", scene.domain.owner),
    };
    let draft = Draft::domain(Check::TtlExtreme, scene.domain, message)
        .asking(scene.domain.resolvers.first()?);
    let ttls: BTreeSet<u32> = ttls().collect();
    Some(draft.evidence("ttl_seconds", json!(ttls)).done())
}
