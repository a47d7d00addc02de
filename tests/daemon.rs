//! `run` on real servers, with a real Prometheus; reload, shutdown, and what is sent meanwhile.

#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/estate.rs"]
mod estate;
#[path = "peers/lab.rs"]
mod lab;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/prometheus.rs"]
mod prometheus;
#[path = "peers/rpc.rs"]
mod rpc;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use daemon::{Daemon, request};
use estate::{Estate, LISTED, OWNER};
use kmswatch::demo::{Behaviour, Data, DnsServer, Fault, RpcListener, SeenQuery, Zones};
use lab::Bench;
use program::{Config, check, findings_of, kmswatch, set, wait_for};
use prometheus::Prometheus;
use serde_json::Value;
use tokio::time::Instant;

/// Where queries are counted, none is sent again because the machine is busy.
const NO_RETRY: &str = "[dns]\ntimeout = \"10s\"\nattempts = 1\n";
/// Nothing is observed twice while a test runs.
const ONCE: &str = "[audit]\ninterval = \"24h\"\n[dns]\ntimeout = \"10s\"\nattempts = 1\n";

#[test]
fn prometheus_scrapes_a_healthy_estate() {
    let estate = Estate::start();
    let daemon = Daemon::start(&estate.config("[audit]\ninterval = \"1s\"\n", LISTED));
    let prometheus = Prometheus::start(daemon.address());
    daemon.wait_for("a scrape", || match prometheus.query("up") {
        values if values == [(BTreeMap::new(), "1".to_owned())] => Ok(()),
        values => Err(format!("{values:?}")),
    });
    let port = estate.port.to_string();
    let host = |number: u8, value: &str| {
        let target = format!("kms{number}.contoso.test");
        let labels = [("domain", "contoso.test"), ("port", &port), ("target", &target)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (BTreeMap::from(labels), value.to_owned())
    };
    // The first scrape may have come before the first audit.
    daemon.wait_for("hosts", || match prometheus.query("kmswatch_host_up") {
        values if values == [host(1, "1"), host(2, "1")] => Ok(()),
        values => Err(format!("{values:?}")),
    });
    assert_eq!(prometheus.query("kmswatch_host_share"), [host(1, "0.75"), host(2, "0.25")]);
    assert_eq!(
        prometheus.query("sum(kmswatch_srv_lookup_success)"),
        [(BTreeMap::new(), "2".into())]
    );
    assert_eq!(prometheus.query("kmswatch_findings"), []);
}

#[test]
fn a_removed_record_ends_but_that_of_a_silent_server_stays() {
    let estate = Estate::start();
    let settings = "[audit]\ninterval = \"1s\"\n";
    let config = estate
        .config(settings, LISTED)
        .replace("timeout = \"1s\"\nattempts = 2", "timeout = \"300ms\"\nattempts = 1");
    let daemon = Daemon::start(&config);
    daemon.wait_until_ready();
    let is_there = || {
        let records = daemon.metrics("kmswatch_srv_record_info{");
        records.iter().any(|line| line.contains("\"kms2.contoso.test\""))
    };
    assert!(is_there(), "{:?}", daemon.metrics("kmswatch_srv_record_info"));
    estate.update(&format!("update delete {OWNER} SRV 10 25 PORT kms2.contoso.test."));
    let began = Instant::now();
    daemon.wait_for("the record's end", || if is_there() { Err(String::new()) } else { Ok(()) });
    // An interval for both servers to be asked, a second for the audit, and a slow machine.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(daemon.metrics("kmswatch_host_up{").len(), 1);
    estate.update(&format!("update add {OWNER} 300 SRV 10 25 PORT kms2.contoso.test."));
    daemon.wait_for("its return", || if is_there() { Ok(()) } else { Err(String::new()) });
    estate.first.pause();
    estate.second.pause();
    daemon.wait_for("silence", || {
        let success = daemon.metrics("kmswatch_srv_lookup_success");
        if success.iter().all(|line| line.ends_with(" 0")) {
            Ok(())
        } else {
            Err(success.join("\n"))
        }
    });
    let silent_since = Instant::now();
    while silent_since.elapsed() < Duration::from_secs(5) {
        assert!(is_there(), "held for {:?}", silent_since.elapsed());
        std::thread::park_timeout(Duration::from_millis(200));
    }
    let findings = findings_of(&daemon.json("/api/v1/findings"), &estate.names());
    let expected = set([
        "server-failure server:first critical active",
        "server-failure server:second critical active",
        "dns-failure domain:contoso.test critical suppressed",
    ]);
    assert_eq!(findings, expected);
}

/// One server, ten hosts that all listen, and so many domains that each name all of them.
struct Crowd {
    bench: Bench,
    zones: Zones,
    server: DnsServer,
    hosts: Vec<RpcListener>,
}

impl Crowd {
    fn start(hosts: u8, domains: usize) -> Self {
        let (bench, zones) = (Bench::new(), Zones::new());
        zones.add_zone("test");
        let hosts: Vec<RpcListener> = (0..hosts).map(|_| bench.host(Behaviour::Kms)).collect();
        for (number, host) in hosts.iter().enumerate() {
            let target = format!("kms{number}.test");
            zones.insert(&target, Data::A(Ipv4Addr::LOCALHOST));
            for domain in 0..domains {
                let owner = format!("_vlmcs._tcp.d{domain}.test");
                zones.insert(&owner, Data::srv(0, 0, host.address().port(), &target));
            }
        }
        Self { server: bench.dns(&zones), bench, zones, hosts }
    }

    fn config(&self, settings: &str, domains: std::ops::Range<usize>) -> String {
        let mut text = format!(
            "{settings}\n[[resolver]]\nname = \"r\"\nservers = [\"{}\"]\n",
            self.server.address()
        );
        for domain in domains {
            let _ = writeln!(text, "[[domain]]\nname = \"d{domain}.test\"");
        }
        text
    }

    /// How often each question came, to this server.
    fn asked(&self) -> BTreeMap<(String, String), usize> {
        let mut asked = BTreeMap::new();
        for query in self.server.queries() {
            *asked.entry((query.name.to_string(), query.kind.to_string())).or_default() += 1;
        }
        asked
    }
}

#[test]
fn each_name_is_asked_once_and_each_endpoint_probed_once() {
    // Slow enough for some keys' next slot to come while others wait for their first.
    let crowd = Crowd::start(10, 300);
    let second = crowd.bench.dns(&crowd.zones);
    let config = crowd.config(&format!("{NO_RETRY}rate = 100\n"), 0..300).replace(
        &format!("\"{}\"", crowd.server.address()),
        &format!("\"{}\", \"{}\"", crowd.server.address(), second.address()),
    );
    let report = check(&config);
    let seen: Vec<SeenQuery> =
        [crowd.server.queries(), second.queries()].into_iter().flatten().collect();
    let mut asked: BTreeMap<(String, String), usize> = BTreeMap::new();
    for query in &seen {
        *asked.entry((query.name.to_string(), query.kind.to_string())).or_default() += 1;
    }
    // SRV at both servers, A and AAAA of a target at one of them.
    let expected =
        (0..300).map(|domain| ((format!("_vlmcs._tcp.d{domain}.test"), "SRV".to_owned()), 2));
    let of_hosts = (0..10).flat_map(|host| {
        ["A", "AAAA"].map(|kind| ((format!("kms{host}.test"), kind.to_owned()), 1))
    });
    let expected: BTreeMap<(String, String), usize> = expected.chain(of_hosts).collect();
    let odd: Vec<_> =
        asked.iter().filter(|(key, times)| expected.get(*key) != Some(*times)).collect();
    assert_eq!((odd, asked.len()), (Vec::new(), expected.len()));
    for host in &crowd.hosts {
        assert_eq!((host.connections(), host.pdus()), (1, [(11, 1)].into()));
    }
    assert_eq!(report.json["summary"]["endpoints"], 10);
    assert_eq!(report.json["summary"]["domains"], 300);
}

#[test]
fn each_key_is_observed_once_an_interval_and_spread() {
    const INTERVALS: u32 = 5;
    let crowd = Crowd::start(4, 60);
    let config = crowd.config(&format!("[audit]\ninterval = \"2s\"\n{NO_RETRY}"), 0..60);
    let daemon = Daemon::start(&config);
    daemon.wait_until_ready();
    // What the first pass asked at once is past.
    let from = Instant::now();
    let until = from + INTERVALS * Duration::from_secs(2);
    wait_for("five intervals", Duration::from_secs(20), || {
        if crowd.server.queries().last().is_some_and(|last| last.at > until) {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    let seen: Vec<SeenQuery> = crowd
        .server
        .queries()
        .into_iter()
        .filter(|query| query.at > from && query.at < until)
        .collect();
    let mut times: BTreeMap<(String, String), u32> = BTreeMap::new();
    for query in &seen {
        *times.entry((query.name.to_string(), query.kind.to_string())).or_default() += 1;
    }
    assert_eq!(times.len(), 60 + 2 * 4);
    let odd: Vec<_> = times.iter().filter(|(_, times)| times.abs_diff(INTERVALS) > 1).collect();
    assert_eq!(odd, []);
    // All keys within one interval of two seconds, and no second of it with nearly all; half is usual.
    let busiest = most_within(&seen, Duration::from_secs(1));
    assert!(busiest * 20 <= times.len() * 17, "{busiest} of {}", times.len());
    for host in &crowd.hosts {
        let connections = host.connections();
        assert!((4..=8).contains(&connections), "{connections}");
        let pdus = host.pdus();
        assert!(pdus.keys().eq([&11]) && pdus[&11].abs_diff(connections) <= 1, "{pdus:?}");
    }
}

#[test]
fn the_rate_holds_at_the_start_with_retries_and_across_a_reload() {
    const RATE: usize = 20;
    let crowd = Crowd::start(1, 60);
    crowd.server.set_fault(Some(Fault::Silent));
    let settings =
        "[audit]\ninterval = \"2s\"\n[dns]\nrate = 20\ntimeout = \"200ms\"\nattempts = 3\n";
    let daemon = Daemon::start(&crowd.config(settings, 0..30));
    wait_for("retries", Duration::from_secs(30), || match crowd.server.query_count() {
        60.. => Ok(()),
        asked => Err(asked.to_string()),
    });
    let asked = crowd.asked();
    assert!(asked.values().any(|times| *times > 1), "retries are among them: {asked:?}");
    daemon.write_config(&crowd.config(settings, 0..60));
    assert_eq!(daemon.request_by_socket("POST", "/-/reload", "").status, 200);
    wait_for("every new domain's turn", Duration::from_secs(30), || match crowd.asked().len() {
        60 => Ok(()),
        asked => Err(asked.to_string()),
    });
    // A query is late at most by what the machine is busy with.
    let busiest = most_within(&crowd.server.queries(), Duration::from_millis(950));
    assert!(busiest <= RATE, "{busiest}");
}

/// The most queries that came within any window of this length.
fn most_within(seen: &[SeenQuery], window: Duration) -> usize {
    let within = |from: Instant| {
        seen.iter().filter(move |query| query.at >= from && query.at < from + window)
    };
    seen.iter().map(|query| within(query.at).count()).max().unwrap_or(0)
}

#[test]
fn lookups_and_probes_come_from_the_configured_source() {
    let crowd = Crowd::start(2, 3);
    let config = crowd
        .config(NO_RETRY, 0..3)
        .replace("name = \"r\"\n", "name = \"r\"\nsource = \"127.0.0.2\"\n");
    assert_eq!(check(&config).json["summary"]["endpoints"], 2);
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let of_lookups = crowd.server.queries().into_iter().map(|query| query.source.ip());
    let of_probes = crowd.hosts.iter().flat_map(RpcListener::sources).map(|peer| peer.ip());
    let sources: Vec<IpAddr> = of_lookups.chain(of_probes).collect();
    assert_eq!(sources, vec![source; 3 + 2 * 2 + 2]);
}

#[test]
fn a_reload_asks_only_what_is_new_and_a_bad_config_changes_nothing() {
    let crowd = Crowd::start(2, 5);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..3));
    daemon.wait_until_ready();
    let asked_before = crowd.server.query_count();
    assert_eq!(asked_before, 3 + 2 * 2);
    let findings = |daemon: &Daemon| daemon.json("/api/v1/findings");
    let before = findings(&daemon);
    assert!(before[0]["since"].is_string(), "{before}");

    daemon.write_config(&crowd.config(ONCE, 1..4));
    let told = daemon.request_by_socket("POST", "/-/reload", "");
    assert_eq!(
        (told.status, told.text().as_str()),
        (200, "config reloaded: domains 3, resolvers 1\n")
    );
    let domains = |daemon: &Daemon| -> Vec<String> {
        let domains = daemon.json("/api/v1/domains");
        let domains = domains.as_array().expect("a list").iter();
        domains.map(|domain| domain["name"].as_str().expect("text").to_owned()).collect()
    };
    let wanted = ["d1.test", "d2.test", "d3.test"];
    let is_observed = |daemon: &Daemon, name: &str| {
        let domain = daemon.json(&format!("/api/v1/domains/{name}"));
        domain["answers"][0]["outcome"] == "records"
    };
    daemon.wait_for("the new domain", || {
        if domains(&daemon) == wanted && is_observed(&daemon, "d3.test") {
            Ok(())
        } else {
            Err(format!("{:?}", domains(&daemon)))
        }
    });
    assert_eq!(crowd.server.query_count(), asked_before + 1, "only the new one is asked");
    assert!(crowd.hosts.iter().all(|host| host.connections() == 1), "no host is probed again");
    assert_eq!(daemon.get("/api/v1/domains/d0.test").status, 404);
    let of_kept = |findings: &Value| -> BTreeMap<String, String> {
        let kept = findings.as_array().expect("a list").iter();
        let kept = kept.filter(|finding| finding["domains"][0] == "d1.test");
        kept.map(|finding| (finding["id"].to_string(), finding["since"].to_string())).collect()
    };
    assert!(!of_kept(&before).is_empty());
    assert_eq!(of_kept(&findings(&daemon)), of_kept(&before), "they go on");

    daemon.config.write("[audit]\ninterval = 5\n[dns]\nrate = 0\n");
    let refused = daemon.request_by_socket("POST", "/-/reload", "");
    assert_eq!(refused.status, 422);
    assert_eq!(refused.text().lines().count(), 3, "no domain, either: {}", refused.text());
    let successful = || daemon.metrics("kmswatch_config_last_reload_successful");
    assert_eq!(successful(), ["kmswatch_config_last_reload_successful 0"]);
    assert_eq!(domains(&daemon), wanted);

    daemon.write_config(&crowd.config(ONCE, 1..5));
    daemon.signal("-HUP");
    daemon.wait_for("SIGHUP", || match domains(&daemon).len() {
        4 if is_observed(&daemon, "d4.test") => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(successful(), ["kmswatch_config_last_reload_successful 1"]);
    assert_eq!(crowd.server.query_count(), asked_before + 2);
}

#[test]
fn it_is_ready_after_the_first_audit_and_ends_within_five_seconds_whoever_is_silent() {
    let crowd = Crowd::start(1, 2);
    crowd.server.set_fault(Some(Fault::Silent));
    let mut daemon =
        Daemon::start(&crowd.config("[audit]\ninterval = \"1s\"\n[dns]\nattempts = 10\n", 0..2));
    assert_eq!(daemon.get("/-/healthy").status, 200);
    let not_ready = daemon.get("/-/ready");
    assert_eq!((not_ready.status, not_ready.headers["retry-after"].as_str()), (503, "2"));
    assert_eq!(daemon.get("/api/v1/report").status, 503);
    assert_eq!(daemon.get("/metrics").status, 200);
    crowd.server.set_fault(None);
    daemon.wait_until_ready();
    crowd.server.set_fault(Some(Fault::Silent));
    let asked = crowd.server.query_count();
    daemon.wait_for("queries under way", || {
        if crowd.server.query_count() > asked { Ok(()) } else { Err(String::new()) }
    });
    let mut slow = TcpStream::connect(daemon.address()).expect("it listens");
    slow.write_all(b"GET /metrics HTT").expect("it reads");
    daemon.signal("-TERM");
    let (code, took) = daemon.wait();
    assert_eq!(code, Some(0), "{}", daemon.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(slow);
}

#[test]
fn the_pages_are_those_of_the_contract() {
    let crowd = Crowd::start(2, 2);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..2));
    daemon.wait_until_ready();
    for path in [
        "/",
        "/domains/d0.test",
        "/hosts",
        "/findings",
        "/profiles",
        "/journal",
        "/badge/d0.test.svg",
        "/sd",
        "/metrics",
        "/api/v1/report",
        "/api/v1/domains",
        "/api/v1/hosts",
        "/api/v1/findings",
        "/-/healthy",
        "/-/ready",
    ] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
    let report = daemon.json("/api/v1/report");
    for part in ["domains", "hosts", "findings", "profiles"] {
        assert_eq!(daemon.json(&format!("/api/v1/{part}")), report[part], "{part}");
    }
    assert_eq!(daemon.json("/api/v1/domains/D0.test."), report["domains"][0]);
    for (method, path, status) in [
        ("GET", "/probe", 400),
        ("GET", "/sd", 200),
        ("GET", "/api/v1/journal", 200),
        ("PUT", "/api/v1/acks/ID", 403),
        ("POST", "/-/reload", 403),
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/domains/other.test", 404),
        ("GET", "/-/reload", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/api/v1/report", 405),
    ] {
        assert_eq!(daemon.request(method, path, "").status, status, "{method} {path}");
    }
    // No page causes traffic.
    assert_eq!(crowd.server.query_count(), 2 + 2 * 2);
}

#[test]
fn metrics_please_promtool_and_are_the_same_with_gzip() {
    let crowd = Crowd::start(3, 20);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..20));
    daemon.wait_until_ready();
    let plain = daemon.get("/metrics");
    assert_eq!(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(promtool(&plain.text()), "", "promtool has nothing to say");
    let zipped = daemon.request("GET", "/metrics", "Accept-Encoding: gzip\r\n");
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.body.len() * 5 < plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).expect("gzip");
    let of_estate = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("kmswatch_"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(of_estate(&text), of_estate(&plain.text()));
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "no series twice");
    for (start, count) in [
        ("kmswatch_srv_record_info{", 60),
        ("kmswatch_srv_lookup_success{", 20),
        ("kmswatch_endpoint_up{", 3),
        ("kmswatch_domain_last_audit_timestamp_seconds{", 20),
        ("kmswatch_build_info{", 1),
        ("process_", 1),
    ] {
        let found = series.iter().filter(|series| series.starts_with(start)).count();
        assert!(found == count || (start == "process_" && found > count), "{start}: {found}");
    }
}

/// The names and types that came since `before`, each with how often.
fn asked_since(crowd: &Crowd, before: &BTreeMap<(String, String), usize>) -> BTreeSet<String> {
    let mut new = BTreeSet::new();
    for ((name, kind), count) in crowd.asked() {
        let more = count - before.get(&(name.clone(), kind.clone())).copied().unwrap_or(0);
        if more > 0 {
            new.insert(format!("{name} {kind} {more}"));
        }
    }
    new
}

#[test]
fn a_probe_observes_its_domain_now_and_shows_that_domain_only() {
    let crowd = Crowd::start(2, 20);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..20));
    daemon.wait_until_ready();
    let probed = |query: &str| {
        let reply = daemon.get(&format!("/probe?{query}"));
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.text()
    };
    let before = crowd.asked();
    let text = probed("domain=d3.test");
    let of_hosts = ["kms0.test A 1", "kms0.test AAAA 1", "kms1.test A 1", "kms1.test AAAA 1"];
    assert_eq!(
        asked_since(&crowd, &before),
        set(["_vlmcs._tcp.d3.test SRV 1"].into_iter().chain(of_hosts))
    );
    for host in &crowd.hosts {
        assert_eq!(host.pdus(), [(11, 2)].into(), "the first pass, and the probe");
    }
    assert_eq!(promtool(&text), "", "promtool has nothing to say");
    assert!(text.contains("\nkmswatch_srv_records{domain=\"d3.test\"} 2\n"), "{text}");
    assert!(!text.contains("\"d4.test\"") && !text.contains("process_"), "{text}");
    // What it sees is new, and what nobody asked for stays as it was.
    let owner = "_vlmcs._tcp.d3.test";
    let port = crowd.hosts[1].address().port();
    crowd.zones.retain(owner, |data| *data != Data::srv(0, 0, port, "kms1.test"));
    crowd.zones.insert("new.test", Data::A(Ipv4Addr::LOCALHOST));
    crowd.zones.insert(owner, Data::srv(5, 0, port, "new.test"));
    let before = crowd.asked();
    let text = probed(&format!("domain=D3.test.&server={}", crowd.server.address()));
    let info = format!(
        "kmswatch_srv_record_info{{domain=\"d3.test\",target=\"new.test\",port=\"{port}\",\
         priority=\"5\",weight=\"0\"}} 1"
    );
    assert!(text.lines().any(|line| line == info), "{text}");
    let up =
        format!("kmswatch_host_up{{domain=\"d3.test\",target=\"new.test\",port=\"{port}\"}} 1");
    assert!(text.lines().any(|line| line == up), "a new target is resolved and probed: {text}");
    let of_vanished = text.lines().filter(|line| line.contains("kms1.test"));
    let families: BTreeSet<&str> = of_vanished.filter_map(|line| line.split('{').next()).collect();
    let outlive = ["kmswatch_record_first_seen", "kmswatch_record_last_seen"]
        .map(|name| format!("{name}_timestamp_seconds"));
    assert_eq!(families, outlive.iter().map(String::as_str).collect(), "{text}");
    let vanished = "kmswatch_findings{domain=\"d3.test\",check=\"record-vanished\",severity=\"critical\",state=\"active\"} 1";
    assert!(text.lines().any(|line| line == vanished), "{text}");
    let now = ["_vlmcs._tcp.d3.test SRV 1", "kms0.test A 1", "kms0.test AAAA 1"];
    let now = now.into_iter().chain(["new.test A 1", "new.test AAAA 1"]);
    assert_eq!(asked_since(&crowd, &before), set(now));
    // The whole estate learns of it, too.
    daemon.wait_for("the audit", || match daemon.metrics("kmswatch_srv_record_info{") {
        series if series.iter().any(|line| line.contains("\"new.test\"")) => Ok(()),
        series => Err(format!("{series:?}")),
    });
}

