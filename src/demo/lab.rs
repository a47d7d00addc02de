//! The estate of the demo: two healthy domains, four faults, two DNS servers, eight hosts.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::sync::Mutex;

use super::ANY_PORT;
use super::dns::DnsServer;
use super::rpc::{Behaviour, RpcListener};
use super::zones::{Data, Zones, name};

/// The estate: while it lives, its servers and hosts do.
///
/// `east` and `west` of `contoso.test` are the worked case of KMS over two sites: each domain prefers
/// its own two hosts (priority 10, weights 75 and 25) and falls back to the other's (priority 90).
/// Beside them is one domain for each fault. Names, priorities and weights are fixed, ports are the
/// kernel's choice.
#[derive(Debug)]
pub struct Lab {
    zones: Zones,
    servers: [DnsServer; 2],
    hosts: Vec<LabHost>,
    /// Bound and not listening: connections are refused, and the kernel gives the port to nobody else.
    _closed: TcpSocket,
    kms_port: u16,
    /// The port of the host that died, held in the same way.
    died: Mutex<Option<TcpSocket>>,
}

/// A host that listens.
#[derive(Debug)]
struct LabHost {
    name: &'static str,
    listener: RpcListener,
}

/// What kept the lab from starting, or its script from going on.
#[derive(Debug, Error)]
pub enum LabError {
    /// A socket could not be had.
    #[error("cannot {operation} on {address} for the lab's {who}: {source}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Where.
        address: SocketAddr,
        /// For which server or host.
        who: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// One record that the lab publishes: domain, priority, weight, host.
type Published = (&'static str, u16, u16, &'static str);

pub(super) const EAST: &str = "east.contoso.test";
pub(super) const WEST: &str = "west.contoso.test";
pub(super) const MISSING: &str = "missing.contoso.test";
pub(super) const DEAD: &str = "dead.contoso.test";
pub(super) const ROGUE: &str = "rogue.contoso.test";
pub(super) const WRONG: &str = "wrong.contoso.test";
/// In the order of the config.
const DOMAINS: [&str; 6] = [EAST, WEST, MISSING, DEAD, ROGUE, WRONG];

pub(super) const KMS_E1: &str = "kms-e1.east.contoso.test";
const KMS_E2: &str = "kms-e2.east.contoso.test";
pub(super) const KMS_W1: &str = "kms-w1.west.contoso.test";
const KMS_W2: &str = "kms-w2.west.contoso.test";
const DEAD_HOST: &str = "kms.dead.contoso.test";
const LISTED_HOST: &str = "kms.rogue.contoso.test";
const ROGUE_HOST: &str = "printer.rogue.contoso.test";
const WRONG_HOST: &str = "kms.wrong.contoso.test";

/// Every host that listens, and as what.
const HOSTS: [(&str, Behaviour); 7] = [
    (KMS_E1, Behaviour::Kms),
    (KMS_E2, Behaviour::Kms),
    (KMS_W1, Behaviour::Kms),
    (KMS_W2, Behaviour::Kms),
    (LISTED_HOST, Behaviour::Kms),
    (ROGUE_HOST, Behaviour::AcceptsAny),
    (WRONG_HOST, Behaviour::OtherRpc),
];

/// What the config lists, and DNS publishes.
const LISTED: [Published; 11] = [
    (EAST, 10, 75, KMS_E1),
    (EAST, 10, 25, KMS_E2),
    (EAST, 90, 75, KMS_W1),
    (EAST, 90, 25, KMS_W2),
    (WEST, 10, 75, KMS_W1),
    (WEST, 10, 25, KMS_W2),
    (WEST, 90, 75, KMS_E1),
    (WEST, 90, 25, KMS_E2),
    (DEAD, 0, 0, DEAD_HOST),
    (ROGUE, 0, 0, LISTED_HOST),
    (WRONG, 0, 0, WRONG_HOST),
];
/// What DNS publishes, and the config does not list.
const UNLISTED: Published = (ROGUE, 0, 0, ROGUE_HOST);

impl Lab {
    /// Starts all servers and hosts and publishes the records.
    ///
    /// # Errors
    /// [`LabError`] when 127.0.0.1 has no ports left.
    pub async fn start() -> Result<Self, LabError> {
        let (closed, kms_port) = hold(ANY_PORT).map_err(failed("bind", ANY_PORT, DEAD_HOST))?;
        let mut hosts = Vec::new();
        for (name, behaviour) in HOSTS {
            let started = RpcListener::start(behaviour, ANY_PORT).await;
            hosts.push(LabHost {
                name,
                listener: started.map_err(failed("listen", ANY_PORT, name))?,
            });
        }
        let zones = Zones::new();
        let start = || async {
            let started = DnsServer::start(zones.clone(), ANY_PORT).await;
            started.map_err(failed("listen", ANY_PORT, "DNS servers"))
        };
        let servers = [start().await?, start().await?];
        let lab = Self { zones, servers, hosts, _closed: closed, kms_port, died: Mutex::new(None) };
        lab.publish();
        Ok(lab)
    }

