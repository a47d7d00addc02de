//! `/api/v1/events`: tells whoever listens that something changed which people see, as server-sent events
//! (HTML Standard, section 9.2). What was merely measured anew is no event.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::connection::Guest;
use super::routes::{App, error};
use crate::model::snapshot::{AnswerView, DomainEntry, EndpointView, HostView};
use crate::model::{Finding, Snapshot, Status};
use crate::report;

/// The latest event, for everybody who listens.
pub(super) struct Events {
    latest: watch::Receiver<Option<Arc<Told>>>,
}

/// An event, made once for all.
#[derive(Debug)]
struct Told {
    /// When what people see changed last.
    changed: Timestamp,
    text: String,
}

/// An event as JSON.
#[derive(Serialize)]
struct Content<'a> {
    /// When what people see changed last, as far as is known: a page that is older is out of date.
    changed: Timestamp,
    /// The audit's.
    generation: u64,
    status: Status,
    verdict: String,
    /// What changed since the event before: at most [`MOST_NAMED`] of each; none in the first.
    domains: Vec<&'a str>,
    hosts: Vec<String>,
    findings: Vec<&'a str>,
}

/// More are not listed: whoever shows so many asks for them.
const MOST_NAMED: usize = 100;
/// So that a dead connection is noticed, and no proxy between closes a quiet one.
const STILL_THERE: Duration = Duration::from_secs(15);
/// Else nginx, as it comes, keeps events until they fill a buffer.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");
/// After so long a browser connects again.
const RETRY: Duration = Duration::from_secs(3);

/// Sends the latest event, and then each as it comes.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    ConnectInfo(guest): ConnectInfo<Guest>,
) -> Response {
    if !guest.seat.listen() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = error(status, "too many listen already");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    }
    let stream = told(app.events.latest.clone(), app.snapshot());
    let events = Sse::new(stream).keep_alive(KeepAlive::new().interval(STILL_THERE));
    ([UNBUFFERED], events).into_response()
}

/// Ends when the server does. While nobody listened nobody looked what changes: then it begins with how
/// things are.
fn told(
    mut latest: watch::Receiver<Option<Arc<Told>>>,
    snapshot: Option<Arc<Snapshot>>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let as_it_is = || snapshot.map(|snapshot| Arc::new(Told::of(&snapshot, &Changes::default())));
    let known = latest.borrow_and_update().clone();
    let first = known.or_else(as_it_is);
    stream::unfold((latest, first), async |(mut latest, mut next)| {
        while next.is_none() {
            latest.changed().await.ok()?;
            next.clone_from(&latest.borrow_and_update());
        }
        let told = next?;
        let event = Event::default().event("changed").retry(RETRY);
        let id = told.changed.as_millisecond().to_string();
        Some((Ok(event.id(id).data(&told.text)), (latest, None)))
    })
}

impl Events {
    /// Follows the snapshots until `stop` says so or is dropped.
    pub(super) fn start(
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (sender, latest) = watch::channel(None);
        tokio::spawn(follow(snapshots, stop, sender));
        Self { latest }
    }
}

async fn follow(
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    mut stop: watch::Receiver<bool>,
    latest: watch::Sender<Option<Arc<Told>>>,
) {
    let mut before: Option<Arc<Snapshot>> = None;
    snapshots.mark_changed();
    loop {
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|is_told| *is_told) => return,
        }
        let Some(after) = snapshots.borrow_and_update().clone() else { continue };
        // One is the owner's: what nobody hears of needs not be known.
        if latest.receiver_count() <= 1 {
            before = Some(after);
            latest.send_if_modified(|told| told.take().is_some());
            continue;
        }
        let changes = before.as_deref().map(|before| Changes::between(before, &after));
        if changes.as_ref().is_none_or(|changes| !changes.is_empty()) {
            latest.send_replace(Some(Arc::new(Told::of(&after, &changes.unwrap_or_default()))));
        }
        before = Some(after);
    }
}

impl Told {
    fn of(snapshot: &Snapshot, changes: &Changes) -> Self {
        let content = Content {
            changed: snapshot.at,
            generation: snapshot.generation,
            status: snapshot.status,
            verdict: report::verdict(snapshot),
            domains: names(&changes.domains, |entry| entry.view.domain.name.as_str()),
            hosts: names(&changes.hosts, |view| view.host.to_string()),
            findings: names(&changes.findings, |finding| finding.id.as_str()),
        };
        // A line: JSON escapes line feeds.
        let text = serde_json::to_string(&content).unwrap_or_default();
        Self { changed: snapshot.at, text }
    }
}

fn names<'a, T: ?Sized, N>(all: &[&'a T], name: impl Fn(&'a T) -> N) -> Vec<N> {
    all.iter().take(MOST_NAMED).map(|one| name(one)).collect()
}

