//! Text in, plan or errors out: each rule of the config with the very line that a person reads.

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::alert::{ReceiverUrl, SendTo};
use crate::model::maintenance::Window;
use crate::model::plan::Depth;
use crate::model::profile::Machines;
use crate::model::{Check, KmsMode, Name, Product, Selection, Severity};

/// A machine with a resolver of its own, so that no test depends on the one that it runs on.
fn system() -> Result<SystemResolver, String> {
    let servers = [parse_server("192.0.2.53")?];
    Ok(SystemResolver { resolver: resolver_of("system", &servers), suffixes: Vec::new() })
}

fn no_system() -> Result<SystemResolver, String> {
    Err("the system has none".to_owned())
}

fn read(text: &str) -> Result<Loaded, ConfigErrors> {
    parse_with(text, "k.toml", system)
}

fn plan(text: &str) -> Plan {
    read(text).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}")).plan
}

/// Every error, one a line.
fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let loaded = read("[[domain]]\nname = \"contoso.com\"\n").expect("a config");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(
        show(&loaded.plan),
        r#"[audit]
interval = "1m"
stale_after = "7d"
vanished_for = "1d"
settle = "30m"

[dns]
timeout = "2s"
attempts = 3
rate = 500

[probe]
depth = "rpc"
control = true
timeout = "3s"
slow = "500ms"
concurrency = 256

[alert]
send_to = "none"
urls = []
token_file = ""
ca_file = ""
after = "2m"
min_severity = "warning"

[journal]
path = "kmswatch.db"
keep = "400d"

[web]
listen = "127.0.0.1:9688"
external_url = ""
socket = ""
tokens_file = ""

[[resolver]]
name = "system"
servers = ["192.0.2.53"]

[[domain]]
name = "contoso.com"
resolvers = ["system"]
kms = "required"
"#
    );
}

#[test]
fn every_key_is_read() {
    let plan = plan(EVERY_KEY);
    assert_eq!(plan.interval.as_secs(), 90);
    assert_eq!((plan.dns.timeout.as_millis(), plan.dns.attempts, plan.dns.rate), (1500, 1, 100));
    assert_eq!((plan.probe.depth, plan.probe.control), (Depth::Tcp, false));
    assert_eq!((plan.probe.timeout.as_secs(), plan.probe.slow.as_millis()), (5, 250));
    assert_eq!(plan.probe.concurrency, 8);
    assert_eq!(plan.vantage.as_deref(), Some("münchen 2"));
    let alert = &plan.alert;
    let urls: Vec<&str> = alert.urls.iter().map(ReceiverUrl::as_str).collect();
    assert_eq!(urls, ["http://a.contoso.com:9093", "https://[2001:db8::1]/am"]);
    assert_eq!((alert.send_to, alert.after.as_secs()), (SendTo::Alertmanager, 300));
    assert_eq!((alert.min_severity, &alert.token_file), (Severity::Critical, &None));
    assert_eq!(plan.web.listen.to_string(), "[::1]:80");
    assert_eq!(plan.web.external_url, "https://kmswatch.contoso.com/k");
    let resolver = &plan.resolvers[0];
    assert_eq!(resolver.path.to_string(), "10.0.0.9%eth1");
    assert!(resolver.upstreams.iter().all(|upstream| upstream.path == *resolver.path));
    assert_eq!(resolver.labels["site"], "hq");
    let [berlin, contoso, forced, munich] = &plan.domains[..] else { panic!("{:?}", plan.domains) };
    assert_eq!(contoso.owner.as_str(), "_vlmcs._tcp.contoso.com");
    assert_eq!(contoso.resolvers.len(), 2);
    assert_eq!(munich.name.as_str(), "xn--mnchen-3ya.example");
    assert_eq!((munich.kms, &*munich.resolvers[0].name), (KmsMode::Optional, "dmz"));
    let hosts = munich.hosts.as_deref().expect("listed");
    assert_eq!(hosts[0].priority_and_weight, Some((10, 75)));
    assert_eq!(
        (hosts[1].host.to_string(), hosts[1].priority_and_weight),
        ("kms-e2.contoso.com:1689".to_owned(), None)
    );
    let [profile] = &plan.profiles[..] else { panic!("{:?}", plan.profiles) };
    assert_eq!((berlin.kms, forced.kms), (KmsMode::Optional, KmsMode::Optional));
    for implied in [berlin, forced] {
        assert!(matches!(&*implied.resolvers, [only] if Arc::ptr_eq(only, &profile.resolver)));
    }
    assert_eq!(
        (profile.path().to_string(), &*profile.resolver.name),
        ("10.40.7.250%eth1.407".to_owned(), "hq")
    );
    assert!(profile.resolver.upstreams.iter().all(|upstream| upstream.path == **profile.path()));
    let suffixes: Vec<&str> = profile.suffixes.iter().map(Name::as_str).collect();
    assert_eq!(suffixes, ["berlin.contoso.com", "contoso.com"]);
    assert_eq!(profile.selection, Selection::Uniform);
    assert_eq!(profile.subnet.map(|subnet| subnet.to_string()).as_deref(), Some("10.40.7.0/24"));
    let fixed = Product::ALL.map(|product| profile.fixed_host(product).expect("fixed"));
    assert_eq!(fixed[0].to_string(), "kms.cmgos.com:1688");
    assert_eq!(fixed[1].target.as_address(), "2001:db8::5".parse().ok());
    assert_eq!(profile.search.len(), 0, "discovery is off");
    let Machines { clients, servers, office } = profile.machines;
    assert_eq!((clients, servers, office), (Some(40), Some(3), Some(0)));
    assert_eq!(profile.labels["site"], "berlin");
    let note = &plan.hosts[&Name::parse("kms-dmz.contoso.com").expect("a name")];
    assert_eq!((note.probe, note.reason.as_deref()), (false, Some("behind the DMZ firewall")));
    assert!(!plan.is_probed(&Name::parse("KMS-dmz.contoso.com.").expect("a name")));
    let exception = &plan.exceptions[0];
    assert_eq!(exception.checks, [Check::RedundancyNone, Check::HostSlow]);
    assert_eq!(exception.severity, Some(Severity::Info));
    assert_eq!(exception.expires.map(|date| date.to_string()).as_deref(), Some("2027-06-30"));
    assert!(exception.domains.is_match("a.b.lab.contoso.com"));
    assert!(!exception.domains.is_match("lab.contoso.com"));
    assert!(plan.exceptions[1].domains.is_match("lab.contoso.com"));
    assert_eq!(plan.exceptions[1].severity, None);
    assert_eq!(plan.web.socket, Some("/run/kmswatch/kmswatch.sock".into()));
    let [moves, patches] = &plan.maintenance[..] else { panic!("{:?}", plan.maintenance) };
    assert!(moves.domains.is_match("a.lab.contoso.com") && !moves.domains.is_match("contoso.com"));
    let times = ["2026-12-01T20:00:00Z", "2026-12-02T04:00:00Z"].map(str::parse);
    let [Ok(from), Ok(until)] = times else { panic!("times") };
    assert_eq!(
        (&moves.window, moves.reason.as_deref()),
        (&Window::Once(from, until), Some("host moves"))
    );
    let hosts: Vec<String> = patches.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["kms-e1.contoso.com", "kms-e2.contoso.com:1689"]);
    assert_eq!(patches.resolvers, ["hq".into()]);
    let Window::Weekly(weekly) = &patches.window else { panic!("{:?}", patches.window) };
    assert_eq!(weekly.to_string(), "Sat 22:00-02:00 Europe/Berlin");
}

