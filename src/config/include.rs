//! The files of a config: read whole, within bounds, and with what they include.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

use super::errors::{Kind, Log};
use super::file::{Item, Keys, Part, Section, Source};
use super::refusal::{Refusal, shown};

/// Reads a file. `Err`: it cannot be read at all. What is no UTF-8 is recorded with its place, and
/// read on as far as can be.
pub(super) fn read(path: &Path, log: &Log) -> io::Result<Source> {
    let bytes = bytes(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let source = Source::new(path, &text, log);
    if let Err(error) = std::str::from_utf8(&bytes) {
        let place = source.place(error.valid_up_to());
        log.refuse(Kind::Syntax, place, "", Refusal::new("this is no UTF-8", "save it as UTF-8"));
    }
    Ok(source)
}

/// All of a file, within bounds.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe may never end, and a reload would wait for it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    Ok(bytes)
}

/// No config is larger; `/dev/zero` is.
const LARGEST: u64 = 16 << 20;

/// Reads what `include` names, each file once, in the order of the globs and then of the names.
pub(super) fn included(main: &Part<'_>, file: &Path, log: &Log) -> Vec<Source> {
    let parts = std::slice::from_ref(main);
    let Some(include) = Section::unchecked(parts, log).items("include").next() else {
        return Vec::new();
    };
    let mut seen: HashSet<PathBuf> = file.canonicalize().into_iter().collect();
    let mut sources = Vec::new();
    for item in include.array("[\"conf.d/*.toml\"]").unwrap_or_default() {
        let Some(paths) = item.read("\"conf.d/*.toml\"", |glob| matches(&item, glob)) else {
            continue;
        };
        if paths.is_empty() {
            log.warn(&item.place(), item.path(), "no file matches");
        }
        for path in paths {
            if !path.canonicalize().is_ok_and(|unique| seen.insert(unique)) && path.exists() {
                continue;
            }
            match read(&path, log) {
                Ok(source) => sources.push(source),
                Err(error) => item.refuse(unreadable(&path, &error)),
            }
        }
    }
    sources
}

/// An included file that includes is refused: who reads the first file should see them all.
pub(super) fn refuse_nested(part: &Part<'_>, log: &Log) {
    let parts = std::slice::from_ref(part);
    if let Some(item) = Section::unchecked(parts, log).items("include").next() {
        item.refuse(Refusal::new(
            "an included file cannot include",
            "write it in the file that is named on the command line",
        ));
    }
}

/// What is said of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(
        format!("cannot read {}: {error}", shown(&path.display().to_string())),
        "name a file that this user may read",
    )
}

fn matches(item: &Item<'_>, glob: &str) -> Result<Vec<PathBuf>, Refusal> {
    let no_glob = |error: glob::PatternError| {
        Refusal::new(
            format!("{} is no glob: {}", shown(glob), error.msg),
            "write a glob such as \"conf.d/*.toml\"",
        )
    };
    if glob.contains("**") {
        return Err(Refusal::new(
            format!("{} would search whole trees of folders", shown(glob)),
            "name the folder, as in \"conf.d/*.toml\"",
        ));
    }
    let base = Pattern::escape(&item.source().base.display().to_string());
    let whole = Path::new(&base).join(glob);
    // Editors leave hidden files beside what they edit.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found = glob_with(&whole.display().to_string(), options).map_err(no_glob)?;
    let paths = found.map(|path| path.unwrap_or_else(|error| error.path().to_owned()));
    let paths: Vec<PathBuf> = paths.take(MOST_FILES + 1).collect();
    if paths.len() > MOST_FILES {
        return Err(Refusal::new(
            format!("{} matches more than {MOST_FILES} files", shown(glob)),
            "write a narrower glob",
        ));
    }
    Ok(paths)
}

/// Nobody has more files of config in mind.
const MOST_FILES: usize = 1000;

/// The keys at the top of a file.
pub(super) const ROOT: Keys = Keys {
    known: &[
        "vantage",
        "include",
        "audit",
        "dns",
        "probe",
        "resolver",
        "domain",
        "domain_list",
        "host",
        "profile",
        "exception",
        "maintenance",
        "alert",
        "journal",
        "web",
    ],
    later: &["directory"],
};