/// What people see differently in a later snapshot. What is gone stands as it was.
#[derive(Default)]
struct Changes<'a> {
    domains: Vec<&'a DomainEntry>,
    hosts: Vec<&'a HostView>,
    findings: Vec<&'a Finding>,
    /// Profiles, or how the journal is.
    others: bool,
}

impl<'a> Changes<'a> {
    fn between(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let domains = differing(
            before.domains.iter(),
            after.domains.iter(),
            // Nearly all are those of before: their names are not looked at.
            |one, other| match Arc::ptr_eq(&one.view, &other.view) {
                true => std::cmp::Ordering::Equal,
                false => one.view.domain.name.cmp(&other.view.domain.name),
            },
            is_same_domain,
        );
        let hosts = differing(
            before.hosts.iter(),
            after.hosts.iter(),
            |one, other| one.host.cmp(&other.host),
            |one, other| Arc::ptr_eq(one, other) || is_same_host(one, other),
        );
        let others = before.journal != after.journal
            || before.profiles.len() != after.profiles.len()
            || before.profiles.iter().zip(&after.profiles).any(|(one, other)| {
                (one.status, &one.view.windows, &one.view.office)
                    != (other.status, &other.view.windows, &other.view.office)
            });
        Self {
            domains,
            hosts: hosts.into_iter().map(|view| &**view).collect(),
            findings: findings(before, after),
            others,
        }
    }

    fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.hosts.is_empty() && self.findings.is_empty() && !self.others
    }
}

/// What of two sorted sequences stands in one alone, or not the same in both; the later where it is in both.
fn differing<'a, T>(
    before: impl Iterator<Item = &'a T>,
    after: impl Iterator<Item = &'a T>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    is_same: impl Fn(&T, &T) -> bool,
) -> Vec<&'a T> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    let mut differing = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(one), Some(other)) => order(one, other),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return differing,
        };
        match order {
            std::cmp::Ordering::Less => differing.extend(before.next()),
            std::cmp::Ordering::Greater => differing.extend(after.next()),
            std::cmp::Ordering::Equal => {
                let pair = before.next().zip(after.next());
                differing
                    .extend(pair.filter(|(one, other)| !is_same(one, other)).map(|pair| pair.1));
            }
        }
    }
}

/// But for times, which are measured anew each interval.
fn is_same_domain(one: &DomainEntry, other: &DomainEntry) -> bool {
    let (before, after) = (&*one.view, &*other.view);
    let is_same_past = || {
        let (before, after) = (&before.seen, &after.seen);
        let pairs = || before.iter().zip(after);
        before.len() == after.len()
            && pairs().all(|(one, other)| one.gone == other.gone && one.host == other.host)
    };
    let is_same_now = || {
        let (before, after) = (&before.answers, &after.answers);
        before.len() == after.len()
            && before.iter().zip(after).all(|(one, other)| is_same_answer(one, other))
    };
    one.status == other.status
        && (Arc::ptr_eq(&one.view, &other.view)
            || before.hosts == after.hosts
                && before.is_known == after.is_known
                && before.left_out == after.left_out
                && is_same_past()
                && is_same_now())
}

fn is_same_answer(one: &AnswerView, other: &AnswerView) -> bool {
    let (before, after) = (&one.answer, &other.answer);
    let pairs = || before.records.iter().zip(&after.records);
    Arc::ptr_eq(before, after)
        || before.outcome == after.outcome
            && one.upstream == other.upstream
            && before.records.len() == after.records.len()
            && pairs().all(|(one, other)| one.identity() == other.identity())
}

fn is_same_host(one: &HostView, other: &HostView) -> bool {
    let outcome = |view: &EndpointView| view.probe.as_ref().map(|probe| probe.outcome);
    let (before, after) = (&one.endpoints, &other.endpoints);
    one.status == other.status
        && one.domains == other.domains
        && before.len() == after.len()
        && before.iter().zip(after).all(|(one, other)| {
            one.address == other.address && one.path == other.path && outcome(one) == outcome(other)
        })
}

fn is_same_finding(one: &Finding, other: &Finding) -> bool {
    one.id == other.id
        && one.severity == other.severity
        && one.state == other.state
        && one.domains == other.domains
}

