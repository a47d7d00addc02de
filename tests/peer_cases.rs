//! What real servers do in the same cases, and what is made of it: one table.

#[path = "peers/asker.rs"]
mod asker;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/dnsdist.rs"]
mod dnsdist;
#[path = "peers/samba.rs"]
mod samba;

use std::fmt::Write as _;
use std::net::SocketAddr;

use asker::Asker;
use dns::{Bind, CONTOSO, Server, Zone};
use kmswatch::model::plan::ProbeSettings;
use kmswatch::model::{Answer, EndpointKey, ProbeOutcome, Transport};
use kmswatch::probe::pdu::{Bind as RpcBind, Progress, Reply, Verdict};
use kmswatch::probe::probe;
use samba::Samba;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of a delegation to a server that is not there, authorities say that much, and Unbound seeks on. A
/// zone that cannot be loaded is no zone to `PowerDNS`.
///
/// An outcome; with `n*` before it the count of records, with `+` behind it where TCP had to help.
const TABLE: &str = "
case          bind      knot      nsd       powerdns  unbound   dnsmasq   dnsdist
records       2*records 2*records 2*records 2*records 2*records 2*records 2*records
alias         2*records 2*records 2*records 2*records 2*records 2*records 2*records
declined      1*records 1*records 1*records 1*records 1*records 1*records 1*records
nxdomain      nxdomain  nxdomain  nxdomain  nxdomain  nxdomain  nxdomain  nxdomain
nodata        nodata    nodata    nodata    nodata    nodata    nodata    nodata
large         60*records+ 60*records+ 60*records+ 60*records+ 60*records+ 60*records+ 60*records+
lame          referral  referral  referral  referral  timeout   referral  referral
outside       refused   refused   refused   refused   servfail  refused   refused
broken        servfail  servfail  servfail  refused   servfail  servfail  servfail
";

/// The cases, and the domain that each of them asks for.
const CASES: [(&str, &str); 9] = [
    ("records", "contoso.test"),
    ("alias", "alias.contoso.test"),
    ("declined", "declined.contoso.test"),
    ("nxdomain", "nothing.contoso.test"),
    ("nodata", "text.contoso.test"),
    ("large", "large.test"),
    ("lame", "lame.contoso.test"),
    ("outside", "elsewhere.test"),
    ("broken", "broken.test"),
];

const BROKEN: Zone<'static> = Zone { name: "broken.test", records: "this is ( not a zone" };

#[tokio::test]
async fn every_peer_in_every_case_is_understood() {
    let large = large();
    let zones = [CONTOSO, Zone { name: "large.test", records: &large }];
    let broken_too = [zones[0], zones[1], BROKEN];
    let bind = Bind::start(&broken_too);
    let behind = bind.address();
    let peers: [(&str, Server); 6] = [
        ("knot", dns::knot(&broken_too)),
        ("nsd", dns::nsd(&broken_too)),
        ("powerdns", dns::powerdns(&zones, BROKEN.name)),
        ("unbound", dns::unbound(&[], &stubs(behind))),
        ("dnsmasq", dns::dnsmasq(&forwards(behind).iter().map(String::as_str).collect::<Vec<_>>())),
        ("dnsdist", dnsdist::dnsdist(behind)),
    ];
    let servers = peers.iter().map(|(name, server)| (*name, server.address()));
    let servers: Vec<(&str, SocketAddr)> =
        std::iter::once(("bind", behind)).chain(servers).collect();
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut table = vec![
            std::iter::once("case")
                .chain(servers.iter().map(|(name, _)| *name))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        ];
        table.extend(CASES.iter().map(|(case, _)| vec![(*case).to_owned()]));
        for (_, address) in &servers {
            let mut asker = Asker::new(transport, *address);
            for (row, (_, domain)) in table[1..].iter_mut().zip(CASES) {
                row.push(cell(&asker.srv(domain).await));
            }
        }
        let mut expected = rows(TABLE);
        if transport == Transport::Tcp {
            // Then it needs no help.
            expected
                .iter_mut()
                .flatten()
                .for_each(|cell| *cell = cell.trim_end_matches('+').to_owned());
        }
        assert_eq!(told(&table), told(&expected), "over {transport:?}");
    }
}

