//! The parts of the demo's lab for tests that block: servers that count. Include it with
//! `#[path = "peers/lab.rs"] mod lab;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use kmswatch::demo::{ANY_PORT, Behaviour, DnsServer, RpcListener, Zones};
use tokio::runtime::Runtime;

/// Where servers run; they end with it.
pub struct Bench(Runtime);

impl Bench {
    /// One thread beside the test's.
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(runtime.expect("a thread"))
    }

    /// A DNS server on a free port of 127.0.0.1.
    pub fn dns(&self, zones: &Zones) -> DnsServer {
        self.0.block_on(DnsServer::start(zones.clone(), ANY_PORT)).expect("a free port")
    }

    /// A listener on a free port of 127.0.0.1.
    pub fn host(&self, behaviour: Behaviour) -> RpcListener {
        self.0.block_on(RpcListener::start(behaviour, ANY_PORT)).expect("a free port")
    }

    /// Waits for something of the lab.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}
