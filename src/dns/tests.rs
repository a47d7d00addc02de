//! The engine against peers that misbehave; real servers are in `tests/dns_real.rs`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Engine;
use super::testing::*;
use crate::clock::Clock;
use crate::model::plan::DnsSettings;
use crate::model::{LookupOutcome, Name, RecordKind, Transport};
use crate::stats::Stats;

#[tokio::test]
async fn every_rcode_has_its_outcome() {
    let outcomes = [
        (1, LookupOutcome::Formerr, 2),
        (2, LookupOutcome::Servfail, 1),
        (3, LookupOutcome::Nxdomain, 1),
        (4, LookupOutcome::Notimp, 2),
        (5, LookupOutcome::Refused, 1),
        (9, LookupOutcome::OtherRcode, 1),
    ];
    for (rcode, outcome, queries) in outcomes {
        let answer = answer_of(move |query| vec![Message::to(query).rcode(rcode).bytes()]).await;
        assert_eq!(told(&answer), (outcome, queries), "RCODE {rcode}");
        assert!(answer.0.rtt.is_some());
    }
    let nodata = answer_of(|query| vec![Message::to(query).soa().bytes()]).await;
    assert_eq!(told(&nodata), (LookupOutcome::Nodata, 1));
    let referral = answer_of(|query| vec![Message::to(query).flags(0x80).ns().bytes()]).await;
    assert_eq!(told(&referral), (LookupOutcome::Referral, 1));
    let records = answer_of(|query| vec![Message::to(query).srv(5, "kms.test").bytes()]).await;
    assert_eq!(told(&records), (LookupOutcome::Records, 1));
    assert_eq!(records.0.records[0].host().to_string(), "kms.test:1688");
}

#[tokio::test]
async fn a_silent_server_is_asked_as_often_as_the_attempts_say_and_no_longer_than_they_last() {
    let started = Instant::now();
    let answer = answer_of(|_| Vec::new()).await;
    assert_eq!(told(&answer), (LookupOutcome::Timeout, 3));
    let took = started.elapsed();
    assert!((600..900).contains(&took.as_millis()), "{took:?}");
    let has_edns: Vec<bool> = answer.1.iter().map(|query| cookie(query).is_some()).collect();
    assert_eq!(has_edns, [true, true, false], "some servers drop what carries EDNS");
    assert!(answer.0.rtt.is_none());
}

#[tokio::test]
async fn a_retransmission_has_another_id_and_port() {
    let (address, seen) = udp_peer(|_| Vec::new()).await;
    let upstream = upstream(Transport::Udp, address);
    Lab::new(QUICK, std::slice::from_ref(&upstream))
        .lookup(&upstream, OWNER, RecordKind::Srv)
        .await;
    let seen = seen.lock().expect("unpoisoned");
    assert_ne!(seen[0].1, seen[1].1, "ports");
    let ids: HashSet<&[u8]> = seen.iter().map(|(.., query)| &query[..2]).collect();
    assert!(ids.len() > 1);
}

#[tokio::test]
async fn an_answer_to_the_first_of_several_transmissions_is_accepted() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstream = upstream(Transport::Udp, socket.local_addr().expect("its address"));
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    lab.engine.submit(&upstream, vec![key(&upstream, OWNER, RecordKind::Srv)]);
    let (mut first, mut second) = ([0; 512], [0; 512]);
    let (length, from) = socket.recv_from(&mut first).await.expect("a query");
    socket.recv_from(&mut second).await.expect("its retransmission");
    let late = Message::to(&first[..length]).srv(1, "late.test").bytes();
    socket.send_to(&late, from).await.expect("sent");
    let (_, answer) = lab.next().await;
    assert_eq!(answer.outcome, LookupOutcome::Records);
    let rtt = answer.rtt.expect("it was answered");
    assert!(rtt >= Duration::from_millis(190), "counted from the transmission answered: {rtt:?}");
}

