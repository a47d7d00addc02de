//! Posts JSON over http and https.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::time::timeout;

use crate::model::alert::{AlertSettings, ReceiverUrl};

/// One client for every receiver; it keeps connections.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token_file: Option<PathBuf>,
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    /// The beginning of what it said, in quotes.
    pub said: String,
}

/// Why a receiver did not answer. No path, query or token shows.
#[derive(Debug, Error)]
pub(super) enum PostError {
    #[error("cannot read the token in {}: {error}", .file.display())]
    Token { file: PathBuf, error: io::Error },
    #[error("the URL is none: {0}")]
    Url(#[from] hyper::http::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("{}", causes(.0))]
    Connection(#[from] hyper_util::client::legacy::Error),
}

/// For one message, all in all.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Http {
    /// Trusts the roots of the system and those of the config. What cannot be read is logged, and then
    /// trusted not.
    pub(super) fn new(settings: &AlertSettings) -> Self {
        let is_secure = settings.urls.iter().any(ReceiverUrl::is_secure);
        let roots =
            if is_secure { roots(settings.ca_file.as_deref()) } else { RootCertStore::empty() };
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(TIMEOUT / 2));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots))
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .build(connector);
        Self { client, token_file: settings.token_file.clone() }
    }

    /// Posts, and waits for the answer.
    pub(super) async fn post(&self, url: &str, body: Vec<u8>) -> Result<Reply, PostError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("kmswatch/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.token_file {
            request = request.header(AUTHORIZATION, bearer(file)?);
        }
        let request = request.body(Full::from(body))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_READ).collect().await;
            let said = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok(Reply { status, said: quoted(&said) })
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| PostError::Timeout)?
    }
}

/// More of an answer than this is not read.
const MOST_READ: usize = 64 << 10;

/// The beginning of a text as a log line may show it.
fn quoted(said: &[u8]) -> String {
    const MOST: usize = 200;
    let text: String = String::from_utf8_lossy(said).trim().chars().take(MOST).collect();
    format!("{text:?}")
}

/// The header that the token makes; it never shows in what is logged.
fn bearer(file: &Path) -> Result<HeaderValue, PostError> {
    let read = || {
        let token = std::fs::read_to_string(file)?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| io::Error::other("it is no single line of plain text"))?;
        header.set_sensitive(true);
        Ok(header)
    };
    read().map_err(|error| PostError::Token { file: file.to_owned(), error })
}

fn roots(ca_file: Option<&Path>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("a root certificate of the system cannot be read: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = ca_file {
        let found =
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match found {
            Ok(certificates) => drop(roots.add_parsable_certificates(certificates)),
            Err(error) => {
                tracing::error!("alert.ca_file {} cannot be read: {error}", file.display());
            }
        }
    }
    roots
}

/// # Panics
/// Never: ring has what the default versions of TLS want.
fn tls(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An error and what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
