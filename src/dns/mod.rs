//! The query engine: one answer per server and question, whatever came of it.
//!
//! [`Engine`] runs one task (`asker`) per server and path. It sends over a few connected UDP sockets
//! (`udp`) or one TCP connection (`tcp`), as fast as `limit` and `pace` allow (`send`); what comes back is
//! read by `classify` and judged in `judge`, until each `flight` has its outcome. The reader stands open
//! ([`read`]): it meets whatever a hostile peer sends, so it is fuzzed.

mod asker;
mod classify;
mod edns;
mod engine;
mod flight;
mod judge;
mod limit;
mod pace;
mod send;
mod socket;
mod tcp;
mod udp;
mod wire;

pub use classify::{Reading, Reply, Verdict, read};
pub use engine::{Engine, QUEUE};
pub use wire::Question;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
