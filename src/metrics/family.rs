//! A family while it is built, and its text.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io::Write as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use prometheus::proto::{LabelPair, MetricFamily};
use prometheus::{Encoder, TextEncoder};

use super::names::Definition;
use crate::model::snapshot::DomainEntry;
use crate::model::{Name, Snapshot};

/// A family while it is written. It takes each label set once: of two series with the same labels the
/// first stays, whatever the snapshot holds, because a scrape with a repeated series is refused as a
/// whole.
///
/// The crate's encoder writes the same, but wants every series as structs of owned texts first, which
/// takes several times as long, and an estate has hundreds of thousands of series.
pub(super) struct Family<'a, 'b> {
    definition: &'static Definition,
    hashes: RandomState,
    /// The value of the last series, and its text: the next often has the same.
    last: Option<(u64, Vec<u8>)>,
    has_header: bool,
    /// Whether it is written domain by domain.
    is_by_domain: bool,
    text: &'a mut Text<'b>,
}

/// A label's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label<'a> {
    Text(&'a str),
    Number(u16),
}

/// Text that leaves in pieces, so that the whole is never held.
pub(super) struct Text<'a> {
    piece: Vec<u8>,
    leave: &'a mut dyn FnMut(&[u8]),
    /// A label of every series, by the config.
    vantage: Option<Arc<str>>,
    /// The same as text: `vantage="hq"`; empty where there is none.
    constant: Vec<u8>,
    /// The label sets of the family that is written. One table for all families: to let it grow anew for
    /// each takes longer than to fill it.
    taken: HashSet<u64, FixedState>,
    /// Those of the domain that is written: few, while those of all are not in the processor's cache.
    taken_by_domain: Vec<u64>,
    /// Whether every domain comes once.
    are_domains_distinct: bool,
}

/// Large enough to be worth a call, small enough to stay in the processor's cache.
const PIECE: usize = 64 << 10;

/// The label that tells daemons of several sites apart.
const VANTAGE: &str = "vantage";

impl<'a> Text<'a> {
    /// Of a snapshot.
    pub(super) fn of(snapshot: &Snapshot, leave: &'a mut dyn FnMut(&[u8])) -> Self {
        fn name(entry: &DomainEntry) -> &Name {
            &entry.view.domain.name
        }
        let are_domains_distinct =
            snapshot.domains.is_sorted_by(|one, other| name(one) < name(other));
        Self { are_domains_distinct, ..Self::new(snapshot.vantage.clone(), leave) }
    }

    /// Nothing yet; [`Text::finish`] makes the last piece leave.
    pub(super) fn new(vantage: Option<Arc<str>>, leave: &'a mut dyn FnMut(&[u8])) -> Self {
        let piece = Vec::with_capacity(PIECE + PIECE / 16);
        let mut constant = Vec::new();
        if let Some(vantage) = &vantage {
            constant.extend_from_slice(format!("{VANTAGE}=\"").as_bytes());
            push_escaped(vantage, &mut constant);
            constant.push(b'"');
        }
        Self {
            piece,
            leave,
            vantage,
            constant,
            taken: HashSet::default(),
            taken_by_domain: Vec::new(),
            are_domains_distinct: false,
        }
    }

    /// The next family.
    pub(super) fn family<'b>(&'b mut self, definition: &'static Definition) -> Family<'b, 'a> {
        self.taken.clear();
        Family {
            definition,
            hashes: RandomState::default(),
            last: None,
            has_header: false,
            is_by_domain: false,
            text: self,
        }
    }

    /// A family of one series without labels.
    pub(super) fn single(&mut self, definition: &'static Definition, value: f64) {
        self.family(definition).push([], value);
    }

    /// A family that the crate made; nothing where it has no series.
    ///
    /// # Panics
    /// Never: the encoder refuses only families without name or series, and memory takes every byte.
    pub(super) fn made(&mut self, family: &MetricFamily) {
        if !family.get_metric().is_empty() {
            let mut family = family.clone();
            for metric in family.mut_metric().iter_mut().filter(|_| self.vantage.is_some()) {
                let mut label = LabelPair::default();
                label.set_name(VANTAGE.to_owned());
                label.set_value(self.vantage.as_deref().unwrap_or_default().to_owned());
                let labels = [metric.get_label(), &[label]].concat();
                metric.set_label(labels);
            }
            let encoded = TextEncoder::new().encode(std::slice::from_ref(&family), &mut self.piece);
            encoded.expect("a family with name and series is written to memory");
        }
    }

    pub(super) fn finish(self) {
        (self.leave)(&self.piece);
    }
}

impl Family<'_, '_> {
    /// The series of another domain follow, which is the first label of all of this family.
    pub(super) fn next_domain(&mut self) {
        self.is_by_domain = self.text.are_domains_distinct;
        self.text.taken_by_domain.clear();
    }

