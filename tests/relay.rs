//! The query engine over a bad network: no answer is lost, and hardly a query is sent for nothing.

#[path = "peers/asker.rs"]
mod asker;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/relay.rs"]
mod relay;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use asker::Asker;
use dns::{Server, Zone};
use kmswatch::model::plan::DnsSettings;
use kmswatch::model::{Answer, LookupOutcome, RecordKind, Transport};
use relay::{Relay, Weather};
use tokio::sync::{Mutex, MutexGuard};

/// What a site behind a good line sees: 10 ms, and up to 4 more.
const FAIR: Weather = Weather {
    seed: 1,
    delay: Duration::from_millis(5),
    jitter: Duration::from_millis(2),
    lost: 0,
    doubled: 0,
};
const LOOKUPS: u16 = 2_000;
const SETTINGS: DnsSettings =
    DnsSettings { timeout: Duration::from_secs(2), attempts: 3, rate: 1_000_000 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_twice_for_a_delay() {
    let run = Run::through(FAIR, SETTINGS).await;
    run.is_complete();
    run.sent_at_most(101);
    assert!(run.count(|counts| &counts.overtaken) > 100, "nothing was reordered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lookup_is_answered_at_one_percent_of_loss_with_three_percent_more_queries() {
    let run = Run::through(Weather { lost: 10, ..FAIR }, SETTINGS).await;
    run.is_complete();
    assert!(run.count(|counts| &counts.lost) > 20, "nothing was lost");
    run.sent_at_most(103);
}

/// A tenth is lost each way, so that one exchange in five fails: three attempts would leave 14 of the
/// 2,000 lookups unanswered, by chance alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lookup_is_answered_at_ten_percent_of_loss_where_attempts_allow_it() {
    let settings = DnsSettings { attempts: 10, ..SETTINGS };
    let run = Run::through(Weather { lost: 100, ..FAIR }, settings).await;
    run.is_complete();
    assert!(run.count(|counts| &counts.lost) > 300, "too little was lost");
    // 1 / 0.81 exchanges an answer, and not many more.
    run.sent_at_most(130);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_do_no_harm() {
    let run = Run::through(Weather { doubled: 500, ..FAIR }, SETTINGS).await;
    run.is_complete();
    run.sent_at_most(101);
    assert!(run.count(|counts| &counts.doubled) >= u64::from(LOOKUPS));
}

/// All lookups through one relay.
struct Run {
    relay: Relay,
    weather: Weather,
    answers: Vec<(String, Answer)>,
    surplus: usize,
    _server: Server,
    _alone: MutexGuard<'static, ()>,
}

/// Runs that share two cores would see each other's delays.
static ALONE: Mutex<()> = Mutex::const_new(());

impl Run {
    async fn through(weather: Weather, settings: DnsSettings) -> Self {
        let alone = ALONE.lock().await;
        let records = (0..LOOKUPS).fold(String::new(), |mut text, number| {
            writeln!(text, "k{number} A {}", address(number)).expect("a string grows");
            text
        });
        let server = dns::knot(&[Zone { name: "contoso.test", records: &records }]);
        let relay = Relay::start(server.address(), weather);
        let mut asker = Asker::with(settings, Transport::Udp, relay.address());
        let names: Vec<String> = (0..LOOKUPS).map(|k| format!("k{k}.contoso.test")).collect();
        let answers = asker.ask_all(names.iter().map(String::as_str), RecordKind::A).await;
        let answers = answers.into_iter().map(|(name, answer)| (name.to_string(), answer));
        let (answers, surplus) = (answers.collect(), asker.end().await);
        Self { relay, weather, answers, surplus, _server: server, _alone: alone }
    }

    fn count(&self, of: impl Fn(&relay::Counts) -> &std::sync::atomic::AtomicU64) -> u64 {
        self.relay.count(of)
    }

    /// No more queries than so many for a hundred lookups.
    fn sent_at_most(&self, percent: u64) {
        let queries = self.count(|counts| &counts.queries);
        assert!(queries <= u64::from(LOOKUPS) * percent / 100, "{queries} queries");
    }

    /// Each name has its own records, once, after a round trip that can be.
    fn is_complete(&self) {
        let mut by_name: BTreeMap<&str, &Answer> = BTreeMap::new();
        for (name, answer) in &self.answers {
            assert!(by_name.insert(name, answer).is_none(), "{name} twice");
        }
        assert_eq!((by_name.len(), self.surplus), (usize::from(LOOKUPS), 0));
        let least = self.weather.delay * 2;
        let mut trips = Vec::new();
        for number in 0..LOOKUPS {
            let answer = by_name[&*format!("k{number}.contoso.test")];
            assert_eq!(answer.outcome, LookupOutcome::Records, "k{number}: {answer:?}");
            assert_eq!(answer.addresses, [IpAddr::V4(address(number))]);
            let trip = answer.rtt.expect("it was answered");
            assert!(trip >= least, "k{number}: faster than the relay: {trip:?}");
            trips.push(trip);
        }
        trips.sort_unstable();
        let median = trips[trips.len() / 2];
        let most = (self.weather.delay + self.weather.jitter) * 2 + Duration::from_millis(40);
        assert!(median <= most, "the median round trip is {median:?}");
        eprintln!(
            "{:?}: {} queries, {} lost, {} doubled, {} overtaken, median round trip {median:?}, longest {:?}",
            self.weather,
            self.count(|counts| &counts.queries),
            self.count(|counts| &counts.lost),
            self.count(|counts| &counts.doubled),
            self.count(|counts| &counts.overtaken),
            trips[trips.len() - 1],
        );
    }
}

fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}
