//! One request to a daemon, over its unix socket or the network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config;

use super::Problem;

/// How to reach the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Transport {
    /// The daemon's unix socket ([web] socket of its config)
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, conflicts_with = "url")]
    socket: PathBuf,
    /// Where the daemon is reached over the network: an http URL, with its port
    #[arg(long, value_name = "URL", requires = "token_file", value_parser = parse_url)]
    url: Option<Uri>,
    /// A file with a token that the daemon knows (one of those that its config names); of several, the first
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
}

/// Where the systemd unit has its folder.
const DEFAULT_SOCKET: &str = "/run/kmswatch/kmswatch.sock";

/// What a daemon answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

/// Nobody waits longer at a prompt.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longer than any answer to what is asked here.
const MOST_ANSWER: usize = 64 << 10;

impl Transport {
    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, method: Method, path: &str, body: String) -> Result<Answer, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        runtime.block_on(async {
            let asked = tokio::time::timeout(PATIENCE, self.asked(method, path, body)).await;
            asked.unwrap_or_else(|_| {
                Err(format!("{} does not answer within {} s", self.place(), PATIENCE.as_secs()))
            })
        })
    }

    async fn asked(&self, method: Method, path: &str, body: String) -> Result<Answer, Problem> {
        let refused = |error: std::io::Error| {
            format!("cannot reach {}: {error}; {}", self.place(), self.advice())
        };
        let (prefix, authority) = match &self.url {
            None => ("", "localhost"),
            Some(url) => {
                (url.path().trim_end_matches('/'), url.authority().map_or("", |host| host.as_str()))
            }
        };
        let mut request = Request::builder().method(method).uri(format!("{prefix}{path}"));
        request = request.header(header::HOST, authority);
        if let Some(file) = &self.token_file {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token(file)?));
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| format!("this cannot be asked: {error}"))?;
        let answer = match &self.url {
            None => {
                exchange(UnixStream::connect(&self.socket).await.map_err(refused)?, request).await
            }
            Some(url) => exchange(connect(url).await.map_err(refused)?, request).await,
        };
        answer.map_err(|error| format!("{} gives no answer of HTTP: {error}", self.place()))
    }

    /// For people.
    fn place(&self) -> String {
        match &self.url {
            Some(url) => url.to_string(),
            None => self.socket.display().to_string(),
        }
    }

    fn advice(&self) -> &'static str {
        match &self.url {
            Some(_) => "see that the daemon runs and listens there ([web] listen)",
            None => {
                "see that the daemon runs, that its config has [web] socket, and that you are its user or \
                 in its group (sudo); or use --url and --token-file"
            }
        }
    }
}

async fn connect(url: &Uri) -> std::io::Result<TcpStream> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((host, url.port_u16().unwrap_or(80))).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    let connection = async {
        // Why it ended, the answer tells.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = connection => Err("the connection ended".into()),
    }
}

fn token(file: &Path) -> Result<String, Problem> {
    let wrong = |error: String| format!("--token-file {}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    config::read_token(&text).map_err(wrong)
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let advice = "write one such as http://127.0.0.1:9688";
    let url: Uri = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    match url.scheme_str() {
        Some("https") => Err(format!(
            "https:// is not in this version; use --socket on the daemon's machine, or {advice}"
        )),
        Some("http")
            if url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none() =>
        {
            Ok(url)
        }
        _ => Err(format!("it is no http:// URL; {advice}")),
    }
}
