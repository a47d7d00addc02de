//! The report that a person reads: first a sentence with the verdict, then the domains, worst first,
//! one line each, with the findings below the first domain that they hit, then the profiles, then the
//! counts.

pub(super) mod finding;
pub(super) mod hops;
pub(super) mod index;
pub(super) mod preflight;
pub(super) mod profiles;
mod verdict;

use std::borrow::Cow;
use std::collections::HashSet;

use index::Index;
pub use verdict::{profiles as profiles_verdict, verdict};

use super::document::State;
use super::text::{counted, listed, width_of};
use crate::model::finding::FindingId;
use crate::model::snapshot::{DomainEntry, DomainHost};
use crate::model::srv::KMS_PORT;
use crate::model::{Finding, FindingState, Host, KmsMode, Name, Severity, Snapshot, Status};

/// How the report is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours; they add nothing that the text does not say.
    pub color: bool,
    /// Columns that sentences are wrapped to; commands never are. At least 40 are used.
    pub width: usize,
    /// Infos in full, and no list shortened.
    pub verbose: bool,
}

/// The report that a person reads.
pub fn human(snapshot: &Snapshot, style: &Style) -> String {
    let style = Style { width: style.width.max(MIN_WIDTH), ..*style };
    let mut page = Page::new(snapshot, style);
    page.paragraph(Ink::of(snapshot.status), &verdict(snapshot));
    page.blank();
    page.domains();
    page.profiles();
    page.blank();
    page.line(0, &closing(snapshot));
    page.out
}

/// Narrower lines would hold hardly more than a name.
const MIN_WIDTH: usize = 40;
/// Longer names are not aligned to: one of them would push the hosts of all others off the screen.
const MAX_NAME_COLUMN: usize = 40;
/// Of a list in prose, unless all is wanted.
const MOST_LISTED: usize = 3;

/// The last line: what was looked at, and what came of it.
pub(super) fn closing(snapshot: &Snapshot) -> String {
    let summary = &snapshot.summary;
    let inactive = [
        (FindingState::Suppressed, "explained"),
        (FindingState::Acknowledged, "acknowledged"),
        (FindingState::Maintenance, "in maintenance"),
    ];
    let more = inactive.map(|(state, word)| {
        let count = snapshot.findings.iter().filter(|finding| finding.state == state).count();
        if count == 0 { String::new() } else { format!(", {count} {word}") }
    });
    let more = more.concat();
    format!(
        "{}, {}, {}: {} critical, {}, {} info{more}; {:.2} s",
        counted(summary.domains, "domain"),
        counted(summary.hosts, "host"),
        counted(summary.endpoints, "endpoint"),
        summary.critical,
        counted(summary.warning, "warning"),
        summary.info,
        snapshot.duration().as_secs_f64(),
    )
}

/// The text so far, and what was already told.
struct Page<'a> {
    out: String,
    style: Style,
    snapshot: &'a Snapshot,
    index: Index<'a>,
    told: HashSet<&'a FindingId>,
    name_column: usize,
}

impl<'a> Page<'a> {
    fn new(snapshot: &'a Snapshot, style: Style) -> Self {
        let names = snapshot.domains.iter().map(|entry| entry.view.domain.name.as_str().len());
        let name_column = names.filter(|length| *length <= MAX_NAME_COLUMN).max().unwrap_or(0);
        let index = Index::of(snapshot);
        Self { out: String::new(), style, snapshot, index, told: HashSet::new(), name_column }
    }

    /// Every domain, worst first; what hits no domain stands before the healthy ones.
    fn domains(&mut self) {
        let entries = worst_first(self.snapshot);
        let healthy = entries.partition_point(|entry| entry.status >= Status::Warning);
        let (troubled, healthy) = entries.split_at(healthy);
        for entry in troubled {
            self.domain(entry);
        }
        for finding in &self.snapshot.findings {
            if finding.domains.is_empty() && self.is_told_in_full(finding) {
                self.blank();
                self.finding(finding);
            }
        }
        self.blank();
        for entry in healthy {
            self.domain(entry);
        }
    }

    /// One line, and below it the findings that nothing above told.
    fn domain(&mut self, entry: &'a DomainEntry) {
        let mut hits = self.index.hits(&entry.view.domain.name);
        hits.extend(self.index.known(&entry.view.domain.name));
        let is_new =
            |finding: &&Finding| self.is_told_in_full(finding) && !self.told.contains(&finding.id);
        let (new, other): (Vec<_>, Vec<_>) = hits.into_iter().partition(is_new);
        if !new.is_empty() {
            self.blank();
        }
        self.domain_line(entry, &self.notes(entry, &other));
        for finding in &new {
            self.finding(finding);
        }
        if !new.is_empty() {
            self.blank();
        }
    }

    fn is_told_in_full(&self, finding: &Finding) -> bool {
        match finding.state {
            FindingState::Active => finding.severity >= Severity::Warning || self.style.verbose,
            FindingState::Acknowledged | FindingState::Maintenance => self.style.verbose,
            FindingState::Suppressed => false,
        }
    }

