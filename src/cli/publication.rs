//! How `check` and `preflight` publish what they saw: in which format, where, and with which exit code.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::metrics;
use crate::model::{Severity, Snapshot, Status};
use crate::report::{self, Document, Plugin, Style};

use super::Problem;
use super::output::{self, Color};

#[derive(Debug, clap::Args)]
pub(super) struct Publication {
    /// How the report looks
    #[arg(long, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub(super) format: Format,
    /// Where the report goes, instead of stdout
    #[arg(long, value_name = "FILE", value_parser = output::parse_file)]
    output: Option<PathBuf>,
    /// From which severity on the exit code is not 0
    #[arg(long, value_enum, default_value_t = FailOn::Warning, value_name = "SEVERITY")]
    fail_on: FailOn,
}

/// A report's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// For programs: the contract of the JSON report.
    Json,
    /// Test suites, as GitLab, Jenkins and GitHub's actions read them.
    Junit,
    /// For a comment on a change.
    Markdown,
    /// One file that can be mailed.
    Html,
    /// A plugin's output for Nagios, Icinga and their like.
    Nagios,
    /// Metrics as a textfile for Prometheus.
    Prometheus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Critical,
}

impl Publication {
    /// Whoever runs a plugin reads on stdout also why it saw nothing.
    pub(super) fn observed<T>(&self, observed: Result<T, Problem>) -> Result<T, Problem> {
        if let (Format::Nagios, Err(problem)) = (self.format, &observed) {
            self.write(report::nagios_unknown(problem))?;
        }
        observed
    }

    /// How a person's report is laid out.
    pub(super) fn style(&self, color: Color, verbose: bool) -> Style {
        let is_terminal = self.is_live() && io::stdout().is_terminal();
        Style { color: color.is_on(is_terminal), width: output::width(), verbose }
    }

    /// Whether somebody may read while it goes on; a file is written whole.
    pub(super) fn is_live(&self) -> bool {
        self.output.is_none()
    }

    pub(super) fn plugin(&self, slow: Duration) -> Plugin {
        Plugin { fail_on: self.severity(), slow }
    }

    /// JUnit, Markdown or HTML.
    pub(super) fn lay_out(&self, document: &Document) -> String {
        match self.format {
            Format::Junit => report::junit(document, self.severity()),
            Format::Markdown => report::markdown(document),
            _ => report::html(document),
        }
    }

    pub(super) fn write(&self, text: impl AsRef<[u8]>) -> Result<(), Problem> {
        output::write(text, self.output.as_deref())
    }

    /// The metrics of what was observed.
    pub(super) fn write_metrics(&self, snapshot: &Snapshot) -> Result<(), Problem> {
        output::write_pieces(self.output.as_deref(), |leave| metrics::write_estate(snapshot, leave))
    }

    pub(super) fn exit_code(&self, worst: Status) -> ExitCode {
        match worst {
            worst if worst < self.severity().into() => ExitCode::SUCCESS,
            Status::Critical => ExitCode::from(2),
            _ => ExitCode::from(1),
        }
    }

    fn severity(&self) -> Severity {
        match self.fail_on {
            FailOn::Info => Severity::Info,
            FailOn::Warning => Severity::Warning,
            FailOn::Critical => Severity::Critical,
        }
    }
}
