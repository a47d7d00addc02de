//! A plugin's output for Nagios, Icinga and their like (Monitoring Plugins Development Guidelines,
//! "Plugin Output" and "Performance data"): `KMS STATUS - text | perfdata`, then the worst findings.

use std::fmt::Write as _;
use std::time::Duration;

use super::text::{clean, counted};
use super::{preflight_verdict, verdict, worst};
use crate::model::snapshot::{AnswerView, Summary};
use crate::model::{Finding, Preflight, Severity, Snapshot, Status};

/// What of the plan the output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plugin {
    /// From which severity on the state is not OK.
    pub fail_on: Severity,
    /// A connect that takes longer is slow.
    pub slow: Duration,
}

/// The output; its state is that of the exit code: OK 0, WARNING 1, CRITICAL 2.
pub fn nagios(snapshot: &Snapshot, plugin: &Plugin) -> String {
    let worst = worst(snapshot, plugin.fail_on);
    let state = state(worst.map_or(Status::Ok, Status::from), plugin);
    let mut said = verdict(snapshot);
    if worst == Some(Severity::Info) {
        let _ = write!(said, " {}, which count here.", counted(snapshot.summary.info, "info"));
    }
    let mut text = format!(
        "KMS {state} - {} | {}\n",
        plain(&said),
        perfdata(snapshot, &snapshot.summary, plugin)
    );
    let least = plugin.fail_on.min(Severity::Warning);
    let told = snapshot.findings.iter().map(|finding| &**finding);
    let told = told.filter(|finding| finding.is_active() && finding.severity >= least);
    lines(&mut text, told.map(line));
    text
}

/// The output of a preflight: its long output is the steps and further findings that count.
pub fn nagios_preflight(preflight: &Preflight, plugin: &Plugin) -> String {
    let (state, summary) = (state(preflight.status(), plugin), preflight.summary());
    let perfdata = perfdata(&preflight.snapshot, &summary, plugin);
    let said = preflight_verdict(preflight);
    let mut text = format!("KMS {state} - {} | {perfdata}\n", plain(&said));
    let steps = preflight.runs.iter().flat_map(|run| run.steps.iter().map(move |step| (run, step)));
    let least = Status::from(plugin.fail_on.min(Severity::Warning));
    let steps = steps.filter(|(_, step)| step.status() >= least).map(|(run, step)| {
        let name = &run.profile.name;
        shortened(&format!("{} {name} {}: {}", step.state, step.id, step.message))
    });
    let further = preflight.further().filter(|further| further.counts);
    let further = further.map(|further| further.finding);
    let further = further.filter(|finding| Status::from(finding.severity) >= least).map(line);
    lines(&mut text, steps.chain(further));
    text
}

/// The word of the exit code.
fn state(worst: Status, plugin: &Plugin) -> &'static str {
    match worst {
        worst if worst < plugin.fail_on.into() => "OK",
        Status::Critical => "CRITICAL",
        _ => "WARNING",
    }
}

/// The output where nothing could be audited; its exit code is 3. The problem's lines after the
/// first are long output, up to the first empty one: below that stands help, for a person.
pub fn nagios_unknown(problem: &str) -> String {
    let problem = problem.strip_prefix("error: ").unwrap_or(problem);
    let mut lines = problem.lines().take_while(|line| !line.trim().is_empty());
    let mut text = format!("KMS UNKNOWN - {}\n", plain(lines.next().unwrap_or_default()));
    for line in lines {
        text.push_str(&plain(line));
        text.push('\n');
    }
    text
}

/// Nagios reads 4 KiB; so many lines of so many characters, and the first line, fit.
const MOST_LINES: usize = 12;
/// Characters of a line of long output.
const LONGEST_LINE: usize = 200;

/// As many as there is room for, and how many more there are.
fn lines(text: &mut String, mut told: impl Iterator<Item = String>) {
    for line in told.by_ref().take(MOST_LINES) {
        text.extend([&line, "\n"]);
    }
    let more = told.count();
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
}

fn line(finding: &Finding) -> String {
    let error = finding.client_error.map_or(String::new(), |code| format!(" ({code})"));
    shortened(&format!("{} {}{error}: {}", finding.severity, finding.check, finding.message))
}

fn shortened(line: &str) -> String {
    let line = plain(line);
    if line.chars().count() <= LONGEST_LINE {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST_LINE - 1).collect();
    short.push('…');
    short
}

/// One line, and no bar: that would begin the perfdata.
fn plain(text: &str) -> String {
    clean(text).replace('|', "/")
}

/// `label=value[unit];warning;critical;minimum;maximum`; `U` is a value that is not known.
fn perfdata(snapshot: &Snapshot, summary: &Summary, plugin: &Plugin) -> String {
    let up = snapshot.hosts.iter().filter(|host| host.status.is_up()).count();
    // A count above 0 is what raises the state.
    let raises = |severity| if plugin.fail_on <= severity { "0" } else { "" };
    [
        format!("domains={};;;0", summary.domains),
        format!("hosts={};;;0", summary.hosts),
        format!("hosts_up={up};;;0;{}", summary.hosts),
        format!("endpoints={};;;0", summary.endpoints),
        format!("critical={};;{};0", summary.critical, raises(Severity::Critical)),
        format!("warning={};{};;0", summary.warning, raises(Severity::Warning)),
        format!("info={};{};;0", summary.info, raises(Severity::Info)),
        format!("slowest_lookup={};;;0", seconds(slowest_lookup(snapshot))),
        format!(
            "slowest_connect={};{};;0",
            seconds(slowest_connect(snapshot)),
            plugin.slow.as_secs_f64()
        ),
        format!("duration={};;;0", seconds(Some(snapshot.duration()))),
    ]
    .join(" ")
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or("U".to_owned(), |duration| format!("{:.6}s", duration.as_secs_f64()))
}

