//! What is no TOML: told once for each place, and cut out, so that the rest can be read.
//!
//! The parser recovers from a broken value, but an open bracket swallows what follows it. Here such
//! a statement is blanked and the rest is read again.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::refusal::Refusal;

/// A place that is no TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Where, in bytes.
    pub offset: usize,
    /// What to write.
    pub refusal: Refusal,
}

/// The text with the statements blanked that break what follows them, byte for byte, and these.
pub(super) fn recover(text: &str) -> (Cow<'_, str>, Vec<Broken>) {
    let mut legible = Cow::Borrowed(text);
    let mut broken = Vec::new();
    if let Some(offset) = too_deep(text) {
        let advice = "write the bracket that ends each";
        broken.push(Broken {
            offset,
            refusal: Refusal::new("brackets are nested too deeply", advice),
        });
        legible = Cow::Owned(blank(text, &(line_around(text, offset).start..text.len())));
    }
    for _ in 0..(MOST_READ / text.len().max(1)).clamp(1, MOST_ROUNDS) {
        let (_, errors) = DeTable::parse_recoverable(&legible);
        let structural = errors.iter().filter(|error| swallows(error.message()));
        let Some(first) = structural.min_by_key(|error| offset_of(error)) else {
            break;
        };
        let (place, lines) = culprit(&legible, first);
        broken.push(place);
        legible = Cow::Owned(blank(&legible, &lines));
    }
    (legible, broken)
}

/// What is told of an error of the parser.
pub(super) fn told(text: &str, error: &Error) -> Broken {
    let offset = offset_of(error);
    let rest = text.get(offset..).unwrap_or("");
    Broken { offset, refusal: refusal(error.message(), rest) }
}

/// Nonsense of any size is read in bounded time: so many bytes at most, so many times at most.
const MOST_READ: usize = 16 << 20;
const MOST_ROUNDS: usize = 32;

/// Nothing in a config is nested so deeply. The parser has a limit of its own, 80, but stray closing
/// brackets before raise it, up to where its stack ends.
const DEEPEST: usize = 32;

/// Where brackets outside of strings and comments are nested too deeply.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth: usize = 0;
    let mut at = 0;
    while let Some(rest) = text.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
        match rest[0] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'#' => at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            b'"' | b'\'' => at += string_length(rest) - 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The length of the string that begins here; a string of one line ends with it at the latest.
