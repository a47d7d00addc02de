//! Every query on a real Prometheus that scrapes the demo, while things happen there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use kmswatch::config;
use kmswatch::daemon::{Signals, Start};
use kmswatch::demo::{ANY_PORT, Act, Lab};

use serde_json::Value;

use crate::board::{Asked, Board, all, list, text};
use crate::daemon::request;
use crate::program::wait_for;
use crate::prometheus::Prometheus;
use crate::promql::placeholders;

/// The domain that is chosen where one must be: things happen to it.
const DOMAIN: &str = "west.contoso.test";

/// The scrape's own labels are left out of an answer; an empty label is none, as the demo has one path.
const OTHER_LABELS: [&str; 3] = ["job", "instance", "path"];

/// How a count of nothing is told from a kmswatch that nobody scrapes.
const ZERO: &str = "\nor 0 * count(kmswatch_build_info{";

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
    let text = lab.config(ANY_PORT);
    let mut plan = config::parse(&text, "demo").expect("a config").plan;
    plan.kms_port = lab.kms_port();
    let listener = tokio::net::TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let reload = Box::new(|| Err("there is no config file".to_owned()));
    let signals = Signals::new().expect("signals");
    let daemon = tokio::spawn(kmswatch::daemon::run(Start { signals, plan, listener, reload }));
    let blocking = tokio::runtime::Handle::current();
    let act_out = move |act| blocking.block_on(lab.play(act)).expect("played");
    let watched = tokio::task::spawn_blocking(move || watch(address, act_out));
    let rows = watched.await.expect("all of it was seen");
    daemon.abort();
    println!("{}", table(&rows));
    for Row { asked, series } in &rows {
        let answered = series.iter().any(|count| *count > 0);
        assert!(answered, "{}: no data in any scene:\n{}", asked.place, asked.query);
    }
}

/// Runs every query in each scene.
fn watch(address: SocketAddr, act_out: impl Fn(Act)) -> Vec<Row> {
    let prometheus = Prometheus::start(address);
    let mut rows: Vec<Row> =
        all().iter().flat_map(queries).map(|asked| Row { asked, series: Vec::new() }).collect();
    for (scene, acts, shown) in SCENES {
        acts.iter().for_each(|act| act_out(*act));
        wait_for(scene, Duration::from_secs(30), || {
            let series = prometheus.query(&encoded(shown));
            if series.is_empty() { Err("no data".to_owned()) } else { Ok(()) }
        });
        states_are_those_of_the_report(&prometheus, address);
        for Row { asked, series } in &mut rows {
            let answer = prometheus.query(&encoded(&asked.query));
            for (labels, _) in &answer {
                for label in
                    placeholders(&asked.legend).filter(|label| !OTHER_LABELS.contains(label))
                {
                    assert!(labels.contains_key(label), "{}: {label} in {labels:?}", asked.place);
                }
            }
            series.push(answer.len());
        }
    }
    rows
}

/// The state of each domain in trouble, as the overview's timeline shows it now, is its status.
fn states_are_those_of_the_report(prometheus: &Prometheus, address: SocketAddr) {
    let boards = all();
    let overview = boards.iter().find(|board| board.name == "overview").expect("the overview");
    let asked = queries(overview).into_iter();
    let asked = asked.filter(|asked| asked.place.contains("/ Domains that had trouble /"));
    let [Asked { query, .. }] = &asked.collect::<Vec<_>>()[..] else { panic!("one query") };
    wait_for("the states of the report", Duration::from_secs(20), || {
        let shown: BTreeMap<String, String> = prometheus
            .query(&encoded(query))
            .into_iter()
            .filter_map(|(mut labels, value)| Some((labels.remove("domain")?, value)))
            .collect();
        let report = request(address, "GET", "/api/v1/report", "").text();
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let status = |domain: &Value| {
            let state = match text(&domain["status"]) {
                "critical" => "2",
                "warning" => "1",
                _ => "0",
            };
            (text(&domain["name"]).to_owned(), state.to_owned())
        };
        let domains = list(&report["domains"]).iter().map(status);
        // Who was well all the time is not shown.
        let known = |(name, state): &(String, String)| state != "0" || shown.contains_key(name);
        let told: BTreeMap<String, String> = domains.filter(known).collect();
        if shown == told && !told.is_empty() {
            Ok(())
        } else {
            Err(format!("{shown:?}, not {told:?}"))
        }
    });
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
    for asked in &mut queries {
        // A zero that says "none, and it is watched" would answer in place of what may be misspelled.
        let (counted, _) = asked.query.split_once(ZERO).unwrap_or((&asked.query, ""));
        asked.query = chosen(counted);
    }
    queries
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
