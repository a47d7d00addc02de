//! The tree as written → the plan: settings, resolvers and what is known of hosts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::alert;
use super::domains;
use super::errors::{Kind, Log, Place};
use super::exceptions;
use super::file::{Item, Keys, Section};
use super::load::load_report;
use super::maintenance;
use super::profiles;
use super::refusal::{Refusal, no_url, shown};
use super::server::{check_unicast, resolver_over, server};
use super::system::ReadSystem;
use super::tokens;
use crate::model::plan::{
    Depth, DnsSettings, HostNote, JournalSettings, PlannedDomain, ProbeSettings, WebSettings,
};
use crate::model::{KmsMode, Labels, Name, Path, Plan, Resolver, Server};

/// A plan of these domains at the defaults, for a check without a config.
pub fn plan_for(domains: &[Name], kms: KmsMode, resolvers: Vec<Arc<Resolver>>) -> Plan {
    let all: Arc<[Arc<Resolver>]> = resolvers.as_slice().into();
    let labels = Labels::default();
    let planned =
        |name: &Name| PlannedDomain::new(name.clone(), all.clone(), kms, None, labels.clone());
    let mut domains: Vec<_> = domains.iter().map(|name| Arc::new(planned(name))).collect();
    domains.sort_by(|left, right| left.name.cmp(&right.name));
    domains.dedup_by(|left, right| left.name == right.name);
    Plan { resolvers, domains, ..Plan::empty() }
}

/// The plan of what is written; of use only where nothing was refused.
pub(super) fn build(root: &Section<'_>, log: &Log, read_system: ReadSystem) -> Plan {
    let resolvers = resolvers(root, log, read_system);
    let mut domains = domains::read(root, log, &resolvers);
    let profiles = profiles::read(root, log, &resolvers);
    let is_configured =
        |name: &Name| domains.binary_search_by(|domain| domain.name.cmp(name)).is_ok();
    let implied = profiles::implied(&profiles, is_configured);
    domains.extend(implied);
    domains.sort_by(|left, right| left.name.cmp(&right.name));
    let [interval, record_stale_after, vanished_for, settle] = audit(root);
    let vantage = root.get("vantage").and_then(|item| item.read("\"hq\"", plain_name));
    let mut plan = Plan {
        vantage: vantage.map(Arc::from),
        interval,
        record_stale_after,
        vanished_for,
        settle,
        dns: dns(root),
        probe: probe(root),
        domains,
        profiles,
        hosts: hosts(root),
        exceptions: exceptions::read(root),
        maintenance: maintenance::read(root, &resolvers),
        resolvers,
        web: web(root, log),
        alert: alert::read(root, log),
        journal: journal(root),
        ..Plan::empty()
    };
    let rounds = load_report(&plan).servers.into_iter().filter_map(|server| server.true_interval);
    plan.true_interval = rounds.max().unwrap_or_default();
    plan
}

/// The labels of a table.
pub(super) fn labels(section: &Section<'_>) -> Labels {
    let Some(item) = section.get("labels") else {
        return Labels::default();
    };
    let mut labels = BTreeMap::new();
    for (name, value) in item.entries("{ site = \"hq\" }").unwrap_or_default() {
        if !is_label(name) {
            value.refuse(Refusal::new(
                format!("{} is no label name", shown(name)),
                "write letters, digits and underscores, a digit not first",
            ));
        }
        if let Some(text) = value.string("\"hq\"") {
            labels.insert(name.to_owned(), text.to_owned());
        }
    }
    Arc::new(labels)
}

/// As Prometheus has it.
fn is_label(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where each name was seen first.
#[derive(Debug)]
pub(super) struct FirstPlaces<K>(HashMap<K, Place, FixedState>);

impl<K> Default for FirstPlaces<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: std::hash::Hash + Eq> FirstPlaces<K> {
    /// The refusal of a name that was seen before, else `None` and it is seen now.
    pub(super) fn again(
        &mut self,
        key: K,
        name: &str,
        place: impl FnOnce() -> Place,
    ) -> Option<Refusal> {
        match self.0.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(Refusal::new(
                format!("{} stands already at {}", shown(name), first.get()),
                "remove one of the two",
            )),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(place());
                None
            }
        }
    }

    /// As [`Self::again`], on record; whether the name is new.
    pub(super) fn is_new(&mut self, key: K, name: &str, item: &Item<'_>) -> bool {
        let refusal = self.again(key, name, || item.place());
        refusal.map(|refusal| item.refuse(refusal)).is_none()
    }
}

