//! Probes one endpoint and prints what came of it as one line of JSON.
//!
//! `cargo run --example probe -- 10.0.0.9:1688 --source 10.0.0.5 --interface eth1 --timeout-ms 3000`

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use kmswatch::model::plan::{Depth, ProbeSettings};
use kmswatch::model::{EndpointKey, Path};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// What is probed: an address and a port, an IPv6 address in brackets.
    endpoint: SocketAddr,
    /// The source address to leave from.
    #[arg(long)]
    source: Option<IpAddr>,
    /// The interface to leave by.
    #[arg(long)]
    interface: Option<String>,
    /// The deadline over connect and reply, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    timeout_ms: u64,
    /// Connect only, send nothing.
    #[arg(long)]
    tcp: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let interface = arguments.interface.map(Arc::from);
    let path = Arc::new(Path { source: arguments.source, interface, ..Path::default() });
    let settings = ProbeSettings {
        depth: if arguments.tcp { Depth::Tcp } else { Depth::Rpc },
        timeout: Duration::from_millis(arguments.timeout_ms),
        ..ProbeSettings::default()
    };
    let key = EndpointKey { path, address: arguments.endpoint };
    let probe = kmswatch::probe::probe(&key, &settings).await;
    let line = json!({
        "address": key.address,
        "outcome": probe.outcome,
        "connect_seconds": probe.connect.map(|took| took.as_secs_f64()),
        "bind_seconds": probe.bind.map(|took| took.as_secs_f64()),
        "rejected_by": probe.rejected_by,
        "detail": probe.detail,
    });
    println!("{line}");
}
