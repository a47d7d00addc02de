//! Every query on a real Prometheus that scrapes the demo, while things happen there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use kmswatch::config;
use kmswatch::daemon::{Signals, Start};
use kmswatch::demo::{ANY_PORT, Act, Lab};
use kmswatch::metrics::names;

use crate::board::{Asked, Board, all, text};
use crate::lint::NOT_YET;
use crate::program::wait_for;
use crate::prometheus::Prometheus;
use crate::promql::{placeholders, selectors};

/// The demo has no profiles: one that finds its hosts, and one whose hosts are dead.
const PROFILES: &str = "[[profile]]\nname = \"well\"\nsuffixes = [\"east.contoso.test\"]\nresolver = \"hq\"\n\
     [[profile]]\nname = \"dead\"\nsuffixes = [\"dead.contoso.test\"]\nresolver = \"hq\"\n";

/// The domain that is chosen where one must be: things happen to it.
const DOMAIN: &str = "west.contoso.test";

/// What happens, in this order, and by what a Prometheus sees that it did.
const SCENES: [(&str, &[Act], &str); 3] = [
    (
        "well",
        &[],
        "kmswatch_profile_client_error_info and on () rate(kmswatch_probes_total[5s]) > 0",
    ),
    (
        "left DNS",
        &[Act::LeaveDns],
        "kmswatch_findings{domain=\"west.contoso.test\",check=\"record-vanished\"}",
    ),
    (
        "died",
        &[Act::ReturnToDns, Act::Die],
        "kmswatch_host_up{domain=\"west.contoso.test\",target=\"kms-e1.east.contoso.test\"} == 0",
    ),
];

/// A query, and how many series answered it in each scene.
struct Row {
    asked: Asked,
    series: Vec<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_has_an_answer() {
    let lab = Lab::start().await.expect("a lab");
    let text = format!("{}{PROFILES}", lab.config(ANY_PORT));
    let mut plan = config::parse(&text, "demo").expect("a config").plan;
    plan.kms_port = lab.kms_port();
    let listener = tokio::net::TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let reload = Box::new(|| Err("there is no config file".to_owned()));
    let signals = Signals::new().expect("signals");
    let daemon = tokio::spawn(kmswatch::daemon::run(Start { signals, plan, listener, reload }));
    let blocking = tokio::runtime::Handle::current();
    let play = move |act| blocking.block_on(lab.play(act)).expect("played");
    let watched = tokio::task::spawn_blocking(move || watch(address, play));
    let rows = watched.await.expect("all of it was seen");
    daemon.abort();
    println!("{}", table(&rows));
    for Row { asked, series } in &rows {
        if series.iter().all(|count| *count == 0) {
            let reason = excuse(asked);
            assert!(reason.is_some(), "{}: no data in any scene:\n{}", asked.place, asked.query);
        }
    }
}

/// Runs every query in each scene.
fn watch(address: SocketAddr, play: impl Fn(Act)) -> Vec<Row> {
    let prometheus = Prometheus::start(address);
    let mut rows: Vec<Row> =
        all().iter().flat_map(queries).map(|asked| Row { asked, series: Vec::new() }).collect();
    for (scene, acts, shown) in SCENES {
        acts.iter().for_each(|act| play(*act));
        wait_for(scene, Duration::from_secs(30), || {
            let series = prometheus.query(&encoded(shown));
            if series.is_empty() { Err("no data".to_owned()) } else { Ok(()) }
        });
        for Row { asked, series } in &mut rows {
            let answer = prometheus.query(&encoded(&asked.query));
            for (labels, _) in &answer {
                // The scrape's own labels are there, and left out of an answer.
                for label in
                    placeholders(&asked.legend).filter(|label| !["job", "instance"].contains(label))
                {
                    assert!(labels.contains_key(label), "{}: {label} in {labels:?}", asked.place);
                }
            }
            series.push(answer.len());
        }
    }
    rows
}

/// All that a dashboard asks, as it does when everything, or else one domain, is chosen.
fn queries(board: &Board) -> Vec<Asked> {
    let single = |name: &str| {
        board
            .variables()
            .iter()
            .any(|variable| text(&variable["name"]) == name && variable["multi"] == false)
    };
    let domain = if single("domain") { DOMAIN } else { ".*" };
    let chosen = |query: &str| {
        let values = [
            ("$job", "kmswatch"),
            ("$instance", ".+"),
            ("$domain", domain),
            ("$target", ".*"),
            ("$__rate_interval", "5s"),
            ("$__range", "1m"),
        ];
        values.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
    };
    let mut queries = board.asked();
    for variable in board.variables().iter().filter(|variable| variable["type"] == "query") {
        let inside = text(&variable["query"]["query"]).strip_prefix("label_values(");
        let (selector, label) = inside
            .and_then(|inside| inside.strip_suffix(')')?.rsplit_once(", "))
            .expect("label_values(series, label)");
        let place = format!("{} / ${} / variable", board.name, text(&variable["name"]));
        let query = format!("count by ({label}) ({selector})");
        queries.push(Asked { place, query, legend: String::new() });
    }
    queries.iter_mut().for_each(|asked| asked.query = chosen(&asked.query));
    queries
}

/// Why a query has no data.
fn excuse(asked: &Asked) -> Option<&'static str> {
    let known: BTreeSet<&str> = names::ALL.iter().map(|definition| definition.name).collect();
    let selectors = selectors(&asked.query);
    let missing = NOT_YET.iter().find(|(name, _)| {
        !known.contains(name) && selectors.iter().any(|selector| selector.metric == *name)
    });
    missing.map(|(_, reason)| *reason)
}

fn table(rows: &[Row]) -> String {
    let mut text = "| dashboard / panel / query | ".to_owned();
    let scenes: Vec<&str> = SCENES.iter().map(|(scene, ..)| *scene).collect();
    let _ = writeln!(text, "{} |\n|---|{}", scenes.join(" | "), "--:|".repeat(scenes.len()));
    for Row { asked, series } in rows {
        let counts: Vec<String> = series.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "| {} | {} |", asked.place, counts.join(" | "));
    }
    text
}

fn encoded(query: &str) -> String {
    form_urlencoded::byte_serialize(query.as_bytes()).collect()
}
