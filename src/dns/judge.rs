//! What answers and failures mean for the lookups under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::asker::{Asker, PAUSE};
use super::classify::{self, MAX_HOPS, Reading, Reply, Verdict};
use super::flight::{Flight, LineId, Slot, Transmission, Trouble};
use crate::model::{Answer, Flags, LookupOutcome, Name, Observation};

/// Extended RCODEs (RFC 6891 section 9, RFC 7873 section 8).
const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;
const BADCOOKIE: u16 = 23;

/// What an answer demands to be asked again as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    WithoutEdns,
    WithNewCookie,
    OverTcp,
}

impl Asker {
    /// A message came from the server. What nobody waits for, and what answers another question, is
    /// as if it had never come.
    pub(super) fn on_message(&mut self, line: LineId, message: &[u8], now: Instant) {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let Some(slot) = self.slot_of(line, id) else { return };
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let is_answered = |each: &&Transmission| each.line == line && each.id == id;
        let Some(query) = flight.transmissions.iter().find(is_answered).copied() else { return };
        match classify::read(message, &flight.question) {
            Reading::Foreign => {}
            Reading::Broken(why) => self.on_broken(slot, query, why.into(), now),
            Reading::Reply(reply) => {
                let is_ours = |cookie: &Vec<u8>| self.edns.cookies.accept(cookie);
                if reply.cookie.as_ref().is_none_or(is_ours) {
                    self.on_reply(slot, query, reply, now);
                }
            }
        }
    }

    fn on_broken(&mut self, slot: Slot, query: Transmission, why: Arc<str>, now: Instant) {
        self.consume(slot, query, LookupOutcome::Malformed);
        let Some(flight) = self.flights.get_mut(slot) else { return };
        flight.trouble = Some((LookupOutcome::Malformed, why));
        if flight.sends < flight.limit {
            self.queue(slot);
        } else if flight.transmissions.is_empty() {
            self.give_up(slot, now);
        }
    }

    fn on_reply(&mut self, slot: Slot, query: Transmission, reply: Reply, now: Instant) {
        let rtt = now.saturating_duration_since(query.sent);
        let is_first = !self.trips.is_known();
        self.trips.measured(rtt);
        self.udp.hears(&query);
        if is_first {
            self.hurry();
        }
        self.window.answered(rtt, now);
        self.orders.stats.query_took(rtt);
        if reply.edns {
            self.edns.saw_edns();
        }
        let Some(flight) = self.flights.get_mut(slot) else { return };
        if let Some(demand) = demanded(flight, query, &reply) {
            self.consume(slot, query, counted(&reply.verdict));
            return self.comply(slot, demand, now);
        }
        match reply.verdict {
            Verdict::Truncated => {
                self.on_broken(slot, query, "the answer over TCP is truncated".into(), now);
            }
            Verdict::Alias(chain) => {
                self.consume(slot, query, LookupOutcome::Records);
                self.follow(slot, chain, now);
            }
            Verdict::Answer(mut answer) => {
                self.learn(slot, query, answer.outcome, now);
                self.consume(slot, query, answer.outcome);
                answer.rtt = Some(rtt);
                self.finish(slot, answer, now);
            }
        }
    }

    /// Asks again as an answer demands, at once and beyond the attempts: the server is there.
    fn comply(&mut self, slot: Slot, demand: Demand, now: Instant) {
        self.abandon(slot);
        let timeout = self.timeout();
        let Some(flight) = self.flights.get_mut(slot) else { return };
        match demand {
            Demand::WithoutEdns => flight.form.plain = true,
            Demand::WithNewCookie => flight.form.new_cookie = true,
            Demand::OverTcp => (flight.form.tcp, flight.form.truncated) = (true, true),
        }
        flight.limit += 1;
        flight.trouble = None;
        let deadline = flight.deadline.map_or(now, |deadline| deadline.max(now + timeout));
        flight.deadline = Some(deadline);
        Self::reenter(flight, &mut self.under_way);
        self.queue(slot);
        self.flights.wake(slot, deadline);
    }

    /// Remembers what a success without EDNS says about the server.
    fn learn(&mut self, slot: Slot, query: Transmission, outcome: LookupOutcome, now: Instant) {
        let is_success = !matches!(outcome, LookupOutcome::Formerr | LookupOutcome::Notimp);
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let had_edns = flight.form.plain || flight.transmissions.iter().any(|each| each.edns);
        if is_success && !query.edns && had_edns {
            self.edns.saw_plain_success(flight.form.plain, now);
        }
    }

    /// Asks for what the name is an alias of.
    fn follow(&mut self, slot: Slot, chain: Vec<Name>, now: Instant) {
        self.abandon(slot);
        let attempts = self.attempts();
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let known = |name: &Name| *name == flight.key.name || flight.aliases.contains(name);
        let why = if chain.iter().any(known) {
            Some(format!("{} is an alias of itself", flight.key.name))
        } else if flight.aliases.len() + chain.len() > MAX_HOPS {
            Some(format!("{} leads through more than {MAX_HOPS} aliases", flight.key.name))
        } else {
            None
        };
        flight.aliases.extend(chain);
        let target = flight.aliases.last().cloned();
        match (why, target) {
            (None, Some(target)) => {
                flight.ask(target, attempts, now);
                Self::reenter(flight, &mut self.under_way);
                self.queue(slot);
            }
            (why, _) => {
                let detail = why.map(Into::into);
                let answer = Answer { detail, ..Answer::bare(LookupOutcome::Malformed) };
                self.finish(slot, answer, now);
            }
        }
    }