#[tokio::test]
async fn what_does_not_answer_the_question_is_as_if_it_had_never_come() {
    let answer = answer_of(|query| {
        let good = Message::to(query).srv(1, "good.test");
        let evil = Message::to(query).srv(1, "evil.test");
        let mut other_name = query[12..question_end(query)].to_vec();
        other_name[2] = b'x';
        let mut other_type = query[12..question_end(query)].to_vec();
        let at = other_type.len() - 3;
        other_type[at] = 1;
        vec![
            evil.clone().id(|low| low ^ 1).bytes(),
            evil.clone().asks(Some(other_name)).bytes(),
            evil.asks(Some(other_type)).bytes(),
            vec![1],
            Vec::new(),
            b"\xff\xffgarbage".to_vec(),
            good.bytes(),
        ]
    })
    .await;
    assert_eq!(told(&answer), (LookupOutcome::Records, 1));
    assert_eq!(answer.0.records[0].target.as_str(), "good.test");
}

#[tokio::test]
async fn another_peer_cannot_answer() {
    let evil = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstream = upstream(Transport::Udp, socket.local_addr().expect("its address"));
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    lab.engine.submit(&upstream, vec![key(&upstream, OWNER, RecordKind::Srv)]);
    let mut query = [0; 512];
    let (length, from) = socket.recv_from(&mut query).await.expect("a query");
    let message = Message::to(&query[..length]);
    evil.send_to(&message.clone().srv(1, "evil.test").bytes(), from).await.expect("sent");
    socket.send_to(&message.srv(1, "good.test").bytes(), from).await.expect("sent");
    assert_eq!(lab.next().await.1.records[0].target.as_str(), "good.test");
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_again_at_once_and_is_malformed_in_the_end() {
    let started = Instant::now();
    let answer = answer_of(|query| {
        vec![Message::to(query).record(0, &[0xc0, 0x80], (33, 1, 1), &[]).bytes()]
    })
    .await;
    assert_eq!(told(&answer), (LookupOutcome::Malformed, 3));
    assert!(started.elapsed() < Duration::from_millis(150), "{:?}", started.elapsed());
    assert!(answer.0.detail.is_some());
    let mut broken = true;
    let answer = answer_of(move |query| {
        let message = Message::to(query).srv(1, "kms.test").bytes();
        let length = if std::mem::take(&mut broken) { message.len() - 1 } else { message.len() };
        vec![message[..length].to_vec()]
    })
    .await;
    assert_eq!(told(&answer), (LookupOutcome::Records, 2));
}

#[tokio::test]
async fn a_peer_that_echoes_is_malformed() {
    assert_eq!(told(&answer_of(|query| vec![query.to_vec()]).await), (LookupOutcome::Malformed, 3));
}

#[tokio::test]
async fn an_answer_of_64_kib_is_read_whole() {
    let answer = answer_of(|query| {
        let message =
            (0..2_000).fold(Message::to(query), |message, weight| message.srv(weight, "k.test"));
        vec![message.bytes()]
    })
    .await;
    assert_eq!(told(&answer), (LookupOutcome::Records, 1));
    assert_eq!((answer.0.records.len(), answer.0.omitted), (128, 1872));
    assert_eq!(answer.0.records[127].weight, 127, "the same ones in whatever order they come");
}

#[tokio::test]
async fn a_closed_port_is_unreachable_soon() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let upstream = upstream(Transport::Udp, socket.local_addr().expect("its address"));
    drop(socket);
    let mut lab = Lab::new(DnsSettings::default(), std::slice::from_ref(&upstream));
    let started = Instant::now();
    let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
    assert_eq!(answer.outcome, LookupOutcome::Unreachable);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(answer.detail.expect("why").contains("refused"));
    let counted = lab.stats.server(upstream.server).count(LookupOutcome::Unreachable);
    assert_eq!(counted, 3);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_unreachable_and_says_why() {
    let (address, seen) = udp_peer(|_| Vec::new()).await;
    for (upstream, why) in [
        (over(address, Some([192, 0, 2, 1].into()), None), "source 192.0.2.1"),
        (over(address, None, Some("nosuch0")), "interface nosuch0"),
        // Refused by the kernel without SO_BROADCAST: nothing leaves.
        (over(([255, 255, 255, 255], 53).into(), None, None), "255.255.255.255:53"),
    ] {
        let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
        let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
        assert_eq!(answer.outcome, LookupOutcome::Unreachable);
        assert!(answer.detail.as_deref().is_some_and(|detail| detail.contains(why)), "{answer:?}");
    }
    assert!(seen.lock().expect("unpoisoned").is_empty());
}

#[tokio::test]
async fn queries_leave_from_the_source() {
    let (address, seen) = udp_peer(|query| vec![Message::to(query).soa().bytes()]).await;
    let upstream = over(address, Some([127, 0, 0, 2].into()), Some("lo"));
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
    assert_eq!(answer.outcome, LookupOutcome::Nodata);
    let seen = seen.lock().expect("unpoisoned");
    assert!(seen.iter().all(|(_, from, _)| from.ip().to_string() == "127.0.0.2"));
}

#[tokio::test]
async fn one_silent_name_delays_no_other() {
    let (address, _) = udp_peer(|query| {
        if asked(query).starts_with("silent") {
            return Vec::new();
        }
        vec![Message::to(query).a(QUESTION, [127, 0, 0, 1]).bytes()]
    })
    .await;
    let upstream = upstream(Transport::Udp, address);
    let settings = DnsSettings { timeout: Duration::from_secs(2), attempts: 2, ..QUICK };
    let mut lab = Lab::new(settings, std::slice::from_ref(&upstream));
    // More silent ones than the window at first: they must leave it.
    let mut keys: Vec<_> =
        (0..100).map(|n| key(&upstream, &format!("silent{n}.test"), RecordKind::A)).collect();
    keys.extend((0..900).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A)));
    assert!(lab.engine.submit(&upstream, keys).is_empty());
    let started = Instant::now();
    for _ in 0..900 {
        let (key, answer) = lab.next().await;
        assert_eq!(answer.outcome, LookupOutcome::Records, "{}", key.name);
    }
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    for _ in 0..100 {
        assert_eq!(lab.next().await.1.outcome, LookupOutcome::Timeout);
    }
    let timeouts = lab.stats.server(upstream.server).count(LookupOutcome::Timeout);
    assert_eq!(timeouts, 200);
}

