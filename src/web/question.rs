//! What `/probe` is asked: its query string and the scraper's patience, from bytes that strangers write.

use std::time::Duration;

use crate::model::Name;

/// What `/probe` is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The domain, perhaps one that is not configured.
    pub domain: Name,
    /// The only server to ask, as somebody wrote it; `None`: all that the domain is asked of.
    pub server: Option<String>,
}

impl Question {
    /// Reads a query string, `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead, in one line.
    pub fn parse(query: &[u8]) -> Result<Self, String> {
        let (mut domain, mut server) = (None, None);
        for (key, value) in form_urlencoded::parse(query) {
            let place = match &*key {
                "domain" => &mut domain,
                "server" => &mut server,
                _ => {
                    let key: String = key.chars().take(80).collect();
                    return Err(format!("{key:?} is nothing that a probe knows; {USAGE}"));
                }
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(format!("{key} is given twice; {USAGE}"));
            }
        }
        let domain = domain.ok_or_else(|| format!("no domain is given; {USAGE}"))?;
        let domain = Name::parse_domain(&domain).map_err(|wrong| wrong.to_string())?;
        Ok(Self { domain, server })
    }
}

/// What the scraper waits by its header `X-Prometheus-Scrape-Timeout-Seconds`, and a little less, so
/// that it sees the answer. Never over two minutes.
pub fn patience(told: Option<&[u8]>) -> Duration {
    let told = told.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let seconds: f64 = told.filter(|seconds| *seconds > 0.0).unwrap_or(UNTOLD);
    // What is too large for a duration is cut as well.
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST);
    whole.saturating_sub(MARGIN).max(whole / 2)
}

const USAGE: &str =
    "write /probe?domain=contoso.com, or /probe?domain=contoso.com&server=10.0.0.53";
/// Seconds; every lookup and probe ends by itself, usually long before.
const UNTOLD: f64 = 30.0;
/// Nobody waits longer.
const LONGEST: Duration = Duration::from_mins(2);
/// For the way back, as `blackbox_exporter` has it.
const MARGIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrapers_patience_is_honoured_less_a_margin() {
        let of = |value: &str| patience(Some(value.as_bytes())).as_secs_f64();
        let near = |value: &str, expected: f64| (of(value) - expected).abs() < 1e-6;
        for (value, expected) in
            [("10", 9.5), ("2.5", 2.0), ("0.6", 0.3), ("1e9", 119.5), ("inf", 119.5)]
        {
            assert!(near(value, expected), "{value}: {}", of(value));
        }
        for nonsense in ["", "soon", "-1", "0", "NaN", "-inf"] {
            assert!(near(nonsense, UNTOLD - 0.5), "{nonsense}: {}", of(nonsense));
        }
        assert!((patience(None).as_secs_f64() - 29.5).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_question_is_told_how_to_ask() {
        let ask = |query: &str| {
            Question::parse(query.as_bytes()).map(|asked| (asked.domain.to_string(), asked.server))
        };
        assert_eq!(ask("domain=East.test."), Ok(("east.test".to_owned(), None)));
        let both = Ok(("east.test".to_owned(), Some("[::1]:53".to_owned())));
        assert_eq!(ask("server=%5B::1%5d%3A53&&domain=east.test"), both);
        for wrong in
            ["", "server=10.0.0.53", "domain=a.test&domain=a.test", "domain=a.test&sever=x", "%ff="]
        {
            let told = ask(wrong).expect_err("no question");
            assert!(told.contains("; write /probe?domain=contoso.com"), "{told}");
        }
        assert!(ask("domain=a..b").is_err());
    }
}
