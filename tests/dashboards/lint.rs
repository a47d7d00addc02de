//! Our own rules, which no type tells.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kmswatch::metrics::names::{self, Kind};
use kmswatch::model::{Check, FindingState, LookupOutcome, ProbeOutcome, Severity};
use serde_json::{Value, json};

use crate::board::{Asked, Board, all, list, root, text};
use crate::promql::{clauses, selectors};

/// Of the families that every Prometheus client has.
const PROCESS: [&str; 5] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

/// Okabe and Ito's, which all can tell apart: blue, sky blue, orange, vermillion; and grey.
const COLOURS: [&str; 5] = ["#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#999999"];

const REPOSITORY: &str = "https://github.com/kmswatch/kmswatch/";

const SOURCE: &str = "${datasource}";

#[test]
fn there_are_four_and_their_files_are_formatted() {
    let boards = all();
    let names: Vec<&str> = boards.iter().map(|board| &*board.name).collect();
    assert_eq!(names, ["domain", "hosts", "overview", "self"]);
    for board in &boards {
        let formatted = serde_json::to_string_pretty(&board.json).expect("JSON") + "\n";
        let line = formatted.lines().zip(board.text.lines()).position(|(one, other)| one != other);
        assert!(
            formatted == board.text,
            "{}: line {line:?} (counted from 0): keys sorted, two spaces",
            board.name
        );
    }
}

#[test]
fn each_is_found_and_leads_to_the_others() {
    let boards = all();
    for board in &boards {
        assert_eq!(board.json["uid"], format!("kmswatch-{}", board.name));
        assert!(list(&board.json["tags"]).contains(&json!("kmswatch")), "{}", board.name);
        assert!(board.json["id"].is_null(), "{}: Grafana gives it", board.name);
        let links: Vec<&str> =
            list(&board.json["links"]).iter().map(|link| text(&link["url"])).collect();
        assert!(links.contains(&"${page:raw}/"), "{}", board.name);
        for other in boards.iter().filter(|other| other.name != board.name) {
            let start = format!("/d/kmswatch-{}?", other.name);
            assert!(
                links.iter().any(|link| link.starts_with(&start)),
                "{} to {}",
                board.name,
                other.name
            );
        }
    }
    let titles: HashSet<&str> = boards.iter().map(|board| text(&board.json["title"])).collect();
    assert_eq!(titles.len(), boards.len());
}

#[test]
fn every_link_leads_somewhere() {
    let boards: HashSet<String> =
        all().iter().map(|board| format!("/d/kmswatch-{}", board.name)).collect();
    // The pages of the contract.
    let pages = ["/", "/domains/", "/hosts", "/findings", "/profiles", "/journal"];
    for board in all() {
        let mut links = Vec::new();
        texts(&board.json, "url", &mut links);
        assert!(links.len() > 4, "{}", board.name);
        for link in links {
            let known = if let Some(page) = link.strip_prefix("${page:raw}") {
                pages.contains(&page.split("${").next().unwrap_or_default())
            } else if let Some(page) = link.strip_prefix(REPOSITORY) {
                let (_, file) = page.split_once("/main/").expect("of the main branch");
                files(file).all(|file| root().join(file).exists())
            } else {
                boards.contains(link.split('?').next().unwrap_or_default())
            };
            assert!(known, "{}: {link}", board.name);
        }
    }
}

/// The files that a link to the repository may lead to: one for each check where it names one.
fn files(link: &str) -> impl Iterator<Item = String> {
    let checks = Check::ALL.iter().filter(|check| check.is_built());
    checks.map(move |check| {
        let names = ["${__data.fields.check}", "${__field.labels.check}"];
        names.iter().fold(link.to_owned(), |link, name| link.replace(name, check.as_str()))
    })
}

