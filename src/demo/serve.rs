//! What the lab's servers have in common: tasks that end with their server, and TCP connections
//! within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

/// More connections than this wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 256;
/// A peer that says nothing for so long is dismissed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept failed (no file descriptors left): try again, without spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The tasks of one server; dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Service {
    tasks: Mutex<JoinSet<()>>,
}

impl Service {
    pub(super) fn new(tasks: JoinSet<()>) -> Self {
        Self { tasks: Mutex::new(tasks) }
    }

    /// Ends the tasks and waits until they, and with them their sockets, are gone.
    pub(super) async fn close(&self) {
        self.tasks.lock().await.shutdown().await;
    }
}

/// Accepts for ever and gives each connection a task; all of them end with this future.
pub(super) async fn accept_all<Work, Handle>(listener: TcpListener, mut handle: Handle)
where
    Handle: FnMut(TcpStream, SocketAddr) -> Work,
    Work: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = Listening(listener);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        reap(&mut connections);
        let Ok((stream, peer)) = listener.0.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let work = handle(stream, peer);
        connections.spawn(async move {
            // A connection that breaks is the peer's affair.
            let _ = work.await;
            drop(place);
        });
    }
}

/// Stops listening when dropped, even where a process that is just being started still holds a copy
/// of the socket: until it execs, closing ours would leave the port open.
struct Listening(TcpListener);

impl Drop for Listening {
    fn drop(&mut self) {
        // It fails on a socket that does not listen; then there is nothing to stop.
        let _ = socket2::SockRef::from(&self.0).shutdown(std::net::Shutdown::Both);
    }
}

/// Forgets the tasks that have ended.
pub(super) fn reap(tasks: &mut JoinSet<()>) {
    while tasks.try_join_next().is_some() {}
}

/// Waits for the peer no longer than [`IDLE_TIMEOUT`].
pub(super) async fn unless_idle<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(IDLE_TIMEOUT, work).await.map_err(io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ANY_PORT;

    #[tokio::test]
    async fn a_copy_of_the_socket_does_not_keep_the_port_open() {
        let listener = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
        let _copy = listener.try_clone().expect("a second descriptor");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let mut tasks = JoinSet::new();
        let listener = TcpListener::from_std(listener).expect("a runtime");
        tasks.spawn(accept_all(listener, |_, _| std::future::ready(Ok(()))));
        let service = Service::new(tasks);
        TcpStream::connect(address).await.expect("it listens");
        service.close().await;
        let refused = TcpStream::connect(address).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        assert!(TcpListener::bind(address).await.is_ok());
    }
}
