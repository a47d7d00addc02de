//! PURE. Snapshot → human, json.
//!
//! Every format reads the same snapshot and decides nothing: verdicts, texts and remedies stand in
//! the findings, once. What comes from the network is shown with its control characters escaped.

mod human;
mod json;
mod text;

#[cfg(test)]
pub(crate) mod fixture;

pub use human::{Style, human, verdict};
pub use json::{json, json_domain, json_domains, json_findings, json_hosts, json_text};
