//! The query engine: one answer per server and question, whatever came of it.
//!
//! [`Engine`] runs one task ([`asker`]) per server and path. It sends over a few connected UDP
//! sockets ([`udp`]) or one TCP connection ([`tcp`]), as fast as [`limit`] and [`pace`] allow; what
//! comes back is read by [`classify`] and judged in `judge`, until each [`flight`] has its outcome.

pub mod asker;
pub mod classify;
pub mod edns;
pub mod engine;
pub mod flight;
mod judge;
pub mod limit;
pub mod pace;
pub mod socket;
pub mod tcp;
pub mod udp;
pub mod wire;

pub use engine::Engine;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