fn findings<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<&'a Finding> {
    let pairs = before.findings.iter().zip(&after.findings);
    let same =
        pairs.take_while(|(one, other)| Arc::ptr_eq(one, other) || is_same_finding(one, other));
    // Both are sorted alike, so nearly always all of them.
    let same = same.count();
    let (before, after) = (&before.findings[same..], &after.findings[same..]);
    let earlier: HashMap<_, _> = before.iter().map(|finding| (&finding.id, finding)).collect();
    let later: HashSet<_> = after.iter().map(|finding| &finding.id).collect();
    let new = after.iter().filter(|finding| {
        earlier.get(&finding.id).is_none_or(|earlier| !is_same_finding(earlier, finding))
    });
    let gone = before.iter().filter(|finding| !later.contains(&finding.id));
    new.chain(gone).map(|finding| &**finding).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::model::snapshot::HostStatus;
    use crate::model::{FindingState, LookupOutcome};
    use crate::report::fixture;
    use crate::web::tests::served;

    fn named(before: &Snapshot, after: &Snapshot) -> (Vec<String>, Vec<String>, usize, bool) {
        let changes = Changes::between(before, after);
        let domains = changes.domains.iter().map(|entry| entry.view.domain.name.to_string());
        let hosts = changes.hosts.iter().map(|view| view.host.to_string());
        (domains.collect(), hosts.collect(), changes.findings.len(), changes.others)
    }

    const NOTHING: (Vec<String>, Vec<String>, usize, bool) = (Vec::new(), Vec::new(), 0, false);

    fn domain(snapshot: &mut Snapshot, at: usize) -> &mut crate::model::snapshot::DomainView {
        Arc::get_mut(&mut snapshot.domains[at].view).expect("not shared")
    }

    #[test]
    fn what_is_merely_measured_anew_is_no_event() {
        let (before, mut after) = (fixture::troubled(), fixture::troubled());
        after.generation += 1;
        let view = domain(&mut after, 1);
        view.audited = fixture::time("2026-03-01T13:00:00Z");
        let answer = Arc::make_mut(&mut view.answers[0].answer);
        answer.rtt = Some(Duration::from_millis(77));
        answer.records.iter_mut().for_each(|record| record.ttl -= 1);
        let host = Arc::get_mut(&mut after.hosts[0]).expect("not shared");
        host.last_up = Some(fixture::time("2026-03-01T13:00:00Z"));
        let probe = host.endpoints[0].probe.as_mut().expect("probed");
        Arc::make_mut(probe).connect = Some(Duration::from_millis(55));
        assert_eq!(named(&before, &after), NOTHING);
    }

    #[test]
    fn what_people_see_is_named() {
        let before = fixture::troubled();
        let mut after = fixture::troubled();
        domain(&mut after, 1).hosts[0].live_share = 0.5;
        assert_eq!(named(&before, &after).0, ["east.example"]);
        let mut after = fixture::troubled();
        let answer = &mut domain(&mut after, 1).answers[0].answer;
        Arc::make_mut(answer).outcome = LookupOutcome::Timeout;
        assert_eq!(named(&before, &after).0, ["east.example"]);
        let mut after = fixture::troubled();
        Arc::get_mut(&mut after.hosts[0]).expect("not shared").status = HostStatus::Down;
        assert_eq!(named(&before, &after).1, ["kms-e1.east.example:1688"]);
        let mut after = fixture::troubled();
        Arc::make_mut(&mut after.findings[1]).state = FindingState::Acknowledged;
        assert_eq!(named(&before, &after), (Vec::new(), Vec::new(), 1, false));
    }

    #[test]
    fn what_came_and_what_left_is_named() {
        let (before, mut after) = (fixture::troubled(), fixture::troubled());
        after.domains.remove(0);
        after.hosts.remove(3);
        after.findings.remove(0);
        let expected = (
            vec!["berlin.example".to_owned()],
            vec!["kms-n2.north.example:1688".to_owned()],
            1,
            false,
        );
        assert_eq!(named(&before, &after), expected);
        assert_eq!(named(&after, &before), expected);
        assert!(named(&fixture::healthy(), &fixture::with_profiles()).3, "profiles came");
    }

    /// Reads until this many events came, or the stream ends.
    async fn read(stream: &mut TcpStream, events: usize) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.matches("\ndata: ").count() >= events && text.ends_with("\n\r\n") {
                return text;
            }
            let mut part = [0; 4096];
            match stream.read(&mut part).await.expect("it sends") {
                0 => return text,
                count => bytes.extend_from_slice(&part[..count]),
            }
        }
    }

    #[tokio::test]
    async fn whoever_listens_hears_of_changes_until_the_server_ends() {
        let served = served(Some(fixture::healthy())).await;
        let mut stream = TcpStream::connect(served.address).await.expect("it listens");
        stream
            .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("it reads");
        let first = read(&mut stream, 1).await;
        assert!(first.contains("content-type: text/event-stream"), "{first}");
        assert!(
            first.contains("event: changed\n") && first.contains("\"status\":\"ok\""),
            "{first}"
        );
        served.snapshots.send_replace(Some(Arc::new(fixture::healthy())));
        served.snapshots.send_replace(Some(Arc::new(fixture::troubled())));
        let second = read(&mut stream, 1).await;
        assert!(second.contains("\"status\":\"critical\""), "{second}");
        assert!(second.contains("\"berlin.example\""), "{second}");
        served.shutdown.send(()).expect("it serves");
        served.server.await.expect("no panic").expect("no error");
        assert_eq!(read(&mut stream, usize::MAX).await.matches("data:").count(), 0);
    }
}
