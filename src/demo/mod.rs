//! An embedded lab on loopback: DNS answers and RPC bind listeners.
//!
//! [`Lab`] is a small estate with a domain for each telling fault: the `demo` command runs the real
//! daemon against it, tests use it and its parts ([`zones`], [`dns`], [`rpc`]) as counterparts. All of it
//! listens on loopback only, on ports that the kernel chooses.

pub mod dns;
mod estate;
mod lab;
mod pdu;
pub mod rpc;
mod script;
mod seen;
mod serve;
mod wire;
pub mod zones;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use dns::{DnsServer, Fault, SeenQuery};
pub use lab::{Act, Lab, LabError};
pub use rpc::{Behaviour, RpcListener};
pub use script::{intro, script};
pub use zones::{Data, Zones};

/// Port 0: the kernel chooses.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where the daemon shows its pages unless told otherwise: as without a demo.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9688);

/// How often something happens: each change is seen alone, and a round within a minute.
pub const EVERY: Duration = Duration::from_secs(10);