#[test]
fn probes_of_one_domain_join_and_wrong_ones_are_told() {
    let crowd = Crowd::start(1, 3);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..3));
    daemon.wait_until_ready();
    let before = crowd.asked();
    crowd
        .server
        .set_fault_for("_vlmcs._tcp.d1.test", Some(Fault::Delay(Duration::from_millis(700))));
    std::thread::scope(|scope| {
        let probes: Vec<_> =
            (0..8).map(|_| scope.spawn(|| daemon.get("/probe?domain=d1.test").status)).collect();
        for probe in probes {
            assert_eq!(probe.join().expect("no panic"), 200);
        }
    });
    let new = asked_since(&crowd, &before);
    assert!(new.contains("_vlmcs._tcp.d1.test SRV 1"), "one lookup for all: {new:?}");
    // Nothing that is wrong is asked.
    let before = crowd.asked();
    for (query, advice) in [
        ("", "write /probe?domain=contoso.com"),
        ("domain=other.test", "such as ?domain=d0.test"),
        ("domain=d0.test&server=192.0.2.1", &format!("write one of {}", crowd.server.address())),
    ] {
        let reply = daemon.get(&format!("/probe?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains(advice), "{query}: {}", reply.text());
    }
    assert_eq!(crowd.asked(), before);
    // A scraper that would not wait gets its answer in time.
    crowd.server.set_fault_for("_vlmcs._tcp.d2.test", Some(Fault::Silent));
    let began = Instant::now();
    let header = "X-Prometheus-Scrape-Timeout-Seconds: 1\r\n";
    let reply = daemon.request("GET", "/probe?domain=d2.test", header);
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // It ends by itself, and says that nothing is known.
    let text = daemon.get("/probe?domain=d2.test").text();
    assert!(text.contains("outcome=\"timeout\"} 1\n"), "{text}");
    assert!(text.contains("\nkmswatch_srv_records{domain=\"d2.test\"} 1\n"), "held: {text}");
}

#[test]
fn prometheus_discovers_the_hosts() {
    let crowd = Crowd::start(2, 2);
    let daemon = Daemon::start(&crowd.config(ONCE, 0..2));
    daemon.wait_until_ready();
    let url = format!("http://{}/sd", daemon.address());
    let config = Config::new(&format!(
        "scrape_configs:\n- job_name: kms\n  http_sd_configs:\n  - url: {url}\n"
    ));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "service-discovery", "--timeout=5s"]).arg(config.path()).arg("kms");
    let ended = program::Ended::of(&mut promtool);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (number, host) in crowd.hosts.iter().enumerate() {
        let target = format!("kms{number}.test:{}", host.address().port());
        assert!(ended.stdout.contains(&format!("\"__address__\": \"{target}\"")), "{ended:?}");
    }
    assert!(ended.stdout.contains("\"__meta_kmswatch_domains\": \",d0.test,d1.test,\""));
    assert!(ended.stdout.contains("\"__meta_kmswatch_status\": \"up\""), "{ended:?}");
}

