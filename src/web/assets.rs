//! What pages load, all of it from this binary: the style, the script, and an icon for each status.

use std::hash::Hasher as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use siphasher::sip::SipHasher13;

use super::routes::error;
use crate::report::State;

/// An asset as it is sent.
struct Asset {
    name: String,
    kind: &'static str,
    text: String,
    /// Of the text: another version of the program may have another.
    tag: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let style = concat!(include_str!("../report/colors.css"), include_str!("assets/style.css"));
    let mut assets = vec![
        Asset::of("style.css", "text/css; charset=utf-8", style.to_owned()),
        Asset::of(
            "page.js",
            "text/javascript; charset=utf-8",
            include_str!("assets/page.js").to_owned(),
        ),
    ];
    assets.extend(
        ICONS.map(|(word, state)| Asset::of(&format!("{word}.svg"), "image/svg+xml", icon(state))),
    );
    assets
});

/// An icon for each word of a status.
const ICONS: [(&str, State); 5] = [
    ("ok", State::Passed),
    ("info", State::Info),
    ("warning", State::Warning),
    ("critical", State::Critical),
    ("unknown", State::Unknown),
];

/// Answers 304 where whoever asks has it already.
pub(super) async fn asset(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return error(StatusCode::NOT_FOUND, "there is no such file");
    };
    // A page of this version never meets the style of another.
    let fresh = [(CACHE_CONTROL, "no-cache"), (ETAG, asset.tag.as_str())];
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.tag)) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    (fresh, [(CONTENT_TYPE, asset.kind)], asset.text.as_str()).into_response()
}

impl Asset {
    fn of(name: &str, kind: &'static str, text: String) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(text.as_bytes());
        let tag = format!("\"{:016x}\"", hasher.finish());
        Self { name: name.to_owned(), kind, text, tag }
    }
}

/// A shape for each status, so that it is told without its colour.
fn icon(state: State) -> String {
    let fill = color(state);
    let shape = match state {
        State::Passed => r#"<path d="M4 8.5l2.8 2.8L12 5.5"/>"#,
        State::Info => r#"<path d="M8 7v5M8 4v.5"/>"#,
        State::Warning => r#"<path d="M8 3.5v5.5M8 11.8v.5"/>"#,
        State::Critical => r#"<path d="M5 5l6 6M11 5l-6 6"/>"#,
        State::Skipped | State::Unknown => {
            r#"<path d="M5.8 6a2.3 2.3 0 1 1 3.4 2c-.9.5-1.2.9-1.2 1.7M8 12v.4"/>"#
        }
    };
    let ground = match state {
        State::Warning => r#"<path d="M8 0l8 15.5H0z"/>"#,
        State::Critical => r#"<path d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z"/>"#,
        _ => r#"<circle cx="8" cy="8" r="8"/>"#,
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><g fill=\"{fill}\">{ground}</g>\
         <g fill=\"none\" stroke=\"#fff\" stroke-width=\"2\" stroke-linecap=\"round\" stroke-linejoin=\"round\">{shape}</g></svg>\n"
    )
}

/// Dark enough for white text (WCAG 2.2 section 1.4.3), where a style sheet does not reach.
pub(super) fn color(state: State) -> &'static str {
    match state {
        State::Passed => "#0b6b57",
        State::Info => "#0a5a9c",
        State::Warning => "#855600",
        State::Critical => "#a6093d",
        State::Skipped | State::Unknown => "#57606a",
    }
}
