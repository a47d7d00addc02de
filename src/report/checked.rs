//! `check`'s document: what a snapshot says, for JUnit, Markdown and HTML.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::document::{Cell, Document, Item, Section, State, Suite, Table};
use super::human::finding::{explains, hits, known, named, what};
use super::human::hops::{self, Hops};
use super::human::index::Index;
use super::human::profiles;
use super::human::{
    closing, host_and_share, left_out, percent, short_host, texts, verdict, without_hosts,
    worst_first,
};
use super::text::listed;
use crate::model::finding::FindingId;
use crate::model::snapshot::{DomainEntry, DomainHost, HostStatus, HostView, ProfileEntry};
use crate::model::{Finding, Name, Profile, Snapshot, Status, Subject};

/// What a snapshot says.
///
/// JUnit has a suite for each domain: a case for each finding that hits it, skipped where a greater one
/// explains it, and one that passes where no finding is active. What hits no domain is a suite of its own,
/// named like its subject; so is each profile, with the findings about it.
pub fn document(snapshot: &Snapshot) -> Document {
    let report = Findings::of(snapshot);
    let items = report.items();
    Document {
        title: "kmswatch check".to_owned(),
        status: snapshot.status,
        verdict: verdict(snapshot),
        closing: closing(snapshot),
        started: snapshot.started,
        took: snapshot.duration(),
        sections: report.sections(&items),
        suites: report.suites(&items),
    }
}

/// Each finding of a snapshot as an item, in the snapshot's order.
pub(super) fn items(snapshot: &Snapshot) -> Vec<Arc<Item>> {
    Findings::of(snapshot).items()
}

/// Of a list in a cell or a sentence: with more, a page is not read but searched, and JSON has all.
const MOST_LISTED: usize = 12;

/// The findings of a snapshot, by domain and by cause, and each as an [`Item`].
pub struct Findings<'a> {
    snapshot: &'a Snapshot,
    index: Index<'a>,
}

