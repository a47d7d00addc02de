//! The one place that reads the machine's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall-clock time that never jumps: the time of day at the start plus what tokio's clock counted
/// since, in whole milliseconds: what is kept of it over a restart. A step of the machine's clock makes no observation old or young, and tests can pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), started: Instant::now() }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The time of day that an instant of tokio's clock had; the start for earlier ones.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.started);
        let at = self.wall.saturating_add(signed(elapsed)).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
