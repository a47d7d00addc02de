//! Alerts that the daemon sends itself: to Debian's Alertmanager, and to receivers that refuse, fail,
//! are late or speak TLS.

#[path = "peers/alertmanager.rs"]
mod alertmanager;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use kmswatch::alert::{Alert, Alerts};
use kmswatch::clock::Clock;
use kmswatch::model::alert::{AlertSettings, ReceiverUrl, SendTo};
use kmswatch::model::finding::FindingId;
use kmswatch::model::journal::Entry;
use kmswatch::model::plan::WebSettings;
use kmswatch::model::snapshot::Summary;
use kmswatch::model::{
    Check, Finding, FindingState, Host, Labels, Name, Plan, Severity, Snapshot, Status, Subject,
};
use kmswatch::stats::Stats;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use alertmanager::{Alertmanager, Place};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_hears_of_the_beginning_and_the_end() {
    let alertmanager = Alertmanager::start(Place::free());
    until("it listens", || alertmanager.active()).await;
    let mut daemon = Daemon::start(&plan(SendTo::Alertmanager, &[&alertmanager.place.url()]));
    daemon.see(-10, &[("kms.example", Severity::Critical)]);
    let alert = until("it fires", || match &alertmanager.active()?[..] {
        [only] => Ok(only.clone()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let id = down("kms.example", Severity::Critical).id.to_string();
    let labels = serde_json::json!({
        "alertname": "host-down", "finding": id, "severity": "critical", "target": "kms.example",
        "port": "1688", "vantage": "hq", "site": "berlin",
    });
    assert_eq!(alert["labels"], labels);
    let told = Alert {
        labels: serde_json::from_value(labels).expect("texts"),
        annotations: BTreeMap::new(),
        starts_at: daemon.clock.now(),
        ends_at: None,
    };
    assert_eq!(alert["fingerprint"], told.fingerprint().to_string(), "as Alertmanager counts it");
    assert_eq!(alert["generatorURL"], format!("https://kmswatch.example/findings?q={id}"));
    assert_eq!(alert["annotations"]["summary"], "kms.example is down");
    // One that it does not hear of again ends after four minutes.
    let ends: Timestamp = alert["endsAt"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let left = ends.duration_since(daemon.clock.now());
    assert!((180..=240).contains(&left.as_secs()), "{left}");
    daemon.see(-4, &[]);
    daemon.see(0, &[]);
    until("it ends", || match &alertmanager.active()?[..] {
        [] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(daemon.stats.alerts(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alertmanager_that_is_down_keeps_nothing_from_the_other_and_hears_later() {
    let (here, late) = (Alertmanager::start(Place::free()), Place::free());
    let mut daemon = Daemon::start(&plan(SendTo::Alertmanager, &[&late.url(), &here.place.url()]));
    daemon.see(-10, &[("kms.example", Severity::Critical)]);
    let one = |alertmanager: &Alertmanager| match &alertmanager.active()?[..] {
        [_] => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("the one that is up", || one(&here)).await;
    until("a failure is counted", || match daemon.stats.alerts() {
        (1.., 1..) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let late = Alertmanager::start(late);
    until("the one that was down", || one(&late)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_payload_with_the_token_once_each() {
    let mut hook = Hook::start(|_| StatusCode::OK).await;
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = folder.path().join("token");
    fs::write(&token_file, "s3cret\n").expect("a file");
    let mut plan = plan(SendTo::Webhook, &[&format!("{}/hook?x=1", hook.url)]);
    plan.alert.token_file = Some(token_file.clone());
    let mut daemon = Daemon::start(&plan);
    daemon.see(-20, &[("a.example", Severity::Warning), ("b.example", Severity::Critical)]);
    let mut summaries = Vec::new();
    for _ in 0..2 {
        let post = hook.next().await;
        assert_eq!((&*post.path, &*post.token), ("/hook?x=1", "Bearer s3cret"));
        assert_eq!((&post.body["version"], &post.body["status"]), (&"4".into(), &"firing".into()));
        assert_eq!(post.body["externalURL"], "https://kmswatch.example");
        summaries.push(post.body["commonAnnotations"]["summary"].to_string());
    }
    summaries.sort();
    assert_eq!(summaries, ["\"a.example is down\"", "\"b.example is down\""]);
    fs::write(&token_file, "other").expect("a file");
    // The same again, and then the end of one: only that is told.
    daemon.see(-15, &[("a.example", Severity::Warning), ("b.example", Severity::Critical)]);
    daemon.see(-10, &[("b.example", Severity::Critical)]);
    daemon.see(-5, &[("b.example", Severity::Critical)]);
    let post = hook.next().await;
    assert_eq!(post.token, "Bearer other", "it is read anew");
    assert_eq!(post.body["status"], "resolved");
    assert_eq!(post.body["alerts"][0]["labels"]["target"], "a.example");
    // And a severity that changes is one message.
    daemon.see(-4, &[("b.example", Severity::Warning)]);
    daemon.see(0, &[("b.example", Severity::Warning)]);
    let post = hook.next().await;
    let alerts = post.body["alerts"].as_array().expect("alerts").iter();
    let mut alerts: Vec<_> = alerts
        .map(|alert| format!("{} {}", alert["labels"]["severity"], alert["status"]))
        .collect();
    alerts.sort();
    assert_eq!(alerts, ["\"critical\" \"resolved\"", "\"warning\" \"firing\""]);
    assert_eq!(post.body["status"], "firing");
    daemon.alerts.close().await;
    assert!(hook.posts.try_recv().is_err(), "nothing was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again() {
    let failures = Mutex::new(vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY]);
    let mut hook = Hook::start(move |_| {
        failures.lock().expect("nobody panics").pop().unwrap_or(StatusCode::OK)
    })
    .await;
    let mut daemon = Daemon::start(&plan(SendTo::Webhook, &[&hook.url]));
    daemon.see(0, &[("a.example", Severity::Warning)]);
    let posts = [hook.next().await, hook.next().await, hook.next().await];
    assert!(posts.iter().all(|post| post.body["alerts"][0]["labels"]["target"] == "a.example"));
    until("it is counted", || match daemon.stats.alerts() {
        (1, 2) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alert_that_is_refused_keeps_back_no_other() {
    let refuses = |body: &Value| match body.to_string().contains("bad.example") {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    let mut hook = Hook::start(refuses).await;
    let mut daemon = Daemon::start(&plan(SendTo::Alertmanager, &[&hook.url]));
    let hosts = ["a.example", "b.example", "bad.example", "c.example", "d.example"];
    daemon.see(0, &hosts.map(|host| (host, Severity::Warning)));
    until("all but one are taken", || match daemon.stats.alerts() {
        (4, 1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let mut posts = Vec::new();
    while let Ok(post) = hook.posts.try_recv() {
        assert_eq!(post.path, "/api/v2/alerts");
        posts.push(post.body.as_array().expect("an array").len());
    }
    assert_eq!(posts[0], 5, "first all together: {posts:?}");
    daemon.alerts.close().await;
    assert!(hook.posts.try_recv().is_err(), "what is refused is not sent again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_tells_again_what_fires_and_then_its_end() {
    let mut hook = Hook::start(|_| StatusCode::OK).await;
    let plan = plan(SendTo::Webhook, &[&hook.url]);
    let mut daemon = Daemon::start(&plan);
    daemon.see(-30, &[("a.example", Severity::Warning)]);
    let before = hook.next().await;
    let journal = daemon.journal.clone();
    daemon.alerts.close().await;
    let mut daemon = Daemon::restart(&plan, &journal);
    let again = hook.next().await;
    assert_eq!(again.body["alerts"], before.body["alerts"], "with its beginning, before any audit");
    daemon.see(-20, &[]);
    daemon.see(-10, &[]);
    assert_eq!(hook.next().await.body["status"], "resolved");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_told_before_the_end() {
    let mut hook = Hook::start(|_| StatusCode::OK).await;
    let mut daemon = Daemon::start(&plan(SendTo::Webhook, &[&hook.url]));
    daemon.see(0, &[("a.example", Severity::Warning)]);
    daemon.alerts.close().await;
    assert!(hook.posts.try_recv().is_ok());
    // And one that never answers is not waited for.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let mut daemon = Daemon::start(&plan(SendTo::Webhook, &[&url]));
    daemon.see(0, &[("a.example", Severity::Warning)]);
    let begun = Instant::now();
    daemon.alerts.close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_tells_the_new_receiver_alone() {
    let (mut old, mut new) =
        (Hook::start(|_| StatusCode::OK).await, Hook::start(|_| StatusCode::OK).await);
    let mut daemon = Daemon::start(&plan(SendTo::Webhook, &[&old.url]));
    daemon.see(-20, &[("a.example", Severity::Warning)]);
    old.next().await;
    daemon.alerts.apply(&plan(SendTo::Webhook, &[&old.url, &new.url]));
    assert_eq!(new.next().await.body["status"], "firing");
    daemon.alerts.apply(&Plan::empty());
    daemon.see(0, &[]);
    assert_eq!(daemon.journal, [], "and where nobody is told, nothing is kept");
    daemon.alerts.close().await;
    assert!(old.posts.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_trusted_by_the_ca_file_alone() {
    let server = TlsServer::start();
    for (ca_file, expected) in [(None, (0, 1)), (Some(server.certificate()), (1, 0))] {
        let mut plan = plan(SendTo::Webhook, &[&server.url]);
        plan.alert.ca_file = ca_file;
        let mut daemon = Daemon::start(&plan);
        daemon.see(0, &[("a.example", Severity::Warning)]);
        until("it ended", || match daemon.stats.alerts() {
            counts if counts == expected => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

/// The alerts of a daemon, and the journal that they would be in.
struct Daemon {
    alerts: Alerts,
    stats: Arc<Stats>,
    clock: Clock,
    journal: Vec<(FindingId, String)>,
}

impl Daemon {
    fn start(plan: &Plan) -> Self {
        Self::restart(plan, &[])
    }

    fn restart(plan: &Plan, journal: &[(FindingId, String)]) -> Self {
        let (stats, clock) = (Stats::new(), Clock::start());
        let alerts = Alerts::start(plan, journal, stats.clone(), clock);
        Self { alerts, stats, clock, journal: journal.to_vec() }
    }

    /// An audit so many seconds from now: these hosts are down.
    fn see(&mut self, seconds: i64, hosts: &[(&str, Severity)]) {
        let findings = hosts.iter().map(|(host, severity)| Arc::new(down(host, *severity)));
        let at = self.clock.now() + SignedDuration::from_secs(seconds);
        for entry in self.alerts.observe(&snapshot(at, findings.collect())) {
            let Entry::Alert { id, state } = entry else { panic!("{entry:?}") };
            self.journal.retain(|(known, _)| *known != id);
            self.journal.extend(state.map(|state| (id, state)));
        }
    }
}

/// At once, and gone after two intervals of one second.
fn plan(send_to: SendTo, urls: &[&str]) -> Plan {
    Plan {
        vantage: Some("hq".into()),
        interval: Duration::from_secs(1),
        alert: AlertSettings {
            send_to,
            urls: urls.iter().map(|url| ReceiverUrl::new(url)).collect(),
            after: Duration::ZERO,
            ..AlertSettings::default()
        },
        web: WebSettings {
            external_url: "https://kmswatch.example".to_owned(),
            ..WebSettings::default()
        },
        ..Plan::empty()
    }
}

fn down(target: &str, severity: Severity) -> Finding {
    let host = Host { target: Name::parse(target).expect("a name"), port: 1688 };
    let subject = Subject::Host(host);
    Finding {
        id: FindingId::new(Check::HostDown, &subject, ""),
        check: Check::HostDown,
        severity,
        state: FindingState::Active,
        suppressed_by: None,
        subject,
        resolver: None,
        domains: Vec::new(),
        since: None,
        message: format!("{target} is down"),
        evidence: serde_json::Map::new(),
        client_error: None,
        remedy: String::new(),
        labels: Labels::new([("site".to_owned(), "berlin".to_owned())].into()),
    }
}

fn snapshot(at: Timestamp, findings: Vec<Arc<Finding>>) -> Snapshot {
    let snapshot = Snapshot {
        vantage: None,
        generation: 1,
        started: at,
        at,
        status: Status::Ok,
        domains: Vec::new(),
        hosts: Vec::new(),
        profiles: Vec::new(),
        findings: Vec::new(),
        departed: Vec::new(),
        summary: Summary::default(),
        journal: None,
    };
    snapshot.with_findings(findings)
}

/// What a receiver got.
#[derive(Debug)]
struct Post {
    path: String,
    token: String,
    body: Value,
}

/// A receiver on loopback.
struct Hook {
    url: String,
    posts: mpsc::UnboundedReceiver<Post>,
}

type Judge = Arc<dyn Fn(&Value) -> StatusCode + Send + Sync>;

impl Hook {
    /// Answers each post as told.
    async fn start(judge: impl Fn(&Value) -> StatusCode + Send + Sync + 'static) -> Self {
        let (told, posts) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let judge: Judge = Arc::new(judge);
        let router = Router::new().fallback(take).with_state((told, judge));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, posts }
    }

    async fn next(&mut self) -> Post {
        timeout(PATIENCE, self.posts.recv()).await.expect("in time").expect("it goes on")
    }
}

async fn take(
    State((told, judge)): State<(mpsc::UnboundedSender<Post>, Judge)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let token = headers.get("authorization").and_then(|token| token.to_str().ok());
    let status = judge(&body);
    let post = Post { path: uri.to_string(), token: token.unwrap_or_default().to_owned(), body };
    let _ = told.send(post);
    status
}

/// Python's web server behind TLS, with a certificate of its own making.
struct TlsServer {
    url: String,
    child: Child,
    folder: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
                       -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
                       -keyout key.pem -out cert.pem";
        let made = Command::new("openssl")
            .args(openssl.split_whitespace())
            .current_dir(&folder)
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl").success());
        let mut child = Command::new("python3")
            .args(["-u", "-c", SERVER])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python");
        let mut port = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut stdout, &mut port).expect("it says its port");
        Self { url: format!("https://127.0.0.1:{}", port.trim()), child, folder }
    }

    fn certificate(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "cert.pem")
    }
}

const SERVER: &str = r#"
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port)
server.serve_forever()
"#;

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
async fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => panic!("{what}: not in time: {last}"),
            Err(_) => sleep(Duration::from_millis(25)).await,
        }
    }
}
