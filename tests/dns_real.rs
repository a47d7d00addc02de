//! The query engine against real DNS servers.

#[path = "peers/asker.rs"]
mod asker;
#[path = "peers/dns.rs"]
mod peers;

use std::fmt::Write as _;

use asker::Asker;
use kmswatch::model::observation::MAX_RECORDS;
use kmswatch::model::{LookupOutcome, RecordKind, Transport};
use peers::{Bind, CONTOSO, Zone};

fn both() -> (LookupOutcome, Vec<String>) {
    let hosts = ["10 75 kms1.contoso.test:1688", "20 25 kms2.contoso.test:1689"];
    (LookupOutcome::Records, hosts.map(ToOwned::to_owned).to_vec())
}

/// What every authoritative server must be understood to say.
async fn says_what_the_zone_says(asker: &mut Asker) {
    assert_eq!(asker.told("contoso.test").await, both());
    assert_eq!(asker.told("alias.contoso.test").await, both());
    assert_eq!(asker.told("declined.contoso.test").await.1, ["0 0 .:0"]);
    assert_eq!(asker.srv("text.contoso.test").await.outcome, LookupOutcome::Nodata);
    assert_eq!(asker.srv("nothing.contoso.test").await.outcome, LookupOutcome::Nxdomain);
    let lame = asker.srv("lame.contoso.test").await;
    assert_eq!((lame.outcome, lame.flags.aa), (LookupOutcome::Referral, false));
    assert_eq!(asker.srv("elsewhere.test").await.outcome, LookupOutcome::Refused);
    let alias = asker.srv("alias.contoso.test").await;
    assert_eq!(alias.aliases[0].as_str(), "_vlmcs._tcp.contoso.test");
    let address = asker.ask("kms2.contoso.test", RecordKind::A).await;
    let shown: Vec<String> = address.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1", "127.0.0.2"]);
    assert_eq!(address.aliases[0].as_str(), "kms1.contoso.test");
    let address = asker.ask("kms1.contoso.test", RecordKind::Aaaa).await;
    assert_eq!(address.addresses.len(), 1);
    assert!(address.flags.aa && address.rtt.is_some());
}

/// A set that fits no UDP answer.
fn large() -> String {
    (0..200).fold(String::new(), |mut text, index| {
        writeln!(text, "_vlmcs._tcp SRV 0 {index} 1688 kms{index}").expect("a string grows");
        text
    })
}

#[tokio::test]
async fn bind_says_what_the_zone_says_over_udp_and_tcp() {
    let bind = Bind::start(&[CONTOSO]);
    for transport in [Transport::Udp, Transport::Tcp] {
        says_what_the_zone_says(&mut Asker::new(transport, bind.address())).await;
    }
}

#[tokio::test]
async fn bind_follows_updates_falls_silent_and_closes_its_port() {
    let other = Zone { name: "other.test", records: "_vlmcs._tcp SRV 1 2 1688 kms" };
    let mut bind = Bind::start(&[CONTOSO, other]);
    let mut asker = Asker::new(Transport::Udp, bind.address());
    assert_eq!(asker.told("outside.contoso.test").await.1, ["1 2 kms.other.test:1688"]);
    bind.update("update delete _vlmcs._tcp.contoso.test SRV 20 25 1689 kms2.contoso.test.");
    assert_eq!(asker.told("contoso.test").await.1, ["10 75 kms1.contoso.test:1688"]);
    bind.pause();
    assert_eq!(asker.srv("contoso.test").await.outcome, LookupOutcome::Timeout);
    bind.resume();
    assert_eq!(asker.srv("contoso.test").await.outcome, LookupOutcome::Records);
    bind.stop();
    assert_eq!(asker.srv("contoso.test").await.outcome, LookupOutcome::Unreachable);
}

