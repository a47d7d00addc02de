//! An embedded lab on loopback: DNS answers and RPC bind listeners.
//!
//! [`Lab`] is a small estate with four faults in it: the `demo` command runs the real daemon against
//! it, tests use it and its parts ([`zones`], [`dns`], [`rpc`]) as counterparts. All of it listens
//! on 127.0.0.1 only, on ports that the kernel chooses; what an estate tells apart by address, the lab
//! tells apart by port.

pub mod dns;
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
pub use lab::{Lab, LabError};
pub use rpc::{Behaviour, RpcListener};
pub use script::{intro, script};
pub use zones::{Data, Zones};

/// What a user may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Where the daemon shows its pages. Default 127.0.0.1:9688, as without a demo.
    pub listen: SocketAddr,
    /// When the first host leaves. Default 1 min: time to look around first.
    pub act_after: Duration,
}

/// Port 0 of the one address that the lab needs: the kernel chooses.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9688)),
            act_after: Duration::from_mins(1),
        }
    }
}
