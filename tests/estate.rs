//! `check` on real servers: a healthy estate yields nothing, each fault exactly its findings.

#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/estate.rs"]
mod estate;
#[path = "peers/impacket.rs"]
mod impacket;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/rpc.rs"]
mod rpc;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use dns::{Bind, Zone};
use estate::{Estate, LISTED, LISTED_THREE, OWNER};
use program::{Report, check, set};
use serde_json::{Value, json};

/// Asserts the whole set of findings and the exit code.
fn expect(estate: &Estate, report: &Report, code: i32, expected: &[&str]) {
    assert_eq!(report.findings(&estate.names()), set(expected.iter().copied()), "{}", report.json);
    assert_eq!(report.code, Some(code));
}

/// Changes a healthy estate on both servers, and checks it with both hosts listed.
fn after_update(lines: &str, code: i32, expected: &[&str]) {
    let estate = Estate::start();
    estate.update(lines);
    expect(&estate, &check(&estate.config("", LISTED)), code, expected);
}

/// The same with three hosts listed, so that one of them is no loss of redundancy.
fn after_update_of_three(lines: &str, code: i32, expected: &[&str]) {
    let estate = Estate::start();
    estate.update(lines);
    expect(&estate, &check(&estate.config("", LISTED_THREE)), code, expected);
}

