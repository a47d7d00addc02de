//! `preflight` on loopback: what it prints in each format, what it sends from where, what it refuses, and
//! how long its dead ends take. Behind a firewall it is tested in `preflight_netns`.

#[path = "peers/lab.rs"]
mod lab;
#[path = "peers/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use kmswatch::demo::{Behaviour, Data, DnsServer, RpcListener, Zones};
use lab::Bench;
use program::{Config, Ended, kmswatch};
use roxmltree::Document;
use serde_json::Value;

/// A server and a host: `good.test` is well, `dead.test` names a closed port, `gone.test` has no record.
struct Small {
    server: DnsServer,
    host: RpcListener,
    bench: Bench,
    zones: Zones,
}

impl Small {
    fn start() -> Self {
        let bench = Bench::new();
        let host = bench.host(Behaviour::Kms);
        let zones = Zones::new();
        for origin in ["good.test", "dead.test", "gone.test"] {
            zones.add_zone(origin);
        }
        for name in ["kms.good.test", "kms.dead.test"] {
            zones.insert(name, Data::A(Ipv4Addr::LOCALHOST));
        }
        zones.insert(
            "_vlmcs._tcp.good.test",
            Data::srv(0, 0, host.address().port(), "kms.good.test"),
        );
        zones.insert("_vlmcs._tcp.dead.test", Data::srv(0, 0, closed_port(), "kms.dead.test"));
        Self { server: bench.dns(&zones), host, bench, zones }
    }

    /// `preflight` of clients that have this server, with these arguments.
    fn preflight(&self, arguments: &[&str]) -> Ended {
        let mut command = preflight();
        command.args(["--server", &self.server.address().to_string()]).args(arguments);
        Ended::of(&mut command)
    }

    /// What was printed, without what differs from run to run.
    fn masked(&self, text: &str) -> String {
        let ports = [(self.server.address().port(), "DNS"), (self.host.address().port(), "KMS")];
        let text = ports.iter().fold(text.to_owned(), |text, (port, name)| {
            text.replace(&format!(":{port}"), &format!(":{name}"))
        });
        let words: Vec<&str> = text.split(' ').collect();
        let is_unit = |word: &str| word.starts_with("ms") || word.starts_with("s\n");
        let mask = |(at, word): (usize, &&str)| {
            let is_time =
                word.parse::<f64>().is_ok() && words.get(at + 1).is_some_and(|next| is_unit(next));
            if is_time { "T".to_owned() } else { (*word).to_owned() }
        };
        words.iter().enumerate().map(mask).collect::<Vec<_>>().join(" ")
    }
}

fn preflight() -> Command {
    let mut command = kmswatch();
    command.arg("preflight");
    command
}

/// Nobody listens there.
fn closed_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const FROM_SOURCE: [&str; 4] = ["--source", "127.0.0.9", "--subnet", "127.0.0.0/24"];
const GOOD: [&str; 3] = ["--suffix", "gone.test", "good.test"];
const DEAD: [&str; 3] = ["--suffix", "dead.test", "good.test"];

