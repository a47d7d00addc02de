//! The routes, and what each answers.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures_util::stream;
use tokio::sync::{Semaphore, watch};
use tokio::task::yield_now;

use super::connection::leave_in_time;
use super::pages::{self, View};
use super::{Site, acks, assets, encoding, events, journal, probe, reload};
use crate::metrics::{Encoding, Exposition, PerSnapshot, Scrape};
use crate::model::{Name, Snapshot};
use crate::report;

/// What the routes share.
pub(super) struct App {
    pub(super) site: Site,
    exposition: Exposition,
    documents: PerSnapshot<Documents>,
    renders: Arc<Semaphore>,
    pub(super) probes: Semaphore,
    pub(super) pages: PerSnapshot<pages::Made>,
    pub(super) events: events::Events,
}

/// Every path of the contract.
pub(super) fn router(site: Site, stop: watch::Receiver<bool>) -> Router {
    let app = App {
        exposition: Exposition::new(site.stats.clone()),
        documents: PerSnapshot::default(),
        renders: Arc::new(Semaphore::new(MOST_RENDERS)),
        probes: Semaphore::new(MOST_PROBES),
        pages: PerSnapshot::default(),
        events: events::Events::start(site.snapshots.clone(), stop),
        site,
    };
    Router::new()
        .route("/", pages::route(View::Domains))
        .route("/hosts", pages::route(View::Hosts))
        .route("/findings", pages::route(View::Findings))
        .route("/profiles", pages::route(View::Profiles))
        .route("/journal", pages::route(View::Journal))
        .route("/domains/{name}", get(pages::page))
        .route("/badge/{name}", get(pages::badge))
        .route("/assets/{name}", get(assets::asset))
        .route("/metrics", get(metrics))
        .route("/probe", get(probe::probe))
        .route("/sd", document_route(Document::Targets))
        .route("/api/v1/report", document_route(Document::Report))
        .route("/api/v1/domains", document_route(Document::Domains))
        .route("/api/v1/domains/{name}", get(domain))
        .route("/api/v1/hosts", document_route(Document::Hosts))
        .route("/api/v1/findings", document_route(Document::Findings))
        .route("/api/v1/profiles", document_route(Document::Profiles))
        .route("/api/v1/journal", get(journal::journal))
        .route("/api/v1/events", get(events::events))
        .route(
            "/api/v1/acks/{id}",
            put(acks::put).delete(acks::delete).layer(DefaultBodyLimit::max(acks::MOST_BODY)),
        )
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload::reload))
        .fallback(not_found)
        .layer(map_response(secured))
        .layer(from_fn(leave_in_time))
        .with_state(Arc::new(app))
}

/// Rendering a large estate takes a core; some must be left for observing.
const MOST_RENDERS: usize = 2;

/// Each that waits is looked at with every observation.
const MOST_PROBES: usize = 64;

/// The documents of one snapshot, as far as somebody asked for them.
#[derive(Default)]
struct Documents([OnceLock<Bytes>; 6]);

/// A JSON document of the whole estate.
#[derive(Debug, Clone, Copy)]
enum Document {
    Report,
    Domains,
    Hosts,
    Findings,
    Profiles,
    Targets,
}

impl Document {
    fn text(self, snapshot: &Snapshot) -> String {
        match self {
            Self::Report => report::json_text(&report::json(snapshot)),
            Self::Domains => report::json_text(&report::json_domains(snapshot)),
            Self::Hosts => report::json_text(&report::json_hosts(snapshot)),
            Self::Findings => report::json_text(&report::json_findings(snapshot)),
            Self::Profiles => report::json_text(&report::json_profiles(snapshot)),
            Self::Targets => report::json_text(&report::targets(snapshot)),
        }
    }
}

impl App {
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.site.snapshots.borrow().clone()
    }

    /// Renders away from the runtime's threads. A render ends even if its client leaves, and counts
    /// until then.
    pub(super) async fn rendered<T: Send + 'static>(
        self: &Arc<Self>,
        render: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StatusCode> {
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        let permit = self.renders.clone().acquire_owned().await.map_err(|_| internal)?;
        let app = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _held = permit;
            render(&app)
        });
        task.await.map_err(|_| internal)
    }
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, StatusCode> {
    let encoding = encoding::accepted(&headers);
    let render = move |app: &App| app.exposition.render(app.snapshot().as_ref(), encoding);
    let scrape = app.rendered(render).await?;
    let length = [(CONTENT_LENGTH, HeaderValue::from(scrape.length()))];
    let mut response =
        (METRICS_TYPE, [(VARY, "accept-encoding")], length, body_of(scrape)).into_response();
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// The pieces of a scrape, as its reader takes them. After each few others have their turn: who reads fast
/// would else keep one of the few threads for as long as the whole text takes.
fn body_of(scrape: Scrape) -> Body {
    let pieces = stream::unfold((scrape, 1), async |(mut scrape, taken)| {
        if taken % PIECES_A_TURN == 0 {
            yield_now().await;
        }
        let piece = Bytes::from_owner(scrape.next()?);
        Some((Ok::<_, Infallible>(piece), (scrape, taken + 1)))
    });
    Body::from_stream(pieces)
}

/// Together they take some 0.2 ms, and leave with one system call.
const PIECES_A_TURN: usize = 16;

pub(super) const METRICS_TYPE: [(HeaderName, &str); 1] =
    [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
pub(super) const JSON_TYPE: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

fn document_route(document: Document) -> axum::routing::MethodRouter<Arc<App>> {
    get(async move |State(app): State<Arc<App>>| {
        let Some(snapshot) = app.snapshot() else { return not_ready() };
        let text = app.rendered(move |app| {
            let documents = app.documents.of(&snapshot);
            let made = &documents.0[document as usize];
            made.get_or_init(|| document.text(&snapshot).into()).clone()
        });
        text.await
            .map_or_else(IntoResponse::into_response, |text| (JSON_TYPE, text).into_response())
    })
}

async fn domain(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    let Some(snapshot) = app.snapshot() else { return not_ready() };
    let Ok(Path(name)) = name else {
        return error(StatusCode::NOT_FOUND, "the domain's name is no UTF-8");
    };
    match Name::parse(&name) {
        Ok(name) => match report::json_domain(&snapshot, &name) {
            Some(domain) => (JSON_TYPE, report::json_text(&domain)).into_response(),
            None => error(StatusCode::NOT_FOUND, &format!("{name} is not configured")),
        },
        Err(wrong) => error(StatusCode::NOT_FOUND, &wrong.to_string()),
    }
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.snapshot().is_some() { "ready\n".into_response() } else { not_ready() }
}

pub(super) fn not_ready() -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "the first audit is under way");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

async fn not_found(uri: Uri) -> Response {
    error(StatusCode::NOT_FOUND, &format!("nothing is at {}; / says what there is", uri.path()))
}

pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let body = report::json_text(&serde_json::json!({ "error": message }));
    (status, JSON_TYPE, body).into_response()
}

/// Nothing is guessed or kept, and nothing runs or is loaded, unless the answer says what may be.
async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
