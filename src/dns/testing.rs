//! Peers and messages for the tests of this room.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Engine;
use super::wire::{HEADER, IN};
use crate::clock::Clock;
use crate::model::plan::DnsSettings;
use crate::model::{
    Answer, LookupKey, LookupOutcome, Name, Observation, Path, RecordKind, Server, Transport,
    Upstream,
};
use crate::stats::Stats;

/// An answer in the making; each section as bytes with its count.
#[derive(Debug, Clone)]
pub struct Message {
    head: [u8; 4],
    question: Option<Vec<u8>>,
    sections: [(u16, Vec<u8>); 3],
}

/// A pointer to the question.
pub const QUESTION: &[u8] = &[0xc0, 0x0c];

impl Message {
    /// NOERROR, authoritative, to this query.
    pub fn to(query: &[u8]) -> Self {
        let question = query[HEADER..question_end(query)].to_vec();
        Self {
            head: [query[0], query[1], 0x84, 0],
            question: Some(question),
            sections: Default::default(),
        }
    }

    pub fn rcode(mut self, rcode: u8) -> Self {
        self.head[3] = rcode;
        self
    }

    /// The high byte of the flags: 0x80 QR, 0x04 AA, 0x02 TC.
    pub fn flags(mut self, high: u8) -> Self {
        self.head[2] = high;
        self
    }

    pub fn id(mut self, change: impl Fn(u8) -> u8) -> Self {
        self.head[1] = change(self.head[1]);
        self
    }

    pub fn asks(mut self, question: Option<Vec<u8>>) -> Self {
        self.question = question;
        self
    }

    /// A record of any kind in a section: 0 answer, 1 authority, 2 additional.
    pub fn record(
        mut self,
        section: usize,
        owner: &[u8],
        head: (u16, u16, u32),
        data: &[u8],
    ) -> Self {
        let (count, bytes) = &mut self.sections[section];
        *count += 1;
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&head.0.to_be_bytes());
        bytes.extend_from_slice(&head.1.to_be_bytes());
        bytes.extend_from_slice(&head.2.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(data);
        self
    }

    pub fn srv(self, weight: u16, target: &str) -> Self {
        let mut data = vec![0, 10];
        data.extend_from_slice(&weight.to_be_bytes());
        data.extend_from_slice(&1688_u16.to_be_bytes());
        data.extend(wire_name(target));
        self.record(0, QUESTION, (33, IN, 300), &data)
    }

    pub fn a(self, owner: &[u8], address: [u8; 4]) -> Self {
        self.record(0, owner, (1, IN, 300), &address)
    }

    pub fn cname(self, owner: &[u8], target: &str) -> Self {
        self.record(0, owner, (5, IN, 300), &wire_name(target))
    }

    pub fn soa(self) -> Self {
        self.record(1, &[0], (6, IN, 300), &[0; 22])
    }

    pub fn ns(self) -> Self {
        self.record(1, &[0], (2, IN, 300), &wire_name("ns1.test"))
    }

    /// EDNS with the high bits of the RCODE, and a cookie.
    pub fn edns(self, rcode_high: u8, cookie: &[u8]) -> Self {
        let mut data = Vec::new();
        if !cookie.is_empty() {
            data.extend_from_slice(&[0, 10, 0, u8::try_from(cookie.len()).expect("short")]);
            data.extend_from_slice(cookie);
        }
        self.record(2, &[0], (41, 1232, u32::from(rcode_high) << 24), &data)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.to_vec();
        bytes.extend_from_slice(&u16::from(self.question.is_some()).to_be_bytes());
        for (count, _) in &self.sections {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(self.question.as_deref().unwrap_or_default());
        for (_, section) in &self.sections {
            bytes.extend_from_slice(section);
        }
        bytes
    }
}

pub fn wire_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Where the question of a query ends.
pub fn question_end(query: &[u8]) -> usize {
    let mut at = HEADER;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// The name that a query asks for.
pub fn asked(query: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut at = HEADER;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    labels.join(".")
}

/// Whether a query carries EDNS, and its cookie.
pub fn cookie(query: &[u8]) -> Option<Vec<u8>> {
    // Root, type, class, TTL and length make 11 octets, option head 4.
    query.get(question_end(query) + 15..).map(<[u8]>::to_vec)
}

/// What a peer saw: when, from where, and the query.
pub type Seen = Arc<Mutex<Vec<(Instant, SocketAddr, Vec<u8>)>>>;

/// A UDP peer that answers each query with what `answer` makes of it.
pub async fn udp_peer(
    answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Seen) {
    serve_udp(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"), answer)
}

/// A UDP and a TCP peer on one port: the address, and what each saw.
pub async fn both_peers(
    udp: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    tcp: impl FnMut(&[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static,
) -> (SocketAddr, Seen, Seen) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (address, serve_udp(socket, udp).1, serve_tcp(listener, tcp).1);
        }
    }
}

fn serve_udp(
    socket: UdpSocket,
    mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Seen) {
    let address = socket.local_addr().expect("its address");
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            log.lock().expect("unpoisoned").push((Instant::now(), from, buffer[..length].to_vec()));
            for reply in answer(&buffer[..length]) {
                socket.send_to(&reply, from).await.ok();
            }
        }
    });
    (address, seen)
}

