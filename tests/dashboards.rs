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
#[path = "peers/program.rs"]
mod program;
#[path = "peers/prometheus.rs"]
mod prometheus;
#[path = "dashboards/promql.rs"]
mod promql;

use std::path::Path;
use std::process::Command;

/// Needs npm, which installs the types into `target/test-node` once.
#[test]
fn grafanas_types_take_every_dashboard() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/dashboards");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/");
    let said = |command: &mut Command| {
        let ended = program::Ended::of(command);
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
        ended.stdout.trim().to_owned()
    };
    let folder = said(Command::new(tools.join("install.sh")).arg(target));
    println!("{}", said(Command::new("node").arg(tools.join("check.mjs")).arg(folder)));
}