#[tokio::test]
async fn what_was_lost_before_a_round_trip_was_measured_is_sent_again_soon_after() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstream = upstream(Transport::Udp, socket.local_addr().expect("its address"));
    let settings = DnsSettings { timeout: Duration::from_secs(5), attempts: 2, ..QUICK };
    let lab = Lab::new(settings, std::slice::from_ref(&upstream));
    let keys = ["lost.test", "k.test"].map(|name| key(&upstream, name, RecordKind::A));
    lab.engine.submit(&upstream, keys.to_vec());
    let mut buffer = [0; 512];
    let started = Instant::now();
    for _ in 0..2 {
        let (length, from) = socket.recv_from(&mut buffer).await.expect("a query");
        if asked(&buffer[..length]) == "k.test" {
            answer(&socket, &buffer[..length], from).await;
        }
    }
    let (length, _) = socket.recv_from(&mut buffer).await.expect("a retransmission");
    assert_eq!(asked(&buffer[..length]), "lost.test");
    let took = started.elapsed();
    assert!(took < Duration::from_millis(900), "{took:?}: a second is for what is not measured");
}

#[tokio::test]
async fn questions_that_others_overtook_make_room_before_they_are_sent_again() {
    const WINDOW: usize = 64;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstream = upstream(Transport::Udp, socket.local_addr().expect("its address"));
    let settings = DnsSettings { timeout: Duration::from_secs(5), attempts: 2, ..QUICK };
    let lab = Lab::new(settings, std::slice::from_ref(&upstream));
    let keys = (0..500).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A)).collect();
    assert!(lab.engine.submit(&upstream, keys).is_empty());
    let mut names = HashSet::new();
    let mut buffer = [0; 512];
    let mut round: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
    // Four answers make room for four questions, which leave by the sockets in turns; all others stay
    // unanswered.
    for count in [WINDOW, 4, 4, WINDOW] {
        for (query, from) in std::mem::take(&mut round).iter().take(4) {
            answer(&socket, query, *from).await;
        }
        while round.len() < count {
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a query");
            let query = buffer[..length].to_vec();
            assert!(names.insert(asked(&query)), "sent again after {} names", names.len());
            round.push((query, from));
        }
    }
}

