//! Snapshot → families, one function each: a series ends with what it is about.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use jiff::Timestamp;

use super::family::{Family, Label};
use super::names::{self, Definition};
use crate::model::snapshot::{
    AnswerView, DomainHost, DomainView, EndpointView, HostStatus, HostView, SeenHost,
};
use crate::model::{Host, LookupOutcome, Name, Probe, Reachability, Snapshot, Upstream};

/// Writes a family's series.
type Fill = fn(&Snapshot, &mut Family);

/// The families of the estate, in the order of the contract, and what fills each.
pub(super) const ESTATE: [(&Definition, Fill); 21] = [
    (names::SRV_RECORD_INFO, srv_record_info),
    (names::SRV_RECORDS, srv_records),
    (names::SRV_RECORD_TTL, srv_record_ttl),
    (names::SRV_LOOKUP_SUCCESS, srv_lookup_success),
    (names::SRV_LOOKUP_OUTCOME, srv_lookup_outcome),
    (names::SRV_LOOKUP_DURATION, srv_lookup_duration),
    (names::HOST_UP, host_up),
    (names::HOST_SHARE, host_share),
    (names::HOST_LIVE_SHARE, host_live_share),
    (names::HOSTS_UP, hosts_up),
    (names::ENDPOINT_UP, endpoint_up),
    (names::ENDPOINT_OUTCOME, endpoint_outcome),
    (names::ENDPOINT_CONNECT_DURATION, endpoint_connect_duration),
    (names::ENDPOINT_BIND_DURATION, endpoint_bind_duration),
    (names::RECORD_FIRST_SEEN, record_first_seen),
    (names::RECORD_LAST_SEEN, record_last_seen),
    (names::HOST_LAST_UP, host_last_up),
    (names::FINDINGS, findings),
    (names::PROFILE_OK, profile_ok),
    (names::PROFILE_CLIENT_ERROR_INFO, profile_client_error_info),
    (names::DOMAIN_LAST_AUDIT, domain_last_audit),
];

fn srv_record_info(snapshot: &Snapshot, family: &mut Family) {
    for view in views(snapshot) {
        family.next_domain();
        for record in &view.records {
            let [port, priority, weight] =
                [record.port, record.priority, record.weight].map(Label::from);
            family.push([domain(view), (&record.target).into(), port, priority, weight], 1.0);
        }
    }
}

fn srv_records(snapshot: &Snapshot, family: &mut Family) {
    for view in views(snapshot).filter(|view| view.is_known) {
        family.next_domain();
        // Sorted: equal ones stand together.
        let distinct = view.records.chunk_by(|one, other| one.identity() == other.identity());
        family.push([domain(view)], number(distinct.count()));
    }
}

fn srv_record_ttl(snapshot: &Snapshot, family: &mut Family) {
    let mut least: BTreeMap<(&Name, u16), u32> = BTreeMap::new();
    for view in views(snapshot) {
        family.next_domain();
        for record in &view.records {
            let ttl = least.entry((&record.target, record.port)).or_insert(record.ttl);
            *ttl = record.ttl.min(*ttl);
        }
        while let Some(((target, port), ttl)) = least.pop_first() {
            family.push([domain(view), target.into(), port.into()], f64::from(ttl));
        }
    }
}

fn srv_lookup_success(snapshot: &Snapshot, family: &mut Family) {
    of_answers(snapshot, family, |view| Some(truth(view.answer.outcome == LookupOutcome::Records)));
}

fn srv_lookup_outcome(snapshot: &Snapshot, family: &mut Family) {
    each_answer(snapshot, family, |family, [domain, resolver, server, role, path], view| {
        let outcome = view.answer.outcome.as_str().into();
        family.push([domain, resolver, server, role, path, outcome], 1.0);
    });
}

fn srv_lookup_duration(snapshot: &Snapshot, family: &mut Family) {
    of_answers(snapshot, family, |view| view.answer.rtt.map(|rtt| rtt.as_secs_f64()));
}

fn host_up(snapshot: &Snapshot, family: &mut Family) {
    let hosts = hosts(snapshot);
    of_hosts(snapshot, family, |view, host| worst(&hosts, view, host));
}

