//! The pages, in a real Chromium and over plain HTTP.

#[path = "page/axe.rs"]
mod axe;
#[path = "peers/chromium.rs"]
mod chromium;
#[path = "peers/daemon.rs"]
mod daemon;
#[path = "page/estate.rs"]
mod estate;
#[path = "page/http.rs"]
mod http;
#[path = "peers/lab.rs"]
mod lab;
#[path = "page/live.rs"]
mod live;
#[path = "peers/npm.rs"]
mod npm;
#[path = "page/past.rs"]
mod past;
#[path = "peers/program.rs"]
mod program;
#[path = "page/reading.rs"]
mod reading;
#[path = "page/views.rs"]
mod views;

use std::time::Duration;

/// Nothing here takes longer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);
