//! The Grafana dashboards: Grafana's types take them, they keep our own rules, and each of their queries has
//! an answer in a real Prometheus that scrapes the demo.

#[path = "dashboards/board.rs"]
mod board;
#[path = "peers/daemon.rs"]
mod daemon;
#[path = "dashboards/lint.rs"]
mod lint;
#[path = "dashboards/live.rs"]
mod live;
#[path = "peers/npm.rs"]
mod npm;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/prometheus.rs"]
mod prometheus;
#[path = "dashboards/promql.rs"]
mod promql;

use std::process::Command;

/// Needs npm, which installs the types into `target/test-node` once.
#[test]
fn grafanas_types_take_every_dashboard() {
    let mut check = Command::new("node");
    check.arg(npm::tools().join("dashboards/check.mjs")).arg(npm::installed("dashboards"));
    println!("{}", program::said(&mut check));
}
