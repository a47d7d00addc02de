//! The UDP sockets of one server over one path: many queries in flight on each.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::flight::{LineId, Slot, Transmission};
use super::socket::{self, PathError};
use crate::model::Upstream;

/// Sockets in use at once: a retransmission leaves from another port, which takes it over another
/// member of a bundle or behind another balancer's choice.
const LINES: usize = 2;
/// Then a socket is replaced: ports, routes and balancers' choices do not last.
const LIFE: Duration = Duration::from_mins(1);
/// At most so many queries leave with one system call; Linux takes no more than 64.
const MOST_SEGMENTS: usize = 64;

/// The sockets of one server over one path.
#[derive(Debug)]
pub struct Udp {
    upstream: Arc<Upstream>,
    lines: Vec<Line>,
    turn: usize,
    staged: Vec<Staged>,
    /// Of what is staged.
    bytes: Vec<u8>,
}

/// A query that is written and has its id, and has not left.
#[derive(Debug, Clone, Copy)]
pub struct Staged {
    /// Which question.
    pub slot: Slot,
    /// Whether it carries EDNS.
    pub edns: bool,
    /// On what it leaves.
    pub line: LineId,
    /// Its id there.
    pub id: u16,
    at: usize,
    length: u16,
}

#[derive(Debug)]
struct Line {
    id: LineId,
    io: UdpSocket,
    /// Which question each id stands for; the peer is the socket's.
    ids: HashMap<u16, Slot>,
    born: Instant,
    /// When the query left that left last of all that are answered.
    heard: Option<Instant>,
    /// Whether the kernel cuts what is sent at once into several datagrams.
    can_segment: bool,
}

impl Staged {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at..][..self.length.into()]
    }
}

impl Line {
    fn open(upstream: &Upstream, now: Instant) -> Result<Self, PathError> {
        let io = socket::udp(upstream)?;
        // Linux before 4.18 knows no segments, and would send them all as one datagram.
        let can_segment = setsockopt(&io, sockopt::UdpGsoSegment, &0).is_ok();
        Ok(Self {
            id: LineId::next(),
            io,
            ids: HashMap::new(),
            born: now,
            heard: None,
            can_segment,
        })
    }

    /// Without asking tokio first, which knows of a new socket only after a turn of its loop; it is
    /// told where the kernel's buffer is full, so that waiting for it works.
    fn send(&self, queries: &[Staged], bytes: &[u8]) -> io::Result<()> {
        match self.send_now(queries, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.io.try_io(Interest::WRITABLE, || self.send_now(queries, bytes))
            }
            sent => sent,
        }
    }

    /// Sends queries of one length, all or none, with one walk through the kernel: over half of what
    /// a lookup costs is to send it (udp(7), `UDP_SEGMENT`).
    fn send_now(&self, queries: &[Staged], bytes: &[u8]) -> io::Result<()> {
        if let [query] = queries {
            return SockRef::from(&self.io).send(query.of(bytes)).map(|_| ());
        }
        let Some(length) = queries.first().map(|query| query.length) else { return Ok(()) };
        let mut slices = [IoSlice::new(&[]); MOST_SEGMENTS];
        for (slice, query) in slices.iter_mut().zip(queries) {
            *slice = IoSlice::new(query.of(bytes));
        }
        let segments = [ControlMessage::UdpGsoSegments(&length)];
        let slices = &slices[..queries.len().min(MOST_SEGMENTS)];
        sendmsg::<()>(self.io.as_raw_fd(), slices, &segments, MsgFlags::empty(), None)?;
        Ok(())
    }

    /// What the kernel has to say since it was last asked; costs nothing where it has not.
    fn error(&self) -> Option<io::Error> {
        let take = || match self.io.take_error()? {
            Some(error) => Ok(error),
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.io.try_io(Interest::ERROR, take).ok()
    }
}

/// What a socket had for us.
#[derive(Debug)]
pub enum Received {
    /// A datagram of this length on this socket.
    Datagram(LineId, usize),
    /// The kernel says that the server cannot be reached.
    Failed(LineId, io::Error),
}