async fn answer(socket: &UdpSocket, query: &[u8], to: SocketAddr) {
    let answer = Message::to(query).a(QUESTION, [127, 0, 0, 1]).bytes();
    socket.send_to(&answer, to).await.expect("sent");
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_asked_as_fast_as_the_rate_allows() {
    const RATE: u32 = 2_000;
    const LOOKUPS: usize = 2_000;
    let (address, seen) = udp_peer(|_| Vec::new()).await;
    let upstream = upstream(Transport::Udp, address);
    let settings = DnsSettings { timeout: Duration::from_millis(500), attempts: 2, rate: RATE };
    let mut lab = Lab::new(settings, std::slice::from_ref(&upstream));
    let keys = (0..LOOKUPS).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A));
    let mut keys = lab.engine.submit(&upstream, keys.collect());
    let started = Instant::now();
    for _ in 0..LOOKUPS {
        keys = lab.engine.submit(&upstream, keys);
        assert_eq!(lab.next().await.1.outcome, LookupOutcome::Timeout);
    }
    let took = started.elapsed();
    // 2 s for the queries at the rate, 1 s for the last lookup, and what it takes to see the silence.
    assert!(took < Duration::from_millis(4_500), "{took:?}");
    assert!(busiest_second(&seen) <= RATE as usize);
    let queries = seen.lock().expect("unpoisoned").len();
    assert!(queries > LOOKUPS * 19 / 10, "{queries} queries: every attempt is made");
}

#[tokio::test]
async fn the_rate_holds_at_the_peer_at_start_with_retries_and_across_reloads() {
    const RATE: u32 = 100;
    let mut count = 0;
    let (address, seen) = udp_peer(move |query| {
        count += 1;
        if count % 3 == 0 { Vec::new() } else { vec![Message::to(query).soa().bytes()] }
    })
    .await;
    let one = over(address, None, None);
    let two = over(address, Some([127, 0, 0, 3].into()), None);
    let settings = DnsSettings { rate: RATE, ..QUICK };
    let mut lab = Lab::new(settings, &[one.clone(), two.clone()]);
    let ask = |engine: &Engine, upstream, from: u32| {
        let keys = (from..from + 200).map(|n| key(upstream, &format!("k{n}.test"), RecordKind::A));
        engine.submit(upstream, keys.collect());
    };
    ask(&lab.engine, &one, 0);
    ask(&lab.engine, &two, 0);
    for _ in 0..60 {
        lab.next().await;
    }
    lab.engine.apply(settings, std::slice::from_ref(&two));
    lab.engine.apply(settings, &[one.clone(), two.clone()]);
    ask(&lab.engine, &one, 200);
    for _ in 0..150 {
        lab.next().await;
    }
    let busiest = busiest_second(&seen);
    assert!(busiest <= RATE as usize, "{busiest} in one second");
    assert!(busiest >= 80, "{busiest} in the busiest second leave the rate unused");
}

/// The most queries that came within a second.
fn busiest_second(seen: &Seen) -> usize {
    let seen: Vec<Instant> = seen.lock().expect("unpoisoned").iter().map(|(at, ..)| *at).collect();
    let second_from = |index: usize| {
        seen[index..].iter().take_while(|at| **at - seen[index] < Duration::from_secs(1)).count()
    };
    (0..seen.len()).map(second_from).max().expect("queries came")
}

#[tokio::test]
async fn the_rate_holds_over_a_tcp_connection_that_takes_long_to_make() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(0).expect("it listens");
    socket.set_nonblocking(true).expect("it waits for nothing");
    let listener = tokio::net::TcpListener::from_std(socket.into()).expect("a listener");
    let address = listener.local_addr().expect("its address");
    // One connection is all that the backlog holds: the kernel drops what comes after, for a second.
    let filler = tokio::net::TcpStream::connect(address).await.expect("connected");
    let upstream = upstream(Transport::Tcp, address);
    let settings = DnsSettings { timeout: Duration::from_secs(5), attempts: 3, rate: 10 };
    let mut lab = Lab::new(settings, std::slice::from_ref(&upstream));
    let keys = (0..25).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A));
    lab.engine.submit(&upstream, keys.collect());
    let started = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(filler);
    drop(listener.accept().await.expect("the filler"));
    let seen = serve_tcp(listener, |query| Some(vec![framed(&Message::to(query).soa().bytes())])).1;
    for _ in 0..25 {
        assert_eq!(lab.next().await.1.outcome, LookupOutcome::Nodata);
    }
    assert!(started.elapsed() > Duration::from_secs(1), "the first SYN was lost");
    let busiest = busiest_second(&seen);
    assert!((8..=10).contains(&busiest), "{busiest} in one second");
    assert_eq!(seen.lock().expect("unpoisoned").len(), 25);
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without_and_remembered() {
    let (address, seen) = udp_peer(|query| {
        let message = Message::to(query);
        vec![if cookie(query).is_some() { message.rcode(1).bytes() } else { message.soa().bytes() }]
    })
    .await;
    let upstream = upstream(Transport::Udp, address);
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    for _ in 0..2 {
        let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
        assert_eq!(answer.outcome, LookupOutcome::Nodata);
    }
    let seen = seen.lock().expect("unpoisoned");
    let has_edns: Vec<bool> = seen.iter().map(|(.., query)| cookie(query).is_some()).collect();
    assert_eq!(has_edns, [true, false, false]);
}

