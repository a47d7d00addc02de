//! The process's own families: always fresh.

use jiff::Timestamp;
use prometheus::core::{Collector as _, Metric as _};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};

use super::family::{Family, write_family};
use super::names;
use crate::model::{LookupOutcome, ProbeOutcome};
use crate::stats::Stats;

/// Appends the text of the process's own families.
pub(super) fn write(stats: &Stats, process: &ProcessCollector, text: &mut Vec<u8>) {
    let mut build = Family::new(names::BUILD_INFO);
    build.push([env!("CARGO_PKG_VERSION")], 1.0);
    text.extend(build.finished());
    reload(stats, text);
    queries(stats, text);
    text.extend(probes(stats).finished());
    text.extend(Family::single(names::SCHEDULE_LAG, stats.lag().as_secs_f64()).finished());
    for family in process.collect() {
        write_family(&family, text);
    }
}

/// Seconds since 1970, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "milliseconds fit for 285,000 years")]
pub(super) fn timestamp(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

fn reload(stats: &Stats, text: &mut Vec<u8>) {
    let reload = stats.reload();
    let successful = f64::from(u8::from(reload.successful));
    text.extend(Family::single(names::CONFIG_LAST_RELOAD_SUCCESSFUL, successful).finished());
    if let Some(at) = reload.last_success {
        text.extend(Family::single(names::CONFIG_LAST_RELOAD_SUCCESS, timestamp(at)).finished());
    }
}

fn queries(stats: &Stats, text: &mut Vec<u8>) {
    let mut family = Family::new(names::DNS_QUERIES);
    for (server, counts) in stats.servers() {
        let server = server.to_string();
        for outcome in LookupOutcome::ALL {
            family.push([&server, outcome.as_str()], counted(counts.count(outcome)));
        }
    }
    text.extend(family.finished());
    write_family(&histogram(stats), text);
}

fn histogram(stats: &Stats) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(names::DNS_QUERY_DURATION.name.to_owned());
    family.set_help(names::DNS_QUERY_DURATION.help.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![stats.query_duration().metric()]);
    family
}

fn probes(stats: &Stats) -> Family {
    let mut family = Family::new(names::PROBES);
    for outcome in ProbeOutcome::ALL {
        family.push([outcome.as_str()], counted(stats.probes(outcome)));
    }
    family
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
fn counted(count: u64) -> f64 {
    count as f64
}