#[test]
fn a_healthy_estate_has_no_finding() {
    let estate = Estate::start();
    let report = check(&estate.config("", LISTED));
    expect(&estate, &report, 0, &[]);
    let domain = &report.json["domains"][0];
    let outcomes: Vec<&Value> = domain["answers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|answer| &answer["outcome"])
        .collect();
    assert_eq!(outcomes, ["records", "records"]);
    let shares = |key: &str| -> Vec<Value> {
        domain["hosts"].as_array().expect("a list").iter().map(|host| host[key].clone()).collect()
    };
    assert_eq!(shares("share"), [json!(0.75), json!(0.25)]);
    assert_eq!(shares("status"), ["up", "up"]);
    assert_eq!(report.json["summary"]["endpoints"], 2);
    // One bind each, and nothing else, ever.
    let pdus = estate.hosts.iter().flatten().map(|host| {
        let seen = host.seen();
        seen.iter().map(|seen| seen.packet_types().expect("whole PDUs")).collect::<Vec<_>>()
    });
    assert_eq!(pdus.collect::<Vec<_>>(), [vec![vec![11]], vec![vec![11]], vec![]]);
}

#[test]
fn a_name_that_does_not_exist() {
    after_update(
        &format!("update delete {OWNER} SRV"),
        2,
        &[
            "srv-missing domain:contoso.test critical active",
            "record-missing record:contoso.test/kms1.contoso.test:PORT critical suppressed",
            "record-missing record:contoso.test/kms2.contoso.test:PORT critical suppressed",
        ],
    );
}

#[test]
fn a_name_without_srv_records() {
    after_update(
        &format!("update delete {OWNER} SRV\nupdate add {OWNER} 300 TXT moved"),
        2,
        &[
            "srv-empty domain:contoso.test critical active",
            "record-missing record:contoso.test/kms1.contoso.test:PORT critical suppressed",
            "record-missing record:contoso.test/kms2.contoso.test:PORT critical suppressed",
        ],
    );
}

#[test]
fn a_record_that_both_servers_lost() {
    after_update(
        &format!("update delete {OWNER} SRV 10 25 PORT kms2.contoso.test."),
        2,
        &[
            "record-missing record:contoso.test/kms2.contoso.test:PORT critical active",
            "redundancy-none domain:contoso.test info active",
        ],
    );
}

#[test]
fn a_copy_that_diverges() {
    let estate = Estate::start();
    let port = estate.port;
    estate.second.update(&format!("update delete {OWNER} SRV 10 25 {port} kms2.contoso.test."));
    let report = check(&estate.config("", LISTED));
    expect(&estate, &report, 1, &["server-divergence domain:contoso.test warning active"]);
    // Order, TTL and serial are no divergence.
    estate.second.update(&format!("update add {OWNER} 900 SRV 10 25 {port} kms2.contoso.test."));
    expect(&estate, &check(&estate.config("", LISTED)), 0, &[]);
}

#[test]
fn a_dead_host_and_then_both() {
    let mut estate = Estate::start();
    estate.hosts[1] = None;
    let report = check(&estate.config("", LISTED));
    expect(
        &estate,
        &report,
        1,
        &[
            "redundancy-lost domain:contoso.test warning active",
            "host-down host:kms2.contoso.test:PORT warning suppressed",
        ],
    );
    let down = report.finding("host-down");
    assert_eq!(down["client_error"], Value::Null, "another host is up");
    assert_eq!(down["evidence"]["event_12288"], "0x800706BA");
    estate.hosts[0] = None;
    let report = check(&estate.config("", LISTED));
    expect(
        &estate,
        &report,
        2,
        &[
            "all-hosts-down domain:contoso.test critical active",
            "host-down host:kms1.contoso.test:PORT critical suppressed",
            "host-down host:kms2.contoso.test:PORT critical suppressed",
        ],
    );
    assert_eq!(report.finding("all-hosts-down")["client_error"], "0xC004F074");
}

#[test]
fn a_dead_host_that_hits_two_domains() {
    let mut estate = Estate::start();
    estate.update(
        "update add _vlmcs._tcp.east.contoso.test 300 SRV 0 0 PORT kms2.contoso.test.\n\
         update add _vlmcs._tcp.east.contoso.test 300 SRV 90 0 PORT kms3.contoso.test.",
    );
    estate.hosts[1] = None;
    let east = "[[domain]]\nname = \"east.contoso.test\"\n\
        hosts = [\"kms2.contoso.test:PORT\", \"kms3.contoso.test:PORT\"]\n";
    let report = check(&estate.config("", &[LISTED, east].concat()));
    expect(
        &estate,
        &report,
        1,
        &[
            "host-down host:kms2.contoso.test:PORT warning active",
            "redundancy-lost domain:contoso.test warning suppressed",
            "redundancy-lost domain:east.contoso.test warning suppressed",
            "tier-down domain:east.contoso.test warning suppressed",
        ],
    );
    let domains = &report.finding("host-down")["domains"];
    assert_eq!(*domains, json!(["contoso.test", "east.contoso.test"]));
}

#[test]
fn a_rogue_record() {
    after_update(
        &format!("update add {OWNER} 300 SRV 10 50 PORT kms3.contoso.test."),
        2,
        &[
            "record-unexpected record:contoso.test/kms3.contoso.test:PORT critical active",
            "port-unusual record:contoso.test/kms3.contoso.test:PORT info active",
        ],
    );
}

#[test]
fn another_rpc_service_on_the_port() {
    wrong_service(
        impacket::ENDPOINT_MAPPER,
        1,
        &["host-not-kms host:service.contoso.test:SERVICE warning active"],
    );
}

#[test]
fn an_rpc_runtime_with_the_kms_interface_is_well() {
    wrong_service(impacket::KMS, 0, &[]);
}

/// impacket as a third listed host.
fn wrong_service(interface: [&str; 2], code: i32, expected: &[&str]) {
    let service = impacket::RpcServer::start(interface);
    let port = service.address().port();
    let estate = Estate::start();
    estate.update(&format!(
        "update add {OWNER} 300 SRV 20 0 {port} service.contoso.test.\n\
         update add service.contoso.test 300 A 127.0.0.1"
    ));
    let listed =
        LISTED_THREE.replace("kms3.contoso.test:PORT", &format!("service.contoso.test:{port}"));
    let report = check(&estate.config("", &listed));
    let names = [estate.names(), vec![(format!(":{port}"), ":SERVICE")]].concat();
    assert_eq!(report.findings(&names), set(expected.iter().copied()));
    assert_eq!(report.code, Some(code));
}

#[test]
fn a_target_without_address() {
    after_update_of_three(
        &format!(
            "update add {OWNER} 300 SRV 10 50 PORT kms3.contoso.test.\nupdate delete kms3.contoso.test"
        ),
        2,
        &[
            "target-unresolvable host:kms3.contoso.test:PORT critical active",
            "host-down host:kms3.contoso.test:PORT warning suppressed",
        ],
    );
}

#[test]
fn a_target_that_is_an_alias() {
    after_update_of_three(
        &format!(
            "update add {OWNER} 300 SRV 10 50 PORT kms3.contoso.test.\n\
             update delete kms3.contoso.test\n\
             update add kms3.contoso.test 300 CNAME real.contoso.test.\n\
             update add real.contoso.test 300 A 127.0.0.13"
        ),
        1,
        &["target-alias host:kms3.contoso.test:PORT warning active"],
    );
}

#[test]
fn a_target_with_a_doubled_suffix() {
    const DOUBLED: &str = "kms3.contoso.test.contoso.test";
    after_update_of_three(
        &format!("update add {OWNER} 300 SRV 10 50 PORT {DOUBLED}."),
        2,
        &[
            "host-down host:kms3.contoso.test.contoso.test:PORT warning suppressed",
            "port-unusual record:contoso.test/kms3.contoso.test.contoso.test:PORT info active",
            "record-missing record:contoso.test/kms3.contoso.test:PORT critical active",
            "record-unexpected record:contoso.test/kms3.contoso.test.contoso.test:PORT critical active",
            "target-suffix-doubled host:kms3.contoso.test.contoso.test:PORT critical active",
            "target-unresolvable host:kms3.contoso.test.contoso.test:PORT critical active",
        ],
    );
}

#[test]
fn a_record_twice_with_another_priority() {
    after_update(
        &format!("update add {OWNER} 300 SRV 20 75 PORT kms1.contoso.test."),
        1,
        &[
            "record-drift record:contoso.test/kms1.contoso.test:PORT warning active",
            "record-duplicate record:contoso.test/kms1.contoso.test:PORT warning active",
        ],
    );
}

#[test]
fn a_zone_that_fails_and_one_that_is_refused() {
    let estate = Estate::start();
    let others = "[[domain]]\nname = \"broken.test\"\n[[domain]]\nname = \"elsewhere.test\"\n";
    let report = check(&estate.config("", &[LISTED, others].concat()));
    expect(
        &estate,
        &report,
        2,
        &[
            "dns-failure domain:broken.test critical active",
            "dns-failure domain:elsewhere.test critical active",
        ],
    );
    let codes = report.json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| (finding["domains"][0].as_str(), finding["client_error"].as_str()));
    let codes: BTreeMap<_, _> = codes.collect();
    assert_eq!(codes[&Some("broken.test")], Some("0x8007232A"));
    assert_eq!(codes[&Some("elsewhere.test")], Some("0x8007232D"));
}

