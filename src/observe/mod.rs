//! What must be observed, what has been, and when the next observation is due.
//!
//! [`history`], [`state`], [`resolution`] and [`work`] are PURE; [`schedule`], [`visits`] and [`observer`] live on tokio's clock.

pub mod history;
pub mod observer;
pub mod resolution;
pub mod schedule;
pub mod state;
pub mod visits;
pub mod work;
