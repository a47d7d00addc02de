//! What a report says, before any format: made from a snapshot (or the steps of a preflight) by a
//! builder that decides everything, and laid out by JUnit, Markdown and HTML, which decide nothing.
//!
//! All text may be foreign: renderers clean and escape every string, and builders none.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::finding::ClientError;
use crate::model::{Severity, Status};

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What was done: `kmswatch check`.
    pub title: String,
    /// The worst of what it says.
    pub status: Status,
    /// The first sentence: what holds, and what clients would show.
    pub verdict: String,
    /// The last line: what was looked at.
    pub closing: String,
    /// When observing began.
    pub started: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What readers see, in order.
    pub sections: Vec<Section>,
    /// The same as test cases, for JUnit alone.
    pub suites: Vec<Suite>,
}

/// A part with a heading: first its sentences, then its items, then its tables. One without items and
/// tables is shown if it has sentences.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// The heading: `Findings`, or a profile's name.
    pub title: String,
    /// Of the whole section, where it has one; shown with the heading.
    pub state: Option<State>,
    /// Sentences, a paragraph each: a profile's verdict.
    pub text: Vec<String>,
    /// Findings or steps.
    pub items: Vec<Arc<Item>>,
    /// What belongs to no single item.
    pub tables: Vec<Table>,
}

/// A finding, or a step of a preflight.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Names it among the items of a suite, and is the same in the next report:
    /// `host-down kms.contoso.com:1688`. Holds no measured value.
    pub name: String,
    /// What sort it is: a check's id, or a step's; the `type` of a JUnit failure.
    pub kind: String,
    /// How it went.
    pub state: State,
    /// One sentence.
    pub text: String,
    /// More sentences, a line each.
    pub details: Vec<String>,
    /// What Windows shows because of it.
    pub client_error: Option<ClientError>,
    /// What led to the verdict.
    pub evidence: Vec<Table>,
    /// As a finding's remedy: sentences, and commands, which are indented; see [`Item::remedy`].
    pub remedy: String,
    /// How long it took, where it is a step.
    pub took: Option<Duration>,
}

/// How an item went, or what a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// As it should be.
    Passed,
    /// Worth knowing.
    Info,
    /// Clients still find a host, or soon will not.
    Warning,
    /// It failed: clients fail.
    Critical,
    /// Not done, or not counted, because of another; the details name it. Skipped in JUnit.
    Skipped,
    /// Cannot be told. Skipped in JUnit: what must stop a pipeline is a warning at least.
    Unknown,
}

/// A table; the first cell of a row names it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// One for each column.
    pub headers: Vec<String>,
    /// As many cells each as there are headers; none: the table is not shown.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Shown as a mark before the first line.
    pub state: Option<State>,
    /// Its lines.
    pub lines: Vec<String>,
}

/// A JUnit suite: a domain or a profile, and a case for each item. An item may stand in several.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// The same in the next report, and unique.
    pub name: String,
    /// The cases; their names are unique within the suite.
    pub items: Vec<Arc<Item>>,
}

/// A part of a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy<'a> {
    /// A sentence, or what the commands below it are for.
    Say(&'a str),
    /// Commands, to be copied line by line; behind ` # ` stands where one runs.
    Run(Vec<&'a str>),
}

impl Document {
    /// What [`Suite`]s a document has whose sections each are one: those with items.
    pub fn suites_of(sections: &[Section]) -> Vec<Suite> {
        let sections = sections.iter().filter(|section| !section.items.is_empty());
        sections
            .map(|section| Suite { name: section.title.clone(), items: section.items.clone() })
            .collect()
    }
}

impl Item {
    /// An item that says one sentence.
    pub fn new(
        kind: impl Into<String>,
        name: impl Into<String>,
        state: State,
        text: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            state,
            text: text.into(),
            details: Vec::new(),
            client_error: None,
            evidence: Vec::new(),
            remedy: String::new(),
            took: None,
        }
    }

    /// Whether a test case of it fails.
    pub fn fails(&self, fail_on: Severity) -> bool {
        self.state.severity().is_some_and(|severity| severity >= fail_on)
    }

    /// What to do, part by part.
    pub fn remedy(&self) -> Vec<Remedy<'_>> {
        let mut parts = Vec::new();
        for line in self.remedy.lines().filter(|line| !line.trim().is_empty()) {
            match (line.strip_prefix("  "), parts.last_mut()) {
                (None, _) => parts.push(Remedy::Say(line)),
                (Some(command), Some(Remedy::Run(commands))) => commands.push(command),
                (Some(command), _) => parts.push(Remedy::Run(vec![command])),
            }
        }
        parts
    }
}

