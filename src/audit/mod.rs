//! PURE. Plan and state in, findings out.

pub mod texts;
