//! PURE. Snapshot → human, json, nagios, and the targets that Prometheus discovers; and by way of a
//! [`Document`], junit, markdown and html.
//!
//! Every format reads the same snapshot and decides nothing: verdicts, texts and remedies stand in
//! the findings, once. What comes from the network is shown with its control characters escaped.

mod checked;
mod document;
mod events;
mod html;
mod human;
mod json;
mod junit;
mod markdown;
mod nagios;
mod preflight;
mod strip;
mod targets;
mod text;

use crate::model::{Severity, Snapshot};

#[cfg(test)]
mod document_tests;
#[cfg(test)]
pub(crate) mod fixture;

pub use checked::{Findings, document, host_state, hosts_worst_first};
pub use document::{Cell, Document, Item, Remedy, Section, State, Suite, Table};
pub use events::{event_message, human_events, json_events};
pub use html::html;
pub use human::finding::what;
pub use human::hops::{circumstances, from, short_duration};
pub use human::preflight::{preflight_end, preflight_head, preflight_step};
pub use human::profiles::state_of as profile_state;
pub use human::{
    Style, human, left_out, percent, profiles_verdict, short_host, verdict, without_hosts,
    worst_first,
};
pub use json::{
    json, json_domain, json_domains, json_findings, json_hosts, json_preflight, json_profiles,
    json_text,
};
pub use junit::junit;
pub use markdown::markdown;
pub use nagios::{Plugin, nagios, nagios_preflight, nagios_unknown};
pub use preflight::{item as step_item, played, preflight_document, preflight_verdict};
pub use strip::{Slot, Strip, strips};
pub use targets::targets;
pub use text::clean;

/// The worst active finding of at least this severity; what exit codes and states follow from.
pub fn worst(snapshot: &Snapshot, least: Severity) -> Option<Severity> {
    let active = snapshot.findings.iter().filter(|finding| finding.is_active());
    active.map(|finding| finding.severity).filter(|severity| *severity >= least).max()
}
