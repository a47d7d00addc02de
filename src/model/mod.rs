//! PURE. The words of the design as types: no I/O, no clock, no tokio.
//!
//! Everything else imports from here, and this room imports from nobody.

pub mod alert;
pub mod check;
pub mod discovery;
pub mod duration;
pub mod endpoint;
pub mod finding;
pub mod journal;
pub mod maintenance;
pub mod moment;
pub mod name;
pub mod observation;
pub mod plan;
pub mod preflight;
pub mod profile;
pub mod snapshot;
pub mod srv;

pub use check::Check;
pub use discovery::Discovery;
pub use endpoint::{EndpointKey, LookupKey, Path, RecordKind, Server, Transport, Upstream};
pub use finding::{Finding, FindingState, Severity, Status, Subject};
pub use name::{Name, NameError, SharedNames};
pub use observation::{
    Answer, Flags, LookupOutcome, Observation, Probe, ProbeOutcome, Reachability,
};
pub use plan::{KmsMode, Plan, PlannedDomain, Resolver};
pub use preflight::Preflight;
pub use profile::{Product, Profile, Selection};
pub use snapshot::Snapshot;
pub use srv::{Host, Record};

/// Labels that a config attaches to a domain, resolver, host or profile; copied to findings.
pub type Labels = std::sync::Arc<std::collections::BTreeMap<String, String>>;
