use std::time::Duration;

use super::turn::MAX_GONE;
use super::*;
use crate::model::{
    Answer, KmsMode, Labels, LookupOutcome, Observation, Probe, ProbeOutcome, RecordKind, Resolver,
    Server, Transport,
};
use crate::observe::state::State;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn upstream(last: u8) -> Arc<Upstream> {
    let server = Server { transport: Transport::Udp, address: ([10, 0, 0, last], 53).into() };
    Arc::new(Upstream { server, path: Path::default() })
}

/// One domain, asked of these servers.
fn plan(servers: &[u8]) -> Plan {
    let resolver = Arc::new(Resolver {
        name: "hq".into(),
        upstreams: servers.iter().map(|last| upstream(*last)).collect(),
        path: Arc::default(),
        labels: Labels::default(),
        base: None,
    });
    let all = [resolver.clone()].into();
    let domain =
        PlannedDomain::new(name("east.test"), all, KmsMode::Required, None, Labels::default());
    Plan { resolvers: vec![resolver], domains: vec![Arc::new(domain)], ..Plan::empty() }
}

/// `kms1 10 50` and so on; nothing is nxdomain.
fn answer(records: &str) -> Answer {
    let record = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |at: usize| words[at].parse().expect("a number");
        let target = name(&format!("{}.test", words[0]));
        Record { priority: number(1), weight: number(2), port: 1688, target, ttl: 60 }
    };
    if records.is_empty() {
        return Answer::bare(LookupOutcome::Nxdomain);
    }
    let records = records.split(',').map(record).collect();
    Answer { records, ..Answer::bare(LookupOutcome::Records) }
}

struct Watch {
    state: State,
}

impl Watch {
    fn new(servers: &[u8], remembered: &Remembered) -> Self {
        let mut state = State::default();
        state.remember(&plan(servers), remembered);
        Self { state }
    }

    fn says(&mut self, server: u8, records: &str, second: i64) {
        self.answers(server, answer(records), second);
    }

    fn answers(&mut self, server: u8, answer: Answer, second: i64) {
        let owner = Name::owner_of(&name("east.test"));
        let key = LookupKey { upstream: upstream(server), name: owner, kind: RecordKind::Srv };
        let answer = Arc::new(answer);
        self.state.record(Observation::Lookup { key, answer, at: at(second) });
    }

    fn probe(&mut self, outcome: ProbeOutcome, second: i64) {
        let key = EndpointKey { path: Arc::default(), address: ([10, 1, 0, 1], 1688).into() };
        let probe = Arc::new(Probe::bare(outcome));
        self.state.record(Observation::Probe { key, probe, at: at(second) });
    }

    /// What the journal is told, a line each; heartbeats only where they are all there is.
    fn told(&mut self) -> Vec<String> {
        let entries = self.state.take_entries();
        entries.iter().filter_map(shown).collect()
    }

    fn beats(&mut self) -> Vec<i64> {
        let beat = |entry: Entry| match entry {
            Entry::Heartbeat { at, .. } => Some(at.as_second()),
            _ => None,
        };
        self.state.take_entries().into_iter().filter_map(beat).collect()
    }

    fn records(&mut self) -> Vec<SeenRecord> {
        let seen = |entry| match entry {
            Entry::Record(seen) => Some(seen),
            _ => None,
        };
        self.state.take_entries().into_iter().filter_map(seen).collect()
    }
}

fn shown(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Record(seen) => {
            let state = seen.gone.map_or("there".to_owned(), |gone| {
                format!("last {} gone {}", seen.last_seen.as_second(), gone.as_second())
            });
            let first = seen.first_seen.as_second();
            Some(format!("{} at {} first {first} {state}", seen.host.target, seen.witness.server))
        }
        Entry::ForgetRecord { witness, host, .. } => {
            Some(format!("forget {} at {}", host.target, witness.server))
        }
        Entry::Event(event) => {
            let host = event.host.as_ref().map_or_else(String::new, |host| host.target.to_string());
            let evidence = serde_json::to_string(&event.evidence).expect("plain");
            Some(format!("{} {host} {} {evidence}", event.kind, event.servers.join(" ")))
        }
        Entry::Endpoint(SeenUp { of, last_up, is_up }) => {
            Some(format!("endpoint {} up {is_up} last {}", of.address, last_up.as_second()))
        }
        _ => None,
    }
}

