//! What real servers do in the same cases, and what is made of it: the tables of docs/peers.md.

#[path = "peers/asker.rs"]
mod asker;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/dnsdist.rs"]
mod dnsdist;
#[path = "peers/document.rs"]
mod document;
#[path = "peers/impacket.rs"]
mod impacket;
#[path = "peers/samba.rs"]
mod samba;
#[path = "peers/samba_dns.rs"]
mod samba_dns;

use std::fmt::Write as _;
use std::net::SocketAddr;

use asker::Asker;
use dns::{Bind, CONTOSO, Server, Zone};
use kmswatch::model::plan::ProbeSettings;
use kmswatch::model::{Answer, EndpointKey, ProbeOutcome, Transport};
use kmswatch::probe::pdu::{Bind as RpcBind, Progress, Reply, Verdict};
use kmswatch::probe::probe;
use samba::Samba;
use samba_dns::DOMAIN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The cases, and the domain that each of them asks for.
const CASES: [(&str, &str); 9] = [
    ("records", "contoso.test"),
    ("alias", "alias.contoso.test"),
    ("declined", "declined.contoso.test"),
    ("nxdomain", "nothing.contoso.test"),
    ("nodata", "text.contoso.test"),
    ("large", "large.contoso.test"),
    ("lame", "lame.contoso.test"),
    ("outside", "elsewhere.test"),
    ("broken", "broken.test"),
];

const BROKEN: Zone<'static> = Zone { name: "broken.test", records: "this is ( not a zone" };

#[tokio::test]
async fn every_peer_in_every_case_is_understood() {
    let records = [CONTOSO.records, &large()].concat();
    let contoso = Zone { name: DOMAIN, records: &records };
    let broken_too = [contoso, BROKEN];
    let bind = Bind::start(&broken_too);
    let behind = bind.address();
    let peers: [(&str, Server); 7] = [
        ("knot", dns::knot(&broken_too)),
        ("nsd", dns::nsd(&broken_too)),
        ("powerdns", dns::powerdns(&[contoso], BROKEN.name)),
        ("unbound", dns::unbound(&[], &stubs(behind))),
        ("dnsmasq", dns::dnsmasq(&forwards(behind).iter().map(String::as_str).collect::<Vec<_>>())),
        ("dnsdist", dnsdist::dnsdist(behind)),
        ("samba", samba(&records)),
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
        let mut expected = document::table("DNS servers");
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
    let bind = Bind::start(&[Zone { name: "fault.test", records: &records }]);
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
    let expected = document::table("Faults of a DNS server");
    assert_eq!(table, told(&expected[1..]));
}

/// Somebody else's RPC runtimes, told apart by what they have registered.
#[tokio::test]
async fn every_rpc_runtime_in_every_case_is_understood() {
    let [kms, mapper] = [impacket::KMS, impacket::ENDPOINT_MAPPER].map(impacket::RpcServer::start);
    let samba = Samba::start();
    let mut table = document::table("RPC runtimes")[..1].to_vec();
    for (name, control) in [("KMS interface and control", true), ("KMS interface alone", false)] {
        let mut row = vec![name.to_owned()];
        for address in [kms.address(), mapper.address(), samba.address()] {
            let key = EndpointKey { path: std::sync::Arc::default(), address };
            let settings = ProbeSettings { control, ..ProbeSettings::default() };
            row.push(probe(&key, &settings).await.outcome.to_string());
        }
        table.push(row);
    }
    assert_eq!(told(&table), told(&document::table("RPC runtimes")));
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

/// A row a line, as an assertion shows it best.
fn told(table: &[Vec<String>]) -> Vec<String> {
    table.iter().map(|row| row.join(" ")).collect()
}

/// The same records, but for one with "." as its target, which it refuses.
fn samba(records: &str) -> Server {
    let server = samba_dns::samba_dns();
    let mut lines = String::new();
    let is_taken = |line: &&str| !line.starts_with("_vlmcs._tcp.declined");
    for (owner, data) in
        records.trim().lines().filter(is_taken).filter_map(|line| line.split_once(' '))
    {
        let names_another = ["SRV", "CNAME", "NS"].iter().any(|kind| data.starts_with(kind));
        let is_relative = names_another && !data.ends_with('.');
        let origin = if is_relative { format!(".{DOMAIN}.") } else { String::new() };
        writeln!(lines, "update add {owner}.{DOMAIN}. 300 {data}{origin}\nsend").expect("it grows");
    }
    server.update(&lines);
    server
}

/// A set that fits no UDP answer.
fn large() -> String {
    (0..60).fold(String::new(), |mut text, index| {
        writeln!(
            text,
            "_vlmcs._tcp.large SRV 0 {index} 1688 kms-host-with-a-rather-long-name-{index}"
        )
        .expect("a string grows");
        text
    })
}

/// Unbound asks this server for everything, as if it were a root.
fn stubs(behind: SocketAddr) -> String {
    let stub = |zone: &str| {
        format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n", behind.ip(), behind.port())
    };
    let zones = [".", "contoso.test", "broken.test"].map(stub).concat();
    format!("  local-zone: \"test.\" nodefault\n{zones}")
}

/// dnsmasq knows one name itself and asks this server for the zones.
fn forwards(behind: SocketAddr) -> Vec<String> {
    let zones = ["contoso.test", "broken.test"];
    zones.map(|zone| format!("--server=/{zone}/{}#{}", behind.ip(), behind.port())).to_vec()
}
