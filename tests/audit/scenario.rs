//! A scenario as a file has it: what is configured, what was seen, and exactly what follows.
//!
//! `[config]` holds for every case of the file and speaks the language of the config (design section
//! 5); a case's own `config` replaces it key by key. `seen` has a line for each thing that was seen:
//!
//! ```text
//! srv   east.test  10.0.0.53  10 75 1688 kms1.test 3600, 10 25 1688 kms2.test   (TTL 3600 if not given)
//! srv   east.test  hq         nxdomain            (every server of a resolver; `*`: every server)
//! srv   east.test  *          aa 10 75 1688 kms1.test                           (with a header flag)
//! srv   east.test  *          10 75 1688 kms1.test, omitted 7                   (7 more beyond the bound)
//! a     kms1.test  *          via alias.test 10.1.0.1, 10.1.0.2
//! aaaa  kms1.test  *          timeout
//! addr  kms1.test  10.1.0.1, 2001:db8::1          (A and AAAA on every server; the rest is nodata)
//! probe 10.1.0.1:1688  kms 700ms                  (over every path, with the time to connect)
//! probe 10.1.0.1:1688  refused from 10.0.0.9      (over one path only)
//! probe 10.1.0.1:1688  prohibited by 10.9.0.1     (who rejected it)
//! host  kms1.test:1700 10.1.0.1 kms 2ms           (addr and probe; port 1688 if not given)
//! at 60s                                          (what follows was seen that long after the start)
//! ```
//!
//! Over the path of a profile, `hq@10.9.0.9` are the servers of hq; `*` is every server over every path.
//!
//! What a profile's clients see is told by lines, all of them: `lab asks east.test records ends`,
//! `lab finds kms1.test:1688 up share 0.75 live 1`, `lab loses kms1.test:1688 then kms2.test:1688 1`,
//! `lab is served`, `lab hides west.test kms3.test:1688`; `lab Office …` where Office differs.
//!
//! A finding is a line too: `critical srv-missing domain:east.test at hq hits east.test shows 0x8007232B
//! suppressed by server-failure`, `… in maintenance`; `hits` is left out where only the subject's own domain is hit.
//!
//! `told` holds some of what the findings say, a line each: `srv-missing domain:east.test`, then `says`
//! its message, `has` all of its evidence as JSON, `advises` a line of its remedy, or `labelled` and its
//! labels as JSON; or `host kms.test:1688 is degraded, 2 endpoints, from 10.0.0.9 up, from 10.0.0.8 down`.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kmswatch::model::discovery::Verdict;
use kmswatch::model::observation::{Answer, Flags, LookupOutcome, Observation, Probe};
use kmswatch::model::snapshot::{HostView, ProfileEntry};
use kmswatch::model::{
    Discovery, EndpointKey, Finding, FindingState, LookupKey, Name, Plan, ProbeOutcome, Record,
    RecordKind, Snapshot, Subject, Upstream,
};

use super::config::plan_of;

/// One scenario, ready to be audited.
pub struct Case {
    pub file: String,
    pub name: String,
    pub plan: Arc<Plan>,
    pub seen: Vec<Observation>,
    pub now: Timestamp,
    /// The findings, sorted.
    pub findings: Vec<String>,
    /// The hosts of every domain, sorted, where the case tells.
    pub hosts: Option<Vec<String>>,
    /// What the clients of every profile see, in their order, where the case tells.
    pub clients: Option<Vec<String>>,
    /// Some of what [`told`] tells.
    pub told: Vec<String>,
}

/// When observing began, in every scenario.
pub fn start() -> Timestamp {
    "2026-06-30T12:00:00Z".parse().expect("a time")
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    config: toml::Table,
    case: Vec<Written>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    config: toml::Table,
    seen: String,
    now: Option<String>,
    findings: Vec<String>,
    hosts: Option<Vec<String>>,
    clients: Option<Vec<String>>,
    #[serde(default)]
    told: Vec<String>,
}

/// The cases of one file.
pub fn cases(file: &str, text: &str) -> Vec<Case> {
    let parsed: File = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    parsed.case.into_iter().map(|case| read(file, &parsed.config, case)).collect()
}

