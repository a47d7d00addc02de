//! What must be observed, what has been, and when the next observation is due.
//!
//! [`state`], [`resolution`] and [`work`] are PURE; [`schedule`] and [`observer`] live on tokio's clock.

pub mod observer;
pub mod resolution;
pub mod schedule;
pub mod state;
pub mod work;

pub use observer::{Observer, Outlet};
pub use resolution::{Resolution, Verdict, resolve};
pub use state::{Changes, Horizon, State};
pub use work::{Turn, Work};
