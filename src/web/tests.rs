use std::io::Read;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Clock;
use crate::model::finding::Evidence;
use crate::model::journal::{Entry, Event, EventKind};
use crate::model::plan::{JournalSettings, Token};
use crate::report::{self, fixture};

/// A server on loopback, and all that its owner holds.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    reloads: mpsc::Receiver<ReloadRequest>,
    probes: mpsc::Receiver<ProbeRequest>,
    acks: mpsc::Receiver<AckRequest>,
    journal: Arc<Journal>,
    tokens: watch::Sender<Option<Tokens>>,
    socket: std::path::PathBuf,
    _folder: tempfile::TempDir,
    pub(super) shutdown: oneshot::Sender<()>,
    pub(super) server: JoinHandle<io::Result<()>>,
}

pub(super) async fn served(snapshot: Option<Snapshot>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (snapshots, receiver) = watch::channel(snapshot.map(Arc::new));
    let (reload, reloads) = mpsc::channel(1);
    let (probe, probes) = mpsc::channel(1);
    let (shutdown, stopped) = oneshot::channel();
    let clock = Clock::start();
    let (journal, _) = Journal::open(&JournalSettings::default(), clock).expect("in memory");
    let journal = Arc::new(journal);
    let (ack, acks) = mpsc::channel(1);
    let token = Token { name: "ops".into(), secret: TOKEN.to_owned() };
    let tokens = Tokens { file: "tokens".into(), tokens: [token].into() };
    let (tokens, known) = watch::channel(Some(tokens));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kmswatch.sock");
    let socket = Some(Socket::bind(&path).expect("bound"));
    let site = Site {
        snapshots: receiver,
        stats: Stats::new(),
        reload,
        probe,
        acks: ack,
        tokens: known,
        clock,
        journal: journal.clone(),
    };
    let server = tokio::spawn(serve(listener, socket, site, async {
        let _ = stopped.await;
    }));
    Served {
        address,
        snapshots,
        reloads,
        probes,
        acks,
        journal,
        tokens,
        socket: path,
        _folder: folder,
        shutdown,
        server,
    }
}

const TOKEN: &str = "0123456789abcdef";
/// The header of whom the server trusts.
const TRUSTED: &str = "Authorization: Bearer 0123456789abcdef\r\n";

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A header's value; names are lower-case on hyper's wire.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Served {
    pub(super) async fn get(&self, path: &str) -> Reply {
        get(self.address, path).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        ask(self.address, method, path, headers).await
    }
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, "GET", path, "").await
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    let stream = TcpStream::connect(address).await.expect("it listens");
    ask_over(stream, method, path, headers).await
}

/// A request with its headers, and its body behind an empty line.
async fn ask_over(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    method: &str,
    path: &str,
    rest: &str,
) -> Reply {
    let (headers, body) = rest.split_once("\r\n\r\n").unwrap_or((rest.trim_end(), ""));
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("it answers");
    reply_of(&bytes)
}

fn reply_of(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("UTF-8");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    Reply { status, head, body: bytes[end + 4..].to_vec() }
}

#[tokio::test]
async fn before_the_first_audit_only_what_needs_none_is_answered() {
    let served = served(None).await;
    assert_eq!(served.get("/-/healthy").await.status, 200);
    for path in
        ["/-/ready", "/sd", "/api/v1/report", "/api/v1/domains", "/api/v1/domains/x.example"]
    {
        let reply = served.get(path).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")), "{path}");
        assert_eq!(reply.json(), serde_json::json!({ "error": "the first audit is under way" }));
    }
    let metrics = served.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("\nkmswatch_build_info{"));
    assert!(!metrics.text().contains("kmswatch_srv_"));
    for path in ["/", "/hosts", "/findings?q=x", "/profiles", "/journal", "/domains/x.example"] {
        let page = served.get(path).await;
        assert_eq!((page.status, page.header("retry-after")), (503, Some("2")), "{path}");
        assert!(page.text().contains("The first audit is under way."), "{path}");
    }
    let badge = served.get("/badge/x.example.svg").await;
    assert!(badge.status == 503 && badge.text().contains("not audited yet"));
    served.snapshots.send_replace(Some(Arc::new(fixture::healthy())));
    assert_eq!(served.get("/-/ready").await.status, 200);
    assert!(served.get("/metrics").await.text().contains("kmswatch_srv_records{"));
}

