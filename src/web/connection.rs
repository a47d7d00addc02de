//! Connections with limits: how many, and how long one may take.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// A listener that has at most so many connections open; more wait in the kernel's queue.
pub(super) struct Limited<L> {
    listener: L,
    free: Arc<Semaphore>,
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
    _held: OwnedSemaphorePermit,
}

/// A few Prometheus servers, people and scripts; each may cost a rendered report of memory.
const MOST_CONNECTIONS: usize = 128;
/// Longer than the usual scrape interval, so that a scraper's connection stays open.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

impl<L> Limited<L> {
    pub(super) fn new(listener: L) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(MOST_CONNECTIONS)) }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let held = self.free.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let (stream, peer) = self.listener.accept().await;
        (Connection::new(stream, held), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Limited<TcpListener>>> for Peer {
    fn connect_info(_: IncomingStream<'_, Limited<TcpListener>>) -> Self {
        Self::Network
    }
}

impl Connected<IncomingStream<'_, Limited<UnixListener>>> for Peer {
    fn connect_info(_: IncomingStream<'_, Limited<UnixListener>>) -> Self {
        Self::Socket
    }
}

impl<S> Connection<S> {
    fn new(stream: S, held: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(tokio::time::sleep(PATIENCE));
        Self { stream, deadline, between_requests: true, _held: held }
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
