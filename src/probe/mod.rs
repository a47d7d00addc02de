//! Connect to an endpoint, then one RPC bind. Nothing else is ever sent: no request, so no host counts
//! a probe as a client.
//!
//! [`pdu`] and [`failure`] are pure; [`connect`] makes the connection.

pub mod connect;
pub mod failure;
pub mod pdu;

use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::model::observation::in_words;
use crate::model::plan::{Depth, ProbeSettings};
use crate::model::{EndpointKey, Observation, Probe, ProbeOutcome};
use crate::stats::Stats;
use connect::Connection;
use failure::Failure;
use pdu::{Bind, Progress, Reply};

/// Probes endpoints, each in a task of its own: many in one task would measure each other's time.
/// Dropping it ends every probe under way; their observations never come.
#[derive(Debug)]
pub struct Prober {
    settings: ProbeSettings,
    clock: Clock,
    stats: Arc<Stats>,
    observations: mpsc::Sender<Vec<Observation>>,
    under_way: Arc<AtomicUsize>,
    tasks: Mutex<JoinSet<()>>,
}

impl Prober {
    /// Nothing is under way yet. Observations go to `observations`; while that is full, probes that
    /// ended keep their place among those under way.
    pub fn new(
        settings: ProbeSettings,
        clock: Clock,
        stats: Arc<Stats>,
        observations: mpsc::Sender<Vec<Observation>>,
    ) -> Self {
        let under_way = Arc::default();
        Self { settings, clock, stats, observations, under_way, tasks: Mutex::default() }
    }

    /// Takes new settings for the probes to come.
    pub fn apply(&mut self, settings: ProbeSettings) {
        self.settings = settings;
    }

    /// How many more probes may be under way.
    pub fn free_places(&self) -> usize {
        self.settings.concurrency.saturating_sub(self.under_way.load(Ordering::Acquire))
    }

    /// Starts a probe of each key while fewer than `concurrency` are under way, and gives back the
    /// rest. Needs a tokio runtime.
    pub fn submit(&self, keys: Vec<EndpointKey>) -> Vec<EndpointKey> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let mut rest = Vec::new();
        for (at, key) in keys.into_iter().enumerate() {
            match Place::take(&self.under_way, self.settings.concurrency) {
                Some(place) => drop(tasks.spawn(self.observe(key, place, at / STARTS_A_TURN))),
                None => rest.push(key),
            }
        }
        rest
    }

    /// One probe, from its start after so many turns of the runtime to its observation.
    fn observe(
        &self,
        key: EndpointKey,
        place: Place,
        turns: usize,
    ) -> impl Future<Output = ()> + use<> {
        let (settings, clock) = (self.settings, self.clock);
        let (stats, observations) = (self.stats.clone(), self.observations.clone());
        async move {
            for _ in 0..turns {
                yield_now().await;
            }
            let probe = probe(&key, &settings).await;
            stats.probe_ended(probe.outcome);
            let observation = Observation::Probe { key, probe: Arc::new(probe), at: clock.now() };
            // Nobody listens any more at shutdown.
            if let Ok(permit) = observations.reserve().await {
                drop(place);
                permit.send(vec![observation]);
            }
        }
    }
}

/// Probes that begin in one turn of the runtime. It tells none of them that it is connected before all
/// have begun, so more would measure how long that takes instead of the network.
const STARTS_A_TURN: usize = 32;

/// One probe: connects, and at depth `rpc` sends exactly one bind and reads its reply. One deadline
/// holds over all of it. Whatever comes of it, the connection is reset at once.
pub async fn probe(key: &EndpointKey, settings: &ProbeSettings) -> Probe {
    let mut course = Course::default();
    let ended = timeout(settings.timeout, attempt(key, settings, &mut course)).await;
    let probe = ended.unwrap_or_else(|_| course.at_deadline());
    Probe { connect: course.connect, ..probe }
}

/// How far a probe came.
#[derive(Debug, Default)]
struct Course {
    /// What this machine lacked for a connection when it last tried.
    shortage: Option<io::Error>,
    /// How long the connection took.
    connect: Option<Duration>,
    /// How much of the reply came.
    received: usize,
}

impl Course {
    fn at_deadline(&self) -> Probe {
        match (&self.connect, &self.shortage) {
            (Some(_), _) => Probe {
                detail: (self.received > 0).then(|| cut_short("no more than", self.received)),
                ..Probe::bare(ProbeOutcome::Silent)
            },
            // Not the peer's fault, so nothing is said against it: this outcome is the one that
            // leaves it unknown.
            (None, Some(error)) => Probe {
                detail: Some(
                    format!("this machine could not open a connection: {}", in_words(error)).into(),
                ),
                ..Probe::bare(ProbeOutcome::Silent)
            },
            (None, None) => Probe::bare(ProbeOutcome::Timeout),
        }
    }
}

