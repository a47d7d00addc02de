//! Everything that is under way at one server over one path: waits, receives, keeps the time.
//! What is sent and when is in `send`, what answers mean for a lookup in `judge`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use super::edns::Edns;
use super::flight::{Flight, Flights, LineId, Slot, Transmission};
use super::limit::Limiter;
use super::pace::{RoundTrips, Window};
use super::send::Pumped;
use super::socket::PathError;
use super::tcp::{Event, Link};
use super::udp::{Received, Staged, Udp};
use crate::clock::Clock;
use crate::model::plan::DnsSettings;
use crate::model::{LookupKey, LookupOutcome, Observation, SharedNames, Upstream};
use crate::stats::{ServerStats, Stats};

/// What the engine gives an asker.
#[derive(Debug)]
pub struct Orders {
    /// Whom to ask.
    pub upstream: Arc<Upstream>,
    /// How; may change at any time.
    pub settings: watch::Receiver<DnsSettings>,
    /// How fast at most.
    pub limiter: Arc<Limiter>,
    /// Stamps observations.
    pub clock: Clock,
    /// Counts what happens.
    pub stats: Arc<Stats>,
    /// What to ask.
    pub queue: mpsc::Receiver<LookupKey>,
    /// Where the answers go.
    pub observations: mpsc::Sender<Vec<Observation>>,
}

/// The task of one server over one path.
#[derive(Debug)]
pub struct Asker {
    pub(super) orders: Orders,
    pub(super) server_stats: Arc<ServerStats>,
    /// As of this turn of the loop.
    pub(super) settings: DnsSettings,
    /// The next key of the queue, once looked at.
    pub(super) next_key: Option<LookupKey>,
    /// Observations on their way; while they are stuck, nothing new is taken up.
    pub(super) outbox: Vec<Observation>,
    pub(super) flights: Flights,
    /// What waits to be sent again, before anything new.
    pub(super) ready: VecDeque<Slot>,
    /// What waits for the TCP connection to be made; neither sent nor counted by the limiter yet.
    pub(super) parked: Vec<Slot>,
    pub(super) udp: Udp,
    /// Room for queries that left together.
    pub(super) group: Vec<Staged>,
    pub(super) link: Option<Link>,
    pub(super) trips: RoundTrips,
    pub(super) window: Window,
    /// Flights that count against the window.
    pub(super) under_way: usize,
    pub(super) edns: Edns,
    pub(super) targets: SharedNames,
    buffer: Vec<u8>,
    alarm: Pin<Box<Sleep>>,
}

/// Datagrams read before looking at the time: some 20 µs.
const GLANCE: usize = 8;
/// Datagrams read before looking for something to send.
const GULP: usize = 256;
/// After the kernel said that nobody is there: long enough for a service to restart its socket.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// No UDP datagram and no TCP message is longer.
const LONGEST_MESSAGE: usize = 65_535;
/// Further away than anything that is waited for.
pub(super) const FAR: Duration = Duration::from_hours(24);

impl Asker {
    /// With nothing under way.
    pub fn new(orders: Orders) -> Self {
        let settings = *orders.settings.borrow();
        Self {
            server_stats: orders.stats.server(orders.upstream.server),
            settings,
            next_key: None,
            outbox: Vec::new(),
            flights: Flights::default(),
            ready: VecDeque::new(),
            parked: Vec::new(),
            udp: Udp::new(orders.upstream.clone()),
            group: Vec::new(),
            link: None,
            trips: RoundTrips::default(),
            window: Window::default(),
            under_way: 0,
            edns: Edns::new(rand::random()),
            targets: SharedNames::default(),
            buffer: vec![0; LONGEST_MESSAGE],
            alarm: Box::pin(sleep_until(Instant::now() + FAR)),
            orders,
        }
    }

