//! The events of the journal: what each says in words, once, as lines for people and as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::text::{aligned, clean, listed};
use crate::model::Name;
use crate::model::finding::Evidence;
use crate::model::journal::{Event, EventKind};

/// What an event says, as one sentence without a full stop. Names in it may come from DNS.
pub fn event_message(event: &Event) -> String {
    let evidence = &event.evidence;
    let host = event.host.as_ref().map_or_else(|| "a host".to_owned(), ToString::to_string);
    let domain = event.domain.as_ref().map_or_else(|| "a domain".to_owned(), ToString::to_string);
    let servers = listed(&event.servers, MOST_SERVERS);
    let told = |name| value(evidence, name);
    let finding = || told("id").unwrap_or_else(|| "a finding".to_owned());
    match event.kind {
        EventKind::Appeared => {
            let first = told("first_seen").map(|at| format!("; first seen {at}"));
            let on = behind(" on ", &servers);
            let values = values(evidence, "priority", "weight").map(|them| format!(" ({them})"));
            join(format!("{host} appeared in {domain}"), [values, on, first])
        }
        EventKind::Vanished => {
            let last = told("last_seen").map(|at| format!("; last seen {at}"));
            join(format!("{host} vanished from {domain}"), [behind(" on ", &servers), last])
        }
        EventKind::Changed => {
            let now = values(evidence, "priority", "weight").map(|them| format!(": now {them}"));
            let was =
                values(evidence, "was_priority", "was_weight").map(|them| format!(", was {them}"));
            join(format!("{host} changed in {domain}"), [now, was])
        }
        EventKind::HostDown => join(format!("{host} answers no more"), [detail(evidence)]),
        EventKind::HostUp => join(format!("{host} answers again"), [detail(evidence)]),
        EventKind::ServerFailing => {
            join(format!("server {servers} gives no usable answer any more"), [detail(evidence)])
        }
        EventKind::ServerAnswering => join(format!("server {servers} answers again"), [None]),
        EventKind::Status => match (told("status"), told("was")) {
            (Some(status), None) => {
                format!("{domain} is watched from now on: its status is {status}")
            }
            (now, was) => {
                let now = now.map(|status| format!(": now {status}"));
                let was = was.map(|was| format!(", was {was}"));
                join(format!("the status of {domain} changed"), [now, was])
            }
        },
        EventKind::Reloaded => {
            let counts = told("domains").zip(told("resolvers"));
            let counts = counts
                .map(|(domains, resolvers)| format!(": domains {domains}, resolvers {resolvers}"));
            join("the config was taken over".to_owned(), [counts])
        }
        EventKind::Acknowledged => {
            let until = told("until").map(|at| format!(" until {at}"));
            let reason = told("reason").map(|reason| format!(": {reason}"));
            join(format!("{} was acknowledged", finding()), [until, reason])
        }
        EventKind::Unacknowledged => {
            format!("{} is not acknowledged any more", finding())
        }
        EventKind::Started => {
            let until = told("watched_until");
            let since = until.map(|at| format!("; it was not watching since {at}"));
            join("kmswatch started".to_owned(), [since])
        }
    }
}

/// Servers in a sentence; the JSON has them all.
const MOST_SERVERS: usize = 4;

/// The events as lines: when, what kind, what happened.
pub fn human_events(events: &[Event]) -> String {
    let row = |event: &Event| {
        let message = clean(&event_message(event)).into_owned();
        vec![moment(event.at), event.kind.to_string(), message]
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    aligned(&rows).into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// The events as a list of objects: `time`, `kind`, `domain`, `host`, `servers`, `evidence`, `message`.
pub fn json_events(events: &[Event]) -> impl Serialize {
    events.iter().map(EventJson::of).collect::<Vec<_>>()
}

#[derive(Serialize)]
struct EventJson<'a> {
    time: Timestamp,
    kind: EventKind,
    domain: Option<&'a str>,
    host: Option<String>,
    servers: Vec<&'a str>,
    evidence: &'a Evidence,
    message: String,
}

impl<'a> EventJson<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            time: event.at,
            kind: event.kind,
            domain: event.domain.as_ref().map(Name::as_str),
            host: event.host.as_ref().map(ToString::to_string),
            servers: event.servers.iter().map(|server| &**server).collect(),
            evidence: &event.evidence,
            message: event_message(event),
        }
    }
}

/// A time as people compare it: to the second, in UTC.
fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A value as it reads in a sentence; `None` where it says nothing.
fn value(evidence: &Evidence, name: &str) -> Option<String> {
    let text = match evidence.get(name)? {
        Value::Null => return None,
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(time) => moment(time),
            Err(_) => text.clone(),
        },
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

fn values(evidence: &Evidence, priority: &str, weight: &str) -> Option<String> {
    let (priority, weight) = (value(evidence, priority)?, value(evidence, weight)?);
    Some(format!("priority {priority}, weight {weight}"))
}

/// Why, where the evidence says so.
fn detail(evidence: &Evidence) -> Option<String> {
    let outcomes = evidence.get("endpoints").or_else(|| evidence.get("outcomes"))?.as_object()?;
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let told = outcomes.iter().map(|(of, value)| format!("{of} {}", plain(value)).into());
    behind(": ", &listed(&told.collect::<Vec<Arc<str>>>(), MOST_SERVERS))
}

fn behind(word: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("{word}{text}"))
}

