//! A finding in full: the sentence, the hop that fails, whom it hits, what Windows shows, what it
//! explains, and what to do.

use super::super::document::State;
use super::super::text::{aligned, clean, counted, listed, wrapped};
use super::index::Index;
use super::{Ink, Page, hops, texts};
use crate::model::finding::ClientError;
use crate::model::{Finding, FindingState, Status};

/// Of what stands below a finding's sentence.
const INDENT: usize = 4;
/// Of commands: they stand alone on their lines, to be copied.
const COMMAND_INDENT: usize = 6;
/// Lines about the failing hop, unless all is wanted.
const MOST_HOPS: usize = 6;

impl<'a> Page<'a> {
    pub(super) fn finding(&mut self, finding: &'a Finding) {
        self.told.insert(&finding.id);
        self.sentence(finding);
        self.hops(finding);
        let hits = hits(finding, self.most_listed());
        let shown = finding.client_error.map(windows_shows);
        let explains = explains(&self.index, finding, self.most_listed());
        let known = known(finding).map(|known| clean(&known).into_owned());
        for sentence in [known, hits, shown, explains].into_iter().flatten() {
            self.indented(&sentence);
        }
        self.remedy(finding);
    }

    fn sentence(&mut self, finding: &Finding) {
        let status = Status::from(finding.severity);
        let ink = Ink::of(status);
        let title = format!("{}:", title(finding));
        let text = format!("{title} {}", clean(&finding.message));
        self.out.push_str("  ");
        self.paint(ink, State::from(status).mark());
        self.out.push(' ');
        for (at, line) in wrapped(&text, self.style.width - INDENT).iter().enumerate() {
            match line.strip_prefix(title.as_str()) {
                Some(rest) if at == 0 => {
                    self.paint(ink, &title);
                    self.line(0, rest);
                }
                _ if at == 0 => self.line(0, line),
                _ => self.line(INDENT, line),
            }
        }
    }

    fn hops(&mut self, finding: &Finding) {
        let lines = aligned(&hops::hops(self.snapshot, finding).rows);
        let most = if self.style.verbose { usize::MAX } else { MOST_HOPS };
        for line in lines.iter().take(most) {
            self.line(INDENT, line);
        }
        if lines.len() > most {
            self.line(INDENT, &format!("and {} more", lines.len() - most));
        }
    }

    /// Line by line as written: a wrapped command is a broken one.
    fn remedy(&mut self, finding: &Finding) {
        if finding.remedy.trim().is_empty() {
            return;
        }
        self.line(INDENT, WHAT_TO_DO);
        for line in finding.remedy.lines() {
            self.line(if line.is_empty() { 0 } else { COMMAND_INDENT }, &clean(line));
        }
    }

    fn indented(&mut self, text: &str) {
        for line in wrapped(text, self.style.width - INDENT) {
            self.line(INDENT, &line);
        }
    }
}

/// Stands before a remedy.
pub(in crate::report) const WHAT_TO_DO: &str = "What to do:";

/// How bad, what, and whether people know of it.
pub(in crate::report) fn title(finding: &Finding) -> String {
    let known = match finding.state {
        FindingState::Acknowledged => " (acknowledged)",
        FindingState::Maintenance => " (maintenance)",
        FindingState::Active | FindingState::Suppressed => "",
    };
    format!("{} {}{known}", finding.severity, finding.check)
}

/// Until when and why nobody needs to be told.
pub(in crate::report) fn known(finding: &Finding) -> Option<String> {
    let (word, begin) = match finding.state {
        FindingState::Acknowledged => ("acknowledged", "Acknowledged"),
        FindingState::Maintenance => ("maintenance", "In maintenance"),
        FindingState::Active | FindingState::Suppressed => return None,
    };
    let told = |what: &str| finding.evidence.get(&format!("{word}_{what}"))?.as_str();
    let until = told("until").unwrap_or_default();
    let because = told("because").map(|because| format!(": {because}")).unwrap_or_default();
    Some(format!("{begin} until {until}{because}."))
}

/// Whom it hits, where that is more than its subject.
pub(in crate::report) fn hits(finding: &Finding, most: usize) -> Option<String> {
    let count = finding.domains.len();
    let hit = || listed(&texts(&finding.domains), most);
    (count > 1).then(|| format!("Hits {}: {}.", counted(count, "domain"), hit()))
}

/// What a client tells its user.
pub(in crate::report) fn windows_shows(code: ClientError) -> String {
    format!("Windows shows {code}.")
}

/// The lesser findings that it is the cause of.
pub(in crate::report) fn explains(index: &Index, finding: &Finding, most: usize) -> Option<String> {
    let explained = index.explained(&finding.id);
    let named: Vec<String> = explained.iter().map(|finding| named(finding)).collect();
    let count = named.len();
    (count > 0).then(|| format!("Explains {count} more: {}.", listed(&named, most)))
}

/// The check, and what it is about.
pub(in crate::report) fn named(finding: &Finding) -> String {
    format!("{} ({})", finding.check, what(finding))
}

/// The subject without its kind.
pub fn what(finding: &Finding) -> String {
    let subject = finding.subject.to_string();
    subject.split_once(':').map_or_else(|| subject.clone(), |(_, what)| what.to_owned())
}
