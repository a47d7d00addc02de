//! Snapshot → metric families → text.
//!
//! [`names`] says what each family is, `collector` builds them from the snapshot one at a time, and
//! [`Exposition`] turns them into what a scrape gets: the estate's part is made once a snapshot, the
//! process's own part with each scrape.

mod collector;
mod exposition;
mod family;
pub mod names;
mod own;
mod per_snapshot;

pub use exposition::{Encoding, Exposition, Piece, Scrape, estate, write_estate};
pub use per_snapshot::PerSnapshot;
