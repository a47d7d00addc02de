//! PURE. Snapshot → human, json.