#[test]
fn what_is_there_at_first_is_no_event() {
    let mut watch = Watch::new(&[1, 2], &Remembered::default());
    watch.says(1, "kms1 10 50", 1);
    watch.says(2, "kms1 10 50, kms2 10 50", 2);
    let rows = ["kms1.test at 10.0.0.1 first 1 there", "kms1.test at 10.0.0.2 first 2 there"];
    assert_eq!(watch.told(), [&rows[..], &["kms2.test at 10.0.0.2 first 2 there"]].concat());
    watch.says(1, "kms1 10 50", 3);
    assert_eq!(watch.told(), [""; 0], "the same again is nothing new");
}

#[test]
fn a_record_appears_with_the_first_server_and_vanishes_with_the_last() {
    let mut watch = Watch::new(&[1, 2], &Remembered::default());
    watch.says(1, "", 1);
    watch.says(2, "", 1);
    watch.says(1, "kms1 10 50", 2);
    let appeared = r#"appeared kms1.test 10.0.0.1 {"priority":10,"weight":50}"#;
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.1 first 2 there", appeared]);
    watch.says(2, "kms1 10 50", 3);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 3 there"]);
    watch.says(1, "kms1 10 50", 4);
    watch.says(1, "", 5);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.1 first 2 last 4 gone 5"]);
    watch.answers(2, Answer::bare(LookupOutcome::Timeout), 6);
    assert_eq!(watch.told(), [""; 0], "silence says nothing");
    watch.says(2, "", 7);
    let vanished = "vanished kms1.test 10.0.0.1 10.0.0.2 {\"first_seen\":\"1970-01-01T00:00:02Z\",\
                    \"last_seen\":\"1970-01-01T00:00:04Z\",\"priority\":10,\"weight\":50}";
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 3 last 3 gone 7", vanished]);
    watch.says(2, "kms1 10 50", 8);
    let again = r#"appeared kms1.test 10.0.0.2 {"first_seen":"1970-01-01T00:00:02Z","priority":10,"weight":50}"#;
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 3 there", again]);
}

#[test]
fn a_change_is_told_once_and_not_by_each_server() {
    let mut watch = Watch::new(&[1, 2], &Remembered::default());
    watch.says(1, "kms1 10 50", 1);
    watch.says(2, "kms1 10 50", 1);
    watch.told();
    watch.says(1, "kms1 10 75", 2);
    let changed = r#"changed kms1.test 10.0.0.1 {"priority":10,"was_priority":10,"was_weight":50,"weight":75}"#;
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.1 first 1 there", changed]);
    watch.says(2, "kms1 10 75", 3);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 1 there"]);
}

#[test]
fn what_happened_while_nobody_watched_is_found_at_the_start() {
    let mut before = Watch::new(&[1], &Remembered::default());
    before.says(1, "kms1 10 50, kms2 10 50", 1);
    let records = before.records();
    let mut watch = Watch::new(&[1], &Remembered { records, ..Remembered::default() });
    assert_eq!(watch.told(), [""; 0]);
    watch.answers(1, Answer::bare(LookupOutcome::Servfail), 99);
    watch.says(1, "kms2 10 50, kms3 10 50", 100);
    let told = watch.told();
    let gone = "kms1.test at 10.0.0.1 first 1 last 1 gone 100";
    assert_eq!(told.iter().filter(|line| line.starts_with("kms1")).collect::<Vec<_>>(), [gone]);
    let events: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split_once(" 10.0.0.1 {"))
        .map(|(what, _)| what)
        .collect();
    assert_eq!(events, ["appeared kms3.test", "vanished kms1.test"]);
}

#[test]
fn rows_of_a_server_that_is_not_asked_any_more_are_forgotten() {
    let mut watch = Watch::new(&[1, 2], &Remembered::default());
    watch.says(1, "kms1 10 50", 1);
    watch.says(2, "kms1 10 50", 1);
    let records = watch.records();
    let later = plan(&[2, 3]);
    watch.state.replan(&later);
    assert_eq!(watch.told(), ["forget kms1.test at 10.0.0.1"]);
    watch.says(3, "kms1 10 50", 2);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.3 first 2 there"]);
    watch.says(1, "kms1 10 60", 3);
    assert_eq!(watch.told(), [""; 0], "late results are dropped");
    let mut restarted = State::default();
    restarted.remember(&later, &Remembered { records, ..Remembered::default() });
    let told: Vec<String> = restarted.take_entries().iter().filter_map(shown).collect();
    assert_eq!(told, ["forget kms1.test at 10.0.0.1"]);
}

