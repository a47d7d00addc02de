//! How a page is made and sent: away from the runtime's threads, once a snapshot and address.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use askama::Template;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::query::{Parameter, Query};
use super::{Frame, Told, View, domain, domains, findings, hosts, journal, profiles};
use crate::journal::Journal;
use crate::metrics::Encoding;
use crate::model::Snapshot;
use crate::web::encoding;
use crate::web::routes::App;

/// What a page is made of.
pub(super) struct Look<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) journal: &'a Journal,
    pub(super) query: &'a Query,
    pub(super) now: Timestamp,
}

impl<'a> Look<'a> {
    pub(super) fn frame(&self, view: View) -> Frame<'a> {
        Frame::of(self.snapshot, view, self.now)
    }
}

/// A page, or the word that there is none: then what the page for that says.
pub(super) type Rendered = Result<String, Refusal>;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The question is wrong: what to write instead.
    Wrong(String),
    /// There is nothing of that name.
    NotThere(String),
    /// Something failed on our side.
    Failed(String),
}

impl From<askama::Error> for Refusal {
    fn from(error: askama::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The pages of one snapshot, as far as somebody looked at them.
#[derive(Default)]
pub(in crate::web) struct Made(Mutex<HashMap<String, Place>>);

type Place = Arc<OnceLock<Result<Body, Sent>>>;
type Sent = (StatusCode, String);

/// A page as it is sent.
#[derive(Debug)]
struct Body {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

/// So many pages of a snapshot are kept; a page more is made for whoever asks.
const MOST_KEPT: usize = 64;

/// A view of the estate: what it takes, and how it is made.
struct Page {
    parameters: &'static [Parameter],
    render: fn(&Look) -> Rendered,
}

/// The route of a view of the estate.
pub(in crate::web) fn route(view: View) -> MethodRouter<Arc<App>> {
    let page = match view {
        View::Domains | View::Other => {
            &Page { parameters: domains::TAKES, render: domains::render }
        }
        View::Hosts => &Page { parameters: hosts::TAKES, render: hosts::render },
        View::Findings => &Page { parameters: findings::TAKES, render: findings::render },
        View::Profiles => &Page { parameters: &[], render: profiles::render },
        View::Journal => &Page { parameters: journal::TAKES, render: journal::render },
    };
    get(async move |State(app): State<Arc<App>>, RawQuery(query): RawQuery, headers: HeaderMap| {
        let query = query.unwrap_or_default();
        let key = format!("{}?{query}", VIEW_KEYS[view as usize]);
        let render = page.render;
        answer(app, &headers, ".", key, &query, page.parameters, render).await
    })
}

/// Told apart in the cache.
const VIEW_KEYS: [&str; 6] = ["/", "/hosts", "/findings", "/profiles", "/journal", "/other"];

/// The page of one domain.
pub(in crate::web) async fn page(
    State(app): State<Arc<App>>,
    name: Result<axum::extract::Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let name = name.map_or_else(|_| String::new(), |axum::extract::Path(name)| name);
    let key = format!("/domains/{name}?{query}");
    answer(app, &headers, "..", key, &query, &[], move |look| domain::render(look, &name)).await
}

async fn answer(
    app: Arc<App>,
    headers: &HeaderMap,
    up: &'static str,
    key: String,
    query: &str,
    parameters: &'static [Parameter],
    render: impl FnOnce(&Look) -> Rendered + Send + 'static,
) -> Response {
    let now = app.site.clock.now();
    let Some(snapshot) = app.snapshot() else { return not_ready(up, now) };
    let at = Some(snapshot.at);
    // The script looks again when there is something newer.
    let refused = |status, message: &str| {
        told(status, Frame { at, ..Frame::bare(title_of(status), up, now) }, message)
    };
    let query = match Query::parse(query.as_bytes(), parameters) {
        Ok(query) => query,
        Err(wrong) => return refused(StatusCode::BAD_REQUEST, &wrong),
    };
    let encoding = encoding::accepted(headers);
    let made = app.rendered(move |app| {
        let look = Look { snapshot: &snapshot, journal: &app.site.journal, query: &query, now };
        let place = app.pages.of(&snapshot).place(key);
        let made = place.get_or_init(|| render(&look).map(Body::of).map_err(Refusal::sent));
        made.as_ref().map(|body| body.as_sent(encoding)).map_err(Clone::clone)
    });
    match made.await {
        Ok(Ok(body)) => html(StatusCode::OK, body, encoding),
        Ok(Err((status, message))) => refused(status, &message),
        Err(status) => refused(status, "The page could not be made."),
    }
}

fn title_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "That cannot be shown",
        StatusCode::NOT_FOUND => "There is no such thing",
        _ => "This went wrong",
    }
}

impl Made {
    fn place(&self, key: String) -> Place {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = kept.len() >= MOST_KEPT;
        match kept.get(&key) {
            Some(place) => place.clone(),
            None if is_full => Arc::default(),
            None => kept.entry(key).or_default().clone(),
        }
    }
}

impl Refusal {
    fn sent(self) -> Sent {
        match self {
            Self::Wrong(message) => (StatusCode::BAD_REQUEST, message),
            Self::NotThere(message) => (StatusCode::NOT_FOUND, message),
            Self::Failed(message) => (StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl Body {
    fn of(html: String) -> Self {
        Self { plain: html.into(), gzip: OnceLock::new() }
    }

    fn as_sent(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Plain => self.plain.clone(),
            Encoding::Gzip => self.gzip.get_or_init(|| packed(&self.plain)).clone(),
        }
    }
}

fn packed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 6), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}

fn html(status: StatusCode, body: Bytes, encoding: Encoding) -> Response {
    let kind = (CONTENT_TYPE, "text/html; charset=utf-8");
    let mut response = (status, [kind, (VARY, "accept-encoding")], body).into_response();
    let headers = response.headers_mut();
    if encoding == Encoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    secured(headers);
    response
}

/// A page runs and loads nothing but what this program serves, and nobody shows it in a frame.
fn secured(headers: &mut HeaderMap) {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
}

fn not_ready(up: &'static str, now: Timestamp) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let message = "Every domain and host is looked at once; then this page shows what was seen.";
    let frame = Frame::bare("The first audit is under way.", up, now);
    let mut response = told(status, frame, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn told(status: StatusCode, frame: Frame, message: &str) -> Response {
    let link = match status {
        StatusCode::SERVICE_UNAVAILABLE => None,
        _ => Some((format!("{}/", frame.up), "To the domains")),
    };
    let page = Told { frame, message, link };
    let text = page.render().unwrap_or_else(|_| message.to_owned());
    html(status, text.into(), Encoding::Plain)
}
