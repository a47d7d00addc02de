//! srv-missing, srv-empty, srv-declined, dns-failure, server-divergence: what the servers say of the
//! owner name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::client::errors::{self, NAME_DOES_NOT_EXIST, NO_KMS_CONTACTED, NO_RECORDS};
use crate::model::{Check, Finding, KmsMode, LookupOutcome, Name, Record};

use super::domain::{Asked, Scene};
use super::draft::{Draft, listed};
use super::past;

pub(super) fn check(scene: &Scene, findings: &mut Vec<Arc<Finding>>) {
    for asked in scene.asked {
        findings.extend(failure(scene, asked));
        if scene.domain.kms == KmsMode::Required {
            findings.extend(absence(scene, asked));
        }
        if scene.domain.kms != KmsMode::None {
            findings.extend(divergence(scene, asked));
        }
    }
    if scene.domain.kms == KmsMode::Required {
        findings.extend(declined(scene));
    }
}

/// No server answers usably: unknown, not absent.
fn failure(scene: &Scene, asked: &Asked) -> Option<Arc<Finding>> {
    if !asked.is_heard() || asked.is_known() {
        return None;
    }
    // What this machine cannot ask says nothing of what clients will show.
    let mut latest = asked.servers.iter().filter_map(|says| says.latest);
    let code = latest.find(|answer| !answer.lacks_path());
    let code = code.and_then(|answer| errors::of_lookup(answer.outcome));
    let message = format!(
        "No server of resolver {} answers usably for {}: {}; whether its records exist is unknown",
        asked.resolver.name,
        scene.domain.owner,
        listed(asked.servers.iter().filter_map(|says| {
            let latest = says.latest?;
            let why = latest.detail.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            Some(format!("{} {}{why}", says.upstream.server, described(latest.outcome)))
        })),
    );
    let draft = Draft::domain(Check::DnsFailure, scene.domain, message).of_resolver(asked.resolver);
    Some(draft.client_error(code).evidence("answers", outcomes(asked)).done())
}

/// Every usable answer denies: the name does not exist, or it has no SRV records.
fn absence(scene: &Scene, asked: &Asked) -> Option<Arc<Finding>> {
    if !asked.is_heard() || !asked.is_known() {
        return None;
    }
    let outcomes_seen: Vec<LookupOutcome> =
        asked.usable().map(|(_, answer)| answer.outcome).collect();
    if outcomes_seen.contains(&LookupOutcome::Records) {
        return None;
    }
    let (domain, resolver) = (scene.domain, &asked.resolver.name);
    let servers = listed(asked.usable().map(|(upstream, _)| upstream.server));
    let (check, code, message) = if outcomes_seen.contains(&LookupOutcome::Nodata) {
        let says =
            format!("{} has no SRV records, say {servers} (resolver {resolver})", domain.owner);
        (Check::SrvEmpty, NO_RECORDS, says)
    } else {
        let says = format!("{} does not exist, say {servers} (resolver {resolver})", domain.owner);
        (Check::SrvMissing, NAME_DOES_NOT_EXIST, says)
    };
    let left = past::left(scene, asked);
    let mut message = format!("{message}: clients of {} find no KMS host", domain.name);
    if let Some(last_seen) = left.iter().map(|seen| seen.last_seen).max() {
        let hosts = listed(left.iter().map(|seen| &seen.host));
        message = format!("{message}; {hosts} left, last seen {}", past::shown(last_seen));
    }
    let draft = Draft::domain(check, domain, message).of_resolver(asked.resolver);
    let draft = draft.valued(scene.plan, |values| values).client_error(Some(code));
    let draft = match left.is_empty() {
        true => draft,
        false => draft.evidence("left", past::last_seen(&left)),
    };
    Some(draft.evidence("answers", outcomes(asked)).done())
}

/// The only target is the root (RFC 2782): the service is declared absent.
fn declined(scene: &Scene) -> Option<Arc<Finding>> {
    let declining: Vec<&Asked> = scene.asked.iter().filter(|asked| declines(asked)).collect();
    let first = *declining.first()?;
    let record = scene.records.iter().find(|record| record.target.is_root())?;
    let message = format!(
        "The only target of {} is \".\": the domain declares that it has no KMS host (resolver {})",
        scene.domain.owner,
        listed(declining.iter().map(|asked| &asked.resolver.name)),
    );
    let draft = Draft::domain(Check::SrvDeclined, scene.domain, message);
    let draft = match (declining.len(), scene.asked.len()) {
        (1, 2..) => draft.at_resolver(first.resolver),
        _ => draft.asking(first.resolver),
    };
    let draft = draft.valued(scene.plan, |values| super::records::with_record(values, record));
    let draft = draft.client_error(Some(NO_KMS_CONTACTED));
    Some(draft.evidence("record", shown(record)).done())
}

