//! Probes of peers that answer well, badly, or not at all: what comes of it, what they were sent, and
//! how it ended.

#[path = "peers/document.rs"]
mod document;
#[path = "peers/rpc.rs"]
mod rpc;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kmswatch::clock::Clock;
use kmswatch::model::plan::{Depth, ProbeSettings};
use kmswatch::model::{EndpointKey, Observation, Path, Probe, ProbeOutcome};
use kmswatch::probe::{Prober, probe};
use kmswatch::stats::Stats;
use rpc::{Behaviour, Ended, RpcPeer, bind_ack};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A deadline for peers that are waited out, and one that no test reaches.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

fn settings(timeout: Duration) -> ProbeSettings {
    ProbeSettings { timeout, ..ProbeSettings::default() }
}

fn key(address: SocketAddr) -> EndpointKey {
    EndpointKey { path: Arc::default(), address }
}

/// A good reply with some bytes replaced.
fn patched(at: usize, with: &[u8]) -> Vec<u8> {
    let mut reply = bind_ack(2, (0, 0), (2, 1));
    reply[at..at + with.len()].copy_from_slice(with);
    reply
}

fn big_endian_ack() -> Vec<u8> {
    let mut reply = vec![5, 0, 12, 3, 0, 0, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0];
    reply.extend([0x10, 0xb8, 0x10, 0xb8, 0, 0, 0x56, 0x78, 0, 0, 0, 0, 2, 0, 0, 0]);
    reply.extend([0; 24]);
    reply.extend([0, 2, 0, 1]);
    reply.resize(80, 0);
    reply
}

fn answers_that_are_read() -> Vec<(&'static str, Behaviour, ProbeOutcome)> {
    let nak = vec![5, 0, 13, 3, 16, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 5, 0, 0, 0, 0];
    let mut fault = vec![5, 0, 3, 3, 16, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0];
    fault.extend([0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0x1c, 0, 0, 0, 0]);
    let good = bind_ack(2, (0, 0), (2, 1));
    vec![
        ("a KMS host", Behaviour::Kms, ProbeOutcome::Kms),
        ("a big-endian one", Behaviour::Answers(big_endian_ack()), ProbeOutcome::Kms),
        ("a good reply without end", Behaviour::Floods(good), ProbeOutcome::Kms),
        ("all accepted", Behaviour::AcceptsAny, ProbeOutcome::AcceptsAny),
        ("rejected as by impacket", Behaviour::Rejects(1, 1), ProbeOutcome::RpcOther),
        ("rejected as by Windows", Behaviour::Rejects(2, 1), ProbeOutcome::RpcOther),
        (
            "the control accepted",
            Behaviour::Answers(bind_ack(2, (2, 1), (0, 0))),
            ProbeOutcome::RpcOther,
        ),
        ("bind_nak", Behaviour::Answers(nak), ProbeOutcome::RpcOther),
        ("fault", Behaviour::Answers(fault), ProbeOutcome::RpcOther),
    ]
}

fn answers_that_are_none() -> Vec<(&'static str, Behaviour, ProbeOutcome)> {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let endless_header = patched(8, &[0xff, 0xff]);
    let mut endless_body = patched(8, &[0xd0, 0x16]);
    endless_body.resize(5840, 0);
    endless_body[32] = 9;
    vec![
        ("HTTP", Behaviour::Answers(http), ProbeOutcome::NotRpc),
        ("SSH", Behaviour::Greets(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()), ProbeOutcome::NotRpc),
        ("an echo", Behaviour::Echoes, ProbeOutcome::NotRpc),
        ("a flood", Behaviour::Floods(vec![b'A'; 65536]), ProbeOutcome::NotRpc),
        ("a flood of headers", Behaviour::Floods(endless_header), ProbeOutcome::NotRpc),
        ("a flood of bodies", Behaviour::Floods(endless_body), ProbeOutcome::NotRpc),
        ("too long", Behaviour::Answers(patched(8, &[0xd1, 0x16])), ProbeOutcome::NotRpc),
        ("made beforehand", Behaviour::Greets(patched(0, &[])), ProbeOutcome::NotRpc),
        ("address beyond it", Behaviour::Answers(patched(24, &[0xff, 0])), ProbeOutcome::NotRpc),
        ("one result", Behaviour::Answers(bind_ack(1, (0, 0), (0, 0))), ProbeOutcome::NotRpc),
        (
            "half a reply, then FIN",
            Behaviour::AnswersAndEnds(patched(0, &[])[..24].to_vec()),
            ProbeOutcome::ClosedEarly,
        ),
        ("FIN at once", Behaviour::Ends, ProbeOutcome::ClosedEarly),
    ]
}

fn answers_that_do_not_come() -> Vec<(&'static str, Behaviour, ProbeOutcome)> {
    let half = patched(0, &[])[..24].to_vec();
    vec![
        ("nothing", Behaviour::Silent, ProbeOutcome::Silent),
        ("a slow drip", Behaviour::Drips(SHORT / 4), ProbeOutcome::Silent),
        ("half a reply", Behaviour::Answers(half), ProbeOutcome::Silent),
    ]
}

