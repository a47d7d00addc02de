//! A small estate of real servers: two BINDs with the same zones, and KMS listeners on 127.0.0.x.
//!
//! Include it with `#[path = "peers/estate.rs"] mod estate;`, beside `dns` and `rpc`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::dns::{Bind, Zone};
use crate::rpc::{Behaviour, RpcPeer};

/// What both servers serve at first: `contoso.test` with two hosts, and `broken.test`, whose zone file
/// is no zone.
///
/// A third host, `kms3`, listens and has an address, but no record names it.
pub struct Estate {
    pub first: Bind,
    pub second: Bind,
    /// `None` for a host that has died.
    pub hosts: [Option<RpcPeer>; 3],
    /// Every host listens on it.
    pub port: u16,
}

/// The owner of the records.
pub const OWNER: &str = "_vlmcs._tcp.contoso.test";

const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 11), Ipv4Addr::new(127, 0, 0, 12), Ipv4Addr::new(127, 0, 0, 13)];

impl Estate {
    /// Starts it; it is healthy.
    pub fn start() -> Self {
        let port = free_port();
        let hosts = ADDRESSES
            .map(|address| Some(RpcPeer::on(SocketAddr::from((address, port)), Behaviour::Kms)));
        let zone = records(port);
        let zones = [
            Zone { name: "contoso.test", records: &zone },
            Zone { name: "broken.test", records: "this ( is no zone" },
        ];
        Self { first: Bind::start(&zones), second: Bind::start(&zones), hosts, port }
    }

    /// Changes the zone of both servers: lines of nsupdate, in which `PORT` is the hosts' port.
    pub fn update(&self, lines: &str) {
        let lines = lines.replace("PORT", &self.port.to_string());
        self.first.update(&lines);
        self.second.update(&lines);
    }

    /// The settings and the resolver `hq` with both servers; tables of domains follow it.
    pub fn config(&self, settings: &str, domains: &str) -> String {
        format!(
            "[dns]\ntimeout = \"1s\"\nattempts = 2\n[probe]\ntimeout = \"2s\"\n{settings}\n\
             [[resolver]]\nname = \"hq\"\nservers = [\"{}\", \"{}\"]\n{}",
            self.first.address(),
            self.second.address(),
            domains.replace("PORT", &self.port.to_string())
        )
    }

    /// The domain with both hosts listed, on all resolvers.
    pub fn domain(&self) -> String {
        LISTED.replace("PORT", &self.port.to_string())
    }

    /// Numbers that differ from run to run, and what they are called in expectations.
    pub fn names(&self) -> Vec<(String, &'static str)> {
        vec![
            (self.first.address().to_string(), "first"),
            (self.second.address().to_string(), "second"),
            (format!(":{}", self.port), ":PORT"),
        ]
    }
}

/// The domain with both hosts listed.
pub const LISTED: &str = "[[domain]]\nname = \"contoso.test\"\n\
    hosts = [\"kms1.contoso.test:PORT, 10, 75\", \"kms2.contoso.test:PORT, 10, 25\"]\n";
/// The domain with all three hosts listed.
pub const LISTED_THREE: &str = "[[domain]]\nname = \"contoso.test\"\n\
    hosts = [\"kms1.contoso.test:PORT\", \"kms2.contoso.test:PORT\", \"kms3.contoso.test:PORT\"]\n";

fn records(port: u16) -> String {
    let [one, two, three] = ADDRESSES;
    format!(
        "_vlmcs._tcp SRV 10 75 {port} kms1\n_vlmcs._tcp SRV 10 25 {port} kms2\n\
         kms1 A {one}\nkms2 A {two}\nkms3 A {three}\n"
    )
}

/// A port that is free on every address.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        if ADDRESSES.iter().all(|address| TcpListener::bind((*address, port)).is_ok()) {
            return port;
        }
    }
}
