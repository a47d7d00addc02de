//! What is said of a value that cannot be taken: the problem, and what to write instead.

use std::fmt;

use crate::model::NameError;

/// Why a text is refused; shows as `problem; advice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong, without secrets.
    pub problem: String,
    /// What to write instead.
    pub advice: String,
}

impl Refusal {
    pub(super) fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { problem: problem.into(), advice: advice.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.problem, self.advice)
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.to_string()
    }
}

/// The texts of a [`NameError`] are made of a problem and an advice as well.
impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        let text = error.to_string();
        match text.rsplit_once("; ") {
            Some((problem, advice)) => Self::new(problem, advice),
            None => Self::new(text, "write a DNS name such as \"contoso.com\""),
        }
    }
}

/// Refuses what is written as a URL where a name is wanted, before a part of it could be quoted that
/// holds a password.
pub(super) fn no_url(text: &str, example: &str) -> Result<(), Refusal> {
    // A scheme ends in a colon, and hardly any name has one.
    if !text.contains(['@', ':']) || !text.contains("://") && !text.contains('@') {
        return Ok(());
    }
    Err(Refusal::new(
        format!("{} is no name but a URL or an account", shown(text)),
        format!("write the name alone, such as \"{example}\""),
    ))
}

/// A value as an error quotes it: escaped, without passwords, and no more than is worth showing.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let masked = mask(text);
    match masked.char_indices().nth(MOST) {
        Some((at, _)) => format!("{:?}", format!("{}…", &masked[..at])),
        None => format!("{masked:?}"),
    }
}

/// The text with the password of anything that looks like `user:password@`, and the query of a URL,
/// replaced by `***`.
pub(super) fn mask(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| mask_word(word.trim_end()) + &word[word.trim_end().len()..]).collect()
}

fn mask_word(word: &str) -> String {
    // Whatever a URL asks for may be a token.
    let (word, query) = match word.split_once('?') {
        Some((word, _)) if word.contains("://") => (word, "?***"),
        _ => (word, ""),
    };
    let masked = word.rfind('@').and_then(|at| {
        let start = word[..at].find("://").map_or(0, |scheme| scheme + "://".len());
        let colon = start + word[start..at].find(':')?;
        Some(format!("{}***{}", &word[..=colon], &word[at..]))
    });
    masked.unwrap_or_else(|| word.to_owned()) + query
}

/// `did you mean NEAREST?`, or all that is known where nothing is near.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    const NEAR: f64 = 0.5;
    match nearest(word, known.clone()) {
        Some((similarity, candidate)) if similarity >= NEAR => format!("did you mean {candidate}?"),
        _ => format!("write one of {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The known word that is most like this one, and how much, 0..=1; `None` where none is known.
/// Case does not matter where what is known is lower case.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<(f64, &'a str)> {
    let lower = word.to_lowercase();
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&lower, candidate), candidate))
        // Of equals the first.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        assert_eq!(mask("http://u:p@h/"), "http://u:***@h/");
        assert_eq!(
            mask("see https://u:a/b@c:d@h:1 and x:y@z"),
            "see https://u:***@h:1 and x:***@z"
        );
        assert_eq!(mask("http://h:80/a"), "http://h:80/a");
        assert_eq!(mask("http://h/?token=x next?"), "http://h/?*** next?");
        assert_eq!(mask("me@contoso.com"), "me@contoso.com");
        assert!(!no_url("https://u:hunter2@h:1", "a").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn the_nearest_is_named_and_else_all() {
        let known = ["timeout", "attempts", "rate"];
        assert_eq!(suggest("Time_out", known.into_iter()), "did you mean timeout?");
        assert_eq!(suggest("zzz", known.into_iter()), "write one of timeout, attempts, rate");
    }

    #[test]
    fn a_megabyte_is_not_shown() {
        assert_eq!(shown(&"ä".repeat(1 << 20)), format!("\"{}…\"", "ä".repeat(80)));
    }
}
