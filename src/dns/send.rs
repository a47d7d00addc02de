//! What leaves, and when: as much as window and rate allow, in bursts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::asker::{Asker, FAR, PAUSE};
use super::flight::{LineId, Slot, Transmission};
use super::socket::PathError;
use super::tcp::Link;
use super::udp::Launched;
use crate::model::{LookupOutcome, Transport};

/// Datagrams sent before looking for answers: more would overrun the buffers of server or kernel.
const BURST: usize = 64;
/// Silent flights included; bounds the memory of a server that answers nothing.
const MOST_FLIGHTS: usize = 8192;

/// Why sending came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing is left that may be sent.
    Dry,
    /// A burst is out and there is more.
    Burst,
    /// The rate allows no more until then.
    Paused(Instant),
    /// The kernel takes no more for now.
    Full,
}

impl Asker {
    /// Sends what may be sent, at most a burst.
    pub(super) fn pump(&mut self, now: Instant) -> Pumped {
        let pumped = self.stage_burst(now);
        if self.launch() { pumped } else { Pumped::Full }
    }

    /// Makes ready what may be sent, and sends what goes over TCP.
    fn stage_burst(&mut self, now: Instant) -> Pumped {
        for _ in 0..BURST {
            if !self.has_more() {
                return Pumped::Dry;
            }
            if self.needs_connection() {
                self.park(now);
                continue;
            }
            if let Err(again) = self.orders.limiter.take(self.settings.rate, now) {
                return Pumped::Paused(again);
            }
            let Some(slot) = self.next_slot(now) else { return Pumped::Dry };
            self.transmit(slot, now);
        }
        Pumped::Burst
    }

    fn has_more(&mut self) -> bool {
        while let Some(slot) = self.ready.front() {
            let flight = self.flights.get_mut(*slot).filter(|flight| flight.is_queued);
            if let Some(flight) = flight {
                // Questions lost together fall due together: sent all at once, they would be lost again.
                return flight.is_in_window
                    || self.window.is_silent()
                    || self.window.has_room(self.under_way);
            }
            self.ready.pop_front();
        }
        if self.next_key.is_none() && self.may_admit() {
            self.next_key = self.orders.queue.try_recv().ok();
        }
        self.next_key.is_some() && self.may_admit()
    }

    /// Whether another lookup may be taken up.
    pub(super) fn may_admit(&mut self) -> bool {
        self.window.has_room(self.under_way)
            && self.flights.count() < MOST_FLIGHTS
            && self.outbox.len() < MOST_FLIGHTS
    }

    /// Whether what is sent next goes over a TCP connection that is not made yet.
    fn needs_connection(&mut self) -> bool {
        if self.link.as_ref().is_some_and(|link| link.is_open) {
            return false;
        }
        let next = self.ready.front().copied();
        let next = next.and_then(|slot| self.flights.get_mut(slot));
        next.is_some_and(|flight| flight.form.tcp) || self.is_tcp_server()
    }

    fn is_tcp_server(&self) -> bool {
        self.orders.upstream.server.transport == Transport::Tcp
    }

    /// Lets the next flight wait for the connection. What waits for one beside UDP leaves the window,
    /// which is for those that UDP can still answer.
    fn park(&mut self, now: Instant) {
        let (timeout, is_beside_udp) = (self.timeout(), !self.is_tcp_server());
        let Some(slot) = self.next_slot(now) else { return };
        let Some(flight) = self.flights.get_mut(slot) else { return };
        // So that nothing puts it in line a second time.
        flight.is_queued = true;
        if is_beside_udp && flight.is_in_window {
            flight.is_in_window = false;
            self.under_way -= 1;
        }
        self.parked.push(slot);
        let upstream = &self.orders.upstream;
        self.link.get_or_insert_with(|| Link::open(upstream.clone(), timeout));
    }

    /// The connection is made: what waited for it goes first, each as the rate allows.
    pub(super) fn unpark(&mut self) {
        for slot in std::mem::take(&mut self.parked).into_iter().rev() {
            if let Some(flight) = self.flights.get_mut(slot) {
                Self::reenter(flight, &mut self.under_way);
                self.ready.push_front(slot);
            }
        }
    }

    fn next_slot(&mut self, now: Instant) -> Option<Slot> {
        if let Some(slot) = self.ready.pop_front() {
            if !self.window.is_silent()
                && let Some(flight) = self.flights.get_mut(slot)
            {
                Self::reenter(flight, &mut self.under_way);
            }
            return Some(slot);
        }
        let key = self.next_key.take()?;
        self.under_way += 1;
        let attempts = self.attempts();
        Some(self.flights.insert(key, attempts, now))
    }

    /// Puts a flight in line to be sent again.
    pub(super) fn queue(&mut self, slot: Slot) {
        if let Some(flight) = self.flights.get_mut(slot)
            && !flight.is_queued
        {
            flight.is_queued = true;
            self.ready.push_back(slot);
        }
    }

