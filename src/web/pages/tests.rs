//! What the pages show, as served.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::query::Query;
use super::serve::Look;
use super::{domain, domains};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::FindingState;
use crate::model::journal::{Entry, JournalCondition};
use crate::model::plan::JournalSettings;
use crate::report::fixture;
use crate::web::tests::{Served, served};

async fn troubled() -> Served {
    served(Some(fixture::troubled())).await
}

#[tokio::test]
async fn the_front_page_says_how_it_stands_and_leads_everywhere() {
    let reply = troubled().await.get("/").await;
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    let text = reply.text();
    assert!(text.contains("3 of 5 domains have trouble: "), "{text}");
    assert!(text.contains("<html lang=\"en\" data-status=\"critical\""), "{text}");
    let first = text.find("data-domain=\"berlin.example\" data-status=\"critical\"");
    let last = text.find("data-domain=\"east.example\" data-status=\"ok\"");
    assert!(first.is_some() && first < last, "the worst first: {text}");
    for link in ["./hosts", "./findings", "./profiles", "./journal", "domains/berlin.example"] {
        assert!(text.contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[tokio::test]
async fn each_view_has_a_strict_policy_and_its_json_beside_it() {
    let served = troubled().await;
    for (path, json) in [
        ("/", "./api/v1/domains"),
        ("/hosts", "./api/v1/hosts"),
        ("/findings", "./api/v1/findings"),
        ("/profiles", "./api/v1/profiles"),
        ("/journal", "./api/v1/journal?limit=100"),
        ("/domains/berlin.example", "../api/v1/domains/berlin.example"),
    ] {
        let page = served.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text().contains(&format!("href=\"{json}\"")), "{path}: {}", page.text());
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(served.get(json.trim_start_matches('.')).await.status, 200, "{json}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_words() {
    let served = troubled().await;
    let long = format!("/findings?q={}", "x".repeat(10_000));
    for (path, words) in [
        (&*long, "q has 10000 characters; write at most 256"),
        ("/?status=bad", "write ok, info, warning, critical"),
        ("/?page=x", "write a number from 1"),
        ("/hosts?q=a&q=b", "q is given twice"),
        ("/profiles?q=a", "it takes no parameters"),
        ("/journal?kind=x", "no kind of event"),
        ("/journal?limit=0", "limit"),
        ("/domains/berlin.example?x=%3Cb%3E", "it takes no parameters"),
    ] {
        let page = served.get(path).await;
        assert_eq!(page.status, 400, "{path:.60}");
        assert!(page.text().contains(words), "{path:.60}: {}", page.text());
        assert!(!page.text().contains("<b>"), "{path:.60}");
    }
}

#[tokio::test]
async fn a_refusal_is_as_old_as_the_audit() {
    // Else the script, which compares the two, would ask for it again each second.
    let snapshot = fixture::troubled();
    let at = snapshot.at.as_millisecond();
    let served = served(Some(snapshot)).await;
    for path in ["/domains/nope.example", "/?status=bad", "/journal?kind=x"] {
        let page = served.get(path).await;
        assert!(page.text().contains(&format!("data-at=\"{at}\"")), "{path}: {}", page.text());
    }
}

#[tokio::test]
async fn markup_from_anywhere_is_text() {
    let mut snapshot = fixture::troubled();
    let finding = Arc::make_mut(&mut snapshot.findings[0]);
    finding.message = "<script>alert(1)</script> \u{202e}hidden".to_owned();
    let served = served(Some(snapshot)).await;
    for path in ["/", "/findings", "/findings?q=%3Cscript%3E", "/domains/berlin.example"] {
        let page = served.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text().contains("<script>alert"), "{path}");
        assert!(!page.text().contains('\u{202e}'), "{path}");
    }
    for name in ["%3Cb%3E", "..%2F", "nope.example", "%FF"] {
        let page = served.get(&format!("/domains/{name}")).await;
        assert_eq!(page.status, 404, "{name}");
        assert!(!page.text().contains("<b>"));
        assert_eq!(served.get(&format!("/badge/{name}.svg")).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_badge_says_the_status_in_words() {
    let served = troubled().await;
    for (name, words) in [
        ("berlin.example", "✘ critical"),
        ("east.example", "✔ ok, 2 of 2 up"),
        ("south.example", "✘ critical, 0 of 1 up"),
    ] {
        let badge = served.get(&format!("/badge/{name}.svg")).await;
        assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
        assert!(badge.text().contains(words), "{}", badge.text());
    }
}

#[tokio::test]
async fn filters_leave_what_fits() {
    let served = troubled().await;
    let shown = async |path: &str, attribute: &str| {
        let page = served.get(path).await;
        let rows = page.text().matches(attribute).count();
        (page.status, rows)
    };
    assert_eq!(shown("/?status=critical", "<tr data-domain").await, (200, 3));
    assert_eq!(shown("/?q=EAST", "<tr data-domain").await, (200, 2), "by domain or host");
    assert_eq!(shown("/?q=zzz", "<tr data-domain").await, (200, 0));
    assert_eq!(shown("/hosts?status=down", "<tr data-host").await, (200, 1));
    assert_eq!(shown("/findings", "<article class=\"finding").await, (200, 3));
    assert_eq!(shown("/findings?severity=info", "<article class=\"finding").await, (200, 1));
    assert_eq!(shown("/findings?state=suppressed", "<article class=\"finding").await, (200, 2));
}

#[tokio::test]
async fn each_count_leads_to_as_many_findings() {
    let mut snapshot = fixture::troubled();
    // What is known does not count.
    let known = snapshot.findings.iter().position(|one| one.is_active()).expect("one");
    Arc::make_mut(&mut snapshot.findings[known]).state = FindingState::Acknowledged;
    let findings = std::mem::take(&mut snapshot.findings);
    let snapshot = snapshot.with_findings(findings);
    let summary = snapshot.summary;
    let served = served(Some(snapshot)).await;
    let front = served.get("/").await;
    for (severity, count) in
        [("critical", summary.critical), ("warning", summary.warning), ("info", summary.info)]
    {
        let link = format!("findings?severity={severity}&amp;state=active");
        assert!(front.text().contains(&format!("href=\"{link}\">{count} {severity}")), "{link}");
        let page = served.get(&format!("/{}", link.replace("amp;", ""))).await;
        assert_eq!(page.text().matches("<article class=\"finding").count(), count, "{severity}");
    }
}

#[test]
fn a_journal_that_cannot_be_read_is_no_past() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.db");
    let clock = Clock::start();
    let settings = JournalSettings { path: Some(path.clone()), ..JournalSettings::default() };
    let (journal, _) = Journal::open(&settings, clock).expect("a journal");
    let snapshot = fixture::troubled();
    let query = Query::parse(b"", &[]).expect("nothing is asked");
    let shown = || {
        let look = Look { snapshot: &snapshot, journal: &journal, query: &query, now: snapshot.at };
        [domains::render(&look), domain::render(&look, "berlin.example")].map(Result::unwrap)
    };
    for page in shown() {
        assert!(
            page.contains("aria-label=\"Last 24 h: critical") && !page.contains("cannot be read"),
            "{page}"
        );
    }
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder in its place");
    for page in shown() {
        assert!(
            page.contains("The journal cannot be read: ") && !page.contains("aria-label=\"Last")
        );
        assert!(!page.contains("Nothing has changed"), "{page}");
    }
    // What the writer sees then is told, and what is in memory is not taken for all that ever was.
    journal.record([Entry::Watched(snapshot.at)]);
    let given_up = Instant::now() + Duration::from_secs(20);
    while !matches!(journal.condition(), JournalCondition::Degraded { .. }) {
        assert!(Instant::now() < given_up, "it cannot be written");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    for page in shown() {
        assert!(page.contains("aria-label=\"Last 24 h: not watched\""), "{page}");
    }
}

#[test]
fn of_many_servers_those_that_differ_are_shown() {
    let mut snapshot = fixture::troubled();
    let place = snapshot
        .domains
        .iter()
        .position(|entry| entry.view.answers.iter().any(|one| !one.answer.records.is_empty()));
    let entry = &mut snapshot.domains[place.expect("one with records")];
    let name = entry.view.domain.name.to_string();
    let view = Arc::get_mut(&mut entry.view).expect("not shared yet");
    let one = view.answers.iter().find(|one| !one.answer.records.is_empty()).expect("one").clone();
    view.answers = vec![one; 300];
    Arc::make_mut(&mut view.answers[299].answer).records.clear();
    let (journal, _) =
        Journal::open(&JournalSettings::default(), Clock::start()).expect("in memory");
    let query = Query::parse(b"", &[]).expect("nothing is asked");
    let look = Look { snapshot: &snapshot, journal: &journal, query: &query, now: snapshot.at };
    let page = domain::render(&look, &name).expect("it is configured");
    assert!(page.contains("marked ≠; 24 of 300 servers, first those that differ"), "{page}");
    let matrix = page.split("<table class=\"matrix\">").nth(1).expect("it is there");
    assert_eq!(
        matrix.split("<tbody>").next().expect("a head").matches("scope=\"col\"").count(),
        25
    );
    let cell = matrix.find("<td class=\"differs\">≠ absent").expect("it differs");
    assert!(matrix[..cell].matches("<tr").count() == 3, "first in the first row: {matrix}");
}

#[tokio::test]
async fn proxies_are_told_to_pass_events_on_at_once() {
    let reply = troubled().await.ask("HEAD", "/api/v1/events", "").await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
}

#[tokio::test]
async fn assets_are_known_again() {
    let served = troubled().await;
    for name in ["style.css", "page.js", "ok.svg", "critical.svg", "unknown.svg"] {
        let path = format!("/assets/{name}");
        let reply = served.get(&path).await;
        let tag = reply.header("etag").expect("a tag").to_owned();
        assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-cache")));
        let again = served.ask("GET", &path, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    assert_eq!(served.get("/assets/none.css").await.status, 404);
}