/// What `promtool check metrics` says.
fn promtool(metrics: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(metrics.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    String::from_utf8(said).expect("UTF-8")
}

/// What hangs on the log must not hang the watch: neither a disk that is full nor a reader that sleeps.
#[test]
fn a_log_that_takes_nothing_stops_nobody() {
    let crowd = Crowd::start(1, 1);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux");
    for stderr in [Stdio::from(full), Stdio::piped()] {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound socket");
        drop(free);
        // More findings than a pipe holds: all but the first domain have no record.
        let settings = format!("[web]\nlisten = \"{address}\"\n[audit]\ninterval = \"1s\"\n");
        let config = Config::new(&crowd.config(&settings, 0..800));
        let mut command = kmswatch();
        command.args(["run", "-c"]).arg(config.path()).current_dir(config.folder());
        command.stderr(stderr).stdout(Stdio::null());
        let mut child = command.spawn().expect("the program is there");
        wait_for("the first audit", Duration::from_secs(20), || {
            match TcpStream::connect(address).is_ok()
                && request(address, "GET", "/-/ready", "").status == 200
            {
                true => Ok(()),
                false => Err("not ready".to_owned()),
            }
        });
        let ended = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
        assert!(ended.success());
        let code = wait_for("the end", Duration::from_secs(5), || {
            child.try_wait().expect("a child").ok_or_else(|| "it runs".to_owned())
        });
        assert_eq!(code.code(), Some(0));
    }
}
