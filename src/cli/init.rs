//! `kmswatch config init`: a first config, with what DNS publishes now as what should be published.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::config;
use crate::model::plan::ListedHost;
use crate::model::snapshot::{DomainView, HostStatus};
use crate::model::srv::KMS_PORT;
use crate::model::{Host, KmsMode, Name, Record, Resolver, Server, Severity, Snapshot};

use super::{Problem, check, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Domains to look up
    #[arg(value_name = "DOMAIN", required = true, value_parser = check::domain)]
    domains: Vec<Name>,
    /// A DNS server to ask, instead of those of the machine; may be repeated
    #[arg(long, value_name = "SERVER", value_parser = config::parse_server)]
    server: Vec<Server>,
}

pub(super) fn init(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let resolver = match arguments.server.as_slice() {
        [] => config::system_resolver()?.resolver,
        servers => config::resolver_of("dns", servers),
    };
    let plan = config::plan_for(&arguments.domains, KmsMode::Required, vec![resolver.clone()]);
    let snapshot = check::once(plan)?;
    let views = || snapshot.domains.iter().map(|entry| &*entry.view);
    if !views().any(|view| view.is_known) {
        let told: Vec<String> = views()
            .map(|view| format!("{}: {}", view.domain.name, without_records(view)))
            .collect();
        return Err(format!("error: DNS told nothing of any domain\n{}", told.join("\n")));
    }
    for view in views().filter(|view| view.records.is_empty()) {
        tracing::warn!(
            "{}: {}; its hosts are left to you",
            view.domain.name,
            without_records(view)
        );
    }
    output::write(text(&snapshot, &resolver), None)?;
    Ok(ExitCode::SUCCESS)
}

/// The config. It reads back, and its `hosts` are exactly what was published.
fn text(snapshot: &Snapshot, resolver: &Resolver) -> String {
    let servers: Vec<String> =
        resolver.upstreams.iter().map(|upstream| quoted(&upstream.server)).collect();
    let mut text = format!(
        "# Made by `kmswatch config init` on {:.0}, from what DNS said then: look it over, for it takes\n\
         # what is published for what should be. config/kmswatch.toml shows every key.\n\
         \n\
         [[resolver]]                      # the DNS servers that one site's clients use\n\
         name = {}\n\
         servers = [{}]\n",
        snapshot.at,
        quoted(&resolver.name),
        servers.join(", ")
    );
    for entry in &snapshot.domains {
        domain(&mut text, snapshot, &entry.view);
    }
    text
}

fn domain(text: &mut String, snapshot: &Snapshot, view: &DomainView) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n[[domain]]\nname = {}\n", quoted(&view.domain.name));
    let faults = faults(snapshot, &view.domain.name);
    if !faults.is_empty() {
        let _ =
            writeln!(text, "# `kmswatch check` finds fault with it now: {}.", faults.join(", "));
    }
    if view.records.is_empty() {
        let example = quoted(&format!("kms.{}", view.domain.name));
        let _ = writeln!(
            text,
            "# {}. Name its hosts, or say what it is:\n\
             # hosts = [{example}]             # or kms = \"none\", or kms = \"optional\"",
            sentence(&without_records(view))
        );
        return;
    }
    let hosts = listed(&view.records);
    // The set is exact: without one of them, the others would be wrong.
    let is_whole = hosts.iter().all(is_readable);
    let mark = if is_whole { "" } else { "# " };
    if !is_whole {
        text.push_str(
            "# Not every record can be listed: what its target is written as is no host's name.\n",
        );
    }
    let _ = writeln!(text, "{mark}hosts = [");
    for listed in &hosts {
        let note = note(view, &listed.host);
        let _ = writeln!(text, "{mark}    {},{note}", quoted(&written(listed)));
    }
    let _ = writeln!(text, "{mark}]");
}

