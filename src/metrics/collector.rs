//! Snapshot → families, one function each: a series ends with what it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::family::Family;
use super::names::{self, Definition};
use crate::model::snapshot::{
    AnswerView, DomainHost, DomainView, EndpointView, HostStatus, HostView,
};
use crate::model::{Host, LookupOutcome, Name, Probe, Reachability, Record, Snapshot};

/// The families of the estate, in the order of the contract. Each is built, encoded and dropped before
/// the next, so that the largest one's text bounds the memory.
pub(super) const ESTATE: [fn(&Snapshot) -> Family; 18] = [
    srv_record_info,
    srv_records,
    srv_record_ttl,
    srv_lookup_success,
    srv_lookup_outcome,
    srv_lookup_duration,
    host_up,
    host_share,
    host_live_share,
    hosts_up,
    endpoint_up,
    endpoint_outcome,
    endpoint_connect_duration,
    endpoint_bind_duration,
    findings,
    profile_ok,
    profile_client_error_info,
    domain_last_audit,
];

fn srv_record_info(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::SRV_RECORD_INFO);
    for view in views(snapshot) {
        for record in &view.records {
            let [port, priority, weight] =
                [record.port, record.priority, record.weight].map(|number| number.to_string());
            let target = record.target.as_str();
            family.push([domain(view), target, &port, &priority, &weight], 1.0);
        }
    }
    family
}

fn srv_records(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::SRV_RECORDS);
    for view in views(snapshot) {
        let distinct: BTreeSet<_> = view.records.iter().map(Record::identity).collect();
        if view.is_known {
            family.push([domain(view)], number(distinct.len()));
        }
    }
    family
}

fn srv_record_ttl(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::SRV_RECORD_TTL);
    for view in views(snapshot) {
        let mut least: BTreeMap<(&Name, u16), u32> = BTreeMap::new();
        for record in &view.records {
            let ttl = least.entry((&record.target, record.port)).or_insert(record.ttl);
            *ttl = record.ttl.min(*ttl);
        }
        for ((target, port), ttl) in least {
            family.push([domain(view), target.as_str(), &port.to_string()], f64::from(ttl));
        }
    }
    family
}

fn srv_lookup_success(snapshot: &Snapshot) -> Family {
    of_answers(snapshot, names::SRV_LOOKUP_SUCCESS, |view| {
        Some(truth(view.answer.outcome == LookupOutcome::Records))
    })
}

fn srv_lookup_outcome(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::SRV_LOOKUP_OUTCOME);
    each_answer(snapshot, |labels, view| {
        let [domain, resolver, server, role, path] = labels;
        let outcome = view.answer.outcome.as_str();
        family.push([domain, resolver, server, role, path, outcome], 1.0);
    });
    family
}

fn srv_lookup_duration(snapshot: &Snapshot) -> Family {
    of_answers(snapshot, names::SRV_LOOKUP_DURATION, |view| {
        view.answer.rtt.map(|rtt| rtt.as_secs_f64())
    })
}

fn host_up(snapshot: &Snapshot) -> Family {
    of_hosts(snapshot, names::HOST_UP, |view, hosts| worst(snapshot, view, hosts))
}

fn host_share(snapshot: &Snapshot) -> Family {
    of_hosts(snapshot, names::HOST_SHARE, |_, hosts| {
        Some(hosts.iter().map(|host| host.share).sum())
    })
}

fn host_live_share(snapshot: &Snapshot) -> Family {
    of_hosts(snapshot, names::HOST_LIVE_SHARE, |_, hosts| {
        Some(hosts.iter().map(|host| host.live_share).sum())
    })
}

/// Zero is said only where no host can be up: an unknown one may be.
fn hosts_up(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::HOSTS_UP);
    for view in views(snapshot) {
        let hosts = by_host(&view.hosts);
        let ups: Vec<_> = hosts.iter().map(|same| worst(snapshot, view, same)).collect();
        let up = ups.iter().filter(|up| **up == Some(1.0)).count();
        let told = if ups.is_empty() { view.is_known } else { ups.iter().all(Option::is_some) };
        if up > 0 || told {
            family.push([domain(view)], number(up));
        }
    }
    family
}

fn endpoint_up(snapshot: &Snapshot) -> Family {
    of_endpoints(snapshot, names::ENDPOINT_UP, |probe| match probe.outcome.reachability() {
        Reachability::Up => Some(1.0),
        Reachability::Down => Some(0.0),
        Reachability::Unknown => None,
    })
}

fn endpoint_outcome(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::ENDPOINT_OUTCOME);
    each_endpoint(snapshot, |[target, port, address, path], probe| {
        family.push([target, port, address, path, probe.outcome.as_str()], 1.0);
    });
    family
}

fn endpoint_connect_duration(snapshot: &Snapshot) -> Family {
    of_endpoints(snapshot, names::ENDPOINT_CONNECT_DURATION, |probe| {
        probe.connect.map(|duration| duration.as_secs_f64())
    })
}

fn endpoint_bind_duration(snapshot: &Snapshot) -> Family {
    of_endpoints(snapshot, names::ENDPOINT_BIND_DURATION, |probe| {
        probe.bind.map(|duration| duration.as_secs_f64())
    })
}

