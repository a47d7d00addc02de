//! `kmswatch check`: one audit, and its report.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config;
use crate::daemon::Once;
use crate::model::{
    KmsMode, Labels, Name, Plan, PlannedDomain, Profile, Resolver, Server, Snapshot,
};
use crate::report;

use super::output::{Color, ProgressLine};
use super::publication::{Format, Publication};
use super::{Problem, run};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Domains to audit, without profiles; default: all of the config, or the machine's own search suffixes
    #[arg(value_name = "DOMAIN", value_parser = domain)]
    domains: Vec<Name>,
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A DNS server to ask, instead of those of the config or the machine; may be repeated
    #[arg(long, value_name = "SERVER", value_parser = config::parse_server)]
    server: Vec<Server>,
    #[command(flatten)]
    publication: Publication,
}

pub(super) fn check(
    arguments: &Arguments,
    color: Color,
    verbose: bool,
) -> Result<ExitCode, Problem> {
    let publication = &arguments.publication;
    let (snapshot, slow) = publication.observed(plan(arguments).and_then(|asked| {
        let slow = asked.plan.probe.slow;
        Ok((observe(asked)?, slow))
    }))?;
    match publication.format {
        Format::Human => {
            publication.write(report::human(&snapshot, &publication.style(color, verbose)))
        }
        Format::Json => publication.write(report::json_text(&report::json(&snapshot))),
        Format::Junit | Format::Markdown | Format::Html => {
            publication.write(publication.lay_out(&report::document(&snapshot)))
        }
        Format::Nagios => publication.write(report::nagios(&snapshot, &publication.plugin(slow))),
        Format::Prometheus => publication.write_metrics(&snapshot),
    }?;
    let code = publication.exit_code(snapshot.status);
    std::mem::forget(snapshot);
    Ok(code)
}

/// What is asked for.
struct Asked {
    plan: Plan,
    /// The domains are a search list: one of them is enough, but one there must be.
    is_search_list: bool,
}

fn plan(arguments: &Arguments) -> Result<Asked, Problem> {
    let Some(file) = &arguments.config else { return plan_without_config(arguments) };
    let loaded = run::load(file)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut plan = loaded.plan;
    if !arguments.server.is_empty() {
        ask_others(&mut plan, command_line(arguments))?;
    }
    if !arguments.domains.is_empty() {
        if !plan.profiles.is_empty() {
            tracing::warn!(
                "domains are named, so the profiles of {} are not audited: {}",
                file.display(),
                plan.profiles.len()
            );
        }
        restrict(&mut plan, &arguments.domains);
    }
    Ok(Asked { plan, is_search_list: false })
}

fn plan_without_config(arguments: &Arguments) -> Result<Asked, Problem> {
    let given = (!arguments.server.is_empty()).then(|| command_line(arguments));
    if let (Some(resolver), [_, ..]) = (&given, arguments.domains.as_slice()) {
        return Ok(required(&arguments.domains, resolver.clone()));
    }
    let system = config::system_resolver()?;
    let resolver = given.unwrap_or(system.resolver);
    if !arguments.domains.is_empty() {
        return Ok(required(&arguments.domains, resolver));
    }
    match system.suffixes.as_slice() {
        [] => Err("this machine has no DNS search suffix to audit: name a domain, as in `kmswatch check contoso.com`, \
                   or a config with -c FILE"
            .to_owned()),
        [one] => Ok(required(std::slice::from_ref(one), resolver)),
        many => {
            let plan = config::plan_for(many, KmsMode::Optional, vec![resolver]);
            Ok(Asked { plan, is_search_list: true })
        }
    }
}

fn required(domains: &[Name], resolver: Arc<Resolver>) -> Asked {
    let plan = config::plan_for(domains, KmsMode::Required, vec![resolver]);
    Asked { plan, is_search_list: false }
}

fn command_line(arguments: &Arguments) -> Arc<Resolver> {
    config::resolver_of("command-line", &arguments.server)
}

