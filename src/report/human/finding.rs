//! A finding in full: the sentence, the hop that fails, whom it hits, what Windows shows, what it
//! explains, and what to do.

use super::super::text::{clean, counted, listed, wrapped};
use super::{Ink, Page, hops, mark, texts};
use crate::model::{Finding, Status};

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
        if finding.domains.len() > 1 {
            let hit = listed(&texts(&finding.domains), self.most_listed());
            self.indented(&format!("Hits {}: {hit}.", counted(finding.domains.len(), "domain")));
        }
        if let Some(code) = finding.client_error {
            self.indented(&format!("Windows shows {code}."));
        }
        self.explained(finding);
        self.remedy(finding);
    }

    fn sentence(&mut self, finding: &Finding) {
        let status = Status::from(finding.severity);
        let ink = Ink::of(status);
        let title = format!("{} {}:", finding.severity, finding.check);
        let text = format!("{title} {}", clean(&finding.message));
        self.out.push_str("  ");
        self.paint(ink, mark(status));
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
        let lines = hops::hops(self.snapshot, finding);
        let most = if self.style.verbose { usize::MAX } else { MOST_HOPS };
        for line in lines.iter().take(most) {
            self.line(INDENT, line);
        }
        if lines.len() > most {
            self.line(INDENT, &format!("and {} more", lines.len() - most));
        }
    }

    fn explained(&mut self, finding: &Finding) {
        let most = self.most_listed();
        let explained = self.index.explained(&finding.id);
        if explained.is_empty() {
            return;
        }
        let named: Vec<String> = explained.iter().map(|finding| named(finding)).collect();
        let text = format!("Explains {} more: {}.", explained.len(), listed(&named, most));
        self.indented(&text);
    }

    /// Line by line as written: a wrapped command is a broken one.
    fn remedy(&mut self, finding: &Finding) {
        if finding.remedy.trim().is_empty() {
            return;
        }
        self.line(INDENT, "What to do:");
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

fn named(finding: &Finding) -> String {
    let subject = finding.subject.to_string();
    let what = subject.split_once(':').map_or(subject.as_str(), |(_, what)| what);
    format!("{} ({what})", finding.check)
}
