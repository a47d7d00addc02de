//! How long to wait for an answer, and how many questions to have under way at once.

use std::time::Duration;

use tokio::time::Instant;

/// The retransmission timeout of one server, from measured round trips (RFC 6298).
#[derive(Debug, Default)]
pub struct RoundTrips {
    smoothed: Option<Duration>,
    variation: Duration,
}

/// RFC 6298 says one second; measured, 100 ms recovers a lost datagram sooner and costs nothing.
const RTO_FLOOR: Duration = Duration::from_millis(100);
/// Before anything is measured (RFC 6298 section 2.1).
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// What has been overtaken is looked at no sooner than this: a few milliseconds are the scheduler's.
const OVERTAKEN_FLOOR: Duration = Duration::from_millis(4);

impl RoundTrips {
    /// A transmission was answered after this time. Every transmission has its own id, so none is
    /// ambiguous (Karn's problem does not arise).
    pub fn measured(&mut self, rtt: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(rtt);
            self.variation = rtt / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
        self.smoothed = Some((smoothed * 7 + rtt) / 8);
    }

    /// Whether anything was measured yet.
    pub fn is_known(&self) -> bool {
        self.smoothed.is_some()
    }

    /// After how long a question that others overtook is held for lost: not yet sent again, which a
    /// server that is slow for some names would make a habit of, but no longer counted as under way
    /// (RFC 8985 tells segments lost by the same sign).
    pub fn overtaken(&self) -> Duration {
        match self.smoothed {
            Some(smoothed) => (smoothed + self.variation * 4).max(OVERTAKEN_FLOOR),
            None => RTO_INITIAL,
        }
    }

    /// When to send again after `sent` transmissions; never later than the timeout of an attempt.
    pub fn timeout(&self, sent: u32, attempt: Duration) -> Duration {
        let base = match self.smoothed {
            Some(smoothed) => (smoothed + self.variation * 4).max(RTO_FLOOR),
            None => RTO_INITIAL,
        };
        base.saturating_mul(1 << sent.saturating_sub(1).min(16)).min(attempt)
    }
}

/// How many questions may be under way at once. Too few waste time, too many overrun the buffers of
/// server or kernel, and each datagram lost that way costs a retransmission timeout.
#[derive(Debug)]
pub struct Window {
    size: usize,
    /// The shortest round trip since `base_since`: one without queueing.
    base: Option<Duration>,
    base_since: Option<Instant>,
    /// The shortest of this epoch.
    shortest: Option<Duration>,
    samples: Vec<Duration>,
    answered: usize,
    lost: usize,
    was_full: bool,
    /// Nothing was queued or lost so far: one more for each answer, which doubles the window in a
    /// round trip (slow start, RFC 5681 section 3.1), so that a long path is full after a few.
    is_starting: bool,
    /// A whole epoch brought no answer, and none came since.
    is_silent: bool,
    /// When the last silence ended: what was lost in it says nothing about the window.
    heard_again: Option<Instant>,
}

const SMALLEST: usize = 16;
const START: usize = 64;
/// What 100,000 questions a second over 20 ms take; the receive buffers of both sockets hold as many answers.
const LARGEST: usize = 2048;
/// Silence is no congestion: a server that answers nothing is asked as fast as the rate allows.
const SILENT: usize = 4096;
/// Questions are judged in groups of this many; also the samples kept.
const EPOCH: usize = 64;
/// So many questions may wait in the buffers of server and kernel. Linux's default buffer holds some
/// 166 small datagrams (212,992 octets, 1,280 for each), and what finds no room costs 100 ms; with none
/// waiting, a server sleeps between bursts.
const QUEUE: usize = 128;
/// A route may change; a base that was measured longer ago is measured anew.
const BASE_AGE: Duration = Duration::from_secs(30);

impl Default for Window {
    fn default() -> Self {
        Self {
            size: START,
            base: None,
            base_since: None,
            shortest: None,
            samples: Vec::with_capacity(EPOCH),
            answered: 0,
            lost: 0,
            was_full: false,
            is_starting: true,
            is_silent: false,
            heard_again: None,
        }
    }
}