/// A TCP peer: `answer` makes frames of each query, `None` closes the connection.
/// Sees queries with the address of their connection.
pub async fn tcp_peer(
    answer: impl FnMut(&[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static,
) -> (SocketAddr, Seen) {
    serve_tcp(TcpListener::bind("127.0.0.1:0").await.expect("a port"), answer)
}

/// A TCP peer on a listener.
pub fn serve_tcp(
    listener: TcpListener,
    mut answer: impl FnMut(&[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static,
) -> (SocketAddr, Seen) {
    let address = listener.local_addr().expect("its address");
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_err() {
                    break;
                }
                log.lock().expect("unpoisoned").push((Instant::now(), from, query.clone()));
                let Some(replies) = answer(&query) else { break };
                for reply in replies {
                    stream.write_all(&reply).await.ok();
                }
            }
        }
    });
    (address, seen)
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("at most 64 KiB");
    [&length.to_be_bytes(), message].concat()
}

/// An engine and what it observed.
pub struct Lab {
    pub engine: Engine,
    pub stats: Arc<Stats>,
    pub observations: mpsc::Receiver<Vec<Observation>>,
    pending: Vec<Observation>,
}

/// 200 ms an attempt, three of them, and no rate to speak of.
pub const QUICK: DnsSettings =
    DnsSettings { timeout: Duration::from_millis(200), attempts: 3, rate: 1_000_000 };

impl Lab {
    pub fn new(settings: DnsSettings, upstreams: &[Arc<Upstream>]) -> Self {
        let (sender, observations) = mpsc::channel(16);
        let stats = Stats::new();
        let mut engine = Engine::new(settings, Clock::start(), stats.clone(), sender);
        engine.apply(settings, upstreams);
        Self { engine, stats, observations, pending: Vec::new() }
    }

    pub async fn next(&mut self) -> (LookupKey, Arc<Answer>) {
        while self.pending.is_empty() {
            let wait = timeout(Duration::from_secs(20), self.observations.recv()).await;
            self.pending = wait.expect("an observation in time").expect("the engine lives");
        }
        match self.pending.remove(0) {
            Observation::Lookup { key, answer, .. } => (key, answer),
            Observation::Probe { .. } => unreachable!("the engine probes nothing"),
        }
    }

    pub async fn lookup(
        &mut self,
        upstream: &Arc<Upstream>,
        name: &str,
        kind: RecordKind,
    ) -> Answer {
        assert!(self.engine.submit(upstream, vec![key(upstream, name, kind)]).is_empty());
        let (key, answer) = self.next().await;
        assert_eq!(key.name.as_str(), name);
        (*answer).clone()
    }
}

pub fn key(upstream: &Arc<Upstream>, name: &str, kind: RecordKind) -> LookupKey {
    LookupKey { upstream: upstream.clone(), name: Name::parse(name).expect("a name"), kind }
}

pub fn upstream(transport: Transport, address: SocketAddr) -> Arc<Upstream> {
    Arc::new(Upstream { server: Server { transport, address }, path: Path::default() })
}

pub fn over(address: SocketAddr, source: Option<IpAddr>, interface: Option<&str>) -> Arc<Upstream> {
    let server = Server { transport: Transport::Udp, address };
    Arc::new(Upstream {
        server,
        path: Path { source, interface: interface.map(Into::into), ..Path::default() },
    })
}

/// One lookup of `_vlmcs._tcp.test` at a UDP peer that answers like this.
pub async fn answer_of(
    answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (Answer, Vec<Vec<u8>>) {
    let (address, seen) = udp_peer(answer).await;
    let upstream = upstream(Transport::Udp, address);
    let answer = Lab::new(QUICK, std::slice::from_ref(&upstream))
        .lookup(&upstream, OWNER, RecordKind::Srv)
        .await;
    let seen = seen.lock().expect("unpoisoned").iter().map(|(.., query)| query.clone()).collect();
    (answer, seen)
}

pub const OWNER: &str = "_vlmcs._tcp.test";

/// The outcome and how many queries it took.
pub fn told(answer: &(Answer, Vec<Vec<u8>>)) -> (LookupOutcome, usize) {
    (answer.0.outcome, answer.1.len())
}
