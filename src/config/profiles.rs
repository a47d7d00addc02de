//! `[[profile]]` → the declared clients, and the domains that only they name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::errors::{Kind, Log};
use super::file::{Item, Keys, Section};
use super::hosts::listed_host;
use super::plan::{FirstPlaces, domain_name, interface_name, labels, plain_name, source_address};
use super::refusal::{Refusal, shown, suggest};
use super::server::{check_unicast, needs_brackets};
use crate::model::profile::Machines;
use crate::model::srv::KMS_PORT;
use crate::model::{Host, Name, Path, Plan, PlannedDomain, Profile, Resolver, Selection};

/// The profiles, in the order of the config.
pub(super) fn read(
    root: &Section<'_>,
    log: &Log,
    resolvers: &[Arc<Resolver>],
) -> Vec<Arc<Profile>> {
    let mut reader = Reader { log, resolvers, derived: Vec::new(), names: FirstPlaces::default() };
    let sections = root.tables("profile", &PROFILE);
    sections.iter().filter_map(|section| reader.profile(section)).map(Arc::new).collect()
}

/// A plan of these clients at the defaults, for a check without a config.
pub fn plan_for_profiles(profiles: Vec<Arc<Profile>>) -> Plan {
    let mut resolvers: Vec<Arc<Resolver>> = Vec::new();
    for profile in &profiles {
        let resolver = profile.resolver.base.as_ref().unwrap_or(&profile.resolver);
        if !resolvers.iter().any(|known| Arc::ptr_eq(known, resolver)) {
            resolvers.push(resolver.clone());
        }
    }
    Plan { resolvers, domains: implied(&profiles, |_| false), profiles, ..Plan::empty() }
}

/// Reads a suffix as the config does.
///
/// # Errors
/// A sentence that tells what is wrong and what to write instead.
pub fn parse_suffix(text: &str) -> Result<Name, String> {
    Ok(domain_name(text)?)
}

/// Reads a network such as `10.40.7.0/24`.
///
/// # Errors
/// As [`parse_suffix`].
pub fn parse_subnet(text: &str) -> Result<IpNet, String> {
    Ok(network(text)?)
}

/// Reads a fixed host: a full name or an address, with or without a port.
///
/// # Errors
/// As [`parse_suffix`].
pub fn parse_fixed_host(text: &str) -> Result<Host, String> {
    Ok(fixed_host(text)?)
}

/// Reads a source address of this machine; whether it is there shows when it is used.
///
/// # Errors
/// As [`parse_suffix`].
pub fn parse_source(text: &str) -> Result<IpAddr, String> {
    Ok(source_address(text)?)
}

/// Reads the name of an interface.
///
/// # Errors
/// As [`parse_suffix`].
pub fn parse_interface(text: &str) -> Result<Arc<str>, String> {
    Ok(interface_name(text)?.into())
}

/// The domains that profiles name and the config does not: no record there is fine, and the profiles'
/// own resolvers are asked.
pub(super) fn implied(
    profiles: &[Arc<Profile>],
    is_configured: impl Fn(&Name) -> bool,
) -> Vec<Arc<PlannedDomain>> {
    let mut implied: BTreeMap<&Name, Vec<Arc<Resolver>>> = BTreeMap::new();
    for profile in profiles {
        let named = profile.suffixes.iter().chain(&profile.lookup_domain);
        for name in named.filter(|name| !is_configured(name)) {
            let resolvers = implied.entry(name).or_default();
            if !resolvers.iter().any(|known| Arc::ptr_eq(known, &profile.resolver)) {
                resolvers.push(profile.resolver.clone());
            }
        }
    }
    implied
        .into_iter()
        .map(|(name, resolvers)| PlannedDomain::optional(name, resolvers.into()))
        .collect()
}

struct Reader<'p> {
    log: &'p Log,
    resolvers: &'p [Arc<Resolver>],
    /// Over the paths of profiles; those of one path share them.
    derived: Vec<Arc<Resolver>>,
    names: FirstPlaces<String>,
}

