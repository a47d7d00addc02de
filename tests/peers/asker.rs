//! The query engine with one server to ask. Include it with `#[path = "peers/asker.rs"] mod asker;`.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kmswatch::clock::Clock;
use kmswatch::dns::Engine;
use kmswatch::model::plan::DnsSettings;
use kmswatch::model::{
    Answer, LookupKey, LookupOutcome, Name, Observation, Path, RecordKind, Server, Transport,
    Upstream,
};
use kmswatch::stats::Stats;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Asks one server.
pub struct Asker {
    engine: Engine,
    upstream: Arc<Upstream>,
    observations: mpsc::Receiver<Vec<Observation>>,
}

impl Asker {
    /// With attempts of half a second.
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        let timeout = Duration::from_millis(500);
        Self::with(DnsSettings { timeout, ..DnsSettings::default() }, transport, address)
    }

    pub fn with(settings: DnsSettings, transport: Transport, address: SocketAddr) -> Self {
        let server = Server { transport, address };
        let upstream = Arc::new(Upstream { server, path: Path::default() });
        let (sender, observations) = mpsc::channel(16);
        let mut engine = Engine::new(settings, Clock::start(), Stats::new(), sender);
        engine.apply(settings, std::slice::from_ref(&upstream));
        Self { engine, upstream, observations }
    }

    /// One lookup.
    pub async fn ask(&mut self, name: &str, kind: RecordKind) -> Answer {
        let mut answers = self.ask_all([name], kind).await;
        answers.pop().expect("one answer").1
    }

    /// A lookup of each name, all at once: what came of them, in the order in which it came.
    pub async fn ask_all(
        &mut self,
        names: impl IntoIterator<Item = &str>,
        kind: RecordKind,
    ) -> Vec<(Name, Answer)> {
        let key = |name| {
            let name = Name::parse(name).expect("a name");
            LookupKey { upstream: self.upstream.clone(), name, kind }
        };
        let keys: Vec<LookupKey> = names.into_iter().map(key).collect();
        let (count, mut answers) = (keys.len(), Vec::new());
        let mut waiting = self.engine.submit(&self.upstream, keys);
        while answers.len() < count {
            let batch = timeout(Duration::from_secs(20), self.observations.recv()).await;
            for observation in batch.expect("in time").expect("the engine lives") {
                match observation {
                    Observation::Lookup { key, answer, .. } => {
                        answers.push((key.name, (*answer).clone()));
                    }
                    Observation::Probe { .. } => panic!("the engine probes nothing"),
                }
            }
            waiting = self.engine.submit(&self.upstream, waiting);
        }
        answers
    }

    /// Ends the engine; every observation that nobody waited for.
    pub async fn end(self) -> usize {
        let Self { mut engine, mut observations, .. } = self;
        engine.shutdown();
        drop(engine);
        let mut count = 0;
        while let Some(batch) = observations.recv().await {
            count += batch.len();
        }
        count
    }

    /// The KMS records of a domain.
    pub async fn srv(&mut self, domain: &str) -> Answer {
        self.ask(&format!("_vlmcs._tcp.{domain}"), RecordKind::Srv).await
    }

    /// The outcome, and hosts with priority and weight.
    pub async fn told(&mut self, domain: &str) -> (LookupOutcome, Vec<String>) {
        let answer = self.srv(domain).await;
        let records = answer
            .records
            .iter()
            .map(|record| format!("{} {} {}", record.priority, record.weight, record.host()));
        (answer.outcome, records.collect())
    }
}
