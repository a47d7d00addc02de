//! The estate of the demo, running: its DNS servers, its hosts, and what happens to them.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::sync::Mutex;

use super::ANY_PORT;
use super::dns::{DnsServer, Fault};
use super::estate::{
    BROKEN, DOMAINS, EMPTY, HALF_HOST, HOSTS, KMS_E1, KMS_W1, PORT_HOST, PROFILES, Profile, Record,
    SPLIT, Site, WEST, ZONE,
};
use super::rpc::{Behaviour, RpcListener};
use super::zones::{Data, Zones, name};

/// The estate: while it lives, its servers and hosts do.
///
/// `east` and `west` of `contoso.test` are the worked case of KMS over two sites: each domain prefers
/// its own two hosts (priority 10, weights 75 and 25) and falls back to the other's (priority 90).
/// Beside them is one domain for each fault. Names, addresses, priorities and weights are fixed, ports
/// are the kernel's choice: one that all hosts share, as they share 1688 elsewhere.
#[derive(Debug)]
pub struct Lab {
    /// What headquarters' servers serve.
    zones: Zones,
    servers: Servers,
    _hosts: Vec<RpcListener>,
    /// The host that dies and returns, unless it is dead.
    mortal: Mutex<Option<RpcListener>>,
    ports: Ports,
}

#[derive(Debug)]
struct Servers {
    headquarters: [DnsServer; 2],
    old_copy: DnsServer,
    refusing: [DnsServer; 2],
    silent: DnsServer,
}

/// Ports of 127.0.0.1 that are bound and not listened on. That refuses connections, and the kernel gives
/// such a port of any address to nobody who does not ask for it.
#[derive(Debug)]
struct Ports {
    kms: u16,
    closed: u16,
    _held: Vec<TcpSocket>,
}

/// What kept the lab from starting, or an act from being played.
#[derive(Debug, Error)]
#[error("cannot {operation} on {address} for the lab's {who}: {source}")]
pub struct LabError {
    /// What was tried.
    operation: &'static str,
    /// Where.
    address: SocketAddr,
    /// For which server or host.
    who: &'static str,
    /// The operating system's reason.
    source: io::Error,
}

/// What happens in the estate, round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `kms-w1` leaves DNS, in its own domain; it still runs, and `east` still publishes it.
    LeaveDns,
    /// It is back, as it was.
    ReturnToDns,
    /// `kms-e1` dies: its records stay, its port refuses connections.
    Die,
    /// It runs again, where it was.
    Revive,
}

impl Act {
    /// All of them; after the last, everything is as it was before the first.
    pub const ROUND: [Self; 4] = [Self::LeaveDns, Self::ReturnToDns, Self::Die, Self::Revive];
}

/// The KMS port is the kernel's choice, and on some host's address somebody may have it: then another
/// is tried, so often.
const PORT_CHOICES: usize = 16;

impl Lab {
    /// Starts all servers and hosts and publishes the records.
    ///
    /// # Errors
    /// [`LabError`] when loopback has no ports left.
    pub async fn start() -> Result<Self, LabError> {
        let mut started = Self::try_start().await;
        for _ in 1..PORT_CHOICES {
            match started {
                Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => {}
                other => return other,
            }
            started = Self::try_start().await;
        }
        started
    }

    async fn try_start() -> Result<Self, LabError> {
        let ports = Ports::hold()?;
        let (mut hosts, mut mortal) = (Vec::new(), None);
        for host in &HOSTS {
            let Some(behaviour) = host.answers else { continue };
            let listener = listen(host.name, behaviour, address(host.octet, ports.kms)).await?;
            match host.name {
                KMS_E1 => mortal = Some(listener),
                _ => hosts.push(listener),
            }
        }
        let (zones, old_copy) = (Zones::new(), Zones::new());
        publish(&zones, &ports);
        publish(&old_copy, &ports);
        let first = DOMAINS.iter().find(|domain| domain.name == SPLIT);
        let first =
            first.and_then(|domain| domain.published.first()).map_or(".", |record| record.2);
        old_copy.retain(&owner(SPLIT), |data| leads_to(data, first));
        let servers = Servers::start(&zones, &old_copy).await?;
        Ok(Self { zones, servers, _hosts: hosts, mortal: Mutex::new(mortal), ports })
    }