fn host_share(snapshot: &Snapshot, family: &mut Family) {
    of_hosts(snapshot, family, |_, host| Some(host.share));
}

fn host_live_share(snapshot: &Snapshot, family: &mut Family) {
    of_hosts(snapshot, family, |_, host| Some(host.live_share));
}

/// Zero is said only where no host can be up: an unknown one may be.
fn hosts_up(snapshot: &Snapshot, family: &mut Family) {
    let hosts = hosts(snapshot);
    for view in views(snapshot) {
        family.next_domain();
        let (mut up, mut unknown) = (0, 0);
        for host in &view.hosts {
            match worst(&hosts, view, host) {
                Some(value) => up += usize::from(value > 0.0),
                None => unknown += 1,
            }
        }
        let told = if view.hosts.is_empty() { view.is_known } else { unknown == 0 };
        if up > 0 || told {
            family.push([domain(view)], number(up));
        }
    }
}

fn endpoint_up(snapshot: &Snapshot, family: &mut Family) {
    of_endpoints(snapshot, family, |probe| match probe.outcome.reachability() {
        Reachability::Up => Some(1.0),
        Reachability::Down => Some(0.0),
        Reachability::Unknown => None,
    });
}

fn endpoint_outcome(snapshot: &Snapshot, family: &mut Family) {
    each_endpoint(snapshot, |[target, port, address, path], probe| {
        family.push([target, port, address, path, probe.outcome.as_str().into()], 1.0);
    });
}

fn endpoint_connect_duration(snapshot: &Snapshot, family: &mut Family) {
    of_endpoints(snapshot, family, |probe| probe.connect.map(|duration| duration.as_secs_f64()));
}

fn endpoint_bind_duration(snapshot: &Snapshot, family: &mut Family) {
    of_endpoints(snapshot, family, |probe| probe.bind.map(|duration| duration.as_secs_f64()));
}

fn record_first_seen(snapshot: &Snapshot, family: &mut Family) {
    of_seen(snapshot, family, |seen| seen.first_seen);
}

fn record_last_seen(snapshot: &Snapshot, family: &mut Family) {
    of_seen(snapshot, family, |seen| seen.last_seen);
}

fn host_last_up(snapshot: &Snapshot, family: &mut Family) {
    let published = snapshot.hosts.iter().filter_map(|view| Some((&view.host, view.last_up?)));
    let departed = snapshot.departed.iter().map(|(host, last_up)| (host, *last_up));
    for (Host { target, port }, last_up) in published.chain(departed) {
        family.push([target.into(), (*port).into()], super::own::timestamp(last_up));
    }
}

fn findings(snapshot: &Snapshot, family: &mut Family) {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for finding in &snapshot.findings {
        let mut count = |domain| {
            let key = (domain, finding.check, finding.severity, finding.state);
            *counts.entry(key).or_default() += 1;
        };
        if finding.domains.is_empty() {
            count("");
        }
        finding.domains.iter().for_each(|domain| count(domain.as_str()));
    }
    for ((domain, check, severity, state), count) in counts {
        let labels = [domain, check.as_str(), severity.as_str(), state.as_str()];
        family.push(labels.map(Label::from), number(count));
    }
}

fn profile_ok(snapshot: &Snapshot, family: &mut Family) {
    for entry in &snapshot.profiles {
        if let Some(is_served) = entry.view.is_served() {
            family.push([Label::from(&*entry.view.profile.name)], truth(is_served));
        }
    }
}

fn profile_client_error_info(snapshot: &Snapshot, family: &mut Family) {
    for entry in &snapshot.profiles {
        if let Some(code) = entry.view.client_error() {
            let (profile, code) = (&*entry.view.profile.name, code.to_string());
            family.push([Label::from(profile), Label::from(&*code)], 1.0);
        }
    }
}

fn domain_last_audit(snapshot: &Snapshot, family: &mut Family) {
    for view in views(snapshot) {
        family.next_domain();
        family.push([domain(view)], super::own::timestamp(view.audited));
    }
}

fn views(snapshot: &Snapshot) -> impl Iterator<Item = &DomainView> {
    snapshot.domains.iter().map(|entry| &*entry.view)
}

