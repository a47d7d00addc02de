//! The declared clients: a matrix, profile × host, with the part of clients that each host serves; where
//! it is too wide, the hosts of each profile below it.

use super::super::document::State;
use super::super::text::{aligned, clean, width_of};
use super::{Ink, Page, percent, short_host};
use crate::model::discovery::{Choice, End};
use crate::model::snapshot::{HostStatus, ProfileEntry, ProfileView};
use crate::model::{Discovery, Host, Status};

impl Page<'_> {
    /// A line a profile, in the order of the config; only where there are some.
    pub(super) fn profiles(&mut self) {
        let entries = &self.snapshot.profiles;
        if entries.is_empty() {
            return;
        }
        self.blank();
        let hosts = hosts(entries);
        let matrix = lines(entries, &hosts);
        if matrix.iter().all(|line| width_of(line) + 2 <= self.style.width) {
            self.rows(entries, &matrix, |_, _| {});
        } else {
            self.rows(entries, &lines(entries, &[]), Self::hosts_below);
        }
    }

    /// The head, and each profile with its mark and what stands below it.
    fn rows(
        &mut self,
        entries: &[ProfileEntry],
        lines: &[String],
        below: impl Fn(&mut Self, &ProfileView),
    ) {
        let Some((head, rows)) = lines.split_first() else { return };
        self.out.push_str("  ");
        self.paint(Ink::Faint, head);
        self.out.push('\n');
        for (entry, row) in entries.iter().zip(rows) {
            let (ink, state) = (ink_of(entry), state_of(entry));
            self.paint(ink, state.mark());
            self.line(1, row);
            below(self, &entry.view);
        }
    }

    /// A matrix that is too wide as lists: no host is left out.
    fn hosts_below(&mut self, view: &ProfileView) {
        for line in filled(&hosts_of(view), self.style.width - INDENT) {
            self.line(INDENT, &line);
        }
    }
}

/// Of the hosts below a profile.
const INDENT: usize = 4;

/// Each host that its clients may pick, and what of it they see.
pub(in crate::report) fn hosts_of(view: &ProfileView) -> Vec<String> {
    let choices = view.choices().into_iter();
    choices
        .map(|choice| format!("{} {}", short_host(&choice.host), cell(view, &choice.host)))
        .collect()
}

/// As many items a line as fit; none is broken.
fn filled(items: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if width_of(line) + 2 + width_of(item) < width => {
                line.extend([", ", item]);
            }
            Some(line) => {
                line.push(',');
                lines.push(item.clone());
            }
            None => lines.push(item.clone()),
        }
    }
    lines
}

/// What it counts as; where it cannot be told how its clients fare and no finding says more, unknown.
/// Clients that fail have no ✔, even where that is accepted.
pub fn state_of(entry: &ProfileEntry) -> State {
    match entry.view.is_served() {
        None if entry.status < Status::Warning => State::Unknown,
        _ if is_accepted(entry) => State::Info,
        _ => entry.status.into(),
    }
}

/// Whether its clients fail, and the config accepts that with an exception.
fn is_accepted(entry: &ProfileEntry) -> bool {
    entry.view.is_served() == Some(false) && entry.status < Status::Warning
}

fn ink_of(entry: &ProfileEntry) -> Ink {
    match state_of(entry) {
        State::Unknown => Ink::Plain,
        State::Info => Ink::Info,
        _ => Ink::of(entry.status),
    }
}

/// Every host that some profile's clients may pick, each once.
fn hosts(entries: &[ProfileEntry]) -> Vec<&Host> {
    let mut hosts: Vec<&Host> =
        entries.iter().flat_map(|entry| entry.view.choices()).map(|choice| &choice.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The head, and a line a profile.
fn lines(entries: &[ProfileEntry], hosts: &[&Host]) -> Vec<String> {
    let names = hosts.iter().map(|host| short_host(host).into_owned());
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(entries.len() + 1);
    let head = ["profile", "finds hosts in", "clients show"].map(str::to_owned);
    rows.push(head.into_iter().chain(names).collect());
    for entry in entries {
        let view = &entry.view;
        let first = [clean(&view.profile.name).into_owned(), place(view), shows(entry)];
        rows.push(first.into_iter().chain(hosts.iter().map(|host| cell(view, host))).collect());
    }
    aligned(&rows)
}

/// Where the search ends; both ways where Office has a fixed host of its own.
pub(in crate::report) fn place(view: &ProfileView) -> String {
    let of = |discovery: &Discovery| match &discovery.end {
        End::Fixed => "a fixed host".to_owned(),
        End::Answered(domain) | End::Declined(domain) => domain.to_string(),
        End::Unknown(domain) => format!("{domain}?"),
        End::NoSuffix | End::Exhausted => "none".to_owned(),
    };
    let (windows, office) = (of(&view.windows), of(&view.office));
    if windows == office { windows } else { format!("{windows}; Office: {office}") }
}

/// What its clients show: a code, where they show one.
pub(in crate::report) fn shows(entry: &ProfileEntry) -> String {
    let view = &entry.view;
    let accepted = if is_accepted(entry) { " (accepted)" } else { "" };
    match (view.client_error(), view.is_served()) {
        (Some(code), _) => format!("{code}{accepted}"),
        (None, Some(true)) => "nothing".to_owned(),
        (None, Some(false)) => format!("an error{accepted}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// The part of Windows clients, and of Office where that differs.
fn cell(view: &ProfileView, host: &Host) -> String {
    let of = |discovery: &Discovery| {
        discovery.hosts.iter().find(|choice| choice.host == *host).map_or("-".to_owned(), part)
    };
    let (windows, office) = (of(&view.windows), of(&view.office));
    match windows == office {
        true => windows,
        false if windows == "-" => format!("Office {office}"),
        false if office == "-" => format!("Windows {windows}"),
        false => format!("{windows}, Office {office}"),
    }
}

fn part(choice: &Choice) -> String {
    match choice.status {
        HostStatus::Up => format!("{} up", percent(choice.live_share)),
        HostStatus::Degraded => format!("{} degraded", percent(choice.live_share)),
        HostStatus::Down | HostStatus::Unknown => choice.status.to_string(),
    }
}