#[test]
fn a_person_reads_each_step_of_clients_that_are_well() {
    let small = Small::start();
    let ended = small
        .preflight(&[&GOOD[..], &FROM_SOURCE[..], &["--clients", "40", "--office", "4"]].concat());
    let expected = "\
127.0.0.0/24  from 127.0.0.9, asking 127.0.0.1:DNS
✔ source    127.0.0.9 is on this machine, within 127.0.0.0/24
✔ servers   127.0.0.1:DNS answers over UDP and TCP: UDP T ms, TCP T ms
✔ suffixes  good.test names 1 host, and the search ends there
            gone.test  nxdomain                goes on
            good.test  kms.good.test:KMS 0 0  ends the search
✔ hosts     1 host with 1 address
            kms.good.test:KMS  127.0.0.1
✔ connect   the only address answers as KMS
            kms.good.test:KMS  127.0.0.1:KMS  kms  connect T ms  bind T ms
i shares    Windows and Office have kms.good.test:KMS alone: if it fails, clients fail
            kms.good.test:KMS  100 %  if it fails: clients show 0xC004F074
i counts    too few machines with Office come to some host: it then activates none of them
            ✔  Windows clients       40  a host needs 25
            i  machines with Office  4   a host needs 5   kms.good.test:KMS gets about 4.0
✔ verdict   Windows and Office will find kms.good.test:KMS through good.test

Clients of 127.0.0.0/24 will find their KMS host.
1 profile, 8 steps: 8 passed, 0 warnings, 0 failed; T s
";
    // A port has as many columns as it has digits.
    let spaces =
        |text: &str| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    assert_eq!(spaces(&small.masked(&ended.stdout)), spaces(expected), "{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let queries = small.server.queries();
    assert!(queries.iter().all(|query| query.source.ip() == SOURCE), "{queries:?}");
    assert!(small.host.sources().iter().all(|source| source.ip() == SOURCE));
    // SRV of both suffixes, A and AAAA of the host; and one question over TCP.
    assert_eq!((queries.len(), small.host.connections()), (5, 1), "{queries:?}");
}

#[test]
fn a_person_reads_what_mends_clients_that_fail() {
    let small = Small::start();
    let ended = small.preflight(&[&DEAD[..], &FROM_SOURCE[..]].concat());
    let told = [
        "✘ connect   no address answers: refused\n",
        "– shares    no host is up to go to\n",
        "✘ verdict   Windows and Office will fail with 0xC004F074: no host that it names answers",
        "kms.good.test:KMS in good.test is up, but is never asked for\n",
        "            What to do:\n              Remove the dead records",
        "\nClients of 127.0.0.0/24 will fail with 0xC004F074.\n",
    ];
    let said = small.masked(&ended.stdout).replace("\n            kms.good.test", " kms.good.test");
    for words in told {
        assert!(said.contains(words), "{words}\n{}", ended.stdout);
    }
    assert_eq!(ended.code, Some(2));
    let gone = small.preflight(&["--suffix", "gone.test"]);
    assert!(
        gone.stdout.contains("will fail with 0x8007232B: the name does not exist (gone.test)"),
        "{gone:?}"
    );
    let preset =
        small.preflight(&["--kms-host", &format!("kms.good.test:{}", small.host.address().port())]);
    assert!(
        preset.stdout.contains("– suffixes  not asked: a fixed host switches discovery off"),
        "{preset:?}"
    );
    assert_eq!(preset.code, Some(0), "{preset:?}");
}

#[test]
fn a_server_that_fails_beside_a_good_one_does_not_differ_from_it() {
    let small = Small::start();
    let dead = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let dead = dead.expect("a port where nobody is any more").to_string();
    let ended = small.preflight(&[&dead, "--suffix", "good.test"]);
    let said = small.masked(&ended.stdout);
    assert!(said.contains("the search ends there; not every server answers for"), "{said}");
    assert!(!said.contains("servers differ"), "{said}");
    let row = |server: &str| {
        let of = |line: &&str| line.contains("good.test") && line.contains(server);
        said.lines().skip_while(|line| !line.contains("suffixes")).skip(1).find(of)
    };
    let (good, bad) = (row("127.0.0.1:DNS").unwrap_or("-"), row(&dead).unwrap_or("-"));
    assert!(good.contains("ends the search") && good.trim_start().starts_with('✔'), "{said}");
    assert!(bad.ends_with("another server is heard") && !bad.contains('✔'), "{said}");
}

#[test]
fn fail_on_decides_which_severity_counts() {
    let small = Small::start();
    // That a host is alone is worth knowing.
    let with = |severity| small.preflight(&["--suffix", "good.test", "--fail-on", severity]).code;
    assert_eq!([with("critical"), with("warning"), with("info")], [Some(0), Some(0), Some(1)]);
}

#[test]
fn what_clients_never_reach_is_told_after_the_steps_and_decides_nothing() {
    let small = Small::start();
    let ended = small.preflight(&["--suffix", "good.test", "dead.test"]);
    assert!(
        ended.stdout.contains("\n✔ verdict   Windows and Office will find kms.good.test:"),
        "{ended:?}"
    );
    let (_, further) =
        ended.stdout.split_once("\nFurther findings:\n").expect("what no step tells");
    assert!(further.starts_with("– all-hosts-down: "), "{further}");
    assert!(further.contains("never come to it, so it does not count"), "{further}");
    assert!(further.contains("will find their KMS host.\n"), "{further}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of = |format| {
        let arguments = ["--suffix", "good.test", "dead.test", "--format", format];
        small.preflight(&arguments).stdout
    };
    let nagios = of("nagios");
    assert!(nagios.starts_with("KMS OK - "), "{nagios}");
    assert!(nagios.contains(" critical=0;;0;0 warning=0;0;;0 info=2;;;0 "), "{nagios}");
    assert_eq!(nagios.lines().count(), 1, "{nagios}");
    let json: Value = serde_json::from_str(&of("json")).expect("JSON");
    assert_eq!((&json["status"], &json["summary"]["critical"]), (&"info".into(), &0.into()));
    let xml = of("junit");
    let xml = Document::parse(&xml).expect("XML");
    assert_eq!(xml.root_element().attribute("failures"), Some("0"));
    assert!(
        xml.descendants().any(|node| node.attribute("name") == Some("all-hosts-down dead.test"))
    );
    let good = small.preflight(&["--suffix", "good.test"]);
    assert!(!good.stdout.contains("Further findings"), "{good:?}");
}

#[test]
fn what_clients_meet_and_no_step_tells_counts_in_every_format() {
    let small = Small::start();
    let port = small.host.address().port();
    // One host twice: clients are served, and the records are wrong.
    small.zones.insert("kms2.good.test", Data::A(Ipv4Addr::LOCALHOST));
    small.zones.insert("_vlmcs._tcp.good.test", Data::srv(0, 0, port, "kms2.good.test"));
    let of = |format| {
        let ended = small.preflight(&["--suffix", "good.test", "--format", format]);
        assert_eq!(ended.code, Some(1), "{format}: {}", ended.stdout);
        ended.stdout
    };
    assert!(of("human").contains("\nFurther findings:\n! record-duplicate: "));
    let nagios = of("nagios");
    assert!(nagios.starts_with("KMS WARNING - "), "{nagios}");
    assert!(nagios.contains(" critical=0;;0;0 warning=1;0;;0 "), "{nagios}");
    let told: Vec<&str> = nagios.lines().skip(1).collect();
    assert!(matches!(told[..], [one] if one.starts_with("warning record-duplicate: ")), "{nagios}");
    let json: Value = serde_json::from_str(&of("json")).expect("JSON");
    assert_eq!((&json["status"], &json["summary"]["warning"]), (&"warning".into(), &1.into()));
    let xml = of("junit");
    let xml = Document::parse(&xml).expect("XML");
    assert_eq!(xml.root_element().attribute("failures"), Some("1"));
}

/// A config with this server, and what follows.
fn config_of(small: &Small, rest: &str) -> Config {
    let server = small.server.address();
    Config::new(&format!("[[resolver]]\nname = \"r\"\nservers = [\"{server}\"]\n{rest}"))
}

fn run(config: &Config, arguments: &[&str]) -> (Value, Option<i32>) {
    let mut command = preflight();
    command.args(["--format", "json", "-c"]).arg(config.path()).args(arguments);
    let ended = Ended::of(&mut command);
    let json = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    (json, ended.code)
}

fn state<'j>(json: &'j Value, profile: usize, id: &str) -> &'j str {
    let steps = json["preflight"][profile]["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["id"] == id).expect("every step");
    step["state"].as_str().expect("a state")
}