    /// A connection ended, or could not be made. What it left unanswered is asked again; where it
    /// had answered something, that is at once and costs no attempt: servers close whenever they
    /// like (RFC 7766 section 6.2.4).
    pub(super) fn on_link_closed(&mut self, trouble: &Trouble) {
        let Some(link) = self.link.take() else { return };
        let slots = link.slots();
        let was_good = link.heard.is_some() && trouble.0 != LookupOutcome::Malformed;
        if was_good {
            for slot in &slots {
                if let Some(flight) = self.flights.get_mut(*slot) {
                    flight.limit += 1;
                }
            }
        }
        let pause = if was_good { Duration::ZERO } else { PAUSE };
        self.on_line_failure(link.id, slots, trouble, pause);
        self.on_no_connection(trouble);
    }

    /// What waited for the connection has to try another, at the cost of an attempt.
    fn on_no_connection(&mut self, trouble: &Trouble) {
        let now = Instant::now();
        for slot in std::mem::take(&mut self.parked) {
            let Some(flight) = self.flights.get_mut(slot) else { continue };
            flight.is_queued = false;
            flight.sends += 1;
            flight.trouble = Some(trouble.clone());
            self.server_stats.ended(trouble.0, 1);
            self.retry_soon(slot, now, PAUSE);
        }
    }

    /// Everything sent on a socket or connection failed.
    pub(super) fn on_line_failure(
        &mut self,
        line: LineId,
        slots: Vec<Slot>,
        trouble: &Trouble,
        pause: Duration,
    ) {
        let now = Instant::now();
        for slot in slots {
            let Some(flight) = self.flights.get_mut(slot) else { continue };
            let lost: Vec<Transmission> =
                flight.transmissions.iter().filter(|each| each.line == line).copied().collect();
            if lost.is_empty() {
                continue;
            }
            flight.trouble = Some(trouble.clone());
            for query in lost {
                self.consume(slot, query, trouble.0);
            }
            self.retry_soon(slot, now, pause);
        }
    }

    /// After a failure that came at once: another try in a moment, or the end.
    pub(super) fn retry_soon(&mut self, slot: Slot, now: Instant, pause: Duration) {
        let Some(flight) = self.flights.get_mut(slot) else { return };
        if flight.sends < flight.limit {
            flight.resend_at = now + pause;
            let wake = flight.resend_at.min(flight.deadline.unwrap_or(flight.resend_at));
            self.flights.wake(slot, wake);
        } else if flight.transmissions.is_empty() {
            self.give_up(slot, now);
        }
    }

    /// Ends a flight that nothing usable came for.
    pub(super) fn give_up(&mut self, slot: Slot, now: Instant) {
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let (outcome, detail) = match flight.trouble.take() {
            Some((outcome, why)) => (outcome, Some(why)),
            None => (LookupOutcome::Timeout, None),
        };
        let detail = match (flight.form.truncated, detail) {
            (true, None) => Some("the answer is truncated, and TCP gave no answer".into()),
            (true, Some(why)) => Some(format!("the answer is truncated, and {why}").into()),
            (false, detail) => detail,
        };
        self.finish(slot, Answer { detail, ..Answer::bare(outcome) }, now);
    }

    fn finish(&mut self, slot: Slot, mut answer: Answer, now: Instant) {
        self.abandon(slot);
        let Some(flight) = self.flights.get_mut(slot) else { return };
        if !flight.aliases.is_empty() {
            let mut aliases = std::mem::take(&mut flight.aliases);
            aliases.append(&mut answer.aliases);
            answer.aliases = aliases;
        }
        for record in &mut answer.records {
            record.target = self.targets.share(record.target.clone());
        }
        answer.flags = Flags { tc: flight.form.truncated, ..answer.flags };
        if flight.is_in_window {
            self.under_way -= 1;
        }
        let (key, at) = (flight.key.clone(), self.orders.clock.at(now));
        self.outbox.push(Observation::Lookup { key, answer: Arc::new(answer), at });
        self.flights.remove(slot);
    }

    /// Waits no longer for any transmission of a flight.
    fn abandon(&mut self, slot: Slot) {
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let mut queries = std::mem::take(&mut flight.transmissions);
        self.server_stats.ended(LookupOutcome::Timeout, queries.len() as u64);
        for query in &queries {
            self.forget(*query);
        }
        queries.clear();
        if let Some(flight) = self.flights.get_mut(slot) {
            flight.transmissions = queries;
        }
    }

    /// One transmission has had its answer.
    fn consume(&mut self, slot: Slot, query: Transmission, outcome: LookupOutcome) {
        self.server_stats.ended(outcome, 1);
        self.forget(query);
        if let Some(flight) = self.flights.get_mut(slot) {
            flight.transmissions.retain(|each| (each.line, each.id) != (query.line, query.id));
        }
    }
}

fn demanded(flight: &Flight, query: Transmission, reply: &Reply) -> Option<Demand> {
    match (reply.rcode, &reply.verdict) {
        (BADCOOKIE, _) if !flight.form.new_cookie => Some(Demand::WithNewCookie),
        (FORMERR | NOTIMP | BADVERS, _) if query.edns && !flight.form.plain => {
            Some(Demand::WithoutEdns)
        }
        (BADCOOKIE, _) | (_, Verdict::Truncated) if !query.tcp => Some(Demand::OverTcp),
        _ => None,
    }
}

/// As what a transmission counts whose answer only demanded another.
fn counted(verdict: &Verdict) -> LookupOutcome {
    match verdict {
        Verdict::Answer(answer) => answer.outcome,
        Verdict::Truncated | Verdict::Alias(_) => LookupOutcome::Records,
    }
}
