//! `kmswatch preflight`: what clients of a profile, or of a subnet to be, would see, step by step.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config;
use crate::daemon::{self, Told};
use crate::model::profile::Machines;
use crate::model::{Host, Name, Path, Plan, Preflight, Profile, Resolver, Server};
use crate::report::{self, Style};

use super::output::{self, Color, ProgressLine};
use super::publication::{Format, Publication};
use super::{Problem, run};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Profiles of the config; default: all
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// The config that declares the profiles
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell DNS servers the subnet with each question (EDNS Client Subnet, RFC 7871), for views by subnet
    #[arg(long)]
    ecs: bool,
    #[command(flatten)]
    publication: Publication,
    // Last: its heading holds for all that follows.
    #[command(flatten)]
    ad_hoc: AdHoc,
}

const EXAMPLES: &str = "\
Examples:
  kmswatch preflight berlin-lab -c kmswatch.toml
  kmswatch preflight --suffix berlin.contoso.com contoso.com --server 10.0.0.53 --subnet 10.40.7.0/24 --source 10.40.7.250";

/// A profile without any config.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Without a config")]
struct AdHoc {
    /// The DNS suffixes of the clients, in their order
    #[arg(long, value_name = "SUFFIX", num_args = 1.., value_parser = config::parse_suffix, conflicts_with_all = DECLARED)]
    suffix: Vec<Name>,
    /// The DNS servers of the clients
    #[arg(long, value_name = "SERVER", num_args = 1.., value_parser = config::parse_server, conflicts_with_all = DECLARED)]
    server: Vec<Server>,
    /// The address of this machine to ask and connect from
    #[arg(long, value_name = "IP", value_parser = config::parse_source, conflicts_with_all = DECLARED)]
    source: Option<IpAddr>,
    /// The interface to ask and connect by
    #[arg(long, value_name = "INTERFACE", value_parser = config::parse_interface, conflicts_with_all = DECLARED)]
    interface: Option<Arc<str>>,
    /// The network that the clients will live in
    #[arg(long, value_name = "NET", value_parser = config::parse_subnet, conflicts_with_all = DECLARED)]
    subnet: Option<IpNet>,
    /// A preset KMS host (slmgr /skms), which switches discovery off
    #[arg(long, value_name = "HOST[:PORT]", value_parser = config::parse_fixed_host, conflicts_with_all = DECLARED)]
    kms_host: Option<Host>,
    /// How many Windows clients will live there
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = DECLARED)]
    clients: Option<u32>,
    /// How many Windows servers will live there (the DNS servers are --server)
    #[arg(long, value_name = "N", value_parser = servers, conflicts_with_all = DECLARED)]
    servers: Option<u32>,
    /// How many machines with Office will live there
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = DECLARED)]
    office: Option<u32>,
}

/// What a config declares stands there alone.
const DECLARED: [&str; 2] = ["profiles", "config"];

pub(super) fn preflight(
    arguments: &Arguments,
    color: Color,
    verbose: bool,
) -> Result<ExitCode, Problem> {
    let publication = &arguments.publication;
    let style = publication.style(color, verbose);
    let mut page = Page::new(publication.format == Format::Human, publication.is_live(), style);
    let observed = plan(arguments)
        .and_then(|plan| Ok((observe(&plan, &arguments.profiles, &mut page)?, plan)));
    let (preflight, plan) = publication.observed(observed)?;
    match publication.format {
        Format::Human => publication.write(page.close(&preflight)),
        Format::Json => publication.write(report::json_text(&report::json_preflight(&preflight))),
        Format::Junit | Format::Markdown | Format::Html => {
            publication.write(publication.lay_out(&report::preflight_document(&preflight)))
        }
        Format::Nagios => {
            let plugin = publication.plugin(plan.probe.slow);
            publication.write(report::nagios_preflight(&preflight, &plugin))
        }
        // What a textfile holds of profiles is theirs whoever observed them.
        Format::Prometheus => publication.write_metrics(&preflight.snapshot),
    }?;
    Ok(publication.exit_code(preflight.status()))
}

fn observe(plan: &Plan, names: &[String], page: &mut Page) -> Result<Preflight, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let mut refused = Ok(());
    let preflight = runtime.block_on(daemon::preflight(plan, names, |told| {
        if refused.is_ok() {
            refused = page.take(told);
        }
    }));
    page.line.clear();
    refused.map(|()| preflight)
}

/// What a person reads while it goes on; a file gets it whole.
struct Page {
    is_human: bool,
    is_live: bool,
    style: Style,
    line: ProgressLine,
    text: String,
}

impl Page {
    fn new(is_human: bool, is_live: bool, style: Style) -> Self {
        Self { is_human, is_live, style, line: ProgressLine::new(), text: String::new() }
    }

    fn take(&mut self, told: Told<'_>) -> Result<(), Problem> {
        let text = match told {
            Told::Progress(progress) => {
                self.line.draw(progress);
                return Ok(());
            }
            Told::Profile(profile) => report::preflight_head(profile, &self.style),
            Told::Step(step) => report::preflight_step(step, &self.style),
        };
        if !self.is_human {
            return Ok(());
        }
        if !self.is_live {
            self.text.push_str(&text);
            return Ok(());
        }
        self.line.clear();
        output::write(text, None)
    }

    /// What is not written yet.
    fn close(self, preflight: &Preflight) -> String {
        self.text + &report::preflight_end(preflight, &self.style)
    }
}