#[test]
fn what_the_config_accepts_does_not_count() {
    let small = Small::start();
    let profile = "[[profile]]\nname = \"lab\"\nsuffixes = [\"dead.test\"]\n";
    let (_, code) = run(&config_of(&small, profile), &[]);
    assert_eq!(code, Some(2));
    let accepting = |checks: &str| {
        config_of(
            &small,
            &format!(
                "{profile}[[exception]]\nchecks = [{checks}]\ndomains = [\"*\"]\nseverity = \"info\"\nreason = \"a lab\"\n"
            ),
        )
    };
    let all = "\"profile-no-kms\", \"host-down\", \"all-hosts-down\", \"redundancy-none\"";
    let (json, code) = run(&accepting(all), &[]);
    assert_eq!(code, Some(0), "{:#}", json["preflight"]);
    assert_eq!(state(&json, 0, "connect"), "info");
    assert_eq!(state(&json, 0, "verdict"), "failed", "it says what clients will see");
    let mut check = kmswatch();
    let checked = Ended::of(check.args(["check", "-c"]).arg(accepting(all).path()));
    let row = checked.stdout.lines().find(|line| line.starts_with("i lab ")).unwrap_or("-");
    assert!(checked.stdout.contains("lab with 0xC004F074 (accepted)."), "{checked:?}");
    assert!(row.contains("0xC004F074 (accepted)"), "{checked:?}");
    let (json, code) = run(&accepting("\"profile-no-kms\""), &[]);
    assert_eq!((state(&json, 0, "connect"), code), ("failed", Some(2)), "the host is not accepted");
}