    /// What else hits the domain: told above, or not worth more than its name; and what of it was
    /// not looked at.
    fn notes(&self, entry: &DomainEntry, findings: &[&Finding]) -> String {
        let mut notes = left_out(entry);
        for finding in findings {
            let note = if self.told.contains(&finding.id) {
                format!("see {} above", finding.check)
            } else {
                finding::title(finding)
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        listed(&notes, self.most_listed())
    }

    fn domain_line(&mut self, entry: &DomainEntry, notes: &str) {
        let name = entry.view.domain.name.as_str();
        let padding = self.name_column.saturating_sub(name.len());
        let ink = Ink::of(entry.status);
        self.paint(ink, State::from(entry.status).mark());
        self.out.push(' ');
        self.paint(Ink::Strong, name);
        self.out.extend(std::iter::repeat_n(' ', padding + 2));
        let used = 2 + name.len() + padding + 2;
        let suffix = if notes.is_empty() { String::new() } else { format!("  ({notes})") };
        let room = self.style.width.saturating_sub(used + width_of(&suffix));
        let hosts = self.hosts_that_fit(entry, room);
        self.out.push_str(&hosts);
        self.paint(Ink::Faint, &suffix);
        self.out.push('\n');
    }

    /// As many hosts as the line has room for, at least one.
    fn hosts_that_fit(&self, entry: &DomainEntry, room: usize) -> String {
        let hosts = &entry.view.hosts;
        if hosts.is_empty() {
            return without_hosts(entry).to_owned();
        }
        let mut text = String::with_capacity(room.min(128));
        for (at, host) in hosts.iter().enumerate() {
            let next = host_and_share(host);
            let rest = hosts.len() - at;
            let reserve = if rest > 1 { AND_MORE } else { 0 };
            let fits = width_of(&text) + 2 + width_of(&next) + reserve <= room;
            if at > 0 && !fits && !self.style.verbose {
                return format!("{text} and {rest} more");
            }
            if at > 0 {
                text.push_str(", ");
            }
            text.push_str(&next);
        }
        text
    }

    fn most_listed(&self) -> usize {
        if self.style.verbose { usize::MAX } else { MOST_LISTED }
    }

    /// An empty line, unless there is one already, or nothing before it.
    fn blank(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn paragraph(&mut self, ink: Ink, text: &str) {
        for line in super::text::wrapped(text, self.style.width) {
            self.paint(ink, &line);
            self.out.push('\n');
        }
    }

    fn paint(&mut self, ink: Ink, text: &str) {
        paint(&mut self.out, self.style, ink, text);
    }
}

fn paint(out: &mut String, style: Style, ink: Ink, text: &str) {
    if style.color && !text.is_empty() && !matches!(ink, Ink::Plain) {
        out.extend([ink.escape(), text, "\u{1b}[0m"]);
    } else {
        out.push_str(text);
    }
}

/// Room for " and 12 more".
const AND_MORE: usize = 13;

/// Colours of the 16 that every terminal has, so that a person's palette is kept.
#[derive(Debug, Clone, Copy)]
enum Ink {
    Critical,
    Warning,
    Info,
    Ok,
    Strong,
    Faint,
    Plain,
}

impl Ink {
    fn of(status: Status) -> Self {
        match status {
            Status::Critical => Self::Critical,
            Status::Warning => Self::Warning,
            Status::Info => Self::Info,
            Status::Ok => Self::Ok,
        }
    }

    fn escape(self) -> &'static str {
        match self {
            Self::Critical => "\u{1b}[1;31m",
            Self::Warning => "\u{1b}[33m",
            Self::Info => "\u{1b}[36m",
            Self::Ok => "\u{1b}[32m",
            Self::Strong => "\u{1b}[1m",
            Self::Faint => "\u{1b}[2m",
            Self::Plain => "",
        }
    }
}

/// The domains, the worst first, else by name.
pub fn worst_first(snapshot: &Snapshot) -> Vec<&DomainEntry> {
    let mut entries: Vec<&DomainEntry> = snapshot.domains.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.status));
    entries
}

/// What of a domain was not looked at.
pub fn left_out(entry: &DomainEntry) -> Vec<String> {
    let left_out = entry.view.left_out;
    let beyond = [
        (left_out.records, "records"),
        (left_out.addresses, "addresses"),
        (left_out.endpoints, "endpoints"),
    ];
    let beyond = beyond.into_iter().filter(|(count, _)| *count > 0);
    beyond.map(|(count, what)| format!("{what} left out: {count}")).collect()
}

/// What stands in a domain's line where no host is published.
pub fn without_hosts(entry: &DomainEntry) -> &'static str {
    let answers = &entry.view.answers;
    let told = answers.iter().any(|view| view.answer.outcome.is_usable());
    match entry.view.domain.kms {
        _ if answers.is_empty() => "not asked yet",
        _ if !told => "unknown: no server gave a usable answer",
        KmsMode::None => "no KMS records, as it should be",
        KmsMode::Optional => "no KMS records, and none needed",
        KmsMode::Required => "no KMS records",
    }
}

pub(super) fn host_and_share(host: &DomainHost) -> String {
    [&*short_host(&host.host), &percent(host.share), host.status.as_str()].join(" ")
}

/// The port shows only where it is not the usual one.
pub fn short_host(host: &Host) -> Cow<'_, str> {
    match host.port {
        KMS_PORT => host.target.as_str().into(),
        _ => host.to_string().into(),
    }
}

/// A part of clients, 0..=1, as people read it.
// Nearly every host has one of these shares, and to round a float in decimal takes long.
pub fn percent(share: f64) -> Cow<'static, str> {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".into(),
        50.0 => "50 %".into(),
        100.0 => "100 %".into(),
        _ if percent > 0.0 && percent < 0.5 => "<1 %".into(),
        _ => format!("{percent:.0} %").into(),
    }
}

pub(super) fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

#[cfg(test)]
mod tests;