impl Window {
    /// Whether another question may go out while `under_way` are out; a window that says no counts
    /// as full.
    pub fn has_room(&mut self, under_way: usize) -> bool {
        if self.is_silent {
            return under_way < SILENT;
        }
        let size = self.room();
        self.was_full |= under_way >= size;
        under_way < size
    }

    /// Whether nothing is answered: then what is sent again need not wait for room, since nothing
    /// would make any.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    fn room(&self) -> usize {
        let more = if self.is_starting && self.was_full { self.answered } else { 0 };
        (self.size + more).min(LARGEST)
    }

    /// A question was answered.
    pub fn answered(&mut self, rtt: Duration, now: Instant) {
        if std::mem::take(&mut self.is_silent) {
            self.heard_again = Some(now);
            self.begin();
        }
        self.answered += 1;
        self.shortest = Some(self.shortest.map_or(rtt, |shortest| shortest.min(rtt)));
        // From all of the epoch: the first answers of a burst have waited the least.
        if self.answered.is_multiple_of((self.size / EPOCH).max(1)) {
            self.samples.push(rtt);
        }
        self.judge(now);
    }

    /// A question that was sent at `sent` stayed silent for longer than its retransmission timeout.
    pub fn lost(&mut self, sent: Instant, now: Instant) {
        if self.heard_again.is_some_and(|heard| sent < heard) {
            return;
        }
        self.lost += 1;
        self.judge(now);
    }

    fn judge(&mut self, now: Instant) {
        if self.answered + self.lost < EPOCH.max(self.size) {
            return;
        }
        self.is_silent = self.answered == 0;
        let lossy = !self.is_silent && self.lost * 100 > (self.answered + self.lost) * 6;
        if lossy {
            self.is_starting = false;
            self.size = (self.size / 2).max(SMALLEST);
        } else if let Some(median) = median(&mut self.samples) {
            self.follow(median, now);
        }
        self.begin();
    }

    /// Another epoch.
    fn begin(&mut self) {
        self.samples.clear();
        self.shortest = None;
        (self.answered, self.lost, self.was_full) = (0, 0, false);
    }

    fn follow(&mut self, median: Duration, now: Instant) {
        let shortest = self.shortest.unwrap_or(median);
        let fresh = self.base_since.is_some_and(|since| now < since + BASE_AGE);
        let base = self.base.filter(|base| fresh && *base <= shortest).unwrap_or(shortest);
        if !fresh || self.base != Some(base) {
            (self.base, self.base_since) = (Some(base), Some(now));
        }
        let (queued, most) = (queued(self.size, base, median), most_queued(self.size));
        let (room, was_starting) = (self.room(), self.is_starting);
        // The next doubling would queue all of what it adds.
        self.is_starting &= queued < self.size / 2;
        if queued > 2 * most {
            self.size = (self.size * 3 / 4).max(SMALLEST);
        } else if self.was_full && queued < most {
            let more = (self.size / 2).min(most - queued);
            let doubles = was_starting && self.is_starting;
            self.size = if doubles { room } else { (self.size + more).min(LARGEST) };
        }
    }
}

/// How many may wait: on a long path a share, since its round trips vary by more than [`QUEUE`] take.
fn most_queued(size: usize) -> usize {
    QUEUE.max(size / 8)
}

/// How many of the questions under way wait somewhere: a round trip is longer than the base by the
/// time that they take.
fn queued(size: usize, base: Duration, median: Duration) -> usize {
    let waiting = (size as u128) * median.saturating_sub(base).as_nanos();
    usize::try_from(waiting / median.as_nanos().max(1)).unwrap_or(usize::MAX)
}

