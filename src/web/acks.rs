//! `PUT` and `DELETE /api/v1/acks/ID`: a finding is known, or not any more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::routes::{App, JSON_TYPE, error};
use super::trust::Trusted;
use super::{AckRefusal, AckRequest, Say};
use crate::model::finding::FindingId;
use crate::model::moment::Moment;
use crate::report;

/// So long is what somebody says of a finding, at most, in bytes.
pub(super) const MOST_BODY: usize = 4096;

/// What is said of a finding.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    until: String,
    #[serde(default)]
    reason: Option<String>,
}

/// What holds of it then.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a FindingId,
    acknowledged_until: Option<Timestamp>,
}

/// 200 with until when; 400 for what cannot be read or is not to be, 404 where there is no such finding.
pub(super) async fn put(
    caller: Trusted,
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(wrong) => return error(wrong.status(), &format!("{}; {USAGE}", wrong.body_text())),
    };
    match read(&body) {
        Ok((until, reason)) => answer(&caller, &app, id, Say::Known { until, reason }).await,
        Err(wrong) => error(StatusCode::BAD_REQUEST, &wrong),
    }
}

/// 200; 404 where nobody said that it is known.
pub(super) async fn delete(
    caller: Trusted,
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    answer(&caller, &app, id, Say::NotKnown).await
}

fn read(body: &[u8]) -> Result<(Moment, Option<String>), String> {
    let said: Said = serde_json::from_slice(body).map_err(|wrong| format!("{wrong}; {USAGE}"))?;
    let until = Moment::parse(&said.until).map_err(|wrong| format!("until: {wrong}"))?;
    let reason = said.reason.map(|reason| reason.trim().to_owned());
    Ok((until, reason.filter(|reason| !reason.is_empty())))
}

const USAGE: &str = "send {\"until\": \"7d\", \"reason\": \"…\"}, of at most 4096 bytes";

async fn answer(
    caller: &Trusted,
    app: &App,
    id: Result<Path<String>, PathRejection>,
    say: Say,
) -> Response {
    let Ok(Path(id)) = id else {
        return error(StatusCode::NOT_FOUND, "the id is no UTF-8");
    };
    let id = FindingId::from_kept(&id);
    match tokio::time::timeout(PATIENCE, ask(app, id.clone(), say)).await {
        Ok(Some(Ok(acknowledged_until))) => {
            let what = if acknowledged_until.is_some() { "known" } else { "not known" };
            tracing::info!(%id, "{} says that this finding is {what}", caller.name);
            let told = Told { id: &id, acknowledged_until };
            (JSON_TYPE, report::json_text(&told)).into_response()
        }
        Ok(Some(Err(AckRefusal::NotFound(words)))) => error(StatusCode::NOT_FOUND, &words),
        Ok(Some(Err(AckRefusal::Wrong(words)))) => error(StatusCode::BAD_REQUEST, &words),
        Ok(Some(Err(AckRefusal::TooSoon))) => super::routes::not_ready(),
        Ok(None) => error(StatusCode::SERVICE_UNAVAILABLE, "kmswatch is shutting down"),
        Err(_) => error(StatusCode::GATEWAY_TIMEOUT, "kmswatch is busy; ask again"),
    }
}

/// The daemon is hardly ever busy for a second.
const PATIENCE: Duration = Duration::from_secs(10);

async fn ask(app: &App, id: FindingId, say: Say) -> Option<Result<Option<Timestamp>, AckRefusal>> {
    let (reply, answer) = oneshot::channel();
    app.site.acks.send(AckRequest { id, say, reply }).await.ok()?;
    answer.await.ok()
}
