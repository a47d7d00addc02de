//! The process's own families: always fresh.

use jiff::Timestamp;
use prometheus::core::{Collector as _, Metric as _};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};

use super::family::Text;
use super::names;
use crate::model::{LookupOutcome, ProbeOutcome};
use crate::stats::Stats;

/// Writes the process's own families.
pub(super) fn write(stats: &Stats, process: &ProcessCollector, text: &mut Text) {
    text.family(names::BUILD_INFO).push([env!("CARGO_PKG_VERSION").into()], 1.0);
    reload(stats, text);
    queries(stats, text);
    probes(stats, text);
    text.single(names::SCHEDULE_LAG, stats.lag().as_secs_f64());
    text.single(names::JOURNAL_OK, f64::from(u8::from(stats.is_journal_ok())));
    process.collect().iter().for_each(|family| text.made(family));
}

/// Seconds since 1970, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "milliseconds fit for 285,000 years")]
pub(super) fn timestamp(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

fn reload(stats: &Stats, text: &mut Text) {
    let reload = stats.reload();
    let successful = f64::from(u8::from(reload.successful));
    text.single(names::CONFIG_LAST_RELOAD_SUCCESSFUL, successful);
    if let Some(at) = reload.last_success {
        text.single(names::CONFIG_LAST_RELOAD_SUCCESS, timestamp(at));
    }
}

fn queries(stats: &Stats, text: &mut Text) {
    let mut family = text.family(names::DNS_QUERIES);
    for (server, counts) in stats.servers() {
        let server = server.to_string();
        for outcome in LookupOutcome::ALL {
            let count = counted(counts.count(outcome));
            family.push([(&*server).into(), outcome.as_str().into()], count);
        }
    }
    let mut family = MetricFamily::default();
    family.set_name(names::DNS_QUERY_DURATION.name.to_owned());
    family.set_help(names::DNS_QUERY_DURATION.help.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![stats.query_duration().metric()]);
    text.made(&family);
}

fn probes(stats: &Stats, text: &mut Text) {
    let mut family = text.family(names::PROBES);
    for outcome in ProbeOutcome::ALL {
        family.push([outcome.as_str().into()], counted(stats.probes(outcome)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
fn counted(count: u64) -> f64 {
    count as f64
}