impl State {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    /// Different shapes, for those who do not see colours.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Passed => "✔",
            Self::Info => "i",
            Self::Warning => "!",
            Self::Critical => "✘",
            Self::Skipped => "–",
            Self::Unknown => "?",
        }
    }

    /// How bad, where it is bad at all.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Info => Some(Severity::Info),
            Self::Warning => Some(Severity::Warning),
            Self::Critical => Some(Severity::Critical),
            Self::Passed | Self::Skipped | Self::Unknown => None,
        }
    }
}

impl From<Status> for State {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Passed,
            Status::Info => Self::Info,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
        }
    }
}

impl From<Severity> for State {
    fn from(severity: Severity) -> Self {
        Status::from(severity).into()
    }
}

impl Table {
    /// With at most so many rows; where some are left out, the caption says how many.
    #[must_use]
    pub fn shortened(mut self, most: usize) -> Self {
        if self.rows.len() > most {
            self.caption = format!("{} ({most} of {})", self.caption, self.rows.len());
            self.rows.truncate(most);
        }
        self
    }

    /// Without the columns in which nothing stands.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let says =
            |cell: &Cell| cell.state.is_some() || cell.lines.iter().any(|line| !line.is_empty());
        for column in (0..self.headers.len()).rev() {
            let is_said = self.rows.iter().any(|row| row.get(column).is_some_and(says));
            if !is_said {
                self.headers.remove(column);
                self.rows.iter_mut().filter(|row| column < row.len()).for_each(|row| {
                    row.remove(column);
                });
            }
        }
        self
    }
}

impl Cell {
    /// A cell with a mark.
    pub fn marked(state: State, text: impl Into<String>) -> Self {
        Self { state: Some(state), lines: vec![text.into()] }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { state: None, lines: vec![text] }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Vec<String>> for Cell {
    fn from(lines: Vec<String>) -> Self {
        Self { state: None, lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_cut_into_sentences_and_commands() {
        let mut item = Item::new("host-down", "host-down a:1688", State::Critical, "It is down.");
        item.remedy =
            "Start it.\nSee:\n  nc a 1688\n  nmap a  # from a client\n\nMend:\n  net start sppsvc"
                .to_owned();
        let expected = [
            Remedy::Say("Start it."),
            Remedy::Say("See:"),
            Remedy::Run(vec!["nc a 1688", "nmap a  # from a client"]),
            Remedy::Say("Mend:"),
            Remedy::Run(vec!["net start sppsvc"]),
        ];
        assert_eq!(item.remedy(), expected);
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let row = vec![Cell::from("1")];
        let table = Table { caption: "Seen".to_owned(), headers: Vec::new(), rows: vec![row; 3] };
        assert_eq!(table.clone().shortened(3), table);
        let cut = table.shortened(2);
        assert_eq!((&*cut.caption, cut.rows.len()), ("Seen (2 of 3)", 2));
    }

    #[test]
    fn a_column_in_which_nothing_stands_goes() {
        let row = |texts: [&str; 3]| texts.map(Cell::from).to_vec();
        let table = Table {
            caption: String::new(),
            headers: ["a", "b", "c"].map(str::to_owned).to_vec(),
            rows: vec![row(["1", "", ""]), row(["2", "", "x"])],
        };
        let trimmed = table.trimmed();
        assert_eq!(trimmed.headers, ["a", "c"]);
        assert_eq!(trimmed.rows[1], [Cell::from("2"), Cell::from("x")]);
    }

    #[test]
    fn a_case_fails_from_its_severity_on() {
        let fails = |state, fail_on| Item::new("k", "n", state, "t").fails(fail_on);
        assert!(fails(State::Warning, Severity::Warning) && fails(State::Info, Severity::Info));
        assert!(!fails(State::Warning, Severity::Critical));
        for state in [State::Passed, State::Skipped, State::Unknown] {
            assert!(!fails(state, Severity::Info));
        }
    }
}