    /// Adds a series; the values stand in the order of the definition's labels.
    pub(super) fn push<const N: usize>(&mut self, values: [Label; N], value: f64) {
        debug_assert_eq!(N, self.definition.labels.len(), "{}", self.definition.name);
        if !std::mem::replace(&mut self.has_header, true) {
            self.push_header();
        }
        let Text { piece, leave, taken, taken_by_domain, constant, .. } = &mut *self.text;
        let start = piece.len();
        piece.extend_from_slice(self.definition.name.as_bytes());
        for (position, (label, value)) in self.definition.labels.iter().zip(values).enumerate() {
            piece.push(if position == 0 { b'{' } else { b',' });
            piece.extend_from_slice(label.as_bytes());
            piece.extend_from_slice(b"=\"");
            match value {
                Label::Text(text) => push_escaped(text, piece),
                Label::Number(number) => {
                    piece.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                }
            }
            piece.push(b'"');
        }
        if !constant.is_empty() {
            piece.push(if N == 0 { b'{' } else { b',' });
            piece.extend_from_slice(constant);
        }
        if N > 0 || !constant.is_empty() {
            piece.push(b'}');
        }
        let hash = self.hashes.hash_one(&piece[start..]);
        let is_taken = match self.is_by_domain {
            true if taken_by_domain.contains(&hash) => true,
            true => {
                taken_by_domain.push(hash);
                false
            }
            false => !taken.insert(hash),
        };
        if is_taken {
            piece.truncate(start);
            return;
        }
        push_value(value, &mut self.last, piece);
        if piece.len() >= PIECE {
            leave(piece);
            piece.clear();
        }
    }

    /// The texts of definitions hold nothing to escape; a test looks.
    fn push_header(&mut self) {
        let Definition { name, help, kind, .. } = self.definition;
        let header = format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
        self.text.piece.extend_from_slice(header.as_bytes());
    }
}

impl<'a> From<&'a str> for Label<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Name> for Label<'a> {
    fn from(name: &'a Name) -> Self {
        Self::Text(name.as_str())
    }
}

impl From<u16> for Label<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

fn push_value(value: f64, last: &mut Option<(u64, Vec<u8>)>, text: &mut Vec<u8>) {
    match last {
        Some((bits, known)) if *bits == value.to_bits() => text.extend_from_slice(known),
        _ => {
            let start = text.len();
            writeln!(text, " {value}").expect("memory takes every byte");
            let (bits, known) = last.get_or_insert_default();
            *bits = value.to_bits();
            known.clear();
            known.extend_from_slice(&text[start..]);
        }
    }
}

/// A label's value: backslash, quote and line feed are escaped.
fn push_escaped(value: &str, text: &mut Vec<u8>) {
    // Without an early end, so that many bytes are looked at at once.
    let is_special = |byte| matches!(byte, b'\\' | b'"' | b'\n');
    if !value.bytes().fold(false, |found, byte| found | is_special(byte)) {
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

#[cfg(test)]
mod tests {
    use prometheus::proto::{Gauge, Metric, MetricType};
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::names;

    proptest! {
        /// Whatever the network calls itself, the text is what the crate would write.
        #[test]
        fn the_text_is_the_crates(series in proptest::collection::vec(
            (".{0,8}|[a\"\\\\\n]{0,4}", any::<(u16, u16, u16)>(), proptest::num::f64::NORMAL), 0..20,
        )) {
            let mut metrics: Vec<Metric> = Vec::new();
            for (target, numbers, value) in &series {
                let [port, priority, weight] = <[u16; 3]>::from(*numbers).map(|number| number.to_string());
                let values = ["d.example", target, &port, &priority, &weight];
                let pairs = names::SRV_RECORD_INFO.labels.iter().zip(values);
                let metric = metric(pairs, *value);
                if metrics.iter().all(|known| known.get_label() != metric.get_label()) {
                    metrics.push(metric);
                }
            }
            let mut proto = MetricFamily::default();
            proto.set_name(names::SRV_RECORD_INFO.name.to_owned());
            proto.set_help(names::SRV_RECORD_INFO.help.to_owned());
            proto.set_field_type(MetricType::GAUGE);
            proto.set_metric(metrics);
            let expected = written(|text| text.made(&proto));
            let text = written(|text| {
                let mut family = text.family(names::SRV_RECORD_INFO);
                for (target, (port, priority, weight), value) in &series {
                    let numbers = [*port, *priority, *weight].map(Label::from);
                    let [port, priority, weight] = numbers;
                    let values = ["d.example".into(), (&**target).into(), port, priority, weight];
                    family.push(values, *value);
                }
            });
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
        let text = written(|text| text.single(names::SCHEDULE_LAG, 0.5));
        assert!(text.ends_with("\nkmswatch_schedule_lag_seconds 0.5\n"), "{text}");
        assert_eq!(written(|text| drop(text.family(names::SCHEDULE_LAG))), "");
    }

    #[test]
    fn many_pieces_are_one_text() {
        let mut pieces = Vec::new();
        let mut leave = |piece: &[u8]| pieces.push(piece.to_vec());
        let mut text = Text::new(None, &mut leave);
        let mut family = text.family(names::SRV_RECORDS);
        for at in 0..5000 {
            family.push([(&*format!("d{at}.example")).into()], 2.0);
        }
        text.finish();
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() < 2 * PIECE));
        let text = String::from_utf8(pieces.concat()).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 5000);
        assert_eq!(lines[5001], "kmswatch_srv_records{domain=\"d4999.example\"} 2");
    }

    fn written(write: impl FnOnce(&mut Text)) -> String {
        let mut all = Vec::new();
        let mut leave = |piece: &[u8]| all.extend_from_slice(piece);
        let mut text = Text::new(None, &mut leave);
        write(&mut text);
        text.finish();
        String::from_utf8(all).expect("UTF-8")
    }
}