#[tokio::test]
async fn a_probe_is_passed_on_and_answered_with_the_domains_families() {
    let mut served = served(None).await;
    let path = "/probe?domain=East.example&server=10.0.0.53:53";
    let request = async {
        let request = served.probes.recv().await.expect("a request");
        assert_eq!(request.domain.as_str(), "east.example");
        assert_eq!(request.server.as_deref(), Some("10.0.0.53:53"));
        let _ = request.reply.send(Ok(fixture::healthy()));
    };
    let address = served.address;
    let (reply, ()) = tokio::join!(get(address, path), request);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.text().contains("\nkmswatch_srv_records{domain=\"east.example\"} 2\n"));
    assert!(!reply.text().contains("process_") && !reply.text().contains("build_info"));
    // The daemon knows better.
    let refusal = async {
        let request = served.probes.recv().await.expect("a request");
        let _ = request.reply.send(Err("write another".to_owned()));
    };
    let (reply, ()) = tokio::join!(get(address, "/probe?domain=x.test"), refusal);
    assert_eq!(
        (reply.status, reply.json()),
        (400, serde_json::json!({ "error": "write another" }))
    );
    let dropped = async { drop(served.probes.recv().await) };
    let (reply, ()) = tokio::join!(get(address, "/probe?domain=x.test"), dropped);
    assert_eq!(reply.status, 503);
    for wrong in ["/probe", "/probe?domain=", "/probe?domain=a..b", "/probe?domain=a.test&x=1"] {
        assert_eq!(get(address, wrong).await.status, 400, "{wrong}");
    }
    // Nobody answers, and the scraper does not wait for ever.
    let header = "X-Prometheus-Scrape-Timeout-Seconds: 0.2\r\n";
    let reply = ask(address, "GET", "/probe?domain=x.test", header).await;
    assert_eq!(reply.status, 504);
}

#[tokio::test]
async fn metrics_are_compressed_for_whom_it_pleases() {
    let served = served(Some(fixture::troubled())).await;
    let plain = served.get("/metrics").await;
    let plain_type = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(plain.header("content-type"), plain_type);
    assert_eq!(
        (plain.header("vary"), plain.header("content-encoding")),
        (Some("accept-encoding"), None)
    );
    let gzip = served.ask("GET", "/metrics", "Accept-Encoding: gzip;q=0.9\r\n").await;
    assert_eq!(gzip.header("content-type"), plain_type);
    assert_eq!(
        (gzip.header("vary"), gzip.header("content-encoding")),
        (Some("accept-encoding"), Some("gzip"))
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut text).expect("gzip");
    let estate = |text: &str| text.split("# HELP kmswatch_build_info").next().map(str::to_owned);
    assert_eq!(estate(&text), estate(plain.text()));
}

#[tokio::test]
async fn a_scrape_is_whole_whatever_happens_while_it_is_sent() {
    let served = served(Some(fixture::large())).await;
    let length = |reply: &Reply| -> usize {
        reply.header("content-length").expect("it is known").parse().expect("a number")
    };
    for headers in ["", "Accept-Encoding: gzip\r\n"] {
        let head = served.ask("HEAD", "/metrics", headers).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        let whole = served.ask("GET", "/metrics", headers).await;
        assert_eq!(length(&whole), whole.body.len());
        // What the process says of itself is not the same twice.
        assert!(length(&head).abs_diff(length(&whole)) < 1000, "{}", length(&head));
    }
    let asked = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut begun = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(served.address).await.expect("it listens");
        stream.write_all(asked.as_bytes()).await.expect("it reads");
        let mut first = vec![0; 1000];
        stream.read_exact(&mut first).await.expect("it begins");
        begun.push((stream, first));
    }
    // One leaves, one goes on with what it began, though there is something new.
    drop(begun.pop());
    served.snapshots.send_replace(Some(Arc::new(fixture::healthy())));
    let (mut stream, mut all) = begun.pop().expect("the other");
    stream.read_to_end(&mut all).await.expect("the rest");
    let reply = reply_of(&all);
    assert_eq!(length(&reply), reply.body.len());
    assert!(reply.text().contains("{domain=\"d399.example\"") && reply.text().ends_with('\n'));
    assert!(!served.get("/metrics").await.text().contains("d399.example"));
}

