//! Documents in each format: whole, and with any text in any place.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use roxmltree::ParsingOptions;

use super::text::clean;
use super::{
    Cell, Document, Item, Section, State, Table, document, fixture, html, junit, markdown,
};
use crate::model::finding::ClientError;
use crate::model::{Check, Severity, Snapshot, Status, Subject};

fn junit_of(snapshot: &Snapshot) -> String {
    junit(&document(snapshot), Severity::Warning)
}

#[test]
fn samples_are_as_they_were_looked_at() {
    let document = document(&fixture::troubled());
    let page = include_str!("expected/troubled.html")
        .replace("{css}", concat!(include_str!("colors.css"), include_str!("html.css")))
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(html(&document), page);
    assert_eq!(markdown(&document), include_str!("expected/troubled.md"));
    assert_eq!(junit_of(&fixture::troubled()), include_str!("expected/troubled.xml"));
}

/// Every case as `suite: name: what it came to`.
fn cases(junit: &str) -> Vec<String> {
    let xml = roxmltree::Document::parse(junit).expect("well-formed");
    let cases = xml.descendants().filter(|node| node.has_tag_name("testcase"));
    let line = |case: roxmltree::Node| {
        let suite = case.attribute("classname").expect("a suite");
        let name = case.attribute("name").expect("a name");
        let result = case.first_element_child().expect("a result").tag_name().name().to_owned();
        format!("{suite}: {name}: {result}")
    };
    cases.map(line).collect()
}

#[test]
fn a_domain_without_findings_passes_and_what_is_explained_is_skipped() {
    let well =
        ["east", "parked", "west"].map(|name| format!("{name}.example: no finding: system-out"));
    assert_eq!(cases(&junit_of(&fixture::healthy())), well);
    let expected = [
        "berlin.example: srv-missing berlin.example at hq: failure",
        "east.example: no finding: system-out",
        "lab.example: redundancy-none lab.example: system-out",
        "north.example: host-down kms-n2.north.example:1688: failure",
        "north.example: redundancy-lost north.example: skipped",
        "south.example: host-down kms-n2.north.example:1688: failure",
        "south.example: all-hosts-down south.example: skipped",
    ];
    assert_eq!(cases(&junit_of(&fixture::troubled())), expected);
}

#[test]
fn every_profile_is_shown_and_is_a_suite() {
    let mut snapshot = fixture::with_profiles();
    let shop = Subject::Profile("shop".into());
    let hit = ["west.example"];
    let text = "It finds no host.";
    let finding = fixture::finding(Check::ProfileNoKms, Severity::Critical, shop, &hit, text);
    snapshot.findings = vec![Arc::new(finding)];
    let expected = [
        "profile:lab: no finding: system-out",
        "profile:shop: profile-no-kms shop: failure",
        "profile:van: no finding: skipped",
    ];
    let cases = cases(&junit_of(&snapshot));
    let of_profiles: Vec<&String> =
        cases.iter().filter(|case| case.starts_with("profile:")).collect();
    assert_eq!(of_profiles, expected);
    let document = document(&snapshot);
    let text = markdown(&document);
    assert!(text.contains("### Profiles\n"), "{text}");
    for row in ["| lab ", "| shop ", "| van "] {
        assert!(text.contains(row), "{row}: {text}");
    }
    assert!(text.contains("kms-e1.east.example 75 % up<br>kms-e2.east.example 25 % up"), "{text}");
    assert!(text.contains("? unknown"), "{text}");
    assert!(html(&document).contains("kms-w1.west.example Office down"));
}

#[test]
fn a_finding_that_hits_no_domain_is_a_suite_of_its_own() {
    let mut snapshot = fixture::healthy();
    let server = Subject::Server(fixture::hq().upstreams[1].clone());
    let text = "It answers nothing.";
    let finding = fixture::finding(Check::ServerFailure, Severity::Warning, server, &[], text);
    snapshot.findings = vec![Arc::new(finding)];
    let expected = "server:10.0.0.54:5353: server-failure 10.0.0.54:5353: failure";
    assert_eq!(cases(&junit_of(&snapshot))[2], expected);
    assert!(markdown(&document(&snapshot)).contains("server-failure 10.0.0.54:5353**: It answers"));
}

#[test]
fn fail_on_decides_what_fails_and_the_counts_follow() {
    let document = document(&fixture::troubled());
    for (fail_on, failures) in
        [(Severity::Info, 4), (Severity::Warning, 3), (Severity::Critical, 3)]
    {
        let text = junit(&document, fail_on);
        let xml = roxmltree::Document::parse(&text).expect("well-formed");
        assert_eq!(xml.descendants().filter(|node| node.has_tag_name("failure")).count(), failures);
        for node in xml.descendants().filter(|node| node.has_attribute("failures")) {
            for (attribute, element) in [("tests", "testcase"), ("failures", "failure")] {
                let count = node.descendants().filter(|node| node.has_tag_name(element)).count();
                assert_eq!(node.attribute(attribute), Some(count.to_string().as_str()));
            }
        }
    }
}

