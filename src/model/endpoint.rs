//! From where (path), whom (server, endpoint), and the keys that the state is kept under.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::Name;

/// From where a question or a probe leaves; the default path is empty: the kernel chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The source address to bind.
    pub source: Option<IpAddr>,
    /// The interface to bind to (`SO_BINDTODEVICE`).
    pub interface: Option<Arc<str>>,
    /// The network that DNS servers are told the question is for (EDNS Client Subnet, RFC 7871), so that
    /// views by network answer as they would there. Nothing is sent from it.
    pub client_subnet: Option<IpNet>,
}

impl Path {
    /// Whether an address of this family can be reached from the path's source at all.
    pub fn suits(&self, address: IpAddr) -> bool {
        self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }
}

/// Empty for the default path, else `source`, `%interface` or `source%interface`, and `+network` where
/// servers are told one.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = self.source {
            write!(formatter, "{source}")?;
        }
        if let Some(interface) = &self.interface {
            write!(formatter, "%{interface}")?;
        }
        match self.client_subnet {
            Some(network) => write!(formatter, "+{network}"),
            None => Ok(()),
        }
    }
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP first, TCP where an answer is truncated.
    Udp,
    /// TCP only.
    Tcp,
}

/// One DNS server that is asked: transport and address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// How it is asked.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The DNS port (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// The shortest text that a config would accept for this server: `10.0.0.53`, `10.0.0.54:5353`,
/// `[2001:db8::53]`, `tcp://10.0.0.55`.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Tcp {
            formatter.write_str("tcp://")?;
        }
        match (self.address.port(), self.address) {
            (DNS_PORT, SocketAddr::V4(address)) => write!(formatter, "{}", address.ip()),
            (DNS_PORT, SocketAddr::V6(address)) if address.scope_id() == 0 => {
                write!(formatter, "[{}]", address.ip())
            }
            (_, address) => write!(formatter, "{address}"),
        }
    }
}

/// A server as asked over one path. Shared by every key that asks it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// The server.
    pub server: Server,
    /// From where.
    pub path: Path,
}

/// By address alone: every key of the state is hashed with it, and hardly two upstreams of a config
/// share one.
impl Hash for Upstream {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.server.address.hash(hasher);
    }
}

/// What a lookup asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// Type 33 (RFC 2782).
    Srv,
    /// Type 1.
    A,
    /// Type 28 (RFC 3596).
    Aaaa,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Srv => "SRV",
            Self::A => "A",
            Self::Aaaa => "AAAA",
        })
    }
}

/// What is asked, of whom, from where: the unit of scheduling for DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupKey {
    /// Server and path.
    pub upstream: Arc<Upstream>,
    /// The owner name.
    pub name: Name,
    /// The record type.
    pub kind: RecordKind,
}

/// One address and port of a host over one path: the unit of scheduling for probes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// From where.
    pub path: Arc<Path>,
    /// The address and port that are connected to.
    pub address: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_read_as_a_config_writes_them() {
        let shown = |transport, address: &str| {
            Server { transport, address: address.parse().expect("a socket address") }.to_string()
        };
        assert_eq!(shown(Transport::Udp, "10.0.0.53:53"), "10.0.0.53");
        assert_eq!(shown(Transport::Udp, "10.0.0.54:5353"), "10.0.0.54:5353");
        assert_eq!(shown(Transport::Udp, "[2001:db8::53]:53"), "[2001:db8::53]");
        assert_eq!(shown(Transport::Tcp, "[2001:db8::53]:54"), "tcp://[2001:db8::53]:54");
    }

    #[test]
    fn the_default_path_is_empty() {
        assert_eq!(Path::default().to_string(), "");
        let network = "10.0.0.0/24".parse().expect("a network");
        let mut path = Path {
            source: Some([10, 0, 0, 9].into()),
            interface: Some("eth1".into()),
            client_subnet: Some(network),
        };
        assert_eq!(path.to_string(), "10.0.0.9%eth1+10.0.0.0/24");
        path.client_subnet = None;
        assert_eq!(path.to_string(), "10.0.0.9%eth1");
        assert!(!path.suits(IpAddr::from([0_u16; 8])));
    }
}