fn read(file: &str, config: &toml::Table, case: Written) -> Case {
    let mut merged = config.clone();
    merged.extend(case.config);
    let plan = plan_of(merged).unwrap_or_else(|error| panic!("{file}: {}: {error}", case.name));
    let mut reader = Reader { plan: &plan, at: SignedDuration::ZERO, seen: Vec::new() };
    for line in case.seen.lines().map(str::trim).filter(|line| !line.is_empty()) {
        reader.line(line).unwrap_or_else(|| panic!("{file}: {}: cannot read {line:?}", case.name));
    }
    let last = reader.at + SignedDuration::from_secs(1);
    let now = case.now.map_or(last, |now| now.parse().expect("a duration"));
    Case {
        file: file.to_owned(),
        name: case.name,
        now: start() + now,
        seen: reader.seen,
        plan: Arc::new(plan),
        findings: sorted(case.findings),
        hosts: case.hosts.map(sorted),
        clients: case.clients.map(|lines| lines.iter().map(|line| tidy(line)).collect()),
        told: case.told,
    }
}

struct Reader<'a> {
    plan: &'a Plan,
    at: SignedDuration,
    seen: Vec<Observation>,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim();
        match word {
            "at" => self.at = rest.parse().ok()?,
            "srv" | "a" | "aaaa" => self.lookup(word, rest)?,
            "addr" => {
                let (name, addresses) = rest.split_once(char::is_whitespace)?;
                self.addresses(&Name::parse(name).ok()?, addresses)?;
            }
            "probe" => {
                let (endpoint, outcome) = rest.split_once(char::is_whitespace)?;
                self.probe(endpoint, outcome)?;
            }
            "host" => {
                let (host, rest) = rest.split_once(char::is_whitespace)?;
                let (address, outcome) = rest.trim().split_once(char::is_whitespace)?;
                let (name, port) = host.split_once(':').unwrap_or((host, "1688"));
                self.addresses(&Name::parse(name).ok()?, address)?;
                let address: IpAddr = address.parse().ok()?;
                let socket = std::net::SocketAddr::new(address, port.parse().ok()?);
                self.probe(&socket.to_string(), outcome)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn lookup(&mut self, kind: &str, rest: &str) -> Option<()> {
        let mut words = rest.splitn(2, char::is_whitespace);
        let name = Name::parse(words.next()?).ok()?;
        let (servers, said) = words.next()?.trim().split_once(char::is_whitespace)?;
        let (kind, name) = match kind {
            "srv" => (RecordKind::Srv, Name::owner_of(&name)),
            "a" => (RecordKind::A, name),
            _ => (RecordKind::Aaaa, name),
        };
        let answer = Arc::new(answer(kind, said.trim())?);
        for upstream in self.upstreams(servers)? {
            self.push_lookup(upstream, &name, kind, answer.clone());
        }
        Some(())
    }

    fn addresses(&mut self, name: &Name, addresses: &str) -> Option<()> {
        let all: Vec<IpAddr> =
            addresses.split(',').map(|text| text.trim().parse().ok()).collect::<Option<_>>()?;
        for kind in [RecordKind::A, RecordKind::Aaaa] {
            let of_kind = |address: &IpAddr| address.is_ipv4() == (kind == RecordKind::A);
            let mine: Vec<IpAddr> = all.iter().copied().filter(of_kind).collect();
            let outcome =
                if mine.is_empty() { LookupOutcome::Nodata } else { LookupOutcome::Records };
            let answer = Arc::new(Answer { addresses: mine, ..Answer::bare(outcome) });
            for upstream in self.upstreams("*")? {
                self.push_lookup(upstream, name, kind, answer.clone());
            }
        }
        Some(())
    }

    fn push_lookup(
        &mut self,
        upstream: Arc<Upstream>,
        name: &Name,
        kind: RecordKind,
        answer: Arc<Answer>,
    ) {
        let key = LookupKey { upstream, name: name.clone(), kind };
        self.seen.push(Observation::Lookup { key, answer, at: start() + self.at });
    }

    fn probe(&mut self, endpoint: &str, said: &str) -> Option<()> {
        let address = endpoint.parse().ok()?;
        let (outcome, from) = said.split_once(" from ").unwrap_or((said, ""));
        let (outcome, by) = match outcome.split_once(" by ") {
            Some((outcome, by)) => (outcome, Some(by.trim().parse().ok()?)),
            None => (outcome, None),
        };
        let mut words = outcome.split_whitespace();
        let outcome = words.next()?;
        let outcome = *ProbeOutcome::ALL.iter().find(|known| known.as_str() == outcome)?;
        let connect = match words.next() {
            Some(took) => Some(took.parse::<SignedDuration>().ok()?.unsigned_abs()),
            None => None,
        };
        let probe = Arc::new(Probe { connect, rejected_by: by, ..Probe::bare(outcome) });
        let mut paths: Vec<_> = self.plan.asked_resolvers().map(|one| one.path.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.retain(|path| from.is_empty() || path.to_string() == from.trim());
        for path in paths.iter().filter(|_| words.next().is_none()) {
            let key = EndpointKey { path: path.clone(), address };
            let at = start() + self.at;
            self.seen.push(Observation::Probe { key, probe: probe.clone(), at });
        }
        (!paths.is_empty()).then_some(())
    }

    /// `*`, the name of a resolver, or a server; each upstream once.
    fn upstreams(&self, of: &str) -> Option<Vec<Arc<Upstream>>> {
        let mut found: Vec<Arc<Upstream>> = Vec::new();
        for resolver in self.plan.asked_resolvers() {
            let scope = match resolver.base {
                None => resolver.name.to_string(),
                Some(_) => format!("{}@{}", resolver.name, resolver.path),
            };
            let is_meant = |upstream: &&Arc<Upstream>| {
                of == "*" || scope == of || upstream.server.to_string() == of
            };
            for upstream in resolver.upstreams.iter().filter(is_meant) {
                if !found.iter().any(|known| Arc::ptr_eq(known, upstream)) {
                    found.push(upstream.clone());
                }
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

fn answer(kind: RecordKind, said: &str) -> Option<Answer> {
    let (flags, said) = match said.strip_prefix("aa ") {
        Some(rest) => (Flags { aa: true, ..Flags::default() }, rest.trim()),
        None => (Flags::default(), said),
    };
    let mut answer = Answer { flags, ..Answer::bare(LookupOutcome::Records) };
    let mut said = said;
    while let Some(rest) = said.strip_prefix("via ") {
        let (alias, rest) = rest.trim().split_once(char::is_whitespace)?;
        answer.aliases.push(Name::parse(alias).ok()?);
        said = rest.trim();
    }
    if let Some(outcome) = LookupOutcome::ALL.iter().find(|known| known.as_str() == said) {
        answer.outcome = *outcome;
        return Some(answer);
    }
    for item in said.split(',').map(str::trim) {
        if let Some(omitted) = item.strip_prefix("omitted ") {
            answer.omitted = omitted.parse().ok()?;
            continue;
        }
        match kind {
            RecordKind::Srv => answer.records.push(record(item)?),
            RecordKind::A | RecordKind::Aaaa => answer.addresses.push(item.parse().ok()?),
        }
    }
    answer.records.sort_unstable();
    answer.addresses.sort_unstable();
    Some(answer)
}

/// `10 75 1688 kms.test 3600`.
fn record(text: &str) -> Option<Record> {
    let mut words = text.split_whitespace();
    let (priority, weight, port) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let target = words.next()?;
    // As a server sends it: a target may be the root, or spell an address.
    let target =
        Name::from_labels(target.split('.').filter(|label| !label.is_empty()).map(str::as_bytes));
    let ttl = words.next().map_or(Some(3600), |ttl| ttl.parse().ok())?;
    words.next().is_none().then_some(Record { priority, weight, port, target, ttl })
}

/// The findings of a snapshot as a file writes them, sorted.
pub fn findings(snapshot: &Snapshot) -> Vec<String> {
    sorted(snapshot.findings.iter().map(|finding| shown(finding, snapshot)).collect())
}

/// The hosts of every domain as a file writes them, sorted.
pub fn hosts(snapshot: &Snapshot) -> Vec<String> {
    let of_domain = |entry: &kmswatch::model::snapshot::DomainEntry| -> Vec<String> {
        let name = &entry.view.domain.name;
        let line = |host: &kmswatch::model::snapshot::DomainHost| {
            format!(
                "{name} {} {} share {} live {}",
                host.host, host.status, host.share, host.live_share
            )
        };
        entry.view.hosts.iter().map(line).collect()
    };
    sorted(snapshot.domains.iter().flat_map(of_domain).collect())
}

/// All that the findings say and what became of each host, as a file writes it.
pub fn told(snapshot: &Snapshot) -> Vec<String> {
    let of_finding = |finding: &Arc<Finding>| -> Vec<String> {
        let json = |value: serde_json::Result<String>| value.expect("it is plain");
        let all = [
            format!("says {}", finding.message),
            format!("has {}", json(serde_json::to_string(&finding.evidence))),
            format!("labelled {}", json(serde_json::to_string(&*finding.labels))),
        ];
        let advice = finding.remedy.lines().map(|line| format!("advises {}", line.trim()));
        let whose = |what: String| format!("{} {} {what}", finding.check, finding.subject);
        all.into_iter().chain(advice).map(whose).collect()
    };
    let of_host = |host: &Arc<HostView>| {
        let paths = host.paths.iter().map(|(path, status)| format!(", from {path} {status}"));
        let (paths, count) = (paths.collect::<String>(), host.endpoints.len());
        format!("host {} is {}, {count} endpoints{paths}", host.host, host.status)
    };
    let findings = snapshot.findings.iter().flat_map(of_finding);
    findings.chain(snapshot.hosts.iter().map(of_host)).collect()
}

fn shown(finding: &Finding, snapshot: &Snapshot) -> String {
    let own = match &finding.subject {
        Subject::Domain(domain) | Subject::Record { domain, .. } => Some(domain),
        Subject::Server(_) | Subject::Host(_) | Subject::Profile(_) => None,
    };
    let hit: Vec<&str> = finding.domains.iter().map(Name::as_str).collect();
    let is_own = hit.len() == 1 && own == finding.domains.first();
    let hits = if hit.is_empty() { "none".to_owned() } else { hit.join(", ") };
    let greater = finding.suppressed_by.as_ref().map(|id| {
        snapshot.findings.iter().find(|other| other.id == *id).expect("it is there").check
    });
    let parts = [
        Some(format!("{} {} {}", finding.severity, finding.check, finding.subject)),
        finding.resolver.as_ref().map(|resolver| format!("at {resolver}")),
        (!is_own).then(|| format!("hits {hits}")),
        finding.client_error.map(|code| format!("shows {code}")),
        greater.map(|check| format!("suppressed by {check}")),
        (finding.state == FindingState::Maintenance).then(|| "in maintenance".to_owned()),
        (finding.state == FindingState::Acknowledged).then(|| "acknowledged".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// One space between words, lines in order.
fn sorted(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().map(|line| tidy(&line)).collect();
    lines.sort_unstable();
    lines
}

fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the clients of every profile see, as a file writes it.
pub fn clients(snapshot: &Snapshot) -> Vec<String> {
    let of_profile = |entry: &ProfileEntry| {
        let (view, name) = (&entry.view, &entry.view.profile.name);
        let windows = client(name, &view.windows);
        let office = client(name, &view.office);
        let differs = office != windows;
        let office = client(&format!("{name} Office"), &view.office);
        windows.into_iter().chain(office.into_iter().filter(move |_| differs)).collect::<Vec<_>>()
    };
    snapshot.profiles.iter().flat_map(of_profile).collect()
}

fn client(name: &str, discovery: &Discovery) -> Vec<String> {
    let steps = discovery.steps.iter().map(|step| {
        let outcome = step.outcome.map_or("unknown", LookupOutcome::as_str);
        format!("{name} asks {} {outcome} {}", step.domain, step.effect)
    });
    let hosts = discovery.hosts.iter().map(|choice| {
        let (host, status) = (&choice.host, choice.status);
        format!("{name} finds {host} {status} share {} live {}", choice.share, choice.live_share)
    });
    let failovers = discovery.failovers.iter().map(|failover| {
        let takes = failover.takes_over.iter().map(|(host, share)| format!("{host} {share}"));
        let takes = takes.collect::<Vec<_>>().join(", ");
        let then = if takes.is_empty() { verdict(&failover.verdict) } else { takes };
        format!("{name} loses {} then {then}", failover.host)
    });
    let end = format!("{name} is {}", verdict(&discovery.verdict));
    let hidden =
        discovery.hidden.iter().map(|(domain, host)| format!("{name} hides {domain} {host}"));
    steps.chain(hosts).chain(failovers).chain([end]).chain(hidden).collect()
}

/// `served`, `unknown`, or `failing 0xC004F074 in east.test: why`.
fn verdict(verdict: &Verdict) -> String {
    let Verdict::Fails(failure) = verdict else { return verdict.as_str().to_owned() };
    let code = failure.error.map_or("without code".to_owned(), |code| code.to_string());
    let place = failure.domain.as_ref().map_or(String::new(), |domain| format!(" in {domain}"));
    format!("failing {code}{place}: {}", failure.reason)
}
