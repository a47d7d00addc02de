//! kmswatch: watches that Windows and Office machines can find and reach their KMS hosts.
//!
//! Data flows one way:
//! `config → plan → observe (dns, probe) → audit → snapshot → {metrics, web, report}`; what outlives the
//! process goes to [`journal`].
//! [`model`] holds the words, and everything imports from it. `ARCHITECTURE.md` says where to change
//! what.

pub mod alert;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod dns;
pub mod journal;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod preflight;
pub mod probe;
pub mod report;
pub mod stats;
pub mod web;