fn findings(snapshot: &Snapshot) -> Family {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for finding in &snapshot.findings {
        let mut count = |domain: &'_ str| {
            let key = (domain.to_owned(), finding.check, finding.severity, finding.state);
            *counts.entry(key).or_default() += 1;
        };
        if finding.domains.is_empty() {
            count("");
        }
        finding.domains.iter().for_each(|domain| count(domain.as_str()));
    }
    let mut family = Family::new(names::FINDINGS);
    for ((domain, check, severity, state), count) in counts {
        let labels = [domain.as_str(), check.as_str(), severity.as_str(), state.as_str()];
        family.push(labels, number(count));
    }
    family
}

fn profile_ok(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::PROFILE_OK);
    for entry in &snapshot.profiles {
        if let Some(is_served) = entry.view.is_served() {
            family.push([&*entry.view.profile.name], truth(is_served));
        }
    }
    family
}

fn profile_client_error_info(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::PROFILE_CLIENT_ERROR_INFO);
    for entry in &snapshot.profiles {
        if let Some(code) = entry.view.client_error() {
            family.push([&*entry.view.profile.name, &code.to_string()], 1.0);
        }
    }
    family
}

fn domain_last_audit(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(names::DOMAIN_LAST_AUDIT);
    for view in views(snapshot) {
        family.push([domain(view)], super::own::timestamp(view.audited));
    }
    family
}

fn views(snapshot: &Snapshot) -> impl Iterator<Item = &DomainView> {
    snapshot.domains.iter().map(|entry| &*entry.view)
}

fn domain(view: &DomainView) -> &str {
    view.domain.name.as_str()
}

/// A series for each answer that has the value.
fn of_answers(
    snapshot: &Snapshot,
    definition: &'static Definition,
    value: impl Fn(&AnswerView) -> Option<f64>,
) -> Family {
    let mut family = Family::new(definition);
    each_answer(snapshot, |labels, view| {
        if let Some(value) = value(view) {
            family.push(labels, value);
        }
    });
    family
}

fn each_answer(snapshot: &Snapshot, mut take: impl FnMut([&str; 5], &AnswerView)) {
    for view in views(snapshot) {
        for answer in &view.answers {
            let server = answer.upstream.server.to_string();
            let path = answer.upstream.path.to_string();
            take([domain(view), &answer.resolver.name, &server, answer.role(), &path], answer);
        }
    }
}

/// A series for each host of each domain that has the value. A host that is listed with several
/// priorities is one.
fn of_hosts(
    snapshot: &Snapshot,
    definition: &'static Definition,
    value: impl Fn(&DomainView, &[&DomainHost]) -> Option<f64>,
) -> Family {
    let mut family = Family::new(definition);
    for view in views(snapshot) {
        for same in by_host(&view.hosts) {
            let Host { target, port } = &same[0].host;
            if let Some(value) = value(view, &same) {
                family.push([domain(view), target.as_str(), &port.to_string()], value);
            }
        }
    }
    family
}

/// The entries of each host together; none of the lists is empty.
fn by_host(hosts: &[DomainHost]) -> Vec<Vec<&DomainHost>> {
    let mut sorted: Vec<&DomainHost> = hosts.iter().collect();
    sorted.sort_by(|one, other| one.host.cmp(&other.host));
    sorted.chunk_by(|one, other| one.host == other.host).map(<[_]>::to_vec).collect()
}

/// Over the paths of the domain's resolvers: 0 if the host is down over any, 1 if it is up over
/// some, `None` if it is unknown over all.
fn worst(snapshot: &Snapshot, view: &DomainView, same: &[&DomainHost]) -> Option<f64> {
    let resolvers = &view.domain.resolvers;
    let mut statuses: Vec<HostStatus> = host_view(snapshot, &same[0].host)
        .into_iter()
        .flat_map(|host| &host.paths)
        .filter(|(path, _)| resolvers.iter().any(|resolver| resolver.path == *path))
        .map(|(_, status)| *status)
        .collect();
    if statuses.is_empty() {
        statuses.extend(same.iter().map(|host| host.status));
    }
    if statuses.contains(&HostStatus::Down) {
        return Some(0.0);
    }
    statuses.iter().any(|status| status.is_up()).then_some(1.0)
}

fn host_view<'a>(snapshot: &'a Snapshot, host: &Host) -> Option<&'a HostView> {
    let at = snapshot.hosts.binary_search_by(|view| view.host.cmp(host)).ok()?;
    Some(&snapshot.hosts[at])
}

/// A series for each probed endpoint that has the value.
fn of_endpoints(
    snapshot: &Snapshot,
    definition: &'static Definition,
    value: impl Fn(&Probe) -> Option<f64>,
) -> Family {
    let mut family = Family::new(definition);
    each_endpoint(snapshot, |labels, probe| {
        if let Some(value) = value(probe) {
            family.push(labels, value);
        }
    });
    family
}

fn each_endpoint(snapshot: &Snapshot, mut take: impl FnMut([&str; 4], &Probe)) {
    for view in &snapshot.hosts {
        let Host { target, port } = &view.host;
        let port = port.to_string();
        for EndpointView { path, address, probe, .. } in &view.endpoints {
            let Some(probe) = probe else { continue };
            take([target.as_str(), &port, &address.to_string(), &path.to_string()], probe);
        }
    }
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}
