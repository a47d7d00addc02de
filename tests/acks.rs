//! What people say of findings: by the unix socket and with a token, over a restart, and never by
//! whoever may not.

#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/lab.rs"]
mod lab;
#[path = "peers/program.rs"]
mod program;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use daemon::Daemon;
use kmswatch::demo::{Data, DnsServer, Zones};
use lab::Bench;
use program::{Ended, kmswatch};
use serde_json::Value;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A domain whose only host refuses; and whoever watches it.
struct Watched {
    _bench: Bench,
    _server: DnsServer,
    folder: tempfile::TempDir,
    config: String,
}

impl Watched {
    fn new() -> Self {
        let (bench, zones) = (Bench::new(), Zones::new());
        zones.add_zone("test");
        zones.insert("kms.test", Data::A(Ipv4Addr::LOCALHOST));
        // Bound and let go: nobody listens there.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
        zones.insert("_vlmcs._tcp.dead.test", Data::srv(0, 0, port.port(), "kms.test"));
        let server = bench.dns(&zones);
        let folder = tempfile::tempdir().expect("a folder");
        let [tokens, journal] =
            ["tokens", "kmswatch.db"].map(|name| folder.path().join(name).display().to_string());
        std::fs::write(&tokens, format!("# who may\nops:{TOKEN}\n")).expect("written");
        let config = format!(
            "[audit]\ninterval = \"1s\"\n[journal]\npath = {journal:?}\n[[resolver]]\nname = \"r\"\n\
             servers = [\"{}\"]\n[[domain]]\nname = \"dead.test\"\n[web]\ntokens_file = {tokens:?}\n",
            server.address(),
        );
        Self { _bench: bench, _server: server, folder, config }
    }

    fn start(&self) -> Daemon {
        let daemon = Daemon::start(&self.config);
        daemon.wait_until_ready();
        daemon
    }

    fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }
}

fn finding(daemon: &Daemon) -> Value {
    let findings = daemon.json("/api/v1/findings");
    let found = findings.as_array().expect("a list").iter();
    let mut found = found.filter(|one| one["check"] == "all-hosts-down");
    found.next().cloned().expect("it is down")
}

fn wait_for_state(daemon: &Daemon, state: &str) -> Value {
    daemon.wait_for(state, || {
        let finding = finding(daemon);
        if finding["state"] == state { Ok(finding) } else { Err(finding.to_string()) }
    })
}

fn run(arguments: &[&str], transport: &[String]) -> Ended {
    Ended::of(kmswatch().args(arguments).args(transport))
}

fn by_socket(daemon: &Daemon) -> Vec<String> {
    vec!["--socket".to_owned(), daemon.socket().display().to_string()]
}

#[test]
fn a_finding_is_acknowledged_by_the_socket_and_over_a_restart() {
    let watched = Watched::new();
    let mut daemon = watched.start();
    let id = finding(&daemon)["id"].as_str().expect("an id").to_owned();
    let until = ["ack", &id, "--until", "7d", "--reason", "host moves"];
    let ended = run(&until, &by_socket(&daemon));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with(&format!("{id} is acknowledged until 2")), "{ended:?}");
    let known = wait_for_state(&daemon, "acknowledged");
    assert_eq!(known["evidence"]["acknowledged_because"], "host moves");
    assert_eq!(daemon.json("/api/v1/report")["status"], "info");
    let mut series = daemon.metrics("kmswatch_findings{");
    series.retain(|line| line.contains("all-hosts-down"));
    let wanted = "kmswatch_findings{domain=\"dead.test\",check=\"all-hosts-down\",severity=\"critical\",\
                  state=\"acknowledged\"} 1";
    assert_eq!(series, [wanted]);
    assert!(
        daemon.get("/").text().contains("1 finding acknowledged"),
        "{}",
        daemon.get("/").text()
    );

    daemon.signal("-TERM");
    assert_eq!(daemon.wait().0, Some(0));
    assert!(!daemon.socket().exists(), "the socket goes with the daemon");
    let daemon = watched.start();
    let again = wait_for_state(&daemon, "acknowledged");
    assert_eq!(again["evidence"]["acknowledged_until"], known["evidence"]["acknowledged_until"]);
    let ended = run(&["unack", &id], &by_socket(&daemon));
    assert_eq!(
        (ended.code, ended.stdout),
        (Some(0), format!("{id} is not acknowledged any more\n"))
    );
    wait_for_state(&daemon, "active");
    let told = |query: &str| -> Vec<String> {
        let events = daemon.json(&format!("/api/v1/journal{query}"));
        let events = events.as_array().expect("a list").iter();
        events.map(|event| format!("{} {}", event["kind"], event["domain"])).collect()
    };
    let both = ["\"unacknowledged\" \"dead.test\"", "\"acknowledged\" \"dead.test\""];
    assert_eq!(told("?domain=dead.test&kind=acknowledged&kind=unacknowledged"), both);
}

