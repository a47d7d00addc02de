//! Puts the rooms together: [`once`] for `check`, [`run`] for the daemon. The only place that knows
//! everything.

mod acks;
mod changes;
mod keeper;
mod lines;
pub mod once;
pub mod preflight;
pub mod probes;
mod run;
mod seat;

pub use once::Once;
pub use preflight::{Told, preflight};
pub use run::{DaemonError, Signals, Start, run};
