//! Connections with limits: how many, and how long one may take.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// A listener that has at most so many connections open; more wait in the kernel's queue.
pub(super) struct Limited<L> {
    listener: L,
    free: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

/// Who connected, and the place that the connection takes.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) peer: Peer,
    pub(super) seat: Arc<Seat>,
}

/// The place of a connection, until it closes: one of few for requests, or of others for those who only
/// listen, and would keep everybody else out.
#[derive(Debug)]
pub(super) struct Seat {
    held: Mutex<OwnedSemaphorePermit>,
    listeners: Arc<Semaphore>,
}

impl Seat {
    /// Moves to a listener's place; false where none is free.
    pub(super) fn listen(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(held.semaphore(), &self.listeners) {
            return true;
        }
        let place = self.listeners.clone().try_acquire_owned();
        place.map(|place| *held = place).is_ok()
    }

    /// Whether so many places are taken that who was answered should leave: a browser keeps its connections
    /// for the next page, and enough of them would keep everybody else out.
    fn is_wanted(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.semaphore().available_permits() < MOST_CONNECTIONS / 2
    }
}

/// Answers, and closes the connection with that where its place is wanted.
pub(super) async fn leave_in_time(
    ConnectInfo(guest): ConnectInfo<Guest>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if guest.seat.is_wanted() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// How somebody connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over the network: anybody, perhaps through a proxy on this machine.
    Network,
    /// Over the unix socket: somebody whom its file's mode lets in.
    Socket,
}

/// A connection that fails when a request, the answer to it, or the pause after it takes too long.
pub(super) struct Connection<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    /// Nothing was read since the last answer: what comes next begins a request.
    between_requests: bool,
    seat: Arc<Seat>,
}

/// A few Prometheus servers, people and scripts; each may cost a rendered report of memory.
const MOST_CONNECTIONS: usize = 128;
/// Browsers that show a page; each costs a socket and a few kilobytes.
const MOST_LISTENERS: usize = 512;
/// Longer than the usual scrape interval, so that a scraper's connection stays open.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

impl<L> Limited<L> {
    pub(super) fn new(listener: L) -> Self {
        let [free, listeners] =
            [MOST_CONNECTIONS, MOST_LISTENERS].map(Semaphore::new).map(Arc::new);
        Self { listener, free, listeners }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let held = self.free.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let (stream, peer) = self.listener.accept().await;
        let seat = Seat { held: Mutex::new(held), listeners: self.listeners.clone() };
        (Connection::new(stream, Arc::new(seat)), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Limited<TcpListener>>> for Guest {
    fn connect_info(stream: IncomingStream<'_, Limited<TcpListener>>) -> Self {
        Self { peer: Peer::Network, seat: stream.io().seat.clone() }
    }
}

impl Connected<IncomingStream<'_, Limited<UnixListener>>> for Guest {
    fn connect_info(stream: IncomingStream<'_, Limited<UnixListener>>) -> Self {
        Self { peer: Peer::Socket, seat: stream.io().seat.clone() }
    }
}

impl<S> Connection<S> {
    fn new(stream: S, seat: Arc<Seat>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(PATIENCE));
        Self { stream, deadline, between_requests: true, seat }
    }

    fn renew(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + PATIENCE);
    }

    /// What the stream said, or that it took too long to say it.
    fn or_late<T>(
        &mut self,
        said: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if said.is_ready() {
            return said;
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A peer that takes some of the answer gets more time for the rest.
    fn wrote(
        &mut self,
        said: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if matches!(said, Poll::Ready(Ok(1..))) {
            self.between_requests = true;
            self.renew();
        }
        self.or_late(said, context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    /// Only the first bytes of a request renew the deadline: one that drips runs into it.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_read(context, buffer);
        if said.is_ready() && self.between_requests {
            self.between_requests = false;
            self.renew();
        }
        self.or_late(said, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(said, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(said, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
