//! Durations carry a unit; numbers have ranges.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::refusal::{Refusal, shown};
pub use crate::model::duration::format_duration;

/// Reads a duration such as `500ms`, `2s` or `1h30m`: whole numbers with units, the greater unit
/// first, each once.
///
/// # Errors
/// A sentence that tells what is wrong and what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Ok(duration(text)?)
}

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    if let Ok(number) = text.trim().parse::<u64>() {
        return Err(without_unit(number));
    }
    crate::model::duration::parse(text).ok_or_else(|| no_duration(text))
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