#[tokio::test]
async fn the_api_serves_the_report_and_its_parts() {
    let served = served(Some(fixture::troubled())).await;
    let snapshot = fixture::troubled();
    let report = served.get("/api/v1/report").await;
    assert_eq!(
        (report.status, report.text()),
        (200, &*report::json_text(&report::json(&snapshot)))
    );
    let whole = report.json();
    for part in ["domains", "hosts", "findings"] {
        assert_eq!(served.get(&format!("/api/v1/{part}")).await.json(), whole[part], "{part}");
    }
    for name in ["berlin.example", "BERLIN.example.", "%62erlin.example"] {
        let reply = served.get(&format!("/api/v1/domains/{name}")).await;
        assert_eq!((reply.status, &reply.json()), (200, &whole["domains"][0]), "{name}");
    }
    for name in ["m%C3%BCnchen.example", "a%2Fb", "%FF", "..%2F", "a..b"] {
        let reply = served.get(&format!("/api/v1/domains/{name}")).await;
        assert_eq!(reply.status, 404, "{name}");
        assert!(reply.json()["error"].is_string());
    }
    let renewed = fixture::healthy();
    served.snapshots.send_replace(Some(Arc::new(renewed.clone())));
    let report = served.get("/api/v1/report").await;
    assert_eq!(report.text(), report::json_text(&report::json(&renewed)));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_are_told_apart() {
    let served = served(Some(fixture::healthy())).await;
    assert_eq!(served.ask("GET", "/api/v1/acks/ID", "").await.status, 405);
    for path in ["/x", "/api", "/api/v1/", "/metrics/x", "//"] {
        assert_eq!(served.get(path).await.status, 404, "{path}");
    }
    assert_eq!(served.ask("POST", "/metrics", "").await.status, 405);
}

#[tokio::test]
async fn head_has_no_body_and_every_answer_is_secured() {
    let served = served(Some(fixture::healthy())).await;
    for path in ["/metrics", "/api/v1/report", "/-/ready", "/nothing", "/sd"] {
        let [head, get] = [served.ask("HEAD", path, "").await, served.get(path).await];
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(get.header("cache-control"), Some("no-store"));
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(get.header("content-security-policy"), Some(policy));
    }
}

#[tokio::test]
async fn a_reload_tells_what_came_of_it() {
    let mut served = served(None).await;
    for (said, status) in [(Ok("3 domains added".to_owned()), 200), (Err("a\nb".to_owned()), 422)] {
        let text = format!("{}\n", said.as_ref().unwrap_or_else(|text| text));
        let mut reloads = std::mem::replace(&mut served.reloads, mpsc::channel(1).1);
        let owner = tokio::spawn(async move {
            let request: ReloadRequest = reloads.recv().await.expect("a request");
            request.reply.send(said).expect("it waits");
            reloads
        });
        let reply = served.ask("POST", "/-/reload", TRUSTED).await;
        assert_eq!((reply.status, reply.text()), (status, &*text));
        served.reloads = owner.await.expect("it answered");
    }
    assert_eq!(served.ask("GET", "/-/reload", "").await.status, 405);
    served.reloads.close();
    assert_eq!(served.ask("POST", "/-/reload", TRUSTED).await.status, 503);
}

#[tokio::test]
async fn shutdown_waits_for_nobody_for_long() {
    let served = served(None).await;
    let mut idle = TcpStream::connect(served.address).await.expect("it listens");
    let head = format!("POST /-/reload HTTP/1.1\r\nHost: x\r\n{TRUSTED}\r\n");
    idle.write_all(head.as_bytes()).await.expect("it reads");
    let mut reloads = served.reloads;
    let _unanswered = reloads.recv().await.expect("the request is under way");
    let started = tokio::time::Instant::now();
    served.shutdown.send(()).expect("it serves");
    served.server.await.expect("no panic").expect("no error");
    assert!(started.elapsed() < GRACE * 2);
    assert!(!served.socket.exists(), "the socket goes with the server");
}

#[tokio::test]
async fn a_request_that_drips_is_cut_off() {
    let served = served(None).await;
    let mut stream = TcpStream::connect(served.address).await.expect("it listens");
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nX: ").await.expect("it reads");
    // Answered requests on other connections show that the server took the first bytes in.
    served.get("/-/healthy").await;
    tokio::time::pause();
    let half = connection::PATIENCE / 2 + Duration::from_secs(1);
    let mut sent = 0;
    loop {
        tokio::time::advance(half).await;
        if stream.write_all(b"x").await.is_err() {
            break;
        }
        let mut bytes = [0; 64];
        tokio::task::yield_now().await;
        match stream.try_read(&mut bytes) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
            _ => sent += 1,
        }
        assert!(sent < 1000, "it would read for ever");
    }
}

