//! Who may change something: whoever comes by the unix socket, or with a token. A loopback address says
//! nothing: its owner may be a proxy for anybody, or a browser that some page drives.

use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::connection::{Guest, Peer};
use super::routes::{App, error};
use crate::model::plan::{Token, Tokens};

/// Somebody who may change something. A handler that takes one is refused to all others.
#[derive(Debug)]
pub(super) struct Trusted {
    /// For the log.
    pub(super) name: Arc<str>,
}

impl FromRequestParts<Arc<App>> for Trusted {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let peer = parts.extensions.get().map(|ConnectInfo(Guest { peer, .. })| *peer);
        if peer == Some(Peer::Socket) {
            return Ok(Self { name: "the socket".into() });
        }
        let tokens = app.site.tokens.borrow().clone();
        let Some(tokens) = tokens else {
            return Err(error(StatusCode::FORBIDDEN, NOBODY));
        };
        let token = bearer(&parts.headers).and_then(|given| holder(&tokens, given));
        token.map(|token| Self { name: token.name.clone() }).ok_or_else(|| {
            let mut response = error(StatusCode::UNAUTHORIZED, WRONG);
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            response
        })
    }
}

const NOBODY: &str = "this changes something, and so comes by the unix socket or with a token: set \
    [web] socket or tokens_file (`kmswatch ack --help` tells how to use them; systemctl reload kmswatch \
    reads the config again without either)";
const WRONG: &str = "this changes something, and needs a token of [web] tokens_file: send the header \
    Authorization: Bearer TOKEN; or come by the unix socket ([web] socket)";

/// RFC 6750 section 2.1; the scheme in any case. None where it is given twice.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (given.next()?, given.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

/// All are compared, each in constant time: how long that takes says nothing of a token but its length.
fn holder<'a>(tokens: &'a Tokens, given: &[u8]) -> Option<&'a Token> {
    let is_same = |token: &&Token| bool::from(token.secret.as_bytes().ct_eq(given));
    let mut same = tokens.tokens.iter().filter(is_same).collect::<Vec<_>>();
    same.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_is_one() {
        let token = |name: &str, secret: &str| Token { name: name.into(), secret: secret.into() };
        let tokens = [token("a", "0123456789abcdef"), token("b", "fedcba9876543210")];
        let tokens = Tokens { file: "t".into(), tokens: tokens.into() };
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_static(line));
            }
            let found = bearer(&headers).and_then(|given| holder(&tokens, given));
            found.map(|token| token.name.to_string())
        };
        assert_eq!(of(&["Bearer 0123456789abcdef"]).as_deref(), Some("a"));
        assert_eq!(of(&["bearer  fedcba9876543210 "]).as_deref(), Some("b"));
        for wrong in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["0123456789abcdef"],
            &["Basic 0123456789abcdef"],
            &["Bearer 0123456789abcde"],
            &["Bearer 0123456789abcdef0"],
            &["Bearer 0123456789abcdeg"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