    /// Asks until the engine goes away.
    pub async fn run(mut self) {
        loop {
            // A peer that floods must not keep this thread to itself.
            tokio::task::coop::consume_budget().await;
            self.settings = *self.orders.settings.borrow();
            self.receive();
            let now = Instant::now();
            while let Some(slot) = self.flights.due(now) {
                self.on_timer(slot, now);
            }
            let pumped = self.pump(now);
            // After the pump, so that whoever gets these finds room in the queue.
            if self.flush().is_err() {
                return;
            }
            if pumped == Pumped::Burst {
                tokio::task::yield_now().await;
            } else if !self.wait(pumped).await {
                return;
            }
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout.min(FAR)
    }

    pub(super) fn attempts(&self) -> u32 {
        self.settings.attempts.max(1)
    }

    /// Reads what lies ready on the sockets.
    fn receive(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut now = Instant::now();
        for count in 1..=GULP {
            match self.udp.receive(&mut buffer) {
                Some(Received::Datagram(line, length)) => {
                    self.on_message(line, &buffer[..length], now);
                    // What lies ready came before it is read; to ask for the time costs a share of a lookup.
                    if count.is_multiple_of(GLANCE) {
                        now = Instant::now();
                    }
                }
                Some(Received::Failed(line, error)) => {
                    let address = self.orders.upstream.server.address;
                    let why = PathError::Connect(address, error).to_string();
                    let slots = self.udp.slots(line);
                    let trouble = (LookupOutcome::Unreachable, why.into());
                    self.on_line_failure(line, slots, &trouble, PAUSE);
                }
                None => break,
            }
        }
        self.buffer = buffer;
    }

    /// A flight was silent for long: it frees its place in the window, and is sent again or given
    /// up when it is time.
    fn on_timer(&mut self, slot: Slot, now: Instant) {
        let timeout = self.timeout();
        let (trips, udp) = (&self.trips, &self.udp);
        let Some(flight) = self.flights.get_mut(slot) else { return };
        // Never sent yet: the connection could not be made.
        let Some(deadline) = flight.deadline else { return self.queue(slot) };
        if now >= deadline {
            let stale = flight.transmissions.iter().rev().find(|each| each.tcp).copied();
            self.give_up(slot, now);
            // One that went out late had too little time to tell anything.
            return self.drop_dead_link(stale.filter(|query| now >= query.sent + timeout / 2));
        }
        let last = flight.transmissions.last().copied();
        let silent_at = last.map(|last| last.sent + trips.timeout(1, timeout));
        let is_silent = silent_at.is_none_or(|at| now >= at);
        let is_overtaken = last.is_some_and(|last| udp.is_overtaken(&last));
        if flight.is_in_window && (is_silent || is_overtaken) && last.is_some() {
            flight.is_in_window = false;
            self.under_way -= 1;
        }
        // Once for a question, or a few names that a server drops would look like a lossy path.
        if let Some(last) = last.filter(|_| is_silent && flight.sends <= 1 && !flight.is_missed) {
            flight.is_missed = true;
            self.window.lost(last.sent, now);
        }
        let may_resend = flight.sends < flight.limit && !flight.is_queued;
        if may_resend && now >= flight.resend_at {
            let stale = flight.transmissions.iter().rev().find(|each| each.tcp).copied();
            self.drop_dead_link(stale);
            self.queue(slot);
            return self.flights.wake(slot, deadline);
        }
        let resend = may_resend.then_some(flight.resend_at);
        let look =
            silent_at.filter(|_| flight.is_in_window).map(|at| at.min(now + trips.overtaken()));
        let next = [resend, look].into_iter().flatten().fold(deadline, Instant::min);
        self.flights.wake(slot, next);
    }

    /// The first round trip is measured: what was sent before that is not left to the timeout that
    /// stood in for it, which is ten times as long.
    pub(super) fn hurry(&mut self) {
        let timeout = self.timeout();
        for slot in self.flights.slots() {
            let Some(flight) = self.flights.get_mut(slot) else { continue };
            let Some(last) = flight.transmissions.last().filter(|last| !last.tcp) else { continue };
            let resend_at = last.sent + self.trips.timeout(flight.sends, timeout);
            flight.resend_at = flight.resend_at.min(resend_at);
            let wake = last.sent + self.trips.overtaken();
            let wake = flight.deadline.map_or(wake, |deadline| deadline.min(wake));
            self.flights.wake(slot, wake);
        }
    }

    /// A connection that brought nothing since this query went out is dead: the next goes out on a
    /// new one.
    fn drop_dead_link(&mut self, unanswered: Option<Transmission>) {
        let (Some(query), Some(link)) = (unanswered, &self.link) else { return };
        if link.id == query.line && link.heard.is_none_or(|heard| heard < query.sent) {
            // Those sent later have time left for the next connection, whatever their attempts.
            for slot in link.slots() {
                if let Some(flight) = self.flights.get_mut(slot) {
                    flight.limit = flight.limit.max(flight.sends + 1);
                }
            }
            self.on_link_closed(&(LookupOutcome::Timeout, "TCP gave no answer".into()));
        }
    }

    /// Hands over what is complete; what the receiver has no room for waits.
    fn flush(&mut self) -> Result<(), mpsc::error::SendError<()>> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        match self.orders.observations.try_reserve() {
            Ok(permit) => {
                permit.send(std::mem::take(&mut self.outbox));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(())) => Err(mpsc::error::SendError(())),
        }
    }

