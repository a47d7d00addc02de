//! Evidence in few bytes: a year of events is mostly evidence.
//!
//! A value is a tag and what it holds: numbers as varints, names of the usual values as one byte, and
//! times as the distance to the event's own, which is a few bytes where JSON takes twenty.

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use crate::model::finding::Evidence;

/// The names that evidence usually has, by their number in the database. Append only.
const NAMES: &[&str] = &[
    "at",
    "check",
    "detail",
    "down_since",
    "domains",
    "error",
    "first_seen",
    "file",
    "from",
    "gone",
    "host",
    "hosts",
    "id",
    "last_seen",
    "last_up",
    "outcome",
    "path",
    "paths",
    "port",
    "priority",
    "profiles",
    "reason",
    "reported",
    "resolver",
    "server",
    "servers",
    "since",
    "state",
    "status",
    "target",
    "to",
    "until",
    "warnings",
    "was",
    "weight",
    "addresses",
    "address",
    "now",
    "first",
    "severity",
    "was_priority",
    "was_weight",
];

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const TIME: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;
const EXACT_TIME: u8 = 9;
/// What stands for the first of [`NAMES`]; 0 is before any other name, written out.
const FIRST_NAME: u8 = 1;

/// Nothing nests deeper; what does is a database that somebody made up.
const DEEPEST: usize = 16;

/// The bytes of an event's evidence; `None` where there is none.
pub(super) fn pack(evidence: &Evidence, at: Timestamp) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(32);
    pack_map(evidence, at, &mut bytes);
    (!evidence.is_empty()).then_some(bytes)
}

/// The evidence of bytes that [`pack`] made with the same time; `None` for any others.
pub(super) fn unpack(bytes: &[u8], at: Timestamp) -> Option<Evidence> {
    let mut reader = Reader { rest: bytes, at };
    let map = reader.map(0)?;
    reader.rest.is_empty().then_some(map)
}

fn pack_map(map: &Evidence, at: Timestamp, bytes: &mut Vec<u8>) {
    push_number(map.len() as u64, bytes);
    for (name, value) in map {
        let known = NAMES.iter().position(|known| known == name);
        if let Some(known) = known.and_then(|at| u8::try_from(at).ok()) {
            bytes.push(FIRST_NAME + known);
        } else {
            bytes.push(0);
            push_text(name, bytes);
        }
        pack_value(value, at, bytes);
    }
}

fn pack_value(value: &Value, at: Timestamp, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(NULL),
        Value::Bool(value) => bytes.push(if *value { TRUE } else { FALSE }),
        Value::Number(number) => pack_number(number, bytes),
        Value::String(text) => pack_text(text, at, bytes),
        Value::Array(values) => {
            bytes.push(LIST);
            push_number(values.len() as u64, bytes);
            values.iter().for_each(|value| pack_value(value, at, bytes));
        }
        Value::Object(map) => {
            bytes.push(MAP);
            pack_map(map, at, bytes);
        }
    }
}

/// A time as the seconds, or nanoseconds, from the event's own.
fn pack_text(text: &str, at: Timestamp, bytes: &mut Vec<u8>) {
    let exact = |time: Timestamp| i64::try_from(time.as_nanosecond() - at.as_nanosecond()).ok();
    match time(text) {
        Some(time) if time.subsec_nanosecond() == 0 => {
            bytes.push(TIME);
            push_number(zigzag(time.as_second() - at.as_second()), bytes);
        }
        Some(time) if exact(time).is_some() => {
            bytes.push(EXACT_TIME);
            push_number(zigzag(exact(time).unwrap_or_default()), bytes);
        }
        _ => {
            bytes.push(TEXT);
            push_text(text, bytes);
        }
    }
}

/// Whole numbers as such; what is too large for that, as a float.
fn pack_number(number: &Number, bytes: &mut Vec<u8>) {
    if let Some(integer) = number.as_i64() {
        bytes.push(INTEGER);
        push_number(zigzag(integer), bytes);
    } else {
        bytes.push(FLOAT);
        bytes.extend(number.as_f64().unwrap_or_default().to_le_bytes());
    }
}

