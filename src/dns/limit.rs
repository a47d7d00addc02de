//! Never faster than configured: one token bucket per server address, shared by all that ask it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The limiter of every server address. It outlives transports, paths and reloads, so that none of
/// them starts a second allowance.
#[derive(Debug, Default)]
pub struct Limiters {
    servers: HashMap<SocketAddr, Arc<Limiter>>,
}

impl Limiters {
    /// The limiter of this server, made full where it is new.
    pub fn of(&mut self, server: SocketAddr) -> Arc<Limiter> {
        self.servers.entry(server).or_default().clone()
    }

    /// Forgets limiters that nobody holds and that are full again.
    pub fn prune(&mut self, now: Instant) {
        self.servers.retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.is_full(now));
    }
}

/// A token bucket that keeps every one-second window, as the peer sees it, at or below the rate.
///
/// The burst is 1 + rate/100 and the refill 0.98 × rate, so a second holds at most 1 + 0.99 × rate
/// queries; the rest is room for datagrams that the network pushes together by some milliseconds.
#[derive(Debug, Default)]
pub struct Limiter {
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    rate: u32,
}

impl Limiter {
    /// Takes the right to send one query.
    ///
    /// # Errors
    /// The instant at which to ask again.
    pub fn take(&self, rate: u32, now: Instant) -> Result<(), Instant> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.get_or_insert(Bucket { tokens: burst(rate), filled: now, rate });
        bucket.fill(rate, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let missing = 1.0 - bucket.tokens;
        Err(now + Duration::from_secs_f64(missing / refill(rate)) + Duration::from_micros(1))
    }

    fn is_full(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.as_mut().is_none_or(|bucket| {
            bucket.fill(bucket.rate, now);
            bucket.tokens >= burst(bucket.rate)
        })
    }
}

impl Bucket {
    fn fill(&mut self, rate: u32, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * refill(rate)).min(burst(rate));
        self.filled = self.filled.max(now);
        self.rate = rate;
    }
}

fn burst(rate: u32) -> f64 {
    f64::from(1 + rate / 100)
}

fn refill(rate: u32) -> f64 {
    0.98 * f64::from(rate.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes whatever is to be had for three seconds, in steps of `step`.
    fn greedy(rate: u32, step: Duration, start: Instant) -> Vec<Instant> {
        let limiter = Limiter::default();
        let mut sent = Vec::new();
        let mut now = start;
        while now < start + Duration::from_secs(3) {
            while limiter.take(rate, now).is_ok() {
                sent.push(now);
            }
            now += step;
        }
        sent
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_second_holds_more_than_the_rate(rate in 1_u32..2_000, step in 100_u64..50_000) {
            let sent = greedy(rate, Duration::from_micros(step), Instant::now());
            for window in sent.windows(rate as usize + 1) {
                prop_assert!(window[rate as usize] - window[0] > Duration::from_secs(1));
            }
        }
    }

    #[test]
    fn most_of_the_rate_can_be_used() {
        let sent = greedy(500, Duration::from_millis(1), Instant::now());
        assert!(sent.len() >= 3 * 485, "{}", sent.len());
    }

    #[test]
    fn the_instant_to_ask_again_is_late_enough_and_not_too_late() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.take(10, now), Ok(()));
        let again = limiter.take(10, now).expect_err("the burst is one");
        assert!(again > now && again < now + Duration::from_millis(110));
        assert_eq!(limiter.take(10, again), Ok(()));
    }

    #[test]
    fn an_empty_bucket_survives_its_users() {
        let (mut limiters, now) = (Limiters::default(), Instant::now());
        let address = SocketAddr::from(([127, 0, 0, 1], 53));
        assert_eq!(limiters.of(address).take(1, now), Ok(()));
        limiters.prune(now);
        assert!(limiters.of(address).take(1, now).is_err());
        limiters.prune(now + Duration::from_secs(2));
        assert!(limiters.servers.is_empty());
    }
}
