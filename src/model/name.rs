//! DNS names as the whole program writes them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use thiserror::Error;

/// A DNS name: lower-case ASCII (punycode), without a trailing dot; the root is `.`.
///
/// Names from a config go through [`Name::parse`] and hold only letters, digits, hyphens and
/// underscores. Names from the network go through [`Name::from_labels`] and may hold any byte; dots
/// and backslashes inside a label are escaped as `\.` and `\\`, what cannot be printed as `\DDD`
/// (RFC 1035 section 5.1). Two names are equal where DNS says that they are.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Clones are equal without a look at their text: the keys of the state are such, and a hundred thousand
/// texts are not in the processor's cache.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

/// The longest name that fits on the wire has 253 characters in text (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// What a KMS client puts before a domain (RFC 2782: service and protocol).
const SERVICE_PREFIX: &str = "_vlmcs._tcp.";

/// Why a text is no DNS name, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but white space or dots.
    #[error("a name is empty; write a DNS name such as \"contoso.com\"")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("{0:?} has an empty label; write single dots between labels")]
    EmptyLabel(String),
    /// A label over 63 octets, after conversion to punycode.
    #[error("label {0:?} is longer than 63 characters; DNS allows no longer one")]
    LongLabel(String),
    /// The name over 253 octets (241 where `_vlmcs._tcp.` goes before it).
    #[error("{name:?} has {length} characters; at most {limit} fit into a DNS query")]
    TooLong {
        /// The name as far as it is worth showing.
        name: String,
        /// Its length in punycode.
        length: usize,
        /// What is allowed here.
        limit: usize,
    },
    /// A character that host and domain names do not hold.
    #[error(
        "label {0:?} holds a character that names do not have; write letters, digits, hyphens or underscores"
    )]
    BadCharacter(String),
    /// A hyphen at an end of a label (RFC 1123 section 2.1).
    #[error("label {0:?} begins or ends with a hyphen; remove the hyphen")]
    Hyphen(String),
    /// Broken IDN or punycode (UTS 46).
    #[error("{0:?} is no valid internationalised name; write it in Unicode or as valid punycode")]
    Idn(String),
    /// The owner name of the records where their domain is wanted.
    #[error("the domain is meant, without _vlmcs._tcp; write {0:?}")]
    Service(String),
    /// An IP address where a name is wanted.
    #[error("{0:?} is an address; write a DNS name")]
    Address(String),
}

impl Name {
    /// Reads a host or domain name as people write it: any case, IDN or punycode, with or without
    /// the trailing dot.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        let bare = trimmed.strip_suffix('.').unwrap_or(trimmed);
        if bare.is_empty() {
            return Err(NameError::Empty);
        }
        check_no_address(bare)?;
        let ascii = idna::domain_to_ascii_cow(bare.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| NameError::Idn(shown(bare)))?;
        let ascii = ascii.strip_suffix('.').unwrap_or(&ascii).to_ascii_lowercase();
        // Digits of other scripts become ASCII, and soft hyphens vanish.
        if ascii != bare {
            check_no_address(&ascii)?;
        }
        check_labels(&ascii)?;
        check_length(&ascii, MAX_NAME)?;
        Ok(Self(ascii.into()))
    }

    /// Reads a domain below which clients look: as [`Name::parse`], and short enough that
    /// `_vlmcs._tcp.` fits before it.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub fn parse_domain(text: &str) -> Result<Self, NameError> {
        let name = Self::parse(text)?;
        if let Some(domain) = name.as_str().strip_prefix(SERVICE_PREFIX) {
            return Err(NameError::Service(shown(domain)));
        }
        check_length(name.as_str(), MAX_NAME - SERVICE_PREFIX.len())?;
        Ok(name)
    }

    /// A name from the labels of a DNS message; any byte is legal there. No label: the root.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut text = String::with_capacity(48);
        for label in labels {
            if !text.is_empty() {
                text.push('.');
            }
            for byte in label {
                push_escaped(&mut text, *byte);
            }
        }
        if text.is_empty() {
            text.push('.');
        }
        Self(text.into())
    }

    /// The name that [`Name::as_str`] gave this text of, escapes and all: one that was kept somewhere, not
    /// one that a person wrote. Any text makes some name.
    #[must_use]
    pub fn from_kept(text: &str) -> Self {
        let labels: Vec<_> = Labels { rest: text }.map(unescape).collect();
        // The root has no labels, though it has a text.
        let labels = labels.iter().filter(|label| !label.is_empty());
        Self::from_labels(labels.map(|label| &**label))
    }

    /// The owner name of a domain's KMS records: `_vlmcs._tcp.<domain>` (RFC 2782).
    #[must_use]
    pub fn owner_of(domain: &Self) -> Self {
        Self([SERVICE_PREFIX, domain.as_str()].concat().into())
    }

    /// The text: lower-case, no trailing dot, `.` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root; as an SRV target it says that the service is declared absent
    /// (RFC 2782).
    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }

    /// The labels in text form, escapes kept, left to right; none for the root.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let text = if self.is_root() { "" } else { self.as_str() };
        Labels { rest: text }
    }

    /// The labels as they stand in a DNS message, escapes undone.
    pub fn wire_labels(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.labels().map(unescape)
    }

    /// The address that this name spells, if it is one (`10.0.0.5` as an SRV target).
    pub fn as_address(&self) -> Option<IpAddr> {
        // Hardly any name does, and this is asked often.
        self.0.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':').then_some(())?;
        self.0.replace("\\.", ".").parse().ok()
    }
}