#[tokio::test]
async fn each_peer_has_its_outcome_and_is_sent_one_bind_and_a_reset() {
    let come = answers_that_are_read().into_iter().chain(answers_that_are_none());
    let rows = come.map(|row| (row, LONG));
    let rows = rows.chain(answers_that_do_not_come().into_iter().map(|row| (row, SHORT)));
    let mut table = document::table("RPC peers of the tests")[..1].to_vec();
    for ((name, behaviour, expected), timeout) in rows {
        table.push(vec![name.to_owned(), expected.to_string()]);
        let peer = RpcPeer::start(behaviour);
        let started = Instant::now();
        let probe = probe(&key(peer.address()), &settings(timeout)).await;
        assert!(started.elapsed() < SHORT * 8, "{name} took {:?}", started.elapsed());
        assert_eq!(probe.outcome, expected, "{name}: {probe:?}");
        assert!(probe.connect.is_some(), "{name}");
        let whole = matches!(
            expected,
            ProbeOutcome::Kms | ProbeOutcome::AcceptsAny | ProbeOutcome::RpcOther
        );
        assert_eq!(probe.bind.is_some(), whole, "{name}: a whole reply has a duration");
        let seen = peer.wait_until_ended(1);
        assert_eq!(seen.len(), 1, "{name}: one connection");
        assert_eq!(seen[0].packet_types(), Some(vec![11]), "{name}: one bind");
        assert_eq!(seen[0].bytes.len(), 116, "{name}: two contexts");
        assert_eq!(seen[0].ended, Some(Ended::Reset), "{name}: nothing is left in TIME_WAIT");
    }
    assert_eq!(table, document::table("RPC peers of the tests"));
}

#[tokio::test]
async fn an_instant_reset_is_reset() {
    let peer = RpcPeer::start(Behaviour::Resets);
    assert_eq!(probe(&key(peer.address()), &settings(LONG)).await.outcome, ProbeOutcome::Reset);
    assert_eq!(peer.wait_until_ended(1).len(), 1);
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let address = RpcPeer::start(Behaviour::Silent).address();
    let probe = probe(&key(address), &settings(LONG)).await;
    assert_eq!(probe.outcome, ProbeOutcome::Refused);
    assert_eq!((probe.connect, probe.bind), (None, None));
}

#[tokio::test]
async fn depth_tcp_sends_nothing_and_resets() {
    let peer = RpcPeer::start(Behaviour::Kms);
    let settings = ProbeSettings { depth: Depth::Tcp, ..settings(LONG) };
    let probe = probe(&key(peer.address()), &settings).await;
    assert_eq!(probe.outcome, ProbeOutcome::Open);
    assert!(probe.connect.is_some() && probe.bind.is_none());
    let seen = peer.wait_until_ended(1);
    assert_eq!((seen[0].bytes.len(), seen[0].ended), (0, Some(Ended::Reset)));
}

#[tokio::test]
async fn without_a_control_one_context_is_offered() {
    let settings = ProbeSettings { control: false, ..settings(LONG) };
    for (behaviour, expected) in [
        (Behaviour::Kms, ProbeOutcome::Kms),
        (Behaviour::AcceptsAny, ProbeOutcome::Kms),
        (Behaviour::Rejects(2, 1), ProbeOutcome::RpcOther),
    ] {
        let peer = RpcPeer::start(behaviour);
        assert_eq!(probe(&key(peer.address()), &settings).await.outcome, expected);
        let seen = peer.wait_until_ended(1);
        assert_eq!((seen[0].bytes.len(), seen[0].packet_types()), (72, Some(vec![11])));
    }
}

#[tokio::test]
async fn each_bind_has_its_own_call_and_control() {
    let peer = RpcPeer::start(Behaviour::Kms);
    for _ in 0..2 {
        assert_eq!(probe(&key(peer.address()), &settings(LONG)).await.outcome, ProbeOutcome::Kms);
    }
    let seen = peer.wait_until_ended(2);
    assert_eq!((peer.connections(), peer.pdus()), (2, 2));
    let (first, second) = (&seen[0].bytes, &seen[1].bytes);
    assert_ne!(first[12..16], second[12..16], "the call");
    assert_ne!(first[76..92], second[76..92], "the control");
    assert_eq!(first[16..76], second[16..76], "nothing else");
}

