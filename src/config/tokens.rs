//! `[web] tokens_file` → the tokens. What a token is never shows in an error.

use super::errors::{Kind, Log};
use super::file::{Item, Source};
use super::include;
use super::refusal::Refusal;
use crate::model::plan::{Token, Tokens};

/// The tokens of the file that is named, and the file as the process finds it.
pub(super) fn read(item: &Item<'_>, log: &Log) -> Option<Tokens> {
    let text = item.string(EXAMPLE)?;
    if text.is_empty() {
        return None;
    }
    let file = item.source().base.join(text);
    let read = include::read(&file, log);
    let source = item.take(read.map_err(|error| include::unreadable(&file, &error)))?;
    let tokens = lines(&source, |at, refusal| {
        log.refuse(Kind::Value, source.place(at), item.path(), refusal);
    });
    if tokens.is_empty() {
        log.warn(&item.place(), item.path(), "the file holds no token");
    }
    Some(Tokens { file, tokens: tokens.into() })
}

/// The first token of such a file.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn read_token(text: &str) -> Result<String, String> {
    let mut wrong: Option<Refusal> = None;
    let log = Log::default();
    let source = Source::new(std::path::Path::new(""), text, &log);
    let tokens = lines(&source, |_, refusal| wrong = wrong.take().or(Some(refusal)));
    match (tokens.into_iter().next(), wrong) {
        (_, Some(wrong)) => Err(wrong.into()),
        (Some(token), None) => Ok(token.secret),
        (None, None) => Err("it holds no token; write one, of at least 16 characters".to_owned()),
    }
}

fn lines(source: &Source, mut refuse: impl FnMut(usize, Refusal)) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        let start = offset + (line.len() - line.trim_start().len());
        offset += line.len();
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match token(text) {
            Ok(token) => tokens.push(token),
            Err(refusal) => refuse(start, refusal),
        }
    }
    tokens
}

/// `name:token` or `token`.
fn token(text: &str) -> Result<Token, Refusal> {
    let (name, secret) = text.split_once(':').unwrap_or(("", text));
    let (name, secret) = (name.trim(), secret.trim());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if secret.len() < SHORTEST {
        let problem = format!("this token has fewer than {SHORTEST} characters");
        return Err(Refusal::new(problem, "make one with: openssl rand -hex 32"));
    }
    if secret.len() > LONGEST || !secret.chars().all(is_plain) || name.contains(char::is_control) {
        let problem = format!(
            "this is no name:token, or its token has other characters than letters, digits and \
             -._~+/=, or over {LONGEST} of them"
        );
        return Err(Refusal::new(problem, "make one with: openssl rand -hex 32"));
    }
    let name = if name.is_empty() { "a token" } else { name };
    Ok(Token { name: name.into(), secret: secret.to_owned() })
}

/// What can be guessed is no token.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;

const EXAMPLE: &str = "\"/etc/kmswatch/tokens\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_on_a_line_of_its_own_perhaps_with_a_name() {
        let read = |text| {
            let log = Log::default();
            let source = Source::new(std::path::Path::new("t"), text, &log);
            let mut refused = Vec::new();
            let tokens = lines(&source, |at, refusal| {
                refused.push(format!("{} {refusal}", source.place(at)));
            });
            let tokens: Vec<_> =
                tokens.into_iter().map(|one| format!("{} {}", one.name, one.secret)).collect();
            (tokens, refused)
        };
        let (tokens, refused) = read(
            "# who may\n\n ops : 0123456789abcdef \n0123456789ABCDE=\nshort\nops:a b c d e f g h i\n",
        );
        assert_eq!(tokens, ["ops 0123456789abcdef", "a token 0123456789ABCDE="]);
        assert_eq!(refused.len(), 2);
        assert!(refused[0].starts_with("t:5:1 this token has fewer than 16 characters; make one"));
        assert!(refused[1].starts_with("t:6:1 this is no name:token"), "{refused:?}");
        assert!(refused.iter().all(|told| !told.contains("short") && !told.contains("a b c")));
    }

    #[test]
    fn a_command_takes_the_first_token() {
        assert_eq!(read_token("# x\nops:0123456789abcdef\n").as_deref(), Ok("0123456789abcdef"));
        assert!(read_token("# x\n").expect_err("none").contains("holds no token"));
        assert!(read_token("tiny").expect_err("short").contains("fewer than 16"));
    }
}
