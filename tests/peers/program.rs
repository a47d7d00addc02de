//! The real binary: commands that end, and what their reports say.
//!
//! Include it with `#[path = "peers/program.rs"] mod program;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// The program, as cargo built it for the tests.
pub fn kmswatch() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmswatch"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// A config in a folder of its own; removed when dropped.
pub struct Config {
    folder: TempDir,
}

impl Config {
    /// Writes it.
    pub fn new(text: &str) -> Self {
        let config = Self { folder: tempfile::tempdir().expect("a folder") };
        config.write(text);
        config
    }

    /// Puts another text in its place.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("the folder is there");
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("kmswatch.toml")
    }

    /// Where it is; what a daemon writes belongs there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program is there");
        Self::from(output)
    }

    /// The report that stdout is.
    pub fn report(&self) -> Report {
        let json = serde_json::from_str(&self.stdout);
        let json = json.unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"));
        Report { code: self.code, json }
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout, stderr }
    }
}

/// What a command says that must succeed, without the last line's end.
pub fn said(command: &mut Command) -> String {
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout.trim().to_owned()
}

/// What `check --format json` made of an estate.
#[derive(Debug)]
pub struct Report {
    pub code: Option<i32>,
    pub json: Value,
}

/// Audits by a config.
pub fn check(config: &str) -> Report {
    check_file(&Config::new(config).path())
}

/// Audits by a config that is written already.
pub fn check_file(config: &Path) -> Report {
    Ended::of(kmswatch().args(["check", "--format", "json", "-c"]).arg(config)).report()
}

impl Report {
    /// Every finding as `check subject severity state`, with these numbers replaced by names.
    pub fn findings(&self, names: &[(String, &str)]) -> BTreeSet<String> {
        findings_of(&self.json["findings"], names)
    }

    /// The only finding of this check. Panics where there is none, or more.
    pub fn finding(&self, check: &str) -> &Value {
        let findings = self.json["findings"].as_array().expect("a list");
        let found: Vec<&Value> =
            findings.iter().filter(|finding| finding["check"] == check).collect();
        let [only] = found.as_slice() else { panic!("{check}: {found:?}") };
        only
    }
}

/// Every finding of a list, as [`Report::findings`] has it.
pub fn findings_of(findings: &Value, names: &[(String, &str)]) -> BTreeSet<String> {
    let findings = findings.as_array().expect("a list of findings");
    let line = |finding: &Value| {
        let words = ["check", "subject", "severity", "state"].map(|key| {
            finding[key].as_str().unwrap_or_else(|| panic!("{key} is no text: {finding}"))
        });
        names.iter().fold(words.join(" "), |line, (number, name)| line.replace(number, name))
    };
    let set: BTreeSet<String> = findings.iter().map(line).collect();
    assert_eq!(set.len(), findings.len(), "findings that cannot be told apart: {findings:?}");
    set
}

/// A set of lines, to compare with.
pub fn set<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}

/// Asks again and again until there is an answer. Panics after `patience`, telling what was awaited.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => {
                panic!("{what}: not within {patience:?}: {last}")
            }
            Err(_) => std::thread::park_timeout(Duration::from_millis(25)),
        }
    }
}
