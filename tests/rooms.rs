//! The import rules of the rooms: imports point to `model`, pure rooms do no I/O and read no clock,
//! and publishers know neither `dns` nor `probe`.

use std::fs;
use std::path::{Path, PathBuf};

/// What the files below a path may import, besides what stands below that path itself.
struct Rule {
    /// A prefix of the file's path; the first rule that fits counts.
    files: &'static str,
    /// Module paths of this crate that may be named, each with everything below it.
    may_import: &'static [&'static str],
    /// No I/O and no clock.
    pure: bool,
}

const fn pure(files: &'static str, may_import: &'static [&'static str]) -> Rule {
    Rule { files, may_import, pure: true }
}

const fn free(files: &'static str, may_import: &'static [&'static str]) -> Rule {
    Rule { files, may_import, pure: false }
}

const EVERYTHING_BUT_CLI: &[&str] = &[
    "alert",
    "audit",
    "client",
    "clock",
    "config",
    "daemon",
    "demo",
    "dns",
    "journal",
    "metrics",
    "model",
    "observe",
    "preflight",
    "probe",
    "report",
    "stats",
    "web",
];

const RULES: &[Rule] = &[
    pure("src/model/", &[]),
    pure("src/client/", &["model"]),
    pure(
        "src/audit/",
        &["model", "client", "observe::history", "observe::state", "observe::resolution"],
    ),
    pure("src/observe/history", &["model"]),
    pure("src/observe/state.rs", &["model", "observe::history"]),
    pure("src/observe/resolution.rs", &["model", "observe::state"]),
    pure("src/observe/work.rs", &["model", "observe::state", "observe::resolution"]),
    pure("src/preflight/", &["model", "observe::state", "observe::resolution"]),
    pure("src/report/", &["model"]),
    pure("src/alert/notice.rs", &["model"]),
    pure("src/alert/state.rs", &["model", "alert::notice"]),
    pure("src/alert/outbox.rs", &["model", "alert::notice"]),
    pure("src/alert/alertmanager.rs", &["model", "alert::notice"]),
    pure("src/alert/webhook.rs", &["model", "alert::notice"]),
    free("src/alert/", &["model", "clock", "stats"]),
    free("src/observe/", &["model", "clock", "stats"]),
    free("src/clock.rs", &["model"]),
    free("src/stats.rs", &["model"]),
    free("src/config/", &["model"]),
    free("src/journal/", &["model", "clock"]),
    free("src/dns/", &["model", "clock", "stats"]),
    free("src/probe/", &["model", "clock", "stats"]),
    free("src/metrics/", &["model", "stats"]),
    free("src/web/", &["model", "report", "metrics", "journal", "preflight", "clock", "stats"]),
    free("src/demo/", &["model"]),
    free("src/daemon/", EVERYTHING_BUT_CLI),
    free("src/cli/", EVERYTHING_BUT_CLI),
    free("src/main.rs", &["cli"]),
    free("src/lib.rs", &[]),
];

/// Crates that do I/O or measure time.
const IO_CRATES: [&str; 11] = [
    "tokio",
    "axum",
    "hyper",
    "rustls",
    "socket2",
    "hickory_resolver",
    "rusqlite",
    "nix",
    "sd_notify",
    "libc",
    "mio",
];

#[test]
fn the_rooms_keep_their_import_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    assert!(files.len() > 20, "the sources were found");
    let violations: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(root).expect("below the root").to_string_lossy();
            violations(&path, &fs::read_to_string(file).expect("a source file"))
        })
        .collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// The sources, without those that hold tests only.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

/// Each breach of the rules in a file, as `file:line: what`.
fn violations(file: &str, source: &str) -> Vec<String> {
    let Some(rule) = RULES.iter().find(|rule| file.starts_with(rule.files)) else {
        return vec![format!("{file}:1: no rule says what this file may import")];
    };
    let tokens = without_tests(&tokens(source));
    let own = module_path(rule.files).join("::");
    let mut found = Vec::new();
    for (line, path) in crate_paths(&module_path(file), &tokens) {
        let below = |allowed: &str| path == allowed || path.starts_with(&format!("{allowed}::"));
        if !(below(&own) || rule.may_import.iter().any(|allowed| below(allowed))) {
            found.push((line, format!("imports {path}")));
        }
    }
    if rule.pure {
        found.extend(impurities(&tokens));
    }
    found.sort();
    found.into_iter().map(|(line, what)| format!("{file}:{line}: {what}")).collect()
}

