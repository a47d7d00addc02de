//! The server as dig and plain sockets see it.

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
        .args("-r +norec +nocookie +tries=1 +time=5 +noall +comments +answer +authority".split(' '))
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
    const SOA: &str =
        "contoso.test. 300 IN SOA ns.contoso.test. hostmaster.contoso.test. 105 3600 600 86400 300";
    let server = server().await;
    let nodata = ["NOERROR", "qr aa; QUERY: 1, ANSWER: 0, AUTHORITY: 1", EDNS, SOA];
    let one = ["NOERROR", "qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0"];
    let srv = "_VLMCS._tcp.contoso.TEST. 3600 IN SRV 10 75 1688 kms.contoso.test.";
    for (arguments, expected) in [
        ("_VLMCS._tcp.contoso.TEST SRV", vec![one[0], one[1], EDNS, srv]),
        ("+tcp +noedns _VLMCS._tcp.contoso.TEST SRV", vec![one[0], one[1], srv]),
        ("kms.contoso.test A", vec![one[0], one[1], EDNS, "kms.contoso.test. 3600 IN A 127.0.0.1"]),
        ("kms.contoso.test AAAA", vec![one[0], one[1], EDNS, "kms.contoso.test. 60 IN AAAA ::1"]),
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
        ("kms.contoso.test CH A", vec!["REFUSED", "qr; QUERY: 1, ANSWER: 0, AUTHORITY: 0", EDNS]),
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