    /// Until there is something to do; false where there never will be.
    async fn wait(&mut self, pumped: Pumped) -> bool {
        let wants_keys = self.next_key.is_none() && self.may_admit();
        self.set_alarm(pumped);
        let Self { orders, next_key, outbox, udp, link, alarm, .. } = self;
        let event = tokio::select! {
            () = udp.readable() => return true,
            () = poll_fn(|context| udp.poll_writable(context)), if pumped == Pumped::Full => {
                return true;
            }
            () = alarm.as_mut() => return true,
            changed = orders.settings.changed() => return changed.is_ok(),
            key = orders.queue.recv(), if wants_keys => {
                *next_key = key;
                return next_key.is_some();
            }
            permit = orders.observations.reserve(), if !outbox.is_empty() => {
                let sent = permit.map(|permit| permit.send(std::mem::take(outbox)));
                return sent.is_ok();
            }
            event = next_event(link) => event,
        };
        self.on_event(event);
        true
    }

    fn set_alarm(&mut self, pumped: Pumped) {
        let mut until = self.flights.next_timer().unwrap_or_else(|| Instant::now() + FAR);
        if let Pumped::Paused(again) = pumped {
            until = until.min(again);
        }
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Open => {
                if let Some(link) = &mut self.link {
                    link.is_open = true;
                }
                self.unpark();
            }
            Event::Message(message) => {
                let Some(link) = &mut self.link else { return };
                link.hears(&message, now);
                let from = link.id;
                self.on_message(from, &message, now);
            }
            Event::Closed(outcome, why) => self.on_link_closed(&(outcome, why)),
        }
    }

    /// An id is no longer waited for, on whatever it was sent.
    pub(super) fn forget(&mut self, transmission: Transmission) {
        match &mut self.link {
            Some(link) if link.id == transmission.line => link.forget(transmission.id),
            _ => self.udp.forget(transmission.line, transmission.id),
        }
    }

    /// The flight that an id stands for on a socket or connection.
    pub(super) fn slot_of(&self, from: LineId, id: u16) -> Option<Slot> {
        match &self.link {
            Some(link) if link.id == from => link.slot(id),
            _ => self.udp.slot(from, id),
        }
    }

    /// A flight takes part again after an answer that demands another question.
    pub(super) fn reenter(flight: &mut Flight, under_way: &mut usize) {
        if !flight.is_in_window {
            flight.is_in_window = true;
            *under_way += 1;
        }
    }
}

async fn next_event(link: &mut Option<Link>) -> Event {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}
