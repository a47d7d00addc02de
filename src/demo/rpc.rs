//! An RPC listener for the demo and for tests: it answers a bind, and nothing else ever.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::pdu::{BIND, ENDPOINT_MAPPER, HEADER, Header, KMS, Registered, answer_bind};
use super::seen::Seen;
use super::serve::{Service, accept_all, unless_idle};

/// A listener that answers RPC binds, one a connection; dropping it ends it.
///
/// It is no KMS host and cannot become one: a request, or anything else after the bind, is counted,
/// and the connection is closed.
#[derive(Debug)]
pub struct RpcListener {
    address: SocketAddr,
    shared: Arc<Shared>,
    service: Service,
}

/// What a listener pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// RPC with the KMS interface registered; any other is rejected as Windows documents it (2, 1).
    Kms,
    /// RPC with another interface: the endpoint mapper's.
    OtherRpc,
    /// Accepts every interface, which Microsoft's runtime does not.
    AcceptsAny,
    /// Sends the banner of an SSH server.
    NotRpc,
}

#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    port: u16,
    associations: AtomicU32,
    sources: Seen<SocketAddr>,
    pdus: Seen<u8>,
}

/// What an SSH server says first.
const SSH_BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
/// Of a peer that talks to what is no RPC, at most so much is read.
const MOST_DRAINED: u64 = 8192;

impl RpcListener {
    /// Listens and answers binds; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(behaviour: Behaviour, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour,
            port: address.port(),
            associations: AtomicU32::new(1),
            sources: Seen::new(),
            pdus: Seen::new(),
        });
        let for_connections = shared.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_all(listener, move |stream, peer| {
            for_connections.sources.push(peer);
            serve(for_connections.clone(), stream)
        }));
        Ok(Self { address, shared, service: Service::new(tasks) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted, ever.
    pub fn connections(&self) -> u64 {
        self.shared.sources.total()
    }

    /// The peers of the newest 65,536 connections, oldest first.
    pub fn sources(&self) -> Vec<SocketAddr> {
        self.shared.sources.newest()
    }

    /// How many PDUs came, by type (11 is `bind`, 0 is `request`), of the newest 65,536.
    pub fn pdus(&self) -> BTreeMap<u8, u64> {
        let mut counts = BTreeMap::new();
        for kind in self.shared.pdus.newest() {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// Ends it and releases its port: connections are refused from now on.
    pub async fn close(&self) {
        self.service.close().await;
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    match shared.behaviour {
        Behaviour::Kms => shared.answer_one_bind(stream, Registered::Only(KMS)).await,
        Behaviour::OtherRpc => {
            shared.answer_one_bind(stream, Registered::Only(ENDPOINT_MAPPER)).await
        }
        Behaviour::AcceptsAny => shared.answer_one_bind(stream, Registered::Any).await,
        Behaviour::NotRpc => send_banner(stream).await,
    }
}

impl Shared {
    /// Answers the bind, then waits for the peer to go; what it sends instead ends the connection.
    async fn answer_one_bind(
        &self,
        mut stream: TcpStream,
        registered: Registered,
    ) -> io::Result<()> {
        let Some((header, body)) = self.read_pdu(&mut stream).await? else { return Ok(()) };
        if header.kind != BIND {
            return Ok(());
        }
        let association = self.associations.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = answer_bind(header, &body, registered, self.port, association) else {
            return Ok(());
        };
        unless_idle(stream.write_all(&answer)).await?;
        self.read_pdu(&mut stream).await?;
        Ok(())
    }

    /// Reads and counts one whole PDU; `None` where this is no RPC.
    async fn read_pdu(&self, stream: &mut TcpStream) -> io::Result<Option<(Header, Vec<u8>)>> {
        let mut header = [0; HEADER];
        unless_idle(stream.read_exact(&mut header)).await?;
        let Some(header) = Header::parse(&header) else { return Ok(None) };
        self.pdus.push(header.kind);
        let mut body = vec![0; header.rest];
        unless_idle(stream.read_exact(&mut body)).await?;
        Ok(Some((header, body)))
    }
}

async fn send_banner(mut stream: TcpStream) -> io::Result<()> {
    unless_idle(stream.write_all(SSH_BANNER)).await?;
    let drain =
        async { tokio::io::copy(&mut stream.take(MOST_DRAINED), &mut tokio::io::sink()).await };
    unless_idle(drain).await?;
    Ok(())
}