/// `interval`, `stale_after`, `vanished_for` and `settle`.
fn audit(root: &Section<'_>) -> [Duration; 4] {
    let section = root.table("audit", &AUDIT);
    let Plan { interval, record_stale_after, vanished_for, settle, .. } = Plan::empty();
    let keys = [
        ("interval", &INTERVAL, "\"1m\"", interval),
        ("stale_after", &LONG, "\"7d\"", record_stale_after),
        ("vanished_for", &LONG, "\"1d\"", vanished_for),
        ("settle", &SETTLE, "\"30m\"", settle),
    ];
    keys.map(|(key, range, example, default)| {
        section.get(key).and_then(|item| item.duration(range, example)).unwrap_or(default)
    })
}

fn dns(root: &Section<'_>) -> DnsSettings {
    let section = root.table("dns", &DNS);
    let default = DnsSettings::default();
    let number =
        |key, most, example| section.get(key).and_then(|item| item.integer(1..=most, example));
    DnsSettings {
        timeout: duration(&section, "timeout", "\"2s\"", default.timeout),
        attempts: number("attempts", 10, "3").unwrap_or(default.attempts),
        rate: number("rate", 100_000, "500").unwrap_or(default.rate),
    }
}

fn probe(root: &Section<'_>) -> ProbeSettings {
    let section = root.table("probe", &PROBE);
    let default = ProbeSettings::default();
    let depths = [Depth::Rpc, Depth::Tcp].map(|depth| (depth.as_str(), depth));
    let depth = section.get("depth").and_then(|item| item.choose(&depths));
    let control = section.get("control").and_then(|item| item.boolean("true"));
    let concurrency = section.get("concurrency").and_then(|item| item.integer(1..=65_535, "256"));
    ProbeSettings {
        depth: depth.unwrap_or(default.depth),
        control: control.unwrap_or(default.control),
        timeout: duration(&section, "timeout", "\"3s\"", default.timeout),
        slow: duration(&section, "slow", "\"500ms\"", default.slow),
        concurrency: concurrency.map_or(default.concurrency, |number| number as usize),
    }
}

fn duration(section: &Section<'_>, key: &str, example: &str, default: Duration) -> Duration {
    section.get(key).and_then(|item| item.duration(&SHORT, example)).unwrap_or(default)
}

/// A relative path begins where the process was started, as logs and other state do, and not beside the
/// config, which the daemon may not write.
fn journal(root: &Section<'_>) -> JournalSettings {
    let section = root.table("journal", &JOURNAL);
    let path = section.get("path").and_then(|item| item.read("\"kmswatch.db\"", journal_path));
    let keep = section.get("keep").and_then(|item| item.duration(&KEEP, "\"400d\""));
    JournalSettings {
        path: path.unwrap_or_else(|| Some(DEFAULT_JOURNAL.into())),
        keep: keep.unwrap_or(JournalSettings::default().keep),
    }
}

