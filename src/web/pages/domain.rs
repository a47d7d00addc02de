//! `/domains/NAME`: everything that is known of one domain.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use askama::Template;
use jiff::Timestamp;

use super::domains::agreement;
use super::findings::Shown;
use super::past::{Timeline, or_trouble};
use super::serve::{Look, Refusal, Rendered};
use super::{Frame, View};
use crate::model::snapshot::{AnswerView, DomainEntry, DomainHost, DomainView, SeenHost};
use crate::model::{Finding, Host, Name, Snapshot};
use crate::report::{self, Cell, Findings, State, Table};

/// More findings are on their own page.
const MOST_FINDINGS: usize = 25;
/// Beside each other; nobody scrolls through more to find the one that differs.
const MOST_SERVERS: usize = 24;

#[derive(Template)]
#[template(path = "domain.html")]
struct DomainPage<'a> {
    frame: Frame<'a>,
    name: &'a str,
    state: State,
    state_word: &'static str,
    sentence: String,
    facts: String,
    findings: Vec<Shown<'a>>,
    more_findings: usize,
    records: Vec<Group>,
    nobody: &'static str,
    left_out: Vec<String>,
    matrix: Matrix,
    endpoints: Table,
    timeline: Timeline,
}

/// The records of one priority, and those that vanished from it.
#[derive(Default)]
struct Group {
    in_use: bool,
    records: Vec<RecordRow>,
}