#[test]
fn every_panel_says_what_it_shows() {
    for board in all() {
        let mut ids = HashSet::new();
        for panel in board.panels() {
            let place = format!("{} / {}", board.name, panel["title"]);
            assert!(ids.insert(panel["id"].to_string()), "{place}: its id is another's");
            let description = text(&panel["description"]);
            assert!(
                !text(&panel["title"]).is_empty() && description.ends_with('.'),
                "{place}: {description:?}"
            );
            assert_ne!(description.trim_end_matches('.'), text(&panel["title"]), "{place}");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(&defaults["unit"]).is_empty(), "{place}: no unit");
            let targets = list(&panel["targets"]);
            assert!(!targets.is_empty(), "{place}");
            let refs: HashSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(refs.len(), targets.len(), "{place}");
            for asked in targets.iter().chain([panel]) {
                assert_eq!(
                    asked["datasource"],
                    json!({ "type": "prometheus", "uid": SOURCE }),
                    "{place}"
                );
            }
            for target in targets.iter().filter(|target| target["format"] != "table") {
                assert!(
                    !["", "__auto"].contains(&text(&target["legendFormat"])),
                    "{place}: no legend"
                );
            }
            let states = panel["type"] == "state-timeline";
            assert!(
                !states || !list(&defaults["mappings"]).is_empty(),
                "{place}: states need words"
            );
        }
    }
}

/// The table of `docs/grafana.md` that leads from a question to a panel.
#[test]
fn the_docs_name_panels_that_there_are() {
    let docs = std::fs::read_to_string(root().join("docs/grafana.md")).expect("docs/grafana.md");
    let boards = all();
    let mut told = BTreeSet::new();
    for row in docs.lines().filter(|line| line.contains("? | ")) {
        let [_, _, board, panel, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}: question, dashboard, panel");
        };
        let board = boards.iter().find(|one| one.name == board).unwrap_or_else(|| panic!("{row}"));
        assert!(board.panels().any(|one| one["title"] == panel), "{row}");
        told.insert(&board.name);
    }
    assert_eq!(told.len(), boards.len(), "each answers something");
}

#[test]
fn no_panel_covers_another_or_leaves_the_grid() {
    for board in all() {
        let mut covered: BTreeMap<(u64, u64), &str> = BTreeMap::new();
        for panel in list(&board.json["panels"]) {
            let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let (x, y, width, height) = (place("x"), place("y"), place("w"), place("h"));
            assert!(x + width <= 24, "{}", panel["title"]);
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                let other = covered.insert(cell, text(&panel["title"]));
                assert_eq!(other, None, "{} covers it", panel["title"]);
            }
        }
    }
}

#[test]
fn colours_are_told_apart_by_all_and_stand_beside_words() {
    for board in all() {
        for key in ["color", "fixedColor", "iconColor", "fill"] {
            let mut colours = Vec::new();
            texts(&board.json, key, &mut colours);
            for colour in colours {
                assert!(COLOURS.contains(&colour), "{}: {colour}", board.name);
            }
        }
        each(&board.json, &mut |value| {
            if value.get("color").is_some_and(Value::is_string) && value.get("index").is_some() {
                let text = text(&value["text"]);
                assert!(
                    text.chars().next().is_some_and(|shape| "●○▲✖?".contains(shape)),
                    "{text}: no shape"
                );
                assert!(text.len() > 4, "{text}: no word");
            }
        });
    }
}

#[test]
fn variables_are_there_and_used() {
    for board in all() {
        let names: Vec<&str> =
            board.variables().iter().map(|variable| text(&variable["name"])).collect();
        assert!(names.starts_with(&["datasource", "job", "instance"]), "{names:?}");
        assert_eq!(names.contains(&"domain"), board.name != "self");
        assert_eq!(names.contains(&"target"), board.name == "hosts");
        let mut used = BTreeSet::new();
        for (at, _) in board.text.match_indices('$') {
            let rest = board.text[at + 1..].trim_start_matches('{');
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            used.insert(&rest[..end]);
        }
        used.retain(|name| !name.starts_with("__"));
        assert_eq!(used, names.iter().copied().collect(), "{}", board.name);
        for variable in board.variables() {
            assert!(text(&variable["description"]).ends_with('.'), "{variable}");
            if variable["type"] == "query" {
                assert_eq!(variable["datasource"]["uid"], SOURCE, "{variable}");
            }
        }
    }
}

#[test]
fn queries_read_families_and_labels_that_there_are() {
    for Asked { place, query, .. } in all().iter().flat_map(everything) {
        let selectors = selectors(&query);
        assert!(!selectors.is_empty(), "{place}");
        let mut labels: HashSet<&str> = ["job", "instance", "what"].into();
        for selector in &selectors {
            let of_metric = labels_of(selector.metric)
                .unwrap_or_else(|| panic!("{place}: {}", selector.metric));
            for matcher in &selector.matchers {
                let known = ["job", "instance"].contains(&matcher.label)
                    || of_metric.contains(&matcher.label);
                assert!(known, "{place}: {} has no label {}", selector.metric, matcher.label);
                words_are_known(&place, selector.metric, matcher.label, matcher.value);
            }
            labels.extend(of_metric);
        }
        for label in ["by", "on"].iter().flat_map(|word| clauses(&query, word)).flatten() {
            assert!(labels.contains(label), "{place}: {label}");
        }
    }
}