/// Uses of I/O crates and of the clock.
fn impurities(tokens: &[Token]) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let (before, after) = (text(at.wrapping_sub(1)), text(at + 1));
        let is_path = after == "::" || ["use", "crate", "{", ","].contains(&before) && after != ":";
        if IO_CRATES.contains(&token.text.as_str()) && before != "::" && is_path {
            found.push((token.line, format!("uses {}, and this room is pure", token.text)));
        }
        if token.text == "std"
            && after == "::"
            && ["net", "fs", "thread", "process", "env"].contains(&text(at + 2))
        {
            let is_data = text(at + 2) == "net" && !uses_sockets(&tokens[at..]);
            if !is_data {
                found.push((
                    token.line,
                    format!("uses std::{}, and this room is pure", text(at + 2)),
                ));
            }
        }
        if token.text == "now" && before == "::" {
            found.push((token.line, "reads a clock, and this room is pure".to_owned()));
        }
    }
    found
}

/// Whether a path or use tree into `std::net` names anything but addresses.
fn uses_sockets(tokens: &[Token]) -> bool {
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
    let ends = |token: &&Token| ![";", ")", "(", "="].contains(&token.text.as_str());
    tokens.iter().take_while(ends).any(|token| sockets.contains(&token.text.as_str()))
}

/// Every path into this crate, from its root: `model::Name`.
fn crate_paths(module: &[String], tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut base = match tokens[at].text.as_str() {
            "crate" | "kmswatch" => Vec::new(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => {
                at += 1;
                continue;
            }
        };
        at += 1;
        while text(tokens, at) == "::" && text(tokens, at + 1) == "super" {
            base.pop();
            at += 2;
        }
        if text(tokens, at) == "::" {
            at = use_tree(tokens, at + 1, &base, &mut found);
        }
    }
    found
}

/// Reads `a::b`, `a::{b, c::d}`, `self` or `*` and returns where it ends.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    base: &[String],
    found: &mut Vec<(usize, String)>,
) -> usize {
    let mut path = base.to_vec();
    loop {
        match text(tokens, at) {
            "{" => {
                at += 1;
                while !["}", ""].contains(&text(tokens, at)) {
                    let end = use_tree(tokens, at, &path, found);
                    at = end.max(at + 1);
                }
                return at + 1;
            }
            word if is_word(word) && word != "self" => path.push(word.to_owned()),
            _ => {}
        }
        let line = tokens.get(at).map_or(0, |token| token.line);
        if text(tokens, at + 1) == "::"
            && (is_word(text(tokens, at + 2)) || ["{", "*"].contains(&text(tokens, at + 2)))
        {
            at += 2;
            continue;
        }
        if line > 0 && text(tokens, at) != "," {
            found.push((line, path.join("::")));
        }
        return at + 1;
    }
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// `src/observe/state.rs` → `observe`, `state`.
fn module_path(file: &str) -> Vec<String> {
    let bare = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches('/');
    let parts = bare.split('/').filter(|part| !["mod", "lib", "main"].contains(part));
    parts.map(str::to_owned).collect()
}

/// A word, `::`, or one other character, and the line where it stands.
#[derive(Debug, Clone)]
struct Token {
    line: usize,
    text: String,
}

/// The tokens of a source, without comments, strings and numbers' insides.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = if let Some(length) = blank(rest) {
            (length, false)
        } else if first.is_alphanumeric() || first == '_' {
            (rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        let (piece, tail) = rest.split_at(length);
        if is_token {
            tokens.push(Token { line, text: piece.to_owned() });
        }
        line += piece.matches('\n').count();
        rest = tail;
    }
    tokens
}