fn journal_path(text: &str) -> Result<Option<PathBuf>, Refusal> {
    if text.ends_with('/') || text.contains('\0') {
        let problem = format!("{} is no file", shown(text));
        return Err(Refusal::new(problem, "write one such as \"/var/lib/kmswatch/kmswatch.db\""));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Where the journal is unless the config says otherwise (contract).
pub const DEFAULT_JOURNAL: &str = "kmswatch.db";

fn web(root: &Section<'_>, log: &Log) -> WebSettings {
    let section = root.table("web", &WEB);
    let default = WebSettings::default();
    let listen =
        section.get("listen").and_then(|item| item.read("\"127.0.0.1:9688\"", listen_address));
    let external_url = section
        .get("external_url")
        .and_then(|item| item.read("\"https://kmswatch.contoso.com\"", external_url));
    let socket = section
        .get("socket")
        .and_then(|item| item.read("\"/run/kmswatch/kmswatch.sock\"", socket_path));
    WebSettings {
        listen: listen.unwrap_or(default.listen),
        external_url: external_url.unwrap_or(default.external_url),
        socket: socket.flatten(),
        tokens: section.get("tokens_file").and_then(|item| tokens::read(&item, log)),
    }
}

fn socket_path(text: &str) -> Result<Option<PathBuf>, Refusal> {
    let is_path = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
    if !text.is_empty() && (!is_path || text.len() > LONGEST_SOCKET) {
        let problem = format!(
            "{} is no whole path of a file, of at most {LONGEST_SOCKET} bytes",
            shown(text)
        );
        return Err(Refusal::new(problem, "write one such as \"/run/kmswatch/kmswatch.sock\""));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// As Linux has it (`sun_path`, with the NUL at its end).
const LONGEST_SOCKET: usize = 107;

fn listen_address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            format!("{} is no address with a port", shown(text)),
            "write one such as \"127.0.0.1:9688\", \"0.0.0.0:9688\" or \"[::]:9688\"",
        )
    })
}

/// An absolute http URL, or nothing; trailing slashes go.
fn external_url(text: &str) -> Result<String, Refusal> {
    let bare = text.trim_end_matches('/');
    let rest = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        let authority = rest.split('/').next().unwrap_or("");
        let host = authority.rsplit('@').next().unwrap_or("");
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        let port_is_valid = port.ends_with(']') || super::server::parse_port(port).is_some();
        !name.is_empty()
            && port_is_valid
            && rest.chars().all(|c| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c))
    };
    if text.is_empty() || rest.is_some_and(is_plain) {
        return Ok(bare.to_owned());
    }
    Err(Refusal::new(
        format!("{} is no http URL without query", shown(text)),
        "write one such as \"https://kmswatch.contoso.com\"",
    ))
}

fn resolvers(root: &Section<'_>, log: &Log, read_system: ReadSystem) -> Vec<Arc<Resolver>> {
    let sections = root.tables("resolver", &RESOLVER);
    let is_given = root.items("resolver").next().is_some();
    if sections.is_empty() {
        let system = (!is_given).then(read_system).transpose().map_err(|problem| {
            let advice = "write [[resolver]] with name and servers";
            log.refuse(Kind::Missing, root.place(), "resolver", Refusal::new(problem, advice));
        });
        if is_given && root.items("resolver").all(|item| item.is_empty_array()) {
            let empty =
                Refusal::new("empty", "write [[resolver]] with name and servers, or nothing");
            root.items("resolver").for_each(|item| item.refuse(empty.clone()));
        }
        return system.ok().flatten().map(|system| system.resolver).into_iter().collect();
    }
    let mut names = FirstPlaces::default();
    sections.iter().map(|section| resolver(section, &mut names)).collect()
}

fn resolver(section: &Section<'_>, names: &mut FirstPlaces<String>) -> Arc<Resolver> {
    let name = section.require("name", "\"hq\"").and_then(|item| {
        let name = item.read("\"hq\"", plain_name)?;
        names.is_new(name.to_owned(), name, &item);
        Some(name)
    });
    let source = section.get("source").and_then(|item| item.read("\"10.0.0.9\"", source_address));
    let interface = section.get("interface").and_then(|item| item.read("\"eth1\"", interface_name));
    let path = Path { source, interface: interface.map(Arc::from), ..Path::default() };
    let servers = servers(section, &path);
    resolver_over(name.unwrap_or(""), &servers, path, labels(section))
}

fn servers(section: &Section<'_>, path: &Path) -> Vec<Server> {
    let Some(item) = section.require("servers", "[\"10.0.0.53\"]") else {
        return Vec::new();
    };
    let Some(items) = item.array("[\"10.0.0.53\"]") else {
        return Vec::new();
    };
    if items.is_empty() {
        item.refuse(Refusal::new("no server", "write servers = [\"10.0.0.53\"]"));
    }
    let mut seen = FirstPlaces::default();
    let servers = items.iter().filter_map(|item| {
        let server = item.read("\"10.0.0.53\"", server)?;
        let is_new = seen.is_new(server, &server.to_string(), item);
        item.take(check_family(&server, path))?;
        is_new.then_some(server)
    });
    servers.collect()
}