fn slowest_lookup(snapshot: &Snapshot) -> Option<Duration> {
    let answers = snapshot.domains.iter().flat_map(|entry| &entry.view.answers);
    answers.filter_map(|view: &AnswerView| view.answer.rtt).max()
}

fn slowest_connect(snapshot: &Snapshot) -> Option<Duration> {
    let endpoints = snapshot.hosts.iter().flat_map(|host| &host.endpoints);
    endpoints.filter_map(|endpoint| endpoint.probe.as_ref()?.connect).max()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::fixture;

    const WARNING: Plugin = Plugin { fail_on: Severity::Warning, slow: Duration::from_millis(500) };

    /// The state, and what each perfdata label has.
    fn first_line(text: &str) -> (String, Vec<(String, String)>) {
        let line = text.lines().next().expect("a line");
        let (said, perfdata) = line.split_once(" | ").expect("perfdata");
        let state = said.strip_prefix("KMS ").and_then(|said| said.split_once(" - "));
        let (state, _) = state.expect("a state and a text");
        let pairs = perfdata.split(' ').map(|pair| pair.split_once('=').expect("a label"));
        (
            state.to_owned(),
            pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).collect(),
        )
    }

    #[test]
    fn all_well_is_one_line() {
        let text = nagios(&fixture::healthy(), &WARNING);
        assert_eq!(
            text,
            "KMS OK - All 3 domains are well. | domains=3;;;0 hosts=3;;;0 hosts_up=3;;;0;3 \
             endpoints=3;;;0 critical=0;;0;0 warning=0;0;;0 info=0;;;0 \
             slowest_lookup=0.001200s;;;0 slowest_connect=0.000300s;0.5;;0 \
             duration=0.410000s;;;0\n"
        );
    }

    #[test]
    fn trouble_is_counted_and_told_worst_first() {
        let text = nagios(&fixture::troubled(), &WARNING);
        let (state, perfdata) = first_line(&text);
        assert_eq!(state, "CRITICAL");
        let value = |label: &str| {
            let found = perfdata.iter().find(|(known, _)| known == label);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("critical"), Some("2;;0;0"));
        assert_eq!(value("hosts_up"), Some("3;;;0;4"));
        let long: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(long.len(), 2, "no info, nothing that is explained: {long:?}");
        assert!(long.iter().all(|line| line.starts_with("critical ")), "{long:?}");
        assert!(long.iter().any(|line| line.contains("srv-missing (0x8007232B): ")), "{long:?}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_state_follows_fail_on() {
        let mut snapshot = fixture::troubled();
        snapshot.findings.retain(|finding| finding.severity == Severity::Info);
        let state = |fail_on| first_line(&nagios(&snapshot, &Plugin { fail_on, ..WARNING })).0;
        assert_eq!(state(Severity::Warning), "OK");
        assert_eq!(state(Severity::Info), "WARNING");
        let text = nagios(&snapshot, &Plugin { fail_on: Severity::Info, ..WARNING });
        assert!(text.contains("\ninfo redundancy-none"), "{text}");
        assert!(text.contains(" info=1;0;;0 "), "{text}");
        let strict =
            nagios(&fixture::troubled(), &Plugin { fail_on: Severity::Critical, ..WARNING });
        assert!(strict.contains(" warning=0;;;0 "), "no threshold that is not one: {strict}");
    }

    #[test]
    fn foreign_text_neither_begins_perfdata_nor_a_line() {
        let mut snapshot = fixture::troubled();
        for finding in &mut snapshot.findings {
            let finding = Arc::make_mut(finding);
            finding.message = format!("a | b=1\nc {}", "ä".repeat(5000));
        }
        let text = nagios(&snapshot, &WARNING);
        assert_eq!(text.matches('|').count(), 1, "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() < 400) && text.contains("a / b=1\\nc ä")
        );
        let unknown = nagios_unknown("no | file\nsecond\u{1b} line");
        assert_eq!(unknown, "KMS UNKNOWN - no / file\nsecond\\u{1b} line\n");
    }

    #[test]
    fn many_findings_are_bounded_and_nothing_seen_is_unknown() {
        let mut snapshot = fixture::troubled();
        let one = snapshot.findings[0].clone();
        snapshot.findings = vec![one; 1000];
        snapshot.domains.clear();
        snapshot.hosts.clear();
        let text = nagios(&snapshot, &WARNING);
        assert!(text.ends_with("\nand 988 more\n") && text.len() < 4096, "{} {text}", text.len());
        assert!(text.contains("slowest_lookup=U;;;0 slowest_connect=U;0.5;;0"), "{text}");
    }
}
