//! The UDP sockets of one server over one path: many queries in flight on each.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::flight::{LineId, Slot};
use super::socket::{self, PathError};
use crate::model::Upstream;

/// Sockets in use at once: a retransmission leaves from another port, which takes it over another
/// member of a bundle or behind another balancer's choice.
const LINES: usize = 2;
/// Then a socket is replaced: ports, routes and balancers' choices do not last.
const LIFE: Duration = Duration::from_mins(1);

/// The sockets of one server over one path.
#[derive(Debug)]
pub struct Udp {
    upstream: Arc<Upstream>,
    lines: Vec<Line>,
    turn: usize,
    query: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    id: LineId,
    io: UdpSocket,
    /// Which question each id stands for; the peer is the socket's.
    ids: HashMap<u16, Slot>,
    born: Instant,
}

impl Line {
    /// Without asking tokio first, which knows of a new socket only after a turn of its loop; it is
    /// told where the kernel's buffer is full, so that waiting for it works.
    fn send(&self, query: &[u8]) -> io::Result<usize> {
        match SockRef::from(&self.io).send(query) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.io.try_send(query),
            sent => sent,
        }
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

/// Why a query did not leave.
#[derive(Debug)]
pub enum SendError {
    /// The kernel's buffer is full; wait until it is not.
    Full,
    /// The kernel says that the server cannot be reached; where it says so of what was sent before,
    /// on which socket.
    Failed(PathError, Option<LineId>),
}

impl Udp {
    /// Opens nothing yet.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, lines: Vec::new(), turn: 0, query: Vec::with_capacity(512) }
    }

    /// Sends what `write` makes, under a free random id, from another socket than `avoid` if there
    /// is one.
    ///
    /// # Errors
    /// Where the kernel does not take it.
    pub fn send(
        &mut self,
        slot: Slot,
        avoid: Option<LineId>,
        now: Instant,
        write: impl FnOnce(u16, &mut Vec<u8>),
    ) -> Result<(LineId, u16), SendError> {
        self.renew(now).map_err(|error| SendError::Failed(error, None))?;
        let Self { upstream, lines, turn, query } = self;
        let young = lines.len().saturating_sub(LINES);
        *turn = turn.wrapping_add(1);
        let choice = young + *turn % LINES;
        let choice =
            if avoid == Some(lines[choice].id) { young + (*turn + 1) % LINES } else { choice };
        let line = &mut lines[choice];
        let id = free_id(&line.ids);
        query.clear();
        write(id, query);
        match line.send(query) {
            Ok(_) => {
                line.ids.insert(id, slot);
                Ok((line.id, id))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SendError::Full),
            Err(error) => {
                let before = (error.kind() == io::ErrorKind::ConnectionRefused).then_some(line.id);
                Err(SendError::Failed(PathError::Connect(upstream.server.address, error), before))
            }
        }
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
            let io = socket::udp(&self.upstream)?;
            let line = Line { id: LineId::next(), io, ids: HashMap::new(), born: now };
            self.lines.push(line);
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
            udp.send(slot, None, at, |_, into| into.push(1)).expect("the peer listens")
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