const EVERY_KEY: &str = r#"
vantage = "münchen 2"
include = []
[audit]
interval = "1m30s"
[dns]
timeout = "1s500ms"
attempts = 1
rate = 1_00
[probe]
depth = "tcp"
control = false
timeout = "5s"
slow = "250ms"
concurrency = 8
[alert]
send_to = "alertmanager"
urls = ["http://a.contoso.com:9093/", "https://[2001:db8::1]/am"]
token_file = ""
ca_file = ""
after = "5m"
min_severity = "critical"
[journal]
path = "/var/lib/kmswatch/j.db"
keep = "30d"
[web]
listen = "[::1]:80"
external_url = "https://kmswatch.contoso.com/k//"
socket = "/run/kmswatch/kmswatch.sock"
tokens_file = ""
[[resolver]]
name = "hq"
servers = ["10.0.0.53", "10.0.0.54:5353", "tcp://10.0.0.53"]
source = "10.0.0.9"
interface = "eth1"
labels = { site = "hq", note = "it's \"quoted\" \\ ü" }
[[resolver]]
name = "dmz"
servers = ["[2001:db8::53]"]
[[domain]]
name = "münchen.example."
resolvers = ["dmz"]
kms = "optional"
hosts = ["kms-e1.contoso.com, 10, 75", "KMS-e2.contoso.com:1689"]
labels.team = "east"
[[domain]]
name = "Contoso.com"
[[host]]
name = "kms-dmz.contoso.com"
probe = false
reason = "behind the DMZ firewall"
labels = { zone = "dmz" }
[[profile]]
name = "berlin-lab"
suffixes = ["berlin.contoso.com", "Contoso.com."]
resolver = "hq"
source = "10.40.7.250"
interface = "eth1.407"
subnet = "10.40.7.0/24"
selection = "uniform"
kms_host = "kms.cmgos.com"
office_kms_host = "[2001:db8::5]:1689"
lookup_domain = "forced.example"
clients = 40
servers = 3
office = 0
labels = { site = "berlin" }
[[exception]]
checks = ["redundancy-none", "host-slow"]
domains = ["*.lab.contoso.com"]
severity = "info"
reason = "labs have one host"
expires = 2027-06-30
[[exception]]
checks = ["port-unusual"]
severity = "off"
reason = "r"
[[maintenance]]
domains = ["*.lab.contoso.com"]
from = 2026-12-01T21:00:00+01:00
until = 2026-12-02T04:00:00Z
reason = "host moves"
[[maintenance]]
hosts = ["KMS-e1.contoso.com", "kms-e2.contoso.com:1689"]
resolvers = ["hq"]
weekly = "sat 22:00-02:00 Europe/Berlin"
reason = "patches"
"#;

