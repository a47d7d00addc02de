//! PURE. What is posted to a webhook: the payload that Alertmanager posts (version 4), one message a
//! finding.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::notice::{Alert, FINDING};

/// After so long it is told again what fires, as Alertmanager does.
pub(super) const REPEAT: Duration = Duration::from_hours(4);

/// The body that tells of these alerts, all of one finding.
pub(super) fn body(alerts: &[Arc<Alert>], external_url: &str) -> Vec<u8> {
    let labels = || alerts.iter().map(|alert| &alert.labels);
    let common_labels = common(labels());
    let group: BTreeMap<&str, &str> = common_labels
        .iter()
        .filter(|(name, _)| GROUP.contains(name))
        .map(|(n, v)| (*n, *v))
        .collect();
    let matchers: Vec<String> =
        group.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let message = Message {
        version: "4",
        group_key: format!("{{}}:{{{}}}", matchers.join(", ")),
        truncated_alerts: 0,
        status: status(alerts.iter().all(|alert| alert.ends_at.is_some())),
        receiver: "kmswatch",
        group_labels: group,
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        common_labels,
        external_url,
        alerts: alerts.iter().map(|alert| Posted::from(&**alert)).collect(),
    };
    // Keys are texts, and memory takes every byte.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// What messages are grouped by: those of a finding whose severity changed are one.
const GROUP: [&str; 2] = ["alertname", FINDING];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'static str,
    group_labels: BTreeMap<&'a str, &'a str>,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Posted<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: Timestamp,
    /// Year 1 while it fires: Go's zero, as Alertmanager writes it.
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

impl<'a> From<&'a Alert> for Posted<'a> {
    fn from(alert: &'a Alert) -> Self {
        let zero = || "0001-01-01T00:00:00Z".to_owned();
        Self {
            status: status(alert.ends_at.is_some()),
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at.map_or_else(zero, |at| at.to_string()),
            generator_url: alert.link().unwrap_or_default(),
            fingerprint: alert.fingerprint().to_string(),
        }
    }
}

fn status(is_resolved: bool) -> &'static str {
    if is_resolved { "resolved" } else { "firing" }
}

/// What all of them say.
fn common<'a>(
    mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<&'a str, &'a str> {
    let first = maps.next().into_iter().flatten();
    let mut common: BTreeMap<&str, &str> =
        first.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for map in maps {
        common.retain(|name, value| map.get(*name).is_some_and(|other| other == value));
    }
    common
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_message_is_that_of_alertmanager() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let alert = |severity, end: Option<&str>| {
            Arc::new(Alert {
                labels: map(&[
                    ("alertname", "host-down"),
                    ("finding", "f-1"),
                    ("severity", severity),
                ]),
                annotations: map(&[("summary", "down"), ("since", severity)]),
                starts_at: "2026-03-01T12:00:00Z".parse().expect("a time"),
                ends_at: end.map(|text| text.parse().expect("a time")),
            })
        };
        let told = [alert("warning", Some("2026-03-01T12:05:00Z")), alert("critical", None)];
        let message: Value = serde_json::from_slice(&body(&told, "https://k")).expect("JSON");
        let [warning, critical] = told.map(|alert| alert.fingerprint().to_string());
        let labels =
            |severity| json!({ "alertname": "host-down", "finding": "f-1", "severity": severity });
        let expected = json!({
            "version": "4", "groupKey": "{}:{alertname=\"host-down\", finding=\"f-1\"}",
            "truncatedAlerts": 0, "status": "firing", "receiver": "kmswatch",
            "groupLabels": { "alertname": "host-down", "finding": "f-1" },
            "commonLabels": { "alertname": "host-down", "finding": "f-1" },
            "commonAnnotations": { "summary": "down" }, "externalURL": "https://k",
            "alerts": [
                { "status": "resolved", "labels": labels("warning"),
                  "annotations": { "summary": "down", "since": "warning" },
                  "startsAt": "2026-03-01T12:00:00Z", "endsAt": "2026-03-01T12:05:00Z",
                  "generatorURL": "", "fingerprint": warning },
                { "status": "firing", "labels": labels("critical"),
                  "annotations": { "summary": "down", "since": "critical" },
                  "startsAt": "2026-03-01T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
                  "generatorURL": "", "fingerprint": critical },
            ],
        });
        assert_eq!(message, expected);
    }
}