#[tokio::test]
async fn a_server_that_drops_edns_is_asked_without_after_two_rescues() {
    let (address, seen) = udp_peer(|query| {
        if cookie(query).is_some() { Vec::new() } else { vec![Message::to(query).soa().bytes()] }
    })
    .await;
    let upstream = upstream(Transport::Udp, address);
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    for _ in 0..3 {
        let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
        assert_eq!(answer.outcome, LookupOutcome::Nodata);
    }
    assert_eq!(seen.lock().expect("unpoisoned").len(), 3 + 3 + 1);
}

#[tokio::test]
async fn cookies_are_sent_back_and_a_wrong_one_is_ignored() {
    let (address, seen) = udp_peer(|query| {
        let ours = cookie(query).expect("EDNS");
        let right = [&ours[..8], &[7; 8]].concat();
        let wrong = [[9; 8], [7; 8]].concat();
        if ours.len() == 8 {
            return vec![
                Message::to(query).srv(1, "evil.test").edns(0, &wrong).bytes(),
                Message::to(query).rcode(7).edns(1, &right).bytes(),
            ];
        }
        vec![Message::to(query).srv(1, "good.test").edns(0, &right).bytes()]
    })
    .await;
    let upstream = upstream(Transport::Udp, address);
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
    assert_eq!(answer.records[0].target.as_str(), "good.test");
    let seen = seen.lock().expect("unpoisoned");
    let sizes: Vec<_> = seen.iter().map(|(.., query)| cookie(query).map(|c| c.len())).collect();
    assert_eq!(sizes, [Some(8), Some(16)]);
}

#[tokio::test]
async fn a_server_that_never_likes_a_cookie_is_asked_over_tcp() {
    let bad = |query: &[u8]| {
        let ours = cookie(query).expect("EDNS");
        Message::to(query).rcode(7).edns(1, &[&ours[..8], &[7; 8]].concat()).bytes()
    };
    let (address, udp, tcp) = both_peers(
        move |query| vec![bad(query)],
        |query| Some(vec![framed(&Message::to(query).soa().bytes())]),
    )
    .await;
    let upstream = upstream(Transport::Udp, address);
    let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
    let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
    assert_eq!(answer.outcome, LookupOutcome::Nodata);
    assert_eq!(udp.lock().expect("unpoisoned").len(), 2);
    assert_eq!(tcp.lock().expect("unpoisoned").len(), 1);
}

#[tokio::test]
async fn truncated_answers_are_asked_for_over_one_tcp_connection() {
    let mut held = Vec::new();
    let (address, _, tcp) = both_peers(
        |query| vec![Message::to(query).flags(0x86).srv(1, "partial.test").bytes()],
        move |query| {
            // Nothing is answered before all three were asked, and then backwards.
            held.push(query.to_vec());
            if held.len() < 3 {
                return Some(Vec::new());
            }
            let whole = |query: &Vec<u8>| framed(&Message::to(query).srv(1, "whole.test").bytes());
            Some(vec![held.iter().rev().map(whole).collect::<Vec<_>>().concat()])
        },
    )
    .await;
    let upstream = upstream(Transport::Udp, address);
    let mut lab = Lab::new(
        DnsSettings { timeout: Duration::from_secs(2), ..QUICK },
        std::slice::from_ref(&upstream),
    );
    let keys = (0..3).map(|n| key(&upstream, &format!("_vlmcs._tcp.d{n}.test"), RecordKind::Srv));
    lab.engine.submit(&upstream, keys.collect());
    for _ in 0..3 {
        let (_, answer) = lab.next().await;
        assert_eq!(answer.outcome, LookupOutcome::Records);
        assert_eq!(answer.records[0].target.as_str(), "whole.test");
        assert!(answer.flags.tc);
    }
    let seen = tcp.lock().expect("unpoisoned");
    let connections: HashSet<SocketAddr> = seen.iter().map(|(_, from, _)| *from).collect();
    assert_eq!((seen.len(), connections.len()), (3, 1));
}

