//! `check` among hostile peers: whatever they send is an outcome, never a panic, a hang or a flood.

#[path = "peers/program.rs"]
mod program;
#[path = "peers/rpc.rs"]
mod rpc;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kmswatch::demo::{ANY_PORT, Data, DnsServer, Zones};
use program::{Report, check, set};
use rpc::{Behaviour, RpcPeer};
use serde_json::Value;
use tokio::time::Instant;

/// What a server sends for a query; it may also send from another port.
type Answer = fn(&[u8]) -> Vec<u8>;

/// A UDP server that answers as it likes; ends when dropped.
struct Hostile {
    address: SocketAddr,
    queries: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Answers each query with all of `answers`, the first `elsewhere` of them from another port.
    fn start(answers: &'static [Answer], elsewhere: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let other = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("its address");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero");
        let (queries, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (queries.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut query = [0; 4096];
            while !stop.load(Ordering::SeqCst) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                for (number, answer) in answers.iter().enumerate() {
                    let from = if number < elsewhere { &other } else { &socket };
                    from.send_to(&answer(&query[..length]), client).expect("loopback");
                }
            }
        });
        Self { address, queries, stopped, thread: Some(thread) }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A header of an authoritative answer with the query's id, `NOERROR`, and so many answers.
fn header(query: &[u8], answers: u8) -> Vec<u8> {
    vec![query[0], query[1], 0x84, 0, 0, 1, 0, answers, 0, 0, 0, 0]
}

/// The question of a query, as it stands behind the header: name, type, class.
fn question(query: &[u8]) -> &[u8] {
    let end = query[12..].iter().position(|byte| *byte == 0).expect("a name ends");
    &query[12..12 + end + 5]
}

/// A good answer: one SRV record with the target ".".
fn good(query: &[u8]) -> Vec<u8> {
    let record = [0xc0, 12, 0, 33, 0, 1, 0, 0, 1, 0x2c, 0, 7, 0, 0, 0, 0, 6, 0x98, 0];
    [&header(query, 1), question(query), &record].concat()
}

fn with_other_id(query: &[u8]) -> Vec<u8> {
    let mut answer = good(query);
    answer[0] ^= 0xff;
    answer
}

fn with_other_question(query: &[u8]) -> Vec<u8> {
    let mut answer = good(query);
    // The last letter before the root label.
    let letter = 12 + question(query).len() - 6;
    answer[letter] ^= 1;
    answer
}

/// The owner of the record points at itself.
fn with_a_loop(query: &[u8]) -> Vec<u8> {
    let question = question(query);
    let at = u8::try_from(12 + question.len()).expect("a short question");
    let record = [0xc0, at, 0, 33, 0, 1, 0, 0, 1, 0x2c, 0, 7, 0, 0, 0, 0, 6, 0x98, 0];
    [&header(query, 1), question, &record].concat()
}

fn with_a_count_that_lies(query: &[u8]) -> Vec<u8> {
    let mut answer = good(query);
    (answer[6], answer[7]) = (0xff, 0xff);
    answer
}

fn cut_short(query: &[u8]) -> Vec<u8> {
    let mut answer = good(query);
    answer.truncate(answer.len() - 5);
    answer
}

/// A good answer, and then padding up to the largest datagram.
fn of_64_kib(query: &[u8]) -> Vec<u8> {
    let mut answer = good(query);
    answer.resize(65_507, 0xaa);
    answer
}

/// Thousands of good records in one datagram.
fn of_thousands(query: &[u8]) -> Vec<u8> {
    let mut answer = [&header(query, 0), question(query)].concat();
    let mut count: u16 = 0;
    while answer.len() < 65_000 {
        let [high, low] = count.to_be_bytes();
        answer.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 1, 0x2c, 0, 13, 0, 0, 0, 0, high | 1, low]);
        answer.extend([5, b'k', b'm', b's', b'a' + high % 26, b'a' + low % 26, 0]);
        count += 1;
    }
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    answer
}

fn garbage(_: &[u8]) -> Vec<u8> {
    vec![0xff; 600]
}

fn nothing(_: &[u8]) -> Vec<u8> {
    Vec::new()
}

fn echo(query: &[u8]) -> Vec<u8> {
    query.to_vec()
}

fn check_server(server: SocketAddr) -> Report {
    check(&format!(
        "[dns]\ntimeout = \"500ms\"\nattempts = 2\n[[resolver]]\nname = \"r\"\nservers = [\"{server}\"]\n\
         [[domain]]\nname = \"contoso.test\"\n"
    ))
}

