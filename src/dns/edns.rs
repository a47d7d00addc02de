//! What is known of a server's EDNS (RFC 6891), and its cookies.

use std::time::Duration;

use tokio::time::Instant;

use super::flight::Flight;
use super::wire::{Cookies, Options};
use crate::model::Path;

/// What is known of one server's EDNS over one path.
#[derive(Debug)]
pub struct Edns {
    /// The cookies of both sides.
    pub cookies: Cookies,
    /// Whether it ever answered with EDNS.
    shown: bool,
    /// Until when it is asked without.
    plain_until: Option<Instant>,
    /// How often it answered without EDNS what it did not answer with.
    rescues: u8,
}

/// Then a server without EDNS gets another chance: it may have been replaced.
const MEMORY: Duration = Duration::from_mins(15);
/// One such answer may be chance: the first datagrams were lost.
const CONVINCING: u8 = 2;

impl Edns {
    /// Nothing is known yet.
    pub fn new(client_cookie: [u8; 8]) -> Self {
        Self { cookies: Cookies::new(client_cookie), shown: false, plain_until: None, rescues: 0 }
    }

    /// Whether the next query of this flight carries EDNS. The last attempt at a server that never
    /// showed it and was silent so far does not: some drop what they do not know.
    pub fn is_wanted(&self, flight: &Flight, attempts: u32, tcp: bool, now: Instant) -> bool {
        let is_known_plain = self.plain_until.is_some_and(|until| now < until);
        let is_last_of_silence = !tcp
            && !self.shown
            && flight.sends > 0
            && flight.sends + 1 == flight.limit
            && flight.limit == attempts
            && flight.trouble.is_none();
        !(flight.form.plain || is_known_plain || is_last_of_silence)
    }

    /// What a query over this path says.
    pub fn options(&self, path: &Path) -> Options<'_> {
        Options { cookie: self.cookies.to_send(), client_subnet: path.client_subnet }
    }

    /// An answer carried EDNS.
    pub fn saw_edns(&mut self) {
        self.shown = true;
    }

    /// A query without EDNS was answered usefully; `refused` tells that the same query with EDNS got
    /// an error, and not only silence.
    pub fn saw_plain_success(&mut self, refused: bool, now: Instant) {
        self.rescues = self.rescues.saturating_add(1);
        if refused || (!self.shown && self.rescues >= CONVINCING) {
            self.plain_until = Some(now + MEMORY);
            self.rescues = 0;
        }
    }
}
