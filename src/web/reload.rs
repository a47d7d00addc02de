//! `POST /-/reload`, for whoever sits at the machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::ReloadRequest;
use super::connection::Peer;
use super::routes::App;

/// Asks for a reload and tells what came of it: 200 with what changed, 422 with every error.
pub(super) async fn reload(
    State(app): State<Arc<App>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    if !is_from_this_machine(peer, &headers) {
        return (StatusCode::FORBIDDEN, REFUSAL.to_owned());
    }
    match tokio::time::timeout(LONGEST_RELOAD, ask(&app.site.reload)).await {
        Ok(Some(Ok(told))) => (StatusCode::OK, line(told)),
        Ok(Some(Err(errors))) => (StatusCode::UNPROCESSABLE_ENTITY, line(errors)),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "kmswatch is shutting down\n".to_owned()),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "still reloading; the log will tell\n".to_owned()),
    }
}

/// A loopback peer may be a proxy or a person's browser that some page drives; both give themselves
/// away by headers that command-line clients do not send.
fn is_from_this_machine(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let is_told = |name: &str| {
        name.starts_with("x-forwarded-")
            || ["origin", "sec-fetch-site", "forwarded", "via", "x-real-ip"].contains(&name)
    };
    peer.ip().to_canonical().is_loopback() && !headers.keys().any(|name| is_told(name.as_str()))
}

const REFUSAL: &str = "reload is for this machine only, not through a proxy or a browser; \
    there, run: systemctl reload kmswatch, or: kill -HUP PID, or: curl -X POST to /-/reload\n";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_reload() {
        let local: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
        let none = HeaderMap::new();
        assert!(is_from_this_machine(local, &none));
        assert!(is_from_this_machine("[::1]:1".parse().expect("an address"), &none));
        assert!(is_from_this_machine("[::ffff:127.0.0.1]:1".parse().expect("an address"), &none));
        assert!(!is_from_this_machine("10.0.0.1:1".parse().expect("an address"), &none));
        for name in
            ["Origin", "Sec-Fetch-Site", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"]
        {
            let mut headers = HeaderMap::new();
            let name: axum::http::HeaderName = name.parse().expect("a header name");
            headers.insert(name.clone(), "x".parse().expect("a header"));
            assert!(!is_from_this_machine(local, &headers), "{name}");
        }
    }
}
