//! Something that is made once a snapshot.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::model::Snapshot;

/// Keeps what was made of the latest snapshot; that of an older one is dropped with it. It keeps no
/// snapshot alive.
#[derive(Debug)]
pub struct PerSnapshot<T> {
    latest: Mutex<Option<(Weak<Snapshot>, Arc<T>)>>,
}

impl<T> Default for PerSnapshot<T> {
    fn default() -> Self {
        Self { latest: Mutex::new(None) }
    }
}

impl<T: Default> PerSnapshot<T> {
    /// What belongs to this snapshot, new if it was not asked for before.
    ///
    /// Snapshots are told apart by their place in memory, which the weak reference holds; a
    /// generation number may return after a restart of the audit.
    pub fn of(&self, snapshot: &Arc<Snapshot>) -> Arc<T> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((of, made)) if std::ptr::eq(of.as_ptr(), Arc::as_ptr(snapshot)) => made.clone(),
            _ => {
                let made = Arc::new(T::default());
                *latest = Some((Arc::downgrade(snapshot), made.clone()));
                made
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::report::fixture;

    #[test]
    fn it_is_made_once_a_snapshot() {
        let cache: PerSnapshot<OnceLock<u32>> = PerSnapshot::default();
        let [one, other] = [(); 2].map(|()| Arc::new(fixture::healthy()));
        assert_eq!(*cache.of(&one).get_or_init(|| 1), 1);
        assert_eq!(*cache.of(&one).get_or_init(|| 2), 1);
        assert_eq!(*cache.of(&other).get_or_init(|| 3), 3, "an equal snapshot is another one");
        assert_eq!(Arc::strong_count(&one), 1);
    }
}
