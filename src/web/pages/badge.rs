//! `/badge/NAME.svg`: the status of a domain, to be shown elsewhere.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::model::snapshot::DomainEntry;
use crate::model::{Name, Snapshot};
use crate::report::State;
use crate::web::assets;
use crate::web::routes::{App, error};

#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge<'a> {
    name: &'a str,
    state: State,
    words: String,
    color: &'static str,
    /// Widths in pixels, by characters: nobody knows the font.
    name_width: usize,
    words_width: usize,
}

/// A pixel more than a wide letter of 11 px takes on average.
const CHARACTER: usize = 7;
const MARGIN: usize = 12;
/// Of a name; a badge stands in a line of text.
const LONGEST: usize = 48;

/// Also where there is no such domain, or no audit yet, it is an image that says so.
pub(in crate::web) async fn badge(
    Shared(app): Shared<Arc<App>>,
    file: Result<Path<String>, PathRejection>,
) -> Response {
    let file = file.map_or_else(|_| String::new(), |Path(file)| file);
    let Some(name) = file.strip_suffix(".svg") else {
        return error(StatusCode::NOT_FOUND, "a badge is at /badge/NAME.svg");
    };
    let snapshot = app.snapshot();
    let (status, state, words) = said(snapshot.as_deref(), name);
    let shown: String = name.chars().take(LONGEST).collect();
    let badge = Badge {
        name_width: width(&shown),
        words_width: width(&words) + CHARACTER * 2,
        name: &shown,
        state,
        words,
        color: assets::color(state),
    };
    let kind = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "no-cache, max-age=0")];
    match badge.render() {
        Ok(image) => (status, kind, image).into_response(),
        Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
    }
}

fn said(snapshot: Option<&Snapshot>, name: &str) -> (StatusCode, State, String) {
    let Some(snapshot) = snapshot else {
        return (StatusCode::SERVICE_UNAVAILABLE, State::Unknown, "not audited yet".to_owned());
    };
    let name = Name::parse(name).ok();
    match name.and_then(|name| snapshot.domain(&name)) {
        Some(entry) => (StatusCode::OK, entry.status.into(), words(entry)),
        None => (StatusCode::NOT_FOUND, State::Unknown, "not configured".to_owned()),
    }
}

fn words(entry: &DomainEntry) -> String {
    let hosts = &entry.view.hosts;
    let up = hosts.iter().filter(|host| host.status.is_up()).count();
    match hosts.len() {
        0 => entry.status.as_str().to_owned(),
        all => format!("{}, {up} of {all} up", entry.status),
    }
}

fn width(text: &str) -> usize {
    text.chars().count() * CHARACTER + MARGIN
}
