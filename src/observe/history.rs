//! PURE. What was seen over time: since when each server shows each record and since when it lacks it,
//! until when each endpoint answered, and who answered when. The state owns it, and hands it what it records.
//!
//! A record is gone from a server only by a usable answer of that server, so silence makes nothing vanish.

mod turn;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};

use crate::model::journal::{Entry, Remembered, SeenEndpoint, SeenRecord, SeenUp, Witness};
use crate::model::srv::naming_hosts;
use crate::model::{
    Answer, EndpointKey, Host, LookupKey, Name, Path, Plan, PlannedDomain, Record, SharedNames,
    Upstream,
};

use turn::Turn;

/// What was seen over time of the domains of a plan, by the servers that the plan asks for each. What
/// profiles hear over their own paths is not part of it, as it is not of the domains' findings.
#[derive(Debug)]
pub struct History {
    /// By owner name.
    domains: HashMap<Name, Past, FixedState>,
    /// The servers that count, and how they are written.
    servers: HashMap<Arc<Upstream>, Beat, FixedState>,
    /// The paths that were probed over.
    paths: HashMap<Arc<Path>, Beat, FixedState>,
    /// Those that were up once.
    endpoints: HashMap<EndpointKey, Ended, FixedState>,
    /// One text in memory for all who name a target.
    targets: SharedNames,
    entries: Vec<Entry>,
}

/// What was seen of one domain over time.
#[derive(Debug)]
pub struct Past {
    domain: Name,
    /// One for each server that the domain is asked of.
    tracks: Box<[Track]>,
    /// Whether something was known of it when this process began: what comes then is new.
    was_watched: bool,
}

/// What one server showed of a domain over time.
#[derive(Debug)]
pub struct Track {
    /// The server.
    pub upstream: Arc<Upstream>,
    /// Whether it gave a usable answer since this process began.
    is_heard: bool,
    /// Each host that it showed, in no order.
    pub rows: Vec<Row>,
}

/// One record as one server showed it over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Target and port.
    pub host: Host,
    /// As last seen.
    pub priority: u16,
    /// As last seen.
    pub weight: u16,
    /// When it was shown first.
    pub first_seen: Timestamp,
    /// When it was shown last; while it is shown, the last usable answer may be later.
    pub last_seen: Timestamp,
    /// Since when usable answers lack it.
    pub gone: Option<Timestamp>,
}

/// When a witness showed something last, and what of that the journal knows.
#[derive(Debug)]
struct Beat {
    witness: Witness,
    last: Option<Timestamp>,
    told: Option<Timestamp>,
}

/// Until when an endpoint was up.
#[derive(Debug, Clone, Copy)]
struct Ended {
    last_up: Timestamp,
    is_up: bool,
    /// Whether this process probed it.
    is_probed: bool,
}

/// A witness's heartbeat is kept so often: a restart is at most so wrong about when something was last seen.
const BEAT_EVERY: SignedDuration = SignedDuration::from_secs(60);

impl History {
    /// What is remembered of what `plan` asks. Of servers that a domain is not asked of any more, the
    /// rows are forgotten, for good.
    pub fn new(plan: &Plan, remembered: &Remembered) -> Self {
        let mut history = Self {
            domains: HashMap::default(),
            servers: HashMap::default(),
            paths: HashMap::default(),
            endpoints: HashMap::default(),
            targets: SharedNames::default(),
            entries: Vec::new(),
        };
        history.replan(plan);
        remembered.records.iter().for_each(|seen| history.restore(seen));
        history.restore_endpoints(plan, remembered);
        history
    }

    /// What was seen of the domain with this owner name; `None` for one that is not in the plan.
    pub fn of(&self, owner: &Name) -> Option<&Past> {
        self.domains.get(owner)
    }