#[test]
fn a_finding_is_acknowledged_with_a_token_and_by_nobody_else() {
    let watched = Watched::new();
    let daemon = watched.start();
    let id = finding(&daemon)["id"].as_str().expect("an id").to_owned();
    let url = format!("http://{}/", daemon.address());
    let with = |file: PathBuf| {
        ["--url", &url, "--token-file", &file.display().to_string()].map(str::to_owned).to_vec()
    };
    let wrong = watched.folder.path().join("wrong");
    std::fs::write(&wrong, "0123456789abcdef0123456789abcdeX").expect("written");
    let ack = ["ack", &id, "--until", "1h"];
    let ended = run(&ack, &with(wrong));
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("needs a token of [web] tokens_file"), "{}", ended.stderr);
    let path = format!("/api/v1/acks/{id}");
    for method in ["PUT", "DELETE"] {
        assert_eq!(daemon.request(method, &path, "").status, 401, "{method}");
    }
    assert_eq!(daemon.request("POST", "/-/reload", "").status, 401);
    assert_eq!(finding(&daemon)["state"], "active");

    let ended = run(&ack, &with(watched.tokens()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_for_state(&daemon, "acknowledged");
    assert!(daemon.log().contains("ops says that this finding is known"), "{}", daemon.log());
    let ended = run(&["unack", &id], &with(watched.tokens()));
    assert_eq!(ended.code, Some(0), "{ended:?}");

    // Other tokens hold from a reload on.
    let held = std::fs::read_to_string(watched.tokens()).expect("the file");
    std::fs::write(watched.tokens(), "fedcba98765432100\n").expect("written");
    let trusted = format!("Authorization: Bearer {TOKEN}\r\n");
    let reloaded = daemon.request("POST", "/-/reload", &trusted);
    assert_eq!(
        (reloaded.status, reloaded.text().contains("restart")),
        (200, false),
        "{reloaded:?}"
    );
    assert_eq!(daemon.request("DELETE", &path, &trusted).status, 401);
    std::fs::write(watched.tokens(), "short\n").expect("written");
    let refused =
        daemon.request("POST", "/-/reload", "Authorization: Bearer fedcba98765432100\r\n");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("fewer than 16 characters"), "{}", refused.text());
    assert!(!daemon.log().contains("short") && !daemon.log().contains(held.trim()));
}

#[test]
fn what_cannot_be_said_is_told_with_how_to() {
    let watched = Watched::new();
    let daemon = watched.start();
    let socket = by_socket(&daemon);
    let nothing = "srv-missing-0000000000000000";
    let id = finding(&daemon)["id"].as_str().expect("an id").to_owned();
    for (line, words) in [
        (
            &["ack", nothing, "--until", "1d"][..],
            "there is no finding srv-missing-0000000000000000 now",
        ),
        (&["ack", &id, "--until", "2020-01-01"], "is past; write a time to come"),
        (&["ack", &id, "--until", "367d"], "more than a year away; write an [[exception]]"),
        (&["ack", &id, "--until", "soon"], "\"soon\" is no time; write one such as \"7d\""),
        (&["ack", &id], "--until"),
        (&["unack", &id], "is not acknowledged"),
        (&["unack", &id, "--url", "http://x.test"], "--token-file"),
    ] {
        let transport = if line.contains(&"--url") { &[][..] } else { &socket };
        let ended = run(line, transport);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{line:?}");
        assert!(ended.stderr.contains(words), "{line:?}: {}", ended.stderr);
    }
    let nowhere = ["--socket".to_owned(), "/nonexistent/kmswatch.sock".to_owned()];
    let ended = run(&["unack", &id], &nowhere);
    assert_eq!(ended.code, Some(3));
    let words = "cannot reach /nonexistent/kmswatch.sock: No such file or directory";
    assert!(
        ended.stderr.contains(words) && ended.stderr.contains("[web] socket"),
        "{}",
        ended.stderr
    );
    assert_eq!(finding(&daemon)["state"], "active");
}
