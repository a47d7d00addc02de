//! HTTP: metrics, JSON and the control paths.
