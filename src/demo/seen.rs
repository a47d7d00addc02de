//! What the lab's servers saw, for tests to count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Enough for a first pass over 10,000 domains (10,000 SRV and 20,000 address lookups) twice.
const CAPACITY: usize = 65_536;

/// A bounded log: the total is exact, of the entries the newest are kept.
#[derive(Debug)]
pub(super) struct Seen<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    total: u64,
    newest: VecDeque<T>,
}

impl<T: Clone> Seen<T> {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::new(Inner { total: 0, newest: VecDeque::new() }) }
    }

    pub(super) fn push(&self, entry: T) {
        let mut inner = lock(&self.inner);
        inner.total += 1;
        if inner.newest.len() == CAPACITY {
            inner.newest.pop_front();
        }
        inner.newest.push_back(entry);
    }

    pub(super) fn total(&self) -> u64 {
        lock(&self.inner).total
    }

    pub(super) fn newest(&self) -> Vec<T> {
        lock(&self.inner).newest.iter().cloned().collect()
    }
}

/// What a panicking holder left is still whole: every change here is one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_exact_and_the_entries_are_bounded() {
        let seen = Seen::new();
        (0..=CAPACITY).for_each(|entry| seen.push(entry));
        assert_eq!(seen.total(), 65_537);
        let newest = seen.newest();
        assert_eq!(
            (newest.len(), newest.first(), newest.last()),
            (65_536, Some(&1), Some(&65_536))
        );
    }
}
