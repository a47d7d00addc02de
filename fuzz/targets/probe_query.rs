//! What a stranger may ask of `/probe`: a query string, and behind its first line feed the header with the
//! scraper's patience. What is refused is told in one line; what is taken reads the same when written
//! anew; and nobody waits longer than told.

#![no_main]

use std::time::Duration;

use kmswatch::web::{Question, patience};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    question(parts.next().unwrap_or_default());
    waits(parts.next());
});

fn question(query: &[u8]) {
    match Question::parse(query) {
        Ok(question) => {
            let mut again = form_urlencoded::Serializer::new(String::new());
            again.append_pair("domain", question.domain.as_str());
            if let Some(server) = &question.server {
                again.append_pair("server", server);
            }
            let again = again.finish();
            assert_eq!(Question::parse(again.as_bytes()), Ok(question), "{again:?}");
        }
        Err(line) => {
            assert!(line.contains("; "), "no advice: {line:?}");
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(line.len() < 1000, "{} bytes: {line:?}", line.len());
        }
    }
}

fn waits(header: Option<&[u8]>) {
    let waits = patience(header);
    assert!(waits < Duration::from_secs(120), "{waits:?}");
    let told =
        header.and_then(|header| std::str::from_utf8(header).ok()?.trim().parse::<f64>().ok());
    match told.filter(|told| *told > 0.0) {
        Some(told) => assert!(waits.as_secs_f64() <= told, "{waits:?} of {told} s"),
        None => assert_eq!(waits, patience(None)),
    }
}