impl<'a> Findings<'a> {
    /// Takes time in proportion to the findings and the domains that they hit.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, index: Index::of(snapshot) }
    }

    fn items(&self) -> Vec<Arc<Item>> {
        self.snapshot.findings.iter().map(|finding| Arc::new(self.item(finding))).collect()
    }

    fn sections(&self, items: &[Arc<Item>]) -> Vec<Section> {
        let of_tables = |title: &str, table: Table| Section {
            title: title.to_owned(),
            tables: vec![table],
            ..Section::default()
        };
        let of_items = |title: &str, is_of: fn(&Finding) -> bool| Section {
            title: title.to_owned(),
            items: items
                .iter()
                .zip(&self.snapshot.findings)
                .filter(|(_, finding)| is_of(finding))
                .map(|(item, _)| item.clone())
                .collect(),
            ..Section::default()
        };
        let mut sections = vec![
            of_tables("Domains", self.domains()),
            of_tables("Profiles", self.profiles()),
            of_items("Findings", Finding::is_active),
            of_items("Known findings", Finding::is_known),
            of_tables("Hosts", self.hosts()),
        ];
        sections.retain(|section| {
            !section.items.is_empty() || section.tables.iter().any(|table| !table.rows.is_empty())
        });
        sections
    }

    fn domains(&self) -> Table {
        let row = |entry: &DomainEntry| {
            vec![
                entry.view.domain.name.to_string().into(),
                Cell::marked(entry.status.into(), entry.status.as_str()),
                bounded(hosts_of(entry)),
                bounded(answers_of(entry)),
                bounded(self.findings_of(entry)),
            ]
        };
        Table {
            caption: "The worst first".to_owned(),
            headers: headers(&["Domain", "Status", "Hosts", "Answers", "Findings"]),
            rows: worst_first(self.snapshot).into_iter().map(row).collect(),
        }
    }

    /// Each check once, however many hosts of the domain it is about: the findings say which.
    fn findings_of(&self, entry: &DomainEntry) -> Vec<String> {
        let hits = self.index.hits(&entry.view.domain.name);
        let mut lines: Vec<String> =
            hits.iter().map(|finding| format!("{} {}", finding.severity, finding.check)).collect();
        lines.dedup();
        lines
    }

    fn hosts(&self) -> Table {
        let row = |view: &HostView| {
            let endpoints = hops::endpoints(self.snapshot, &view.host).rows;
            vec![
                short_host(&view.host).into_owned().into(),
                Cell::marked(host_state(view.status), view.status.as_str()),
                bounded(endpoints.iter().map(|row| in_words(row)).collect()),
                listed(&texts(&view.domains), MOST_LISTED).into(),
            ]
        };
        Table {
            caption: "The worst first".to_owned(),
            headers: headers(&["Host", "Status", "Addresses", "Published by"]),
            rows: hosts_worst_first(self.snapshot).into_iter().map(row).collect(),
        }
    }

    fn profiles(&self) -> Table {
        let row = |entry: &ProfileEntry| {
            let (view, state) = (&entry.view, profiles::state_of(entry));
            let word = match state {
                State::Unknown | State::Info => state.as_str(),
                _ => entry.status.as_str(),
            };
            vec![
                view.profile.name.to_string().into(),
                Cell::marked(state, word),
                profiles::place(view).into(),
                profiles::shows(entry).into(),
                bounded(profiles::hosts_of(view)),
            ]
        };
        Table {
            caption: "In the order of the config".to_owned(),
            headers: headers(&["Profile", "Status", "Finds hosts in", "Clients show", "Hosts"]),
            rows: self.snapshot.profiles.iter().map(row).collect(),
        }
    }

    /// The active findings that hit a domain, worst first.
    pub fn hits(&self, domain: &Name) -> Vec<&'a Finding> {
        self.index.hits(domain)
    }

    /// The findings that hit a domain and that people know of, worst first.
    pub fn known(&self, domain: &Name) -> &[&'a Finding] {
        self.index.known(domain)
    }

    /// The findings that this one explains, also through others.
    pub fn explained(&self, by: &FindingId) -> &[&'a Finding] {
        self.index.explained(by)
    }

    /// Whether a finding is there that explains this one.
    pub fn has_cause(&self, finding: &Finding) -> bool {
        finding.suppressed_by.as_ref().is_some_and(|cause| self.index.get(cause).is_some())
    }

    /// The item for a page that shows by links whom the finding hits and what it explains, and many of them
    /// at once: the beginning of what was seen.
    pub fn page_item(&self, finding: &Finding) -> Item {
        let told = [self.explained_by(finding), known(finding)];
        let item = self.item(finding);
        Item {
            details: told.into_iter().flatten().collect(),
            evidence: item.evidence.into_iter().map(|one| one.shortened(MOST_LISTED)).collect(),
            ..item
        }
    }

    fn item(&self, finding: &Finding) -> Item {
        let state = match finding.is_active() {
            true => State::from(finding.severity),
            false => State::Skipped,
        };
        let hops = hops::hops(self.snapshot, finding);
        Item {
            details: [
                self.explained_by(finding),
                known(finding),
                hits(finding, MOST_LISTED),
                explains(&self.index, finding, MOST_LISTED),
            ]
            .into_iter()
            .flatten()
            .collect(),
            client_error: finding.client_error,
            evidence: [seen(&hops), values(finding, &hops)].into_iter().flatten().collect(),
            remedy: finding.remedy.clone(),
            ..Item::new(finding.check.as_str(), name(finding), state, &finding.message)
        }
    }

    fn explained_by(&self, finding: &Finding) -> Option<String> {
        let cause = self.index.get(finding.suppressed_by.as_ref()?)?;
        Some(format!("Explained by {}.", named(cause)))
    }

    fn suites(&self, items: &[Arc<Item>]) -> Vec<Suite> {
        let mut suites: BTreeMap<String, Vec<Arc<Item>>> = BTreeMap::new();
        for entry in &self.snapshot.domains {
            let is_well = entry.status == Status::Ok;
            let name = entry.view.domain.name.to_string();
            suites.insert(name, is_well.then(|| Arc::new(well(entry))).into_iter().collect());
        }
        for entry in &self.snapshot.profiles {
            let well = (entry.status == Status::Ok).then(|| Arc::new(well_profile(entry)));
            suites.insert(suite_of(&entry.view.profile), well.into_iter().collect());
        }
        for (item, finding) in items.iter().zip(&self.snapshot.findings) {
            let mut hit: Vec<String> = finding.domains.iter().map(ToString::to_string).collect();
            if hit.is_empty() || matches!(finding.subject, Subject::Profile(_)) {
                hit.push(finding.subject.to_string());
            }
            for suite in hit {
                suites.entry(suite).or_default().push(item.clone());
            }
        }
        suites.into_iter().map(|(name, items)| Suite { name, items }).collect()
    }
}

/// The case of a domain without active findings.
fn well(entry: &DomainEntry) -> Item {
    let text = listed(&hosts_of(entry), MOST_LISTED);
    Item::new("domain", "no finding", State::Passed, text)
}

/// As the subject of its findings.
fn suite_of(profile: &Profile) -> String {
    Subject::Profile(profile.name.clone()).to_string()
}

