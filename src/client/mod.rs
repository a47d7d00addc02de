//! PURE. The KMS client: how it selects among the records of an answer.
