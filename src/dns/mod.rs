//! The query engine: one answer per server and question, whatever came of it.
