//! Phrases that several steps need.

use crate::model::srv::KMS_PORT;
use crate::model::{Host, Product};

/// `a`, `a and b`, `a, b and c`; beyond `most`: `a, b and 7 more`.
pub(super) fn listed(items: &[String], most: usize) -> String {
    let shown = &items[..items.len().min(most)];
    let rest = items.len() - shown.len();
    match (shown, rest) {
        ([], _) => String::new(),
        (shown, 1..) => format!("{} and {rest} more", shown.join(", ")),
        ([only], 0) => only.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
    }
}

/// The port shows only where it is not the usual one.
pub(super) fn short(host: &Host) -> String {
    if host.port == KMS_PORT { host.target.to_string() } else { host.to_string() }
}

/// `1 record`, `2 records`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `Windows and Office`, or the one.
pub(super) fn named(products: &[Product]) -> String {
    let names: Vec<String> = products.iter().map(ToString::to_string).collect();
    listed(&names, names.len())
}

/// Of a list in prose.
pub(super) const MOST: usize = 4;