fn join<const N: usize>(mut sentence: String, parts: [Option<String>; N]) -> String {
    for part in parts.into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = sentence.write_str(&part);
    }
    sentence
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Host;

    fn event(kind: EventKind, evidence: Value) -> Event {
        let Value::Object(evidence) = evidence else { panic!("no object: {evidence}") };
        let target = Name::parse("kms.contoso.com").expect("a name");
        Event {
            at: "2026-11-21T17:34:20.123Z".parse().expect("a time"),
            kind,
            domain: Some(Name::parse("contoso.com").expect("a name")),
            host: Some(Host { target, port: 1688 }),
            servers: vec!["10.0.0.53".into(), "tcp://10.0.0.54".into()],
            evidence,
        }
    }

    #[test]
    fn each_kind_reads_as_a_sentence_with_and_without_evidence() {
        let full = json!({
            "priority": 0, "weight": 10, "was_priority": 1, "was_weight": 2, "status": "critical",
            "was": "ok", "id": "host-down-1", "until": "2026-12-01T00:00:00Z", "reason": "moved",
            "endpoints": { "10.1.0.2": "refused", "10.1.0.3": "timeout" },
            "domains": 2, "resolvers": 1, "watched_until": "2026-11-20T00:00:00Z",
            "last_seen": "2026-11-21T17:33:20.000000001Z",
        });
        let said: Vec<[String; 2]> = EventKind::ALL
            .iter()
            .map(|kind| [full.clone(), json!({})].map(|with| event_message(&event(*kind, with))))
            .collect();
        let expected = [
            [
                "kms.contoso.com:1688 appeared in contoso.com (priority 0, weight 10) on 10.0.0.53 and tcp://10.0.0.54",
                "kms.contoso.com:1688 appeared in contoso.com on 10.0.0.53 and tcp://10.0.0.54",
            ],
            [
                "kms.contoso.com:1688 vanished from contoso.com on 10.0.0.53 and tcp://10.0.0.54; last seen 2026-11-21T17:33:20Z",
                "kms.contoso.com:1688 vanished from contoso.com on 10.0.0.53 and tcp://10.0.0.54",
            ],
            [
                "kms.contoso.com:1688 changed in contoso.com: now priority 0, weight 10, was priority 1, weight 2",
                "kms.contoso.com:1688 changed in contoso.com",
            ],
            [
                "kms.contoso.com:1688 answers no more: 10.1.0.2 refused and 10.1.0.3 timeout",
                "kms.contoso.com:1688 answers no more",
            ],
            [
                "kms.contoso.com:1688 answers again: 10.1.0.2 refused and 10.1.0.3 timeout",
                "kms.contoso.com:1688 answers again",
            ],
            [
                "server 10.0.0.53 and tcp://10.0.0.54 gives no usable answer any more: 10.1.0.2 refused and 10.1.0.3 timeout",
                "server 10.0.0.53 and tcp://10.0.0.54 gives no usable answer any more",
            ],
            [
                "server 10.0.0.53 and tcp://10.0.0.54 answers again",
                "server 10.0.0.53 and tcp://10.0.0.54 answers again",
            ],
            [
                "the status of contoso.com changed: now critical, was ok",
                "the status of contoso.com changed",
            ],
            ["the config was taken over: domains 2, resolvers 1", "the config was taken over"],
            [
                "host-down-1 was acknowledged until 2026-12-01T00:00:00Z: moved",
                "a finding was acknowledged",
            ],
            ["host-down-1 is not acknowledged any more", "a finding is not acknowledged any more"],
            [
                "kmswatch started; it was not watching since 2026-11-20T00:00:00Z",
                "kmswatch started",
            ],
        ];
        assert_eq!(said, expected.map(|pair| pair.map(str::to_owned)));
    }

    #[test]
    fn the_first_status_of_a_domain_is_no_change() {
        assert_eq!(
            event_message(&event(EventKind::Status, json!({ "status": "critical" }))),
            "contoso.com is watched from now on: its status is critical"
        );
    }

    #[test]
    fn lines_are_aligned_and_foreign_text_is_harmless() {
        let evil =
            event(EventKind::Acknowledged, json!({ "id": "x-1", "reason": "a\u{1b}[2Jb\n" }));
        let text = human_events(&[event(EventKind::HostUp, json!({})), evil]);
        assert_eq!(
            text,
            "2026-11-21T17:34:20Z  host-up       kms.contoso.com:1688 answers again\n\
             2026-11-21T17:34:20Z  acknowledged  x-1 was acknowledged: a\\u{1b}[2Jb\\n\n"
        );
        assert_eq!(human_events(&[]), "");
    }

    #[test]
    fn json_has_what_the_event_has() {
        let events = [event(EventKind::Vanished, json!({ "weight": 3 }))];
        let json = serde_json::to_value(json_events(&events)).expect("JSON");
        assert_eq!(
            json,
            json!([{
                "time": "2026-11-21T17:34:20.123Z", "kind": "vanished", "domain": "contoso.com",
                "host": "kms.contoso.com:1688", "servers": ["10.0.0.53", "tcp://10.0.0.54"],
                "evidence": { "weight": 3 },
                "message": "kms.contoso.com:1688 vanished from contoso.com on 10.0.0.53 and tcp://10.0.0.54",
            }])
        );
    }
}