#[test]
fn one_silent_server_and_then_all() {
    let estate = Estate::start();
    estate.second.pause();
    let report = check(&estate.config("", LISTED));
    expect(&estate, &report, 1, &["server-failure server:second warning active"]);
    assert_eq!(report.json["domains"][0]["hosts"][0]["status"], "up");
    estate.first.pause();
    let report = check(&estate.config("", LISTED));
    expect(
        &estate,
        &report,
        2,
        &[
            "dns-failure domain:contoso.test critical suppressed",
            "server-failure server:first critical active",
            "server-failure server:second critical active",
        ],
    );
    // The cause is the servers; what clients show is still the failure of their lookup.
    let config = program::Config::new(&estate.config("", LISTED));
    let mut command = program::kmswatch();
    let human = program::Ended::of(command.args(["check", "-c"]).arg(config.path())).stdout;
    assert_eq!(
        human.lines().next(),
        Some("1 of 1 domain has trouble: clients in contoso.test would fail with 0x800705B4."),
        "{human}"
    );
}

#[test]
fn an_answer_that_needs_tcp_is_read_whole() {
    let (anywhere, port) = listener_anywhere();
    let (mut records, mut listed) = (String::new(), String::new());
    for number in 1..=62 {
        let _ = writeln!(
            records,
            "_vlmcs._tcp SRV 0 0 {port} kms{number}.contoso.test.\nkms{number} A 127.0.1.{number}"
        );
        let _ = write!(listed, "\"kms{number}.contoso.test:{port}\", ");
    }
    let bind = Bind::start(&[Zone { name: "contoso.test", records: &records }]);
    let report = check(&format!(
        "[[resolver]]\nname = \"hq\"\nservers = [\"{}\"]\n[[domain]]\nname = \"contoso.test\"\nhosts = [{listed}]\n",
        bind.address()
    ));
    assert_eq!((report.findings(&[]), report.code), (set([]), Some(0)));
    let answer = &report.json["domains"][0]["answers"][0];
    assert_eq!(answer["records"].as_array().expect("a list").len(), 62);
    assert_eq!(anywhere.connections(), 62);
}

