//! The command line as people and scripts meet it: exit codes, where words go, what is refused.

#[path = "peers/impacket.rs"]
mod impacket;
#[path = "peers/lab.rs"]
mod lab;
#[path = "peers/netns.rs"]
mod netns;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use kmswatch::demo::{Behaviour, Data, DnsServer, RpcListener, Zones};
use lab::Bench;
use netns::Node;
use program::{Config, Ended, kmswatch, set};
use serde_json::{Value, json};
use site::Site;

/// A server and a host: `good.test` is well, `warned.test` has a duplicate (a warning), `gone.test` has no
/// record.
struct Small {
    server: DnsServer,
    host: RpcListener,
    _bench: Bench,
}

impl Small {
    fn start() -> Self {
        let bench = Bench::new();
        let host = bench.host(Behaviour::Kms);
        let (zones, port) = (Zones::new(), host.address().port());
        for origin in ["good.test", "warned.test", "gone.test"] {
            zones.add_zone(origin);
        }
        for name in ["kms.good.test", "kms.warned.test"] {
            zones.insert(name, Data::A(Ipv4Addr::LOCALHOST));
        }
        zones.insert("_vlmcs._tcp.good.test", Data::srv(0, 0, port, "kms.good.test"));
        zones.insert("_vlmcs._tcp.warned.test", Data::srv(0, 0, port, "kms.warned.test"));
        zones.insert("_vlmcs._tcp.warned.test", Data::srv(1, 0, port, "kms.warned.test"));
        Self { server: bench.dns(&zones), host, _bench: bench }
    }

    /// `check` with this server and these arguments.
    fn check(&self, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = kmswatch();
        command.args(["check", "--server", &self.server.address().to_string()]).args(arguments);
        command
    }
}

#[test]
fn the_exit_code_is_the_worst_finding_as_far_as_asked_for() {
    let small = Small::start();
    for (domain, code, under_info, under_critical) in
        [("good.test", 0, 1, 0), ("warned.test", 1, 1, 0), ("gone.test", 2, 2, 2)]
    {
        assert_eq!(small.check(&[domain]).code, Some(code), "{domain}");
        let failing_on = |severity| small.check(&[domain, "--fail-on", severity]).code;
        assert_eq!(failing_on("info"), Some(under_info), "{domain}");
        assert_eq!(failing_on("warning"), Some(code), "{domain}");
        assert_eq!(failing_on("critical"), Some(under_critical), "{domain}");
    }
    assert_eq!(small.check(&["good.test", "gone.test", "warned.test"]).code, Some(2));
    assert!(small.host.pdus().keys().all(|kind| *kind == 11), "{:?}", small.host.pdus());
}

#[test]
fn json_is_what_the_contract_says_and_stdout_has_nothing_else() {
    let small = Small::start();
    let ended = small.check(&["warned.test", "gone.test", "--format", "json"]);
    assert_eq!(ended.stderr, "");
    let report = ended.report().json;
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
    };
    let has = |value: &Value, contract: &str| {
        let missing: Vec<String> =
            set(contract.split(' ')).difference(&keys(value)).cloned().collect();
        assert_eq!(missing, Vec::<String>::new(), "{value}");
    };
    has(
        &report,
        "version vantage started duration_seconds status domains hosts profiles findings summary",
    );
    let (gone, warned) = (&report["domains"][0], &report["domains"][1]);
    has(warned, "name status kms answers hosts");
    let answer = &warned["answers"][0];
    has(answer, "resolver server role path outcome rtt_seconds flags records");
    has(&answer["records"][0], "target port priority weight ttl");
    has(&warned["hosts"][0], "target port priority weight share live_share status");
    has(&report["hosts"][0], "target port status domains endpoints");
    let endpoint = &report["hosts"][0]["endpoints"][0];
    has(endpoint, "address path outcome connect_seconds bind_seconds");
    for finding in report["findings"].as_array().expect("a list") {
        has(
            finding,
            "id check severity state suppressed_by subject resolver domains since message \
             evidence client_error remedy labels",
        );
    }
    has(&report["summary"], "domains hosts endpoints critical warning info");
    assert_eq!(report["version"], 1);
    assert_eq!((&report["vantage"], &report["profiles"]), (&Value::Null, &json!([])));
    assert_eq!((&gone["status"], &warned["status"]), (&json!("critical"), &json!("warning")));
    assert_eq!(answer["flags"], json!(["aa"]));
    assert_eq!((&answer["role"], &endpoint["outcome"]), (&json!("resolver"), &json!("kms")));
    let started = report["started"].as_str().expect("text");
    assert!(started.parse::<jiff::Timestamp>().is_ok(), "{started}");
}

