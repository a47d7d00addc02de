//! A family while it is built, and its text.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io::Write as _;

use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

use super::names::Definition;

/// The text of a family while it is written. It takes each label set once: of two series with the same
/// labels the first stays, whatever the snapshot holds, because a scrape with a repeated series is
/// refused as a whole.
///
/// The crate's encoder writes the same, but wants every series as structs of owned texts first, which
/// takes five times the time, and the estate has hundreds of thousands of series.
pub(super) struct Family {
    definition: &'static Definition,
    taken: HashSet<u64, FixedState>,
    hashes: RandomState,
    text: Vec<u8>,
}

impl Family {
    pub(super) fn new(definition: &'static Definition) -> Self {
        Self {
            definition,
            taken: HashSet::default(),
            hashes: RandomState::default(),
            text: Vec::new(),
        }
    }

    /// A family of one series without labels.
    pub(super) fn single(definition: &'static Definition, value: f64) -> Self {
        let mut family = Self::new(definition);
        family.push([], value);
        family
    }

    /// Adds a series; the values stand in the order of the definition's labels.
    pub(super) fn push<const N: usize>(&mut self, values: [&str; N], value: f64) {
        debug_assert_eq!(N, self.definition.labels.len(), "{}", self.definition.name);
        if !self.taken.insert(self.hashes.hash_one(values)) {
            return;
        }
        if self.text.is_empty() {
            self.push_header();
        }
        self.text.extend_from_slice(self.definition.name.as_bytes());
        let mut before = b'{';
        for (label, value) in self.definition.labels.iter().zip(values) {
            self.text.push(before);
            self.text.extend_from_slice(label.as_bytes());
            self.text.extend_from_slice(b"=\"");
            push_escaped(value, &mut self.text);
            self.text.push(b'"');
            before = b',';
        }
        if N > 0 {
            self.text.push(b'}');
        }
        self.push_value(value);
    }

    /// The family's text; empty where it has no series.
    pub(super) fn finished(self) -> Vec<u8> {
        self.text
    }

    /// The texts of definitions hold nothing to escape; a test looks.
    fn push_header(&mut self) {
        let Definition { name, help, kind, .. } = self.definition;
        let header = format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
        self.text.extend_from_slice(header.as_bytes());
    }

    fn push_value(&mut self, value: f64) {
        match value {
            // Most of them.
            1.0 => self.text.extend_from_slice(b" 1\n"),
            _ => writeln!(self.text, " {value}").expect("memory takes every byte"),
        }
    }
}

/// A label's value: backslash, quote and line feed are escaped.
fn push_escaped(value: &str, text: &mut Vec<u8>) {
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => text.extend_from_slice(br"\\"),
            b'"' => text.extend_from_slice(br#"\""#),
            b'\n' => text.extend_from_slice(br"\n"),
            _ => text.push(byte),
        }
    }
}

/// Appends a family's text; nothing where it has no series.
///
/// # Panics
/// Never: the encoder refuses only families without name or series, and memory takes every byte.
pub(super) fn write_family(family: &MetricFamily, text: &mut Vec<u8>) {
    if !family.get_metric().is_empty() {
        let encoded = TextEncoder::new().encode(std::slice::from_ref(family), text);
        encoded.expect("a family with name and series is written to memory");
    }
}

#[cfg(test)]
mod tests {
    use prometheus::proto::{Gauge, LabelPair, Metric, MetricType};
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::names;

    proptest! {
        /// Whatever the network calls itself, the text is what the crate would write.
        #[test]
        fn the_text_is_the_crates(series in proptest::collection::vec(
            (".{0,8}|[a\"\\\\\n]{0,4}", any::<(u16, u16, u16)>(), proptest::num::f64::NORMAL), 0..20,
        )) {
            let mut family = Family::new(names::SRV_RECORD_INFO);
            let mut metrics: Vec<Metric> = Vec::new();
            for (target, numbers, value) in &series {
                let [port, priority, weight] = <[u16; 3]>::from(*numbers).map(|number| number.to_string());
                let values = ["d.example", target, &port, &priority, &weight];
                family.push(values, *value);
                let pairs = names::SRV_RECORD_INFO.labels.iter().zip(values);
                let metric = metric(pairs, *value);
                if metrics.iter().all(|known| known.get_label() != metric.get_label()) {
                    metrics.push(metric);
                }
            }
            let mut expected = Vec::new();
            let mut proto = MetricFamily::default();
            proto.set_name(names::SRV_RECORD_INFO.name.to_owned());
            proto.set_help(names::SRV_RECORD_INFO.help.to_owned());
            proto.set_field_type(MetricType::GAUGE);
            proto.set_metric(metrics);
            write_family(&proto, &mut expected);
            let [text, expected] =
                [family.finished(), expected].map(|text| String::from_utf8(text).expect("UTF-8"));
            prop_assert_eq!(text, expected);
        }
    }

    fn metric<'a>(pairs: impl Iterator<Item = (&'a &'static str, &'a str)>, value: f64) -> Metric {
        let pairs = pairs.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        metric
    }

    #[test]
    fn headers_need_no_escapes_and_values_without_labels_no_braces() {
        assert!(names::ALL.iter().all(|definition| !definition.help.contains(['\\', '\n'])));
        let text = String::from_utf8(Family::single(names::SCHEDULE_LAG, 0.5).finished());
        let text = text.expect("UTF-8");
        assert!(text.ends_with("\nkmswatch_schedule_lag_seconds 0.5\n"), "{text}");
        assert!(Family::new(names::SCHEDULE_LAG).finished().is_empty());
    }
}
