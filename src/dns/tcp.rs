//! One TCP connection to a server, with many queries in flight on it (RFC 7766).

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use foldhash::HashMapExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::flight::{LineId, Slot};
use super::socket;
use super::udp::free_id;
use super::wire::HEADER;
use crate::model::observation::in_words;
use crate::model::{LookupOutcome, Upstream};

/// A connection, or the try to make one. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    /// Its identity among the lines of its server.
    pub id: LineId,
    /// When the last message came that somebody waited for.
    pub heard: Option<Instant>,
    /// Whether it is made. Before that it takes no queries: they would leave all at once.
    pub is_open: bool,
    ids: HashMap<u16, Slot>,
    queries: mpsc::Sender<Vec<u8>>,
    events: mpsc::Receiver<Event>,
    task: AbortHandle,
}

/// What a connection had for us.
#[derive(Debug)]
pub enum Event {
    /// The connection is made.
    Open,
    /// A whole message, at least a header long.
    Message(Vec<u8>),
    /// The end, what an unanswered question makes of it, and why.
    Closed(LookupOutcome, Arc<str>),
}

/// Without a whole message for this long, a connection is closed (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Queries that wait to be written; more means that the peer does not read.
const QUEUE: usize = 1024;
/// Messages of up to 64 KiB that wait to be read.
const EVENTS: usize = 8;

impl Link {
    /// Begins to connect; `patience` bounds that.
    pub fn open(upstream: Arc<Upstream>, patience: Duration) -> Self {
        let (queries, to_write) = mpsc::channel(QUEUE);
        let (report, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(serve(upstream, patience, to_write, report)).abort_handle();
        let (id, ids) = (LineId::next(), HashMap::new());
        Self { id, heard: None, is_open: false, ids, queries, events, task }
    }

    /// Queues what `write` makes, under a free random id; `None` where the peer does not read, or
    /// the connection has just ended.
    pub fn send(&mut self, slot: Slot, write: impl FnOnce(u16, &mut Vec<u8>)) -> Option<u16> {
        let permit = self.queries.try_reserve().ok()?;
        let id = free_id(&self.ids);
        let mut frame = vec![0, 0];
        write(id, &mut frame);
        // A query is a few hundred octets.
        let length = u16::try_from(frame.len() - 2).unwrap_or(0);
        frame[..2].copy_from_slice(&length.to_be_bytes());
        permit.send(frame);
        self.ids.insert(id, slot);
        Some(id)
    }

    /// The next message, or the end.
    pub async fn event(&mut self) -> Event {
        let gone = || Event::Closed(LookupOutcome::Timeout, CLOSED.into());
        self.events.recv().await.unwrap_or_else(gone)
    }

    /// Notes that the peer is there, if this is what somebody waits for.
    pub fn hears(&mut self, message: &[u8], now: Instant) {
        let id = message.first_chunk().map(|id| u16::from_be_bytes(*id));
        if id.is_some_and(|id| self.ids.contains_key(&id)) {
            self.heard = Some(now);
        }
    }

    /// The question that an id stands for.
    pub fn slot(&self, id: u16) -> Option<Slot> {
        self.ids.get(&id).copied()
    }

    /// Every question that waits.
    pub fn slots(&self) -> Vec<Slot> {
        self.ids.values().copied().collect()
    }

    /// An id is no longer waited for.
    pub fn forget(&mut self, id: u16) {
        self.ids.remove(&id);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const CLOSED: &str = "TCP was closed without an answer";

async fn serve(
    upstream: Arc<Upstream>,
    patience: Duration,
    queries: mpsc::Receiver<Vec<u8>>,
    report: mpsc::Sender<Event>,
) {
    let (outcome, why) = match timeout(patience, socket::tcp(&upstream)).await {
        Err(_) => (LookupOutcome::Timeout, "TCP did not connect in time".to_owned()),
        Ok(Err(error)) => (LookupOutcome::Unreachable, format!("TCP: {error}")),
        Ok(Ok(stream)) => {
            report.send(Event::Open).await.ok();
            converse(stream, IDLE.max(patience), queries, &report).await
        }
    };
    report.send(Event::Closed(outcome, why.into())).await.ok();
}

/// Writes and reads until the connection ends; why it did.
async fn converse(
    stream: TcpStream,
    idle: Duration,
    queries: mpsc::Receiver<Vec<u8>>,
    report: &mpsc::Sender<Event>,
) -> (LookupOutcome, String) {
    let (reader, writer) = stream.into_split();
    tokio::select! {
        end = read(reader, idle, report) => end,
        error = write(writer, queries) => (LookupOutcome::Timeout, format!("{CLOSED}: {}", in_words(&error))),
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queries: mpsc::Receiver<Vec<u8>>) -> io::Error {
    let mut frames = Vec::new();
    loop {
        if queries.recv_many(&mut frames, 64).await == 0 {
            return io::ErrorKind::BrokenPipe.into();
        }
        if let Err(error) = writer.write_all(&frames.concat()).await {
            return error;
        }
        frames.clear();
    }
}

async fn read(
    mut reader: OwnedReadHalf,
    idle: Duration,
    report: &mpsc::Sender<Event>,
) -> (LookupOutcome, String) {
    let mut received = Vec::with_capacity(4096);
    let mut quiet = pin!(sleep(idle));
    loop {
        let end = tokio::select! {
            read = reader.read_buf(&mut received) => match read {
                Ok(0) => Some(CLOSED.to_owned()),
                Ok(_) => None,
                Err(error) => Some(format!("{CLOSED}: {}", in_words(&error))),
            },
            () = quiet.as_mut() => Some(CLOSED.to_owned()),
        };
        if let Some(why) = end {
            return ended(&received, why);
        }
        while let Some(message) = first_frame(&mut received) {
            if message.len() < HEADER {
                return (LookupOutcome::Malformed, "TCP brought a message without a header".into());
            }
            if report.send(Event::Message(message)).await.is_err() {
                return (LookupOutcome::Timeout, CLOSED.into());
            }
            quiet.as_mut().reset(Instant::now() + idle);
        }
    }
}

fn ended(rest: &[u8], why: String) -> (LookupOutcome, String) {
    if rest.is_empty() {
        return (LookupOutcome::Timeout, why);
    }
    (LookupOutcome::Malformed, "TCP ended within a message".to_owned())
}

/// Takes the first whole message off what was received (RFC 1035 section 4.2.2).
fn first_frame(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, rest) = received.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let message = rest.get(..length)?.to_vec();
    received.drain(..2 + length);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_off_one_by_one() {
        let mut received = vec![0, 2, b'a', b'b', 0, 0, 0, 3, b'c'];
        assert_eq!(first_frame(&mut received), Some(b"ab".to_vec()));
        assert_eq!(first_frame(&mut received), Some(Vec::new()));
        assert_eq!(first_frame(&mut received), None);
        assert_eq!(received, [0, 3, b'c']);
        assert_eq!(ended(&received, String::new()).0, LookupOutcome::Malformed);
    }

    #[tokio::test]
    async fn drips_that_make_no_message_do_not_keep_a_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let stream = TcpStream::connect(address).await.expect("connected");
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.expect("a connection");
            while peer.write_u8(0x7f).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let (_queries, to_write) = mpsc::channel(1);
        let (report, _events) = mpsc::channel(1);
        let conversation = converse(stream, Duration::from_millis(200), to_write, &report);
        let end = timeout(Duration::from_secs(2), conversation).await;
        assert_eq!(end.expect("it ends").0, LookupOutcome::Malformed);
    }
}
