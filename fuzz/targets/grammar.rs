//! The texts that a config and the command line are made of: what one reads shows as a text that
//! reads as the same; what it refuses is told in one line.

#![no_main]

use std::fmt::{Debug, Display};

use kmswatch::config::{format_duration, parse_duration, parse_listed_host, parse_server};
use kmswatch::model::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    labels(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(name) = reads_as_shown(text, Name::parse, Name::to_string) {
        assert!(name.as_str().len() <= 253 && !name.is_root(), "{name}");
        for label in name.labels() {
            assert!((1..=63).contains(&label.len()), "{name}");
            let legal = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
            };
            assert!(label.bytes().all(legal), "{name}");
        }
    }
    if let Some(domain) = reads_as_shown(text, Name::parse_domain, Name::to_string) {
        let owner = Name::owner_of(&domain);
        // It need not be a name that people may write: no label beside one from right to left is.
        assert!(owner.as_str().len() <= 253, "{owner}");
        assert_eq!(owner.labels().count(), 2 + domain.labels().count());
    }
    reads_as_shown(text, parse_server, ToString::to_string);
    reads_as_shown(text, parse_duration, |duration| format_duration(*duration));
    reads_as_shown(text, parse_listed_host, |listed| match listed.priority_and_weight {
        Some((priority, weight)) => format!("{}, {priority}, {weight}", listed.host),
        None => listed.host.to_string(),
    });
});

fn reads_as_shown<T: Debug + PartialEq, E: Debug + Display + PartialEq>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
    show: impl Fn(&T) -> String,
) -> Option<T> {
    match parse(text) {
        Ok(value) => {
            let shown = show(&value);
            let again = parse(&shown);
            assert_eq!(again.as_ref(), Ok(&value), "{shown:?}");
            Some(value)
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.contains("; "), "no advice: {line:?}");
            assert!(!line.contains(char::is_control), "{line:?}");
            None
        }
    }
}

/// The labels of a DNS message survive their text form; a length goes before each.
fn labels(data: &[u8]) {
    let mut rest = data;
    let mut labels = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let length = usize::from(length & 63).clamp(1, tail.len().max(1));
        let Some((label, tail)) = tail.split_at_checked(length) else { break };
        labels.push(label.to_ascii_lowercase());
        rest = tail;
    }
    let name = Name::from_labels(labels.iter().map(Vec::as_slice));
    assert!(!name.as_str().contains(char::is_control), "{name:?}");
    let back: Vec<Vec<u8>> = name.wire_labels().map(std::borrow::Cow::into_owned).collect();
    assert_eq!(back, labels, "{name:?}");
    name.as_address();
}
