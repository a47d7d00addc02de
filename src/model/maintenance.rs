//! Known work: of what, and when.

use std::fmt;
use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::{Host, Name};

/// Known work, during which nobody needs to be told of what it leads to.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// The globs of domains as written.
    pub patterns: Vec<String>,
    /// The globs, compiled; they cover a finding only if all domains that it hits match.
    pub domains: globset::GlobSet,
    /// The hosts that are worked on.
    pub hosts: Vec<WorkedOn>,
    /// The names of the resolvers whose servers are worked on.
    pub resolvers: Vec<Arc<str>>,
    /// When.
    pub window: Window,
    /// Why.
    pub reason: Option<String>,
}

/// A host that is worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkedOn {
    /// Its name.
    pub target: Name,
    /// `None`: whatever listens there.
    pub port: Option<u16>,
}

impl WorkedOn {
    /// Whether this host is meant.
    pub fn is(&self, host: &Host) -> bool {
        self.target == host.target && self.port.is_none_or(|port| port == host.port)
    }
}

/// `kms.contoso.com`, `kms.contoso.com:1688`.
impl fmt::Display for WorkedOn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}:{port}", self.target),
            None => write!(formatter, "{}", self.target),
        }
    }
}

/// When work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// From the first moment, up to the second.
    Once(Timestamp, Timestamp),
    /// Each week.
    Weekly(Weekly),
}

/// A time of each week by the clocks of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekly {
    /// The day on which it begins.
    pub day: Weekday,
    /// When it begins.
    pub from: Time,
    /// When it ends: on the same day if that is later, else on the next.
    pub until: Time,
    /// Whose clocks.
    pub zone: TimeZone,
}

/// How a window looks at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When it closes, where it is open.
    pub closes: Option<Timestamp>,
    /// The last moment at which it looks the same.
    pub expires: Timestamp,
}

impl Window {
    /// How it looks now.
    pub fn look(&self, now: Timestamp) -> Look {
        match self {
            Self::Once(from, until) => look([(*from, *until)].into_iter(), now),
            Self::Weekly(weekly) => look(weekly.around(now), now),
        }
    }
}

impl Weekly {
    /// The windows that may be open at a moment, and the next.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(now).date();
        let days_ahead = today.weekday().until(self.day);
        // The last may have begun a week ago and a day, where a clock was turned.
        [-14, -7, 0, 7].into_iter().filter_map(move |weeks| {
            let day = today.checked_add(Span::new().days(i64::from(days_ahead) + weeks)).ok()?;
            self.on(day)
        })
    }

    /// The window that begins on a day. Where clocks are turned it is open for whatever may be meant: a
    /// time that is skipped or comes twice begins at its earlier reading, and ends at its later one.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let last = if self.until > self.from { day } else { day.tomorrow().ok()? };
        let at = |day: Date, time| self.zone.to_ambiguous_timestamp(day.to_datetime(time));
        Some((at(day, self.from).earlier().ok()?, at(last, self.until).later().ok()?))
    }
}

/// `Sat 02:00-06:00 Europe/Berlin`.
impl fmt::Display for Weekly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = WEEKDAYS.iter().find(|(_, day)| *day == self.day).map_or("", |(name, _)| name);
        let hour = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
        let zone = self.zone.iana_name().unwrap_or("UTC");
        let until = if self.until == Time::midnight() { "24:00".into() } else { hour(self.until) };
        write!(formatter, "{day} {}-{until} {zone}", hour(self.from))
    }
}

/// As they are written.
pub const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

fn look(windows: impl Iterator<Item = (Timestamp, Timestamp)>, now: Timestamp) -> Look {
    let mut look = Look { closes: None, expires: Timestamp::MAX };
    for (from, until) in windows {
        if from <= now && now < until {
            look.closes = look.closes.max(Some(until));
        }
        for turn in [from, until].into_iter().filter(|turn| *turn > now) {
            look.expires = look.expires.min(before(turn));
        }
    }
    look
}