#[tokio::test]
async fn details_say_what_a_peer_said() {
    for (behaviour, expected) in [
        (
            Behaviour::Answers(b"HTTP/1.1 400 Bad\r\n".to_vec()),
            r#"no RPC version 5; it began with "HTTP/1.1 400 Bad\r\n""#,
        ),
        (
            Behaviour::Answers(vec![0xff; 60]),
            r#"no RPC version 5; it began with "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff""#,
        ),
        (
            Behaviour::Rejects(2, 1),
            "KMS interface rejected, result 2 reason 1 (interface not supported); \
             control interface rejected, result 2 reason 1 (interface not supported)",
        ),
        (Behaviour::AnswersAndEnds(vec![5, 0, 12]), "the stream ended after 3 bytes of a reply"),
    ] {
        let peer = RpcPeer::start(behaviour);
        let probe = probe(&key(peer.address()), &settings(LONG)).await;
        assert_eq!(probe.detail.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_probe_leaves_from_its_path() {
    let peer = RpcPeer::start(Behaviour::Kms);
    let from = |source: &str, interface: Option<&str>| EndpointKey {
        path: Arc::new(Path {
            source: source.parse().ok(),
            interface: interface.map(Arc::from),
            ..Path::default()
        }),
        address: peer.address(),
    };
    let outcome = async |key| {
        let Probe { outcome, detail, .. } = probe(&key, &settings(LONG)).await;
        (outcome, detail.map(|detail| detail.to_string()).unwrap_or_default())
    };
    let kms = (ProbeOutcome::Kms, String::new());
    assert_eq!(outcome(from("127.0.0.2", None)).await, kms);
    assert_eq!(outcome(from("127.0.0.3", Some("lo"))).await, kms);
    assert_eq!(peer.sources(), [[127, 0, 0, 2], [127, 0, 0, 3]].map(IpAddr::from));
    for (source, interface, words) in [
        ("192.0.2.1", None, "the source 192.0.2.1 is not on this machine"),
        ("", Some("absent0"), "the interface absent0 is not on this machine"),
        (
            "",
            Some("lo-and-far-too-long"),
            "the interface lo-and-far-too-long is not on this machine",
        ),
    ] {
        let expected = (ProbeOutcome::Unreachable, words.to_owned());
        assert_eq!(outcome(from(source, interface)).await, expected);
    }
    assert_eq!(peer.connections(), 2, "another way is never tried");
}

fn prober(
    concurrency: usize,
    room: usize,
) -> (Prober, Arc<Stats>, mpsc::Receiver<Vec<Observation>>) {
    let (observations, receiver) = mpsc::channel(room);
    let stats = Stats::new();
    let settings = ProbeSettings { concurrency, ..settings(LONG) };
    (Prober::new(settings, Clock::start(), stats.clone(), observations), stats, receiver)
}

#[tokio::test]
async fn what_is_beyond_the_concurrency_is_given_back() {
    let peer = RpcPeer::start(Behaviour::Kms);
    let (mut prober, stats, mut observations) = prober(2, 8);
    let keys = vec![key(peer.address()); 5];
    assert_eq!(prober.free_places(), 2);
    let rest = prober.submit(keys.clone());
    assert_eq!((&rest[..], prober.free_places()), (&keys[..3], 0));
    assert_eq!(prober.submit(rest.clone()), rest, "two are under way");
    for _ in 0..2 {
        let seen = observations.recv().await.expect("the prober lives");
        let [Observation::Probe { key: seen, probe, .. }] = &seen[..] else {
            panic!("one probe: {seen:?}")
        };
        assert_eq!((seen, probe.outcome), (&keys[0], ProbeOutcome::Kms));
    }
    prober.apply(ProbeSettings { concurrency: 3, ..settings(LONG) });
    assert_eq!(prober.submit(rest), [], "two ended, and one more may be under way");
    for _ in 0..3 {
        assert_eq!(observations.recv().await.map(|seen| seen.len()), Some(1));
    }
    assert_eq!(stats.probes(ProbeOutcome::Kms), 5);
    assert_eq!(peer.wait_until_ended(5).len(), 5, "one connection for each key");
    assert_eq!(peer.pdus(), 5);
}

#[tokio::test]
async fn a_full_channel_holds_the_places_of_those_that_ended() {
    let peer = RpcPeer::start(Behaviour::Kms);
    let (prober, stats, mut observations) = prober(2, 1);
    let keys = vec![key(peer.address()); 2];
    assert_eq!(prober.submit(keys.clone()), []);
    while stats.probes(ProbeOutcome::Kms) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(prober.submit(keys.clone()), keys[1..], "one of them could be delivered");
    for _ in 0..3 {
        assert!(observations.recv().await.is_some());
    }
    assert_eq!(prober.submit(keys.clone()), []);
}

#[tokio::test]
async fn dropping_the_prober_ends_every_probe() {
    let peer = RpcPeer::start(Behaviour::Silent);
    let (prober, stats, mut observations) = prober(4, 8);
    assert_eq!(prober.submit(vec![key(peer.address()); 4]), []);
    while peer.connections() < 4 {
        tokio::task::yield_now().await;
    }
    drop(prober);
    assert!(observations.recv().await.is_none(), "nothing is observed any more");
    let seen = peer.wait_until_ended(4);
    assert!(seen.iter().all(|seen| seen.ended == Some(Ended::Reset)), "{seen:?}");
    assert_eq!(ProbeOutcome::ALL.map(|outcome| stats.probes(outcome)), [0; 12]);
}
