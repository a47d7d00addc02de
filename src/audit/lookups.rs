//! srv-missing, srv-empty, srv-declined, dns-failure, server-divergence: what the servers say of the
//! owner name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::client::errors::{self, NAME_DOES_NOT_EXIST, NO_KMS_CONTACTED, NO_RECORDS};
use crate::model::{Check, Finding, KmsMode, LookupOutcome, Record};

use super::domain::{Asked, Scene};
use super::draft::{Draft, listed};

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
    let first = asked.servers.first()?.latest?.outcome;
    let message = format!(
        "No server of resolver {} answers usably for {}: {}; whether its records exist is unknown",
        asked.resolver.name,
        scene.domain.owner,
        listed(asked.servers.iter().filter_map(|says| {
            Some(format!("{} {}", says.upstream.server, described(says.latest?.outcome)))
        })),
    );
    let draft = Draft::domain(Check::DnsFailure, scene.domain, message).of_resolver(asked.resolver);
    Some(draft.client_error(errors::of_lookup(first)).evidence("answers", outcomes(asked)).done())
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
    let message = format!("{message}: clients of {} find no KMS host", domain.name);
    let draft = Draft::domain(check, domain, message).of_resolver(asked.resolver);
    let draft = draft.valued(scene.plan, |values| values).client_error(Some(code));
    Some(draft.evidence("answers", outcomes(asked)).done())
}

/// The only record's target is the root (RFC 2782): the service is declared absent.
fn declined(scene: &Scene) -> Option<Arc<Finding>> {
    let [record] = scene.records else { return None };
    let mut says = scene.asked.iter().flat_map(|asked| &asked.servers);
    let is_said_now = says.any(|says| says.latest.is_some_and(|answer| !answer.records.is_empty()));
    if !record.target.is_root() || !is_said_now {
        return None;
    }
    let message = format!(
        "{} has one record and its target is \".\": the domain declares that it has no KMS host",
        scene.domain.owner
    );
    let draft = Draft::domain(Check::SrvDeclined, scene.domain, message);
    let draft = draft.asking(scene.domain.resolvers.first()?).client_error(Some(NO_KMS_CONTACTED));
    let draft = draft.valued(scene.plan, |values| super::records::with_record(values, record));
    Some(draft.evidence("record", shown(record)).done())
}

/// The servers of one resolver differ in priority, weight, port or target, or one denies what
/// another has.
fn divergence(scene: &Scene, asked: &Asked) -> Option<Arc<Finding>> {
    let mut holders: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut usable = 0;
    for (upstream, answer) in asked.usable() {
        usable += 1;
        let mut records: Vec<_> =
            answer.records.iter().map(|record| (record.identity(), record)).collect();
        records.dedup_by(|later, first| later.0 == first.0);
        for (identity, record) in records {
            let known = holders.entry(identity).or_default();
            let _ = record;
            known.push(upstream.server.to_string());
        }
    }
    holders.retain(|_, servers| servers.len() < usable);
    let (first, _) = holders.iter().next()?;
    let (target, port, priority, weight) = *first;
    let message = format!(
        "The servers of resolver {} differ about {}: {} has {target}:{port} (priority {priority}, weight {weight}), {} not{}",
        asked.resolver.name,
        scene.domain.owner,
        listed(&holders[first]),
        listed(
            asked
                .usable()
                .map(|(upstream, _)| upstream.server.to_string())
                .filter(|server| !holders[first].contains(server))
        ) + " does",
        match holders.len() - 1 {
            0 => String::new(),
            more => format!("; {more} more records differ"),
        },
    );
    let only: Vec<Value> = holders
        .iter()
        .map(|((target, port, priority, weight), servers)| {
            json!({ "target": target.as_str(), "port": port, "priority": priority, "weight": weight, "servers": servers })
        })
        .collect();
    let draft =
        Draft::domain(Check::ServerDivergence, scene.domain, message).of_resolver(asked.resolver);
    Some(draft.evidence("records_that_differ", only).evidence("answers", outcomes(asked)).done())
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