fn string_length(rest: &[u8]) -> usize {
    let quote = rest[0];
    let is_long = rest.starts_with(&[quote; 3]);
    let mut at = if is_long { 3 } else { 1 };
    while at < rest.len() {
        match rest[at] {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !is_long => return at,
            byte if byte == quote && !is_long => return at + 1,
            byte if byte == quote && rest[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

fn offset_of(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

/// Whether the parser, after this error, takes what follows for something else.
fn swallows(message: &str) -> bool {
    const SWALLOW: [&str; 11] = [
        "key with no value",
        "invalid key-value pair",
        "unclosed",
        "invalid multi-line",
        "missing comma",
        "unexpected `=` in array",
        "missing key for inline table",
        "invalid inline table element",
        "extra assignment between",
        "missing assignment between",
        "extra `=`",
    ];
    SWALLOW.iter().any(|start| message.starts_with(start))
}

/// What is to blame for an error, and the lines to blank.
fn culprit(text: &str, error: &Error) -> (Broken, Range<usize>) {
    let (message, offset) = (error.message(), offset_of(error).min(text.len()));
    let line = line_around(text, offset);
    if message.starts_with("unclosed table") || message.starts_with("unclosed array table") {
        return (
            told(text, error),
            line.start..next_line(text, line.end, |line| line.trim_start().starts_with('[')),
        );
    }
    if message.starts_with("invalid multi-line") {
        let before = &text[..offset];
        let opened = before.rfind("\"\"\"").max(before.rfind("'''")).unwrap_or(offset);
        return (never_closed(opened), line_around(text, opened));
    }
    let is_key = message.starts_with("key with") || message.starts_with("invalid key");
    let is_end = message.starts_with("unclosed");
    let begins_anew =
        begins_statement(&text[line.clone()]) && !text[line.start..offset].contains('=');
    if !is_key && (is_end || begins_anew) {
        let before = if begins_anew { line.start } else { offset };
        if let Some(start) = last_statement(&text[..before]) {
            let lines = line_around(text, start);
            let header = next_line(text, lines.end, is_header);
            return (never_closed(start), lines.start..header.min(before).max(start + 1));
        }
    }
    (told(text, error), line)
}

fn never_closed(offset: usize) -> Broken {
    let advice = "write the bracket, brace or quotes that end it";
    Broken { offset, refusal: Refusal::new("this value never ends", advice) }
}

fn line_around(text: &str, offset: usize) -> Range<usize> {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at + 1);
    start..end
}

/// Where the next such line begins.
fn next_line(text: &str, from: usize, is_such: impl Fn(&str) -> bool) -> usize {
    let lines = text[from..].split_inclusive('\n').take_while(|line| !is_such(line));
    from + lines.map(str::len).sum::<usize>()
}

/// A header, and no array of strings.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or("").trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.[] ".contains(c);
    line.starts_with('[') && line.ends_with(']') && line.chars().all(is_part)
}

/// `[…` or `key = …`.
fn begins_statement(line: &str) -> bool {
    let is_key = |c: char| c.is_alphanumeric() || "_-.\"' ".contains(c);
    let key = line.trim_start().split_once('=').map(|(key, _)| key);
    line.trim_start().starts_with('[') || key.is_some_and(|key| key.chars().all(is_key))
}

/// Where the last `key = …` begins.
fn last_statement(text: &str) -> Option<usize> {
    let mut end = text.len();
    for line in text.split_inclusive('\n').rev() {
        end -= line.len();
        if begins_statement(line) && line.contains('=') {
            return Some(end + (line.len() - line.trim_start().len()));
        }
    }
    None
}

fn blank(text: &str, lines: &Range<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if !lines.contains(&at) || matches!(character, '\n' | '\r') {
            blanked.push(character);
        } else {
            (0..character.len_utf8()).for_each(|_| blanked.push(' '));
        }
    }
    blanked
}

fn refusal(message: &str, rest: &str) -> Refusal {
    if message.starts_with("string values must be quoted") {
        return match rest.split(['\n', '\r']).next().map(str::trim) {
            None | Some("") => Refusal::new("a value is missing", "write one, or remove the key"),
            Some(_) => Refusal::new("this value is no TOML", "write it in quotes"),
        };
    }
    if message == "duplicate key" {
        return Refusal::new("this key is set twice", "remove one of the two");
    }
    let message = message.replace(|c: char| c.is_control(), " ");
    match message.split_once(", expected ") {
        Some((problem, expected)) => {
            Refusal::new(format!("not TOML: {problem}"), format!("write {expected}"))
        }
        None => {
            Refusal::new(format!("not TOML: {message}"), "write it as TOML 1.0 (toml.io) has it")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is left, without blanks, and the offsets of what is broken.
    fn recovered(text: &str) -> (String, Vec<usize>) {
        let (legible, broken) = recover(text);
        assert_eq!(legible.len(), text.len());
        let lines: Vec<&str> = legible.lines().filter(|line| !line.trim().is_empty()).collect();
        (lines.join("|"), broken.iter().map(|broken| broken.offset).collect())
    }

    #[test]
    fn only_the_broken_statement_is_lost() {
        let rest = "[dns]|rate = 0";
        for (broken, offset) in [
            ("foo\n", 3),
            ("[probe\ndepth = 1\n", 6),
            ("[[probe]\n", 8),
            ("hosts = [\"ä\",\n", 0),
            ("hosts = [\"a\"\n\n", 0),
            ("x = {a = 1\n", 0),
            ("x = \"\"\"a\nb\n", 4),
        ] {
            let text = format!("{broken}[dns]\nrate = 0\n");
            let (left, offsets) = recovered(&text);
            assert!(left.ends_with(rest), "{text:?} left {left:?}");
            assert_eq!(offsets[0], offset, "{text:?}");
        }
        let (left, _) = recovered("[a]\nx = [\"b\"\ny = [\"c\"\nz = 1\n[b]\n");
        assert_eq!(left, "[a]|z = 1|[b]");
        assert_eq!(recovered("a = [\n1,\n2\n]\n").1, Vec::<usize>::new());
    }

    #[test]
    fn no_nesting_overflows_the_stack() {
        let deep = format!("a = 1\n{}x = {}", "x = ]\n".repeat(50_000), "[".repeat(50_000));
        let (legible, broken) = recover(&deep);
        assert_eq!(legible.lines().next(), Some("a = 1"));
        assert_eq!(broken[0].offset, deep.find("[[").expect("brackets") + DEEPEST);
        let harmless = "x = '[' # [\ny = \"\\\"[\" # [\nz = \"\"\"[\n[\"\"\"\n".repeat(100);
        assert_eq!(too_deep(&harmless), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}=\"'\\n\\r a-cü.#,]{0,80}") {
            prop_assert_eq!(recover(&text).0.len(), text.len());
        }
    }
}
