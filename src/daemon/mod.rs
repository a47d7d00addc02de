//! Run, reload, shutdown: the only place that knows everything.
