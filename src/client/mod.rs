//! PURE. The KMS client: how it searches, how it selects among the records of an answer, what it shows
//! in the end, and what that means.

pub mod codes;
pub mod discovery;
pub mod errors;
pub mod shares;
