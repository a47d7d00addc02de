//! PURE. What one receiver still has to be told. There is no queue: the latest state of each alert
//! waits here, however long the receiver is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::notice::{Alert, Fingerprint};

/// When what was told is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// What fires, after so long.
    pub repeat: Duration,
    /// Whether what is resolved is repeated too, as long as it is on the board, and may be forgotten after
    /// that, told or not; else it waits until it was told once.
    pub repeats_resolved: bool,
}

#[derive(Debug)]
pub(super) struct Outbox {
    rhythm: Rhythm,
    letters: HashMap<Fingerprint, Letter>,
}

#[derive(Debug)]
struct Letter {
    alert: Arc<Alert>,
    told: Option<Told>,
    /// When telling it was tried last: what failed goes last the next time, so that it keeps nothing back.
    tried: Option<Timestamp>,
    is_on_board: bool,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Timestamp,
    starts_at: Timestamp,
    was_resolved: bool,
}

/// More resolved alerts than this do not wait for a receiver that does not come back.
const MOST_WAITING: usize = 10_000;

impl Outbox {
    pub(super) fn new(rhythm: Rhythm) -> Self {
        Self { rhythm, letters: HashMap::new() }
    }

    /// Takes the board in; gives how many were given up, unheard, because there are too many.
    pub(super) fn receive(&mut self, board: &[Arc<Alert>]) -> usize {
        self.letters.values_mut().for_each(|letter| letter.is_on_board = false);
        for alert in board {
            let letter = self.letters.entry(alert.fingerprint()).or_insert_with(|| Letter {
                alert: alert.clone(),
                told: None,
                tried: None,
                is_on_board: true,
            });
            letter.alert = alert.clone();
            letter.is_on_board = true;
        }
        let repeats = self.rhythm.repeats_resolved;
        self.letters.retain(|_, letter| letter.is_on_board || !repeats && letter.is_unheard_end());
        self.give_up()
    }

    fn give_up(&mut self) -> usize {
        let waits = |letter: &&Letter| !letter.is_on_board;
        let too_many = self.letters.values().filter(waits).count().saturating_sub(MOST_WAITING);
        if too_many > 0 {
            let mut ends: Vec<_> =
                self.letters.values().filter(waits).map(|letter| letter.alert.ends_at).collect();
            ends.sort_unstable();
            let bound = ends[too_many - 1];
            self.letters.retain(|_, letter| letter.is_on_board || letter.alert.ends_at > bound);
        }
        too_many
    }

    /// What is to be told now; what was tried least lately first.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Arc<Alert>> {
        let is_due = |letter: &&Letter| letter.due(self.rhythm).is_some_and(|at| at <= now);
        let mut letters: Vec<&Letter> = self.letters.values().filter(is_due).collect();
        letters.sort_by_key(|letter| {
            (letter.tried, letter.alert.starts_at, letter.alert.fingerprint())
        });
        letters.into_iter().map(|letter| letter.alert.clone()).collect()
    }

    /// When the next is to be told.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.letters.values().filter_map(|letter| letter.due(self.rhythm)).min()
    }

    /// These will be told now, or it will be tried.
    pub(super) fn tried(&mut self, alerts: &[Arc<Alert>], now: Timestamp) {
        for alert in alerts {
            if let Some(letter) = self.letters.get_mut(&alert.fingerprint()) {
                letter.tried = Some(now);
            }
        }
    }

    /// These were told, or the receiver will not hear of them.
    pub(super) fn told(&mut self, alerts: &[Arc<Alert>], at: Timestamp) {
        for alert in alerts {
            let fingerprint = alert.fingerprint();
            if let Some(letter) = self.letters.get_mut(&fingerprint) {
                let (starts_at, was_resolved) = (alert.starts_at, alert.ends_at.is_some());
                letter.told = Some(Told { at, starts_at, was_resolved });
                if !letter.is_on_board && !letter.is_unheard_end() {
                    self.letters.remove(&fingerprint);
                }
            }
        }
    }
}

impl Letter {
    /// When it is to be told: what is new at once, what was told after a while, or never again.
    fn due(&self, rhythm: Rhythm) -> Option<Timestamp> {
        let told = self.told.filter(|_| !self.is_new());
        let Some(told) = told else { return Some(Timestamp::MIN) };
        let repeat = SignedDuration::try_from(rhythm.repeat).unwrap_or(SignedDuration::MAX);
        let repeats = self.alert.ends_at.is_none() || rhythm.repeats_resolved;
        repeats.then(|| told.at.saturating_add(repeat).unwrap_or(Timestamp::MAX))
    }