/// What came of sending some of what is staged.
#[derive(Debug)]
pub enum Launched {
    /// They left.
    Sent,
    /// The kernel's buffer is full; wait until it is not.
    Full,
    /// The kernel says that the server cannot be reached.
    Failed(PathError),
    /// The kernel says that what this socket sent before was refused. What is staged stays so.
    Refused(LineId, PathError),
}

impl Udp {
    /// Opens nothing yet.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, lines: Vec::new(), turn: 0, staged: Vec::new(), bytes: Vec::new() }
    }

    /// Makes ready what `write` makes, under a free random id, on another socket than `avoid` if
    /// there is one. The sockets take turns by the burst.
    ///
    /// # Errors
    /// Where no socket can be made.
    pub fn stage(
        &mut self,
        (slot, edns): (Slot, bool),
        avoid: Option<LineId>,
        now: Instant,
        write: impl FnOnce(u16, &mut Vec<u8>),
    ) -> Result<(), PathError> {
        self.renew(now)?;
        let Self { lines, turn, staged, bytes, .. } = self;
        let young = lines.len().saturating_sub(LINES);
        let choice = young + *turn % LINES;
        let choice =
            if avoid == Some(lines[choice].id) { young + (*turn + 1) % LINES } else { choice };
        let line = &mut lines[choice];
        let (id, at) = (free_id(&line.ids), bytes.len());
        write(id, bytes);
        // A query is a few hundred octets.
        let length = u16::try_from(bytes.len() - at).unwrap_or(u16::MAX);
        line.ids.insert(id, slot);
        staged.push(Staged { slot, edns, line: line.id, id, at, length });
        Ok(())
    }

    /// Sends some of what is staged and says in `group` which; `None` where nothing is left.
    pub fn launch(&mut self, group: &mut Vec<Staged>) -> Option<Launched> {
        group.clear();
        self.staged.sort_unstable_by_key(|query| (query.line, query.length));
        let Some(last) = self.staged.last().copied() else {
            self.bytes.clear();
            self.turn = self.turn.wrapping_add(1);
            return None;
        };
        let line = self.lines.iter_mut().find(|line| line.id == last.line)?;
        let most = if line.can_segment { MOST_SEGMENTS } else { 1 };
        let is_alike = |query: &&Staged| (query.line, query.length) == (last.line, last.length);
        let count = self.staged.iter().rev().take(most).take_while(is_alike).count();
        let start = self.staged.len() - count;
        let address = self.upstream.server.address;
        let launched = match line.send(&self.staged[start..], &self.bytes) {
            Ok(()) => Launched::Sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Launched::Full,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Some(Launched::Refused(line.id, PathError::Connect(address, error)));
            }
            Err(_) if count > 1 => {
                // Some devices cannot; where it is something else, each query will tell.
                line.can_segment = false;
                return self.launch(group);
            }
            Err(error) => Launched::Failed(socket::not_sent(address, error)),
        };
        group.extend(self.staged.drain(start..));
        if !matches!(launched, Launched::Sent) {
            group.iter().for_each(|query| {
                line.ids.remove(&query.id);
            });
        }
        Some(launched)
    }

    /// Drops old sockets that wait for nothing more, and makes the young ones be [`LINES`].
    fn renew(&mut self, now: Instant) -> Result<(), PathError> {
        let young = |line: &Line| now < line.born + LIFE;
        if self.lines.len() == LINES && self.lines.iter().all(young) {
            return Ok(());
        }
        self.lines.retain(|line| young(line) || !line.ids.is_empty());
        // The young ones stand last: sockets are born in order.
        while self.lines.iter().filter(|line| young(line)).count() < LINES {
            self.lines.push(Line::open(&self.upstream, now)?);
        }
        Ok(())
    }

    /// The next datagram or error that lies ready on any socket.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        for line in &self.lines {
            match line.io.try_recv(buffer) {
                Ok(length) => return Some(Received::Datagram(line.id, length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(error) = line.error() {
                        return Some(Received::Failed(line.id, error));
                    }
                }
                Err(error) => return Some(Received::Failed(line.id, error)),
            }
        }
        None
    }

    /// The question that an id stands for on a socket.
    pub fn slot(&self, line: LineId, id: u16) -> Option<Slot> {
        self.line(line)?.ids.get(&id).copied()
    }

    /// Every question that waits on a socket.
    pub fn slots(&self, line: LineId) -> Vec<Slot> {
        self.line(line).map(|line| line.ids.values().copied().collect()).unwrap_or_default()
    }

    /// An id is no longer waited for.
    pub fn forget(&mut self, line: LineId, id: u16) {
        if let Some(line) = self.lines.iter_mut().find(|each| each.id == line) {
            line.ids.remove(&id);
        }
    }

    /// A query was answered.
    pub fn hears(&mut self, query: &Transmission) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == query.line) {
            line.heard = line.heard.max(Some(query.sent));
        }
    }

    /// Whether one that left later on the same socket was answered: what leaves on another may reach
    /// another member of a bundle, or another process of the server.
    pub fn is_overtaken(&self, query: &Transmission) -> bool {
        self.line(query.line).is_some_and(|line| line.heard > Some(query.sent))
    }

    /// Until any socket has something to read, or the kernel something to say about it; a closed port
    /// makes a socket not readable, but failed.
    pub async fn readable(&self) {
        let any = Interest::READABLE | Interest::ERROR;
        let mut waits: Vec<_> =
            self.lines.iter().map(|line| Box::pin(line.io.ready(any))).collect();
        poll_fn(|context| {
            let polled = waits.iter_mut().map(|wait| wait.as_mut().poll(context).is_ready());
            // Every one is asked, so that each knows whom to wake.
            if polled.fold(false, |any, ready| any | ready) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Ready when any socket takes a datagram.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let is_ready = |line: &Line| line.io.poll_send_ready(context).is_ready();
        if self.lines.iter().map(is_ready).fold(false, |any, ready| any | ready) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn line(&self, id: LineId) -> Option<&Line> {
        self.lines.iter().find(|line| line.id == id)
    }
}

/// A random id that stands for nothing yet. Flights are bounded far below 65,536, so there is one.
pub(super) fn free_id(ids: &HashMap<u16, Slot>) -> u16 {
    loop {
        let id = rand::random();
        if !ids.contains_key(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::flight::Flights;
    use super::super::testing::{key, upstream};
    use super::*;
    use crate::model::{RecordKind, Transport};

    #[tokio::test]
    async fn sockets_are_replaced_each_minute_and_kept_while_something_waits_on_them() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let upstream = upstream(Transport::Udp, peer.local_addr().expect("its address"));
        let (mut udp, now) = (Udp::new(upstream.clone()), Instant::now());
        let slot = Flights::default().insert(key(&upstream, "kms.test", RecordKind::A), 3, now);
        let send = |udp: &mut Udp, at| {
            udp.stage((slot, true), None, at, |_, into| into.push(1)).expect("a socket");
            let mut group = Vec::new();
            assert!(matches!(udp.launch(&mut group), Some(Launched::Sent)), "the peer listens");
            let sent = (group[0].line, group[0].id);
            assert!(udp.launch(&mut group).is_none());
            sent
        };
        let first = send(&mut udp, now);
        let second = send(&mut udp, now + LIFE / 2);
        assert_ne!(first.0, second.0, "they take turns");
        udp.forget(second.0, second.1);
        let third = send(&mut udp, now + LIFE);
        assert!(third.0 != first.0 && third.0 != second.0);
        assert_eq!(udp.slot(first.0, first.1), Some(slot));
        assert!(udp.line(second.0).is_none(), "nothing waits there");
        udp.forget(first.0, first.1);
        send(&mut udp, now + LIFE * 2);
        assert!(udp.line(first.0).is_none());
        assert!(udp.lines.len() <= LINES + 1);
    }
}