/// The last moment before another.
pub fn before(moment: Timestamp) -> Timestamp {
    moment.checked_sub(Span::new().nanoseconds(1)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn weekly(day: Weekday, from: (i8, i8), until: (i8, i8)) -> Window {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let [from, until] = [from, until].map(|(hour, minute)| Time::constant(hour, minute, 0, 0));
        Window::Weekly(Weekly { day, from, until, zone })
    }

    /// When it opens and closes next after a moment, by asking again and again.
    fn next(window: &Window, after: &str) -> (String, String) {
        let mut now = time(after);
        let mut turn = |is_open: bool| loop {
            now = window.look(now).expires + Span::new().nanoseconds(1);
            if window.look(now).closes.is_some() == is_open {
                return now.to_string();
            }
        };
        (turn(true), turn(false))
    }

    fn pair(from: &str, until: &str) -> (String, String) {
        (from.to_owned(), until.to_owned())
    }

    #[test]
    fn a_window_is_open_from_its_first_moment_to_before_its_last() {
        let [from, until] = ["2026-12-01T20:00:00Z", "2026-12-02T04:00:00Z"].map(time);
        let window = Window::Once(from, until);
        let look = |now| window.look(now);
        let earlier = before(from);
        assert_eq!(look(earlier), Look { closes: None, expires: earlier });
        assert_eq!(look(from), Look { closes: Some(until), expires: before(until) });
        assert_eq!(look(before(until)).closes, Some(until));
        assert_eq!(look(until), Look { closes: None, expires: Timestamp::MAX });
    }

    #[test]
    fn each_week_by_the_clocks_of_the_place() {
        let window = weekly(Weekday::Saturday, (2, 0), (6, 0));
        // Winter, then summer.
        assert_eq!(
            next(&window, "2026-11-21T12:00:00Z"),
            pair("2026-11-28T01:00:00Z", "2026-11-28T05:00:00Z")
        );
        assert_eq!(
            next(&window, "2026-06-30T12:00:00Z"),
            pair("2026-07-04T00:00:00Z", "2026-07-04T04:00:00Z")
        );
    }

    #[test]
    fn over_midnight_it_ends_on_the_next_day() {
        let window = weekly(Weekday::Saturday, (22, 0), (2, 0));
        assert_eq!(
            next(&window, "2026-11-21T20:59:59Z"),
            pair("2026-11-21T21:00:00Z", "2026-11-22T01:00:00Z")
        );
        let sunday = time("2026-11-22T00:30:00Z");
        assert_eq!(window.look(sunday).closes, Some(time("2026-11-22T01:00:00Z")));
    }

    #[test]
    fn where_clocks_are_turned_it_is_open_for_whatever_may_be_meant() {
        // 02:00 to 03:00 is skipped on 2026-03-29, and comes twice on 2026-10-25.
        let whole = weekly(Weekday::Sunday, (1, 0), (4, 0));
        assert_eq!(
            next(&whole, "2026-03-28T12:00:00Z"),
            pair("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z")
        );
        assert_eq!(
            next(&whole, "2026-10-24T12:00:00Z"),
            pair("2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z")
        );
        let within = weekly(Weekday::Sunday, (2, 15), (2, 45));
        assert_eq!(
            next(&within, "2026-03-28T12:00:00Z"),
            pair("2026-03-29T00:15:00Z", "2026-03-29T01:45:00Z")
        );
        assert_eq!(
            next(&within, "2026-10-24T12:00:00Z"),
            pair("2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z")
        );
    }

    proptest! {
        /// What expires tells is right at every moment up to it, and wrong or about to be after it.
        #[test]
        fn until_it_expires_it_looks_the_same(
            day in 0_usize..7,
            from in (0_i8..24, 0_i8..60),
            until in (0_i8..24, 0_i8..60),
            at in 1_750_000_000_i64..1_850_000_000,
            later in 0_i64..900_000,
        ) {
            let window = weekly(WEEKDAYS[day].1, from, until);
            let now = Timestamp::from_second(at).expect("in range");
            let look = window.look(now);
            prop_assert!(look.expires >= now && look.closes.is_none_or(|closes| closes > now));
            let then = Timestamp::from_second(at + later).expect("in range");
            if then <= look.expires {
                prop_assert_eq!(window.look(then), look);
            }
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let window = weekly(Weekday::Monday, (23, 0), (1, 0));
        for now in [Timestamp::MIN, Timestamp::MAX] {
            assert!(window.look(now).expires >= now);
        }
    }
}