#[test]
fn whatever_a_dns_server_sends_is_an_outcome() {
    let table: [(&str, &'static [Answer], usize, &str); 12] = [
        ("a good answer", &[good], 0, "records"),
        ("garbage", &[garbage], 0, "timeout"),
        ("nothing", &[nothing], 0, "timeout"),
        ("the query", &[echo], 0, "malformed"),
        ("another id", &[with_other_id], 0, "timeout"),
        ("another question", &[with_other_question], 0, "timeout"),
        ("another peer", &[good], 1, "timeout"),
        (
            "a forgery and then the truth",
            &[with_other_id, garbage, with_other_question, good],
            1,
            "records",
        ),
        ("a compression loop", &[with_a_loop], 0, "malformed"),
        ("a count that lies", &[with_a_count_that_lies], 0, "malformed"),
        ("half a record", &[cut_short], 0, "malformed"),
        ("64 KiB of padding", &[of_64_kib], 0, "records"),
    ];
    for (name, answers, elsewhere, outcome) in table {
        let server = Hostile::start(answers, elsewhere);
        let began = Instant::now();
        let report = check_server(server.address);
        let answer = &report.json["domains"][0]["answers"][0];
        assert_eq!(answer["outcome"], outcome, "{name}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
        let queries = server.queries.load(Ordering::SeqCst);
        assert!((1..=3).contains(&queries), "{name}: {queries}");
        let expected = match outcome {
            "records" => set(["srv-declined domain:contoso.test critical active"]),
            _ => set([
                "dns-failure domain:contoso.test critical suppressed",
                "server-failure server:SERVER critical active",
            ]),
        };
        let names = [(server.address.to_string(), "SERVER")];
        assert_eq!(report.findings(&names), expected, "{name}: never an absence");
        assert_eq!(report.code, Some(2), "{name}");
    }
}

#[test]
fn thousands_of_records_in_one_datagram_are_bounded() {
    let server = Hostile::start(&[of_thousands], 0);
    let report = check_server(server.address);
    let answer = &report.json["domains"][0]["answers"][0];
    assert_eq!(answer["outcome"], "records");
    assert_eq!(answer["records"].as_array().expect("a list").len(), 128);
    // A and AAAA of 128 targets at most; it answers them with SRV records, which are no addresses.
    assert!(server.queries.load(Ordering::SeqCst) <= 1 + 2 * 128 * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_host_does_is_an_outcome() {
    let hosts = [
        ("kms", Behaviour::Kms, "kms", "up"),
        ("other", Behaviour::Rejects(2, 1), "rpc-other", "down"),
        ("any", Behaviour::AcceptsAny, "accepts-any", "up"),
        (
            "web",
            Behaviour::Answers(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "not-rpc",
            "down",
        ),
        (
            "greeter",
            Behaviour::Greets(b"220 mail.contoso.test ESMTP\r\n".to_vec()),
            "not-rpc",
            "down",
        ),
        ("dripper", Behaviour::Drips(Duration::from_millis(200)), "silent", "unknown"),
        ("flood", Behaviour::Floods(vec![0; 4096]), "not-rpc", "down"),
        ("echo", Behaviour::Echoes, "not-rpc", "down"),
        ("silent", Behaviour::Silent, "silent", "unknown"),
        ("ends", Behaviour::Ends, "closed-early", "unknown"),
    ];
    let zones = Zones::new();
    zones.add_zone("test");
    let mut peers = Vec::new();
    for (name, behaviour, _, _) in &hosts {
        let peer = RpcPeer::start(behaviour.clone());
        let target = format!("{name}.test");
        zones.insert("_vlmcs._tcp.contoso.test", Data::srv(0, 0, peer.address().port(), &target));
        zones.insert(&target, Data::A(Ipv4Addr::LOCALHOST));
        peers.push(peer);
    }
    let server = DnsServer::start(zones, ANY_PORT).await.expect("a free port");
    let config = format!(
        "[probe]\ntimeout = \"1s\"\n[[resolver]]\nname = \"r\"\nservers = [\"{}\"]\n\
         [[domain]]\nname = \"contoso.test\"\n",
        server.address()
    );
    let began = Instant::now();
    let report = tokio::task::spawn_blocking(move || check(&config)).await.expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for ((name, _, outcome, status), peer) in hosts.iter().zip(&peers) {
        let target = format!("{name}.test");
        let all = report.json["hosts"].as_array().expect("a list");
        let host: &Value =
            all.iter().find(|host| host["target"] == *target).unwrap_or_else(|| panic!("{target}"));
        assert_eq!(host["endpoints"][0]["outcome"], *outcome, "{name}: {host}");
        assert_eq!(host["status"], *status, "{name}");
        let seen = peer.wait_until_ended(1);
        assert_eq!(seen.len(), 1, "{name}: one connection");
        assert_eq!(seen[0].source.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let types = seen[0].packet_types().unwrap_or_else(|| panic!("{name}: no whole PDU"));
        assert!(types == [11] || (types.is_empty() && *name == "greeter"), "{name}: {types:?}");
    }
}

#[test]
fn a_closed_dns_port_is_told_at_once() {
    // Held by a bound socket of another protocol, so that nobody listens there.
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("a bound socket");
    let config = format!(
        "[[resolver]]\nname = \"r\"\nservers = [\"{address}\"]\n[[domain]]\nname = \"contoso.test\"\n"
    );
    let report = check(&config);
    assert_eq!(report.json["domains"][0]["answers"][0]["outcome"], "unreachable");
    let took = report.json["duration_seconds"].as_f64().expect("a number");
    assert!(took < 2.0, "three timeouts would be 6 s, and this took {took} s");
}
