//! SRV records and the hosts that they name (RFC 2782).

use std::fmt;

use super::Name;

/// One SRV record as a server returned it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Lower is tried first.
    pub priority: u16,
    /// Relative share among equal priorities; 0 is "hardly ever" beside others.
    pub weight: u16,
    /// TCP port of the service.
    pub port: u16,
    /// The host that offers it; the root means "declared absent".
    pub target: Name,
    /// Seconds that a cache may keep it, as this server said.
    pub ttl: u32,
}

impl Record {
    /// The host that this record names.
    pub fn host(&self) -> Host {
        Host { target: self.target.clone(), port: self.port }
    }

    /// Whether both name one host.
    pub fn names_host_of(&self, other: &Self) -> bool {
        self.port == other.port && self.target == other.target
    }

    /// Whether it names this host.
    pub fn is_of(&self, host: &Host) -> bool {
        self.port == host.port && self.target == host.target
    }

    /// What counts when two servers are compared: everything but the TTL, which counts down in
    /// caches.
    pub fn identity(&self) -> (&Name, u16, u16, u16) {
        (&self.target, self.port, self.priority, self.weight)
    }
}

/// A record's target and port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// The name of the machine.
    pub target: Name,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.target, self.port)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The port that KMS hosts listen on unless told otherwise (registered as `kms`).
pub const KMS_PORT: u16 = 1688;

/// The records that name a host, the first of each host: the root is none (RFC 2782).
pub fn naming_hosts<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<&'a Record> {
    let mut naming: Vec<&Record> = Vec::with_capacity(4);
    for record in records.filter(|record| !record.target.is_root()) {
        if !naming.iter().any(|known| known.names_host_of(record)) {
            naming.push(record);
        }
    }
    naming
}