    /// The config of a daemon that watches this lab and listens there. All is listed with its port, so
    /// that the healthy domains yield no finding.
    pub fn config(&self, listen: SocketAddr) -> String {
        let [first, second] = self.servers().map(DnsServer::address);
        let mut text = format!(
            "[audit]\ninterval = \"5s\"\n\n[journal]\npath = \"\"\n\n[web]\nlisten = \"{listen}\"\n\n\
             [[resolver]]\nname = \"lab\"\nservers = [\"{first}\", \"{second}\"]\n"
        );
        for domain in DOMAINS {
            let _ = write!(text, "\n[[domain]]\nname = \"{domain}\"\nkms = \"required\"\n");
            let hosts = self.listed(domain);
            if !hosts.is_empty() {
                let _ = write!(text, "hosts = [\n{hosts}]\n");
            }
        }
        text
    }

    /// The plan's `kms_port` in this lab: one that nothing listens on, held by the lab, so that the
    /// look at "port 1688" never leaves it. It is also the port of the dead host.
    pub fn kms_port(&self) -> u16 {
        self.kms_port
    }

    /// What both servers serve; changes show at once.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The two servers of the resolver "lab".
    pub fn servers(&self) -> [&DnsServer; 2] {
        self.servers.each_ref()
    }

    /// A host that listens, by its full name.
    pub fn host(&self, name: &str) -> Option<&RpcListener> {
        self.hosts.iter().find(|host| host.name == name).map(|host| &host.listener)
    }

    /// The first act: `kms-w1` leaves DNS, in its own domain, on both servers. It still runs, and
    /// `east` still publishes it.
    pub fn leave_dns(&self) {
        let leaving = name(KMS_W1);
        let is_other =
            |data: &Data| !matches!(data, Data::Srv { target, .. } if *target == leaving);
        self.zones.retain(&owner(WEST), is_other);
    }

    /// The second act: `kms-e1` dies. Its records stay, its port refuses connections and remains the
    /// lab's: a freed one could be taken by anybody, even by the probe that connects to it.
    ///
    /// # Errors
    /// [`LabError`] when somebody took the port meanwhile.
    pub async fn kill_host(&self) -> Result<(), LabError> {
        let mut died = self.died.lock().await;
        let Some(listener) = self.host(KMS_E1).filter(|_| died.is_none()) else { return Ok(()) };
        listener.close().await;
        let (held, _) =
            hold(listener.address()).map_err(failed("bind", listener.address(), KMS_E1))?;
        *died = Some(held);
        Ok(())
    }

    fn publish(&self) {
        self.zones.add_zone("contoso.test");
        for (domain, priority, weight, target) in LISTED.into_iter().chain([UNLISTED]) {
            let data = Data::srv(priority, weight, self.port_of(target), target);
            self.zones.insert(&owner(domain), data);
            self.zones.insert(target, Data::A(Ipv4Addr::LOCALHOST));
        }
        // The domain is there, only KMS is not.
        self.zones.insert(&format!("dc1.{MISSING}"), Data::A(Ipv4Addr::LOCALHOST));
    }

    /// The entries of `hosts`, a line each.
    fn listed(&self, domain: &str) -> String {
        let mut lines = String::new();
        for (_, priority, weight, target) in LISTED.into_iter().filter(|entry| entry.0 == domain) {
            let port = self.port_of(target);
            let _ = writeln!(lines, "    \"{target}:{port}, {priority}, {weight}\",");
        }
        lines
    }