#[tokio::test]
async fn large_answers_come_whole_over_tcp() {
    let records = large();
    let zone = Zone { name: "large.test", records: &records };
    // BIND refuses more than 100 records of one name and type unless told.
    let bind = Bind::start_with("max-records-per-type 0;", &[zone]);
    let (knot, nsd) = (peers::knot(&[zone]), peers::nsd(&[zone]));
    for address in [bind.address(), knot.address(), nsd.address()] {
        let answer = Asker::new(Transport::Udp, address).srv("large.test").await;
        assert_eq!(answer.outcome, LookupOutcome::Records);
        assert!(answer.flags.tc);
        assert_eq!((answer.records.len(), answer.omitted), (MAX_RECORDS, 200 - MAX_RECORDS));
        let weights: Vec<u16> = answer.records.iter().map(|record| record.weight).collect();
        assert_eq!(weights, (0..128).collect::<Vec<u16>>());
    }
}

#[tokio::test]
async fn cookies_spare_us_the_rate_limit_of_bind() {
    let limit = "rate-limit { responses-per-second 1; slip 1; window 1; };";
    let bind = Bind::start_with(limit, &[CONTOSO]);
    let mut asker = Asker::new(Transport::Udp, bind.address());
    // The first answer brings the server's cookie; from then on we are known.
    asker.srv("contoso.test").await;
    for _ in 0..20 {
        let answer = asker.srv("contoso.test").await;
        assert_eq!((answer.outcome, answer.flags.tc), (LookupOutcome::Records, false));
    }
}

#[tokio::test]
async fn bind_that_demands_cookies_gets_them() {
    let bind = Bind::start_with("require-server-cookie yes;", &[CONTOSO]);
    let answer = Asker::new(Transport::Udp, bind.address()).srv("contoso.test").await;
    assert_eq!((answer.outcome, answer.flags.tc), (LookupOutcome::Records, false));
}

#[tokio::test]
async fn knot_says_what_the_zone_says() {
    let knot = peers::knot(&[CONTOSO]);
    for transport in [Transport::Udp, Transport::Tcp] {
        says_what_the_zone_says(&mut Asker::new(transport, knot.address())).await;
    }
}

#[tokio::test]
async fn nsd_says_what_the_zone_says() {
    let nsd = peers::nsd(&[CONTOSO]);
    for transport in [Transport::Udp, Transport::Tcp] {
        says_what_the_zone_says(&mut Asker::new(transport, nsd.address())).await;
    }
}

#[tokio::test]
async fn unbound_denies_without_soa_and_is_understood() {
    let records = ["_vlmcs._tcp.local.test. 60 IN SRV 0 0 1688 kms.local.test."];
    let zones = "  local-zone: \"nodata.test.\" always_nodata\n  local-zone: \"refused.test.\" refuse\n  \
                 local-zone: \"drop.test.\" always_deny\n  local-zone: \"test.\" static\n";
    let unbound = peers::unbound(&records, zones);
    let mut asker = Asker::new(Transport::Udp, unbound.address());
    assert_eq!(asker.told("local.test").await.1, ["0 0 kms.local.test:1688"]);
    assert_eq!(asker.srv("nx.test").await.outcome, LookupOutcome::Nxdomain);
    assert_eq!(asker.srv("nodata.test").await.outcome, LookupOutcome::Nodata);
    assert_eq!(asker.srv("refused.test").await.outcome, LookupOutcome::Refused);
    assert_eq!(asker.srv("drop.test").await.outcome, LookupOutcome::Timeout);
}

#[tokio::test]
async fn dnsmasq_denies_without_soa_and_is_understood() {
    let dnsmasq = peers::dnsmasq(&[
        "--srv-host=_vlmcs._tcp.local.test,kms.local.test,1688,10,5",
        "--host-record=kms.local.test,127.0.0.1",
    ]);
    let mut asker = Asker::new(Transport::Udp, dnsmasq.address());
    assert_eq!(asker.told("local.test").await.1, ["10 5 kms.local.test:1688"]);
    assert_eq!(asker.srv("none.local.test").await.outcome, LookupOutcome::Nxdomain);
    let nodata = asker.ask("kms.local.test", RecordKind::Aaaa).await;
    assert_eq!(nodata.outcome, LookupOutcome::Nodata);
}