struct RecordRow {
    host: String,
    short: String,
    state: State,
    word: &'static str,
    vanished: bool,
    priority: u16,
    weight: u32,
    share: f64,
    live_share: f64,
    share_words: String,
    live_words: String,
    ttl: String,
    first_seen: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

/// Each record on each server.
struct Matrix {
    caption: String,
    servers: Vec<ServerColumn>,
    rows: Vec<MatrixRow>,
}

struct ServerColumn {
    name: String,
    resolver: String,
    state: State,
    outcome: String,
    time: String,
    detail: Option<String>,
    differs: bool,
}

struct MatrixRow {
    record: String,
    cells: Vec<MatrixCell>,
}

struct MatrixCell {
    text: String,
    differs: bool,
}

pub(super) fn render(look: &Look, name: &str) -> Rendered {
    let name = Name::parse(name).map_err(|wrong| Refusal::NotThere(wrong.to_string()))?;
    let entry = look.snapshot.domain(&name);
    let entry = entry.ok_or_else(|| Refusal::NotThere(format!("{name} is not configured.")))?;
    Ok(page(look, entry).render()?)
}

fn page<'a>(look: &Look<'a>, entry: &'a DomainEntry) -> DomainPage<'a> {
    let view = &*entry.view;
    let name = view.domain.name.as_str();
    let findings = Findings::of(look.snapshot);
    let mut hits: Vec<&Finding> = findings.hits(&view.domain.name);
    hits.extend(findings.known(&view.domain.name));
    let mut frame = Frame {
        title: name.to_owned(),
        up: "..",
        json: Some(format!("api/v1/domains/{name}")),
        state: entry.status.into(),
        word: entry.status.as_str(),
        ..look.frame(View::Other)
    };
    let timeline = or_trouble(Timeline::of(look, entry), &mut frame);
    DomainPage {
        frame,
        name,
        state: entry.status.into(),
        state_word: entry.status.as_str(),
        sentence: sentence(entry, &hits),
        facts: facts(view),
        more_findings: hits.len().saturating_sub(MOST_FINDINGS),
        findings: hits
            .iter()
            .take(MOST_FINDINGS)
            .map(|one| Shown::of(one, &findings, hits.len()))
            .collect(),
        records: groups(view),
        nobody: report::without_hosts(entry),
        left_out: report::left_out(entry),
        matrix: matrix(view),
        endpoints: endpoints(look.snapshot, view),
        timeline,
    }
}

/// The worst that is the matter, or who serves.
fn sentence(entry: &DomainEntry, hits: &[&Finding]) -> String {
    let worst = hits.iter().find(|finding| finding.is_active());
    if let Some(worst) = worst {
        return worst.message.clone();
    }
    let serving = entry.view.hosts.iter().filter(|host| host.live_share > 0.0);
    let serving: Vec<String> = serving
        .map(|host| {
            format!("{} ({})", report::short_host(&host.host), report::percent(host.live_share))
        })
        .collect();
    match serving.is_empty() {
        true => format!("{}.", report::without_hosts(entry)),
        false => format!("New clients go to {}.", serving.join(", ")),
    }
}

fn facts(view: &DomainView) -> String {
    let resolvers: Vec<&str> =
        view.domain.resolvers.iter().map(|resolver| &*resolver.name).collect();
    let agreement = agreement(&view.answers).words;
    format!("KMS {} · servers of {}: {agreement}", view.domain.kms.as_str(), resolvers.join(", "))
}

/// By priority; the lowest with a host that is up is in use.
fn groups(view: &DomainView) -> Vec<Group> {
    let mut groups: BTreeMap<u16, Group> = BTreeMap::new();
    for host in &view.hosts {
        groups.entry(host.priority).or_default().records.push(published(view, host));
    }
    for (seen, _) in view.vanished() {
        groups.entry(seen.priority).or_default().records.push(vanished(seen));
    }
    let in_use = view.hosts.iter().filter(|host| host.status.is_up()).map(|host| host.priority);
    if let Some(group) = in_use.min().and_then(|priority| groups.get_mut(&priority)) {
        group.in_use = true;
    }
    groups.into_values().collect()
}

fn published(view: &DomainView, host: &DomainHost) -> RecordRow {
    let seen = view.seen_of(&host.host);
    let record = view.records.iter().find(|record| record.is_of(&host.host));
    RecordRow {
        host: host.host.to_string(),
        short: report::short_host(&host.host).into_owned(),
        state: report::host_state(host.status),
        word: host.status.as_str(),
        vanished: false,
        priority: host.priority,
        weight: host.weight,
        share: host.share,
        live_share: host.live_share,
        share_words: report::percent(host.share).into_owned(),
        live_words: report::percent(host.live_share).into_owned(),
        ttl: record.map_or_else(String::new, |record| format!("{} s", record.ttl)),
        first_seen: seen.map(|seen| seen.first_seen),
        last_seen: seen.map(|seen| seen.last_seen),
    }
}

fn vanished(seen: &SeenHost) -> RecordRow {
    RecordRow {
        host: seen.host.to_string(),
        short: report::short_host(&seen.host).into_owned(),
        state: State::Critical,
        word: "vanished",
        vanished: true,
        priority: seen.priority,
        weight: seen.weight.into(),
        share: 0.0,
        live_share: 0.0,
        share_words: String::new(),
        live_words: String::new(),
        ttl: "–".to_owned(),
        first_seen: Some(seen.first_seen),
        last_seen: Some(seen.last_seen),
    }
}

/// A record is its target and port; what differs of it stands in the cells.
fn matrix(view: &DomainView) -> Matrix {
    let said: Vec<Said> = view.answers.iter().map(Said::of).collect();
    let hosts: BTreeSet<&Host> = said.iter().flat_map(|one| one.values.keys()).collect();
    let usual: Vec<(&Host, &str)> =
        hosts.into_iter().map(|host| (host, usual(&said, host))).collect();
    let mut columns: Vec<(&Said, bool)> = said
        .iter()
        .map(|one| (one, usual.iter().any(|(host, usual)| one.differs(host, usual))))
        .collect();
    let mut caption = "Priority and weight of each record on each server".to_owned();
    if columns.iter().any(|(_, differs)| *differs) {
        caption.push_str("; what differs is marked ≠");
    }
    if columns.len() > MOST_SERVERS {
        columns.sort_by_key(|(one, differs)| one.is_usable() && !differs);
        columns.truncate(MOST_SERVERS);
        caption =
            format!("{caption}; {MOST_SERVERS} of {} servers, first those that differ", said.len());
    }
    let row = |(host, usual): &(&Host, &str)| MatrixRow {
        record: report::short_host(host).into_owned(),
        cells: columns.iter().map(|(one, _)| one.cell(host, usual)).collect(),
    };
    Matrix {
        rows: usual.iter().map(row).collect(),
        servers: columns.iter().map(|(one, differs)| server(one.view, *differs)).collect(),
        caption,
    }
}

/// What a server says of each host.
struct Said<'a> {
    view: &'a AnswerView,
    /// None, where the answer cannot be used.
    values: BTreeMap<Host, String>,
}

