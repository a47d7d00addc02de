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
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::Name as WireName;

    use super::*;
    use crate::demo::ANY_PORT;
    use crate::demo::zones::Data;

    const BIG: &str = "_vlmcs._tcp.big.contoso.test";
    const KMS: &str = "_vlmcs._tcp.contoso.test";

    async fn server() -> DnsServer {
        let zones = Zones::new();
        zones.add_zone("contoso.test");
        zones.insert(KMS, Data::srv(10, 75, 1688, "kms.contoso.test"));
        zones.insert("kms.contoso.test", Data::A(Ipv4Addr::LOCALHOST));
        zones.insert_with_ttl("kms.contoso.test", 60, Data::Aaaa(Ipv6Addr::LOCALHOST));
        zones.insert("alias.contoso.test", Data::cname("kms.contoso.test"));
        for port in 1..=100 {
            zones.insert(BIG, Data::srv(0, 0, port, "kms.contoso.test"));
        }
        DnsServer::start(zones, ANY_PORT).await.expect("127.0.0.1 has a free port")
    }

    /// What dig prints of an answer: status, flags, EDNS, counts, then the records unless many.
    async fn dig(server: &DnsServer, arguments: &str) -> Vec<String> {
        let output = tokio::process::Command::new("dig")
            .args(["@127.0.0.1", "-p", &server.address().port().to_string()])
            .args(
                "-r +norec +nocookie +tries=1 +time=5 +noall +comments +answer +authority"
                    .split(' '),
            )
            .args(arguments.split(' '))
            .output()
            .await
            .expect("dig runs");
        let text = String::from_utf8(output.stdout).expect("dig prints text");
        let mut told = Vec::new();
        let mut records = Vec::new();
        for line in text.lines() {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some((_, status)) = words.split_once("status: ") {
                told.push(status.split(',').next().unwrap_or_default().to_owned());
            } else if let Some(flags) = words.strip_prefix(";; flags: ") {
                told.push(flags.split(", ADDITIONAL").next().unwrap_or_default().to_owned());
            } else if words.starts_with("; EDNS") || words.starts_with(";; Truncated") {
                told.push(words);
            } else if !words.is_empty() && !words.starts_with(';') {
                records.push(words);
            }
        }
        if records.len() < 3 {
            told.extend(records);
        }
        told
    }

    #[tokio::test]
    async fn dig_reads_every_kind_of_answer() {
        const EDNS: &str = "; EDNS: version: 0, flags:; udp: 1232";
        const SOA: &str = "contoso.test. 300 IN SOA ns.contoso.test. hostmaster.contoso.test. 105 3600 600 86400 300";
        let server = server().await;
        let nodata = ["NOERROR", "qr aa; QUERY: 1, ANSWER: 0, AUTHORITY: 1", EDNS, SOA];
        let one = ["NOERROR", "qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0"];
        let srv = "_VLMCS._tcp.contoso.TEST. 3600 IN SRV 10 75 1688 kms.contoso.test.";
        for (arguments, expected) in [
            ("_VLMCS._tcp.contoso.TEST SRV", vec![one[0], one[1], EDNS, srv]),
            ("+tcp +noedns _VLMCS._tcp.contoso.TEST SRV", vec![one[0], one[1], srv]),
            (
                "kms.contoso.test A",
                vec![one[0], one[1], EDNS, "kms.contoso.test. 3600 IN A 127.0.0.1"],
            ),
            (
                "kms.contoso.test AAAA",
                vec![one[0], one[1], EDNS, "kms.contoso.test. 60 IN AAAA ::1"],
            ),
            (
                "+noedns alias.contoso.test A",
                vec![
                    "NOERROR",
                    "qr aa; QUERY: 1, ANSWER: 2, AUTHORITY: 0",
                    "alias.contoso.test. 3600 IN CNAME kms.contoso.test.",
                    "kms.contoso.test. 3600 IN A 127.0.0.1",
                ],
            ),
            ("_tcp.contoso.test SRV", nodata.to_vec()),
            ("kms.contoso.test SRV", nodata.to_vec()),
            ("contoso.test SOA", vec![one[0], one[1], EDNS, SOA]),
            (
                "+dnssec gone.contoso.test SRV",
                vec![
                    "NXDOMAIN",
                    "qr aa; QUERY: 1, ANSWER: 0, AUTHORITY: 1",
                    "; EDNS: version: 0, flags: do; udp: 1232",
                    SOA,
                ],
            ),
            ("fabrikam.test SRV", vec!["REFUSED", "qr; QUERY: 1, ANSWER: 0, AUTHORITY: 0", EDNS]),
            (
                "kms.contoso.test CH A",
                vec!["REFUSED", "qr; QUERY: 1, ANSWER: 0, AUTHORITY: 0", EDNS],
            ),
            (
                "+opcode=STATUS kms.contoso.test A",
                vec!["NOTIMP", "qr; QUERY: 1, ANSWER: 0, AUTHORITY: 0", EDNS],
            ),
            (
                "+edns=1 +noednsnegotiation kms.contoso.test A",
                vec!["BADVERS", "qr; QUERY: 1, ANSWER: 0, AUTHORITY: 0", EDNS],
            ),
        ] {
            assert_eq!(dig(&server, arguments).await, expected, "dig {arguments}");
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_truncated_and_whole_over_tcp() {
        const EDNS: &str = "; EDNS: version: 0, flags:; udp: 1232";
        let server = server().await;
        let whole = "qr aa; QUERY: 1, ANSWER: 100, AUTHORITY: 0";
        let cut = |records| format!("qr aa tc; QUERY: 1, ANSWER: {records}, AUTHORITY: 0");
        let large = dig(&server, &format!("+ignore +bufsize=4096 {BIG} SRV")).await;
        assert_eq!(large, ["NOERROR", whole, EDNS]);
        let plain = dig(&server, &format!("+ignore +noedns {BIG} SRV")).await;
        assert!(
            plain.contains(&cut(12)) || plain.contains(&cut(13)) || plain.contains(&cut(14)),
            "{plain:?}"
        );
        let retried = dig(&server, &format!("+bufsize=1232 {BIG} SRV")).await;
        assert_eq!(retried, [";; Truncated, retrying in TCP mode.", "NOERROR", whole, EDNS]);
        let transports: Vec<Transport> =
            server.queries().into_iter().map(|query| query.transport).collect();
        assert_eq!(transports, [Transport::Udp, Transport::Udp, Transport::Udp, Transport::Tcp]);
    }

    #[tokio::test]
    async fn faults_hit_all_names_or_one_and_end() {
        let server = server().await;
        let status = async |arguments: &str| dig(&server, arguments).await.swap_remove(0);
        server.set_fault(Some(Fault::Rcode(2)));
        server.set_fault_for("KMS.contoso.test.", Some(Fault::Rcode(3)));
        assert_eq!(status("+noedns _vlmcs._tcp.contoso.test SRV").await, "SERVFAIL");
        assert_eq!(status("+tcp kms.contoso.test A").await, "NXDOMAIN");
        server.set_fault_for("kms.contoso.test", None);
        assert_eq!(status("kms.contoso.test A").await, "SERVFAIL");
        server.set_fault(Some(Fault::Rcode(17)));
        assert_eq!(status("kms.contoso.test A").await, "?17");
        server.set_fault(Some(Fault::Truncate));
        let truncated = dig(&server, "+ignore +noedns kms.contoso.test A").await;
        assert_eq!(truncated, ["NOERROR", "qr aa tc; QUERY: 1, ANSWER: 0, AUTHORITY: 0"]);
        let whole = dig(&server, "+tcp +noedns kms.contoso.test A").await;
        assert_eq!(whole[1], "qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0");
        server.set_fault(None);
        assert_eq!(status("kms.contoso.test A").await, "NOERROR");
    }

    fn question(id: u16, asked: &str) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = id;
        let asked = WireName::from_ascii(asked).expect("a name");
        message.add_query(Query::query(asked, RecordType::SRV));
        message.to_vec().expect("a small message")
    }

    async fn client_of(server: &DnsServer) -> UdpSocket {
        let client = UdpSocket::bind(ANY_PORT).await.expect("a free port");
        client.connect(server.address()).await.expect("loopback");
        client
    }

    async fn next_id(client: &UdpSocket) -> u16 {
        let mut buffer = [0; 512];
        let received = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer));
        received.await.expect("an answer within 5 s").expect("an open port");
        u16::from_be_bytes([buffer[0], buffer[1]])
    }

    #[tokio::test]
    async fn silence_and_delay_of_one_name_hold_up_no_other() {
        let server = server().await;
        let client = client_of(&server).await;
        let delay = Duration::from_millis(60);
        server.set_fault_for(KMS, Some(Fault::Delay(delay)));
        server.set_fault_for("silent.contoso.test", Some(Fault::Silent));
        for (id, asked) in
            [(1, "silent.contoso.test."), (2, &format!("{KMS}.")), (3, "other.contoso.test.")]
        {
            client.send(&question(id, asked)).await.expect("loopback");
        }
        let began = server_saw(&server, 3).await[1].at;
        assert_eq!(next_id(&client).await, 3);
        assert_eq!(next_id(&client).await, 2);
        assert!(began.elapsed() >= delay);
        let mut nothing = [0; 1];
        assert!(client.try_recv(&mut nothing).is_err(), "the silent one answered");
        let seen = server.queries();
        assert_eq!((seen.len(), server.query_count()), (3, 3));
        assert_eq!(seen[0].name.as_str(), "silent.contoso.test");
        assert!(seen.iter().all(|query| query.kind == RecordType::SRV));
        assert_eq!(Some(seen[0].source), client.local_addr().ok());
    }

    async fn server_saw(server: &DnsServer, count: u64) -> Vec<SeenQuery> {
        let all_seen = async {
            while server.query_count() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), all_seen).await.expect("queries within 5 s");
        server.queries()
    }

    #[tokio::test]
    async fn garbage_gets_no_answer_and_does_no_harm() {
        let server = server().await;
        let client = client_of(&server).await;
        let mut an_answer = question(1, "kms.contoso.test.");
        an_answer[2] |= 0x80;
        let mut promises_two = question(2, "kms.contoso.test.");
        promises_two[5] = 2;
        let loops = [&question(3, ".")[..12], &[0xc0, 12, 0, 33, 0, 1]].concat();
        for garbage in [&b""[..], b"x", &[0xff; 40], &an_answer, &promises_two, &loops] {
            client.send(garbage).await.expect("loopback");
        }
        client.send(&question(4, "kms.contoso.test.")).await.expect("loopback");
        assert_eq!(next_id(&client).await, 4);
        assert_eq!(server.query_count(), 1);
    }

    #[tokio::test]
    async fn pipelined_queries_are_answered_as_they_are_ready() {
        let server = server().await;
        server.set_fault_for(KMS, Some(Fault::Delay(Duration::from_millis(60))));
        let mut client = TcpStream::connect(server.address()).await.expect("it listens");
        let mut sent = Vec::new();
        for (id, asked) in
            [(1, format!("{KMS}.")), (2, "kms.contoso.test.".into()), (3, "gone.test.".into())]
        {
            let message = question(id, &asked);
            sent.extend(u16::try_from(message.len()).expect("small").to_be_bytes());
            sent.extend(message);
        }
        client.write_all(&sent).await.expect("loopback");
        client.shutdown().await.expect("our side ends");
        let mut ids = Vec::new();
        while let Ok(length) = client.read_u16().await {
            let mut message = vec![0; usize::from(length)];
            client.read_exact(&mut message).await.expect("a whole answer");
            ids.push(u16::from_be_bytes([message[0], message[1]]));
        }
        assert_eq!(ids, [2, 3, 1]);
    }

    #[tokio::test]
    async fn a_closed_server_releases_its_port() {
        let server = server().await;
        server.close().await;
        // A dig that another test is just starting may still hold a copy of the UDP socket.
        let restarted = async {
            loop {
                match DnsServer::start(Zones::new(), server.address()).await {
                    Ok(again) => break again,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let restarted = tokio::time::timeout(Duration::from_secs(5), restarted);
        let again = restarted.await.expect("the port is free");
        assert_eq!(again.address(), server.address());
        let taken = DnsServer::start(Zones::new(), server.address()).await;
        assert_eq!(taken.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tcp_client_that_says_nothing_or_half_is_dismissed() {
        let server = server().await;
        for said in [&b""[..], b"\0", b"\0\x40half"] {
            let began = Instant::now();
            let mut client = TcpStream::connect(server.address()).await.expect("it listens");
            client.write_all(said).await.expect("loopback");
            assert_eq!(client.read(&mut [0]).await.ok(), Some(0), "{said:?}");
            assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
}
