//! PURE. The KMS client: how it selects among the records of an answer, and what it shows in the end.

pub mod errors;
pub mod shares;