impl Reader<'_> {
    /// `None` where there is nobody to ask; that is an error of its own.
    fn profile(&mut self, section: &Section<'_>) -> Option<Profile> {
        let name = section.require("name", "\"berlin-lab\"").and_then(|item| {
            let name = item.read("\"berlin-lab\"", plain_name)?;
            self.names.is_new(name.to_owned(), name, &item);
            Some(name)
        });
        let suffixes = suffixes(section);
        let resolver = self.resolver(section);
        let subnet = subnet(section);
        let domain = section.get("lookup_domain").filter(|item| !item.is_string(""));
        let lookup_domain = domain.and_then(|item| item.read(DOMAIN, domain_name));
        let words = [Selection::Weighted, Selection::Uniform].map(|word| (word.as_str(), word));
        let selection = section.get("selection").and_then(|item| item.choose(&words));
        let (kms_host, office_kms_host) =
            (host(section, "kms_host"), host(section, "office_kms_host"));
        let (machines, labels) = (machines(section), labels(section));
        let profile = Profile {
            suffixes: suffixes.into(),
            lookup_domain,
            subnet,
            selection: selection.unwrap_or_default(),
            kms_host,
            office_kms_host,
            machines,
            labels,
            ..Profile::of(name.unwrap_or(""), resolver?)
        };
        Some(profile.with_search())
    }

    /// The resolver, over the profile's path.
    fn resolver(&mut self, section: &Section<'_>) -> Option<Arc<Resolver>> {
        let base = self.base(section);
        let source = section.get("source").and_then(|item| {
            let source = item.read("\"10.40.7.250\"", source_address)?;
            self.check_family(&item, source, base.as_deref());
            Some(source)
        });
        let interface = section.get("interface");
        let interface = interface.and_then(|item| item.read("\"eth1\"", interface_name));
        let base = base?;
        let path = Path {
            source: source.or(base.path.source),
            interface: interface.map(Arc::from).or_else(|| base.path.interface.clone()),
            ..Path::default()
        };
        let over = base.over(path);
        if Arc::ptr_eq(&over, &base) {
            return Some(base);
        }
        // A derived one tells of its base; equal ones are one.
        if let Some(known) = self.derived.iter().find(|known| **known == over) {
            return Some(known.clone());
        }
        self.derived.push(over.clone());
        Some(over)
    }

    /// The resolver that is named, or the only one.
    fn base(&self, section: &Section<'_>) -> Option<Arc<Resolver>> {
        let known = || self.resolvers.iter().map(|resolver| &*resolver.name);
        let Some(item) = section.get("resolver") else {
            if let [only] = self.resolvers {
                return Some(only.clone());
            }
            // That there is none is an error of its own.
            if !self.resolvers.is_empty() {
                let all = known().map(shown).collect::<Vec<_>>().join(", ");
                let refusal = Refusal::new(
                    "missing, and there are several resolvers",
                    format!("write resolver = with one of {all}"),
                );
                let key = format!("{}.resolver", section.key());
                self.log.refuse(Kind::Missing, section.place(), &key, refusal);
            }
            return None;
        };
        let name = item.string("\"hq\"")?;
        let found = self.resolvers.iter().find(|resolver| *resolver.name == *name);
        if found.is_none() && !self.resolvers.is_empty() {
            let problem = format!("{} is no resolver of this config", shown(name));
            let advice = suggest(name, known().filter(|name| !name.is_empty()));
            // It may be one that broken syntax hides.
            self.log.refuse(
                Kind::Missing,
                item.place(),
                item.path(),
                Refusal::new(problem, advice),
            );
        }
        found.cloned()
    }

    /// A server of the other family is not asked; where that leaves none, the source is wrong.
    fn check_family(&self, item: &Item<'_>, source: IpAddr, base: Option<&Resolver>) {
        let Some(base) = base else { return };
        let path = Path { source: Some(source), ..Path::default() };
        let (suiting, others): (Vec<_>, Vec<_>) = base
            .upstreams
            .iter()
            .map(|upstream| upstream.server)
            .partition(|server| path.suits(server.address.ip()));
        let Some(other) = others.first() else { return };
        if suiting.is_empty() {
            item.refuse(Refusal::new(
                format!(
                    "no server of resolver {} can be reached from source {source}: {other} is of \
                     the other family",
                    shown(&base.name)
                ),
                "write a source of the servers' family, or another resolver",
            ));
        } else {
            let warning = format!("{other} is of the other family, and is not asked from {source}");
            self.log.warn(&item.place(), item.path(), warning);
        }
    }
}

