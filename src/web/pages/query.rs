//! What a page is asked to show: its query string, from bytes that strangers write.

/// A query string that names what the page knows, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    values: Vec<(&'static str, String)>,
    page: usize,
}

/// A parameter of a page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parameter {
    /// Any text.
    Text(&'static str),
    /// One of these words.
    OneOf(&'static str, &'static [&'static str]),
    /// The number of a page, from 1.
    Page,
}

impl Parameter {
    fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::OneOf(name, _) => name,
            Self::Page => "page",
        }
    }
}

/// Longer than any name, id or sentence part that people look for.
const LONGEST: usize = 256;
/// Of pages: more than there are of anything.
const MOST_PAGES: usize = 1_000_000;

impl Query {
    /// Reads a query string, `application/x-www-form-urlencoded`. What is empty was not given: so forms
    /// send what nobody filled in.
    ///
    /// # Errors
    /// What is wrong, and what to write instead, in one line.
    pub(super) fn parse(query: &[u8], parameters: &[Parameter]) -> Result<Self, String> {
        let mut read = Self { values: Vec::new(), page: 1 };
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in form_urlencoded::parse(query) {
            let known = parameters.iter().find(|known| known.name() == key);
            let Some(known) = known else { return Err(unknown(&key, parameters)) };
            if seen.contains(&known.name()) {
                return Err(format!("{key} is given twice; write it once"));
            }
            seen.push(known.name());
            let value = value.trim();
            let length = value.chars().count();
            if length > LONGEST {
                return Err(format!("{key} has {length} characters; write at most {LONGEST}"));
            }
            if !value.is_empty() {
                read.take(*known, value)?;
            }
        }
        Ok(read)
    }

    fn take(&mut self, parameter: Parameter, value: &str) -> Result<(), String> {
        match parameter {
            Parameter::Text(name) => self.values.push((name, value.to_owned())),
            Parameter::OneOf(name, words) => {
                if !words.contains(&value) {
                    return Err(format!("{name} {value:?} is none; write {}", words.join(", ")));
                }
                self.values.push((name, value.to_owned()));
            }
            Parameter::Page => {
                let page = value.parse().ok().filter(|page| (1..=MOST_PAGES).contains(page));
                self.page = page.ok_or_else(|| {
                    format!("page {value:?} is none; write a number from 1 to {MOST_PAGES}")
                })?;
            }
        }
        Ok(())
    }

    /// What was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(one, _)| *one == name).map(|(_, value)| &**value)
    }

    /// What was given, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// What is searched for.
    pub(super) fn q(&self) -> &str {
        self.text("q")
    }

    /// What is searched for, as names and words are compared; `None` where nothing is.
    pub(super) fn needle(&self) -> Option<String> {
        self.get("q").map(str::to_lowercase)
    }

    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// Whether less than everything is shown.
    pub(super) fn is_filtered(&self) -> bool {
        self.values.iter().any(|(name, _)| *name != SPAN)
    }

    /// What was given, as a query string without its mark.
    pub(super) fn encoded(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.values).finish()
    }

    /// The same, at another page.
    pub(super) fn link(&self, page: usize) -> String {
        self.link_with("page", &page.to_string())
    }

    /// The same, with this parameter as well.
    pub(super) fn link_with(&self, name: &str, value: &str) -> String {
        let mut link = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        let kept = self.values.iter().filter(|(one, _)| *one != name);
        for (name, value) in kept {
            link.append_pair(name, value);
        }
        link.append_pair(name, value).finish()
    }
}

/// The parameter that says how much of the past is shown; it leaves nothing out.
pub(super) const SPAN: &str = "span";

fn unknown(key: &str, parameters: &[Parameter]) -> String {
    let key: String = key.chars().take(80).collect();
    let names: Vec<&str> = parameters.iter().map(|known| known.name()).collect();
    match names.is_empty() {
        true => format!("{key:?} is nothing that this page knows; it takes no parameters"),
        false => format!("{key:?} is nothing that this page knows; write {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Parameter] = &[
        Parameter::Text("q"),
        Parameter::OneOf("status", &["ok", "critical"]),
        Parameter::Text(SPAN),
        Parameter::Page,
    ];

    #[test]
    fn what_is_asked_is_read_and_linked() {
        let query = Query::parse(b"q=+a%26b+&status=&page=3&span=30d", KNOWN).expect("it fits");
        assert_eq!((query.q(), query.get("status"), query.page()), ("a&b", None, 3));
        assert_eq!(query.link(4), "?q=a%26b&span=30d&page=4");
        assert!(query.is_filtered());
        let all = Query::parse(b"span=30d&q=", KNOWN).expect("it fits");
        assert!(!all.is_filtered() && all.needle().is_none());
        assert_eq!(all.page(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (query, told) in [
            ("x=1", "\"x\" is nothing that this page knows; write q, status, span, page"),
            ("q=a&q=b", "q is given twice"),
            ("q=&q=", "q is given twice"),
            ("status=bad", "write ok, critical"),
            ("page=0", "write a number from 1"),
            ("page=-1", "write a number from 1"),
            ("page=99999999999999999999", "write a number from 1"),
        ] {
            let wrong = Query::parse(query.as_bytes(), KNOWN).expect_err(query);
            assert!(wrong.contains(told), "{query}: {wrong}");
        }
        let long = format!("q={}", "x".repeat(10_000));
        let wrong = Query::parse(long.as_bytes(), KNOWN).expect_err("too long");
        assert_eq!(wrong, "q has 10000 characters; write at most 256");
        let wrong = Query::parse(b"x=1", &[]).expect_err("no parameters");
        assert!(wrong.contains("takes no parameters"));
    }
}
