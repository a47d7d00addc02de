//! Whom the daemon itself tells of findings.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::finding::Severity;
use super::observation::display_and_serialize_as_str;

/// Who is told of which findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertSettings {
    /// What kind of receiver. Default: nobody; the shipped Prometheus rules alert.
    pub send_to: SendTo,
    /// Each is told everything, whatever becomes of the others. Empty for nobody, else not; none twice.
    pub urls: Vec<ReceiverUrl>,
    /// Holds the bearer token, one line; read anew for each message.
    pub token_file: Option<PathBuf>,
    /// Roots for https besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// A finding must last this long to be told, and be gone this long to be told as resolved. Default
    /// 2 minutes: two intervals, so that one lost packet wakes nobody.
    pub after: Duration,
    /// What is less is not told. Default warning.
    pub min_severity: Severity,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            send_to: SendTo::Nobody,
            urls: Vec::new(),
            token_file: None,
            ca_file: None,
            after: Duration::from_mins(2),
            min_severity: Severity::Warning,
        }
    }
}

/// What kind of receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendTo {
    /// None: Prometheus rules alert.
    Nobody,
    /// Alertmanager, by its API version 2.
    Alertmanager,
    /// Whoever understands what Alertmanager posts to webhooks (version 4).
    Webhook,
}

impl SendTo {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }
}

/// Where a receiver listens: an http or https URL without trailing slash. Paths and queries of webhooks
/// are often secrets, so it shows as scheme and authority alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReceiverUrl(Arc<str>);

impl ReceiverUrl {
    /// Whoever makes one has checked that it is a URL.
    pub fn new(url: &str) -> Self {
        Self(url.into())
    }

    /// The whole of it, secrets included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is of https.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for ReceiverUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.find("://").map_or(0, |scheme| scheme + "://".len());
        let end = self.0[authority..].find(['/', '?']).map_or(self.0.len(), |at| authority + at);
        formatter.write_str(&self.0[..end])
    }
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

display_and_serialize_as_str!(SendTo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_more_than_its_authority() {
        let shown = |url| format!("{0} {0:?}", ReceiverUrl::new(url));
        assert_eq!(
            shown("https://chat.example:8443/hook/s3cret?t=x"),
            "https://chat.example:8443 https://chat.example:8443"
        );
        assert_eq!(shown("http://h?t=x"), "http://h http://h");
        assert_eq!(shown("http://[::1]:9093"), "http://[::1]:9093 http://[::1]:9093");
    }
}