    /// The config of a daemon that watches this lab and listens there. What waits for silence waits
    /// shortly, so that the first audit comes within a second.
    pub fn config(&self, listen: SocketAddr) -> String {
        let mut text = format!(
            "[audit]\ninterval = \"1s\"\n\n[dns]\ntimeout = \"250ms\"\nattempts = 2\n\n[probe]\ntimeout = \"500ms\"\n\n\
             [journal]\npath = \"\"\n\n[web]\nlisten = \"{listen}\"\n"
        );
        for site in Site::ALL {
            let servers = self.servers_of(site).map(|server| server.address().to_string());
            let name = site.resolver();
            let _ = write!(text, "\n[[resolver]]\nname = \"{name}\"\nservers = {servers:?}\n");
        }
        for domain in &DOMAINS {
            let (name, kms, resolver) = (domain.name, domain.kms, domain.site.resolver());
            let _ = write!(
                text,
                "\n[[domain]]\nname = \"{name}\"\nkms = \"{kms}\"\nresolvers = [\"{resolver}\"]\n"
            );
            let Some(hosts) = domain.listed else { continue };
            text.push_str("hosts = [\n");
            for (priority, weight, target) in hosts {
                let port = self.ports.of(target);
                let _ = writeln!(text, "    \"{target}:{port}, {priority}, {weight}\",");
            }
            text.push_str("]\n");
        }
        for profile in &PROFILES {
            self.declare(profile, &mut text);
        }
        text
    }

    fn declare(&self, profile: &Profile, text: &mut String) {
        let Profile { name, suffixes, kms_host, clients, office, shows: _ } = profile;
        let resolver = Site::Headquarters.resolver();
        let _ = write!(
            text,
            "\n[[profile]]\nname = \"{name}\"\nsuffixes = {suffixes:?}\nresolver = \"{resolver}\"\n"
        );
        if let Some(host) = kms_host {
            let _ = writeln!(text, "kms_host = \"{host}:{}\"", self.ports.of(host));
        }
        for (key, count) in [("clients", clients), ("office", office)] {
            if *count > 0 {
                let _ = writeln!(text, "{key} = {count}");
            }
        }
    }

    /// The plan's `kms_port` in this lab, which stands for 1688.
    pub fn kms_port(&self) -> u16 {
        self.ports.kms
    }

    /// The two servers that nearly all domains are asked of.
    pub fn servers(&self) -> [SocketAddr; 2] {
        self.servers_of(Site::Headquarters).map(DnsServer::address)
    }

    /// Lets something happen; what has happened already does not happen again.
    ///
    /// # Errors
    /// [`LabError`] when somebody took the port of the host that returns.
    pub async fn play(&self, act: Act) -> Result<(), LabError> {
        let mut mortal = self.mortal.lock().await;
        match (act, mortal.take()) {
            (Act::Die, Some(alive)) => alive.close().await,
            (Act::Revive, None) => {
                let host = HOSTS.iter().find(|host| host.name == KMS_E1);
                let at = address(host.map_or(1, |host| host.octet), self.ports.kms);
                *mortal = Some(listen(KMS_E1, Behaviour::Kms, at).await?);
            }
            (_, as_before) => *mortal = as_before,
        }
        let leaves = |record: &&Record| record.2 == KMS_W1;
        match act {
            Act::LeaveDns => {
                self.zones.retain(&owner(WEST), |data| !leads_to(data, KMS_W1));
            }
            Act::ReturnToDns => {
                let west = DOMAINS.iter().filter(|domain| domain.name == WEST);
                west.flat_map(|domain| domain.published.iter().filter(leaves)).for_each(|record| {
                    self.zones.insert(&owner(WEST), self.ports.srv(record));
                });
            }
            Act::Die | Act::Revive => {}
        }
        Ok(())
    }