#[test]
fn where_every_server_is_another_nothing_is_new() {
    let mut before = Watch::new(&[1], &Remembered::default());
    before.says(1, "kms1 10 50", 1);
    let remembered = Remembered { records: before.records(), ..Remembered::default() };
    let mut watch = Watch::new(&[2], &remembered);
    watch.told();
    watch.says(2, "kms1 10 50", 9);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 9 there"]);
}

#[test]
fn where_another_plan_asks_only_other_servers_nothing_is_new_and_where_it_keeps_one_what_comes_is()
{
    let mut before = Watch::new(&[1, 2], &Remembered::default());
    before.says(1, "kms1 10 50", 1);
    let remembered = Remembered { records: before.records(), ..Remembered::default() };
    let after = |servers: &[u8], from: u8| {
        let mut watch = Watch::new(&[1, 2], &remembered);
        watch.state.replan(&plan(servers));
        watch.told();
        watch.says(from, "kms1 10 50, kms2 10 50", 9);
        watch.told().into_iter().filter(|line| !line.contains(" at ")).collect::<Vec<_>>()
    };
    assert_eq!(after(&[3], 3), [""; 0]);
    assert_eq!(after(&[1], 1), ["appeared kms2.test 10.0.0.1 {\"priority\":10,\"weight\":50}"]);
}

#[test]
fn a_server_that_only_a_profile_asked_is_heard_once_the_domain_is_asked_of_it() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    watch.says(1, "kms1 10 50", 1);
    watch.says(2, "kms1 10 50", 2);
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.1 first 1 there"]);
    watch.state.replan(&plan(&[1, 2]));
    assert_eq!(watch.told(), ["kms1.test at 10.0.0.2 first 2 there"]);
}

#[test]
fn an_answer_that_is_cut_hides_nothing_until_it_is_whole() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    watch.says(1, "kms1 10 50, kms2 10 50", 1);
    watch.told();
    watch.answers(1, Answer { omitted: 1, ..answer("kms1 10 50") }, 2);
    assert_eq!(watch.told(), [""; 0]);
    watch.says(1, "kms1 10 50", 3);
    assert_eq!(watch.told()[0], "kms2.test at 10.0.0.1 first 1 last 2 gone 3");
}

#[test]
fn a_server_that_names_another_host_each_time_does_not_fill_the_memory() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    let mut told = Vec::new();
    for second in 0..100 {
        watch.says(1, &format!("kms{second} 10 50"), second);
        told.extend(watch.told());
    }
    let past = watch.state.past(&Name::owner_of(&name("east.test"))).expect("planned");
    assert_eq!(past.tracks()[0].rows.len(), 1 + MAX_GONE);
    let forgotten: Vec<&String> = told.iter().filter(|line| line.starts_with("forget")).collect();
    assert_eq!(forgotten.len(), 100 - 1 - MAX_GONE);
    assert_eq!(forgotten[0], "forget kms0.test at 10.0.0.1", "the oldest first");
}

#[test]
fn a_heartbeat_comes_once_a_minute_and_at_the_end() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    watch.says(1, "kms1 10 50", 1);
    assert_eq!(watch.beats(), [1]);
    watch.says(1, "kms1 10 50", 60);
    assert_eq!(watch.beats(), [0; 0]);
    watch.says(1, "kms1 10 50", 61);
    watch.answers(1, Answer::bare(LookupOutcome::Timeout), 62);
    assert_eq!(watch.beats(), [61]);
    watch.says(1, "kms1 10 50", 63);
    let last: Vec<String> =
        watch.state.take_last_entries().iter().map(|entry| format!("{entry:?}")).collect();
    assert!(last.len() == 1 && last[0].contains("00:01:03"), "{last:?}");
    assert!(watch.state.take_last_entries().is_empty());
}

#[test]
fn an_endpoint_is_told_of_when_it_turns() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    watch.probe(ProbeOutcome::Refused, 1);
    assert_eq!(watch.told(), [""; 0], "it was never up");
    watch.probe(ProbeOutcome::Kms, 2);
    watch.probe(ProbeOutcome::Kms, 3);
    assert_eq!(watch.told(), ["endpoint 10.1.0.1:1688 up true last 2"]);
    watch.probe(ProbeOutcome::Silent, 4);
    watch.probe(ProbeOutcome::Refused, 5);
    assert_eq!(watch.told(), ["endpoint 10.1.0.1:1688 up false last 3"]);
    let mut watch = Watch::new(&[1], &up_at_seven());
    watch.probe(ProbeOutcome::Refused, 9);
    assert_eq!(watch.told(), ["endpoint 10.1.0.1:1688 up false last 7"]);
}