impl<'a> Said<'a> {
    fn of(view: &'a AnswerView) -> Self {
        let records = view.answer.outcome.is_usable().then_some(&view.answer.records);
        let mut values: BTreeMap<Host, Vec<String>> = BTreeMap::new();
        for record in records.into_iter().flatten() {
            let value = format!("{} {}", record.priority, record.weight);
            values.entry(record.host()).or_default().push(value);
        }
        let joined = |(host, mut values): (Host, Vec<String>)| {
            values.sort_unstable();
            (host, values.join(", "))
        };
        Self { view, values: values.into_iter().map(joined).collect() }
    }

    fn is_usable(&self) -> bool {
        self.view.answer.outcome.is_usable()
    }

    fn value(&self, host: &Host) -> &str {
        self.values.get(host).map_or("", String::as_str)
    }

    fn differs(&self, host: &Host, usual: &str) -> bool {
        self.is_usable() && self.value(host) != usual
    }

    fn cell(&self, host: &Host, usual: &str) -> MatrixCell {
        let differs = self.differs(host, usual);
        let shown = match self.value(host) {
            _ if !self.is_usable() => "?",
            "" => "absent",
            value => value,
        };
        MatrixCell {
            text: if differs { format!("≠ {shown}") } else { shown.to_owned() }, differs
        }
    }
}

/// What most servers that answer say of a record; of as many, what more of the estate is made of: the
/// first.
fn usual<'a>(said: &'a [Said], host: &Host) -> &'a str {
    let told = || said.iter().filter(|one| one.is_usable()).map(|one| one.value(host));
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for value in told() {
        *counts.entry(value).or_default() += 1;
    }
    let most = counts.values().max().copied();
    told().find(|value| counts.get(value).copied() == most).unwrap_or_default()
}

fn server(view: &AnswerView, differs: bool) -> ServerColumn {
    let answer = &view.answer;
    let state = match (answer.outcome.is_usable(), differs) {
        (true, false) => State::Passed,
        (false, _) | (true, true) => State::Warning,
    };
    ServerColumn {
        name: report::from(&view.upstream.server.to_string(), &view.upstream.path),
        resolver: view.resolver.name.to_string(),
        state,
        outcome: answer.outcome.to_string(),
        time: answer.rtt.map(report::short_duration).unwrap_or_default(),
        detail: answer.detail.as_deref().map(str::to_owned),
        differs,
    }
}

/// Of the domain's hosts, in the order of its records.
fn endpoints(snapshot: &Snapshot, view: &DomainView) -> Table {
    let headers = ["Host", "Address", "Outcome", "Connect", "Bind", "Probed", "Detail"];
    let rows = view.hosts.iter().flat_map(|host| {
        let endpoints = snapshot.host(&host.host).into_iter().flat_map(|one| &one.endpoints);
        endpoints.map(|endpoint| {
            let probe = endpoint.probe.as_deref();
            let took = |took: Option<std::time::Duration>| took.map(report::short_duration);
            let address = report::from(&endpoint.address.to_string(), &endpoint.path);
            let outcome = probe.map_or("not probed".to_owned(), |probe| probe.outcome.to_string());
            let state = super::hosts::state_of(probe);
            let texts = [
                probe.and_then(|probe| took(probe.connect)),
                probe.and_then(|probe| took(probe.bind)),
                endpoint.at.map(|at| at.strftime(super::WHEN).to_string()),
                probe.map(report::circumstances),
            ];
            let mut row: Vec<Cell> = vec![
                report::short_host(&host.host).into_owned().into(),
                address.into(),
                Cell::marked(state, outcome),
            ];
            row.extend(texts.map(|text| Cell::from(text.unwrap_or_default())));
            row
        })
    });
    Table {
        caption: "Connect and one RPC bind to each address".to_owned(),
        rows: rows.collect(),
        headers: headers.map(str::to_owned).into(),
    }
    .trimmed()
}