#[test]
fn evidence_that_no_row_shows_is_told() {
    let mut snapshot = fixture::troubled();
    let finding = Arc::make_mut(&mut snapshot.findings[0]);
    finding.evidence.insert("answers".to_owned(), serde_json::json!({ "10.0.0.53": "nxdomain" }));
    finding.evidence.insert("path".to_owned(), "10.0.0.9%eth1".into());
    finding.evidence.insert("ttl_seconds".to_owned(), serde_json::json!([5, 7]));
    let text = markdown(&document(&snapshot));
    let expected = "Evidence:\n\n| Name         | Value         |\n| ------------ | ------------- |\n\
                    | path         | 10.0.0.9%eth1 |\n| ttl\\_seconds | 5<br>7        |\n";
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("answers |"), "{text}");
}

#[test]
fn a_comment_is_never_too_long_and_says_what_it_lacks() {
    let mut snapshot = fixture::troubled();
    snapshot.domains = vec![snapshot.domains[3].clone(); 500];
    snapshot.findings = vec![snapshot.findings[1].clone(); 500];
    snapshot.hosts.clear();
    let text = markdown(&document(&snapshot));
    assert!(text.chars().count() <= 65_536, "{}", text.len());
    let shown = text.matches("**✘ critical host-down").count();
    assert!(shown > 30, "{shown}");
    let left_out = 500 - shown + 500 - 40;
    let end = format!("\n{left_out} more left out: too long for a comment.\n");
    assert!(text.contains(&end), "{}", &text[text.len() - 900..]);
}

/// A document with this text wherever a document has text.
fn full_of(text: &str) -> Document {
    let one_line = text.replace(['\r', '\n'], " ");
    let table = || Table {
        caption: text.to_owned(),
        headers: vec![text.to_owned(); 2],
        rows: vec![
            vec![text.into(), Cell::marked(State::Unknown, text)],
            vec![text.into(), vec![text.to_owned(); 2].into()],
        ],
    };
    let item = |state| {
        Arc::new(Item {
            details: vec![text.to_owned()],
            client_error: Some(ClientError(0xC004_F074)),
            evidence: vec![table()],
            remedy: format!("{}\n  {one_line}\n  {one_line}", one_line.trim()),
            took: Some(Duration::from_millis(2)),
            ..Item::new(text, text, state, text)
        })
    };
    let sections = vec![Section {
        title: text.to_owned(),
        state: Some(State::Warning),
        text: vec![text.to_owned()],
        items: [State::Passed, State::Critical, State::Skipped].map(item).to_vec(),
        tables: vec![table()],
    }];
    Document {
        title: text.to_owned(),
        status: Status::Critical,
        verdict: text.to_owned(),
        closing: text.to_owned(),
        started: fixture::time("2026-03-01T12:00:00Z"),
        took: Duration::from_secs(1),
        suites: Document::suites_of(&sections),
        sections,
    }
}

/// Anything that is more than blanks, with much of what formats read as their own.
fn foreign() -> impl Strategy<Value = String> {
    let special =
        r#"[-+=.:;0-9a-z<>&"'`*_|~!#@$%^\\/(){}\[\] \n\r\t\x00\x1b\u{85}\u{202e}\u{fffe}]{1,24}"#;
    let text = prop_oneof![special, any::<String>(), Just("]]>".into()), Just("</title>".into())];
    text.prop_filter("more than blanks", |text: &String| {
        !text.trim().is_empty() && !text.replace(['\r', '\n'], " ").trim().is_empty()
    })
}

/// The elements of an XML (or, as far as it is both, HTML) document with their attributes' names.
fn elements(text: &str) -> Vec<String> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let xml = roxmltree::Document::parse_with_options(text, options);
    let xml = xml.unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let name = |node: roxmltree::Node| {
        let attributes: Vec<&str> = node.attributes().map(|attribute| attribute.name()).collect();
        format!("{} {attributes:?}", node.tag_name().name())
    };
    xml.descendants().filter(roxmltree::Node::is_element).map(name).collect()
}

/// The blocks and inlines of a Markdown document, without texts and comments.
fn blocks(text: &str) -> Vec<String> {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let shown = |event: Event| match event {
        Event::Start(Tag::HtmlBlock) | Event::Text(_) => None,
        Event::Start(tag) => Some(format!("{tag:?}")),
        Event::InlineHtml(html) if &*html == "<!-- -->" => None,
        Event::End(_) => Some("end".to_owned()),
        other => Some(format!("{other:?}")),
    };
    parser.filter_map(shown).collect()
}

fn is_clean(text: &str) -> bool {
    matches!(clean(&text.replace('\n', "")), Cow::Borrowed(_))
}

proptest! {
    #[test]
    fn no_text_changes_what_xml_and_html_are_made_of(text in foreign()) {
        let (plain, hostile) = (full_of("plain"), full_of(&text));
        for render in [html, |document: &Document| junit(document, Severity::Warning)] {
            let rendered = render(&hostile);
            prop_assert_eq!(elements(&rendered), elements(&render(&plain)));
            prop_assert!(is_clean(&rendered), "{}", rendered);
        }
        let rendered = junit(&hostile, Severity::Warning);
        let xml = roxmltree::Document::parse(&rendered).expect("well-formed");
        let failure = xml.descendants().find(|node| node.has_tag_name("failure")).expect("one");
        prop_assert_eq!(failure.attribute("message"), Some(&*clean(&text)));
    }

    #[test]
    fn no_text_changes_what_markdown_is_made_of(text in foreign()) {
        let rendered = markdown(&full_of(&text));
        prop_assert_eq!(blocks(&rendered), blocks(&markdown(&full_of("plain"))), "{}", rendered);
        prop_assert!(is_clean(&rendered), "{}", rendered);
    }
}