/// An endpoint that the journal remembers.
fn up_at_seven() -> Remembered {
    let witness = witness_of(&Path::default());
    let of = SeenEndpoint { address: ([10, 1, 0, 1], 1688).into(), witness };
    let endpoints = vec![SeenUp { of, last_up: at(7), is_up: true }];
    Remembered { endpoints, ..Remembered::default() }
}

#[test]
fn an_endpoint_that_is_not_wanted_any_more_is_forgotten_unless_only_the_journal_knows_it() {
    let after = |remembered: &Remembered, probed: &[ProbeOutcome], is_wanted: bool| {
        let mut watch = Watch::new(&[1], remembered);
        probed.iter().for_each(|outcome| watch.probe(*outcome, 8));
        watch.told();
        watch.state.retain(|_| true, |_| is_wanted);
        watch.probe(ProbeOutcome::Refused, 9);
        watch.told()
    };
    let (nothing, up) = (Remembered::default(), [ProbeOutcome::Kms]);
    let then = |last_up| [format!("endpoint 10.1.0.1:1688 up false last {last_up}")];
    assert_eq!(after(&nothing, &up, true), then(8));
    assert_eq!(after(&nothing, &up, false), [""; 0]);
    assert_eq!(after(&up_at_seven(), &up, false), [""; 0]);
    assert_eq!(after(&up_at_seven(), &[], false), then(7));
}

#[test]
fn a_path_beats_while_an_endpoint_over_it_is_up() {
    let mut watch = Watch::new(&[1], &Remembered::default());
    watch.probe(ProbeOutcome::Refused, 1);
    assert_eq!(watch.beats(), [0; 0]);
    watch.probe(ProbeOutcome::Kms, 2);
    assert_eq!(watch.beats(), [2]);
    watch.probe(ProbeOutcome::Kms, 61);
    assert_eq!(watch.beats(), [0; 0], "not before a minute is over");
    watch.probe(ProbeOutcome::Refused, 63);
    watch.probe(ProbeOutcome::Kms, 62);
    assert_eq!(watch.beats(), [62]);
}

/// 10,000 domains on 2 servers with 2 records each: what an unchanged answer costs with and without a
/// history, and what the rows take. Run by hand: `cargo test --release --lib cost_of_a_history -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn cost_of_a_history() {
    let mut plan = plan(&[1, 2]);
    let resolvers = plan.domains[0].resolvers.clone();
    let domain = |at: usize| {
        let name = name(&format!("site{at:05}.contoso.test"));
        let (kms, labels) = (KmsMode::Required, Labels::default());
        Arc::new(PlannedDomain::new(name, resolvers.clone(), kms, None, labels))
    };
    plan.domains = (0..10_000).map(domain).collect();
    let round = |state: &mut State, second: i64| {
        let mut made = Vec::new();
        for domain in &plan.domains {
            for upstream in &resolvers[0].upstreams {
                let answer = Arc::new(answer("kms1 10 50, kms2 10 50"));
                let key = domain.srv_key(upstream);
                made.push(Observation::Lookup { key, answer, at: at(second) });
            }
        }
        let begun = std::time::Instant::now();
        made.into_iter().for_each(|seen| state.record(seen));
        let took = begun.elapsed();
        state.take_changes();
        (took, state.take_entries().len())
    };
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: u64 = status.split(' ').nth(1).expect("resident").parse().expect("a number");
        pages * 4 / 1024
    };
    for has_history in [false, true] {
        let before = resident();
        let mut state = State::default();
        if has_history {
            state.remember(&plan, &Remembered::default());
        }
        let (first, entries) = round(&mut state, 0);
        let rounds: Vec<Duration> = (1..40).map(|at| round(&mut state, at * 60).0).collect();
        let each = rounds.iter().min().expect("39 rounds").as_nanos() / 20_000;
        println!(
            "history {has_history}: an unchanged answer {each} ns, the first pass {first:?} \
             with {entries} entries, {} MiB",
            resident() - before
        );
    }
    println!("a row {} bytes, a track {} bytes", size_of::<Row>(), size_of::<Track>());
}