/// All domains are asked of this resolver only, and profiles ask it over their own paths.
fn ask_others(plan: &mut Plan, resolver: Arc<Resolver>) -> Result<(), Problem> {
    let implied = config::plan_for_profiles(plan.profiles.clone()).domains;
    plan.domains.retain(|domain| !implied.contains(domain));
    let resolvers: Arc<[Arc<Resolver>]> = Arc::new([resolver.clone()]);
    let asking = |domain: &Arc<PlannedDomain>| {
        let domain = &**domain;
        let (name, hosts, labels) =
            (domain.name.clone(), domain.hosts.clone(), domain.labels.clone());
        Arc::new(PlannedDomain::new(name, resolvers.clone(), domain.kms, hosts, labels))
    };
    plan.domains = plan.domains.iter().map(asking).collect();
    for profile in &mut plan.profiles {
        *profile = Arc::new(asking_other(profile, &resolver)?);
    }
    for domain in config::plan_for_profiles(plan.profiles.clone()).domains {
        let is_known = plan.domains.iter().any(|known| known.name == domain.name);
        plan.domains.extend((!is_known).then_some(domain));
    }
    plan.domains.sort_by(|one, other| one.name.cmp(&other.name));
    plan.resolvers = vec![resolver];
    Ok(())
}

fn asking_other(profile: &Profile, resolver: &Arc<Resolver>) -> Result<Profile, Problem> {
    let over = resolver.over((**profile.path()).clone());
    if over.upstreams.is_empty() {
        let (name, path) = (&profile.name, profile.path());
        return Err(format!(
            "no --server can be asked from {path}, the source of profile {name}, which is of the \
             other family"
        ));
    }
    Ok(Profile { resolver: over, ..profile.clone() }.with_search())
}

/// Only these domains, and no profile; those that the config does not know are asked of all its
/// resolvers.
fn restrict(plan: &mut Plan, names: &[Name]) {
    // What only profiles name is asked over their paths, which nothing asks without them.
    let is_asked = |domain: &Arc<PlannedDomain>| {
        domain.resolvers.iter().all(|resolver| plan.resolvers.contains(resolver))
    };
    plan.domains.retain(is_asked);
    let all: Arc<[Arc<Resolver>]> = plan.resolvers.clone().into();
    let mut domains: Vec<Arc<PlannedDomain>> = names
        .iter()
        .map(|name| match plan.domains.iter().find(|domain| domain.name == *name) {
            Some(known) => known.clone(),
            None => Arc::new(PlannedDomain::new(
                name.clone(),
                all.clone(),
                KmsMode::Required,
                None,
                Labels::default(),
            )),
        })
        .collect();
    domains.sort_by(|one, other| one.name.cmp(&other.name));
    domains.dedup_by(|later, first| later.name == first.name);
    plan.domains = domains;
    plan.profiles.clear();
}

/// Observes a plan once, and audits what was seen.
pub(super) fn once(plan: Plan) -> Result<Snapshot, Problem> {
    observe(Asked { plan, is_search_list: false })
}

/// One thread is enough, and the cheapest.
fn observe(asked: Asked) -> Result<Snapshot, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let plan = asked.plan;
    let mut line = ProgressLine::new();
    let once = runtime.block_on(Once::observe(&plan, |progress| line.draw(progress)));
    line.clear();
    let snapshot = audit(&once, &plan, asked.is_search_list);
    // The process is about to end: to free all that it knows piece by piece would be a waste.
    std::mem::forget(once);
    Ok(snapshot)
}

/// A search list is no trouble if one of its domains leads to a host.
fn audit(once: &Once, plan: &Plan, is_search_list: bool) -> Snapshot {
    let snapshot = once.audit(plan);
    let found = snapshot.domains.iter().any(|entry| !entry.view.records.is_empty());
    if !is_search_list || found {
        return snapshot;
    }
    // None of the suffixes leads to a host: then their absence is the finding.
    let mut required = plan.clone();
    for domain in &mut required.domains {
        let known = &**domain;
        *domain = Arc::new(PlannedDomain::new(
            known.name.clone(),
            known.resolvers.clone(),
            KmsMode::Required,
            None,
            Labels::default(),
        ));
    }
    once.audit(&required)
}

pub(super) fn domain(text: &str) -> Result<Name, String> {
    Name::parse_domain(text).map_err(|error| error.to_string())
}