/// The length of the comment, string or character that the text begins with.
fn blank(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let literal = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - literal.len();
    if let Some(raw) = literal.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if prefix <= 1 && raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = prefix + 2 + hashes;
            return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
        }
    }
    match literal.chars().next() {
        Some('"') if prefix <= 1 => Some(prefix + quoted(literal, '"')),
        Some('\'') if prefix <= 1 && !is_lifetime(literal) => Some(prefix + quoted(literal, '\'')),
        _ => None,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn is_lifetime(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    let first = characters.next();
    first.is_some_and(|c| c.is_alphabetic() || c == '_') && characters.next() != Some('\'')
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if !escaped && character == quote {
            return at + 1;
        }
        escaped = !escaped && character == '\\';
    }
    text.len()
}

/// Without the items that carry `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if (0..ATTRIBUTE.len()).all(|offset| text(tokens, at + offset) == ATTRIBUTE[offset]) {
            at = item_end(tokens, at + ATTRIBUTE.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The item ends with a `;` or a `}` outside of all brackets.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn planted_imports_are_found() {
    let found = |file, source| violations(file, source);
    assert_eq!(
        found("src/audit/hosts.rs", "use crate::model::Name;\nuse crate::dns::Engine;"),
        ["src/audit/hosts.rs:2: imports dns::Engine"]
    );
    assert_eq!(
        found("src/report/json.rs", "use crate::{audit::texts, model::{self, Name}};"),
        ["src/report/json.rs:1: imports audit::texts"]
    );
    assert_eq!(
        found("src/web/api.rs", "fn f() {\n    crate::probe::rpc::run::<u8>();\n}"),
        ["src/web/api.rs:2: imports probe::rpc::run"]
    );
    assert_eq!(
        found(
            "src/dns/udp.rs",
            "use super::super::probe;\nuse super::wire;\nuse super::super::super::x;"
        ),
        ["src/dns/udp.rs:1: imports probe", "src/dns/udp.rs:3: imports x"]
    );
    assert_eq!(
        found("src/observe/work.rs", "use super::{schedule::Scheduler, state};"),
        ["src/observe/work.rs:1: imports observe::schedule::Scheduler"]
    );
    assert_eq!(
        found("src/model/name.rs", "use crate::clock::Clock;"),
        ["src/model/name.rs:1: imports clock::Clock"]
    );
    assert_eq!(found("src/daemon/run.rs", "use crate::cli;"), ["src/daemon/run.rs:1: imports cli"]);
    assert_eq!(
        found("src/main.rs", "use kmswatch::daemon::run;"),
        ["src/main.rs:1: imports daemon::run"]
    );
    assert_eq!(found("src/new/mod.rs", "").len(), 1);
}

#[test]
fn planted_impurities_are_found() {
    let source = "use tokio::time::Instant;\n\
        use {socket2, std::fmt};\n\
        use std::net::{IpAddr, UdpSocket};\n\
        fn f() { std::fs::read(\"x\"); jiff::Timestamp::now() }";
    assert_eq!(
        violations("src/audit/hosts.rs", source),
        [
            "src/audit/hosts.rs:1: uses tokio, and this room is pure",
            "src/audit/hosts.rs:2: uses socket2, and this room is pure",
            "src/audit/hosts.rs:3: uses std::net, and this room is pure",
            "src/audit/hosts.rs:4: reads a clock, and this room is pure",
            "src/audit/hosts.rs:4: uses std::fs, and this room is pure",
        ]
    );
    assert_eq!(violations("src/dns/udp.rs", source), [""; 0]);
}

#[test]
fn comments_strings_and_tests_are_no_imports() {
    let source = r##"
        //! See crate::dns.
        /* crate::dns /* crate::probe */ crate::web */
        use std::net::IpAddr;
        use crate::audit::causes;
        const TEXT: &str = "crate::dns \" crate::dns";
        const RAW: &str = r#"crate::dns " crate::dns"#;
        fn quote<'a>(of: &'a str, now: Now) -> char { '"' }
        #[cfg(test)]
        use crate::probe::{Probe};
        #[cfg(test)]
        mod tests { use tokio::time; fn f() { crate::dns::ask() } }
        fn last() { crate::web::serve() }
    "##;
    assert_eq!(
        violations("src/audit/hosts.rs", source),
        ["src/audit/hosts.rs:13: imports web::serve"]
    );
}