/// Gives all who say the same name one text in memory: many domains name few hosts, and what is held once
/// stays in the processor's cache.
#[derive(Debug, Default)]
pub struct SharedNames(HashSet<Name, RandomState>);

/// When there are so many, they are no longer shared with those to come.
const MOST_SHARED: usize = 1 << 16;

impl SharedNames {
    /// The same name, as it was given first.
    #[must_use]
    pub fn share(&mut self, name: Name) -> Name {
        if let Some(known) = self.0.get(&name) {
            return known.clone();
        }
        if self.0.len() >= MOST_SHARED {
            self.0.clear();
        }
        self.0.insert(name.clone());
        name
    }

    /// Shares no more with those that were given.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b'.' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let at = at.min(bytes.len());
        let (label, rest) = self.rest.split_at(at);
        self.rest = rest.strip_prefix('.').unwrap_or(rest);
        Some(label)
    }
}

fn check_no_address(text: &str) -> Result<(), NameError> {
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => Err(NameError::Address(shown(text))),
        Err(_) => Ok(()),
    }
}

fn check_labels(ascii: &str) -> Result<(), NameError> {
    for label in ascii.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel(shown(ascii)));
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LongLabel(shown(label)));
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(NameError::BadCharacter(shown(label)));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Hyphen(shown(label)));
        }
    }
    Ok(())
}

fn check_length(ascii: &str, limit: usize) -> Result<(), NameError> {
    if ascii.len() <= limit {
        return Ok(());
    }
    Err(NameError::TooLong { name: shown(ascii), length: ascii.len(), limit })
}

/// What of a wrong name is worth showing: a megabyte of nonsense is not.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn push_escaped(text: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            text.push('\\');
            text.push(char::from(byte));
        }
        0x21..=0x7e => text.push(char::from(byte.to_ascii_lowercase())),
        _ => {
            text.push('\\');
            for digit in [byte / 100, byte / 10 % 10, byte % 10] {
                text.push(char::from(b'0' + digit));
            }
        }
    }
}

fn unescape(label: &str) -> Cow<'_, [u8]> {
    if !label.contains('\\') {
        return Cow::Borrowed(label.as_bytes());
    }
    let mut octets = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            octets.push(first);
        } else if let Some((octet, tail)) = escaped_octet(tail) {
            octets.push(octet);
            rest = tail;
        }
    }
    Cow::Owned(octets)
}