fn domain(view: &DomainView) -> Label<'_> {
    (&view.domain.name).into()
}

/// A series for each answer that has the value.
fn of_answers(
    snapshot: &Snapshot,
    family: &mut Family,
    value: impl Fn(&AnswerView) -> Option<f64>,
) {
    each_answer(snapshot, family, |family, labels, view| {
        if let Some(value) = value(view) {
            family.push(labels, value);
        }
    });
}

fn each_answer(
    snapshot: &Snapshot,
    family: &mut Family,
    take: impl Fn(&mut Family, [Label; 5], &AnswerView),
) {
    // A plan has few upstreams, and the snapshot holds them: their place tells them apart.
    let mut texts: HashMap<*const Upstream, [String; 2], FixedState> = HashMap::default();
    for view in views(snapshot) {
        family.next_domain();
        for answer in &view.answers {
            let upstream = &*answer.upstream;
            let text = || [upstream.server.to_string(), upstream.path.to_string()];
            let [server, path] = &*texts.entry(upstream).or_insert_with(text);
            let [resolver, server, role, path] =
                [&answer.resolver.name, &**server, answer.role(), path].map(Label::from);
            take(family, [domain(view), resolver, server, role, path], answer);
        }
    }
}

/// A series for each host of each domain that has the value.
fn of_hosts(
    snapshot: &Snapshot,
    family: &mut Family,
    value: impl Fn(&DomainView, &DomainHost) -> Option<f64>,
) {
    for view in views(snapshot) {
        family.next_domain();
        for host in &view.hosts {
            let Host { target, port } = &host.host;
            if let Some(value) = value(view, host) {
                family.push([domain(view), target.into(), (*port).into()], value);
            }
        }
    }
}

/// A series for each host that was seen of each domain.
fn of_seen(snapshot: &Snapshot, family: &mut Family, value: impl Fn(&SeenHost) -> Timestamp) {
    for view in views(snapshot) {
        family.next_domain();
        for seen in &view.seen {
            let Host { target, port } = &seen.host;
            let labels = [domain(view), target.into(), (*port).into()];
            family.push(labels, super::own::timestamp(value(seen)));
        }
    }
}

/// Over the paths of the domain's resolvers: 0 if the host is down over any, 1 if it is up over
/// some, `None` if it is unknown over all.
fn worst(hosts: &Hosts, view: &DomainView, host: &DomainHost) -> Option<f64> {
    let resolvers = &view.domain.resolvers;
    let mut statuses = hosts
        .get(&host.host)
        .into_iter()
        .flat_map(|host| &host.paths)
        .filter(|(path, _)| resolvers.iter().any(|resolver| resolver.path == *path))
        .map(|(_, status)| *status)
        .peekable();
    let value = |status: HostStatus| match status {
        HostStatus::Down => Some(0.0),
        HostStatus::Up | HostStatus::Degraded => Some(1.0),
        HostStatus::Unknown => None,
    };
    match statuses.peek() {
        Some(_) => statuses.filter_map(value).min_by(f64::total_cmp),
        None => value(host.status),
    }
}

/// Each host once; every domain looks its own up.
type Hosts<'a> = HashMap<&'a Host, &'a HostView, FixedState>;

fn hosts(snapshot: &Snapshot) -> Hosts<'_> {
    snapshot.hosts.iter().map(|view| (&view.host, &**view)).collect()
}

/// A series for each probed endpoint that has the value.
fn of_endpoints(snapshot: &Snapshot, family: &mut Family, value: impl Fn(&Probe) -> Option<f64>) {
    each_endpoint(snapshot, |labels, probe| {
        if let Some(value) = value(probe) {
            family.push(labels, value);
        }
    });
}

fn each_endpoint(snapshot: &Snapshot, mut take: impl FnMut([Label; 4], &Probe)) {
    for view in &snapshot.hosts {
        let Host { target, port } = &view.host;
        for EndpointView { path, address, probe, .. } in &view.endpoints {
            let Some(probe) = probe else { continue };
            let [address, path] = [address.to_string(), path.to_string()];
            take([target.into(), (*port).into(), (&*address).into(), (&*path).into()], probe);
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
