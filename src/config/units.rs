//! Durations carry a unit; numbers have ranges.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::refusal::{Refusal, shown};

/// Reads a duration such as `500ms`, `2s` or `1h30m`: whole numbers with units, the greater unit
/// first, each once.
///
/// # Errors
/// A sentence that tells what is wrong and what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Ok(duration(text)?)
}

/// The shortest text that [`parse_duration`] reads as this duration; what is below a millisecond is
/// cut off.
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

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    if let Ok(number) = text.trim().parse::<u64>() {
        return Err(without_unit(number));
    }
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() || total == 0 && text.is_empty() {
        let (count, unit, tail) = number_and_unit(rest).ok_or_else(|| no_duration(text))?;
        let (_, milliseconds) =
            units.find(|(known, _)| *known == unit).ok_or_else(|| no_duration(text))?;
        total = count
            .checked_mul(*milliseconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| no_duration(text))?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// What is said of a bare number.
pub(super) fn without_unit(number: impl std::fmt::Display) -> Refusal {
    Refusal::new(format!("{number} has no unit"), format!("write \"{number}s\""))
}

/// The duration, where it lies in the range.
pub(super) fn within(
    duration: Duration,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, Refusal> {
    if range.contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [range.start(), range.end()].map(|end| format_duration(*end));
    Err(Refusal::new(
        format!("{} is out of range", format_duration(duration)),
        format!("write a duration from \"{least}\" to \"{most}\""),
    ))
}

fn no_duration(text: &str) -> Refusal {
    Refusal::new(
        format!("{} is no duration", shown(text)),
        "write whole numbers with d, h, m, s or ms, such as \"500ms\", \"30s\" or \"1h30m\"",
    )
}

/// The number in front, its unit, and what follows.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(end);
    Some((number.parse().ok()?, unit, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_carry_a_unit() {
        let read = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("7d"), Ok(604_800_000));
        assert_eq!(read("0s"), Ok(0));
        assert_eq!(read("30"), Err("30 has no unit; write \"30s\"".to_owned()));
        let advice =
            "write whole numbers with d, h, m, s or ms, such as \"500ms\", \"30s\" or \"1h30m\"";
        for wrong in
            ["", "s", "1M", "30m1h", "1s1s", "1.5s", "-1s", "1 s", "99999999999999d", "1sek"]
        {
            assert_eq!(read(wrong), Err(format!("{wrong:?} is no duration; {advice}")));
        }
    }

    proptest! {
        #[test]
        fn a_formatted_duration_reads_back(milliseconds in 0_u64..u64::MAX / 2) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9dhms]{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
