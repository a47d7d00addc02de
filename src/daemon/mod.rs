//! Puts the rooms together: [`once`] for `check`, [`run`] for the daemon. The only place that knows
//! everything.

mod changes;
mod lines;
pub mod once;
pub mod probes;
mod run;

pub use once::Once;
pub use run::{DaemonError, Signals, Start, run};
