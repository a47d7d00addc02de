//! The Prometheus rules and the example of an Alertmanager that come with kmswatch, as Prometheus and
//! Alertmanager judge them.

#[path = "peers/alertmanager.rs"]
mod alertmanager;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RULES: &str = "deploy/prometheus/kmswatch.rules.yml";
const TESTS: &str = "tests/rules/kmswatch.rules.test.yml";

#[test]
fn prometheus_takes_the_rules() {
    ends_well(promtool(&["check", "rules", RULES]));
}

#[test]
fn each_rule_does_what_its_tests_say() {
    ends_well(promtool(&["test", "rules", TESTS]));
}

#[test]
fn alertmanager_takes_the_example() {
    ends_well(alertmanager::amtool(&["check-config", "deploy/alertmanager/alertmanager.yml"]));
}

#[test]
fn each_alert_is_tested() {
    let tests = text(TESTS);
    let untested: Vec<String> = alerts()
        .into_iter()
        .filter(|name| !tests.contains(&format!("alertname=\"{name}\"")))
        .collect();
    assert_eq!(untested, [""; 0]);
}

#[test]
fn each_runbook_is_there() {
    let main = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
    let rules = text(RULES);
    let urls: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert!(urls.len() + 1 >= alerts().len(), "each has one, but the one that shares another's");
    for url in urls {
        let url = url.trim_matches('"');
        let path = url.strip_prefix(main).unwrap_or_else(|| panic!("{url} is not below {main}"));
        let (path, anchor) = path.split_once('#').unwrap_or((path, ""));
        for path in pages(path) {
            let page = fs::read_to_string(root().join(&path));
            let page = page.unwrap_or_else(|error| panic!("{path}: {error}"));
            let heads = |line: &str| line.trim_start_matches('#').trim().to_lowercase() == anchor;
            let is_there = page.lines().any(|line| line.starts_with('#') && heads(line));
            assert!(anchor.is_empty() || is_there, "{path} has no section {anchor}");
        }
    }
}

/// The pages that a path may lead to: those of each check that its rule looks at.
fn pages(path: &str) -> Vec<String> {
    const CHECK: &str = "{{ $labels.check }}";
    if !path.contains(CHECK) {
        return vec![path.to_owned()];
    }
    let rules = text(RULES);
    let checks = rules.split("- alert: ").filter(|rule| rule.contains(path)).flat_map(|rule| {
        rule.split("check=~\"").skip(1).map(|rest| rest.split('"').next().unwrap_or(""))
    });
    let checks: Vec<String> = checks
        .flat_map(|checks| checks.split('|'))
        .map(|check| path.replace(CHECK, check))
        .collect();
    assert!(!checks.is_empty(), "some rule looks at the checks of {path}");
    checks
}

/// The names of the alerts, in the order of the file.
fn alerts() -> Vec<String> {
    let rules = text(RULES);
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(root());
    command
}

fn ends_well(mut command: Command) {
    let output =
        command.output().expect("of Debian's packages prometheus and prometheus-alertmanager");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
