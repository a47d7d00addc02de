//! The `[config]` of a scenario: the keys of the config that an audit depends on.

use std::collections::HashMap;
use std::sync::Arc;

use kmswatch::model::endpoint::DNS_PORT;
use kmswatch::model::plan::{Depth, Exception, HostNote, ListedHost};
use kmswatch::model::srv::KMS_PORT;
use kmswatch::model::{
    Check, Host, KmsMode, Labels, Name, Path, Plan, PlannedDomain, Resolver, Server, Severity,
    Transport, Upstream,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    interval: Option<String>,
    depth: Option<String>,
    slow: Option<String>,
    kms_port: Option<u16>,
    #[serde(default)]
    resolver: Vec<ResolverEntry>,
    domain: Vec<DomainEntry>,
    #[serde(default)]
    host: Vec<HostEntry>,
    #[serde(default)]
    exception: Vec<ExceptionEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolverEntry {
    name: String,
    servers: Vec<String>,
    source: Option<std::net::IpAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainEntry {
    name: String,
    resolvers: Option<Vec<String>>,
    kms: Option<String>,
    hosts: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostEntry {
    name: String,
    probe: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExceptionEntry {
    checks: Vec<String>,
    domains: Vec<String>,
    severity: String,
    expires: Option<String>,
}

/// The plan of a config; without `resolver`, it is hq with the server 10.0.0.53.
pub fn plan_of(config: toml::Table) -> Result<Plan, String> {
    let config: Config = config.try_into().map_err(|error: toml::de::Error| error.to_string())?;
    let duration = |text: &str| -> Result<std::time::Duration, String> {
        let parsed: jiff::SignedDuration =
            text.parse().map_err(|_| format!("{text} is no time"))?;
        Ok(parsed.unsigned_abs())
    };
    let mut plan = Plan::empty();
    plan.kms_port = config.kms_port.unwrap_or(KMS_PORT);
    if let Some(interval) = &config.interval {
        plan.interval = duration(interval)?;
    }
    if let Some(slow) = &config.slow {
        plan.probe.slow = duration(slow)?;
    }
    plan.probe.depth = if config.depth.as_deref() == Some("tcp") { Depth::Tcp } else { Depth::Rpc };
    plan.resolvers = resolvers(&config.resolver)?;
    let domains = config.domain.iter().map(|entry| domain(entry, &plan.resolvers));
    plan.domains = domains.collect::<Result<_, _>>()?;
    plan.domains.sort_by(|one, other| one.name.cmp(&other.name));
    for entry in &config.host {
        let note = HostNote { probe: entry.probe, reason: None, labels: Labels::default() };
        plan.hosts.insert(name(&entry.name)?, Arc::new(note));
    }
    plan.exceptions = config.exception.iter().map(exception).collect::<Result<_, _>>()?;
    Ok(plan)
}

fn resolvers(entries: &[ResolverEntry]) -> Result<Vec<Arc<Resolver>>, String> {
    let standard =
        [ResolverEntry { name: "hq".into(), servers: vec!["10.0.0.53".into()], source: None }];
    let entries = if entries.is_empty() { &standard } else { entries };
    // A plan shares one upstream between all resolvers that ask it.
    let mut known: HashMap<(Server, Path), Arc<Upstream>> = HashMap::new();
    let mut resolvers = Vec::new();
    for entry in entries {
        let path = Path { source: entry.source, interface: None };
        let mut upstreams = Vec::new();
        for server in &entry.servers {
            let address = server.parse().map_err(|_| format!("{server} is no address"))?;
            let address = std::net::SocketAddr::new(address, DNS_PORT);
            let server = Server { transport: Transport::Udp, address };
            let new = || Arc::new(Upstream { server, path: path.clone() });
            upstreams.push(known.entry((server, path.clone())).or_insert_with(new).clone());
        }
        resolvers.push(Arc::new(Resolver {
            name: entry.name.as_str().into(),
            upstreams,
            path: Arc::new(path),
            labels: Labels::default(),
        }));
    }
    Ok(resolvers)
}

fn domain(entry: &DomainEntry, all: &[Arc<Resolver>]) -> Result<Arc<PlannedDomain>, String> {
    let is_asked = |resolver: &&Arc<Resolver>| {
        entry
            .resolvers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| **name == *resolver.name))
    };
    let resolvers: Arc<[Arc<Resolver>]> = all.iter().filter(is_asked).cloned().collect();
    let kms = match entry.kms.as_deref() {
        None | Some("required") => KmsMode::Required,
        Some("optional") => KmsMode::Optional,
        Some("none") => KmsMode::None,
        Some(other) => return Err(format!("kms = {other}")),
    };
    let hosts = match &entry.hosts {
        Some(hosts) => Some(hosts.iter().map(|text| listed(text)).collect::<Result<_, _>>()?),
        None => None,
    };
    let name = name(&entry.name)?;
    Ok(Arc::new(PlannedDomain::new(name, resolvers, kms, hosts, Labels::default())))
}

/// `host[:port][, priority, weight]`.
fn listed(text: &str) -> Result<ListedHost, String> {
    let number = |text: &str| text.trim().parse().map_err(|_| format!("{text} is no number"));
    let parts: Vec<&str> = text.split(',').collect();
    let (target, port) = match parts[0].split_once(':') {
        Some((target, port)) => (target, number(port)?),
        None => (parts[0], KMS_PORT),
    };
    let priority_and_weight = match parts[..] {
        [_] => None,
        [_, priority, weight] => Some((number(priority)?, number(weight)?)),
        _ => return Err(format!("hosts = {text}")),
    };
    Ok(ListedHost { host: Host { target: name(target)?, port }, priority_and_weight })
}

fn exception(entry: &ExceptionEntry) -> Result<Exception, String> {
    let check = |id: &String| Check::parse(id).ok_or_else(|| format!("no check {id}"));
    let mut globs = globset::GlobSetBuilder::new();
    for pattern in &entry.domains {
        globs.add(globset::Glob::new(pattern).map_err(|error| error.to_string())?);
    }
    let severity = match entry.severity.as_str() {
        "off" => None,
        "info" => Some(Severity::Info),
        "warning" => Some(Severity::Warning),
        other => return Err(format!("severity = {other}")),
    };
    Ok(Exception {
        checks: entry.checks.iter().map(check).collect::<Result<_, _>>()?,
        patterns: entry.domains.clone(),
        domains: globs.build().map_err(|error| error.to_string())?,
        severity,
        reason: None,
        expires: entry.expires.as_ref().map(|date| date.parse().expect("a date")),
    })
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}