    fn servers_of(&self, site: Site) -> [&DnsServer; 2] {
        let Servers { headquarters: [first, second], old_copy, refusing, silent } = &self.servers;
        match site {
            Site::Headquarters => [first, second],
            Site::Berlin => [first, old_copy],
            Site::Paris => [first, &refusing[0]],
            Site::Tokyo => [silent, &refusing[1]],
        }
    }
}

impl Servers {
    async fn start(zones: &Zones, old: &Zones) -> Result<Self, LabError> {
        let start = async |zones: &Zones, fault: Option<Fault>| {
            let started = DnsServer::start(zones.clone(), ANY_PORT).await;
            let server = started.map_err(failed("listen", ANY_PORT, "DNS servers"))?;
            server.set_fault(fault);
            Ok::<_, LabError>(server)
        };
        let headquarters = [start(zones, None).await?, start(zones, None).await?];
        for server in &headquarters {
            server.set_fault_for(&owner(BROKEN), Some(Fault::Rcode(SERVFAIL)));
        }
        let refuses = Some(Fault::Rcode(REFUSED));
        Ok(Self {
            headquarters,
            old_copy: start(old, None).await?,
            refusing: [start(zones, refuses).await?, start(zones, refuses).await?],
            silent: start(zones, Some(Fault::Silent)).await?,
        })
    }
}

/// RFC 1035 section 4.1.1.
const SERVFAIL: u16 = 2;
const REFUSED: u16 = 5;

impl Ports {
    fn hold() -> Result<Self, LabError> {
        let [(kms, first), (closed, second)] = [hold(ANY_PORT)?, hold(ANY_PORT)?];
        let mut held = vec![first, second];
        match hold(SocketAddr::from((Ipv6Addr::LOCALHOST, kms))) {
            Ok((_, third)) => held.push(third),
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // Without IPv6 nobody listens there either.
            Err(_) => {}
        }
        Ok(Self { kms, closed, _held: held })
    }

    /// Which one DNS and config name for a host.
    fn of(&self, target: &str) -> u16 {
        match target {
            PORT_HOST => self.closed,
            "." => 0,
            _ => self.kms,
        }
    }

    fn srv(&self, (priority, weight, target): &Record) -> Data {
        Data::srv(*priority, *weight, self.of(target), target)
    }
}

fn publish(zones: &Zones, ports: &Ports) {
    zones.add_zone(ZONE);
    for domain in &DOMAINS {
        for record in domain.published {
            zones.insert(&owner(domain.name), ports.srv(record));
        }
    }
    for host in &HOSTS {
        zones.insert(host.name, Data::A(Ipv4Addr::new(127, 0, 0, host.octet)));
    }
    zones.insert(HALF_HOST, Data::Aaaa(Ipv6Addr::LOCALHOST));
    zones.insert(&format!("old.{}", owner(EMPTY)), Data::A(Ipv4Addr::LOCALHOST));
}

fn leads_to(data: &Data, host: &str) -> bool {
    matches!(data, Data::Srv { target, .. } if *target == name(host))
}

fn owner(domain: &str) -> String {
    format!("_vlmcs._tcp.{domain}")
}

fn address(octet: u8, port: u16) -> SocketAddr {
    SocketAddr::from((IpAddr::from([127, 0, 0, octet]), port))
}

async fn listen(
    who: &'static str,
    behaviour: Behaviour,
    address: SocketAddr,
) -> Result<RpcListener, LabError> {
    RpcListener::start(behaviour, address).await.map_err(failed("listen", address, who))
}

fn hold(address: SocketAddr) -> Result<(u16, TcpSocket), LabError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(address)?;
        Ok((socket.local_addr()?.port(), socket))
    };
    bound().map_err(failed("bind", address, "closed ports"))
}

