//! The alarm that this program exists for, end to end: a record leaves a real DNS server, the alert stands in a
//! real Alertmanager, once, and names the host; the record comes back, and the alert ends. Once by the
//! rules of a real Prometheus, once sent by the daemon itself. And what must alarm nobody.

#[path = "peers/alertmanager.rs"]
mod alertmanager;
#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/estate.rs"]
mod estate;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/prometheus.rs"]
mod prometheus;
#[path = "peers/relay.rs"]
mod relay;
#[path = "peers/rpc.rs"]
mod rpc;

use std::time::Duration;

use alertmanager::{Alertmanager, Place};
use daemon::Daemon;
use estate::{Estate, OWNER};
use program::wait_for;
use prometheus::Prometheus;
use relay::{Relay, Weather};
use serde_json::Value;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(4);
const RULES: &str = include_str!("../deploy/prometheus/kmswatch.rules.yml");
/// Its host is named in no other place than DNS, so nothing but the journal knows that it was there.
const DOMAIN: &str = "[[domain]]\nname = \"contoso.test\"\n";

#[test]
fn a_host_that_leaves_dns_is_one_alert_by_the_rules_of_prometheus() {
    let (estate, alertmanager) = (Estate::start(), Alertmanager::start(Place::free()));
    let daemon = Daemon::start(&estate.config("[audit]\ninterval = \"4s\"\n", DOMAIN));
    daemon.wait_until_ready();
    // As shipped, but for the time that trouble must last.
    let rules = shortened(RULES, AFTER);
    let _prometheus =
        Prometheus::alerting(daemon.address(), "500ms", &rules, &[alertmanager.place.address()]);
    let name = |alert: &Value| alert["labels"]["alertname"].clone();
    leaves_and_returns("Prometheus' rules", &estate, &alertmanager, |alert| {
        assert_eq!(name(alert), "KmsRecordVanished", "{alert}");
        alert["annotations"]["description"].as_str().expect("a description").to_owned()
    });
}

#[test]
fn a_host_that_leaves_dns_is_one_alert_of_the_daemon_itself() {
    let (estate, alertmanager) = (Estate::start(), Alertmanager::start(Place::free()));
    let settings = format!(
        "[audit]\ninterval = \"4s\"\n[alert]\nsend_to = \"alertmanager\"\nurls = [\"{}\"]\nafter = \"4s\"\n",
        alertmanager.place.url()
    );
    let daemon = Daemon::start(&estate.config(&settings, DOMAIN));
    daemon.wait_until_ready();
    leaves_and_returns("the daemon's own", &estate, &alertmanager, |alert| {
        assert_eq!(alert["labels"]["alertname"], "record-vanished", "{alert}");
        alert["annotations"]["summary"].as_str().expect("a summary").to_owned()
    });
    drop(daemon);
}

/// Removes a record and puts it back; `text` is where the one alert should name its host.
fn leaves_and_returns(
    mode: &str,
    estate: &Estate,
    alertmanager: &Alertmanager,
    text: impl Fn(&Value) -> String,
) {
    let patience = Duration::from_mins(1);
    let active = wait_for("Alertmanager", patience, || alertmanager.active());
    assert_eq!(active, Vec::<Value>::new(), "all is well");
    let record = format!("{OWNER} 60 SRV 10 25 PORT kms2.contoso.test.");
    let removed = Instant::now();
    estate.update(&format!("update delete {OWNER} SRV 10 25 PORT kms2.contoso.test."));
    let alert = wait_for("an alert", patience, || match &alertmanager.active()?[..] {
        [] => Err("none yet".to_owned()),
        [one] => Ok(one.clone()),
        several => panic!("one cause, one alert: {several:#?}"),
    });
    let alerted = removed.elapsed();
    assert!(text(&alert).contains("kms2.contoso.test"), "{alert:#}");
    assert!(alerted <= AFTER + 2 * INTERVAL, "{mode}: {alerted:?}");
    let put_back = removed.elapsed();
    estate.update(&format!("update add {record}"));
    wait_for("the end of the alert", patience, || match &alertmanager.active()?[..] {
        [] => Ok(()),
        [_] => Err(format!("{alert:#}")),
        several => panic!("one cause, one alert: {several:#?}"),
    });
    let resolved = removed.elapsed();
    println!(
        "{mode}: removed at 0 s, alert at {:.1} s, put back at {:.1} s, resolved at {:.1} s",
        alerted.as_secs_f64(),
        put_back.as_secs_f64(),
        resolved.as_secs_f64()
    );
}

/// The rules with every `for` and `keep_firing_for` replaced.
fn shortened(rules: &str, after: Duration) -> String {
    let shorten = |line: &str| {
        let key = line.trim_start().split(": ").next().unwrap_or_default();
        match key {
            "for" | "keep_firing_for" => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{key}: {}s\n", " ".repeat(indent), after.as_secs())
            }
            _ => format!("{line}\n"),
        }
    };
    rules.lines().map(shorten).collect()
}

/// 300 intervals: it takes five minutes.
#[test]
fn half_of_all_packets_lost_is_no_absence_and_no_host_down() {
    const INTERVALS: f64 = 300.0;
    let estate = Estate::start();
    let storm = |seed| {
        let (delay, jitter) = (Duration::from_millis(1), Duration::from_millis(2));
        Weather { seed, delay, jitter, lost: 500, doubled: 0 }
    };
    let relays = [(&estate.first, 7), (&estate.second, 11)]
        .map(|(server, seed)| Relay::start(server.address(), storm(seed)));
    let settings = "[audit]\ninterval = \"1s\"\n[dns]\ntimeout = \"200ms\"\n";
    let servers = relays.each_ref().map(|relay| format!("{:?}", relay.address().to_string()));
    let resolver = format!("[[resolver]]\nname = \"storm\"\nservers = [{}]\n", servers.join(", "));
    let daemon = Daemon::start(&format!("{settings}{resolver}{}", estate.domain()));
    daemon.wait_until_ready();
    let audited = || -> f64 {
        let lines = daemon.metrics("kmswatch_domain_last_audit_timestamp_seconds{");
        lines.first().and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a time")
    };
    let began = audited();
    wait_for("300 intervals", Duration::from_mins(10), || match audited() - began {
        gone if gone >= INTERVALS => Ok(()),
        gone => Err(format!("{gone} s")),
    });
    let count =
        |relay: &Relay, of: fn(&relay::Counts) -> &std::sync::atomic::AtomicU64| relay.count(of);
    let queries: u64 = relays.iter().map(|relay| count(relay, |counts| &counts.queries)).sum();
    let lost: u64 = relays.iter().map(|relay| count(relay, |counts| &counts.lost)).sum();
    assert!(queries > 600 && lost > queries / 2, "{queries} queries, {lost} datagrams lost");
    println!("half of all packets lost: {queries} queries, {lost} datagrams lost in 300 intervals");
    let log = daemon.log();
    for check in [
        "srv-missing",
        "srv-empty",
        "srv-declined",
        "record-vanished",
        "record-missing",
        "target-unresolvable",
        "host-down",
        "host-not-kms",
        "all-hosts-down",
        "redundancy-lost",
    ] {
        assert!(!log.contains(check), "{check}:\n{log}");
    }
    // The log tells of findings, or this test would see none.
    assert!(log.contains("server-failure") || log.contains("dns-failure"), "{log}");
}
