//! How people write a moment: as a time, a day, or how far it is from now.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::duration;

/// A moment as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// `7d`: so far from now.
    Away(Duration),
    /// `2026-12-01T08:00:00+01:00`.
    At(Timestamp),
    /// `2026-12-01`: that whole day (UTC).
    Day(Date),
}

/// What is no moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no time; write one such as \"7d\", \"2026-12-01\" (UTC) or \"2026-12-01T08:00:00+01:00\""
)]
pub struct MomentError(String);

impl Moment {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, MomentError> {
        let text = text.trim();
        let away = || duration::parse(text).map(Self::Away);
        let at = || text.parse().ok().map(Self::At);
        let is_day = text.len() == "2026-12-01".len();
        let day = || text.parse().ok().filter(|_| is_day).map(Self::Day);
        let refused = || MomentError(text.chars().take(MOST_SHOWN).collect());
        away().or_else(at).or_else(day).ok_or_else(refused)
    }

    /// The end of something that begins now. A day counts.
    pub fn until(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(duration) => now.saturating_add(signed(duration)).unwrap_or(Timestamp::MAX),
            Self::At(at) => at,
            Self::Day(day) => day.tomorrow().ok().and_then(begin_of).unwrap_or(Timestamp::MAX),
        }
    }

    /// The begin of something that ends now. A day counts.
    pub fn since(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(duration) => now.saturating_sub(signed(duration)).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
            Self::Day(day) => begin_of(day).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Nobody reads more of what is wrong.
const MOST_SHOWN: usize = 80;

fn begin_of(day: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_moment_is_a_time_a_day_or_a_distance() {
        let now = time("2026-11-30T12:00:00Z");
        let of = |text| {
            let moment = Moment::parse(text).expect(text);
            [moment.since(now), moment.until(now)]
        };
        let [week, ahead] = ["2026-11-23T12:00:00Z", "2026-12-07T12:00:00Z"].map(time);
        assert_eq!(of("7d"), [week, ahead]);
        assert_eq!(of(" 2026-12-01T08:00:00+01:00"), [time("2026-12-01T07:00:00Z"); 2]);
        let day = ["2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"].map(time);
        assert_eq!(of("2026-12-01"), day);
        assert_eq!(of("18446744073709551615ms"), [Timestamp::MIN, Timestamp::MAX]);
        assert_eq!(of("9999-12-31")[1], Timestamp::MAX);
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_to_write() {
        for wrong in ["", "7", "tomorrow", "2026-12-01T08:00:00", "2026-13-01", "-7d", "20261201"] {
            let told = Moment::parse(wrong).expect_err(wrong).to_string();
            let start = format!("{wrong:?} is no time; write one such as \"7d\"");
            assert!(told.starts_with(&start), "{told}");
        }
        assert!(Moment::parse(&"x".repeat(9999)).expect_err("x").to_string().len() < 250);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9dhmsTZ:+-]{0,30}", at in any::<i32>()) {
            let now = Timestamp::from_second(i64::from(at)).expect("within range");
            if let Ok(moment) = Moment::parse(&text) {
                prop_assert!(moment.since(now) <= moment.until(now));
            }
        }
    }
}