fn failed(
    operation: &'static str,
    address: SocketAddr,
    who: &'static str,
) -> impl Fn(io::Error) -> LabError {
    move |source| LabError { operation, address, who, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hickory_proto::rr::RecordType;
    use tokio::net::TcpStream;

    use super::*;
    use crate::demo::LISTEN;

    /// `host:port, priority, weight` of what these zones publish.
    fn published(zones: &Zones, domain: &str) -> BTreeSet<String> {
        let found = zones.find(&name(&owner(domain)), RecordType::SRV);
        let as_listed = |data: &Data| match data {
            Data::Srv { priority, weight, port, target } => {
                format!("{target}:{port}, {priority}, {weight}")
            }
            other => format!("{other:?}"),
        };
        found.records.iter().map(|record| as_listed(&record.data)).collect()
    }

    fn listed(config: &toml::Table, domain: &str) -> Option<BTreeSet<String>> {
        let domains = config["domain"].as_array()?;
        let domain = domains.iter().find(|entry| entry["name"].as_str() == Some(domain))?;
        let hosts = domain.get("hosts")?.as_array()?;
        Some(hosts.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
    }

    async fn is_refused(address: SocketAddr) -> bool {
        let connected = TcpStream::connect(address).await;
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    #[tokio::test]
    async fn the_config_lists_what_dns_publishes_but_for_three_faults() {
        let lab = Lab::start().await.expect("a lab");
        let config: toml::Table = lab.config(LISTEN).parse().expect("TOML");
        let differ = |domain: &&str| {
            listed(&config, domain).is_some_and(|listed| listed != published(&lab.zones, domain))
        };
        let differing: Vec<&str> =
            DOMAINS.iter().map(|domain| domain.name).filter(differ).collect();
        assert_eq!(
            differing,
            ["rogue.contoso.test", "incomplete.contoso.test", "drift.contoso.test"]
        );
        assert_eq!(config["domain"].as_array().map(Vec::len), Some(DOMAINS.len()));
        assert_eq!(config["web"]["listen"].as_str(), Some("127.0.0.1:9688"));
        let servers = lab.servers().map(|server| server.to_string().into());
        assert_eq!(config["resolver"][0]["servers"], toml::Value::Array(servers.to_vec()));
    }

    #[tokio::test]
    async fn every_name_address_and_resolver_is_used_once() {
        let distinct =
            |count: usize, all: BTreeSet<String>| assert_eq!(all.len(), count, "{all:?}");
        distinct(DOMAINS.len(), DOMAINS.iter().map(|domain| domain.name.to_owned()).collect());
        distinct(HOSTS.len(), HOSTS.iter().map(|host| host.name.to_owned()).collect());
        distinct(HOSTS.len(), HOSTS.iter().map(|host| host.octet.to_string()).collect());
        distinct(4, Site::ALL.iter().map(|site| site.resolver().to_owned()).collect());
    }

    #[tokio::test]
    async fn dead_hosts_and_closed_ports_refuse_and_nobody_is_given_their_port() {
        let lab = Lab::start().await.expect("a lab");
        for host in &HOSTS {
            let at = address(host.octet, lab.kms_port());
            assert_eq!(is_refused(at).await, host.answers.is_none(), "{}", host.name);
        }
        assert!(is_refused(address(41, lab.ports.closed)).await);
        for port in [lab.ports.kms, lab.ports.closed] {
            let other = TcpSocket::new_v4().expect("a socket");
            let bound = other.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
            assert!(bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
        }
    }

    #[tokio::test]
    async fn a_round_of_acts_changes_one_thing_each_and_leaves_all_as_it_was() {
        let lab = Lab::start().await.expect("a lab");
        let host = address(11, lab.kms_port());
        let all = || DOMAINS.map(|domain| published(&lab.zones, domain.name));
        let (at_first, west) = (all(), published(&lab.zones, WEST));
        for _ in 0..2 {
            lab.play(Act::LeaveDns).await.expect("played");
            let left = published(&lab.zones, WEST);
            let gone: Vec<&String> = west.difference(&left).collect();
            assert_eq!(gone, [&format!("{KMS_W1}:{}, 10, 75", lab.kms_port())]);
            lab.play(Act::ReturnToDns).await.expect("played");
            assert_eq!(all(), at_first);
            let _lingers = TcpStream::connect(host).await.expect("it listens");
            lab.play(Act::Die).await.expect("played");
            lab.play(Act::Die).await.expect("it cannot die twice");
            assert!(is_refused(host).await);
            lab.play(Act::Revive).await.expect("played");
            lab.play(Act::Revive).await.expect("it lives");
            assert!(!is_refused(host).await);
            assert_eq!(all(), at_first);
        }
    }
}