    /// Whether the receiver was not told this beginning, or this end.
    fn is_new(&self) -> bool {
        !self.told.is_some_and(|told| {
            told.was_resolved == self.alert.ends_at.is_some()
                && told.starts_at == self.alert.starts_at
        })
    }

    /// Whether it is over, and the receiver was not told.
    fn is_unheard_end(&self) -> bool {
        self.alert.ends_at.is_some() && self.is_new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ALERTMANAGER: Rhythm = Rhythm { repeat: Duration::from_mins(1), repeats_resolved: true };
    const WEBHOOK: Rhythm = Rhythm { repeat: Duration::from_hours(4), repeats_resolved: false };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_772_000_000 + seconds).expect("a time")
    }

    fn alert(name: &str, start: i64, end: Option<i64>) -> Arc<Alert> {
        Arc::new(Alert {
            labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
            annotations: BTreeMap::new(),
            starts_at: at(start),
            ends_at: end.map(at),
        })
    }

    #[test]
    fn what_fires_is_repeated_and_what_is_new_is_told_at_once() {
        let mut outbox = Outbox::new(ALERTMANAGER);
        let [one, other] = [alert("a", 0, None), alert("b", 0, None)];
        outbox.receive(std::slice::from_ref(&one));
        assert_eq!(outbox.due(at(0)), std::slice::from_ref(&one));
        outbox.tried(std::slice::from_ref(&one), at(0));
        outbox.told(std::slice::from_ref(&one), at(0));
        outbox.receive(&[one.clone(), other.clone()]);
        assert_eq!(outbox.due(at(59)), std::slice::from_ref(&other));
        assert_eq!(outbox.due(at(60)), [other, one], "what was never tried first");
    }

    #[test]
    fn an_end_is_repeated_to_alertmanager_and_told_a_webhook_once() {
        let (firing, over) = (alert("a", 0, None), alert("a", 0, Some(50)));
        for (rhythm, again) in [(ALERTMANAGER, true), (WEBHOOK, false)] {
            let mut outbox = Outbox::new(rhythm);
            outbox.receive(std::slice::from_ref(&firing));
            outbox.told(std::slice::from_ref(&firing), at(0));
            outbox.receive(std::slice::from_ref(&over));
            assert_eq!(outbox.due(at(50)), std::slice::from_ref(&over));
            outbox.told(std::slice::from_ref(&over), at(50));
            assert_eq!(outbox.due(at(109)), []);
            assert_eq!(!outbox.due(at(100_000)).is_empty(), again);
            outbox.receive(&[]);
            assert_eq!(outbox.next_due(), None, "it is off the board");
        }
    }

    #[test]
    fn a_webhook_that_was_away_hears_of_the_end() {
        let over = alert("a", 0, Some(50));
        for (rhythm, waits) in [(ALERTMANAGER, false), (WEBHOOK, true)] {
            let mut outbox = Outbox::new(rhythm);
            outbox.receive(std::slice::from_ref(&over));
            outbox.receive(&[]);
            assert_eq!(outbox.due(at(10_000)).len(), usize::from(waits));
            outbox.told(std::slice::from_ref(&over), at(10_000));
            assert_eq!(outbox.letters.len(), 0, "and then it is forgotten");
        }
    }

    #[test]
    fn a_new_beginning_is_told_though_the_one_before_was() {
        let mut outbox = Outbox::new(WEBHOOK);
        let (first, second) = (alert("a", 0, None), alert("a", 500, None));
        outbox.receive(std::slice::from_ref(&first));
        outbox.told(std::slice::from_ref(&first), at(0));
        outbox.receive(std::slice::from_ref(&second));
        assert_eq!(outbox.due(at(501)), [second]);
    }

    #[test]
    fn what_failed_goes_last() {
        let mut outbox = Outbox::new(WEBHOOK);
        let [bad, good] = [alert("bad", 0, None), alert("good", 5, None)];
        outbox.receive(&[bad.clone(), good.clone()]);
        outbox.tried(std::slice::from_ref(&bad), at(6));
        assert_eq!(outbox.due(at(7)), [good, bad]);
    }

    #[test]
    fn ends_that_wait_are_bounded() {
        let mut outbox = Outbox::new(WEBHOOK);
        let over = |number: i64| alert(&number.to_string(), 0, Some(number));
        let most = i64::try_from(MOST_WAITING).expect("a number");
        outbox.receive(&(0..most + 5).map(over).collect::<Vec<_>>());
        assert_eq!(outbox.receive(&[]), 5);
        let due = outbox.due(at(most * 2));
        assert_eq!(due.len(), MOST_WAITING);
        assert!(due.iter().all(|alert| alert.ends_at > Some(at(4))), "the oldest are given up");
    }
}
