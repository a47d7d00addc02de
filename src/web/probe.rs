//! `/probe`: one domain is observed now, and its families of metrics are the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ProbeRequest;
use super::routes::{App, METRICS_TYPE, error};
use crate::metrics;
use crate::model::{Name, Snapshot};

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Waits until everything of the domain was observed; 400 with what to write for a wrong question,
/// 504 where the scraper would not wait that long.
pub(super) async fn probe(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    let asked = parameters.map_err(|wrong| wrong.to_string());
    let (domain, server) = match asked.and_then(|Query(pairs)| question(pairs)) {
        Ok(question) => question,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    match timeout(patience(&headers), observed(&app, domain, server)).await {
        Ok(Some(Ok(snapshot))) => (METRICS_TYPE, metrics::estate(&snapshot)).into_response(),
        Ok(Some(Err(wrong))) => error(StatusCode::BAD_REQUEST, &wrong),
        Ok(None) => {
            error(StatusCode::SERVICE_UNAVAILABLE, "the config was reloaded meanwhile; ask again")
        }
        Err(_) => error(
            StatusCode::GATEWAY_TIMEOUT,
            "the lookups and probes did not end in time; allow more (scrape_timeout), or let each \
             take less ([dns] timeout and attempts, [probe] timeout)",
        ),
    }
}

/// `None`: whoever observes has dropped the question.
async fn observed(
    app: &App,
    domain: Name,
    server: Option<String>,
) -> Option<Result<Snapshot, String>> {
    let _held = app.probes.acquire().await.ok()?;
    let (reply, answer) = oneshot::channel();
    app.site.probe.send(ProbeRequest { domain, server, reply }).await.ok()?;
    answer.await.ok()
}

fn question(pairs: Vec<(String, String)>) -> Result<(Name, Option<String>), String> {
    const USAGE: &str =
        "write /probe?domain=contoso.com, or /probe?domain=contoso.com&server=10.0.0.53";
    let (mut domain, mut server) = (None, None);
    for (key, value) in pairs {
        let place = match key.as_str() {
            "domain" => &mut domain,
            "server" => &mut server,
            _ => {
                let key: String = key.chars().take(80).collect();
                return Err(format!("{key:?} is nothing that a probe knows; {USAGE}"));
            }
        };
        if place.replace(value).is_some() {
            return Err(format!("{key} is given twice; {USAGE}"));
        }
    }
    let domain = domain.ok_or_else(|| format!("no domain is given; {USAGE}"))?;
    Ok((Name::parse_domain(&domain).map_err(|wrong| wrong.to_string())?, server))
}

/// What the scraper waits, and a little less, so that it sees the answer.
fn patience(headers: &HeaderMap) -> Duration {
    let told = headers.get("x-prometheus-scrape-timeout-seconds");
    let told = told.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let seconds: f64 = told.filter(|seconds| *seconds > 0.0).unwrap_or(UNTOLD);
    // What is too large for a duration is cut as well.
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST);
    whole.saturating_sub(MARGIN).max(whole / 2)
}

/// Seconds; every lookup and probe ends by itself, usually long before.
const UNTOLD: f64 = 30.0;
/// Nobody waits longer.
const LONGEST: Duration = Duration::from_mins(2);
/// For the way back, as `blackbox_exporter` has it.
const MARGIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrapers_patience_is_honoured_less_a_margin() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            let name = "x-prometheus-scrape-timeout-seconds";
            headers.insert(name, value.parse().expect("a header"));
            patience(&headers).as_secs_f64()
        };
        let near = |value: &str, expected: f64| (of(value) - expected).abs() < 1e-6;
        for (value, expected) in
            [("10", 9.5), ("2.5", 2.0), ("0.6", 0.3), ("1e9", 119.5), ("inf", 119.5)]
        {
            assert!(near(value, expected), "{value}: {}", of(value));
        }
        for nonsense in ["", "soon", "-1", "0", "NaN", "-inf"] {
            assert!(near(nonsense, UNTOLD - 0.5), "{nonsense}: {}", of(nonsense));
        }
        assert!((patience(&HeaderMap::new()).as_secs_f64() - 29.5).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_question_is_told_how_to_ask() {
        let ask = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            question(owned.collect()).map(|(domain, server)| (domain.to_string(), server))
        };
        let (east, server) = (("domain", "East.test."), ("server", "10.0.0.53"));
        assert_eq!(ask(&[east]), Ok(("east.test".to_owned(), None)));
        let both = Ok(("east.test".to_owned(), Some("10.0.0.53".to_owned())));
        assert_eq!(ask(&[server, east]), both);
        for wrong in [&[][..], &[server], &[east, east], &[east, ("sever", "x")]] {
            let told = ask(wrong).expect_err("no question");
            assert!(told.contains("; write /probe?domain=contoso.com"), "{told}");
        }
        assert!(ask(&[("domain", "a..b")]).is_err());
    }
}