/// What a person can do about so many records is one thing; what is sent because of them another.
#[test]
fn three_thousand_targets_are_not_fanned_out() {
    let (anywhere, port) = listener_anywhere();
    let servers = [0, 1].map(|server| {
        let mut records = String::new();
        for number in 0..1532 {
            let (high, low) = (number / 250, number % 250 + 1);
            // The first 64 are the same, so that it does not matter which server answers first.
            let target = match number {
                0..64 => format!("a{number:02}"),
                _ => format!("h{server}x{number}"),
            };
            let _ = writeln!(
                records,
                "_vlmcs._tcp SRV 0 0 {port} {target}\n{target} A 127.2.{high}.{low}"
            );
        }
        let zone = Zone { name: "t.test", records: &records };
        Bind::start_with("max-records-per-type 0; querylog yes;", &[zone])
    });
    let report = check(&format!(
        "[dns]\ntimeout = \"10s\"\nattempts = 1\n[[resolver]]\nname = \"hq\"\nservers = [\"{}\", \"{}\"]\n\
         [[domain]]\nname = \"t.test\"\n",
        servers[0].address(),
        servers[1].address()
    ));
    assert_eq!(report.code, Some(1), "they differ, and only some were looked at");
    assert_eq!(anywhere.connections(), 64, "endpoints of one domain");
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for line in servers
        .iter()
        .flat_map(|server| server.log().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        if let Some((_, query)) = line.split_once(" query: ") {
            let name = query.split(" IN ").next().expect("a name").to_owned();
            *asked.entry(name).or_default() +=
                usize::from(!query.contains(" SRV ") && !query.contains(" SOA "));
        }
    }
    // A and AAAA, and at both servers where the first denies it.
    asked.retain(|_, times| *times > 0);
    assert_eq!(asked.len(), 2 * 128 - 64, "targets that were looked up");
    assert!(asked.values().all(|times| *times <= 4), "{asked:?}");
    let left_out = &report.json["domains"][0]["left_out"];
    assert_eq!([&left_out["records"], &left_out["endpoints"]], [1532 - 128, 2 * 128 - 64 - 64]);
    for answer in report.json["domains"][0]["answers"].as_array().expect("a list") {
        assert_eq!(answer["records"].as_array().expect("a list").len(), 128);
        assert_eq!(answer["omitted"], 1532 - 128, "said, not silent");
    }
}

/// A KMS listener on every address of this machine.
fn listener_anywhere() -> (rpc::RpcPeer, u16) {
    let peer = rpc::RpcPeer::on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), rpc::Behaviour::Kms);
    let port = peer.address().port();
    (peer, port)
}
