//! A DNS server for the demo and for tests: authoritative for its zones, with faults on demand.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::seen::{Seen, lock};
use super::serve::{Service, accept_all, reap, unless_idle};
use super::wire::Asked;
use super::zones::{Zones, name};
use crate::model::{Name, Transport};

/// A DNS server on one address, UDP and TCP on one port; dropping it ends it.
///
/// It answers from its [`Zones`] (`REFUSED` outside), echoes EDNS, truncates what does not fit the
/// client's size and answers pipelined queries of a TCP connection as they come. What is no query
/// gets no answer.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    service: Service,
}

/// How a server misbehaves, to all queries or to those for one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer.
    Silent,
    /// This response code (RFC 6895 section 2.3) and no data.
    Rcode(u16),
    /// Over UDP the TC bit and half of the records, rounded down; over TCP all is well.
    Truncate,
    /// The right answer, so much later; others do not wait for it.
    Delay(Duration),
}

/// A query as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenQuery {
    /// The asked name; the root where the message has no question.
    pub name: Name,
    /// The asked type.
    pub kind: RecordType,
    /// What it came over.
    pub transport: Transport,
    /// The client's address and port.
    pub source: SocketAddr,
    /// When it was read.
    pub at: Instant,
}

#[derive(Debug)]
struct Shared {
    zones: Zones,
    seen: Seen<SeenQuery>,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    of_all: Option<Fault>,
    by_name: HashMap<Name, Fault>,
}

/// An answer and how long it is held back.
struct Reply {
    bytes: Vec<u8>,
    delay: Option<Duration>,
}

/// The kernel chooses a free UDP port; TCP may have it in use. So many choices are tried.
const PORT_CHOICES: usize = 64;
/// A burst of some thousand queries fits, as far as the kernel grants it.
const SOCKET_BUFFER: usize = 4 << 20;
/// The largest datagram, and the largest message over TCP.
const LARGEST_MESSAGE: usize = 65_535;
/// Held-back answers beyond this are lost, per socket or connection.
const MOST_DELAYED: usize = 8192;
/// Answers that wait for a TCP client to read; then its queries wait too.
const MOST_UNSENT: usize = 64;

impl DnsServer {
    /// Listens and serves; port 0 lets the kernel choose one that UDP and TCP both have free.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(zones: Zones, address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address).await?;
        let address = udp.local_addr()?;
        let shared =
            Arc::new(Shared { zones, seen: Seen::new(), faults: Mutex::new(Faults::default()) });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(shared.clone(), udp));
        let over_tcp = shared.clone();
        tasks.spawn(accept_all(tcp, move |stream, peer| serve_tcp(over_tcp.clone(), stream, peer)));
        Ok(Self { address, shared, service: Service::new(tasks) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Misbehaves to every query from now on; `None` ends it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        lock(&self.shared.faults).of_all = fault;
    }

    /// Misbehaves to queries for this name, whatever it does to others; `None` ends it.
    pub fn set_fault_for(&self, asked: &str, fault: Option<Fault>) {
        let by_name = &mut lock(&self.shared.faults).by_name;
        match fault {
            Some(fault) => by_name.insert(name(asked), fault),
            None => by_name.remove(&name(asked)),
        };
    }

    /// The newest 65,536 queries, oldest first, whatever became of them.
    pub fn queries(&self) -> Vec<SeenQuery> {
        self.shared.seen.newest()
    }

    /// How many queries came, ever.
    pub fn query_count(&self) -> u64 {
        self.shared.seen.total()
    }

    /// Ends it and releases its port.
    pub async fn close(&self) {
        self.service.close().await;
    }
}

impl Shared {
    /// Logs a message and answers it; `None` where it gets no answer.
    fn handle(&self, bytes: &[u8], transport: Transport, source: SocketAddr) -> Option<Reply> {
        let asked = Asked::parse(bytes)?;
        let (name, kind) = asked.question();
        let fault = lock(&self.faults).for_name(&name);
        self.seen.push(SeenQuery { name, kind, transport, source, at: Instant::now() });
        let (bytes, delay) = match fault {
            Some(Fault::Silent) => return None,
            Some(Fault::Rcode(code)) => (asked.refusal(code.into(), transport)?, None),
            Some(Fault::Truncate) if transport == Transport::Udp => {
                (asked.truncated(&self.zones, transport)?, None)
            }
            Some(Fault::Delay(delay)) => (asked.answer(&self.zones, transport)?, Some(delay)),
            Some(Fault::Truncate) | None => (asked.answer(&self.zones, transport)?, None),
        };
        Some(Reply { bytes, delay })
    }
}

impl Faults {
    fn for_name(&self, name: &Name) -> Option<Fault> {
        self.by_name.get(name).copied().or(self.of_all)
    }
}

async fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let choices = if address.port() == 0 { PORT_CHOICES } else { 1 };
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..choices {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => {
                // A smaller buffer than wished for is no failure.
                let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(SOCKET_BUFFER);
                return Ok((udp, tcp));
            }
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

async fn serve_udp(shared: Arc<Shared>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut delayed = JoinSet::new();
    let mut buffer = vec![0; LARGEST_MESSAGE];
    loop {
        // An error is an ICMP message about an earlier answer: the client went away.
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        let reply = shared.handle(&buffer[..length], Transport::Udp, source);
        let Some(Reply { bytes, delay }) = reply else { continue };
        let Some(delay) = delay else {
            let _ = socket.send_to(&bytes, source).await;
            continue;
        };
        let socket = socket.clone();
        hold_back(&mut delayed, delay, async move {
            let _ = socket.send_to(&bytes, source).await;
        });
    }
}

/// Reads queries for as long as they keep coming; the writer ends when nothing is left to write.
async fn serve_tcp(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let (answers, unsent) = mpsc::channel(MOST_UNSENT);
    tokio::try_join!(read_queries(&shared, reader, peer, answers), write_answers(writer, unsent))?;
    Ok(())
}

async fn read_queries(
    shared: &Shared,
    mut reader: OwnedReadHalf,
    peer: SocketAddr,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut delayed = JoinSet::new();
    let mut message = Vec::new();
    loop {
        let length = match unless_idle(reader.read_u16()).await {
            Ok(length) => usize::from(length),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        };
        message.resize(length, 0);
        unless_idle(reader.read_exact(&mut message)).await?;
        let reply = shared.handle(&message, Transport::Tcp, peer);
        let Some(Reply { bytes, delay }) = reply else { continue };
        let answers = answers.clone();
        let send = async move {
            // The writer is gone only with the connection.
            let _ = answers.send(bytes).await;
        };
        match delay {
            None => send.await,
            Some(delay) => hold_back(&mut delayed, delay, send),
        }
    }
    // The client may have shut down its side only; it still gets what is held back.
    while delayed.join_next().await.is_some() {}
    Ok(())
}

async fn write_answers(
    mut writer: OwnedWriteHalf,
    mut unsent: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(bytes) = unsent.recv().await {
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        unless_idle(writer.write_all(&framed)).await?;
    }
    Ok(())
}

fn hold_back(
    delayed: &mut JoinSet<()>,
    delay: Duration,
    send: impl Future<Output = ()> + Send + 'static,
) {
    reap(delayed);
    if delayed.len() < MOST_DELAYED {
        delayed.spawn(async move {
            tokio::time::sleep(delay).await;
            send.await;
        });
    }
}

#[cfg(test)]
mod tests;
