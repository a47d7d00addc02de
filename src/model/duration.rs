//! How durations are written: whole numbers with units.

use std::fmt::Write;
use std::time::Duration;

/// Reads a duration such as `500ms`, `2s` or `1h30m`: whole numbers with units, the greater unit first,
/// each once; `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (count, unit, tail) = number_and_unit(rest)?;
        let (_, milliseconds) = units.find(|(known, _)| *known == unit)?;
        total = total.checked_add(count.checked_mul(*milliseconds)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

/// The shortest text that [`parse`] reads as this duration; what is below a millisecond is cut off.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        let count = rest / u128::from(milliseconds);
        rest %= u128::from(milliseconds);
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The units and their milliseconds, greatest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The number in front, its unit, and what follows.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(end);
    Some((number.parse().ok()?, unit, tail))
}
