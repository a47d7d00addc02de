//! The systemd unit is valid and hardened, as systemd itself judges it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `systemd-analyze security` may say at most; 0 is a service that can do nothing.
const MOST_EXPOSURE: f64 = 2.0;

#[test]
fn the_unit_is_hardened() {
    let output = systemd_analyze(&["security", "--offline=true", "--no-pager"], &unit());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(exposure(&text).is_some_and(|level| level <= MOST_EXPOSURE), "{text}");
}

#[test]
fn the_unit_is_valid() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let installed = folder.path().join("kmswatch.service");
    let text = fs::read_to_string(unit()).expect("the unit");
    assert!(text.contains("ExecStart=/usr/bin/kmswatch run -c "), "{text}");
    let here = text.replace("/usr/bin/kmswatch", env!("CARGO_BIN_EXE_kmswatch"));
    fs::write(&installed, here).expect("a copy with this binary");
    let output = systemd_analyze(&["verify"], &installed);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/kmswatch.service")
}

fn systemd_analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("LC_ALL", "C")
        .output()
        .expect("systemd-analyze, of Debian's package systemd")
}

/// The number in `Overall exposure level for kmswatch.service: 1.2 OK`.
fn exposure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split(": ").nth(1)?.split_whitespace().next()?.parse().ok()
}