/// A socket has one family.
fn check_family(server: &Server, path: &Path) -> Result<(), Refusal> {
    match path.source {
        Some(source) if !path.suits(server.address.ip()) => Err(Refusal::new(
            format!(
                "{server} cannot be reached from source {source}, which is of the other family"
            ),
            "write a source of the servers' family, or two resolvers",
        )),
        _ => Ok(()),
    }
}

pub(super) fn source_address(text: &str) -> Result<IpAddr, Refusal> {
    let ip = text.parse().map_err(|_| {
        let problem = format!("{} is no IP address", shown(text));
        Refusal::new(problem, "write an address of this machine such as \"10.0.0.9\"")
    })?;
    check_unicast(text, ip)?;
    Ok(ip)
}

/// What Linux accepts (`dev_valid_name`).
pub(super) fn interface_name(text: &str) -> Result<&str, Refusal> {
    let is_valid = (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"/:%".contains(c));
    let refusal = || {
        let problem = format!("{} is no interface name", shown(text));
        Refusal::new(problem, "write a name that \"ip link\" lists, such as \"eth1\"")
    };
    is_valid.then_some(text).ok_or_else(refusal)
}

/// A name that can stand in a line of text.
pub(super) fn plain_name(text: &str) -> Result<&str, Refusal> {
    let is_plain =
        !text.trim().is_empty() && text.trim() == text && !text.contains(char::is_control);
    let refusal = || {
        let problem = format!("{} is no name", shown(text));
        Refusal::new(problem, "write a short word such as \"hq\"")
    };
    is_plain.then_some(text).ok_or_else(refusal)
}

fn hosts(root: &Section<'_>) -> HashMap<Name, Arc<HostNote>> {
    let mut places = FirstPlaces::default();
    let mut hosts = HashMap::new();
    for section in root.tables("host", &HOST) {
        let example = "\"kms.contoso.com\"";
        let name = section.require("name", example).and_then(|item| {
            let name = item.read(example, host_name)?;
            places.is_new(name.clone(), name.as_str(), &item).then_some(name)
        });
        let probe = section.get("probe").and_then(|item| item.boolean("false"));
        let reason = section.get("reason").and_then(|item| item.string("\"behind a firewall\""));
        let note = HostNote {
            probe: probe.unwrap_or(true),
            reason: reason.map(str::to_owned),
            labels: labels(&section),
        };
        hosts.extend(name.map(|name| (name, Arc::new(note))));
    }
    hosts
}

/// A domain below which clients look.
pub(super) fn domain_name(text: &str) -> Result<Name, Refusal> {
    no_url(text, "contoso.com")?;
    Ok(Name::parse_domain(text)?)
}

fn host_name(text: &str) -> Result<Name, Refusal> {
    no_url(text, "kms.contoso.com")?;
    Ok(Name::parse(text)?)
}

/// Longer intervals than a month notice nothing in time.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
/// What is longer than ten years is a slip.
const LONG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(3650 * 24);
const SETTLE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(3650 * 24);
/// What is kept for less than a day is no memory; a hundred years are for ever.
const KEEP: RangeInclusive<Duration> =
    Duration::from_hours(24)..=Duration::from_hours(100 * 365 * 24);
const SHORT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);

const AUDIT: Keys =
    Keys { known: &["interval", "stale_after", "vanished_for", "settle"], later: &[] };
const DNS: Keys = Keys { known: &["timeout", "attempts", "rate"], later: &["ca_file"] };
const PROBE: Keys =
    Keys { known: &["depth", "control", "timeout", "slow", "concurrency"], later: &[] };
const RESOLVER: Keys =
    Keys { known: &["name", "servers", "source", "interface", "labels"], later: &["sample"] };
const HOST: Keys = Keys { known: &["name", "probe", "reason", "labels"], later: &[] };
const JOURNAL: Keys = Keys { known: &["path", "keep"], later: &[] };
const WEB: Keys = Keys {
    known: &["listen", "external_url", "socket", "tokens_file"],
    later: &["tls_cert", "tls_key", "users_file", "open_paths"],
};