fn suffixes(section: &Section<'_>) -> Vec<Name> {
    let Some(item) = section.require("suffixes", SUFFIXES) else { return Vec::new() };
    let items = item.array(SUFFIXES).unwrap_or_default();
    let mut seen = FirstPlaces::default();
    let names = items.iter().filter_map(|item| {
        if item.is_string("") {
            item.refuse(Refusal::new(
                "an empty suffix",
                "write a domain, or suffixes = [] for a client that has none",
            ));
            return None;
        }
        let name = item.read(DOMAIN, domain_name)?;
        seen.is_new(name.clone(), name.as_str(), item).then_some(name)
    });
    names.collect()
}

/// A network; it holds the profile's own source.
fn subnet(section: &Section<'_>) -> Option<IpNet> {
    let item = section.get("subnet")?;
    let subnet = item.read("\"10.40.7.0/24\"", network)?;
    let source = section.get("source").filter(|source| !source.is_string(""));
    let source: Option<IpAddr> = source.and_then(|source| source.text()?.parse().ok());
    if let Some(source) = source.filter(|source| !subnet.contains(source)) {
        item.refuse(Refusal::new(
            format!("{subnet} does not hold the source {source}"),
            "write the subnet of the source, or a source within the subnet",
        ));
    }
    Some(subnet)
}

fn network(text: &str) -> Result<IpNet, Refusal> {
    let no_network = |_| {
        let problem = format!("{} is no network", shown(text));
        Refusal::new(problem, "write one such as \"10.40.7.0/24\" or \"2001:db8:40:7::/64\"")
    };
    let network: IpNet = text.parse().map_err(no_network)?;
    if network != network.trunc() {
        return Err(Refusal::new(
            format!("{} has bits beyond its prefix", shown(text)),
            format!("write \"{}\"", network.trunc()),
        ));
    }
    check_unicast(text, network.addr()).or_else(|refusal| {
        // The network of everything begins with the address of nobody.
        if network.addr().is_unspecified() { Ok(()) } else { Err(refusal) }
    })?;
    Ok(network)
}

/// A fixed host; empty for none.
fn host(section: &Section<'_>, key: &str) -> Option<Host> {
    let item = section.get(key).filter(|item| !item.is_string(""))?;
    item.read("\"kms.contoso.com:1688\"", fixed_host)
}

/// `host[:port]`; as slmgr, it takes an address too.
fn fixed_host(text: &str) -> Result<Host, Refusal> {
    if let Some(host) = address(text) {
        check_unicast(text, host.0)?;
        let target = Name::from_labels(host.0.to_string().split('.').map(str::as_bytes));
        return Ok(Host { target, port: host.1 });
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Err(needs_brackets(text, ip));
    }
    let listed = listed_host(text)?;
    if listed.priority_and_weight.is_some() {
        return Err(Refusal::new(
            format!("{} has a priority and weight, which a fixed host has not", shown(text)),
            "write \"host[:port]\", such as \"kms.contoso.com:1688\"",
        ));
    }
    if listed.host.target.labels().count() < 2 {
        return Err(Refusal::new(
            format!("{} is a short name, which each client completes in its own way", shown(text)),
            "write the full name, such as \"kms.contoso.com\"",
        ));
    }
    Ok(listed.host)
}

/// An address and port: `10.0.0.5`, `10.0.0.5:1688`, `[2001:db8::5]`, `[2001:db8::5]:1688`.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return (socket.port() != 0).then(|| (socket.ip(), socket.port()));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok()?.into(),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some((address, KMS_PORT))
}

/// The text that [`fixed_host`] reads as this host.
pub(super) fn format_fixed_host(host: &Host) -> String {
    match host.target.as_address() {
        Some(address) => std::net::SocketAddr::new(address, host.port).to_string(),
        None => host.to_string(),
    }
}

fn machines(section: &Section<'_>) -> Machines {
    let number = |key| section.get(key)?.integer(MACHINES, "40");
    Machines { clients: number("clients"), servers: number("servers"), office: number("office") }
}

const MACHINES: RangeInclusive<u32> = 0..=10_000_000;
const DOMAIN: &str = "\"contoso.com\"";
const SUFFIXES: &str = "[\"berlin.contoso.com\", \"contoso.com\"]";

const PROFILE: Keys = Keys {
    known: &[
        "name",
        "suffixes",
        "resolver",
        "source",
        "interface",
        "subnet",
        "selection",
        "kms_host",
        "office_kms_host",
        "lookup_domain",
        "clients",
        "servers",
        "office",
        "labels",
    ],
    later: &[],
};