/// The case of a profile without active findings.
fn well_profile(entry: &ProfileEntry) -> Item {
    let view = &entry.view;
    let hosts = listed(&profiles::hosts_of(view), MOST_LISTED);
    let text = format!("Clients find hosts in {}: {hosts}", profiles::place(view));
    let text =
        if hosts.is_empty() { "Nothing can be told of its clients.".to_owned() } else { text };
    let state = match profiles::state_of(entry) {
        State::Unknown => State::Unknown,
        _ => State::Passed,
    };
    Item::new("profile", "no finding", state, text)
}

/// The check and its subject, and what else tells two findings of one check on one subject apart.
fn name(finding: &Finding) -> String {
    let mut name = format!("{} {}", finding.check, what(finding));
    if let Some(resolver) = &finding.resolver {
        name.extend([" at ", resolver]);
    }
    match &finding.subject {
        Subject::Server(upstream) => hops::from(&name, &upstream.path),
        _ => name,
    }
}

fn hosts_of(entry: &DomainEntry) -> Vec<String> {
    let mut lines: Vec<String> = entry.view.hosts.iter().map(host_and_shares).collect();
    if lines.is_empty() {
        lines.push(without_hosts(entry).to_owned());
    }
    lines.extend(left_out(entry));
    lines
}

fn host_and_shares(host: &DomainHost) -> String {
    let (share, live) = (percent(host.share), percent(host.live_share));
    let now = if share == live { String::new() } else { format!(", {live} now") };
    format!("{}{now}", host_and_share(host))
}

/// Each outcome, and the servers that gave it.
fn answers_of(entry: &DomainEntry) -> Vec<String> {
    let mut servers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for view in &entry.view.answers {
        let server = hops::from(&view.upstream.server.to_string(), &view.upstream.path);
        servers.entry(view.answer.outcome.as_str()).or_default().push(server);
    }
    let line = |(outcome, servers): (&str, Vec<String>)| {
        format!("{outcome}: {}", listed(&servers, MOST_LISTED))
    };
    servers.into_iter().map(line).collect()
}

/// The hosts, the worst first, else by name.
pub fn hosts_worst_first(snapshot: &Snapshot) -> Vec<&HostView> {
    let mut views: Vec<&HostView> = snapshot.hosts.iter().map(|view| &**view).collect();
    views.sort_by_key(|view| match view.status {
        HostStatus::Down => 0,
        HostStatus::Degraded => 1,
        HostStatus::Unknown => 2,
        HostStatus::Up => 3,
    });
    views
}

/// What a host's status counts as.
pub fn host_state(status: HostStatus) -> State {
    match status {
        HostStatus::Up => State::Passed,
        HostStatus::Degraded => State::Warning,
        HostStatus::Down => State::Critical,
        HostStatus::Unknown => State::Unknown,
    }
}

fn seen(hops: &Hops) -> Option<Table> {
    let shown: Vec<usize> = (0..hops.headers.len())
        .filter(|column| hops.rows.iter().any(|row| !row[*column].is_empty()))
        .collect();
    let row = |row: &Vec<String>| shown.iter().map(|column| row[*column].as_str().into()).collect();
    let table = Table {
        caption: "What was seen".to_owned(),
        headers: shown.iter().map(|column| hops.headers[*column].to_owned()).collect(),
        rows: hops.rows.iter().map(row).collect(),
    };
    (!table.rows.is_empty()).then_some(table)
}

/// Evidence that the rows of what was seen show already, and better.
const IN_ROWS: [&str; 4] = ["answers", "endpoints", "hosts", "details"];

/// The rest of the evidence.
fn values(finding: &Finding, hops: &Hops) -> Option<Table> {
    let shown = |name: &String| hops.rows.is_empty() || !IN_ROWS.contains(&name.as_str());
    let told = finding.evidence.iter().filter(|(name, _)| shown(name));
    let rows: Vec<Vec<Cell>> =
        told.map(|(name, value)| vec![name.as_str().into(), bounded(lines(value))]).collect();
    let table =
        Table { caption: "Evidence".to_owned(), headers: headers(&["Name", "Value"]), rows };
    (!table.rows.is_empty()).then_some(table)
}

fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(in_a_line).collect(),
        Value::Object(pairs) => {
            pairs.iter().map(|(name, value)| format!("{name}: {}", in_a_line(value))).collect()
        }
        other => vec![in_a_line(other)],
    }
}

/// `port 1688, servers 10.0.0.53 10.0.0.54`: nobody reads braces.
fn in_a_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(in_a_line).collect::<Vec<_>>().join(" "),
        Value::Object(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| format!("{name} {}", in_a_line(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn in_words(row: &[String]) -> String {
    let words: Vec<&str> = row.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn bounded(mut lines: Vec<String>) -> Cell {
    if lines.len() > MOST_LISTED {
        let rest = lines.len() - MOST_LISTED;
        lines.truncate(MOST_LISTED);
        lines.push(format!("and {rest} more"));
    }
    lines.into()
}

fn headers(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