/// What dnsdist does to a query, and what comes of it: the outcome, how many records, and whether TCP
/// helped.
#[tokio::test]
async fn every_fault_that_a_server_injects_is_understood() {
    let faults = [
        "formerr", "servfail", "nxdomain", "notimp", "refused", "yxdomain", "badvers", "drop",
        "lost", "delay", "tc", "tcdrop",
    ];
    let records = faults.iter().fold(String::new(), |mut text, fault| {
        writeln!(text, "_vlmcs._tcp.{fault} SRV 0 0 1688 kms").expect("a string grows");
        text
    });
    let bind = Bind::start(&[CONTOSO, Zone { name: "fault.test", records: &records }]);
    let dnsdist = dnsdist::dnsdist(bind.address());
    let mut asker = Asker::new(Transport::Udp, dnsdist.address());
    let mut table = Vec::new();
    for fault in faults {
        let answer = asker.srv(&format!("{fault}.fault.test")).await;
        if fault == "delay" {
            let rtt = answer.rtt.expect("it was answered");
            assert!(rtt >= dnsdist::DELAY, "the answer is that to a query of {rtt:?} ago");
        }
        if fault == "tcdrop" {
            let why = answer.detail.clone().expect("why");
            assert!(why.contains("truncated"), "{why}");
        }
        table.push(format!("{fault} {}", cell(&answer)));
    }
    let expected = [
        "formerr formerr",
        "servfail servfail",
        "nxdomain nxdomain",
        "notimp notimp",
        "refused refused",
        "yxdomain other-rcode",
        // It has room for that in EDNS only; asked again without, it says NOERROR.
        "badvers nodata",
        "drop timeout",
        "lost 1*records",
        "delay 1*records",
        "tc 1*records+",
        "tcdrop timeout+",
    ];
    assert_eq!(table, expected);
}

/// Samba rejects what it has not registered with other codes than impacket; and it answers a bind of
/// another version, which a probe never sends, with a `bind_nak`.
#[tokio::test]
async fn samba_rejects_in_its_own_words() {
    let samba = Samba::start();
    let key = EndpointKey { path: std::sync::Arc::default(), address: samba.address() };
    let rejected = "rejected, result 2 reason 1 (interface not supported)";
    for (control, detail) in [
        (true, format!("KMS interface {rejected}; control interface {rejected}")),
        (false, format!("KMS interface {rejected}")),
    ] {
        let probe = probe(&key, &ProbeSettings { control, ..ProbeSettings::default() }).await;
        assert_eq!(
            (probe.outcome, probe.detail.as_deref()),
            (ProbeOutcome::RpcOther, Some(&*detail))
        );
    }
    let bind = RpcBind { call_id: 7, control: None };
    let mut other_version = bind.encode();
    other_version[1] = 7;
    let mut stream = TcpStream::connect(samba.address()).await.expect("it listens");
    stream.write_all(&other_version).await.expect("written");
    let (mut reply, mut piece) = (Reply::to(bind), [0; 64]);
    let progress = loop {
        let length = stream.read(&mut piece).await.expect("an answer");
        assert!(length > 0, "closed after {:?}", reply.bytes());
        match reply.feed(&piece[..length]) {
            Progress::NeedMore => {}
            progress => break progress,
        }
    };
    assert_eq!(progress, Progress::Done(Verdict::Nak { reason: 4 }));
}

fn cell(answer: &Answer) -> String {
    let count = match answer.records.len() + answer.omitted {
        0 => String::new(),
        count => format!("{count}*"),
    };
    let tcp = if answer.flags.tc { "+" } else { "" };
    format!("{count}{}{tcp}", answer.outcome.as_str())
}

fn rows(table: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    table.trim().lines().map(words).collect()
}

/// A row a line, as an assertion shows it best.
fn told(table: &[Vec<String>]) -> Vec<String> {
    table.iter().map(|row| row.join(" ")).collect()
}

/// A set that fits no UDP answer.
fn large() -> String {
    (0..60).fold(String::new(), |mut text, index| {
        writeln!(text, "_vlmcs._tcp SRV 0 {index} 1688 kms-host-with-a-rather-long-name-{index}")
            .expect("a string grows");
        text
    })
}

/// Unbound asks this server for everything, as if it were a root.
fn stubs(behind: SocketAddr) -> String {
    let stub = |zone: &str| {
        format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n", behind.ip(), behind.port())
    };
    let zones = [".", "contoso.test", "large.test", "broken.test"].map(stub).concat();
    format!("  local-zone: \"test.\" nodefault\n{zones}")
}

/// dnsmasq knows one name itself and asks this server for the zones.
fn forwards(behind: SocketAddr) -> Vec<String> {
    let zones = ["contoso.test", "large.test", "broken.test"];
    zones.map(|zone| format!("--server=/{zone}/{}#{}", behind.ip(), behind.port())).to_vec()
}