/// The time that a text is, where it is exactly as times are written.
fn time(text: &str) -> Option<Timestamp> {
    if !text.ends_with('Z') {
        return None;
    }
    let time: Timestamp = text.parse().ok()?;
    (time.to_string() == text).then_some(time)
}

fn push_text(text: &str, bytes: &mut Vec<u8>) {
    push_number(text.len() as u64, bytes);
    bytes.extend(text.as_bytes());
}

/// LEB128.
#[expect(clippy::cast_possible_truncation, reason = "seven bits fit")]
fn push_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    number.wrapping_shl(1).cast_unsigned() ^ (number >> 63).cast_unsigned()
}

fn from_zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads what may be any bytes.
struct Reader<'a> {
    rest: &'a [u8],
    at: Timestamp,
}

impl<'a> Reader<'a> {
    fn map(&mut self, depth: usize) -> Option<Evidence> {
        let mut map = Map::new();
        for _ in 0..self.number()? {
            let name = match self.byte()?.checked_sub(FIRST_NAME) {
                Some(known) => (*NAMES.get(usize::from(known))?).to_owned(),
                None => self.text()?,
            };
            map.insert(name, self.value(depth + 1)?);
        }
        Some(map)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        Some(match self.byte()? {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INTEGER => from_zigzag(self.number()?).into(),
            FLOAT => f64::from_le_bytes(self.take(8)?.try_into().ok()?).into(),
            TEXT => Value::String(self.text()?),
            TIME => {
                let seconds = self.at.as_second().checked_add(from_zigzag(self.number()?))?;
                Value::String(Timestamp::from_second(seconds).ok()?.to_string())
            }
            EXACT_TIME => {
                let distance = i128::from(from_zigzag(self.number()?));
                let time = Timestamp::from_nanosecond(self.at.as_nanosecond() + distance);
                Value::String(time.ok()?.to_string())
            }
            LIST => {
                let length = self.number()?;
                Value::Array((0..length).map(|_| self.value(depth + 1)).collect::<Option<_>>()?)
            }
            MAP => Value::Object(self.map(depth)?),
            _ => return None,
        })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at() -> Timestamp {
        "2026-11-21T17:34:20.123Z".parse().expect("a time")
    }

    fn object(value: Value) -> Evidence {
        let Value::Object(map) = value else { panic!("no object: {value}") };
        map
    }

    #[test]
    fn what_events_usually_say_takes_few_bytes() {
        let vanished = json!({ "last_seen": { "10.0.0.53": "2026-11-21T17:33:20Z" }, "priority": 0, "weight": 100 });
        let evidence = object(vanished);
        let packed = pack(&evidence, at()).expect("some");
        assert_eq!(unpack(&packed, at()), Some(evidence));
        assert!(packed.len() <= 25, "{}", packed.len());
        assert_eq!(pack(&Evidence::new(), at()), None);
    }

    #[test]
    fn a_time_is_kept_as_written() {
        for text in [
            "2026-11-21T17:33:20Z",
            "2026-11-21T17:33:20.5Z",
            "2026-11-21T17:33:20+00:00",
            "2026-11-21 17:33:20Z",
            "-009999-01-02T01:59:59Z",
        ] {
            let evidence = object(json!({ "at": text }));
            let packed = pack(&evidence, at()).expect("some");
            assert_eq!(unpack(&packed, at()), Some(evidence), "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-z_]{0,8}|was|weight", inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn evidence_survives(values in prop::collection::vec(("was|[a-z]{1,5}", value()), 0..4), seconds in -1_000_000_000_i64..4_000_000_000) {
            let at = Timestamp::from_second(seconds).expect("in range");
            let evidence: Evidence = values.into_iter().collect();
            let back = pack(&evidence, at).map_or(Some(Evidence::new()), |packed| unpack(&packed, at));
            prop_assert_eq!(back, Some(evidence));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = unpack(&bytes, at());
        }
    }
}