/// What the daemon does with a request, once.
async fn answer_ack(served: &mut Served, with: Result<Option<Timestamp>, AckRefusal>) -> String {
    let request = served.acks.recv().await.expect("a request");
    let told = format!("{} {:?}", request.id, request.say);
    request.reply.send(with).expect("it waits");
    told
}

#[tokio::test]
async fn what_changes_something_comes_by_the_socket_or_with_a_token() {
    let mut served = served(Some(fixture::healthy())).await;
    let calls =
        [("POST", "/-/reload"), ("PUT", "/api/v1/acks/a-1"), ("DELETE", "/api/v1/acks/a-1")];
    for (method, path) in calls {
        for headers in [
            "",
            "Authorization: Bearer 0123456789abcdeX\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Basic 0123456789abcdef\r\n",
        ] {
            let reply = served.ask(method, path, headers).await;
            assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
            let told = reply.json()["error"].to_string();
            assert!(told.contains("Authorization: Bearer TOKEN"), "{told}");
        }
    }
    // A reload brings other tokens, or none.
    served.tokens.send_replace(None);
    for (method, path) in calls {
        let reply = served.ask(method, path, TRUSTED).await;
        assert_eq!(reply.status, 403, "{method} {path}");
        assert!(reply.json()["error"].to_string().contains("set [web] socket or tokens_file"));
    }
    assert!(served.acks.try_recv().is_err() && served.reloads.try_recv().is_err());
    let stream = tokio::net::UnixStream::connect(&served.socket).await.expect("it listens");
    let until: Timestamp = "2026-12-01T00:00:00Z".parse().expect("a time");
    let rest = "\r\n\r\n{\"until\": \"7d\", \"reason\": \" moved \"}";
    let (reply, told) = tokio::join!(
        ask_over(stream, "PUT", "/api/v1/acks/host-down-1", rest),
        answer_ack(&mut served, Ok(Some(until)))
    );
    assert_eq!(told, "host-down-1 Known { until: Away(604800s), reason: Some(\"moved\") }");
    let expected = serde_json::json!({ "id": "host-down-1", "acknowledged_until": until });
    assert_eq!((reply.status, reply.json()), (200, expected));
    let stream = tokio::net::UnixStream::connect(&served.socket).await.expect("it listens");
    let reply = ask_over(stream, "GET", "/-/healthy", "").await;
    assert_eq!(reply.status, 200, "all else is served there, too");
}

