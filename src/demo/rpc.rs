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
    /// A web server, which finds every bind a bad request.
    NotRpc,
    /// Takes connections and whatever comes, and says nothing.
    Silent,
}

#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    port: u16,
    associations: AtomicU32,
    sources: Seen<SocketAddr>,
    pdus: Seen<u8>,
}

/// What a web server says to what is no HTTP.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
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
        Behaviour::NotRpc => call_it_a_bad_request(stream).await,
        Behaviour::Silent => drain(stream).await,
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

async fn call_it_a_bad_request(mut stream: TcpStream) -> io::Result<()> {
    unless_idle(stream.read_u8()).await?;
    unless_idle(stream.write_all(BAD_REQUEST)).await?;
    drain(stream).await
}

async fn drain(stream: TcpStream) -> io::Result<()> {
    let read =
        async { tokio::io::copy(&mut stream.take(MOST_DRAINED), &mut tokio::io::sink()).await };
    unless_idle(read).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::demo::ANY_PORT;

    /// The KMS interface and one that cannot exist, both with NDR.
    const BIND_OF_TWO: [u8; 116] = [
        5, 0, 11, 3, 0x10, 0, 0, 0, 116, 0, 0, 0, 9, 0, 0, 0, //
        0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 2, 0, 0, 0, //
        0, 0, 1, 0, 0x75, 0x21, 0xc8, 0x51, 0x4e, 0x84, 0x50, 0x47, 0xb0, 0xd8, 0xec, 0x25, 0x55,
        0x55, 0xbc, 0x06, 1, 0, 0, 0, 0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8,
        0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0, //
        1, 0, 1, 0, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde,
        0xad, 0xbe, 0xef, 1, 0, 0, 0, 0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8,
        0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0,
    ];
    /// An empty request of operation 0: 24 octets.
    const REQUEST: [u8; 24] =
        [5, 0, 0, 3, 0x10, 0, 0, 0, 24, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    async fn listener(behaviour: Behaviour) -> RpcListener {
        RpcListener::start(behaviour, ANY_PORT).await.expect("127.0.0.1 has a free port")
    }

    /// All that comes until the listener ends the connection.
    async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest));
        read.await.expect("an end within 5 s").expect("an orderly end");
        rest
    }

    /// The answer to [`BIND_OF_TWO`] on a fresh connection, which stays open.
    async fn bind(listener: &RpcListener) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(listener.address()).await.expect("it listens");
        stream.write_all(&BIND_OF_TWO).await.expect("loopback");
        let mut header = [0; 16];
        stream.read_exact(&mut header).await.expect("an answer");
        let mut body = vec![0; usize::from(header[8]) - header.len()];
        stream.read_exact(&mut body).await.expect("a whole answer");
        (stream, [&header[..], &body].concat())
    }

    fn results(answer: &[u8]) -> [[u8; 4]; 2] {
        let at = |offset: usize| [0, 1, 2, 3].map(|octet| answer[answer.len() - offset + octet]);
        [at(48), at(24)]
    }

    #[tokio::test]
    async fn each_behaviour_answers_the_same_bind_in_its_way() {
        let (accept, reject) = ([0, 0, 0, 0], [2, 0, 1, 0]);
        for (behaviour, expected) in [
            (Behaviour::Kms, [accept, reject]),
            (Behaviour::OtherRpc, [reject, reject]),
            (Behaviour::AcceptsAny, [accept, accept]),
        ] {
            let listener = listener(behaviour).await;
            let (stream, answer) = bind(&listener).await;
            assert_eq!(results(&answer), expected, "{behaviour:?}");
            assert_eq!(answer[..16], [5, 0, 12, 3, 0x10, 0, 0, 0, 84, 0, 0, 0, 9, 0, 0, 0]);
            let port = format!("{}\0", listener.address().port());
            assert_eq!(answer[26..26 + port.len()], *port.as_bytes());
            assert_eq!(listener.pdus(), BTreeMap::from([(11, 1)]));
            assert_eq!(listener.sources(), [stream.local_addr().expect("connected")]);
        }
    }

    #[tokio::test]
    async fn a_request_is_counted_and_ends_the_connection_unanswered() {
        let listener = listener(Behaviour::Kms).await;
        let (mut after_bind, _) = bind(&listener).await;
        after_bind.write_all(&REQUEST).await.expect("loopback");
        assert_eq!(rest_of(&mut after_bind).await, b"");
        let mut at_once = TcpStream::connect(listener.address()).await.expect("it listens");
        at_once.write_all(&REQUEST).await.expect("loopback");
        assert_eq!(rest_of(&mut at_once).await, b"");
        let (mut twice, _) = bind(&listener).await;
        twice.write_all(&BIND_OF_TWO).await.expect("loopback");
        assert_eq!(rest_of(&mut twice).await, b"");
        assert_eq!(listener.pdus(), BTreeMap::from([(0, 2), (11, 3)]));
        assert_eq!(listener.connections(), 3);
    }

    #[tokio::test]
    async fn no_other_pdu_is_taken_for_a_bind_whatever_it_carries() {
        let listener = listener(Behaviour::AcceptsAny).await;
        for kind in (0..=20).filter(|kind| *kind != BIND) {
            let mut pdu = BIND_OF_TWO;
            pdu[2] = kind;
            let mut stream = TcpStream::connect(listener.address()).await.expect("it listens");
            stream.write_all(&pdu).await.expect("loopback");
            assert_eq!(rest_of(&mut stream).await, b"", "type {kind}");
        }
        let each_once = (0..=20).filter(|kind| *kind != BIND).map(|kind| (kind, 1)).collect();
        assert_eq!(listener.pdus(), each_once);
    }

    #[tokio::test]
    async fn what_is_no_rpc_ends_the_connection_unanswered() {
        let listener = listener(Behaviour::AcceptsAny).await;
        let mut stream = TcpStream::connect(listener.address()).await.expect("it listens");
        stream.write_all(b"GET / HTTP/1.0\r\n").await.expect("loopback");
        assert_eq!(rest_of(&mut stream).await, b"");
        assert_eq!((listener.connections(), listener.pdus().len()), (1, 0));
    }

    #[tokio::test]
    async fn another_service_says_its_own_and_a_silent_one_nothing() {
        for (behaviour, said) in [(Behaviour::NotRpc, BAD_REQUEST), (Behaviour::Silent, b"")] {
            let listener = listener(behaviour).await;
            let mut stream = TcpStream::connect(listener.address()).await.expect("it listens");
            stream.write_all(&BIND_OF_TWO).await.expect("loopback");
            stream.shutdown().await.expect("our side ends");
            assert_eq!(rest_of(&mut stream).await, said, "{behaviour:?}");
            assert_eq!((listener.connections(), listener.pdus().len()), (1, 0));
        }
    }

    #[tokio::test]
    async fn a_closed_listener_refuses_and_releases_its_port() {
        let listener = listener(Behaviour::Kms).await;
        let (mut open, _) = bind(&listener).await;
        listener.close().await;
        let refused = TcpStream::connect(listener.address()).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(rest_of(&mut open).await, b"");
        assert!(RpcListener::start(Behaviour::Kms, listener.address()).await.is_ok());
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_their_turn() {
        let listener = listener(Behaviour::Kms).await;
        let mut served = Vec::new();
        for _ in 0..256 {
            served.push(bind(&listener).await);
        }
        let mut waiting =
            TcpStream::connect(listener.address()).await.expect("the kernel queues it");
        waiting.write_all(&BIND_OF_TWO).await.expect("loopback");
        assert_eq!(listener.connections(), 256);
        served.pop();
        assert_eq!(waiting.read_u8().await.expect("its turn"), 5);
        assert_eq!(listener.connections(), 257);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_or_half_is_dismissed() {
        let listener = listener(Behaviour::Kms).await;
        for said in [0, 15, 115] {
            let began = Instant::now();
            let mut stream = TcpStream::connect(listener.address()).await.expect("it listens");
            stream.write_all(&BIND_OF_TWO[..said]).await.expect("loopback");
            assert_eq!(stream.read(&mut [0]).await.ok(), Some(0), "after {said} octets");
            assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
}