#[test]
fn machines_of_profiles_that_are_not_named_count() {
    let small = Small::start();
    let profile = |name: &str, clients: u32| {
        format!("[[profile]]\nname = \"{name}\"\nsuffixes = [\"good.test\"]\nclients = {clients}\n")
    };
    let both = config_of(&small, &(profile("one", 15) + &profile("two", 15)));
    let (json, _) = run(&both, &["one"]);
    assert_eq!(state(&json, 0, "counts"), "passed");
    assert_eq!(json["preflight"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["profiles"].as_array().map(Vec::len), Some(1), "only what was asked for");
    assert_eq!(json["profiles"][0]["status"], "ok", "of the same findings");
    let few = config_of(&small, &(profile("one", 15) + &profile("two", 5)));
    let (json, _) = run(&few, &["one"]);
    assert_eq!(state(&json, 0, "counts"), "info");
    let evidence = &json["preflight"][0]["steps"][6]["evidence"][0]["expected"];
    assert!(evidence.as_str().is_some_and(|says| says.ends_with("gets about 20.0")), "{evidence}");
}

#[test]
fn without_a_host_no_count_is_enough() {
    let small = Small::start();
    let ended = small.preflight(&["--suffix", "gone.test", "--clients", "40"]);
    assert!(ended.stdout.contains("– counts    there is no host to come to\n"), "{ended:?}");
}

#[test]
fn a_profile_does_not_wait_for_the_dead_ends_of_another() {
    let (small, silent) = (Small::start(), Silent::start());
    let rest = format!(
        "[[resolver]]\nname = \"silent\"\nservers = [\"{}\"]\n\
         [dns]\ntimeout = \"1s\"\nattempts = 2\n\
         [[profile]]\nname = \"good\"\nresolver = \"r\"\nsuffixes = [\"good.test\"]\nclients = 40\n\
         [[profile]]\nname = \"dead\"\nresolver = \"silent\"\nsuffixes = [\"good.test\"]\n",
        silent.address
    );
    let (json, _) = run(&config_of(&small, &rest), &[]);
    let took = |profile: usize| -> f64 {
        let steps = json["preflight"][profile]["steps"].as_array().expect("steps");
        steps.iter().filter_map(|step| step["duration_seconds"].as_f64()).sum()
    };
    assert_eq!((state(&json, 0, "verdict"), state(&json, 1, "verdict")), ("passed", "failed"));
    assert!(took(0) < 1.0 && took(1) >= 2.0, "{} s and {} s", took(0), took(1));
}

#[test]
fn many_suffixes_take_as_long_as_their_queries() {
    let small = Small::start();
    let suffixes: Vec<String> = (0..400).map(|at| format!("s{at}.gone.test")).collect();
    let rest =
        format!("[dns]\nrate = 1000\n[[profile]]\nname = \"lab\"\nsuffixes = {suffixes:?}\n");
    let (json, code) = run(&config_of(&small, &rest), &[]);
    assert_eq!(code, Some(2));
    let took = json["duration_seconds"].as_f64().expect("a number");
    assert!(took < 4.0, "{took} s");
}

#[test]
fn where_this_machine_has_no_way_nothing_is_said_of_the_clients() {
    let small = Small::start();
    // Nothing on loopback may ask a server that is elsewhere.
    let ask = |server: &str| {
        let mut command = preflight();
        command.args(["--suffix", "good.test", "--server", server, "--source", "127.0.0.1"]);
        let asked = Ended::of(&mut command);
        let says = format!("? servers   this machine has no way to {server}, which says nothing");
        assert!(asked.stdout.contains(&says), "{asked:?}");
        assert!(asked.stdout.contains("\n? verdict "), "{asked:?}");
        asked.code
    };
    assert_eq!([ask("192.0.2.53"), ask("tcp://192.0.2.53")], [Some(1), Some(1)]);
    let preset = small.preflight(&["--kms-host", "192.0.2.7", "--source", "127.0.0.1"]);
    assert!(preset.stdout.contains("\n? connect "), "{preset:?}");
    assert!(preset.stdout.contains("\n? verdict "), "{preset:?}");
    assert_eq!(preset.code, Some(1));
}

#[test]
fn a_host_of_the_other_family_cannot_be_told_of() {
    let small = Small::start();
    small.zones.insert("six.good.test", Data::Aaaa(Ipv6Addr::LOCALHOST));
    let ended = small.preflight(&["--kms-host", "six.good.test", "--source", "127.0.0.1"]);
    assert!(ended.stdout.contains("? hosts "), "{ended:?}");
    assert!(ended.stdout.contains("has no IPv4 address\n"), "{ended:?}");
    assert!(ended.stdout.contains("? verdict "), "{ended:?}");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_server_of_the_other_family_is_not_asked() {
    let small = Small::start();
    let arguments = ["[::1]:1", "--suffix", "good.test", "--source", "127.0.0.1"];
    let ended = small.preflight(&arguments);
    assert!(ended.stderr.contains("is of the other family, and is not asked from"), "{ended:?}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn every_format_tells_the_same_steps() {
    let small = Small::start();
    let of = |format| {
        let ended = small.preflight(&[&DEAD[..], &["--format", format]].concat());
        assert_eq!(ended.code, Some(2), "{format}");
        ended.stdout
    };
    let json: Value = serde_json::from_str(&of("json")).expect("JSON");
    let steps = json["preflight"][0]["steps"].as_array().expect("steps");
    let messages: Vec<&str> = steps.iter().filter_map(|step| step["message"].as_str()).collect();
    assert_eq!((steps.len(), json["status"].as_str()), (8, Some("critical")));
    assert_eq!(json["preflight"][0]["client_error"], "0xC004F074");
    assert_eq!(json["profiles"][0]["client_error"], "0xC004F074");

    let xml = of("junit");
    let xml = Document::parse(&xml).expect("XML");
    let cases = || xml.descendants().filter(|node| node.has_tag_name("testcase"));
    let names: Vec<&str> = cases().filter_map(|case| case.attribute("name")).take(8).collect();
    let titles: Vec<&str> = steps.iter().filter_map(|step| step["title"].as_str()).collect();
    assert_eq!(names, titles);
    let failing = cases().filter(|case| case.children().any(|child| child.has_tag_name("failure")));
    let failing: Vec<&str> = failing.filter_map(|case| case.attribute("name")).collect();
    assert_eq!(failing, ["Connections", "Verdict"]);
    assert_eq!(xml.root_element().attribute("failures"), Some("2"));

    let [markdown, html] = ["markdown", "html"].map(of);
    assert!(titles.iter().all(|title| markdown.contains(title) && html.contains(title)));
    // Words that neither format has to escape.
    let verdict = messages.last().expect("a verdict").split(':').next().expect("a clause");
    assert!(markdown.contains(verdict) && html.contains(verdict), "{verdict}");
    for reference in ["http:", "https:", "src=", "<link", "<script", "@import", "url("] {
        assert!(!html.contains(reference), "nothing is fetched: {reference}");
    }

    let nagios = of("nagios");
    assert!(
        nagios.starts_with("KMS CRITICAL - Clients of command-line will fail with 0xC004F074. | "),
        "{nagios}"
    );
    assert!(
        nagios.contains("\nfailed command-line connect: no address answers: refused\n"),
        "{nagios}"
    );
    let prometheus = of("prometheus");
    assert!(
        prometheus.contains("kmswatch_profile_ok{profile=\"command-line\"} 0\n"),
        "{prometheus}"
    );
}

#[test]
fn a_file_gets_what_stdout_would() {
    let small = Small::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("preflight.txt");
    let printed = small.preflight(&GOOD);
    let path = file.to_str().expect("a path");
    let written = small.preflight(&[&GOOD[..], &["--output", path]].concat());
    assert_eq!((written.stdout.as_str(), written.code), ("", Some(0)));
    let text = std::fs::read_to_string(&file).expect("written");
    assert_eq!(small.masked(&text), small.masked(&printed.stdout));
}

#[test]
fn a_source_that_is_not_here_is_a_failed_step_and_nothing_is_sent() {
    let small = Small::start();
    let ended = small.preflight(&["--suffix", "good.test", "--source", "192.0.2.1"]);
    assert!(
        ended.stdout.contains("✘ source    the source 192.0.2.1 is not on this machine\n"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("? verdict   nothing can be told of these clients from here\n"));
    let other = small.preflight(&["--suffix", "good.test", "--interface", "no-such-if"]);
    assert!(
        other.stdout.contains("✘ source    the interface no-such-if is not on this machine\n"),
        "{other:?}"
    );
    assert_eq!([ended.code, other.code], [Some(2), Some(2)]);
    assert!(small.server.queries().is_empty());
}

#[test]
fn wrong_usage_ends_with_3_and_how_to_do_it() {
    let config = Config::new(
        "[[resolver]]\nname = \"r\"\nservers = [\"127.0.0.1\"]\n\
         [[profile]]\nname = \"lab\"\nsuffixes = [\"a.test\"]\n[[profile]]\nname = \"office\"\nsuffixes = []\n",
    );
    let file = config.path();
    let file = file.to_str().expect("a path");
    let bare = Config::new(
        "[[domain]]\nname = \"a.test\"\n[[resolver]]\nname = \"r\"\nservers = [\"127.0.0.1\"]\n",
    );
    let bare = bare.path();
    let bare = bare.to_str().expect("a path");
    let server = ["--server", "127.0.0.1"];
    let suffix = ["--suffix", "a.test"];
    for (arguments, told) in [
        (vec![], "kmswatch preflight --suffix berlin.contoso.com contoso.com --server 10.0.0.53"),
        (vec!["-c", file, "labb"], "\"labb\" is no profile of"),
        (vec!["-c", file, "labb"], "there are: lab, office"),
        (vec!["-c", bare], "declares no [[profile]]"),
        (vec!["lab"], "give it with -c FILE"),
        (vec!["-c", file, "--suffix", "a.test"], "cannot be used with '--"),
        (suffix.to_vec(), "--server is missing; give the DNS servers"),
        (server.to_vec(), "--suffix takes the DNS suffixes"),
        ([&server[..], &["--suffix", ""]].concat(), "a name is empty"),
        (
            [&server[..], &["--suffix", "a.test", "A.test."]].concat(),
            "--suffix a.test is given twice",
        ),
        ([&server[..], &["127.0.0.1"], &suffix].concat(), "--server 127.0.0.1 is given twice"),
        (
            [&server[..], &suffix, &["--source", "127.0.0.1", "--subnet", "10.0.0.0/8"]].concat(),
            "--subnet 10.0.0.0/8 does not hold --source 127.0.0.1",
        ),
        ([&server[..], &suffix, &["--subnet", "10.0.0.1/8"]].concat(), "write \"10.0.0.0/8\""),
        ([&server[..], &suffix, &["--source", "::1"]].concat(), "which is of the other family"),
        ([&server[..], &suffix, &["--output", "/"]].concat(), "it is a folder; name a file"),
        (
            [&server[..], &suffix, &["--output", "/no/such/x"]].concat(),
            "there is no folder /no/such",
        ),
        ([&server[..], &suffix, &["--ecs"]].concat(), "give it with --subnet NET"),
        (vec!["-c", file, "--ecs"], "lab has none; give it as subnet = in the config"),
        (
            [&server[..], &suffix, &["--servers", "10.0.0.1"]].concat(),
            "give it as --server 10.0.0.1",
        ),
        ([&server[..], &suffix, &["--clients", "-1"]].concat(), "'-1'"),
        ([&server[..], &suffix, &["--kms-host", "kms"]].concat(), "is a short name"),
    ] {
        let ended = Ended::of(preflight().args(&arguments));
        assert_eq!(ended.code, Some(3), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    let nagios = Ended::of(preflight().args(suffix).args(["--format", "nagios"]));
    assert!(nagios.stdout.starts_with("KMS UNKNOWN - --server is missing"), "{nagios:?}");
    assert_eq!(nagios.code, Some(3));
}

#[test]
fn servers_that_differ_are_marked_and_profiles_do_not_wait_for_each_other() {
    let small = Small::start();
    let others = Zones::new();
    others.add_zone("good.test");
    let other = small.bench.dns(&others);
    let servers = [small.server.address().to_string(), other.address().to_string()];
    let config = Config::new(&format!(
        "[[resolver]]\nname = \"two\"\nservers = {servers:?}\n\
         [[profile]]\nname = \"elsewhere\"\nsuffixes = [\"good.test\"]\nsource = \"192.0.2.1\"\n\
         [[profile]]\nname = \"lab\"\nsuffixes = [\"good.test\"]\n\
         [[profile]]\nname = \"bare\"\nsuffixes = []\n",
    ));
    let ended = Ended::of(preflight().args(["--format", "json", "-c"]).arg(config.path()));
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let runs = json["preflight"].as_array().expect("runs");
    let summary = |run: &Value| {
        let [profile, verdict, code] = ["profile", "verdict", "client_error"].map(|key| &run[key]);
        format!("{profile} {verdict} {code}").replace('"', "")
    };
    let summaries: Vec<String> = runs.iter().map(summary).collect();
    assert_eq!(
        summaries,
        ["elsewhere unknown null", "lab passed null", "bare failed 0x8007007B"],
        "{json:#}"
    );
    let suffixes = &runs[1]["steps"][2];
    assert_eq!(suffixes["state"], "warning");
    let answers = suffixes["evidence"].as_array().expect("rows").iter();
    let answers: Vec<String> = answers
        .map(|row| format!("{} {} {}", row["state"], row["server"], row["answer"]))
        .collect();
    let port = small.host.address().port();
    assert_eq!(
        answers,
        [
            format!("\"warning\" \"{}\" \"kms.good.test:{port} 0 0\"", servers[0]),
            format!("\"warning\" \"{}\" \"nxdomain\"", servers[1]),
        ]
    );
    assert_eq!(runs[2]["steps"][1]["state"], "passed", "they ask nothing, but could");
    let named = Ended::of(preflight().args(["lab", "-c"]).arg(config.path()));
    assert!(named.stdout.starts_with("lab  asking "), "{named:?}");
    assert_eq!([ended.code, named.code], [Some(2), Some(1)]);
}

/// Answers nothing, over UDP and TCP.
struct Silent {
    address: SocketAddr,
    udp: UdpSocket,
    _tcp: TcpListener,
}

impl Silent {
    fn start() -> Self {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = tcp.local_addr().expect("its address");
            if let Ok(udp) = UdpSocket::bind(address) {
                return Self { address, udp, _tcp: tcp };
            }
        }
    }

    /// How many different questions came, of so many that are awaited.
    fn first_queries(&self, awaited: usize) -> usize {
        self.udp.set_read_timeout(Some(SOON)).expect("a timeout");
        let (mut seen, mut query) = (BTreeSet::new(), [0; 512]);
        while seen.len() < awaited {
            let Ok(length) = self.udp.recv(&mut query) else { break };
            // The name stands behind the header.
            let end = query[12..length].iter().position(|byte| *byte == 0).unwrap_or(0);
            seen.insert(query[12..12 + end].to_ascii_lowercase());
        }
        seen.len()
    }
}

/// Tells when somebody connects, then says nothing.
fn accepted(listener: TcpListener) -> mpsc::Receiver<TcpStream> {
    let (sender, accepted) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    accepted
}

/// Far longer than a busy machine takes, and shorter than the dead ends of the next test wait.
const SOON: Duration = Duration::from_secs(40);

/// Each dead end waits for a minute here, so whatever begins before that does not wait for another.
#[test]
fn dead_ends_wait_at_once_and_not_one_after_another() {
    let (small, dead) = (Small::start(), [Silent::start(), Silent::start()]);
    // So many that no luck leads all their addresses past the dead servers.
    let listeners = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    for (at, host) in listeners.iter().enumerate() {
        // Their addresses come from a server that is dead as likely as not.
        let (name, port) =
            (format!("silent{at}.good.test"), host.local_addr().expect("its address").port());
        small.zones.insert(&name, Data::A(Ipv4Addr::LOCALHOST));
        small.zones.insert("_vlmcs._tcp.good.test", Data::srv(0, 0, port, &name));
    }
    let hosts = listeners.map(accepted);
    let servers = [dead[0].address, small.server.address(), dead[1].address];
    let config = Config::new(&format!(
        "[dns]\ntimeout = \"60s\"\nattempts = 1\n[probe]\ntimeout = \"60s\"\n\
         [[resolver]]\nname = \"three\"\nservers = {:?}\n\
         [[profile]]\nname = \"lab\"\nsuffixes = [\"gone.test\", \"good.test\"]\n",
        servers.map(|server| server.to_string())
    ));
    let mut process = preflight()
        .arg("-c")
        .arg(config.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program is there");
    let connected = hosts.iter().take_while(|host| host.recv_timeout(SOON).is_ok()).count();
    let queries = dead.map(|server| server.first_queries(2));
    let is_running = process.try_wait().expect("a process").is_none();
    process.kill().expect("it can be ended");
    process.wait().expect("it ends");
    assert_eq!(connected, hosts.len(), "every host");
    assert_eq!(queries, [2, 2], "both suffixes of each dead server");
    assert!(is_running, "all of it while nothing was given up");
}

#[test]
fn dead_ends_beside_good_ones_warn() {
    let small = Small::start();
    let dead = [Silent::start(), Silent::start()];
    let hosts = [small.bench.host(Behaviour::Silent), small.bench.host(Behaviour::Silent)];
    for (at, host) in hosts.iter().enumerate() {
        let name = format!("silent{at}.good.test");
        small.zones.insert(&name, Data::A(Ipv4Addr::LOCALHOST));
        small.zones.insert("_vlmcs._tcp.good.test", Data::srv(0, 0, host.address().port(), &name));
    }
    let servers = [dead[0].address, small.server.address(), dead[1].address];
    let config = Config::new(&format!(
        "[dns]\ntimeout = \"300ms\"\nattempts = 1\n[probe]\ntimeout = \"2s\"\n\
         [[resolver]]\nname = \"three\"\nservers = {:?}\n\
         [[profile]]\nname = \"lab\"\nsuffixes = [\"gone.test\", \"good.test\"]\n",
        servers.map(|server| server.to_string())
    ));
    let ended = Ended::of(preflight().args(["--format", "json", "-c"]).arg(config.path()));
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let steps = json["preflight"][0]["steps"].as_array().expect("steps");
    let states: Vec<&str> = steps.iter().filter_map(|step| step["state"].as_str()).collect();
    assert_eq!(
        states,
        ["passed", "warning", "warning", "passed", "warning", "warning", "skipped", "passed"],
        "{steps:#?}"
    );
    assert_eq!(ended.code, Some(1));
}

#[test]
fn more_questions_than_the_rate_allows_are_told() {
    let small = Small::start();
    let suffixes: Vec<String> = (0..12).map(|at| format!("s{at}.gone.test")).collect();
    let told = |rate: u32| {
        let config = config_of(
            &small,
            &format!(
                "[dns]\nrate = {rate}\ntimeout = \"1s\"\nattempts = 2\n\
                 [[profile]]\nname = \"lab\"\nsuffixes = {suffixes:?}\n"
            ),
        );
        Ended::of(preflight().arg("-c").arg(config.path())).stderr
    };
    assert_eq!(told(100), "");
    let slow = told(10);
    let server = small.server.address();
    let says = format!("{server} is asked 13 questions, at most 10 a second: ");
    assert!(slow.contains(&says) && slow.contains("raise rate"), "{slow}");
}

#[test]
fn steps_are_told_while_others_are_awaited() {
    let silent = Silent::start();
    let mut command = preflight();
    command.args(["--suffix", "a.test", "--server", &silent.address.to_string()]);
    let mut process = command.stdout(Stdio::piped()).spawn().expect("the program is there");
    let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let first: Vec<String> = lines.take(2).map(|line| line.expect("a line")).collect();
    let is_running = process.try_wait().expect("a process").is_none();
    process.kill().expect("it can be ended");
    process.wait().expect("it ends");
    assert!(first[1].starts_with("✔ source    this machine asks from 127.0.0.1 (lo)"), "{first:?}");
    assert!(is_running, "its servers have 6 seconds");
}

/// A server that refuses everything and notes what it was sent.
fn note_queries() -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("its address");
    let (sender, queries) = mpsc::channel();
    std::thread::spawn(move || {
        let mut query = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let mut answer = query[..length].to_vec();
            if sender.send(answer.clone()).is_err() {
                return;
            }
            // An answer, REFUSED, and nothing but the question.
            answer[2] |= 0x80;
            answer[3] = 5;
            answer[10..12].fill(0);
            let question =
                12 + answer[12..].iter().position(|byte| *byte == 0).expect("a name's end") + 5;
            answer.truncate(question);
            socket.send_to(&answer, client).expect("loopback");
        }
    });
    (address, queries)
}

#[test]
fn servers_are_told_the_subnet_with_each_question() {
    let (address, queries) = note_queries();
    let config = Config::new(&format!(
        "[[resolver]]\nname = \"r\"\nservers = [\"{address}\"]\n\
         [[profile]]\nname = \"one\"\nsuffixes = [\"a.test\", \"b.test\"]\nsubnet = \"10.40.7.0/24\"\n\
         [[profile]]\nname = \"two\"\nsuffixes = [\"a.test\"]\nsubnet = \"2001:db8:40::/44\"\n",
    ));
    let run = |ecs: &[&str]| {
        let ended = Ended::of(preflight().arg("-c").arg(config.path()).args(ecs));
        let sent: Vec<Vec<u8>> = queries.try_iter().collect();
        (ended.stdout, sent)
    };
    let options: [&[u8]; 2] = [
        &[0, 8, 0, 7, 0, 1, 24, 0, 10, 40, 7],
        &[0, 8, 0, 10, 0, 2, 44, 0, 0x20, 1, 0x0d, 0xb8, 0, 0x40],
    ];
    let told = |query: &Vec<u8>| options.iter().position(|option| query.ends_with(option));
    let (said, sent) = run(&["--ecs"]);
    assert!(said.contains(" for 10.40.7.0/24 (EDNS Client Subnet)\n"), "{said}");
    let seen: BTreeSet<Option<usize>> = sent.iter().map(told).collect();
    assert_eq!(seen, BTreeSet::from([Some(0), Some(1)]), "{sent:?}");
    assert_eq!(sent.len(), 3, "each profile's own questions");
    let (_, sent) = run(&[]);
    assert_eq!(sent.len(), 2, "without it they have the same questions");
    assert!(sent.iter().all(|query| told(query).is_none()));
}