#[tokio::test]
async fn a_truncated_answer_is_never_used_even_where_tcp_is_refused() {
    let answer =
        answer_of(|query| vec![Message::to(query).flags(0x86).srv(1, "partial.test").bytes()])
            .await;
    let (answer, _) = answer;
    assert_eq!(answer.outcome, LookupOutcome::Unreachable);
    assert!(answer.flags.tc && answer.records.is_empty());
    let detail = answer.detail.expect("why");
    assert!(detail.contains("truncated") && detail.contains("refused"), "{detail}");
}

#[tokio::test]
async fn tcp_is_opened_again_when_it_closes() {
    let mut queries = 0;
    let (address, seen) = tcp_peer(move |query| {
        queries += 1;
        (queries % 2 == 0).then(|| vec![framed(&Message::to(query).soa().bytes())])
    })
    .await;
    let upstream = upstream(Transport::Tcp, address);
    let mut lab = Lab::new(
        DnsSettings { timeout: Duration::from_secs(1), ..QUICK },
        std::slice::from_ref(&upstream),
    );
    let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
    assert_eq!(answer.outcome, LookupOutcome::Nodata);
    assert!(!answer.flags.tc);
    assert_eq!(seen.lock().expect("unpoisoned").len(), 2);
}

#[tokio::test]
async fn a_server_that_closes_tcp_after_each_answer_answers_all() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = upstream(Transport::Tcp, listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.expect("a query");
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.expect("a query");
            let answer = framed(&Message::to(&query).soa().bytes());
            stream.write_all(&answer).await.expect("it reads");
            stream.shutdown().await.expect("closed");
            // Reads on, since closing with unread queries would reset the connection.
            while stream.read_u8().await.is_ok() {}
        }
    });
    let settings = DnsSettings { timeout: Duration::from_secs(3), attempts: 1, ..QUICK };
    let mut lab = Lab::new(settings, std::slice::from_ref(&upstream));
    let keys = (0..5).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A));
    lab.engine.submit(&upstream, keys.collect());
    for _ in 0..5 {
        assert_eq!(lab.next().await.1.outcome, LookupOutcome::Nodata);
    }
}

#[tokio::test]
async fn a_connection_that_only_drips_is_replaced_even_with_one_attempt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = upstream(Transport::Tcp, listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            while first.write_u8(0x7f).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        serve_tcp(listener, |query| Some(vec![framed(&Message::to(query).soa().bytes())]));
    });
    let mut lab = Lab::new(DnsSettings { attempts: 1, ..QUICK }, std::slice::from_ref(&upstream));
    lab.engine.submit(&upstream, vec![key(&upstream, "first.test", RecordKind::A)]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.engine.submit(&upstream, vec![key(&upstream, "second.test", RecordKind::A)]);
    assert_eq!(lab.next().await.1.outcome, LookupOutcome::Timeout);
    let (second, answer) = lab.next().await;
    assert_eq!(second.name.as_str(), "second.test");
    assert_eq!(answer.outcome, LookupOutcome::Nodata, "it moved to the next connection");
    let third = lab.lookup(&upstream, "third.test", RecordKind::A).await;
    assert_eq!(third.outcome, LookupOutcome::Nodata);
}

