//! What needs no browser: what is refused, what is escaped, how long a page is, and what it causes.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;

use crate::PATIENCE;
use crate::daemon::Daemon;
use crate::estate::Estate;

const ONCE: &str =
    "[audit]\ninterval = \"24h\"\n[dns]\ntimeout = \"10s\"\nattempts = 1\nrate = 100000\n";

/// What somebody may write into a record's target, or ask for.
const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&";

const VIEWS: [&str; 6] =
    ["/", "/domains/north.test", "/hosts", "/findings", "/profiles", "/journal"];

#[test]
fn what_is_asked_wrongly_is_refused_with_words() {
    let estate = Estate::start();
    let daemon = Daemon::start(&estate.config(ONCE, &[]));
    daemon.wait_until_ready();
    let long = "x".repeat(10_000);
    let asked = [
        ("/", format!("q={long}"), "at most"),
        ("/", "page=0".into(), "page"),
        ("/", "page=-1".into(), "page"),
        ("/", "page=x".into(), "page"),
        ("/", "page=99999999999999999999".into(), "page"),
        ("/", "status=bad".into(), "critical"),
        ("/", "status=ok&status=ok".into(), "once"),
        ("/", "q=a&q=b".into(), "once"),
        ("/", "colour=red".into(), "status"),
        ("/findings", format!("q={long}"), "at most"),
        ("/findings", "severity=x".into(), "warning"),
        ("/findings", "state=x".into(), "suppressed"),
        ("/findings", "check=x".into(), "srv-missing"),
        ("/findings", "q=a&q=b".into(), "once"),
        ("/hosts", format!("q={long}"), "at most"),
        ("/hosts", "status=ok".into(), "degraded"),
        ("/profiles", "x=1".into(), "no parameters"),
        ("/domains/north.test", "x=1".into(), ""),
        ("/journal", format!("domain={long}"), "at most"),
        ("/journal", "domain=a..b".into(), ""),
        ("/journal", "kind=x".into(), "host-down"),
        ("/journal", "since=yesterday".into(), "7d"),
        ("/journal", "since=1h&since=2h".into(), "once"),
    ];
    for (path, query, advice) in asked {
        let short: String = query.chars().take(40).collect();
        let reply = daemon.get(&format!("{path}?{query}"));
        assert_eq!(reply.status, 400, "{path}?{short}");
        assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8", "{path}?{short}");
        assert!(reply.text().contains(advice), "{path}?{short}: {}", reply.text());
        assert!(reply.body.len() < 10_000, "what is too long is not repeated: {path}?{short}");
    }
    for path in
        ["/domains/nowhere.test", "/domains/a..b", "/domains/%FF", "/badge/nowhere.test.svg"]
    {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
}

#[test]
fn markup_is_text_and_nothing_runs_but_the_pages_own_script() {
    let estate = Estate::start();
    estate.publish("north.test", &format!("{MARKUP}.test"), 1);
    let daemon = Daemon::start(&estate.config(ONCE, &[]));
    daemon.wait_until_ready();
    let encoded: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
    let of_views = VIEWS.into_iter().map(str::to_owned);
    let filtered = [
        "/?q=",
        "/findings?q=",
        "/hosts?q=",
        "/journal?domain=",
        "/journal?since=",
        "/?status=",
        "/?",
    ];
    let filtered = filtered.into_iter().map(|path| format!("{path}{encoded}"));
    let mut shown = 0;
    for path in of_views.chain(filtered).chain([format!("/domains/{encoded}")]) {
        let reply = daemon.get(&path);
        let text = reply.text();
        let scripts = text.matches("<script").count();
        let own = text.matches("/assets/page.js\" defer></script>").count();
        assert_eq!((scripts, own), (1, 1), "{path}: {text}");
        assert!(
            !text.contains("<img") && !text.contains("<style") && !text.contains(" style="),
            "{path}"
        );
        shown += usize::from(text.contains("alert(1)"));
        let policy = &reply.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(
            policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{path}");
    }
    assert!(shown > 3, "it is shown, as text: {shown}");
}

#[test]
fn looking_at_pages_asks_nobody() {
    let estate = Estate::start();
    let daemon = Daemon::start(&estate.config(ONCE, &[]));
    daemon.wait_until_ready();
    let before = estate.traffic();
    assert!(before.0 > 4 && before.1 == 3, "{before:?}");
    for number in 0..100 {
        assert_eq!(daemon.get(VIEWS[number % VIEWS.len()]).status, 200);
    }
    assert_eq!(daemon.get("/badge/north.test.svg").status, 200);
    assert_eq!(estate.traffic(), before);
}

/// Browsers keep connections for the next page, each several.
#[test]
fn idle_browsers_keep_nobody_out() {
    let estate = Estate::start();
    let daemon = Daemon::start(&estate.config(ONCE, &[]));
    daemon.wait_until_ready();
    let browsers: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
            stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            let read = stream.read(&mut [0; 4096]).expect("it answers everybody");
            assert!(read > 0, "an answer");
            stream
        })
        .collect();
    assert_eq!(daemon.get("/-/healthy").status, 200);
    assert_eq!(browsers.len(), 300);
}

#[test]
fn the_front_page_of_ten_thousand_domains_is_short() {
    const DOMAINS: usize = 10_000;
    let estate = Estate::start();
    let mut names = String::new();
    for number in 0..DOMAINS {
        let name = format!("d{number}.many.test");
        // A third of them are in trouble, which takes more words.
        if number % 3 > 0 {
            estate.publish(&name, "kms1.test", 1);
            estate.publish(&name, "kms2.test", 2);
        }
        let _ = writeln!(names, "{name}");
    }
    let settings = format!("{ONCE}[[domain_list]]\nfile = \"domains.txt\"\n");
    let daemon = Daemon::start_with(&estate.config(&settings, &[]), &[("domains.txt", &names)]);
    daemon.wait_until_ready();
    for path in ["/", "/?page=34", "/?span=30d", "/findings", "/hosts", "/domains/d0.many.test"] {
        let page = daemon.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.len() < 300_000, "{path}: {} bytes", page.body.len());
    }
    let page = daemon.get("/").text();
    let rows = page.matches("<tr data-domain=").count();
    assert!((20..1000).contains(&rows), "{rows}");
    assert!(page.contains("of 10004"), "it tells how many there are");
}