/// Whether some server of the resolver says so now, and none that is to be believed names a host.
fn declines(asked: &Asked) -> bool {
    let mut latest = asked.servers.iter().filter_map(|says| says.latest);
    let targets =
        || asked.usable().flat_map(|(_, answer)| &answer.records).map(|record| &record.target);
    latest.any(|answer| !answer.records.is_empty())
        && targets().next().is_some()
        && targets().all(Name::is_root)
}

/// The servers of one resolver differ in priority, weight, port or target, or one denies what
/// another has.
fn divergence(scene: &Scene, asked: &Asked) -> Option<Arc<Finding>> {
    let differing = differing(asked);
    let ((target, port, priority, weight), holders) = differing.first_key_value()?;
    let servers = asked.usable().map(|(upstream, _)| upstream.server.to_string());
    let message = format!(
        "The servers of resolver {} differ about {}: {} has {target}:{port} (priority {priority}, weight {weight}), {} does not{}",
        asked.resolver.name,
        scene.domain.owner,
        listed(holders),
        listed(servers.filter(|server| !holders.contains(server))),
        match differing.len() - 1 {
            0 => String::new(),
            1 => "; 1 more record differs".to_owned(),
            more => format!("; {more} more records differ"),
        },
    );
    let shown = |((target, port, priority, weight), servers): (&Identity, &Vec<String>)| json!({ "target": target.as_str(), "port": port, "priority": priority, "weight": weight, "servers": servers });
    let records: Value = differing.iter().map(shown).collect();
    let draft =
        Draft::domain(Check::ServerDivergence, scene.domain, message).of_resolver(asked.resolver);
    Some(draft.evidence("records_that_differ", records).evidence("answers", outcomes(asked)).done())
}

/// What [`Record::identity`] tells.
type Identity<'a> = (&'a Name, u16, u16, u16);

/// The records that some of the servers lack, each with those that have it.
fn differing<'a>(asked: &Asked<'a>) -> BTreeMap<Identity<'a>, Vec<String>> {
    // Records are sorted: servers that agree, which nearly all do, have them in one order.
    let mut sets = asked.usable().map(|(_, answer)| answer.records.iter().map(Record::identity));
    let first = sets.next();
    if first.is_none_or(|first| sets.all(|other| other.eq(first.clone()))) {
        return BTreeMap::new();
    }
    let mut holders: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (upstream, answer) in asked.usable() {
        let identities: BTreeSet<_> = answer.records.iter().map(Record::identity).collect();
        for identity in identities {
            holders.entry(identity).or_default().push(upstream.server.to_string());
        }
    }
    let usable = asked.usable().count();
    holders.retain(|_, servers| servers.len() < usable);
    holders
}

/// The latest outcome of each server.
fn outcomes(asked: &Asked) -> Value {
    let outcome = |says: &super::domain::Says| {
        Some((says.upstream.server.to_string(), Value::from(says.latest?.outcome.as_str())))
    };
    Value::Object(asked.servers.iter().filter_map(outcome).collect::<Map<_, _>>())
}

/// `10 75 1688 kms.contoso.com`, as a zone file has it.
pub(super) fn shown(record: &Record) -> String {
    format!("{} {} {} {}", record.priority, record.weight, record.port, record.target)
}

fn described(outcome: LookupOutcome) -> &'static str {
    match outcome {
        LookupOutcome::Timeout => "does not answer",
        LookupOutcome::Unreachable => "cannot be reached",
        LookupOutcome::Malformed => "answers with garbage",
        LookupOutcome::Referral => "refers to other servers",
        LookupOutcome::Servfail => "says SERVFAIL",
        LookupOutcome::Refused => "says REFUSED",
        LookupOutcome::Notimp => "says NOTIMP",
        LookupOutcome::Formerr => "says FORMERR",
        LookupOutcome::OtherRcode => "answers with another error",
        LookupOutcome::Records | LookupOutcome::Nxdomain | LookupOutcome::Nodata => "answers",
    }
}
