//! A family while it is built, and its text.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::names::{Definition, Kind};

/// A family while it is built. It takes each label set once: of two series with the same labels the
/// first stays, whatever the snapshot holds, because a scrape with a repeated series is refused as a
/// whole.
pub(super) struct Family {
    definition: &'static Definition,
    taken: HashSet<u64>,
    hashes: RandomState,
    /// Not yet written, at most [`BATCH`].
    series: Vec<Metric>,
    text: Vec<u8>,
}

/// Series that are held as the crate's structs, which take ten times the room of their text.
const BATCH: usize = 512;

impl Family {
    pub(super) fn new(definition: &'static Definition) -> Self {
        Self {
            definition,
            taken: HashSet::new(),
            hashes: RandomState::default(),
            series: Vec::new(),
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
        let labels = self.definition.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        if self.definition.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push_metric(metric);
    }

    /// Adds a series that the crate made.
    pub(super) fn push_metric(&mut self, metric: Metric) {
        self.series.push(metric);
        if self.series.len() == BATCH {
            self.write_batch();
        }
    }

    /// The family's text; empty where it has no series.
    pub(super) fn finished(mut self) -> Vec<u8> {
        self.write_batch();
        self.text
    }

    /// Moves the held series to the text. The encoder begins each batch with the family's header,
    /// HELP and TYPE, which only the first one keeps.
    fn write_batch(&mut self) {
        let start = self.text.len();
        let batch = self.batch();
        write_family(&batch, &mut self.text);
        if start > 0 {
            let batch = &self.text[start..];
            let mut ends = batch.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let header = ends.nth(1).map_or(0, |(at, _)| at + 1);
            self.text.drain(start..start + header);
        }
    }

    fn batch(&mut self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.definition.name.to_owned());
        family.set_help(self.definition.help.to_owned());
        family.set_field_type(match self.definition.kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(self.series.drain(..).collect());
        family
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
    use super::*;
    use crate::metrics::names;

    #[test]
    fn a_family_of_many_batches_has_one_header_and_every_series() {
        for count in [0, 1, BATCH, BATCH + 1, 3 * BATCH] {
            let mut family = Family::new(names::SRV_RECORDS);
            for at in 0..count {
                family.push([&format!("d{at}\n.example")], 2.0);
            }
            let text = String::from_utf8(family.finished()).expect("UTF-8");
            let (name, help) = (names::SRV_RECORDS.name, names::SRV_RECORDS.help);
            let header = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
            let series = |at| format!("{name}{{domain=\"d{at}\\n.example\"}} 2\n");
            let expected = (count > 0).then_some(header).into_iter().chain((0..count).map(series));
            let expected: String = expected.collect();
            assert_eq!(text, expected, "{count}");
        }
    }
}