    fn transmit(&mut self, slot: Slot, now: Instant) {
        let (timeout, attempts, is_tcp_server) =
            (self.timeout(), self.attempts(), self.is_tcp_server());
        let Some(flight) = self.flights.get_mut(slot) else { return };
        let tcp = flight.form.tcp || is_tcp_server;
        // Connections that could not be made have taken their share of the time.
        let share = attempts.saturating_sub(flight.sends).max(1);
        let edns = self.edns.is_wanted(flight, attempts, tcp, now);
        flight.is_queued = false;
        flight.deadline.get_or_insert(now + patience(timeout, share));
        if tcp {
            match self.send_tcp(slot, edns) {
                Ok((line, id)) => {
                    self.is_sent(slot, Transmission { line, id, sent: now, edns, tcp });
                }
                Err(error) => self.is_not_sent(slot, &error, now),
            }
        } else if let Err(error) = self.stage(slot, edns, now) {
            self.is_not_sent(slot, &error, now);
        }
    }

    fn stage(&mut self, slot: Slot, edns: bool, now: Instant) -> Result<(), PathError> {
        let Some(flight) = self.flights.get_mut(slot) else { return Ok(()) };
        let avoid = flight.transmissions.last().map(|last| last.line);
        let options = edns.then(|| self.edns.options(&self.orders.upstream.path));
        self.udp
            .stage((slot, edns), avoid, now, |id, into| flight.question.write(id, options, into))
    }

    fn send_tcp(&mut self, slot: Slot, edns: bool) -> Result<(LineId, u16), PathError> {
        let options = edns.then(|| self.edns.options(&self.orders.upstream.path));
        let sent = self.flights.get_mut(slot).zip(self.link.as_mut()).and_then(|(flight, link)| {
            let id = link.send(slot, |id, into| flight.question.write(id, options, into))?;
            Some((link.id, id))
        });
        let address = self.orders.upstream.server.address;
        sent.ok_or_else(|| PathError::Connect(address, std::io::ErrorKind::TimedOut.into()))
    }

    /// Sends what is staged; false where the kernel took not all of it.
    fn launch(&mut self) -> bool {
        let mut group = std::mem::take(&mut self.group);
        let mut is_all = true;
        while let Some(launched) = self.udp.launch(&mut group) {
            // Before the answers can be read, and after whatever went out before.
            let now = Instant::now();
            match launched {
                Launched::Sent => {
                    for each in &group {
                        let (line, id, edns) = (each.line, each.id, each.edns);
                        let sent = Transmission { line, id, sent: now, edns, tcp: false };
                        self.is_sent(each.slot, sent);
                    }
                }
                Launched::Full => {
                    is_all = false;
                    group.iter().rev().for_each(|each| self.put_back(each.slot));
                }
                Launched::Failed(error) => {
                    group.iter().for_each(|each| self.is_not_sent(each.slot, &error, now));
                }
                Launched::Refused(line, error) => {
                    let (slots, why) = (self.udp.slots(line), error.to_string().into());
                    let trouble = (LookupOutcome::Unreachable, why);
                    self.on_line_failure(line, slots, &trouble, PAUSE);
                }
            }
        }
        self.group = group;
        is_all
    }

    fn is_sent(&mut self, slot: Slot, query: Transmission) {
        let timeout = self.timeout();
        let Some(flight) = self.flights.get_mut(slot) else { return };
        flight.sends += 1;
        flight.transmissions.push(query);
        let silent = self.trips.timeout(flight.sends, timeout);
        flight.resend_at = query.sent + if query.tcp { timeout } else { silent };
        // A place in the window is for one timeout, however long the next try is off.
        let place = self.trips.timeout(1, timeout);
        let place = if query.tcp { place } else { place.min(self.trips.overtaken()) };
        let wake = query.sent + place;
        let wake = flight.deadline.map_or(wake, |deadline| wake.min(deadline));
        self.flights.wake(slot, wake);
    }

    fn is_not_sent(&mut self, slot: Slot, error: &PathError, now: Instant) {
        if let Some(flight) = self.flights.get_mut(slot) {
            flight.sends += 1;
            let why: Arc<str> = error.to_string().into();
            flight.trouble = Some((LookupOutcome::Unreachable, why));
        }
        self.server_stats.ended(LookupOutcome::Unreachable, 1);
        self.retry_soon(slot, now, PAUSE);
    }

    fn put_back(&mut self, slot: Slot) {
        if let Some(flight) = self.flights.get_mut(slot) {
            flight.is_queued = true;
            self.ready.push_front(slot);
        }
    }
}

/// How long a question is worth waiting for.
fn patience(timeout: Duration, attempts: u32) -> Duration {
    timeout.saturating_mul(attempts).min(FAR)
}