fn median(samples: &mut [Duration]) -> Option<Duration> {
    if samples.is_empty() {
        return None;
    }
    let middle = samples.len() / 2;
    Some(*samples.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Answers `count` questions while the window is full.
    fn answer(window: &mut Window, count: usize, rtt: Duration, now: Instant) {
        for _ in 0..count {
            let room = window.room();
            assert!(!window.has_room(room));
            window.answered(rtt, now);
        }
    }

    #[test]
    fn the_timeout_starts_at_a_second_follows_the_round_trips_and_doubles() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.timeout(1, ms(2_000)), ms(1_000));
        assert_eq!(trips.timeout(1, ms(300)), ms(300));
        trips.measured(ms(100));
        assert_eq!(trips.timeout(1, ms(2_000)), ms(300));
        assert_eq!(trips.timeout(2, ms(2_000)), ms(600));
        assert_eq!(trips.timeout(9, ms(2_000)), ms(2_000));
        (0..100).for_each(|_| trips.measured(ms(1)));
        assert_eq!(trips.timeout(1, ms(2_000)), RTO_FLOOR);
    }

    #[test]
    fn the_window_grows_only_while_it_is_full_and_little_is_queued() {
        let (mut window, now) = (Window::default(), Instant::now());
        (0..EPOCH).for_each(|_| window.answered(ms(10), now));
        assert_eq!(window.size, START, "it was never full");
        let mut sizes = Vec::new();
        for _ in 0..5 {
            let size = window.size;
            answer(&mut window, size, ms(10), now);
            sizes.push(window.size);
        }
        assert_eq!(sizes, [128, 256, 512, 1024, 2048], "a long and wide path");
        answer(&mut window, 2048, ms(12), now);
        assert_eq!(window.size, 2048, "341 are queued");
        answer(&mut window, 2048, ms(14), now);
        assert_eq!(window.size, 1536, "585 are queued");
    }

    #[test]
    fn a_server_that_works_them_off_one_by_one_gets_no_more_than_its_buffer_holds() {
        let (mut window, now) = (Window::default(), Instant::now());
        // The first burst finds it idle; from then on each question waits for all that are before it.
        for waiting in 1..=64 {
            window.has_room(START);
            window.answered(ms(waiting), now);
        }
        assert_eq!(window.size, 96, "half of them were queued: it doubles no more");
        for _ in 0..20 {
            let size = window.size;
            answer(&mut window, size, ms(1) * u32::try_from(size).expect("small"), now);
        }
        assert_eq!(window.size, QUEUE + 1);
    }

    #[test]
    fn the_window_halves_on_more_than_six_percent_of_loss() {
        let (mut window, now) = (Window::default(), Instant::now());
        (0..3).for_each(|_| window.lost(now, now));
        answer(&mut window, 61, ms(1), now);
        assert_eq!(window.size, 125, "3 of 64 is no loss to speak of");
        (0..9).for_each(|_| window.lost(now, now));
        answer(&mut window, 116, ms(1), now);
        assert_eq!(window.size, 62);
        for _ in 0..20 {
            window.answered(ms(1), now);
            (0..63).for_each(|_| window.lost(now, now));
        }
        assert_eq!(window.size, SMALLEST);
    }

    #[test]
    fn silence_is_no_loss_and_ends_with_the_first_answer() {
        let (mut window, now) = (Window::default(), Instant::now());
        (0..EPOCH).for_each(|_| window.lost(now, now));
        assert_eq!(window.size, START);
        assert!(window.has_room(SILENT - 1) && !window.has_room(SILENT));
        (0..EPOCH * 20).for_each(|_| window.lost(now, now));
        let heard = now + ms(500);
        window.answered(ms(1), heard);
        assert!(window.has_room(START - 1) && !window.has_room(START));
        (0..EPOCH * 20).for_each(|_| window.lost(now, heard + ms(1)));
        assert_eq!(window.size, START, "they were lost in the silence");
        (0..EPOCH).for_each(|_| window.lost(heard, heard + ms(1)));
        assert_eq!(window.size, START / 2);
    }

    #[test]
    fn a_base_of_another_route_is_forgotten() {
        let (mut window, now) = (Window::default(), Instant::now());
        while window.size < 592 {
            let size = window.size;
            answer(&mut window, size, ms(1), now);
        }
        answer(&mut window, 1024, ms(50), now);
        assert_eq!(window.size, 768);
        answer(&mut window, 768, ms(50), now + BASE_AGE);
        assert_eq!(window.size, 896);
    }
}
