//! `/probe`: one domain is observed now, and its families of metrics are the answer.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ProbeRequest;
use super::question::{Question, patience};
use super::routes::{App, METRICS_TYPE, error};
use crate::metrics;
use crate::model::Snapshot;

/// Waits until everything of the domain was observed; 400 with what to write for a wrong question,
/// 504 where the scraper would not wait that long.
pub(super) async fn probe(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let question = match Question::parse(query.unwrap_or_default().as_bytes()) {
        Ok(question) => question,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    let told = headers.get("x-prometheus-scrape-timeout-seconds");
    let patience = patience(told.map(HeaderValue::as_bytes));
    match timeout(patience, observed(&app, question)).await {
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
async fn observed(app: &App, question: Question) -> Option<Result<Snapshot, String>> {
    let _held = app.probes.acquire().await.ok()?;
    let (reply, answer) = oneshot::channel();
    let Question { domain, server } = question;
    app.site.probe.send(ProbeRequest { domain, server, reply }).await.ok()?;
    answer.await.ok()
}
