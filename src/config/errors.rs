//! All that is wrong with a config, and where.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::refusal::Refusal;

/// Every error of a config, in the order of its files; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// An error about a whole file.
    pub(super) fn one(place: Place, Refusal { problem, advice }: Refusal) -> Self {
        Self(vec![ConfigError { place, key: String::new(), problem, advice, kind: Kind::Syntax }])
    }

    /// The errors, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

/// One error: where it stands, what is wrong and what to write instead.
///
/// Shows as `FILE:LINE:COLUMN: KEY: problem; advice`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// The path of the key (`domain[2].hosts[0]`, counted from 0 in this file); empty for what is
    /// about no key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub advice: String,
    kind: Kind,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        write!(formatter, "{}; {}", self.problem, self.advice)
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file as named on the command line or in the config.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Files are sorted by when they were read.
    pub(super) order: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What kind of error it is; broken syntax hides what may only follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file is no TOML here.
    Syntax,
    /// A value is wrong.
    Value,
    /// Something is not there; nobody can say so where the syntax is broken.
    Missing,
}

/// Collects errors and warnings while files are read.
#[derive(Debug, Default)]
pub(super) struct Log {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
    files: Cell<usize>,
}

impl Log {
    /// The place of one more file among all that are read.
    pub(super) fn next_file(&self) -> usize {
        self.files.replace(self.files.get() + 1)
    }

    pub(super) fn refuse(&self, kind: Kind, place: Place, key: &str, refusal: Refusal) {
        let Refusal { problem, advice } = refusal;
        let key = key.to_owned();
        self.errors.borrow_mut().push(ConfigError { place, key, problem, advice, kind });
    }

    pub(super) fn warn(&self, place: &Place, key: &str, warning: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{place}: {key}: {warning}"));
    }

    /// The warnings, or every error that does not merely follow from broken syntax.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigErrors> {
        let mut errors = self.errors.into_inner();
        if errors.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        errors.sort_by_key(|error| {
            let place = &error.place;
            (place.order, place.line, error.kind != Kind::Syntax, place.column)
        });
        let any_broken = errors.iter().any(|error| error.kind == Kind::Syntax);
        let mut last_broken = None;
        errors.retain(|error| match error.kind {
            Kind::Syntax => last_broken.replace(error.line()) != Some(error.line()),
            Kind::Value => last_broken != Some(error.line()),
            Kind::Missing => !any_broken,
        });
        Err(ConfigErrors(errors))
    }
}

impl ConfigError {
    fn line(&self) -> Line {
        (self.place.order, self.place.line)
    }
}

/// A file's order and a line in it.
type Line = (usize, usize);

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
