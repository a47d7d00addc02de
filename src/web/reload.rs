//! `POST /-/reload`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::{mpsc, oneshot};

use super::ReloadRequest;
use super::routes::App;
use super::trust::Trusted;

/// Asks for a reload and tells what came of it: 200 with what changed, 422 with every error.
pub(super) async fn reload(caller: Trusted, State(app): State<Arc<App>>) -> (StatusCode, String) {
    tracing::info!("{} asks for a reload", caller.name);
    match tokio::time::timeout(LONGEST_RELOAD, ask(&app.site.reload)).await {
        Ok(Some(Ok(told))) => (StatusCode::OK, line(told)),
        Ok(Some(Err(errors))) => (StatusCode::UNPROCESSABLE_ENTITY, line(errors)),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "kmswatch is shutting down\n".to_owned()),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "still reloading; the log will tell\n".to_owned()),
    }
}

/// A config of 10,000 domains is read in well under a second.
const LONGEST_RELOAD: Duration = Duration::from_secs(30);

async fn ask(reload: &mpsc::Sender<ReloadRequest>) -> Option<Result<String, String>> {
    let (reply, answer) = oneshot::channel();
    reload.send(ReloadRequest { reply }).await.ok()?;
    answer.await.ok()
}

fn line(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