/// Each host once, as it is published; with priority and weight where all its records agree.
fn listed(records: &[Record]) -> Vec<ListedHost> {
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by_key(|record| {
        (record.priority, std::cmp::Reverse(record.weight), &record.target, record.port)
    });
    let mut listed: Vec<ListedHost> = Vec::new();
    for record in sorted {
        let host = Host { target: record.target.clone(), port: record.port };
        let place = Some((record.priority, record.weight));
        match listed.iter_mut().find(|known| known.host == host) {
            Some(known) if known.priority_and_weight != place => known.priority_and_weight = None,
            Some(_) => {}
            None => listed.push(ListedHost { host, priority_and_weight: place }),
        }
    }
    listed
}

/// A listed host as a person writes it: the port only where it is not the usual one.
fn written(listed: &ListedHost) -> String {
    let Host { target, port } = &listed.host;
    let mut text = target.to_string();
    if *port != KMS_PORT {
        let _ = write!(text, ":{port}");
    }
    if let Some((priority, weight)) = listed.priority_and_weight {
        let _ = write!(text, ", {priority}, {weight}");
    }
    text
}

/// DNS may hold any byte in a name, and port 0; the config's grammar does not.
fn is_readable(listed: &ListedHost) -> bool {
    config::parse_listed_host(&written(listed)).as_ref() == Ok(listed)
}

fn note(view: &DomainView, host: &Host) -> &'static str {
    let status = view.hosts.iter().find(|known| known.host == *host).map(|known| known.status);
    match status {
        Some(HostStatus::Down) => "   # did not answer as KMS",
        Some(HostStatus::Degraded) => "   # answered at some addresses only",
        Some(HostStatus::Up | HostStatus::Unknown) | None => "",
    }
}

/// The checks of warning or worse that hit a domain with records.
fn faults(snapshot: &Snapshot, name: &Name) -> Vec<&'static str> {
    let hits = snapshot.findings.iter().filter(|finding| {
        finding.is_active()
            && finding.severity >= Severity::Warning
            && finding.domains.binary_search(name).is_ok()
    });
    let checks: BTreeSet<&'static str> = hits.map(|finding| finding.check.as_str()).collect();
    checks.into_iter().collect()
}

/// Why there is nothing to list.
fn without_records(view: &DomainView) -> String {
    let said = view
        .answers
        .iter()
        .map(|said| format!("{} from {}", said.answer.outcome, said.upstream.server));
    let said = said.collect::<Vec<_>>().join(", ");
    match view.is_known {
        true => format!("no KMS record is published ({said})"),
        false => format!("whether a KMS record is published is unknown ({said})"),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn quoted(text: &(impl ToString + ?Sized)) -> String {
    toml::Value::String(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &str, port: u16, priority: u16, weight: u16) -> Record {
        let labels = target.split('.').map(str::as_bytes).filter(|label| !label.is_empty());
        Record { priority, weight, port, target: Name::from_labels(labels), ttl: 60 }
    }

    fn lines(records: &[Record]) -> Vec<String> {
        listed(records).iter().map(written).collect()
    }

    #[test]
    fn hosts_are_listed_once_in_the_order_that_clients_take() {
        let records = [
            record("far.test", 1688, 90, 75),
            record("b.test", 1688, 10, 25),
            record("a.test", 1689, 10, 75),
            record("twice.test", 1688, 10, 5),
            record("twice.test", 1688, 20, 5),
        ];
        let expected = ["a.test:1689, 10, 75", "b.test, 10, 25", "twice.test", "far.test, 90, 75"];
        assert_eq!(lines(&records), expected);
        assert!(listed(&records).iter().all(is_readable));
    }

    #[test]
    fn what_the_config_cannot_say_is_known() {
        for wrong in [
            record(".", 1688, 0, 0),
            record("10.0.0.1", 1688, 0, 0),
            record("kms.test", 0, 0, 0),
            record("k\", 1\n.test", 1688, 0, 0),
        ] {
            assert!(!listed(std::slice::from_ref(&wrong)).iter().all(is_readable), "{wrong:?}");
        }
    }
}