#[tokio::test]
async fn an_acknowledgement_is_answered_as_the_daemon_says() {
    let mut served = served(Some(fixture::healthy())).await;
    let address = served.address;
    let words = || "write another".to_owned();
    for (refusal, status) in [
        (AckRefusal::NotFound(words()), 404),
        (AckRefusal::Wrong(words()), 400),
        (AckRefusal::TooSoon, 503),
    ] {
        let (reply, told) = tokio::join!(
            ask(address, "DELETE", "/api/v1/acks/a%2Fb", TRUSTED),
            answer_ack(&mut served, Err(refusal))
        );
        assert_eq!((reply.status, &*told), (status, "a/b NotKnown"));
        assert!(reply.json()["error"].is_string());
    }
    let trusted = TRUSTED.trim_end();
    for (body, status, words) in [
        ("", 400, "send {\"until\""),
        ("{}", 400, "missing field `until`"),
        ("{\"until\": \"7d\", \"x\": 1}", 400, "unknown field `x`"),
        ("{\"until\": \"soon\"}", 400, "until: \"soon\" is no time; write one such as"),
        ("[]", 400, "send {\"until\""),
        (
            &format!("{{\"until\": \"7d\", \"reason\": \"{}\"}}", "x".repeat(4096)),
            413,
            "at most 4096",
        ),
    ] {
        let reply =
            ask(address, "PUT", "/api/v1/acks/a", &format!("{trusted}\r\n\r\n{body}")).await;
        let told = reply.json()["error"].as_str().expect("words").to_owned();
        assert!(reply.status == status && told.contains(words), "{body:.60}: {reply:?} {told}");
    }
    assert!(served.acks.try_recv().is_err(), "what is wrong reaches nobody");
}

#[tokio::test]
async fn a_head_of_too_many_or_too_long_headers_is_refused() {
    let served = served(None).await;
    let many = "X: x\r\n".repeat(200);
    assert_eq!(served.ask("GET", "/-/healthy", &many).await.status, 431);
    let long = format!("X: {}\r\n", "x".repeat(500_000));
    let mut stream = TcpStream::connect(served.address).await.expect("it listens");
    // It may hang up before all of it is sent.
    let head = format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{long}\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn a_domains_journal_has_what_its_hosts_did() {
    let mut snapshot = fixture::healthy();
    let view = Arc::get_mut(&mut snapshot.domains[0].view).expect("not shared yet");
    view.seen.push(fixture::seen("left.east.example", None));
    let served = served(Some(snapshot)).await;
    let down = |target| Event {
        at: Clock::start().now(),
        kind: EventKind::HostDown,
        domain: None,
        host: Some(fixture::named_host(target)),
        servers: Vec::new(),
        evidence: Evidence::new(),
    };
    let hosts = ["kms-w1.west.example", "kms-e2.east.example", "left.east.example"].map(down);
    served.journal.record(hosts.iter().cloned().map(Entry::Event));
    let [_, published, left] = hosts;
    let shown = report::json_text(&report::json_events(&[left, published]));
    assert_eq!(served.get("/api/v1/journal?domain=east.example").await.text(), shown);
    assert_eq!(served.get("/api/v1/journal?domain=parked.example").await.text(), "[]\n");
}

#[tokio::test]
async fn the_journal_is_served_as_the_command_shows_it() {
    let served = served(None).await;
    let domain = fixture::name("east.example");
    let event = |kind, domain| Event {
        at: Clock::start().now(),
        kind,
        domain,
        host: None,
        servers: Vec::new(),
        evidence: Evidence::new(),
    };
    let events = [event(EventKind::Status, Some(domain)), event(EventKind::Reloaded, None)];
    served.journal.record(events.iter().cloned().map(Entry::Event));
    let [first, second] = &events;
    let shown = |events: &[Event]| report::json_text(&report::json_events(events));
    let all = served.get("/api/v1/journal").await;
    assert_eq!((all.status, all.text()), (200, &*shown(&[second.clone(), first.clone()])));
    let one = served.get("/api/v1/journal?domain=east.example&kind=status&since=1h").await;
    assert_eq!(one.text(), shown(std::slice::from_ref(first)));
    let cut = served.get("/api/v1/journal?limit=1").await;
    assert_eq!(cut.text(), shown(std::slice::from_ref(second)));
    let truncated = |reply: &Reply| reply.header("x-kmswatch-truncated").map(str::to_owned);
    let whole = served.get("/api/v1/journal?limit=2").await;
    assert_eq!(whole.text(), all.text());
    assert_eq!([&cut, &whole].map(truncated), [Some("true".to_owned()), None]);
    let wrong = served.get("/api/v1/journal?kind=x").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].to_string().contains("no kind of event"));
}
