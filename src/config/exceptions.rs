//! `[[exception]]` → accepted findings.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::file::{Item, Keys, Section};
use super::refusal::{Refusal, shown, suggest};
use crate::model::plan::Exception;
use crate::model::{Check, Name, Severity};

/// The exceptions, in the order of the config.
pub(super) fn read(root: &Section<'_>) -> Vec<Exception> {
    root.tables("exception", &EXCEPTION).iter().map(exception).collect()
}

fn exception(section: &Section<'_>) -> Exception {
    const REASON: &str = "\"labs have one host\"";
    let checks = section.require("checks", "[\"redundancy-none\"]").map(|item| checks(&item));
    let no_domain = "name some, or leave the key out for all";
    let (patterns, domains) =
        section.get("domains").map_or_else(everywhere, |item| globs(&item, no_domain));
    let severity = section.require("severity", "\"off\"").and_then(|item| severity(&item));
    let reason = section.require("reason", REASON);
    let reason = reason
        .and_then(|item| item.read(REASON, |text| not_empty(text, "why the finding is accepted")));
    Exception {
        checks: checks.unwrap_or_default(),
        patterns,
        domains,
        severity,
        reason: reason.map(str::to_owned),
        expires: section.get("expires").and_then(|item| item.date("2027-06-30")),
    }
}

fn checks(item: &Item<'_>) -> Vec<Check> {
    let items = item.array("[\"redundancy-none\"]").unwrap_or_default();
    if items.is_empty() && item.is_empty_array() {
        item.refuse(Refusal::new("no check", "name one, such as \"redundancy-none\""));
    }
    items.iter().filter_map(|item| item.read("\"redundancy-none\"", check)).collect()
}

fn check(id: &str) -> Result<Check, Refusal> {
    let built = Check::ALL.iter().filter(|check| check.is_built()).map(|check| check.as_str());
    match Check::parse(id) {
        Some(check) if check.is_built() => Ok(check),
        Some(_) => Err(Refusal::new(format!("{} is not in this version", shown(id)), "remove it")),
        None => Err(Refusal::new(format!("{} is no check", shown(id)), suggest(id, built))),
    }
}

/// `None`: off, or refused.
fn severity(item: &Item<'_>) -> Option<Severity> {
    if item.is_string(Severity::Critical.as_str()) {
        item.refuse(Refusal::new(
            "an exception makes a finding no worse",
            "write \"off\" or \"info\" or \"warning\"",
        ));
        return None;
    }
    let words = [Severity::Info, Severity::Warning].map(|one| (one.as_str(), Some(one)));
    item.choose(&[("off", None), words[0], words[1]]).flatten()
}

/// A text that says something.
pub(super) fn not_empty<'a>(text: &'a str, what: &str) -> Result<&'a str, Refusal> {
    let refusal = || Refusal::new("empty", format!("write {what}"));
    (!text.trim().is_empty()).then_some(text).ok_or_else(refusal)
}

/// Globs of domains, as written and compiled.
pub(super) fn globs(item: &Item<'_>, no_domain: &str) -> (Vec<String>, GlobSet) {
    let items = item.array("[\"*.lab.contoso.com\"]").unwrap_or_default();
    if items.is_empty() && item.is_empty_array() {
        item.refuse(Refusal::new("no domain", no_domain));
    }
    let read = |item: &Item<'_>| {
        item.read("\"*.lab.contoso.com\"", |text| Ok((text.to_owned(), glob(text)?)))
    };
    let (patterns, globs): (Vec<String>, Vec<Glob>) = items.iter().filter_map(read).unzip();
    let set = globs.into_iter().fold(GlobSetBuilder::new(), |mut set, glob| {
        set.add(glob);
        set
    });
    let too_big = |_| Refusal::new("too large together", "write fewer or shorter globs");
    (patterns, item.take(set.build().map_err(too_big)).unwrap_or_default())
}

fn everywhere() -> (Vec<String>, GlobSet) {
    let set = glob(EVERYWHERE).ok().and_then(|glob| GlobSet::new([glob]).ok());
    (vec![EVERYWHERE.to_owned()], set.unwrap_or_default())
}

const EVERYWHERE: &str = "*";

/// A glob over domain names as the plan has them; `*` spans labels.
fn glob(text: &str) -> Result<Glob, Refusal> {
    let refused = |problem: &str| {
        let problem = format!("{} is no glob: {problem}", shown(text));
        Refusal::new(problem, "write one such as \"*.lab.contoso.com\"")
    };
    if text.trim().is_empty() {
        return Err(refused("empty"));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let labels: Result<Vec<String>, Refusal> = bare.split('.').map(ascii_label).collect();
    let glob = labels?.join(".");
    let built = GlobBuilder::new(&glob).case_insensitive(true).literal_separator(false).build();
    built.map_err(|error| refused(&error.kind().to_string()))
}

/// Domains are matched in punycode.
fn ascii_label(label: &str) -> Result<String, Refusal> {
    if label.is_ascii() {
        return Ok(label.to_owned());
    }
    if label.contains(['*', '?', '[', ']', '{', '}', '\\', ',']) {
        return Err(Refusal::new(
            format!("{} mixes wildcards and letters outside ASCII in a label", shown(label)),
            "write whole labels, or the label in punycode",
        ));
    }
    Ok(Name::parse(label)?.to_string())
}

const EXCEPTION: Keys =
    Keys { known: &["checks", "domains", "severity", "reason", "expires"], later: &[] };

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        glob(pattern).expect("a valid glob").compile_matcher().is_match(name)
    }

    #[test]
    fn a_star_spans_labels_and_case_does_not_matter() {
        assert!(matches("*.lab.contoso.com", "a.lab.contoso.com"));
        assert!(matches("*.LAB.contoso.com.", "a.b.lab.contoso.com"));
        assert!(!matches("*.lab.contoso.com", "lab.contoso.com"));
        assert!(matches("*.münchen.example", "a.xn--mnchen-3ya.example"));
        assert!(everywhere().1.is_match("contoso.com"));
    }

    #[test]
    fn wrong_globs_are_refused() {
        let refused = |text| glob(text).unwrap_err().to_string();
        assert_eq!(
            refused("a[.com"),
            "\"a[.com\" is no glob: unclosed character class; missing ']'; write one such as \
             \"*.lab.contoso.com\""
        );
        assert_eq!(
            refused("mü*.example"),
            "\"mü*\" mixes wildcards and letters outside ASCII in a label; write whole labels, or \
             the label in punycode"
        );
    }
}
