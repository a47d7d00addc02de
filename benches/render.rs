//! How long and how large the publishers are for 10,000 domains with 2 servers and 4 hosts each.
//! Run with `cargo bench --bench render`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kmswatch::metrics::{Encoding, Exposition};
use kmswatch::model::snapshot::{
    AnswerView, DomainEntry, DomainHost, DomainView, EndpointView, HostStatus, HostView, LeftOut,
    Summary,
};
use kmswatch::model::{
    Answer, Host, KmsMode, Labels, LookupOutcome, Name, Path, PlannedDomain, Probe, ProbeOutcome,
    Record, Resolver, Server, Snapshot, Status, Transport, Upstream,
};
use kmswatch::report::{self, Style};
use kmswatch::stats::Stats;
use tokio::time::Instant;

const DOMAINS: usize = 10_000;
const HOSTS: usize = 200;
const HOSTS_A_DOMAIN: usize = 4;

fn main() {
    let snapshot = Arc::new(estate());
    println!("{DOMAINS} domains, resident {} MiB", resident());
    let style = Style { color: false, width: 100, verbose: false };
    timed("human", || report::human(&snapshot, &style).len());
    timed("json", || report::json_text(&report::json(&snapshot)).len());
    let exposition = Exposition::new(Stats::new());
    for turn in ["first", "again"] {
        for encoding in [Encoding::Gzip, Encoding::Plain] {
            let render = || {
                exposition.render(Some(&snapshot), encoding).map(|piece| piece.as_ref().len()).sum()
            };
            timed(&format!("metrics {encoding:?}, {turn}"), render);
        }
    }
}

fn timed(what: &str, make: impl FnOnce() -> usize) {
    let started = Instant::now();
    let bytes = make();
    println!(
        "{what:24} {:8.2?}  {bytes:9} bytes  resident {} MiB, at most {} MiB",
        started.elapsed(),
        resident(),
        peak(),
    );
}

fn estate() -> Snapshot {
    let resolver = resolver();
    let domains: Vec<DomainEntry> = (0..DOMAINS).map(|at| domain(at, &resolver)).collect();
    let hosts = (0..HOSTS).map(|at| host(at, &resolver.path)).collect();
    Snapshot {
        vantage: None,
        generation: 1,
        started: Timestamp::UNIX_EPOCH,
        at: Timestamp::UNIX_EPOCH,
        status: Status::Ok,
        domains,
        hosts,
        findings: Vec::new(),
        profiles: Vec::new(),
        departed: Vec::new(),
        summary: Summary { domains: DOMAINS, hosts: HOSTS, endpoints: HOSTS, ..Summary::default() },
        journal: None,
    }
}

fn resolver() -> Arc<Resolver> {
    let path = Path::default();
    let upstreams = [53, 54].map(|octet| {
        let address = SocketAddr::from(([10, 0, 0, octet], 53));
        let server = Server { transport: Transport::Udp, address };
        Arc::new(Upstream { server, path: path.clone() })
    });
    Arc::new(Resolver {
        name: "hq".into(),
        upstreams: upstreams.into(),
        path: Arc::new(path),
        labels: Labels::default(),
        base: None,
    })
}

fn domain(at: usize, resolver: &Arc<Resolver>) -> DomainEntry {
    let records: Vec<Record> = (0..HOSTS_A_DOMAIN)
        .map(|next| Record {
            priority: 10,
            weight: 25,
            port: 1688,
            target: target((at + next) % HOSTS),
            ttl: 3600,
        })
        .collect();
    let hosts = records.iter().map(|record| DomainHost {
        host: record.host(),
        priority: record.priority,
        weight: u32::from(record.weight),
        share: 0.25,
        live_share: 0.25,
        status: HostStatus::Up,
    });
    let answers = resolver.upstreams.iter().map(|upstream| AnswerView {
        resolver: resolver.clone(),
        upstream: upstream.clone(),
        answer: Arc::new(Answer {
            rtt: Some(Duration::from_micros(850)),
            records: records.clone(),
            ..Answer::bare(LookupOutcome::Records)
        }),
        at: Timestamp::UNIX_EPOCH,
    });
    let planned = PlannedDomain::new(
        name(&format!("site{at:05}.contoso.example")),
        [resolver.clone()].into(),
        KmsMode::Required,
        None,
        Labels::default(),
    );
    let view = DomainView {
        domain: Arc::new(planned),
        answers: answers.collect(),
        hosts: hosts.collect(),
        seen: Vec::new(),
        records,
        is_known: true,
        left_out: LeftOut::default(),
        audited: Timestamp::UNIX_EPOCH,
    };
    DomainEntry { status: Status::Ok, view: Arc::new(view) }
}

fn host(at: usize, path: &Arc<Path>) -> Arc<HostView> {
    let took = Some(Duration::from_micros(300));
    let probe = Probe { connect: took, bind: took, ..Probe::bare(ProbeOutcome::Kms) };
    Arc::new(HostView {
        host: Host { target: target(at), port: 1688 },
        status: HostStatus::Up,
        paths: vec![(path.clone(), HostStatus::Up)],
        last_up: None,
        domains: Vec::new(),
        endpoints: vec![EndpointView {
            path: path.clone(),
            address: [10, 1, 0, u8::try_from(at).expect("200 hosts")].into(),
            probe: Some(Arc::new(probe)),
            at: Some(Timestamp::UNIX_EPOCH),
        }],
    })
}

fn target(at: usize) -> Name {
    name(&format!("kms{at:03}.contoso.example"))
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a valid name")
}

fn resident() -> u64 {
    status_mib("VmRSS:")
}

fn peak() -> u64 {
    status_mib("VmHWM:")
}

fn status_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a known field");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}