    fn port_of(&self, target: &str) -> u16 {
        self.host(target).map_or(self.kms_port, |listener| listener.address().port())
    }
}

fn owner(domain: &str) -> String {
    format!("_vlmcs._tcp.{domain}")
}

/// Binds without listening, which refuses connections; also where connections of a former listener
/// linger.
fn hold(address: SocketAddr) -> io::Result<(TcpSocket, u16)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

fn failed(
    operation: &'static str,
    address: SocketAddr,
    who: &'static str,
) -> impl Fn(io::Error) -> LabError {
    move |source| LabError::Socket { operation, address, who, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use hickory_proto::rr::RecordType;
    use tokio::net::TcpStream;

    use super::*;

    const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9688);

    /// `host:port, priority, weight` of what DNS publishes.
    fn published(lab: &Lab, domain: &str) -> BTreeSet<String> {
        let found = lab.zones().find(&name(&owner(domain)), RecordType::SRV);
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

    async fn is_refused(port: u16) -> bool {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    #[tokio::test]
    async fn the_config_lists_what_dns_publishes_but_for_the_faults() {
        let lab = Lab::start().await.expect("a lab");
        let config: toml::Table = lab.config(LISTEN).parse().expect("TOML");
        for domain in [EAST, WEST, DEAD, WRONG] {
            assert_eq!(listed(&config, domain), Some(published(&lab, domain)), "{domain}");
        }
        let port = |target| lab.port_of(target);
        let expected =
            [(KMS_E1, "10, 75"), (KMS_E2, "10, 25"), (KMS_W1, "90, 75"), (KMS_W2, "90, 25")]
                .map(|(host, rank)| format!("{host}:{}, {rank}", port(host)));
        assert_eq!(published(&lab, EAST), BTreeSet::from(expected));
        let expected =
            [(KMS_W1, "10, 75"), (KMS_W2, "10, 25"), (KMS_E1, "90, 75"), (KMS_E2, "90, 25")]
                .map(|(host, rank)| format!("{host}:{}, {rank}", port(host)));
        assert_eq!(published(&lab, WEST), BTreeSet::from(expected));
        let rogue: Vec<String> = published(&lab, ROGUE)
            .difference(&listed(&config, ROGUE).expect("a list"))
            .cloned()
            .collect();
        assert_eq!(rogue, [format!("{ROGUE_HOST}:{}, 0, 0", port(ROGUE_HOST))]);
        assert_eq!((listed(&config, MISSING), published(&lab, MISSING)), (None, BTreeSet::new()));
        assert_eq!(config["web"]["listen"].as_str(), Some("127.0.0.1:9688"));
        let servers = lab.servers().map(|server| server.address().to_string().into());
        assert_eq!(config["resolver"][0]["servers"], toml::Value::Array(servers.to_vec()));
    }

    fn is_held(port: u16) -> bool {
        let other = TcpSocket::new_v4().expect("a socket");
        let bound = other.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    }

    #[tokio::test]
    async fn every_port_is_its_own_and_the_dead_one_refuses() {
        let lab = Lab::start().await.expect("a lab");
        let mut ports: BTreeSet<u16> = HOSTS.iter().map(|(host, _)| lab.port_of(host)).collect();
        assert!(ports.insert(lab.port_of(DEAD_HOST)));
        assert_eq!(ports.len(), 8);
        assert_eq!(lab.port_of(DEAD_HOST), lab.kms_port());
        assert!(is_refused(lab.kms_port()).await);
        assert!(is_held(lab.kms_port()));
        lab.kill_host().await.expect("its port is held");
        assert!(is_held(lab.port_of(KMS_E1)));
        assert!(!is_refused(lab.port_of(WRONG_HOST)).await);
    }

    #[tokio::test]
    async fn the_acts_take_one_record_and_one_port() {
        let lab = Lab::start().await.expect("a lab");
        let (east, mut west) = (published(&lab, EAST), published(&lab, WEST));
        lab.leave_dns();
        assert!(west.remove(&format!("{KMS_W1}:{}, 10, 75", lab.port_of(KMS_W1))));
        assert_eq!((published(&lab, EAST), published(&lab, WEST)), (east.clone(), west.clone()));
        assert!(!is_refused(lab.port_of(KMS_W1)).await);
        let host = lab.host(KMS_E1).expect("it lives");
        let _lingers = TcpStream::connect(host.address()).await.expect("it listens");
        let accepted = async {
            while host.connections() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), accepted).await.expect("accepted within 5 s");
        lab.kill_host().await.expect("its port is held");
        lab.kill_host().await.expect("it cannot die twice");
        assert!(is_refused(lab.port_of(KMS_E1)).await);
        assert_eq!((published(&lab, EAST), published(&lab, WEST)), (east, west));
    }
}
