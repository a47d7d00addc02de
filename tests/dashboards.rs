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

use std::process::Command;

/// Needs npm, which installs the types into `target/test-node` once.
#[test]
fn grafanas_types_take_every_dashboard() {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/dashboards");
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/");
    let run = |program: &str, argument: &std::path::Path| {
        let file = format!("{tools}/{program}");
        let (mut command, arguments) = match program.ends_with(".mjs") {
            true => (Command::new("node"), [file.as_ref(), argument.as_os_str()].to_vec()),
            false => (Command::new(file), [argument.as_os_str()].to_vec()),
        };
        let ended = program::Ended::of(command.args(arguments));
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
        ended.stdout.trim().to_owned()
    };
    let folder = run("install.sh", target);
    println!("{}", run("check.mjs", folder.as_ref()));
}
