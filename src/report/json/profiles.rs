//! The JSON of profiles: how their clients search, and what they come to.

use serde::Serialize;

use super::{each, each_shown, shown};
use crate::model::discovery::{Choice, Effect, Failover, Step};
use crate::model::finding::ClientError;
use crate::model::snapshot::{HostStatus, ProfileEntry};
use crate::model::{Discovery, Host, LookupOutcome, Name, Path, Selection, Status};

/// A profile, and how its clients fare.
#[derive(Serialize)]
pub(super) struct ProfileJson<'a> {
    name: &'a str,
    status: Status,
    /// The suffix that answered.
    domain: Option<&'a Name>,
    #[serde(serialize_with = "each_shown")]
    kms_hosts: Vec<&'a Host>,
    client_error: Option<ClientError>,
    resolver: &'a str,
    #[serde(serialize_with = "shown")]
    path: &'a Path,
    selection: Selection,
    windows: DiscoveryJson<'a>,
    office: DiscoveryJson<'a>,
}

impl<'a> From<&'a ProfileEntry> for ProfileJson<'a> {
    fn from(entry: &'a ProfileEntry) -> Self {
        let (view, profile) = (&*entry.view, &*entry.view.profile);
        Self {
            name: &profile.name,
            status: entry.status,
            domain: view.windows.domain().or(view.office.domain()),
            kms_hosts: view.choices().into_iter().map(|choice| &choice.host).collect(),
            client_error: view.client_error(),
            resolver: &profile.resolver.name,
            path: profile.path(),
            selection: profile.selection,
            windows: DiscoveryJson::from(&view.windows),
            office: DiscoveryJson::from(&view.office),
        }
    }
}

#[derive(Serialize)]
struct DiscoveryJson<'a> {
    verdict: &'static str,
    end: &'static str,
    client_error: Option<ClientError>,
    #[serde(serialize_with = "each::<_, StepJson, _>")]
    search: &'a [Step],
    #[serde(serialize_with = "each::<_, ChoiceJson, _>")]
    hosts: &'a [Choice],
    #[serde(serialize_with = "each::<_, FailoverJson, _>")]
    if_fails: &'a [Failover],
}

impl<'a> From<&'a Discovery> for DiscoveryJson<'a> {
    fn from(discovery: &'a Discovery) -> Self {
        Self {
            verdict: discovery.verdict.as_str(),
            end: discovery.end.as_str(),
            client_error: discovery.verdict.error(),
            search: &discovery.steps,
            hosts: &discovery.hosts,
            if_fails: &discovery.failovers,
        }
    }
}

#[derive(Serialize)]
struct StepJson<'a> {
    domain: &'a Name,
    outcome: Option<LookupOutcome>,
    effect: Effect,
}

impl<'a> From<&'a Step> for StepJson<'a> {
    fn from(step: &'a Step) -> Self {
        Self { domain: &step.domain, outcome: step.outcome, effect: step.effect }
    }
}

#[derive(Serialize)]
struct ChoiceJson<'a> {
    target: &'a Name,
    port: u16,
    share: f64,
    live_share: f64,
    status: HostStatus,
}

impl<'a> From<&'a Choice> for ChoiceJson<'a> {
    fn from(choice: &'a Choice) -> Self {
        let Choice { host, share, live_share, status, .. } = choice;
        Self {
            target: &host.target,
            port: host.port,
            share: *share,
            live_share: *live_share,
            status: *status,
        }
    }
}

/// What happens if this host fails next.
#[derive(Serialize)]
struct FailoverJson<'a> {
    #[serde(serialize_with = "shown")]
    host: &'a Host,
    verdict: &'static str,
    client_error: Option<ClientError>,
    takes_over: Vec<TakesOverJson<'a>>,
}

#[derive(Serialize)]
struct TakesOverJson<'a> {
    #[serde(serialize_with = "shown")]
    host: &'a Host,
    share: f64,
}

impl<'a> From<&'a Failover> for FailoverJson<'a> {
    fn from(failover: &'a Failover) -> Self {
        let takes = failover.takes_over.iter();
        Self {
            host: &failover.host,
            verdict: failover.verdict.as_str(),
            client_error: failover.verdict.error(),
            takes_over: takes.map(|(host, share)| TakesOverJson { host, share: *share }).collect(),
        }
    }
}