#[tokio::test]
async fn tcp_that_brings_no_dns_has_an_outcome() {
    let cases: [(&[u8], LookupOutcome); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", LookupOutcome::Malformed),
        (&[0, 3, 1, 2, 3], LookupOutcome::Malformed),
        (&[], LookupOutcome::Timeout),
    ];
    for (bytes, outcome) in cases {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = upstream(Transport::Tcp, listener.local_addr().expect("its address"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.writable().await.expect("writable");
                stream.try_write(bytes).expect("written");
            }
        });
        let mut lab = Lab::new(QUICK, std::slice::from_ref(&upstream));
        let answer = lab.lookup(&upstream, OWNER, RecordKind::Srv).await;
        assert_eq!(answer.outcome, outcome, "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_alias_is_followed_within_the_answer_and_beyond() {
    let answer = answer_of(|query| {
        vec![match asked(query).as_str() {
            OWNER => {
                let message = Message::to(query).cname(QUESTION, "one.test");
                message.cname(&wire_name("one.test"), "two.test").bytes()
            }
            "two.test" => Message::to(query).srv(1, "kms.test").bytes(),
            other => panic!("{other} was asked"),
        }]
    })
    .await;
    assert_eq!(told(&answer), (LookupOutcome::Records, 2));
    let aliases: Vec<&str> = answer.0.aliases.iter().map(Name::as_str).collect();
    assert_eq!(aliases, ["one.test", "two.test"]);
}

#[tokio::test]
async fn alias_loops_and_endless_chains_are_malformed() {
    let looping = answer_of(|query| {
        let next = if asked(query) == OWNER { "b.test" } else { OWNER };
        vec![Message::to(query).cname(QUESTION, next).bytes()]
    })
    .await;
    assert_eq!(told(&looping), (LookupOutcome::Malformed, 2));
    assert!(looping.0.detail.expect("why").contains("alias of itself"));
    let looping_later = answer_of(|query| {
        let next = if asked(query) == "b.test" { "c.test" } else { "b.test" };
        vec![Message::to(query).cname(QUESTION, next).bytes()]
    })
    .await;
    assert_eq!(told(&looping_later), (LookupOutcome::Malformed, 3));
    let mut hop = 0;
    let endless = answer_of(move |query| {
        hop += 1;
        vec![Message::to(query).cname(QUESTION, &format!("hop{hop}.test")).bytes()]
    })
    .await;
    assert_eq!(told(&endless), (LookupOutcome::Malformed, 9));
}

#[tokio::test]
async fn a_reload_keeps_what_stays_and_drops_what_goes() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let kept = upstream(Transport::Udp, silent.local_addr().expect("its address"));
    let other = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let gone = upstream(Transport::Udp, other.local_addr().expect("its address"));
    let settings = DnsSettings { timeout: Duration::from_secs(5), ..QUICK };
    let mut lab = Lab::new(settings, &[kept.clone(), gone.clone()]);
    lab.engine.submit(&kept, vec![key(&kept, OWNER, RecordKind::Srv)]);
    lab.engine.submit(&gone, vec![key(&gone, OWNER, RecordKind::Srv)]);
    let mut query = [0; 512];
    let (length, from) = silent.recv_from(&mut query).await.expect("a query");
    other.recv_from(&mut [0; 512]).await.expect("a query");
    let same_by_value = upstream(Transport::Udp, silent.local_addr().expect("its address"));
    lab.engine.apply(QUICK, &[same_by_value]);
    let given_back = lab.engine.submit(&gone, vec![key(&gone, OWNER, RecordKind::Srv)]);
    assert_eq!(given_back.len(), 1, "unknown servers take nothing");
    // The flight of before the reload is answered on its own socket.
    silent.send_to(&Message::to(&query[..length]).soa().bytes(), from).await.expect("sent");
    let (key, answer) = lab.next().await;
    assert_eq!((key.upstream, answer.outcome), (kept, LookupOutcome::Nodata));
    lab.engine.shutdown();
    drop(lab.engine);
    let end = timeout(Duration::from_secs(5), lab.observations.recv()).await;
    assert!(end.expect("the tasks end").is_none());
}

#[tokio::test]
async fn full_queues_stop_the_submitter_and_a_slow_receiver_stops_the_engine() {
    let (address, seen) = udp_peer(|query| vec![Message::to(query).soa().bytes()]).await;
    let upstream = upstream(Transport::Udp, address);
    let (sender, mut observations) = mpsc::channel(1);
    let mut engine = Engine::new(QUICK, Clock::start(), Stats::new(), sender);
    engine.apply(QUICK, std::slice::from_ref(&upstream));
    let mut keys: Vec<_> =
        (0..30_000).map(|n| key(&upstream, &format!("k{n}.test"), RecordKind::A)).collect();
    let mut answered = 0;
    keys = engine.submit(&upstream, keys);
    assert_eq!(keys.len(), 30_000 - super::engine::QUEUE);
    while answered < 30_000 {
        let batch = timeout(Duration::from_secs(10), observations.recv()).await;
        answered += batch.expect("room and observations go on").expect("the engine lives").len();
        keys = engine.submit(&upstream, keys);
    }
    assert!(seen.lock().expect("unpoisoned").len() >= 30_000);
}