    /// Takes over another plan. Domains that it has no more are out of memory; rows of servers that a domain
    /// is not asked of any more are forgotten, for good.
    pub fn replan(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.domains);
        let mut servers = std::mem::take(&mut self.servers);
        for domain in &plan.domains {
            for upstream in asked(domain) {
                if !self.servers.contains_key(upstream) {
                    let beat = servers.remove(upstream);
                    let beat = beat.unwrap_or_else(|| Beat::new(Witness::of(upstream)));
                    self.servers.insert(upstream.clone(), beat);
                }
            }
            let past = before.remove(&domain.owner);
            let past = self.past(domain, past);
            self.domains.insert(domain.owner.clone(), past);
        }
        self.targets.clear();
    }

    /// The servers of the domain of which nothing was heard yet.
    pub fn unheard<'a>(
        &'a self,
        owner: &Name,
    ) -> impl Iterator<Item = &'a Arc<Upstream>> + use<'a> {
        let tracks = self.domains.get(owner).map_or(&[][..], |past| &past.tracks);
        tracks.iter().filter(|track| !track.is_heard).map(|track| &track.upstream)
    }

    /// Takes in a usable SRV answer; `before` is the one before it. The same again costs next to nothing.
    pub fn answered(
        &mut self,
        key: &LookupKey,
        before: Option<(&Answer, Timestamp)>,
        (answer, at): (&Answer, Timestamp),
    ) {
        let Some(beat) = self.servers.get_mut(&key.upstream) else { return };
        beat.saw(at);
        if !before.is_some_and(|(before, _)| shows_the_same(before, answer)) {
            self.compare(key, before.map(|(_, at)| at), answer, at);
        }
    }

    /// Takes in whether an endpoint is up; `before` is whether it was, and when that was seen.
    pub fn probed(
        &mut self,
        key: &EndpointKey,
        before: Option<(bool, Timestamp)>,
        (is_up, at): (bool, Timestamp),
    ) {
        if is_up {
            if !self.paths.contains_key(&key.path) {
                self.paths.insert(key.path.clone(), Beat::new(witness_of(&key.path)));
            }
            self.paths.get_mut(&key.path).into_iter().for_each(|beat| beat.saw(at));
        }
        if before.is_none_or(|(was_up, _)| was_up != is_up) {
            self.turned(key, before.filter(|(was_up, _)| *was_up).map(|(_, at)| at), is_up, at);
        }
    }

    /// Forgets the endpoints that are not wanted any more, but for those that only the journal knows.
    pub fn retain(&mut self, is_wanted: impl Fn(&EndpointKey) -> bool) {
        self.endpoints.retain(|key, ended| !ended.is_probed || is_wanted(key));
    }

    /// What the journal has to keep since the last call.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.beat(BEAT_EVERY);
        std::mem::take(&mut self.entries)
    }

    /// The same at the end of the process: every heartbeat is as late as it can be.
    pub fn take_last_entries(&mut self) -> Vec<Entry> {
        self.beat(SignedDuration::from_nanos(1));
        std::mem::take(&mut self.entries)
    }

    fn beat(&mut self, every: SignedDuration) {
        for beat in self.servers.values_mut().chain(self.paths.values_mut()) {
            let Some(at) = beat.last else { continue };
            if beat.told.is_none_or(|told| at.duration_since(told) >= every) {
                beat.told = Some(at);
                self.entries.push(Entry::Heartbeat { witness: beat.witness.clone(), at });
            }
        }
    }

    /// The past of a domain as it is planned now.
    fn past(&mut self, domain: &PlannedDomain, before: Option<Past>) -> Past {
        let was_watched = before.as_ref().is_some_and(|past| past.was_watched);
        let mut known: Vec<Track> = before.map_or_else(Vec::new, |past| past.tracks.into_vec());
        let mut tracks: Vec<Track> = Vec::new();
        for upstream in asked(domain) {
            if tracks.iter().any(|track| track.upstream == *upstream) {
                continue;
            }
            let at = known.iter().position(|track| track.upstream == *upstream);
            let track = at.map(|at| known.swap_remove(at));
            tracks.push(track.unwrap_or_else(|| Track::new(upstream)));
        }
        for track in known {
            let witness = Witness::of(&track.upstream);
            let forgotten = track.rows.into_iter().map(|row| forget(domain, &witness, row.host));
            self.entries.extend(forgotten);
        }
        // Where every server is another, what they show is not new.
        let was_watched = was_watched && tracks.iter().any(|track| !track.rows.is_empty());
        Past { domain: domain.name.clone(), tracks: tracks.into(), was_watched }
    }

    fn restore(&mut self, seen: &SeenRecord) {
        let Some(past) = self.domains.get_mut(&Name::owner_of(&seen.domain)) else { return };
        let servers = &self.servers;
        let is_its = |track: &&mut Track| servers[&track.upstream].witness == seen.witness;
        match past.tracks.iter_mut().find(is_its) {
            Some(track) => {
                track.rows.push(Row {
                    host: shared(&mut self.targets, seen.host.clone()),
                    priority: seen.priority,
                    weight: seen.weight,
                    first_seen: seen.first_seen,
                    last_seen: seen.last_seen,
                    gone: seen.gone,
                });
                past.was_watched = true;
            }
            None => self.entries.push(Entry::ForgetRecord {
                domain: seen.domain.clone(),
                witness: seen.witness.clone(),
                host: seen.host.clone(),
            }),
        }
    }

    fn restore_endpoints(&mut self, plan: &Plan, remembered: &Remembered) {
        let mut paths: HashMap<String, Arc<Path>> = HashMap::new();
        for resolver in plan.asked_resolvers() {
            paths.entry(resolver.path.to_string()).or_insert_with(|| resolver.path.clone());
        }
        for SeenUp { of, last_up, is_up } in &remembered.endpoints {
            if let Some(path) = paths.get(&*of.witness.path) {
                let key = EndpointKey { path: path.clone(), address: of.address };
                let ended = Ended { last_up: *last_up, is_up: *is_up, is_probed: false };
                self.endpoints.insert(key, ended);
            }
        }
    }

    /// Takes in an answer that may show something else than the one before, which came at `before`.
    fn compare(
        &mut self,
        key: &LookupKey,
        before: Option<Timestamp>,
        answer: &Answer,
        now: Timestamp,
    ) {
        let Some(past) = self.domains.get_mut(&key.name) else { return };
        let Some(at) = past.tracks.iter().position(|track| track.upstream == key.upstream) else {
            return;
        };
        let (servers, entries) = (&self.servers, &mut self.entries);
        let shown = naming_hosts(answer.records.iter());
        let mut turn = Turn { past, at, servers, now, entries };
        let rows = &mut turn.past.tracks[at].rows;
        let is_new = |record: &&&Record| rows.iter().all(|row| !row.is_of(record));
        let new = shown.iter().filter(is_new).count();
        rows.reserve_exact(new);
        for record in &shown {
            turn.shows(record, &mut self.targets);
        }
        // What is beyond the bound of an answer may be there.
        if answer.omitted == 0 {
            turn.lacks_others(&shown, before);
        }
        turn.past.tracks[at].is_heard = true;
    }

    fn turned(&mut self, key: &EndpointKey, was_up: Option<Timestamp>, is_up: bool, at: Timestamp) {
        let known = self.endpoints.get(key).copied();
        let last_up = match (is_up, was_up, known) {
            (true, ..) => at,
            (false, Some(last_up), _) => last_up,
            (false, None, Some(known)) => known.last_up,
            // Never up, as far as anybody knows.
            (false, None, None) => return,
        };
        self.endpoints.insert(key.clone(), Ended { last_up, is_up, is_probed: true });
        if known.is_none_or(|known| known.is_up != is_up) {
            let of = SeenEndpoint { address: key.address, witness: witness_of(&key.path) };
            self.entries.push(Entry::Endpoint(SeenUp { of, last_up, is_up }));
        }
    }
}

