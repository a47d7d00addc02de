//! Snapshot → metric families → text.
