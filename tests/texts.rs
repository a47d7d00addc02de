//! The pages of `docs/checks/` are whole, and belong to the checks that this version raises.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kmswatch::audit::texts::{Key, Part, page};
use kmswatch::model::Check;

const SECTIONS: [&str; 6] = [
    "What it means",
    "How it comes about",
    "What Windows shows",
    "See",
    "Mend",
    "About the commands",
];

fn built() -> impl Iterator<Item = Check> {
    Check::ALL.iter().copied().filter(|check| check.is_built())
}

/// Every `{word}` of a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    words.map(|(word, _)| word).filter(|word| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    })
}

#[test]
fn every_built_check_has_a_page_and_every_page_a_built_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .expect("docs/checks")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a UTF-8 name"))
        .collect();
    let expected: BTreeSet<String> = built().map(|check| format!("{check}.md")).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_page_has_its_title_summary_and_sections() {
    for check in built() {
        let page = page(check);
        let mut lines = page.lines();
        assert_eq!(lines.next(), Some(format!("# {check}").as_str()));
        assert_eq!(lines.next(), Some(""), "{check}");
        assert!(lines.next().is_some_and(|summary| summary.ends_with('.')), "{check}: a sentence");
        assert_eq!(lines.next(), Some(""), "{check}: the summary is one line");
        let sections: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        assert_eq!(sections, SECTIONS, "{check}");
        assert!(
            page.lines().all(|line| line.chars().count() <= 250),
            "{check}: a line is too long"
        );
        assert_eq!(page.matches("```").count() % 2, 0, "{check}: a fence is open");
    }
}

#[test]
fn every_placeholder_is_known_and_every_known_one_used() {
    let known: BTreeSet<&str> = Key::ALL.iter().map(|key| key.as_str()).collect();
    let used: BTreeSet<&str> = built().flat_map(|check| placeholders(page(check))).collect();
    assert_eq!(used, known);
}

#[test]
fn every_part_is_known_and_every_known_one_used() {
    let known: BTreeSet<&str> = Part::ALL.iter().map(|part| part.as_str()).collect();
    let used: Vec<&str> = built()
        .flat_map(|check| page(check).lines().filter_map(|l| l.strip_prefix("### ")))
        .collect();
    assert_eq!(used.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(used.len(), known.len(), "each belongs to one page");
}

#[test]
fn slmgr_is_used_with_switches_that_exist() {
    const SWITCHES: [&str; 8] =
        ["/skms", "/ckms", "/skms-domain", "/dlv", "/ato", "/cdns", "/sdns", "/sprt"];
    for check in built() {
        for call in page(check).split("slmgr.vbs ").skip(1).filter(|call| call.starts_with('/')) {
            let end =
                call.find(|c: char| !matches!(c, 'a'..='z' | '/' | '-')).unwrap_or(call.len());
            assert!(SWITCHES.contains(&&call[..end]), "{check}: slmgr.vbs {}", &call[..end]);
        }
    }
}
