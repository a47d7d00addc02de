//! Where words go: data to stdout, chatter and progress to stderr.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::model::observation::in_words;
use crate::observe::schedule::Progress;

use super::Problem;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    pub(super) fn is_on(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for a person
    Human,
    /// A JSON object a line
    Json,
}

/// Lines that wait for a slow reader; their places alone take half a MiB.
const MOST_LINES: usize = 16_384;

/// Starts the log on stderr. `verbose`: 0 what an operator must know, 1 and 2 more. Lines are written
/// by a thread of their own until the guard is dropped: a reader that hangs or is gone costs lines, not
/// the watch.
pub(super) fn start_logging(format: LogFormat, verbose: u8, color: Color) -> WorkerGuard {
    let level = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = NonBlockingBuilder::default().buffered_lines_limit(MOST_LINES);
    let (writer, guard) = lines.finish(io::stderr());
    let builder = tracing_subscriber::fmt().with_writer(writer).with_max_level(level);
    let builder = builder.log_internal_errors(false);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
        LogFormat::Human => {
            let ansi = color.is_on(io::stderr().is_terminal());
            builder.with_target(false).with_ansi(ansi).try_init()
        }
    };
    // A second logger in one process is a test's.
    drop(started);
    guard
}

/// Writes a report to stdout or to a file, whole or not at all.
pub(super) fn write(text: impl AsRef<[u8]>, file: Option<&Path>) -> Result<(), Problem> {
    write_pieces(file, |leave| leave(text.as_ref()))
}

/// The same of a report that is made piece by piece.
pub(super) fn write_pieces(
    file: Option<&Path>,
    make: impl FnOnce(&mut dyn FnMut(&[u8])),
) -> Result<(), Problem> {
    let Some(file) = file else {
        let written = pour(&mut io::stdout().lock(), make);
        return match written {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| format!("cannot write to stdout: {error}")),
        };
    };
    replace(file, make)
        .map_err(|error| format!("cannot write {}: {}", file.display(), in_words(&error)))
}

/// After an error, nothing more is written.
fn pour(sink: &mut impl Write, make: impl FnOnce(&mut dyn FnMut(&[u8]))) -> io::Result<()> {
    let mut written = Ok(());
    make(&mut |piece| {
        if written.is_ok() {
            written = sink.write_all(piece);
        }
    });
    written.and_then(|()| sink.flush())
}

/// A file that a report may go to: found out before anything is observed.
pub(super) fn parse_file(text: &str) -> Result<PathBuf, String> {
    let file = PathBuf::from(text);
    if file.is_dir() {
        return Err("it is a folder; name a file".to_owned());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(format!("there is no folder {}; make it first", folder.display()))
        }
        _ => Ok(file),
    }
}

/// A reader of the file never sees half of a report. What is no plain file is written in place.
fn replace(file: &Path, make: impl FnOnce(&mut dyn FnMut(&[u8]))) -> io::Result<()> {
    if fs::symlink_metadata(file).is_ok_and(|known| !known.is_file()) {
        return pour(&mut fs::File::create(file)?, make);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let written = fs::File::create(&beside).and_then(|mut sink| pour(&mut sink, make));
    let replaced = written.and_then(|()| fs::rename(&beside, file));
    if replaced.is_err() {
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// The width of the terminal, or what is comfortable to read elsewhere.
pub(super) fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
}

/// A line on stderr that shows how far the observing is; nothing unless that is a terminal.
pub(super) struct ProgressLine {
    is_shown: bool,
    was_drawn: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), was_drawn: false }
    }

    pub(super) fn draw(&mut self, progress: Progress) {
        if self.is_shown && progress.unmet > 0 {
            self.was_drawn = true;
            let done = progress.known.saturating_sub(progress.unmet);
            let _ = write!(io::stderr(), "\r\x1b[K{done} of {} observed", progress.known);
        }
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.was_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("report.json");
        write("first", Some(&file)).expect("written");
        write("second", Some(&file)).expect("replaced");
        assert_eq!(fs::read_to_string(&file).expect("readable"), "second");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
        let nowhere = folder.path().join("missing/report.json");
        let problem = write("x", Some(&nowhere)).expect_err("no such folder");
        assert!(problem.contains("missing/report.json"), "{problem}");
    }
}