impl Past {
    /// What each server showed, in the order of the plan.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Whether another server than that of the track `at` shows such a record.
    fn is_shown_beside(&self, at: usize, is_such: impl Fn(&Row) -> bool) -> bool {
        let others = self.tracks.iter().enumerate().filter(|(number, _)| *number != at);
        others.flat_map(|(_, track)| &track.rows).any(|row| row.gone.is_none() && is_such(row))
    }
}

impl Track {
    fn new(upstream: &Arc<Upstream>) -> Self {
        Self { upstream: upstream.clone(), is_heard: false, rows: Vec::new() }
    }
}

impl Row {
    fn is_of(&self, record: &Record) -> bool {
        self.host.port == record.port && self.host.target == record.target
    }
}

impl Beat {
    fn new(witness: Witness) -> Self {
        Self { witness, last: None, told: None }
    }

    fn saw(&mut self, at: Timestamp) {
        self.last = self.last.max(Some(at));
    }
}

/// Whether two usable answers show the same records.
fn shows_the_same(before: &Answer, after: &Answer) -> bool {
    let same = |(one, other): (&Record, &Record)| one.identity() == other.identity();
    before.omitted == after.omitted
        && before.records.len() == after.records.len()
        && before.records.iter().zip(&after.records).all(same)
}

fn forget(domain: &PlannedDomain, witness: &Witness, host: Host) -> Entry {
    Entry::ForgetRecord { domain: domain.name.clone(), witness: witness.clone(), host }
}

fn witness_of(path: &Path) -> Witness {
    Witness { server: "".into(), path: path.to_string().into() }
}

fn asked(domain: &PlannedDomain) -> impl Iterator<Item = &Arc<Upstream>> {
    domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams)
}

fn shared(targets: &mut SharedNames, host: Host) -> Host {
    Host { target: targets.share(host.target), ..host }
}

#[cfg(test)]
mod tests;