#[test]
fn queries_look_at_the_chosen_job_and_instance_alone() {
    for asked in all().iter().flat_map(Board::asked) {
        for selector in selectors(&asked.query) {
            for (label, chosen) in [("job", "$job"), ("instance", "$instance")] {
                let narrowed = |matcher: &crate::promql::Matcher| {
                    (matcher.label, matcher.operator, matcher.value) == (label, "=~", chosen)
                };
                assert!(
                    selector.matchers.iter().any(narrowed),
                    "{}: {} by {label}",
                    asked.place,
                    selector.metric
                );
            }
        }
    }
}

/// Where outcomes become states, none is forgotten and none stands twice.
#[test]
fn every_outcome_has_its_state() {
    let boards = all();
    for (metric, all) in [
        ("kmswatch_srv_lookup_outcome", outcomes(LookupOutcome::ALL.map(LookupOutcome::as_str))),
        ("kmswatch_endpoint_outcome", outcomes(ProbeOutcome::ALL.map(ProbeOutcome::as_str))),
    ] {
        let mut states = 0;
        for asked in boards.iter().flat_map(Board::asked) {
            let found = selectors(&asked.query);
            let words = found.iter().filter(|selector| selector.metric == metric);
            let words = words
                .flat_map(|selector| &selector.matchers)
                .filter(|matcher| matcher.label == "outcome");
            let mut words: Vec<&str> = words.flat_map(|matcher| matcher.value.split('|')).collect();
            if !words.is_empty() {
                words.sort_unstable();
                assert_eq!(words, all, "{}", asked.place);
                states += 1;
            }
        }
        assert!(states > 0, "{metric}");
    }
}

fn outcomes<const N: usize>(words: [&'static str; N]) -> Vec<&'static str> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words
}

/// The queries of a dashboard, and those of its variables.
fn everything(board: &Board) -> Vec<Asked> {
    let variables = board.variables().iter().filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| Asked {
        place: format!("{} / ${}", board.name, text(&variable["name"])),
        query: text(&variable["query"]["query"]).to_owned(),
        legend: String::new(),
    });
    board.asked().into_iter().chain(variables).collect()
}

/// The labels of a family; `None` where no version has it.
fn labels_of(metric: &str) -> Option<Vec<&'static str>> {
    let family = metric.strip_suffix("_bucket");
    let definition = names::ALL.iter().find(|definition| match definition.kind {
        Kind::Histogram => family == Some(definition.name),
        _ => metric == definition.name,
    });
    let other = PROCESS.contains(&metric);
    match definition {
        Some(definition) if family.is_some() => Some([definition.labels, &["le"]].concat()),
        Some(definition) => Some(definition.labels.to_vec()),
        None => other.then(Vec::new),
    }
}

/// A word that a matcher of a closed set looks for, and that never stands there, is a misspelled one.
fn words_are_known(place: &str, metric: &str, label: &str, value: &str) {
    let words: &[&str] = match label {
        "severity" => {
            &[Severity::Info, Severity::Warning, Severity::Critical].map(Severity::as_str)
        }
        "state" => &[FindingState::Active, FindingState::Suppressed].map(FindingState::as_str),
        "outcome" if metric.contains("endpoint") || metric.contains("probes") => {
            &ProbeOutcome::ALL.map(ProbeOutcome::as_str)
        }
        "outcome" => &LookupOutcome::ALL.map(LookupOutcome::as_str),
        _ => return,
    };
    for word in value.split('|') {
        assert!(words.contains(&word), "{place}: {label} is never {word}");
    }
}

/// Calls for a value and all that is in it.
fn each(value: &Value, call: &mut impl FnMut(&Value)) {
    call(value);
    match value {
        Value::Array(list) => list.iter().for_each(|value| each(value, call)),
        Value::Object(map) => map.values().for_each(|value| each(value, call)),
        _ => {}
    }
}

/// Every text that stands under a key, anywhere.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| texts(value, key, found));
        }
        _ => {}
    }
}