fn escaped_octet(after_backslash: &[u8]) -> Option<(u8, &[u8])> {
    match after_backslash {
        [a, b, c, rest @ ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
            let value = [a, b, c].iter().fold(0_u16, |sum, d| sum * 10 + u16::from(**d - b'0'));
            u8::try_from(value).ok().map(|octet| (octet, rest))
        }
        [other, rest @ ..] => Some((*other, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        Name::parse(text).map_or_else(|error| format!("{error:?}"), |name| name.to_string())
    }

    #[test]
    fn case_trailing_dot_and_idn_do_not_matter() {
        assert_eq!(parsed("East.Contoso.COM."), "east.contoso.com");
        assert_eq!(parsed("münchen.example"), "xn--mnchen-3ya.example");
        assert_eq!(parsed("XN--MNCHEN-3YA.example"), "xn--mnchen-3ya.example");
        assert_eq!(parsed("MÜNCHEN。example"), "xn--mnchen-3ya.example");
        assert_eq!(parsed("_msdcs.contoso_corp.local"), "_msdcs.contoso_corp.local");
    }

    #[test]
    fn invalid_names_are_refused_with_their_reason() {
        let long_label = "a".repeat(64);
        let long_name = ["abcdefghi"; 26].join(".");
        assert_eq!(Name::parse(" . "), Err(NameError::Empty));
        assert_eq!(Name::parse("a..b"), Err(NameError::EmptyLabel("a..b".into())));
        assert_eq!(Name::parse(&long_label), Err(NameError::LongLabel(long_label.clone())));
        assert_eq!(Name::parse("a b.c"), Err(NameError::BadCharacter("a b".into())));
        assert_eq!(Name::parse("-a.b"), Err(NameError::Hyphen("-a".into())));
        assert_eq!(Name::parse("xn--\u{fc}.b"), Err(NameError::Idn("xn--\u{fc}.b".into())));
        for address in ["10.0.0.1", "10.0.0.1。", "１０.0.0.1", "10\u{ad}.0.0.1"] {
            assert_eq!(Name::parse(address), Err(NameError::Address("10.0.0.1".into())));
        }
        assert!(matches!(Name::parse(&long_name), Err(NameError::TooLong { limit: 253, .. })));
        let just_a_host = ["abcdefghi"; 25].join(".");
        assert!(Name::parse(&just_a_host).is_ok());
        assert!(matches!(
            Name::parse_domain(&just_a_host),
            Err(NameError::TooLong { limit: 241, .. })
        ));
    }

    #[test]
    fn wire_names_keep_every_byte() {
        let labels: [&[u8]; 3] = [b"a.b\\", b"\x00\xff ", b"COM"];
        let name = Name::from_labels(labels.into_iter());
        assert_eq!(name.as_str(), r"a\.b\\.\000\255\032.com");
        let back: Vec<Vec<u8>> = name.wire_labels().map(Cow::into_owned).collect();
        assert_eq!(back, [b"a.b\\".to_vec(), b"\x00\xff ".to_vec(), b"com".to_vec()]);
        assert!(Name::from_labels(std::iter::empty()).is_root());
        assert_eq!(Name::from_labels(std::iter::empty()).labels().count(), 0);
        assert!(Name::from_kept(".").is_root());
    }

    #[test]
    fn equal_names_are_one_in_memory_until_there_are_too_many() {
        let mut names = SharedNames::default();
        let name = |number: usize| Name::parse(&format!("k{number}.test")).expect("a name");
        let is_one = |one: &Name, other: &Name| Arc::ptr_eq(&one.0, &other.0);
        let first = names.share(name(0));
        assert!(is_one(&names.share(name(0)), &first) && names.share(name(1)) == name(1));
        (0..=MOST_SHARED).for_each(|number| drop(names.share(name(number))));
        assert!(!is_one(&names.share(name(0)), &first) && names.0.len() < MOST_SHARED);
    }

    proptest! {
        #[test]
        fn a_parsed_name_parses_to_itself(text in "\\PC{0,40}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(name.as_str()), Ok(name));
            }
        }

        #[test]
        fn labels_survive_the_text_form(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..6)) {
            let name = Name::from_labels(labels.iter().map(Vec::as_slice));
            prop_assert_eq!(&Name::from_kept(name.as_str()), &name);
            let back: Vec<Vec<u8>> = name.wire_labels().map(Cow::into_owned).collect();
            let lower: Vec<Vec<u8>> = labels.iter().map(|l| l.to_ascii_lowercase()).collect();
            prop_assert_eq!(back, lower);
        }
    }
}