#[test]
fn each_rule_is_told_with_what_to_write() {
    let mut wrong = Vec::new();
    for (text, expected) in RULES {
        let rest = "\n[[domain]]\nname = \"contoso.com\"\n";
        let rest = if text.contains("domain =") || text.contains("[domain") { "\n" } else { rest };
        let (told, expected) = (refused(&format!("{text}{rest}")), format!("k.toml:{expected}"));
        if told != expected {
            wrong.push(format!("in\n{text}\n     was {told}\nexpected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

const RULES: &[(&str, &str)] = &[
    // Keys.
    ("[dns]\ntimeuot = 1", "2:1: dns.timeuot: unknown key; did you mean timeout?"),
    ("[dns]\nqqq = 1", "2:1: dns.qqq: unknown key; write one of timeout, attempts, rate"),
    ("[dsn]", "1:2: dsn: unknown key; did you mean dns?"),
    ("[[domian]]\nname = \"a\"", "1:3: domian: unknown key; did you mean domain?"),
    (
        "\"a b\" = 1",
        "1:1: \"a b\": unknown key; write one of vantage, include, audit, dns, probe, resolver, domain, domain_list, host, profile, exception, maintenance, alert, journal, web",
    ),
    (
        "[probe]\nkms_port = 1688",
        "2:1: probe.kms_port: unknown key; write one of depth, control, timeout, slow, concurrency",
    ),
    // Maintenance.
    (
        "[[maintenance]]\nreason = \"r\"\nweekly = \"Sat 02:00-06:00 UTC\"",
        "1:1: maintenance[0].domains: missing; write domains = [\"*.lab.contoso.com\"], or hosts, or resolvers",
    ),
    (
        "[[maintenance]]\ndomains = []\nreason = \" \"\nweekly = \"Sat 02:00-06:00 UTC\"",
        "2:11: maintenance[0].domains: no domain; name some, such as \"*.lab.contoso.com\"\nk.toml:3:10: maintenance[0].reason: empty; write what is worked on",
    ),
    (
        "[[maintenance]]\nhosts = []\nresolvers = []\nreason = \"r\"\nweekly = \"Sat 02:00-06:00 UTC\"",
        "2:9: maintenance[0].hosts: empty; name some, such as \"kms-e1.contoso.com\"\nk.toml:3:13: maintenance[0].resolvers: empty; name some, such as \"hq\"",
    ),
    (
        "[[maintenance]]\nhosts = [\"kms:0\", \"-a\"]\nreason = \"r\"\nweekly = \"Sat 02:00-06:00 UTC\"",
        "2:10: maintenance[0].hosts[0]: \"kms:0\" has no valid port; write a port from 1 to 65535, or none for whatever listens there\nk.toml:2:19: maintenance[0].hosts[1]: label \"-a\" begins or ends with a hyphen; remove the hyphen",
    ),
    (
        "[[maintenance]]\nresolvers = [\"sistem\"]\nreason = \"r\"\nweekly = \"Sat 02:00-06:00 UTC\"",
        "2:14: maintenance[0].resolvers[0]: \"sistem\" is no resolver of this config; did you mean system?",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"",
        "1:1: maintenance[0].from: missing; write from = 2026-12-01T20:00:00Z, or weekly = \"Sat 02:00-06:00 Europe/Berlin\"\nk.toml:1:1: maintenance[0].until: missing; write until = 2026-12-02T04:00:00Z",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nfrom = 2026-12-01T20:00:00\nuntil = 2026-12-02",
        "4:8: maintenance[0].from: 2026-12-01T20:00:00 says not by whose clocks; write a date and time with Z or an offset, such as 2026-12-01T20:00:00Z\nk.toml:5:9: maintenance[0].until: 2026-12-02 is no moment; write a date and time with Z or an offset, such as 2026-12-02T04:00:00Z",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nfrom = 2026-12-01T20:00:00Z\nuntil = 2026-12-01T21:00:00+01:00",
        "5:9: maintenance[0].until: not after from; write a later one, such as 2026-12-02T04:00:00Z",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nfrom = \"now\"\nuntil = 2026-12-02T04:00:00Z",
        "4:8: maintenance[0].from: wants a date and time without quotes, not a string; write from = 2026-12-01T20:00:00Z",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nfrom = 2026-12-01T20:00:00Z\nweekly = \"Sat 02:00-06:00 UTC\"",
        "4:8: maintenance[0].from: weekly says when already; remove one of the two",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nweekly = \"Saturdays\"",
        "4:10: maintenance[0].weekly: \"Saturdays\" is no time of each week; write a day, two times and a time zone, such as \"Sat 02:00-06:00 Europe/Berlin\"",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nweekly = \"Sam 02:00-06:00 UTC\"",
        "4:10: maintenance[0].weekly: \"Sam\" is no day; write one of Mon, Tue, Wed, Thu, Fri, Sat, Sun",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nweekly = \"Sat 2-6 UTC\"",
        "4:10: maintenance[0].weekly: \"2-6\" are no two times; write a day, two times and a time zone, such as \"Sat 02:00-06:00 Europe/Berlin\"",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nweekly = \"Sat 02:00-02:00 UTC\"",
        "4:10: maintenance[0].weekly: \"02:00-02:00\" is no time at all; write 00:00-24:00 for the whole day",
    ),
    (
        "[[maintenance]]\ndomains = [\"*\"]\nreason = \"r\"\nweekly = \"Sat 02:00-06:00 Europe/Bonn\"",
        "4:10: maintenance[0].weekly: \"Europe/Bonn\" is no known time zone; write one such as \"Europe/Berlin\" or \"UTC\"",
    ),
    // Who may change something.
    (
        "[web]\nsocket = \"kmswatch.sock\"",
        "2:10: web.socket: \"kmswatch.sock\" is no whole path of a file, of at most 107 bytes; write one such as \"/run/kmswatch/kmswatch.sock\"",
    ),
    (
        "[web]\ntokens_file = \"no-such-file\"",
        "2:15: web.tokens_file: cannot read \"no-such-file\": No such file or directory (os error 2); name a file that this user may read",
    ),
    // Not in this version.
    ("vantage = \" \"", "1:11: vantage: \" \" is no name; write a short word such as \"hq\""),
    ("[[directory]]\npassword_file = \"secret\"", "1:3: directory: not in this version; remove it"),
    (
        "[alert]\nsend_to = \"mail\"",
        "2:11: alert.send_to: \"mail\" is not known here; write \"none\" or \"alertmanager\" or \"webhook\"",
    ),
    (
        "[alert]\nsend_to = \"alertmanager\"",
        "1:1: alert.urls: missing; write urls = [\"http://alertmanager.contoso.com:9093\"]",
    ),
    (
        "[alert]\nsend_to = \"webhook\"\nurls = []",
        "3:8: alert.urls: no receiver; write urls = [\"https://chat.contoso.com/hook\"]",
    ),
    (
        "[alert]\nurls = [\"http://a:9093\"]",
        "2:8: alert.urls: nobody is sent anything, as send_to is \"none\"; write send_to = \"alertmanager\" or \"webhook\", or urls = []",
    ),
    (
        "[alert]\nsend_to = \"alertmanager\"\nurls = [\"a:9093\"]",
        "3:9: alert.urls[0]: \"a:9093\" is no http URL; write one such as \"http://alertmanager.contoso.com:9093\"",
    ),
    (
        "[alert]\nsend_to = \"webhook\"\nurls = [\"ftp://h/s3cret\"]",
        "3:9: alert.urls[0]: \"ftp://h\" is no http URL; write one such as \"http://alertmanager.contoso.com:9093\"",
    ),
    (
        "[alert]\nsend_to = \"webhook\"\nurls = [\"https://u:pw@h/s3cret\"]",
        "3:9: alert.urls[0]: \"https://u:***@h\" holds an account; write the URL without it, and token_file",
    ),
    (
        "[alert]\nsend_to = \"alertmanager\"\nurls = [\"http://a/api/v2/alerts\"]",
        "3:9: alert.urls[0]: \"http://a\" is more than an Alertmanager's URL; write it without query and /api/v2/alerts, such as \"http://alertmanager.contoso.com:9093\"",
    ),
    (
        "[alert]\nsend_to = \"webhook\"\nurls = [\"http://a/x\", \"http://a/x/\"]",
        "3:23: alert.urls[1]: \"http://a\" stands already at k.toml:3:9; remove one of the two",
    ),
    (
        "[alert]\ntoken_file = \"/no/such\"",
        "2:14: alert.token_file: cannot read \"/no/such\": No such file or directory (os error 2); name a file that this user may read",
    ),
    (
        "[alert]\nca_file = \"/no/such\"",
        "2:11: alert.ca_file: cannot read \"/no/such\": No such file or directory (os error 2); name a file that this user may read",
    ),
    (
        "[alert]\ntoken_file = \"/dev/null\"",
        "2:14: alert.token_file: cannot read \"/dev/null\": it is no plain file; name a file that this user may read",
    ),
    (
        "[alert]\nca_file = \"/dev/null\"",
        "2:11: alert.ca_file: cannot read \"/dev/null\": it is no plain file; name a file that this user may read",
    ),
    ("[alert]\nafter = 5", "2:9: alert.after: 5 has no unit; write \"5s\""),
    (
        "[alert]\nmin_severity = \"low\"",
        "2:16: alert.min_severity: \"low\" is not known here; write \"warning\" or \"info\" or \"critical\"",
    ),
    ("[dns]\nca_file = \"\"", "2:1: dns.ca_file: not in this version; remove it"),
    ("[web]\ntls_cert = \"\"", "2:1: web.tls_cert: not in this version; remove it"),
    ("[web]\ntls_key = \"\"", "2:1: web.tls_key: not in this version; remove it"),
    ("[web]\nusers_file = \"\"", "2:1: web.users_file: not in this version; remove it"),
    ("[web]\nopen_paths = []", "2:1: web.open_paths: not in this version; remove it"),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nsample = 0",
        "4:1: resolver[0].sample: not in this version; remove it",
    ),
    (
        "[[domain]]\nname = \"a\"\nauthoritative = true",
        "3:1: domain[0].authoritative: not in this version; remove it",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\", \"https://d/q\"]",
        "3:24: resolver[0].servers[1]: \"https://d/q\": tls:// and https:// are not in this version; write \"ADDRESS[:PORT]\" for UDP or \"tcp://ADDRESS[:PORT]\"",
    ),
    // Types.
    (
        "[journal]\nkeep = \"1h\"",
        "2:8: journal.keep: 1h is out of range; write a duration from \"1d\" to \"36500d\"",
    ),
    (
        "[journal]\npath = \"/var/lib/kmswatch/\"",
        "2:8: journal.path: \"/var/lib/kmswatch/\" is no file; write one such as \"/var/lib/kmswatch/kmswatch.db\"",
    ),
    ("[audit]\ninterval = 30", "2:12: audit.interval: 30 has no unit; write \"30s\""),
    (
        "[audit]\nstale_after = \"0s\"",
        "2:15: audit.stale_after: 0s is out of range; write a duration from \"1s\" to \"3650d\"",
    ),
    (
        "[audit]\nvanished_for = true",
        "2:16: audit.vanished_for: wants a string, not a boolean; write vanished_for = \"1d\"",
    ),
    (
        "[audit]\nsettle = \"3651d\"",
        "2:10: audit.settle: 3651d is out of range; write a duration from \"0s\" to \"3650d\"",
    ),
    (
        "[audit]\ninterval = true",
        "2:12: audit.interval: wants a string, not a boolean; write interval = \"1m\"",
    ),
    (
        "[dns]\nattempts = \"3\"",
        "2:12: dns.attempts: wants a whole number, not a string; write attempts = 3",
    ),
    ("[dns]\nrate = 1.5", "2:8: dns.rate: wants a whole number, not a float; write rate = 500"),
    (
        "[probe]\ncontrol = \"yes\"",
        "2:11: probe.control: wants true or false, not a string; write control = true",
    ),
    (
        "[probe]\ndepth = \"udp\"",
        "2:9: probe.depth: \"udp\" is not known here; write \"rpc\" or \"tcp\"",
    ),
    (
        "domain = \"contoso.com\"",
        "1:10: domain: wants an array of tables, not a string; write [[domain]]",
    ),
    (
        "[domain]\nname = \"a\" #[[domain",
        "1:1: domain: wants an array of tables, not a table; write [[domain]]",
    ),
    (
        "domain = [\"contoso.com\"]",
        "1:11: domain[0]: wants a table, not a string; write [[domain]]",
    ),
    ("[[dns]]\nrate = 1", "1:1: dns: wants a table, not an array; write [dns]"),
    (
        "[[domain]]\nname = \"a\"\nhosts = \"b\"",
        "3:9: domain[0].hosts: wants an array, not a string; write hosts = [\"kms.contoso.com, 10, 75\"]",
    ),
    (
        "[[domain]]\nname = \"a\"\nhosts = [1]",
        "3:10: domain[0].hosts[0]: wants a string, not an integer; write \"kms.contoso.com, 10, 75\"",
    ),
    (
        "include = [\"/**/*.toml\"]",
        "1:12: include[0]: \"/**/*.toml\" would search whole trees of folders; name the folder, as in \"conf.d/*.toml\"",
    ),
    (
        "include = \"a\"",
        "1:11: include: wants an array, not a string; write include = [\"conf.d/*.toml\"]",
    ),
    // Ranges.
    (
        "[audit]\ninterval = \"999ms\"",
        "2:12: audit.interval: 999ms is out of range; write a duration from \"1s\" to \"30d\"",
    ),
    (
        "[dns]\ntimeout = \"0s\"",
        "2:11: dns.timeout: 0s is out of range; write a duration from \"1ms\" to \"1m\"",
    ),
    ("[dns]\nattempts = 11", "2:12: dns.attempts: 11 is out of range; write a number from 1 to 10"),
    ("[dns]\nrate = 0", "2:8: dns.rate: 0 is out of range; write a number from 1 to 100000"),
    ("[dns]\nrate = -5", "2:8: dns.rate: -5 is out of range; write a number from 1 to 100000"),
    (
        "[dns]\nrate = 99999999999999999999999999",
        "2:8: dns.rate: 99999999999999999999… is out of range; write a number from 1 to 100000",
    ),
    (
        "[probe]\nconcurrency = 65536",
        "2:15: probe.concurrency: 65536 is out of range; write a number from 1 to 65535",
    ),
    // Web.
    (
        "[web]\nlisten = \"localhost:9688\"",
        "2:10: web.listen: \"localhost:9688\" is no address with a port; write one such as \"127.0.0.1:9688\", \"0.0.0.0:9688\" or \"[::]:9688\"",
    ),
    (
        "[web]\nexternal_url = \"ftp://u:hunter2@h/\"",
        "2:16: web.external_url: \"ftp://u:***@h/\" is no http URL without query; write one such as \"https://kmswatch.contoso.com\"",
    ),
    (
        "[web]\nexternal_url = \"https://\"",
        "2:16: web.external_url: \"https://\" is no http URL without query; write one such as \"https://kmswatch.contoso.com\"",
    ),
    // Resolvers.
    (
        "resolver = []",
        "1:12: resolver: empty; write [[resolver]] with name and servers, or nothing",
    ),
    (
        "[[resolver]]\nname = \"a\"",
        "1:1: resolver[0].servers: missing; write servers = [\"10.0.0.53\"]",
    ),
    (
        "[[resolver]]\nservers = [\"10.0.0.1\"]",
        "1:1: resolver[0].name: missing; write name = \"hq\"",
    ),
    (
        "[[resolver]]\nname = \"\"\nservers = [\"10.0.0.1\"]",
        "2:8: resolver[0].name: \"\" is no name; write a short word such as \"hq\"",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = []",
        "3:11: resolver[0].servers: no server; write servers = [\"10.0.0.53\"]",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\", \"10.0.0.1:53\"]",
        "3:24: resolver[0].servers[1]: \"10.0.0.1\" stands already at k.toml:3:12; remove one of the two",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\n[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]",
        "5:8: resolver[1].name: \"a\" stands already at k.toml:2:8; remove one of the two",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"[::1]\"]\nsource = \"10.0.0.9\"",
        "3:12: resolver[0].servers[0]: [::1] cannot be reached from source 10.0.0.9, which is of the other family; write a source of the servers' family, or two resolvers",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nsource = \"0.0.0.0\"",
        "4:10: resolver[0].source: \"0.0.0.0\" is the address of no single machine; write a unicast address such as \"10.0.0.53\"",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nsource = \"eth1\"",
        "4:10: resolver[0].source: \"eth1\" is no IP address; write an address of this machine such as \"10.0.0.9\"",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\ninterface = \"sixteen-letters-\"",
        "4:13: resolver[0].interface: \"sixteen-letters-\" is no interface name; write a name that \"ip link\" lists, such as \"eth1\"",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nlabels = { 1st = \"a\" }",
        "4:18: resolver[0].labels.1st: \"1st\" is no label name; write letters, digits and underscores, a digit not first",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nlabels = { a = 1 }",
        "4:16: resolver[0].labels.a: wants a string, not an integer; write a = \"hq\"",
    ),
    (
        "[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\"]\nlabels = \"a\"",
        "4:10: resolver[0].labels: wants a table, not a string; write labels = { site = \"hq\" }",
    ),
    // Domains.
    (
        "domain = []",
        "1:1: domain: no domain is given; write [[domain]] with name = \"contoso.com\", or [[profile]]",
    ),
    ("[[domain]]\nkms = \"none\"", "1:1: domain[0].name: missing; write name = \"contoso.com\""),
    (
        "[[domain]]\nname = \"a..b\"",
        "2:8: domain[0].name: \"a..b\" has an empty label; write single dots between labels",
    ),
    (
        "[[domain]]\nname = \"https://u:hunter2@h/\"",
        "2:8: domain[0].name: \"https://u:***@h/\" is no name but a URL or an account; write the name alone, such as \"contoso.com\"",
    ),
    (
        "[[domain]]\nname = \"münchen.example\"\n[[domain]]\nname = \"XN--mnchen-3ya.example.\"",
        "4:8: domain[1].name: \"xn--mnchen-3ya.example\" stands already at k.toml:2:8; remove one of the two",
    ),
    (
        "[[domain]]\nname = \"a\"\nkms = \"maybe\"",
        "3:7: domain[0].kms: \"maybe\" is not known here; write \"required\" or \"optional\" or \"none\"",
    ),
    (
        "[[domain]]\nname = \"a\"\nhosts = []",
        "3:9: domain[0].hosts: no host; name the hosts, leave the key out, or write kms = \"none\"",
    ),
    (
        "[[domain]]\nname = \"a\"\nhosts = [\"k\", \"K.:1688, 1, 2\"]",
        "3:15: domain[0].hosts[1]: \"k:1688\" stands already at k.toml:3:10; remove one of the two",
    ),
    (
        "[[domain]]\nname = \"a\"\nresolvers = []",
        "3:13: domain[0].resolvers: no resolver; name one, or leave the key out for all",
    ),
    (
        "[[domain]]\nname = \"a\"\nresolvers = [\"sytem\"]",
        "3:14: domain[0].resolvers[0]: \"sytem\" is no resolver of this config; did you mean system?",
    ),
    (
        "[[domain]]\nname = \"a\"\nresolvers = [\"system\", \"system\"]",
        "3:24: domain[0].resolvers[1]: \"system\" stands already at k.toml:3:14; remove one of the two",
    ),
    (
        "[[domain_list]]\nfile = \"no-such-file\"\n[[domain]]\nname = \"a\"",
        "2:8: domain_list[0].file: cannot read \"no-such-file\": No such file or directory (os error 2); name a file that this user may read",
    ),
    (
        "[[domain_list]]\n[[domain]]\nname = \"a\"",
        "1:1: domain_list[0].file: missing; write file = \"domains.txt\"",
    ),
    // Hosts.
    ("[[host]]\nprobe = false", "1:1: host[0].name: missing; write name = \"kms.contoso.com\""),
    (
        "[[host]]\nname = \"k\"\n[[host]]\nname = \"K\"",
        "4:8: host[1].name: \"k\" stands already at k.toml:2:8; remove one of the two",
    ),
    // Exceptions.
    (
        "[[exception]]\nchecks = [\"redundancy-non\"]\nseverity = \"off\"\nreason = \"r\"",
        "2:11: exception[0].checks[0]: \"redundancy-non\" is no check; did you mean redundancy-none?",
    ),
    (
        "[[exception]]\nchecks = [\"record-aged\"]\nseverity = \"off\"\nreason = \"r\"",
        "2:11: exception[0].checks[0]: \"record-aged\" is not in this version; remove it",
    ),
    (
        "[[exception]]\nchecks = []\nseverity = \"off\"\nreason = \"r\"",
        "2:10: exception[0].checks: no check; name one, such as \"redundancy-none\"",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"critical\"\nreason = \"r\"",
        "3:12: exception[0].severity: an exception makes a finding no worse; write \"off\" or \"info\" or \"warning\"",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nreason = \"r\"",
        "1:1: exception[0].severity: missing; write severity = \"off\"",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"off\"",
        "1:1: exception[0].reason: missing; write reason = \"labs have one host\"",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"off\"\nreason = \" \"",
        "4:10: exception[0].reason: empty; write why the finding is accepted",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"off\"\nreason = \"r\"\ndomains = []",
        "5:11: exception[0].domains: no domain; name some, or leave the key out for all",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"off\"\nreason = \"r\"\nexpires = \"2027-06-30\"",
        "5:11: exception[0].expires: wants a date without quotes and time, not a string; write expires = 2027-06-30",
    ),
    (
        "[[exception]]\nchecks = [\"host-slow\"]\nseverity = \"off\"\nreason = \"r\"\nexpires = 2027-06-30T00:00:00Z",
        "5:11: exception[0].expires: wants a date without quotes and time, not a datetime; write expires = 2027-06-30",
    ),
    // Profiles.
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"",
        "4:1: profile[0].suffixes: missing; write suffixes = [\"berlin.contoso.com\", \"contoso.com\"]",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nsuffixes = []",
        "4:1: profile[0].name: missing; write name = \"berlin-lab\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = [\"b.example\", \"\", \"B.example.\"]",
        "6:26: profile[0].suffixes[1]: an empty suffix; write a domain, or suffixes = [] for a client that has none\nk.toml:6:30: profile[0].suffixes[2]: \"b.example\" stands already at k.toml:6:13; remove one of the two",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nresolver = \"hk\"",
        "7:12: profile[0].resolver: \"hk\" is no resolver of this config; did you mean hq?",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\n[[profile]]\nname = \"a\"\nsuffixes = []",
        "8:8: profile[1].name: \"a\" stands already at k.toml:5:8; remove one of the two",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\n[[resolver]]\nname = \"r\"\nservers = [\"10.0.0.54\"]",
        "4:1: profile[0].resolver: missing, and there are several resolvers; write resolver = with one of \"hq\", \"r\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nsource = \"10.40.8.1\"\nsubnet = \"10.40.7.0/24\"",
        "8:10: profile[0].subnet: 10.40.7.0/24 does not hold the source 10.40.8.1; write the subnet of the source, or a source within the subnet",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nsubnet = \"10.40.7.5/24\"",
        "7:10: profile[0].subnet: \"10.40.7.5/24\" has bits beyond its prefix; write \"10.40.7.0/24\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nsubnet = \"10.40.7.0\"",
        "7:10: profile[0].subnet: \"10.40.7.0\" is no network; write one such as \"10.40.7.0/24\" or \"2001:db8:40:7::/64\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nselection = \"random\"",
        "7:13: profile[0].selection: \"random\" is not known here; write \"weighted\" or \"uniform\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nkms_host = \"kms:0\"\noffice_kms_host = \"kms\"",
        "7:12: profile[0].kms_host: \"kms:0\" has no valid port; write a port from 1 to 65535, such as \"kms.contoso.com:1688\"\nk.toml:8:19: profile[0].office_kms_host: \"kms\" is a short name, which each client completes in its own way; write the full name, such as \"kms.contoso.com\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nkms_host = \"2001:db8::5\"",
        "7:12: profile[0].kms_host: \"2001:db8::5\" needs brackets; write \"[2001:db8::5]\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nkms_host = \"k.b, 0, 5\"",
        "7:12: profile[0].kms_host: \"k.b, 0, 5\" has a priority and weight, which a fixed host has not; write \"host[:port]\", such as \"kms.contoso.com:1688\"",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nsource = \"2001:db8::9\"",
        "7:10: profile[0].source: no server of resolver \"hq\" can be reached from source 2001:db8::9: 10.0.0.53 is of the other family; write a source of the servers' family, or another resolver",
    ),
    (
        "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]\n[[profile]]\nname = \"a\"\nsuffixes = []\nclients = -1",
        "7:11: profile[0].clients: -1 is out of range; write a number from 0 to 10000000",
    ),
    // Syntax; what only follows from it is not told.
    ("[dns]\nrate = 5\nrate = 6", "3:1: this key is set twice; remove one of the two"),
    ("[[domain]]\nname = ", "2:8: a value is missing; write one, or remove the key"),
    ("[[domain]]\nname = contoso.com", "2:8: this value is no TOML; write it in quotes"),
    ("[audit]\ninterval = 1m", "2:12: this value is no TOML; write it in quotes"),
    ("[[domain]\nname = \"a\"", "1:10: not TOML: unclosed array table; write `]`"),
    (
        "ü = \"ä\" x\n[[domain]]\nname = \"a\"",
        "1:1: not TOML: invalid unquoted key; write letters, numbers, `-`, `_`",
    ),
];

#[test]
fn a_config_needs_no_domain_where_a_profile_has_suffixes_or_none() {
    let profile = "[[profile]]\nname = \"a\"\nsuffixes = [\"b.example\"]\n";
    let with_suffix = plan(profile);
    let [domain] = &with_suffix.domains[..] else { panic!("{:?}", with_suffix.domains) };
    assert_eq!((domain.name.as_str(), domain.kms), ("b.example", KmsMode::Optional));
    assert_eq!(&*with_suffix.profiles[0].resolver.name, "system", "the only one");
    assert_eq!(with_suffix.profile_keys(), [], "the domain brings them");
    let without = plan("[[profile]]\nname = \"a\"\nsuffixes = []\n");
    assert_eq!((without.domains.len(), without.profiles.len()), (0, 1));
}

#[test]
fn a_profile_over_its_own_path_asks_only_what_suits_it() {
    let text = "[[resolver]]\nname = \"hq\"\nservers = [\"10.0.0.53\", \"[2001:db8::53]\"]\n\
                [[domain]]\nname = \"b.example\"\n\
                [[profile]]\nname = \"a\"\nsuffixes = [\"b.example\"]\nsource = \"10.9.9.9\"\n\
                [[profile]]\nname = \"c\"\nsuffixes = [\"b.example\"]\nsource = \"10.9.9.9\"\n";
    let loaded = read(text).expect("a config");
    let expected = "k.toml:9:10: profile[0].source: [2001:db8::53] is of the other family, and is not \
                    asked from 10.9.9.9";
    assert_eq!(loaded.warnings[0], expected);
    let [a, c] = &loaded.plan.profiles[..] else { panic!("{:?}", loaded.plan.profiles) };
    assert!(Arc::ptr_eq(&a.resolver, &c.resolver), "one path, one resolver");
    let keys: Vec<String> = loaded
        .plan
        .profile_keys()
        .iter()
        .map(|key| format!("{} {} from {}", key.name, key.upstream.server, key.upstream.path))
        .collect();
    assert_eq!(keys, ["_vlmcs._tcp.b.example 10.0.0.53 from 10.9.9.9"]);
    let [hq] = &*loaded.plan.domains[0].resolvers else { panic!("hq alone") };
    assert_eq!(hq.upstreams.len(), 2, "a domain that is configured is asked as configured");
    let asked: Vec<String> = load_report(&loaded.plan)
        .servers
        .iter()
        .map(|server| format!("{} {}", server.address, server.srv_lookups))
        .collect();
    assert_eq!(asked, ["10.0.0.53:53 2", "[2001:db8::53]:53 1"]);
}

#[test]
fn no_resolver_at_all_is_an_error_of_the_config() {
    let text = "[[domain]]\nname = \"a\"\nresolvers = [\"hq\"]\n";
    let errors = parse_with(text, "k.toml", no_system).expect_err("no resolver");
    assert_eq!(
        errors.to_string(),
        "k.toml:1:1: resolver: the system has none; write [[resolver]] with name and servers"
    );
}

#[test]
fn all_errors_come_at_once() {
    assert_eq!(refused(NONSENSE), NONSENSE_ERRORS.trim_end());
    let errors = read(NONSENSE).expect_err("nonsense");
    let first = errors.iter().next().expect("an error");
    assert_eq!((&*first.place.file, first.place.line, first.place.column), ("k.toml", 1, 1));
    assert_eq!((&*first.key, &*first.problem), ("directory", "not in this version"));
    assert_eq!(first.advice, "remove it");
}

const NONSENSE: &str = r#"directory = "hq"
intervall = "1m"
include = ["[", 5]

[audit]
interval = 60

[dns]
timeout = "2 seconds"
attempts = 0
rate = "fast"

[probe
depth = "udp"

[[resolver]]
name = "hq"
servers = ["10.0.0.53", "tls://10.0.0.56", "nonsense", "10.0.0.53:53"]
source = "::"
labels = { "ü ü" = "x", ok = 1 }

[[resolver]]
name = "hq"
servers = []

[[domain]]
name = "münchen.example"
hosts = ["kms, 1", "kms:0", "-kms", "kms", "KMS."]

[[domain]]
name = "xn--mnchen-3ya.example"
resolvers = ["hk", "hq", "hq"]
kms = required

[[domain_list]]
file = 5
name = "x"

[[exception]]
checks = ["srv-mising", "record-aged", 7]
severity = "critical"
expires = 2027-06-30T00:00:00
domains = ["[a"]

[web]
listen = 9688
external_url = "http://admin:hunter2@h?token=x"
tls_key = "/etc/key"
"#;

const NONSENSE_ERRORS: &str = r#"k.toml:1:1: directory: not in this version; remove it
k.toml:2:1: intervall: unknown key; write one of vantage, include, audit, dns, probe, resolver, domain, domain_list, host, profile, exception, maintenance, alert, journal, web
k.toml:3:12: include[0]: "[" is no glob: invalid range pattern; write a glob such as "conf.d/*.toml"
k.toml:3:17: include[1]: wants a string, not an integer; write "conf.d/*.toml"
k.toml:6:12: audit.interval: 60 has no unit; write "60s"
k.toml:9:11: dns.timeout: "2 seconds" is no duration; write whole numbers with d, h, m, s or ms, such as "500ms", "30s" or "1h30m"
k.toml:10:12: dns.attempts: 0 is out of range; write a number from 1 to 10
k.toml:11:8: dns.rate: wants a whole number, not a string; write rate = 500
k.toml:13:7: not TOML: unclosed table; write `]`
k.toml:18:25: resolver[0].servers[1]: "tls://10.0.0.56": tls:// and https:// are not in this version; write "ADDRESS[:PORT]" for UDP or "tcp://ADDRESS[:PORT]"
k.toml:18:44: resolver[0].servers[2]: "nonsense" is no server address; write an IP address such as "10.0.0.53", "10.0.0.54:5353", "[2001:db8::53]" or "tcp://10.0.0.55"
k.toml:18:56: resolver[0].servers[3]: "10.0.0.53" stands already at k.toml:18:12; remove one of the two
k.toml:19:10: resolver[0].source: "::" is the address of no single machine; write a unicast address such as "10.0.0.53"
k.toml:20:20: resolver[0].labels."ü ü": "ü ü" is no label name; write letters, digits and underscores, a digit not first
k.toml:20:30: resolver[0].labels.ok: wants a string, not an integer; write ok = "hq"
k.toml:23:8: resolver[1].name: "hq" stands already at k.toml:17:8; remove one of the two
k.toml:24:11: resolver[1].servers: no server; write servers = ["10.0.0.53"]
k.toml:28:10: domain[0].hosts[0]: "kms, 1" has no priority and weight from 0 to 65535 after the host; write "host[:port]" or "host[:port], priority, weight", such as "kms.contoso.com:1688, 10, 75"
k.toml:28:20: domain[0].hosts[1]: "kms:0" has no valid port; write a port from 1 to 65535, such as "kms.contoso.com:1688"
k.toml:28:29: domain[0].hosts[2]: label "-kms" begins or ends with a hyphen; remove the hyphen
k.toml:28:44: domain[0].hosts[4]: "kms:1688" stands already at k.toml:28:37; remove one of the two
k.toml:31:8: domain[1].name: "xn--mnchen-3ya.example" stands already at k.toml:27:8; remove one of the two
k.toml:32:26: domain[1].resolvers[2]: "hq" stands already at k.toml:32:20; remove one of the two
k.toml:33:7: this value is no TOML; write it in quotes
k.toml:36:8: domain_list[0].file: wants a string, not an integer; write file = "domains.txt"
k.toml:37:1: domain_list[0].name: unknown key; write one of file, resolvers, kms, hosts, labels
k.toml:40:11: exception[0].checks[0]: "srv-mising" is no check; did you mean srv-missing?
k.toml:40:25: exception[0].checks[1]: "record-aged" is not in this version; remove it
k.toml:40:40: exception[0].checks[2]: wants a string, not an integer; write "redundancy-none"
k.toml:41:12: exception[0].severity: an exception makes a finding no worse; write "off" or "info" or "warning"
k.toml:42:11: exception[0].expires: wants a date without quotes and time, not a datetime; write expires = 2027-06-30
k.toml:43:12: exception[0].domains[0]: "[a" is no glob: unclosed character class; missing ']'; write one such as "*.lab.contoso.com"
k.toml:46:10: web.listen: wants a string, not an integer; write listen = "127.0.0.1:9688"
k.toml:47:16: web.external_url: "http://admin:***@h?***" is no http URL without query; write one such as "https://kmswatch.contoso.com"
k.toml:48:1: web.tls_key: not in this version; remove it
"#;

#[test]
fn files_of_alerts_hold_what_they_should() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("k.toml").display().to_string();
    fs::write(folder.path().join("no"), "two words\n").expect("a file");
    let text = "[alert]\ntoken_file = \"no\"\nca_file = \"no\"\n[[domain]]\nname = \"a\"\n";
    let told = parse_with(text, &file, system).expect_err("both").to_string();
    let no = folder.path().join("no");
    let expected = format!(
        "{file}:2:14: alert.token_file: {no:?} holds no token; name a file that holds the token alone\n\
         {file}:3:11: alert.ca_file: {no:?} holds no certificates; name a file that holds the certificates alone"
    );
    assert_eq!(told, expected);
}

#[test]
fn a_token_in_clear_text_warns() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "s3cret\n").expect("a file");
    let config = |url: &str| {
        format!(
            "[alert]\nsend_to = \"webhook\"\nurls = [\"{url}\"]\ntoken_file = \"token\"\n\
             [[domain]]\nname = \"a\"\n"
        )
    };
    let file = folder.path().join("k.toml").display().to_string();
    for (url, warns) in [
        ("http://h/x", true),
        ("https://h/x", false),
        ("http://localhost:80", false),
        ("http://[::1]:80", false),
    ] {
        let loaded = parse_with(&config(url), &file, system).expect("a config");
        let expected = "alert.token_file: http://h gets the token in clear text; write https";
        let told = loaded.warnings.iter().any(|warning| warning.ends_with(expected));
        assert_eq!(told, warns, "{url}: {:?}", loaded.warnings);
        assert_eq!(loaded.plan.alert.token_file, Some(folder.path().join("token")));
    }
}

#[test]
fn what_is_legal_but_odd_warns() {
    let text = "include = [\"no-such.d/*.toml\"]\n[[domain]]\nname = \"a\"\nkms = \"none\"\n\
                hosts = [\"k\"]\n";
    assert_eq!(
        read(text).expect("a config").warnings,
        [
            "k.toml:1:12: include[0]: no file matches",
            "k.toml:5:9: domain[0].hosts: hosts are listed, but kms = \"none\" expects none"
        ]
    );
}

/// A directory with these files; the errors or warnings of loading `k.toml`, without its path.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }
    let base = format!("{}/", directory.path().display());
    let file = directory.path().join("k.toml");
    load(&file).map_err(|errors| errors.to_string().replace(&base, ""))
}

const RESOLVER: &str = "[[resolver]]\nname = \"hq\"\nservers = [\"192.0.2.53\"]\n";

#[test]
fn tables_of_included_files_are_added() {
    let main = format!("include = [\"conf.d/*.toml\", \"*.toml\"]\n[dns]\nrate = 7\n{RESOLVER}");
    let loaded = load_files(&[
        ("k.toml", &main),
        ("conf.d/b.toml", "[[domain]]\nname = \"b\"\nresolvers = [\"dmz\"]\n[dns]\nattempts = 2\n"),
        (
            "conf.d/a.toml",
            "\u{feff}[[domain]]\r\nname = \"a\"\r\n[[resolver]]\r\nname = \"dmz\"\r\nservers = [\"[::1]\"]\r\n",
        ),
        ("conf.d/.#a.toml", "nonsense"),
    ]);
    let plan = loaded.expect("a config").plan;
    assert_eq!((plan.dns.rate, plan.dns.attempts), (7, 2));
    let names: Vec<_> = plan.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let resolvers: Vec<_> = plan.resolvers.iter().map(|resolver| &*resolver.name).collect();
    assert_eq!(resolvers, ["hq", "dmz"]);
    assert!(Arc::ptr_eq(&plan.domains[1].resolvers[0], &plan.resolvers[1]));
}

#[test]
fn included_files_are_told_apart() {
    let main = format!(
        "include = [\"d/*\"]\n[dns]\nrate = 7\n{RESOLVER}[[domain]]\nname = \"a\"\n[[domain_list]]\nfile = \"l\"\n"
    );
    let errors = load_files(&[
        ("k.toml", &main),
        ("l", "B\n\n\u{e4}..x # bad\n a   b # too\n"),
        (
            "d/1.toml",
            "include = [\"x\"]\n[dns]\nrate = 8\n[[domain]]\nname = \"A.\"\n[[domain]]\nname = \"b\"\n",
        ),
        ("d/2.toml", "x = \n[[domain_list]]\nfile = \"m\"\n"),
        ("d/m", "# nothing\n"),
    ]);
    let expected = r#"d/1.toml:1:11: include: an included file cannot include; write it in the file that is named on the command line
d/1.toml:3:8: dns.rate: set already at k.toml:3:8; remove one of the two
d/1.toml:5:8: domain[0].name: "a" stands already at k.toml:8:8; remove one of the two
d/2.toml:1:5: a value is missing; write one, or remove the key
l:3:1: domain_list[0]: "xn--4ca..x" has an empty label; write single dots between labels
l:4:2: domain_list[0]: label "a   b" holds a character that names do not have; write letters, digits, hyphens or underscores"#;
    assert_eq!(errors.unwrap_err(), expected);
}

#[test]
fn lists_name_domains() {
    let main = format!(
        "{RESOLVER}[[domain_list]]\nfile = \"l\"\nkms = \"optional\"\nhosts = [\"k\"]\nlabels = {{ a = \"b\" }}\n\
         [[domain]]\nname = \"own\"\n[[domain_list]]\nfile = \"sub/empty\"\n"
    );
    let loaded = load_files(&[
        ("k.toml", &main),
        ("l", "\u{feff}one # first\r\n\r\n# none\r\n  Own.  \r\nm\u{fc}nchen.example"),
        ("sub/empty", "\n"),
    ]);
    let Loaded { plan, warnings } = loaded.expect("a config");
    let shown = |domain: &crate::model::PlannedDomain| format!("{} {}", domain.name, domain.kms);
    let domains: Vec<_> = plan.domains.iter().map(|domain| shown(domain)).collect();
    assert_eq!(domains, ["one optional", "own required", "xn--mnchen-3ya.example optional"]);
    let [one, _, munich] = &plan.domains[..] else { panic!("three") };
    assert!(Arc::ptr_eq(&one.labels, &munich.labels));
    assert!(Arc::ptr_eq(
        one.hosts.as_ref().expect("listed"),
        munich.hosts.as_ref().expect("listed")
    ));
    assert!(Arc::ptr_eq(&one.resolvers, &munich.resolvers));
    assert!(
        warnings[0].ends_with("k.toml:12:8: domain_list[1].file: the list names no domain"),
        "{warnings:?}"
    );
}

#[test]
fn a_list_entry_stands_once() {
    let main = format!("{RESOLVER}[[domain_list]]\nfile = \"l\"\n[[domain_list]]\nfile = \"m\"\n");
    let errors = load_files(&[("k.toml", &main), ("l", "a\nA.\nb\n"), ("m", "  b\n")]);
    let expected = r#"l:2:1: domain_list[0]: "a" stands already at l:1:1; remove one of the two
m:1:3: domain_list[1]: "b" stands already at l:3:1; remove one of the two"#;
    assert_eq!(errors.unwrap_err(), expected);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let errors = load(Path::new("no-such-file.toml")).expect_err("no file").to_string();
    let expected = r#"no-such-file.toml:1:1: cannot read "no-such-file.toml": No such file or directory (os error 2); name a file that this user may read"#;
    assert_eq!(errors, expected);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("k.toml");
    fs::write(&file, b"[dns]\nrate = 5 # \xff\n").expect("written");
    let errors = load(&file).expect_err("no UTF-8").to_string();
    assert!(errors.ends_with("k.toml:2:12: this is no UTF-8; save it as UTF-8"), "{errors}");
}

#[test]
fn the_load_of_a_plan_is_known_before_anything_is_sent() {
    let plan = plan(
        "[dns]\nrate = 1\n[[resolver]]\nname = \"a\"\nservers = [\"10.0.0.1\", \"tcp://10.0.0.1\", \"10.0.0.2\"]\n\
         [[resolver]]\nname = \"b\"\nservers = [\"10.0.0.2\"]\n[[resolver]]\nname = \"c\"\n\
         servers = [\"10.0.0.2\"]\nsource = \"10.0.0.9\"\n\
         [[domain]]\nname = \"x\"\nhosts = [\"k\", \"k:1689\", \"dmz\"]\n[[domain]]\nname = \"y\"\nresolvers = [\"a\"]\n\
         [[host]]\nname = \"dmz\"\nprobe = false\n[audit]\ninterval = \"7s\"\n",
    );
    let report = load_report(&plan);
    let servers: Vec<_> = report
        .servers
        .iter()
        .map(|server| {
            (server.address.to_string(), server.srv_lookups, (server.address_lookups * 3.0).round())
        })
        .collect();
    // 10.0.0.2 over the default path is one key for a and b, and another for c, from its source.
    // Two targets are four lookups for each resolver, shared by its servers.
    assert_eq!(
        servers,
        [("10.0.0.1:53".to_owned(), 4.0, 8.0), ("10.0.0.2:53".to_owned(), 3.0, 28.0)]
    );
    assert_eq!(report.servers[0].true_interval, None);
    let true_interval = report.servers[1].true_interval.expect("12.3 lookups in 7 s at 1 a second");
    assert_eq!(true_interval.as_millis(), 12_585);
    let hosts: Vec<_> = report
        .hosts
        .iter()
        .map(|load| (load.host.to_string(), load.probes_per_minute.round(), load.paths))
        .collect();
    assert_eq!(
        hosts,
        [
            ("dmz:1688".to_owned(), 0.0, 2),
            ("k:1688".to_owned(), 17.0, 2),
            ("k:1689".to_owned(), 17.0, 2)
        ]
    );
    let expected = r"queries, every 7s (at most 1 a second each):
  10.0.0.1:53: 1.0 a second: 4 SRV, and about 3 A and AAAA of listed hosts
  10.0.0.2:53: 1.8 a second: 3 SRV, and about 9 A and AAAA of listed hosts
  and A and AAAA of every host that only DNS names: not known here
probes of listed hosts, for each address that DNS gives them:
  dmz:1688: 0.0 a minute over 2 paths
  k:1688: 17.1 a minute over 2 paths
  k:1689: 17.1 a minute over 2 paths
warning: 10.0.0.2:53: 12 lookups do not fit into an interval of 7s at rate = 1: the true interval is 13s; raise rate or interval
";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_plan_without_config_has_the_defaults() {
    let names = ["b", "a", "b"].map(|name| Name::parse(name).expect("a name"));
    let resolver = resolver_of("cli", &[parse_server("10.0.0.1").expect("a server")]);
    let made = plan_for(&names, KmsMode::Required, vec![resolver]);
    let written = plan(
        "[[resolver]]\nname = \"cli\"\nservers = [\"10.0.0.1\"]\n[[domain]]\nname = \"a\"\n[[domain]]\nname = \"b\"\n",
    );
    assert_same(&made, &written);
}

#[test]
fn a_password_is_not_shown() {
    let plan = plan("[web]\nexternal_url = \"https://me:hunter2@h/\"\n[[domain]]\nname = \"a\"\n");
    assert_eq!(plan.web.external_url, "https://me:hunter2@h");
    assert!(show(&plan).contains("\nexternal_url = \"https://me:***@h\"\n"), "{}", show(&plan));
}

const SAMPLE: &str = include_str!("../../config/kmswatch.toml");

#[test]
fn the_sample_shows_the_defaults() {
    let loaded = read(SAMPLE).expect("the sample loads");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(show(&loaded.plan), show(&plan("[[domain]]\nname = \"contoso.com\"\n")));
}

#[test]
fn the_sample_has_every_key() {
    let shown = show(&plan(EVERY_KEY));
    let key = |line: &str| line.split([' ', '=', '.']).next().unwrap_or("").to_owned();
    let examples: Vec<String> =
        SAMPLE.lines().map(|line| key(line.trim_start_matches('#'))).collect();
    let written = |line: &&str| !line.is_empty() && !examples.contains(&key(line));
    assert_eq!(shown.lines().filter(written).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn ten_thousand_domains_are_read_at_once() {
    let list: Vec<String> = (0..10_000).map(|n| format!("d{n}.east.contoso.com")).collect();
    let main = format!("{RESOLVER}[[domain_list]]\nfile = \"l\"\nhosts = [\"k\"]\n");
    let loaded = load_files(&[("k.toml", &main), ("l", &list.join("\n"))]).expect("a config");
    assert_eq!(loaded.plan.domains.len(), 10_000);
    let first = &loaded.plan.domains[0];
    assert!(loaded.plan.domains.iter().all(|domain| {
        Arc::ptr_eq(&domain.resolvers, &first.resolvers)
            && Arc::ptr_eq(&domain.labels, &first.labels)
    }));
}

/// All of a plan but its compiled globs, which the patterns stand for, and its test-only port.
fn assert_same(left: &Plan, right: &Plan) {
    assert_eq!((left.interval, left.dns, left.probe), (right.interval, right.dns, right.probe));
    let lasting = |plan: &Plan| [plan.record_stale_after, plan.vanished_for, plan.settle];
    assert_eq!(lasting(left), lasting(right));
    assert_eq!(left.resolvers, right.resolvers);
    assert_eq!(left.domains, right.domains);
    assert_eq!(left.profiles, right.profiles);
    assert_eq!(left.hosts, right.hosts);
    assert_eq!(left.web, right.web);
    let exceptions = |plan: &Plan| -> Vec<_> {
        let parts = plan.exceptions.iter();
        parts
            .map(|one| {
                (
                    one.checks.clone(),
                    one.patterns.clone(),
                    one.severity,
                    one.reason.clone(),
                    one.expires,
                )
            })
            .collect()
    };
    assert_eq!(exceptions(left), exceptions(right));
    let maintenance = |plan: &Plan| -> Vec<_> {
        let all = plan.maintenance.iter();
        all.map(|one| {
            let of = (one.patterns.clone(), one.hosts.clone(), one.resolvers.clone());
            (of, one.window.clone(), one.reason.clone())
        })
        .collect()
    };
    assert_eq!(maintenance(left), maintenance(right));
}

/// A config of any values; most are legal.
fn any_config() -> impl Strategy<Value = String> {
    let resolvers = prop::collection::vec(any_resolver(), 1..4).prop_map(|bodies| {
        let one = |(at, body)| format!("[[resolver]]\nname = \"r {at}\"\n{body}");
        bodies.iter().enumerate().map(one).collect::<Vec<_>>().concat()
    });
    let name = "[a-zü]{1,8}(\\.[a-z]{1,5}){0,2}";
    let domains = prop::collection::btree_map(name, any_domain(), 1..5).prop_map(|bodies| {
        let one = |(name, body)| format!("[[domain]]\nname = \"{name}\"\n{body}");
        bodies.iter().map(one).collect::<Vec<_>>().concat()
    });
    let profiles = prop::collection::vec(any_profile(), 0..3).prop_map(|bodies| {
        let one = |(at, body)| format!("[[profile]]\nname = \"p {at}\"\n{body}");
        bodies.iter().enumerate().map(one).collect::<Vec<_>>().concat()
    });
    let parts = (any_settings(), resolvers, domains, profiles, any_notes());
    parts.prop_map(|(settings, resolvers, domains, profiles, notes)| {
        [settings, resolvers, domains, profiles, notes].concat()
    })
}

fn any_profile() -> impl Strategy<Value = String> {
    let suffixes = prop::collection::btree_set("\"[a-d]{1,2}(\\.example)?\"", 0..4);
    let source = "(source = \"10\\.9\\.9\\.[1-3]\"\n)?(subnet = \"10\\.9\\.9\\.0/24\"\n)?";
    let hosts = "(kms_host = \"(k\\.a:1689|10\\.1\\.1\\.1|\\[2001:db8::1\\])?\"\n)?(lookup_domain = \"l\"\n)?";
    (suffixes, source, hosts, any_labels()).prop_map(|(suffixes, source, hosts, labels)| {
        let suffixes = suffixes.into_iter().collect::<Vec<_>>().join(", ");
        format!("suffixes = [{suffixes}]\nresolver = \"r 0\"\n{source}{hosts}office = 7\n{labels}")
    })
}

fn any_settings() -> impl Strategy<Value = String> {
    (1_000_u64..10_000_000, 1_u32..11, 1_u32..100_000, any::<bool>(), any::<u16>()).prop_map(
        |(interval, attempts, rate, control, port)| {
            format!(
                "[audit]\ninterval = \"{interval}ms\"\n[dns]\nattempts = {attempts}\n\
                 rate = {rate}\n[probe]\ncontrol = {control}\n[web]\nlisten = \"[::1]:{port}\"\n"
            )
        },
    )
}

/// As TOML, quoted.
fn any_text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 'ü#\n\\\\\"\\]]{1,12}".prop_map(|text| toml::Value::String(text).to_string())
}

fn any_labels() -> impl Strategy<Value = String> {
    prop::collection::btree_map("[a-z_]{1,6}", any_text(), 0..3).prop_map(|labels| {
        let one = |(name, value)| format!("{name} = {value}");
        format!("labels = {{ {} }}\n", labels.iter().map(one).collect::<Vec<_>>().join(", "))
    })
}

fn any_resolver() -> impl Strategy<Value = String> {
    let server = "\"(tcp://)?10\\.0\\.0\\.[1-9]:5[0-9]{1,3}\"";
    let servers = prop::collection::btree_set(server, 1..4);
    (servers, any_labels()).prop_map(|(servers, labels)| {
        format!("servers = [{}]\n{labels}", servers.into_iter().collect::<Vec<_>>().join(", "))
    })
}

fn any_domain() -> impl Strategy<Value = String> {
    let rest = "(:[1-9][0-9]{0,3})?(, [0-9]{1,4}, [0-9]{1,4})?";
    let hosts = prop::collection::btree_map("[a-zü]{1,9}", rest, 1..4);
    (hosts, any_labels(), "required|optional|none").prop_map(|(hosts, labels, kms)| {
        let hosts: Vec<_> = hosts.iter().map(|(name, rest)| format!("\"{name}{rest}\"")).collect();
        let hosts = hosts.join(", ");
        format!("kms = \"{kms}\"\nresolvers = [\"r 0\"]\nhosts = [{hosts}]\n{labels}")
    })
}

fn any_notes() -> impl Strategy<Value = String> {
    let reason = any_text().prop_filter("a reason", |text| text.contains(char::is_alphanumeric));
    (reason, any::<bool>(), 1_u8..29, 1_u8..13).prop_map(|(reason, probe, day, month)| {
        format!(
            "[[host]]\nname = \"h\"\nprobe = {probe}\nreason = {reason}\n[[exception]]\n\
             checks = [\"host-slow\"]\ndomains = [\"*.Ü.a\", \"*\"]\nseverity = \"warning\"\n\
             reason = {reason}\nexpires = 2027-{month:02}-{day:02}\n"
        )
    })
}

proptest! {
    #[test]
    fn what_is_shown_reads_as_the_same_plan(text in any_config()) {
        let Ok(Loaded { plan: written, .. }) = read(&text) else {
            // Two names may be one in DNS.
            return Err(TestCaseError::reject("not legal"));
        };
        let shown = show(&written);
        assert_same(&plan(&shown), &written);
        prop_assert_eq!(show(&plan(&shown)), shown);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}|[\\[\\]{}=\"'\\n a-e.#,]{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_damage_to_a_config_panics(
        cuts in prop::collection::vec((0..EVERY_KEY.len(), 0..12_usize, "\\PC{0,3}|[\\[\\]{}=\"'\\n.#,0-9]{0,3}"), 1..6)
    ) {
        let mut text = EVERY_KEY.to_owned();
        for (at, length, instead) in cuts {
            let start = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (start + length).min(text.len());
            let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            text.replace_range(start..end, &instead);
        }
        match read(&text) {
            Ok(loaded) => assert_same(&plan(&show(&loaded.plan)), &loaded.plan),
            Err(errors) => prop_assert!(errors.to_string().lines().all(|line| line.contains("; "))),
        }
    }
}