fn plan(arguments: &Arguments) -> Result<Plan, Problem> {
    let mut plan = match &arguments.config {
        Some(file) => declared(file, &arguments.profiles)?,
        None if !arguments.profiles.is_empty() => {
            return Err(format!(
                "error: profile {:?} is declared in a config: give it with -c FILE",
                arguments.profiles[0]
            ));
        }
        None => config::plan_for_profiles(vec![Arc::new(ad_hoc(&arguments.ad_hoc)?)]),
    };
    if arguments.ecs {
        tell_subnets(&mut plan, &arguments.profiles, arguments.config.is_some())?;
    }
    Ok(plan)
}

/// The plan of a config that has these profiles. It keeps the others: machines of all of them count.
fn declared(file: &std::path::Path, names: &[String]) -> Result<Plan, Problem> {
    let loaded = run::load(file)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let plan = loaded.plan;
    if plan.profiles.is_empty() {
        return Err(format!(
            "error: {} declares no [[profile]]; declare one, or describe the clients with --suffix and --server",
            file.display()
        ));
    }
    let known: Vec<&str> = plan.profiles.iter().map(|profile| &*profile.name).collect();
    for name in names {
        if !known.contains(&name.as_str()) {
            let name: String = name.chars().take(MOST_SHOWN).collect();
            return Err(format!(
                "error: {name:?} is no profile of {}; there are: {}",
                file.display(),
                known.join(", ")
            ));
        }
    }
    Ok(plan)
}

/// Of a name that was asked for, in an answer.
const MOST_SHOWN: usize = 80;

/// The profile that the flags describe.
fn ad_hoc(flags: &AdHoc) -> Result<Profile, Problem> {
    if flags.suffix.is_empty() && flags.kms_host.is_none() {
        return Err(format!(
            "error: nothing says which clients to play\n\n{EXAMPLES}\n\n\
             --suffix takes the DNS suffixes of the clients in their order, --kms-host a preset host"
        ));
    }
    if let Some(twice) = twice(&flags.suffix) {
        return Err(format!("error: --suffix {twice} is given twice; give each suffix once"));
    }
    if let Some(twice) = twice(&flags.server) {
        return Err(format!("error: --server {twice} is given twice; give each server once"));
    }
    if flags.server.is_empty() {
        return Err(
            "error: --server is missing; give the DNS servers that the clients will have, as in \
                    --server 10.0.0.53"
                .to_owned(),
        );
    }
    let path = Path { source: flags.source, interface: flags.interface.clone(), ..Path::default() };
    check_source(flags)?;
    let resolver = config::resolver_of(COMMAND_LINE, &flags.server).over(path);
    let name = flags.subnet.map_or(COMMAND_LINE.to_owned(), |subnet| subnet.to_string());
    let profile = Profile {
        suffixes: flags.suffix.as_slice().into(),
        subnet: flags.subnet,
        kms_host: flags.kms_host.clone(),
        machines: Machines { clients: flags.clients, servers: flags.servers, office: flags.office },
        ..Profile::of(&name, resolver)
    };
    Ok(profile.with_search())
}

/// The name of the resolver that flags describe; also of the profile, unless its subnet is known.
const COMMAND_LINE: &str = "command-line";

fn twice<T: PartialEq>(names: &[T]) -> Option<&T> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

/// It is within the subnet, and of the family of the servers.
fn check_source(flags: &AdHoc) -> Result<(), Problem> {
    let Some(source) = flags.source else { return Ok(()) };
    if let Some(subnet) = flags.subnet.filter(|subnet| !subnet.contains(&source)) {
        return Err(format!(
            "error: --subnet {subnet} does not hold --source {source}; give an address of this machine in the \
             subnet, or no --source to look from where it is"
        ));
    }
    let path = Path { source: Some(source), ..Path::default() };
    let mut others = flags.server.iter().filter(|server| !path.suits(server.address.ip()));
    let is_some_asked = flags.server.iter().any(|server| path.suits(server.address.ip()));
    match others.next() {
        None => Ok(()),
        // As of a config.
        Some(other) if is_some_asked => {
            std::iter::once(other).chain(others).for_each(|other| {
                tracing::warn!(
                    "--server {other} is of the other family, and is not asked from {source}"
                );
            });
            Ok(())
        }
        Some(other) => Err(format!(
            "error: --server {other} cannot be reached from --source {source}, which is of the other family; give \
             the servers that these clients have in that family"
        )),
    }
}

/// The servers of every profile that is played are told its subnet.
fn tell_subnets(plan: &mut Plan, names: &[String], is_declared: bool) -> Result<(), Problem> {
    let mut derived: Vec<Arc<Resolver>> = Vec::new();
    let is_played = |profile: &&mut Arc<Profile>| {
        names.is_empty() || names.iter().any(|name| *name == *profile.name)
    };
    for profile in plan.profiles.iter_mut().filter(is_played) {
        let Some(subnet) = profile.subnet else {
            let how = if is_declared { "as subnet = in the config" } else { "with --subnet NET" };
            return Err(format!(
                "error: --ecs tells DNS servers the subnet, and {} has none; give it {how}",
                profile.name
            ));
        };
        let path = Path { client_subnet: Some(subnet), ..(**profile.path()).clone() };
        let base = profile.resolver.base.as_ref().unwrap_or(&profile.resolver);
        let over = base.over(path);
        // Profiles of one path share their resolver.
        let known = derived.iter().find(|known| **known == over).cloned();
        let resolver = known.unwrap_or_else(|| {
            derived.push(over.clone());
            over
        });
        *profile = Arc::new(Profile { resolver, ..(**profile).clone() }.with_search());
    }
    Ok(())
}

fn servers(text: &str) -> Result<u32, String> {
    count(text).map_err(|problem| match config::parse_server(text) {
        Ok(server) => format!("{server} is a DNS server; give it as --server {server}"),
        Err(_) => problem,
    })
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of machines; write one such as 40"))
}