#[test]
fn a_report_goes_to_a_file_whole_or_not_at_all() {
    let small = Small::start();
    let folder = Config::new("");
    let file = folder.beside("report.json");
    let path = file.to_str().expect("a path");
    let ended = small.check(&["gone.test", "--format", "json", "--output", path]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let text = std::fs::read_to_string(&file).expect("a file");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["status"], "critical");
    let nowhere = folder.beside("missing/report.json");
    let path = nowhere.to_str().expect("a path");
    let ended = small.check(&["good.test", "--output", path]);
    assert_eq!(ended.code, Some(3), "our own failure");
    assert!(ended.stderr.contains(path), "{}", ended.stderr);
    let names: BTreeSet<_> = std::fs::read_dir(file.parent().expect("a folder"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(names, set(["kmswatch.toml", "report.json"]));
}

#[test]
fn a_monitoring_plugin_says_in_words_what_its_exit_code_says() {
    let small = Small::start();
    for (domain, fail_on, code, state) in [
        ("good.test", "warning", 0, "OK"),
        ("good.test", "info", 1, "WARNING"),
        ("warned.test", "warning", 1, "WARNING"),
        ("warned.test", "critical", 0, "OK"),
        ("gone.test", "warning", 2, "CRITICAL"),
    ] {
        let ended = small.check(&[domain, "--format", "nagios", "--fail-on", fail_on]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{domain} {fail_on}");
        let first = ended.stdout.lines().next().expect("a line");
        assert!(first.starts_with(&format!("KMS {state} - ")), "{domain} {fail_on}: {first}");
        let (_, perfdata) = first.split_once(" | ").expect("perfdata");
        assert!(perfdata.starts_with("domains=1;;;0 "), "{perfdata}");
        // label=value[unit];warning;critical;minimum;maximum, each a number or nothing.
        for pair in perfdata.split(' ') {
            let (label, fields) = pair.split_once('=').expect("a label");
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{pair}");
            let fields: Vec<&str> = fields.split(';').collect();
            assert!((4..=5).contains(&fields.len()), "{pair}");
            let value = fields[0].strip_suffix('s').unwrap_or(fields[0]);
            let numbers = fields[1..].iter().filter(|field| !field.is_empty()).chain([&value]);
            let is_number = |text: &str| text == "U" || text.parse::<f64>().is_ok();
            assert!(numbers.into_iter().all(|text| is_number(text)), "{pair}");
        }
    }
    let line = "check -c /nonexistent --format nagios";
    let ended = Ended::of(kmswatch().args(line.split(' ')));
    assert_eq!(ended.code, Some(3));
    assert!(ended.stdout.starts_with("KMS UNKNOWN - "), "{ended:?}");
    assert!(ended.stdout.contains("/nonexistent"), "{ended:?}");
}

#[test]
fn a_monitoring_plugin_says_on_stdout_what_is_wrong_with_its_command_line() {
    for (arguments, told) in [
        (&["check", "--format", "nagios", "--nonsense"][..], "unexpected argument '--nonsense'"),
        (&["preflight", "--format=nagios", "--suffix", ""], "--suffix"),
        (&["preflight", "--format", "nagios"], "nothing says which clients to play"),
        (&["check", "--format", "nagios", "--shard", "1"], "--shard is not in this version"),
    ] {
        let ended = Ended::of(kmswatch().args(arguments));
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let first =
            ended.stdout.strip_prefix("KMS UNKNOWN - ").unwrap_or_else(|| panic!("{ended:?}"));
        assert!(first.contains(told) && first.lines().count() == 1, "{ended:?}");
        assert!(!first.starts_with("error") && !ended.stderr.is_empty(), "{ended:?}");
    }
    let ended = Ended::of(kmswatch().args(["check", "--nonsense", "--", "--format=nagios"]));
    assert_eq!(ended.stdout, "", "{ended:?}");
}

#[test]
fn test_suites_fail_as_the_exit_code_does() {
    let small = Small::start();
    for (fail_on, code, failures) in [("warning", 2, 2), ("critical", 2, 1), ("info", 2, 6)] {
        let domains = ["good.test", "warned.test", "gone.test", "--format", "junit"];
        let ended = small.check(&[&domains[..], &["--fail-on", fail_on]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{fail_on}");
        let xml = roxmltree::Document::parse(&ended.stdout).expect("well-formed");
        let suites: BTreeSet<&str> = xml
            .descendants()
            .filter(|node| node.has_tag_name("testsuite"))
            .filter_map(|suite| suite.attribute("name"))
            .collect();
        assert_eq!(suites, ["gone.test", "good.test", "warned.test"].into());
        let failed = xml.descendants().filter(|node| node.has_tag_name("failure"));
        let kinds: Vec<&str> = failed.filter_map(|node| node.attribute("type")).collect();
        assert_eq!(kinds.len(), failures, "{fail_on}: {kinds:?}");
        assert!(kinds.contains(&"srv-missing"), "{kinds:?}");
    }
}

#[test]
fn a_comment_and_a_page_begin_with_the_verdict() {
    let small = Small::start();
    let verdict = "2 of 3 domains have trouble: clients in gone.test would fail with 0x8007232B.";
    let audit = |format| {
        let ended = small.check(&["good.test", "warned.test", "gone.test", "--format", format]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""), "{format}");
        ended.stdout
    };
    let comment = audit("markdown");
    assert!(comment.starts_with(&format!("## kmswatch check\n\n**✘ {verdict}**\n")), "{comment}");
    assert!(
        comment.contains("**✘ critical srv-missing gone.test at command-line**: "),
        "{comment}"
    );
    let page = audit("html");
    assert!(page.contains(&format!("<title>{verdict}</title>")), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from outside");
    assert!(!page.contains("<script") && !page.contains("url("), "nothing to run or to load");
}

#[test]
fn a_textfile_for_prometheus_holds_the_estate_and_only_that() {
    let small = Small::start();
    let folder = Config::new("");
    let file = folder.beside("kmswatch.prom");
    std::fs::write(&file, "old").expect("a file");
    let path = file.to_str().expect("a path");
    let ended =
        small.check(&["good.test", "gone.test", "--format", "prometheus", "--output", path]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let text = std::fs::read_to_string(&file).expect("a file");
    for series in [
        "kmswatch_srv_records{domain=\"good.test\"} 1",
        "kmswatch_srv_records{domain=\"gone.test\"} 0",
        "kmswatch_hosts_up{domain=\"good.test\"} 1",
        "kmswatch_findings{domain=\"gone.test\",check=\"srv-missing\",severity=\"critical\",state=\"active\"} 1",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}\n{text}");
    }
    // The process ends with the audit; its own families would be another process's next time.
    for family in ["process_", "kmswatch_build_info", "kmswatch_probes_total", "kmswatch_dns_"] {
        assert!(!text.contains(family), "{family}");
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(&file).expect("a file"));
    let judged = Ended::of(&mut promtool);
    assert_eq!((judged.code, judged.stdout.as_str(), judged.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn a_first_config_says_what_dns_says() {
    let bench = Bench::new();
    let host = bench.host(Behaviour::Kms);
    let (zones, port) = (Zones::new(), host.address().port());
    for origin in ["east.test", "gone.test", "odd.test"] {
        zones.add_zone(origin);
    }
    for name in ["kms1.east.test", "kms2.east.test"] {
        zones.insert(name, Data::A(Ipv4Addr::LOCALHOST));
    }
    zones.insert("_vlmcs._tcp.east.test", Data::srv(10, 75, port, "kms1.east.test"));
    zones.insert("_vlmcs._tcp.east.test", Data::srv(10, 25, 1688, "kms2.east.test"));
    zones.insert("_vlmcs._tcp.odd.test", Data::srv(0, 0, 1688, "10.0.0.1"));
    let server = bench.dns(&zones);
    let address = server.address().to_string();
    let ended = Ended::of(kmswatch().args(["config", "init", "--server", &address]).args([
        "gone.test",
        "odd.test",
        "EAST.test.",
        "east.test",
    ]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("gone.test: no KMS record is published"), "{ended:?}");
    let text = &ended.stdout;
    assert!(text.contains(&format!("servers = [\"{address}\"]\n")), "{text}");
    let listed = format!(
        "name = \"east.test\"\n# `kmswatch check` finds fault with it now: redundancy-lost.\n\
         hosts = [\n    \"kms1.east.test:{port}, 10, 75\",\n    \
         \"kms2.east.test, 10, 25\",   # did not answer as KMS\n]\n"
    );
    assert!(text.contains(&listed), "{text}");
    assert!(text.contains("\n# hosts = [\"kms.gone.test\"]"), "{text}");
    assert!(text.contains("\n# hosts = [\n#     \"10.0.0.1, 0, 0\","), "not to be listed: {text}");
    let loaded = kmswatch::config::parse(text, "made").expect("it reads back");
    assert_eq!((loaded.plan.domains.len(), loaded.warnings), (3, Vec::new()));
    // Audited by what was made, no record is wrong.
    let of_records = |report: &program::Report| {
        let all = report.findings(&[]);
        all.into_iter().filter(|line| line.starts_with("record-")).collect::<Vec<_>>()
    };
    assert_eq!(of_records(&program::check(text)), Vec::<String>::new());
    zones.insert("_vlmcs._tcp.east.test", Data::srv(10, 0, 1, "kms2.east.test"));
    let after = of_records(&program::check(text));
    assert!(after.iter().any(|line| line.starts_with("record-unexpected ")), "{after:?}");
}

#[test]
fn a_first_config_needs_an_answer_for_some_domain() {
    let small = Small::start();
    // Nobody serves x.test: the server refuses.
    let init = |domains: &[&str]| {
        let address = small.server.address().to_string();
        Ended::of(kmswatch().args(["config", "init", "--server", &address]).args(domains))
    };
    let some = init(&["x.example", "good.test"]);
    assert_eq!(some.code, Some(0), "{some:?}");
    assert!(some.stderr.contains("x.example: whether a KMS record is published is unknown"));
    assert!(some.stdout.contains("# hosts = [\"kms.x.example\"]"), "{some:?}");
    let none = init(&["x.example", "y.example"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(3), ""), "{none:?}");
    assert!(none.stderr.contains("y.example: whether") && none.stderr.contains("refused from"));
}

#[test]
fn the_manual_page_has_every_command_and_no_typesetter_complains() {
    let page = Ended::of(kmswatch().arg("man"));
    assert_eq!((page.code, page.stderr.as_str()), (Some(0), ""));
    let sections: Vec<&str> =
        page.stdout.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    for command in [
        "run",
        "check",
        "explain",
        "config check",
        "config show",
        "config init",
        "demo",
        "completions",
        "man",
    ] {
        let section = format!("KMSWATCH {}", command.to_uppercase());
        let count = sections.iter().filter(|title| title.trim_matches('"') == section).count();
        assert_eq!(count, 1, "{section}: {sections:?}");
    }
    for words in ["Exit codes: 0 nothing", "never sends an activation request", "fail\\-on"] {
        assert!(page.stdout.contains(words), "{words}");
    }
    let folder = Config::new(&page.stdout);
    let mut typesetter = Command::new("groff");
    let set = Ended::of(typesetter.args(["-man", "-Tutf8", "-ww", "-z"]).arg(folder.path()));
    assert_eq!((set.code, set.stderr.as_str()), (Some(0), ""));
}

#[test]
fn each_shell_completes_commands_and_their_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Ended::of(kmswatch().args(["completions", shell]));
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["explain", "init", "fail-on", "nagios"] {
            let is_known = script.stdout.contains(word) || shell != "bash" && word == "nagios";
            assert!(is_known, "{shell}: {word}");
        }
    }
    let completed = |words: &str| {
        let script = format!(
            "source <('{}' completions bash); words=({words}); COMP_WORDS=(\"${{words[@]}}\"); \
             COMP_CWORD=$((${{#words[@]}} - 1)); \
             _kmswatch kmswatch \"${{words[-1]}}\" \"${{words[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            env!("CARGO_BIN_EXE_kmswatch")
        );
        let ended = Ended::of(Command::new("bash").args(["-c", &script]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words}");
        ended.stdout.trim_end().to_owned()
    };
    assert_eq!(completed("kmswatch exp"), "explain");
    assert_eq!(completed("kmswatch config i"), "init");
    assert_eq!(completed("kmswatch check --fail"), "--fail-on");
    assert_eq!(completed("kmswatch check --format p"), "prometheus");
}

#[test]
fn what_is_not_in_this_version_is_refused_as_that() {
    for line in [
        "unack ID --token-file f --url https://kmswatch.test",
        "--shard 1/2 check x.test",
        "check --shard 1/2",
        "check x.test --server tls://192.0.2.1",
        "check x.test --server https://dns.test/dns-query",
    ] {
        let ended = Ended::of(kmswatch().args(line.split(' ')));
        assert_eq!(ended.code, Some(3), "{line}");
        assert!(ended.stderr.contains("not in this version"), "{line}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{line}");
    }
}

/// What `explain` says on stdout.
fn explained(topic: &[&str]) -> String {
    let ended = Ended::of(kmswatch().arg("explain").args(topic));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{topic:?}");
    ended.stdout
}

#[test]
fn a_check_or_a_code_is_explained_however_it_is_written() {
    let page = explained(&["srv-missing"]);
    assert_eq!(page, explained(&["SRV-Missing"]));
    assert!(page.starts_with("# srv-missing\n") && page.contains("## Mend\n"), "{page}");
    assert!(page.contains("\n    slmgr.vbs /sdns  # on the KMS host\n"), "{page}");
    let later = explained(&["record-aged"]);
    assert!(later.contains("This version does not raise this check."), "{later}");
    let code = explained(&["0xC004F074"]);
    for spelling in ["0xc004f074", "C004F074", "c004f074", "0XC004F074"] {
        assert_eq!(explained(&[spelling]), code, "{spelling}");
    }
    assert!(code.starts_with("# 0xC004F074: no KMS could be contacted\n"), "{code}");
    assert!(code.contains("- Predicted by: `all-hosts-down`"), "{code}");
    assert!(!code.contains("0xC004F039"), "one section only: {code}");
    for (wrong, near) in [
        ("srv-mising", "srv-missing"),
        ("HOST-DWN", "host-down"),
        ("0xC004F073", "0xC004F074"),
        ("c004f073", "0xC004F074"),
    ] {
        let ended = Ended::of(kmswatch().args(["explain", wrong]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{wrong}");
        assert!(ended.stderr.contains(&format!("did you mean {near}?")), "{}", ended.stderr);
    }
    let ended = Ended::of(kmswatch().args(["explain", "\u{1b}[2J"]));
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn explain_alone_lists_every_check_and_code_a_line_each() {
    let list = explained(&[]);
    let first_words: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(word, _)| word)
        .collect();
    let checks = kmswatch::model::Check::ALL.iter().map(ToString::to_string);
    let codes = kmswatch::client::codes::codes().iter().map(|known| known.code.to_string());
    assert_eq!(first_words, checks.chain(codes).collect::<Vec<_>>());
    for topic in first_words {
        assert!(explained(&[topic]).starts_with(&format!("# {topic}")), "{topic}");
    }
}

#[test]
fn nonsense_is_bad_usage_and_never_a_panic() {
    for line in [
        "",
        "nonsense",
        "run",
        "run -c",
        "run -c /nonexistent",
        "check --nonsense",
        "check ..",
        "check -c /nonexistent",
        "check x.test --server 1.2.3.4.5",
        "check x.test --server [::1",
        "check x.test --server 127.0.0.1:99999",
        "check x.test --fail-on never",
        "check x.test --format yaml",
        "check \u{7f}\u{fffd} --server 127.0.0.1:1",
        "config",
        "config check",
        "config check -c /",
        "config init",
        "config init ..",
        "config init x.test --server nowhere",
        "explain srv-mising",
        "explain 0xC004F075",
        "explain \u{1b}[2J",
        "explain srv-missing host-down",
        "completions",
        "completions tcsh",
        "man page",
        "demo --listen nowhere",
        "demo --listen 192.0.2.1:1",
        "--log-format xml check",
    ] {
        let ended = Ended::of(kmswatch().args(line.split(' ').filter(|word| !word.is_empty())));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{line}");
        assert_ne!(ended.stderr, "", "{line}");
    }
    let no_text = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let ended = Ended::of(kmswatch().arg("check").arg(no_text));
    assert_eq!(ended.code, Some(3));
    let ended = Ended::of(kmswatch().arg("--help"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn every_error_of_a_config_is_told_at_once() {
    let config = Config::new(
        "[audit]\ninterval = 5\nintervall = \"1m\"\n[dns]\nrate = 0\n[[resolver]]\nname = \"r\"\n\
         servers = [\"tls://192.0.2.1\", \"10.0.0.300\"]\n[[domain]]\nname = \"a..b\"\nhosts = []\n\
         [[profile]]\nname = \"p\"\n",
    );
    for command in [["config", "check"], ["config", "show"], ["check", "--format=json"]] {
        let ended = Ended::of(kmswatch().args(command).arg("-c").arg(config.path()));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{command:?}");
        let file = format!("{}:", config.path().display());
        let places: Vec<&str> = ended
            .stderr
            .lines()
            .map(|line| line.strip_prefix(&file).unwrap_or_else(|| panic!("no place: {line}")))
            .collect();
        let lines: BTreeSet<&str> =
            places.iter().filter_map(|place| place.split(':').next()).collect();
        let expected = ["2", "3", "5", "8", "10", "11", "12"];
        assert_eq!(lines, expected.into_iter().collect(), "{}", ended.stderr);
        assert!(places.len() >= 8, "both servers: {}", ended.stderr);
        assert!(
            ended.stderr.contains("did you mean interval?"),
            "the nearest key: {}",
            ended.stderr
        );
    }
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let small = Small::start();
    let escape = '\u{1b}';
    assert!(!small.check(&["gone.test"]).stdout.contains(escape), "no terminal");
    assert!(small.check(&["gone.test", "--color", "always"]).stdout.contains(escape));
    // script(1) gives the program a terminal.
    let on_terminal = |variable: &str| {
        let line = format!(
            "env {variable} TERM=xterm '{}' check gone.test --server {}",
            env!("CARGO_BIN_EXE_kmswatch"),
            small.server.address()
        );
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        let ended = Ended::of(script.env_remove("NO_COLOR").stdin(Stdio::null()));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let found = ended.stdout;
        assert!(found.contains("srv-missing"), "{found}");
        // Progress erases its line, which is no colour.
        found.replace("\u{1b}[K", "").contains(escape)
    };
    assert!(on_terminal("-u NO_COLOR"));
    assert!(!on_terminal("NO_COLOR=1"));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let small = Small::start();
    let mut child = small
        .command(&["gone.test", "warned.test", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    // As `head -0` would: nobody reads when it writes.
    drop(child.stdout.take());
    let ended = Ended::from(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""));
    let mut child =
        small.command(&["gone.test"]).stdout(Stdio::piped()).spawn().expect("the program");
    let mut first = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut first).expect("a line");
    assert_eq!(
        first,
        "1 of 1 domain has trouble: clients in gone.test would fail with 0x8007232B.\n"
    );
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}

/// "Does KMS work here?": the machine's own suffixes on its own resolvers.
#[test]
fn without_arguments_the_machines_own_search_list_is_audited() {
    let site = Site::start(&[
        "srv-host=_vlmcs._tcp.good.test,kms.good.test,1688,0,0".to_owned(),
        "host-record=kms.good.test,10.88.2.2".to_owned(),
        "host-record=dc.gone.test,10.88.2.2".to_owned(),
    ]);
    let resolving = |lines: &str| {
        let file = Config::new(&format!("nameserver 10.88.2.2\n{lines}"));
        // `ip netns exec` gives the command a mount namespace of its own.
        let script = format!(
            "mount --bind '{}' /etc/resolv.conf && exec '{}' check --format json",
            file.path().display(),
            env!("CARGO_BIN_EXE_kmswatch")
        );
        Ended::of(site.network.command(Node::Client, "sh").args(["-c", &script]))
    };
    let none = resolving("search .\n");
    assert_eq!((none.code, none.stdout.as_str()), (Some(3), ""));
    assert!(none.stderr.contains("kmswatch check contoso.com"), "advice: {}", none.stderr);
    let audited = |lines: &str| {
        let report = resolving(lines).report();
        let domains = report.json["domains"].as_array().expect("a list");
        let domains: Vec<String> = domains
            .iter()
            .map(|domain| domain["name"].as_str().expect("text").to_owned())
            .collect();
        (report.code, domains, report.findings(&[]))
    };
    let one_host = "redundancy-none domain:good.test info active";
    assert_eq!(
        audited("search good.test\n"),
        (Some(0), vec!["good.test".to_owned()], set([one_host]))
    );
    // One suffix of several is enough.
    let both = vec!["gone.test".to_owned(), "good.test".to_owned()];
    assert_eq!(audited("search gone.test good.test\n"), (Some(0), both, set([one_host])));
    let (code, _, findings) = audited("search gone.test nowhere.test\n");
    let missing =
        ["gone", "nowhere"].map(|name| format!("srv-missing domain:{name}.test critical active"));
    assert_eq!((code, findings), (Some(2), missing.into_iter().collect()));
}
