//! PURE. What is posted to Alertmanager's API version 2 (`POST /api/v2/alerts`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::notice::Alert;

/// After so long it is told again what fires, as Prometheus does.
pub(super) const RESEND: Duration = Duration::from_mins(1);
/// What is not told again ends by itself after so long: four times may be missed.
const ENDS_AFTER: SignedDuration = SignedDuration::from_mins(4);

/// Below an Alertmanager's own URL.
pub(super) const PATH: &str = "/api/v2/alerts";

/// The body that tells of these alerts at `now`.
pub(super) fn body(alerts: &[Arc<Alert>], now: Timestamp) -> Vec<u8> {
    let posted: Vec<Posted> = alerts.iter().map(|alert| Posted::of(alert, now)).collect();
    // Keys are texts, and memory takes every byte.
    serde_json::to_vec(&posted).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

impl<'a> Posted<'a> {
    fn of(alert: &'a Alert, now: Timestamp) -> Self {
        let silence = now.saturating_add(ENDS_AFTER).unwrap_or(Timestamp::MAX);
        Self {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at.unwrap_or(silence),
            generator_url: alert.link(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_fires_ends_unless_it_is_told_again() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let firing = Alert {
            labels: BTreeMap::from([("alertname".to_owned(), "host-down".to_owned())]),
            annotations: BTreeMap::from([("link".to_owned(), "https://k/findings?q=x".to_owned())]),
            starts_at: time("2026-03-01T12:00:00Z"),
            ends_at: None,
        };
        let over = Alert {
            annotations: BTreeMap::new(),
            ends_at: Some(time("2026-03-01T12:03:00Z")),
            ..firing.clone()
        };
        let body = body(&[firing, over].map(Arc::new), time("2026-03-01T12:10:00Z"));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let labels = json!({ "alertname": "host-down" });
        let expected = json!([
            { "labels": labels, "annotations": { "link": "https://k/findings?q=x" },
              "startsAt": "2026-03-01T12:00:00Z", "endsAt": "2026-03-01T12:14:00Z",
              "generatorURL": "https://k/findings?q=x" },
            { "labels": labels, "annotations": {},
              "startsAt": "2026-03-01T12:00:00Z", "endsAt": "2026-03-01T12:03:00Z" },
        ]);
        assert_eq!(body, expected);
    }
}
