//! `preflight`: one pass over some profiles that asks every server at once, and tells each step when it
//! is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::audit::{Auditor, Memory};
use crate::clock::Clock;
use crate::config;
use crate::model::plan::DnsSettings;
use crate::model::preflight::{ProfileRun, Reach, Seat, Step, StepId};
use crate::model::profile::Machines;
use crate::model::{
    Answer, Check, Finding, LookupKey, Name, Observation, Path, Plan, Preflight, Profile,
    RecordKind, Resolver, Server, Snapshot, Transport, Upstream,
};
use crate::observe::observer::{Observer, Outlet};
use crate::observe::schedule::Progress;
use crate::observe::state::{Changes, State};
use crate::observe::work::srv_keys;
use crate::preflight::Scene;
use crate::stats::Stats;

use super::lines::Lines;
use super::once::endless;
use super::seat::seat;

/// What is told while a preflight goes on. Profiles stand in the order of the plan, each followed by its
/// steps in the client's order.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// The steps of this profile follow.
    Profile(&'a Profile),
    /// It is known.
    Step(&'a Step),
    /// How far the observing is.
    Progress(Progress),
}

/// Plays the clients of these profiles of `plan` at once, of all where none is named. It takes as long as its dead ends: lookups of
/// all servers at once, and what they lead to.
pub async fn preflight(plan: &Plan, names: &[String], mut tell: impl FnMut(Told<'_>)) -> Preflight {
    let mut flight = Flight::begin(plan, names);
    let mut journal = Journal::new(&flight);
    loop {
        let is_complete = flight.is_complete();
        if let Some(changes) = journal.news(&mut flight, is_complete) {
            let began = Instant::now();
            let audits = flight.audit(&changes);
            journal.read(&flight, &audits, is_complete, &mut tell);
            if is_complete {
                return journal.close(&flight, audits.snapshot);
            }
            let done = Instant::now();
            journal.next = done + (done - began) * PAUSE;
        }
        tell(Told::Progress(flight.observer.progress()));
        flight.observer.step(&flight.lines, Instant::now() + MOMENT).await;
    }
}

/// How often progress is told at least.
const MOMENT: Duration = Duration::from_millis(100);

/// So many times as long as an audit takes nothing is audited after it: what was seen meanwhile is
/// audited together.
const PAUSE: u32 = 4;

/// The observing of all profiles that can be played from here.
struct Flight {
    /// All of them, also those that nothing can leave for.
    profiles: Vec<(Arc<Profile>, Seat)>,
    /// Of those that something can.
    plan: Arc<Plan>,
    auditors: Auditors,
    observer: Observer,
    lines: Lines,
    clock: Clock,
    reach: ReachStage,
}

impl Flight {
    fn begin(plan: &Plan, names: &[String]) -> Self {
        let (clock, stats) = (Clock::start(), Stats::new());
        let is_played =
            |profile: &Profile| names.is_empty() || names.iter().any(|name| *name == *profile.name);
        let all = plan.profiles.iter().map(|profile| (profile.clone(), seat(profile)));
        let (profiles, others): (Vec<_>, Vec<_>) = all.partition(|(profile, _)| is_played(profile));
        let able = |seats: &[(Arc<Profile>, Seat)]| -> Vec<Arc<Profile>> {
            let able = seats.iter().filter(|(_, seat)| seat.obstacle.is_none());
            able.map(|(profile, _)| profile.clone()).collect()
        };
        let (played, beside) = (able(&profiles), beside(&able(&profiles), able(&others)));
        let plan_of = |profiles| endless(&narrowed(plan, profiles));
        let wide = plan_of([played.clone(), beside].concat());
        let plan = plan_of(played);
        let questions = Questions::of(&plan, &wide);
        questions.warn_of_rate(&wide);
        let (lines, inbox) = Lines::new(&questions.asking(&wide), clock, &stats);
        let reach = ReachStage::new(&questions);
        let auditors = Auditors::new(&plan, &wide, clock.now());
        let observer = Observer::new(wide, reach.tap(inbox), clock, stats);
        // An empty queue has room for the few.
        for key in &questions.extra {
            lines.lookups(&key.upstream, vec![key.clone()]);
        }
        Self { profiles, plan, auditors, observer, lines, clock, reach }
    }

    fn is_complete(&self) -> bool {
        self.observer.is_complete() && self.reach.is_complete()
    }

    fn audit(&mut self, changes: &Changes) -> Audits {
        self.auditors.audit(self.observer.state(), changes, self.clock.now())
    }
}

/// The profiles that are not played, and whose machines come to the hosts of those that are.
fn beside(played: &[Arc<Profile>], mut others: Vec<Arc<Profile>>) -> Vec<Arc<Profile>> {
    let brings = |profile: &Arc<Profile>| profile.machines != Machines::default();
    others.retain(|other| brings(other) && played.iter().any(brings));
    others
}

/// Each remembers what it need not audit again.
struct Auditors {
    played: Auditor,
    /// With the profiles beside them; `None` where there are none.
    wide: Option<Auditor>,
    /// Without exceptions; `None` where the config has none.
    bare: Option<Auditor>,
}

/// What was seen until now.
struct Audits {
    snapshot: Snapshot,
    bare: Option<Snapshot>,
}

impl Auditors {
    fn new(plan: &Arc<Plan>, wide: &Arc<Plan>, started: jiff::Timestamp) -> Self {
        let auditor = |plan: &Arc<Plan>| Auditor::new(plan.clone(), started, Memory::Once);
        let bare = || auditor(&Arc::new(Plan { exceptions: Vec::new(), ..(**plan).clone() }));
        Self {
            played: auditor(plan),
            wide: (wide.profiles.len() > plan.profiles.len()).then(|| auditor(wide)),
            bare: (!plan.exceptions.is_empty()).then(bare),
        }
    }

    fn audit(&mut self, state: &State, changes: &Changes, now: jiff::Timestamp) -> Audits {
        let mut snapshot = self.played.audit(state, changes, now);
        if let Some(wide) = &mut self.wide {
            snapshot = counted_together(snapshot, &wide.audit(state, changes, now));
        }
        let bare = self.bare.as_mut().map(|bare| bare.audit(state, changes, now));
        Audits { snapshot, bare }
    }
}

/// Thresholds are met or not by the machines of all profiles together.
fn counted_together(mut snapshot: Snapshot, wide: &Snapshot) -> Snapshot {
    let together = |finding: Arc<Finding>| match finding.check {
        Check::ProfileBelowThreshold => {
            wide.findings.iter().find(|other| other.id == finding.id).cloned()
        }
        _ => Some(finding),
    };
    let findings = std::mem::take(&mut snapshot.findings);
    snapshot.with_findings(findings.into_iter().filter_map(together).collect())
}

/// The plan of these profiles alone, with everything else as it is.
fn narrowed(plan: &Plan, profiles: Vec<Arc<Profile>>) -> Plan {
    let Plan { resolvers, domains, profiles, .. } = config::plan_for_profiles(profiles);
    Plan { resolvers, domains, profiles, asks_all: true, ..plan.clone() }
}

/// What was told of each profile, and when.
struct Journal {
    steps: Vec<Vec<Step>>,
    since: Vec<Instant>,
    /// The profile that is told, and how many of its steps were; `None` before its head.
    current: (usize, Option<usize>),
    was_read: bool,
    reached: usize,
    /// When it reads again, unless everything is complete before.
    next: Instant,
}

impl Journal {
    fn new(flight: &Flight) -> Self {
        let count = flight.profiles.len();
        Self {
            steps: vec![Vec::new(); count],
            since: vec![Instant::now(); count],
            current: (0, None),
            was_read: false,
            reached: 0,
            next: Instant::now(),
        }
    }

    /// What was seen that it does not know, once it is time to read it.
    fn news(&mut self, flight: &mut Flight, is_complete: bool) -> Option<Changes> {
        if !is_complete && Instant::now() < self.next {
            return None;
        }
        let reached = std::mem::replace(&mut self.reached, flight.reach.count());
        let changes = flight.observer.take_changes();
        let was_read = std::mem::replace(&mut self.was_read, true);
        let is_stale = !changes.is_empty() || is_complete || !was_read || reached != self.reached;
        is_stale.then_some(changes)
    }

    fn read(
        &mut self,
        flight: &Flight,
        audits: &Audits,
        is_complete: bool,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        for (at, (profile, seat)) in flight.profiles.iter().enumerate() {
            let reach = flight.reach.of(profile);
            let (plan, state) = (&*flight.plan, flight.observer.state());
            let Audits { snapshot, bare } = audits;
            let (reach, bare, now) = (&reach, bare.as_ref(), snapshot.at);
            let scene =
                Scene { plan, profile, seat, reach, state, snapshot, bare, is_complete, now };
            for mut step in scene.steps(self.steps[at].len()) {
                let now = Instant::now();
                step.took = now.saturating_duration_since(self.since[at]);
                self.since[at] = now;
                self.steps[at].push(step);
            }
        }
        self.tell(flight, tell);
    }

    fn tell(&mut self, flight: &Flight, tell: &mut impl FnMut(Told<'_>)) {
        while let Some((profile, _)) = flight.profiles.get(self.current.0) {
            let steps = &self.steps[self.current.0];
            let told = self.current.1.unwrap_or_else(|| {
                tell(Told::Profile(profile));
                0
            });
            steps[told..].iter().for_each(|step| tell(Told::Step(step)));
            self.current.1 = Some(steps.len());
            if steps.len() < StepId::ALL.len() {
                return;
            }
            self.current = (self.current.0 + 1, None);
        }
    }

    fn close(self, flight: &Flight, snapshot: Snapshot) -> Preflight {
        let view = |profile: &Profile| {
            let mut entries = snapshot.profiles.iter();
            let found = entries.find(|entry| entry.view.profile.name == profile.name);
            found.map(|entry| entry.view.clone())
        };
        let runs = flight.profiles.iter().zip(self.steps).map(|((profile, _), steps)| ProfileRun {
            profile: profile.clone(),
            steps,
            view: view(profile),
        });
        let runs = runs.collect();
        Preflight { snapshot, runs }
    }
}

/// One question to each server over each transport, from each path.
struct Questions {
    wanted: HashSet<LookupKey>,
    /// Those that the plan does not ask anyway.
    extra: Vec<LookupKey>,
}

impl Questions {
    /// `wide`: all that is asked anyway.
    fn of(plan: &Plan, wide: &Plan) -> Self {
        let planned: HashSet<LookupKey> = srv_keys(wide).into_iter().collect();
        let mut wanted = HashSet::new();
        for profile in &plan.profiles {
            for upstream in &profile.resolver.upstreams {
                wanted.extend(TRANSPORTS.map(|over| question(profile, upstream, over)));
            }
        }
        let extra = wanted.difference(&planned).cloned().collect();
        Self { wanted, extra }
    }

    /// Tells of servers that cannot be asked as fast as dead ends are to end.
    fn warn_of_rate(&self, plan: &Plan) {
        let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for key in srv_keys(plan).iter().chain(&self.extra) {
            *counts.entry(key.upstream.server.address).or_default() += 1;
        }
        let DnsSettings { timeout, attempts, rate } = plan.dns;
        for (address, count) in counts {
            let pace = Duration::from_secs(1) / rate.max(1);
            let once = pace.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            if once > timeout {
                let silent = (once.saturating_mul(attempts.max(1)) + timeout).as_secs();
                tracing::warn!(
                    "{address} is asked {count} questions, at most {rate} a second: that takes {:.0} s or more, \
                     and {silent} s or more if it does not answer; raise rate in [dns] of the config",
                    once.as_secs_f64()
                );
            }
        }
    }

    /// The plan with everybody who is asked.
    fn asking(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        plan.resolvers.push(Arc::new(Resolver {
            name: "preflight".into(),
            upstreams: self.wanted.iter().map(|key| key.upstream.clone()).collect(),
            path: Arc::new(Path::default()),
            labels: crate::model::Labels::default(),
            base: None,
        }));
        plan
    }
}

const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// What these clients ask first; those that ask nothing look up their fixed host.
fn question(profile: &Profile, upstream: &Upstream, transport: Transport) -> LookupKey {
    let server = Server { transport, ..upstream.server };
    let upstream = Arc::new(Upstream { server, path: upstream.path.clone() });
    if let Some(domain) = profile.search.first() {
        return domain.srv_key(&upstream);
    }
    let fixed = profile.fixed_hosts().into_iter().map(|(host, _)| host.target.clone());
    let name = fixed.into_iter().find(|name| name.as_address().is_none());
    let name = name.unwrap_or_else(|| Name::from_labels(std::iter::empty()));
    LookupKey { upstream, name, kind: RecordKind::A }
}

/// What came of the questions.
struct ReachStage {
    answers: Arc<Mutex<HashMap<LookupKey, Option<Arc<Answer>>>>>,
}

impl ReachStage {
    fn new(questions: &Questions) -> Self {
        let unanswered = questions.wanted.iter().map(|key| (key.clone(), None)).collect();
        Self { answers: Arc::new(Mutex::new(unanswered)) }
    }

    /// Notes what passes. The observer drops what it did not ask for.
    fn tap(&self, mut inbox: mpsc::Receiver<Vec<Observation>>) -> mpsc::Receiver<Vec<Observation>> {
        let (sender, tapped) = mpsc::channel(1);
        let answers = self.answers.clone();
        tokio::spawn(async move {
            while let Some(batch) = inbox.recv().await {
                for seen in &batch {
                    if let Observation::Lookup { key, answer, .. } = seen
                        && let Some(known) = lock(&answers).get_mut(key)
                    {
                        *known = Some(answer.clone());
                    }
                }
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        tapped
    }

    fn count(&self) -> usize {
        lock(&self.answers).values().filter(|answer| answer.is_some()).count()
    }

    fn is_complete(&self) -> bool {
        lock(&self.answers).values().all(Option::is_some)
    }

    /// Each server of the profile.
    fn of(&self, profile: &Profile) -> Vec<(Arc<Upstream>, Reach)> {
        let answers = lock(&self.answers);
        let over = |upstream: &Upstream, transport| {
            answers.get(&question(profile, upstream, transport)).cloned().flatten()
        };
        let upstreams = profile.resolver.upstreams.iter();
        let reach = |upstream: &Arc<Upstream>| {
            let [udp, tcp] = TRANSPORTS.map(|transport| over(upstream, transport));
            (upstream.clone(), Reach { udp, tcp })
        };
        upstreams.map(reach).collect()
    }
}

/// Whoever panicked with it left it whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
