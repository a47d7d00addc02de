//! PURE. Plan and state in, findings out.
