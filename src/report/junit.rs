//! JUnit's XML, as GitLab, Jenkins and GitHub's actions read it.
//!
//! There is no standard; this keeps to Jenkins' `junit-10.xsd`, and to the elements and attributes that
//! all of them know. Names do not change from report to report, so that a reader can tell what is new.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::document::{Document, Item, Remedy, State, Suite, Table};
use super::human::finding::{WHAT_TO_DO, windows_shows};
use super::text::{aligned, escaped};
use crate::model::Severity;

/// A document as test suites: an item is a case, and fails from this severity on.
pub fn junit(document: &Document, fail_on: Severity) -> String {
    let mut xml = Xml { text: String::new(), fail_on };
    // Nothing that writes to memory fails.
    let _ = xml.document(document);
    xml.text
}

struct Xml {
    text: String,
    fail_on: Severity,
}

/// Of a suite, or of all.
struct Counts {
    tests: usize,
    failures: usize,
    skipped: usize,
}

impl Xml {
    fn document(&mut self, document: &Document) -> fmt::Result {
        let all = self.counts(document.suites.iter().flat_map(|suite| &suite.items));
        self.text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        writeln!(
            self.text,
            r#"<testsuites name="{}" tests="{}" failures="{}" errors="0" time="{}">"#,
            escaped(&document.title),
            all.tests,
            all.failures,
            seconds(document.took),
        )?;
        // Without an offset, which some readers refuse: UTC.
        let started = document.started.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        for suite in &document.suites {
            self.suite(suite, &started)?;
        }
        self.text.push_str("</testsuites>\n");
        Ok(())
    }

    fn suite(&mut self, suite: &Suite, started: &str) -> fmt::Result {
        let counts = self.counts(&suite.items);
        let name = escaped(&suite.name);
        let took: Duration = suite.items.iter().filter_map(|item| item.took).sum();
        writeln!(
            self.text,
            r#"  <testsuite name="{name}" tests="{}" failures="{}" errors="0" skipped="{}" time="{}" timestamp="{started}">"#,
            counts.tests,
            counts.failures,
            counts.skipped,
            seconds(took),
        )?;
        for item in &suite.items {
            self.case(&name, item)?;
        }
        self.text.push_str("  </testsuite>\n");
        Ok(())
    }

    fn case(&mut self, suite: &str, item: &Item) -> fmt::Result {
        let name = escaped(&item.name);
        let took = seconds(item.took.unwrap_or_default());
        writeln!(self.text, r#"    <testcase name="{name}" classname="{suite}" time="{took}">"#)?;
        let (text, body) = (escaped(&item.text), escaped_lines(&body(item)));
        if item.fails(self.fail_on) {
            let kind = escaped(&item.kind);
            writeln!(
                self.text,
                r#"      <failure type="{kind}" message="{text}">{body}</failure>"#
            )?;
        } else if is_skipped(item) {
            writeln!(self.text, r#"      <skipped message="{text}">{body}</skipped>"#)?;
        } else {
            writeln!(self.text, "      <system-out>{body}</system-out>")?;
        }
        self.text.push_str("    </testcase>\n");
        Ok(())
    }

    fn counts<'a>(&self, items: impl IntoIterator<Item = &'a std::sync::Arc<Item>>) -> Counts {
        let mut counts = Counts { tests: 0, failures: 0, skipped: 0 };
        for item in items {
            counts.tests += 1;
            counts.failures += usize::from(item.fails(self.fail_on));
            counts.skipped += usize::from(is_skipped(item));
        }
        counts
    }
}

fn is_skipped(item: &Item) -> bool {
    matches!(item.state, State::Skipped | State::Unknown)
}

/// All that is known of the item, as a person reads it in a log.
fn body(item: &Item) -> Vec<String> {
    let mut lines = vec![item.text.clone()];
    lines.extend(item.evidence.iter().flat_map(rows));
    lines.extend(item.client_error.map(windows_shows));
    lines.extend(item.details.iter().cloned());
    let remedy = item.remedy();
    if !remedy.is_empty() {
        lines.push(WHAT_TO_DO.to_owned());
    }
    for part in remedy {
        match part {
            Remedy::Say(sentence) => lines.push(sentence.to_owned()),
            Remedy::Run(commands) => {
                lines.extend(commands.iter().map(|command| format!("  {command}")));
            }
        }
    }
    lines
}

fn rows(table: &Table) -> Vec<String> {
    let cells = |row: &Vec<super::Cell>| row.iter().map(|cell| cell.lines.join("; ")).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
    aligned(&rows).iter().map(|row| format!("  {row}")).collect()
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

fn escaped_lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    lines.join("\n")
}