async fn attempt(key: &EndpointKey, settings: &ProbeSettings, course: &mut Course) -> Probe {
    let connection = match Connection::open(key, &mut course.shortage).await {
        Ok(connection) => connection,
        Err(failure) => return failure.into_probe(),
    };
    course.connect = Some(connection.took);
    match settings.depth {
        Depth::Tcp => Probe::bare(ProbeOutcome::Open),
        Depth::Rpc => bind(connection, settings.control, course).await,
    }
}

/// What one read takes of a reply, in bytes; real ones are shorter.
const PIECE: usize = 1024;

/// Takes what has come, or waits for it. The buffer lives no longer than the read: a probe that waits is
/// small.
async fn next_piece(
    connection: &mut Connection,
    reply: &mut Reply,
) -> io::Result<(usize, Progress)> {
    loop {
        connection.stream().readable().await?;
        let mut piece = [0; PIECE];
        match connection.stream().try_read(&mut piece) {
            Ok(length) => return Ok((length, reply.feed(&piece[..length]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn bind(mut connection: Connection, control: bool, course: &mut Course) -> Probe {
    let bind = Bind { call_id: rand::random(), control: control.then(rand::random) };
    if let Err(error) = connection.stream().write_all(&bind.encode()).await {
        return broken(&connection, &error);
    }
    let written = Instant::now();
    let mut reply = Reply::to(bind);
    loop {
        let (length, progress) = match next_piece(&mut connection, &mut reply).await {
            Ok((0, _)) => return closed_early(course.received),
            Ok(come) => come,
            Err(error) => return broken(&connection, &error),
        };
        course.received += length;
        match progress {
            Progress::NeedMore => {}
            Progress::Done(verdict) => {
                return Probe {
                    bind: Some(written.elapsed()),
                    detail: verdict.detail().map(Arc::from),
                    ..Probe::bare(verdict.outcome())
                };
            }
            Progress::NotRpc(violation) => {
                let words = format!("{violation}; it began with \"{}\"", shown(reply.bytes()));
                return Probe { detail: Some(words.into()), ..Probe::bare(ProbeOutcome::NotRpc) };
            }
        }
    }
}

/// What an established connection ended with. No reply before the kernel gave up is no reply.
fn broken(connection: &Connection, error: &io::Error) -> Probe {
    let failure = connection.failure(error);
    match failure.outcome {
        ProbeOutcome::Timeout => Failure { outcome: ProbeOutcome::Silent, ..failure }.into_probe(),
        _ => failure.into_probe(),
    }
}

fn closed_early(received: usize) -> Probe {
    Probe {
        detail: Some(cut_short("the stream ended after", received)),
        ..Probe::bare(ProbeOutcome::ClosedEarly)
    }
}

fn cut_short(how: &str, received: usize) -> Arc<str> {
    format!("{how} {received} bytes of a reply").into()
}

/// The most of a peer's first bytes that a person is shown, in characters.
const SHOWN: usize = 40;

/// The first bytes, escaped to printable ASCII.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let before = text.len();
        // Writing to a String does not fail.
        let _ = write!(text, "{}", byte.escape_ascii());
        if text.len() > SHOWN {
            text.truncate(before);
            break;
        }
    }
    text
}

/// One of the probes under way; given back when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(under_way: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()?;
        Some(Self(under_way.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_deadline_means_depends_on_how_far_the_probe_came() {
        let outcome = |course: &Course| course.at_deadline().outcome;
        let mut course = Course::default();
        assert_eq!(outcome(&course), ProbeOutcome::Timeout);
        course.shortage = Some(nix::errno::Errno::EMFILE.into());
        let unknown = course.at_deadline();
        assert_eq!(unknown.outcome.reachability(), crate::model::Reachability::Unknown);
        assert!(unknown.detail.is_some_and(|detail| detail.contains("too many open files")));
        course = Course { connect: Some(Duration::ZERO), ..Course::default() };
        assert_eq!(course.at_deadline(), Probe::bare(ProbeOutcome::Silent));
        course.received = 24;
        assert_eq!(
            course.at_deadline().detail.as_deref(),
            Some("no more than 24 bytes of a reply")
        );
    }

    #[test]
    fn first_bytes_are_printable_and_never_cut_within_an_escape() {
        assert_eq!(shown(b"SSH-2.0\r\n\""), "SSH-2.0\\r\\n\\\"");
        assert_eq!(shown(&[b'A'; 41]), "A".repeat(40));
        assert_eq!(shown(&[&[b'A'; 39][..], &[0]].concat()), "A".repeat(39));
    }
}
