//! The plan → the config that says all of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Value;

use super::hosts::format_listed_host;
use super::profiles::{self, format_fixed_host};
use super::refusal::mask;
use super::units::format_duration;
use crate::model::alert::AlertSettings;
use crate::model::maintenance::{Maintenance, Window};
use crate::model::plan::{Exception, HostNote, PlannedDomain};
use crate::model::{Host, Labels, Name, Plan, Profile, Resolver};

/// The effective config as TOML: every key, defaults and what lists and includes brought as well.
/// It parses to an equal plan, but for a password in `external_url` and the query of a receiver, which are
/// masked.
pub fn show(plan: &Plan) -> String {
    let mut text = Text::default();
    settings(&mut text, plan);
    for resolver in &plan.resolvers {
        show_resolver(&mut text, resolver);
    }
    let implied = profiles::implied(&plan.profiles, |_| false);
    for domain in plan.domains.iter().filter(|domain| !implied.contains(domain)) {
        show_domain(&mut text, domain);
    }
    for (name, note) in plan.hosts.iter().collect::<BTreeMap<&Name, &Arc<HostNote>>>() {
        show_host(&mut text, name, note);
    }
    for profile in &plan.profiles {
        show_profile(&mut text, profile);
    }
    for exception in &plan.exceptions {
        show_exception(&mut text, exception);
    }
    for maintenance in &plan.maintenance {
        show_maintenance(&mut text, maintenance);
    }
    text.0
}

/// TOML, line by line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn header(&mut self, header: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(header);
        self.0.push('\n');
    }

    /// A value that is TOML already.
    fn raw(&mut self, key: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut self.0, format_args!("{key} = {value}\n"));
    }

    fn string(&mut self, key: &str, value: impl Into<String>) {
        self.raw(key, Value::String(value.into()));
    }

    fn strings(&mut self, key: &str, values: impl Iterator<Item = String>) {
        self.raw(key, Value::Array(values.map(Value::String).collect()));
    }

    fn labels(&mut self, labels: &Labels) {
        if !labels.is_empty() {
            let table =
                labels.iter().map(|(name, value)| (name.clone(), Value::String(value.clone())));
            self.raw("labels", Value::Table(table.collect()));
        }
    }
}

fn settings(text: &mut Text, plan: &Plan) {
    if let Some(vantage) = &plan.vantage {
        text.string("vantage", &**vantage);
    }
    text.header("[audit]");
    text.string("interval", format_duration(plan.interval));
    text.string("stale_after", format_duration(plan.record_stale_after));
    text.string("vanished_for", format_duration(plan.vanished_for));
    text.string("settle", format_duration(plan.settle));
    text.header("[dns]");
    text.string("timeout", format_duration(plan.dns.timeout));
    text.raw("attempts", plan.dns.attempts);
    text.raw("rate", plan.dns.rate);
    text.header("[probe]");
    text.string("depth", plan.probe.depth.as_str());
    text.raw("control", plan.probe.control);
    text.string("timeout", format_duration(plan.probe.timeout));
    text.string("slow", format_duration(plan.probe.slow));
    text.raw("concurrency", plan.probe.concurrency);
    show_alert(text, &plan.alert);
    text.header("[journal]");
    let shown =
        |path: Option<&Path>| path.map_or_else(String::new, |path| path.display().to_string());
    text.string("path", shown(plan.journal.path.as_deref()));
    text.string("keep", format_duration(plan.journal.keep));
    text.header("[web]");
    text.string("listen", plan.web.listen.to_string());
    text.string("external_url", mask(&plan.web.external_url));
    text.string("socket", shown(plan.web.socket.as_deref()));
    text.string("tokens_file", shown(plan.web.tokens.as_ref().map(|tokens| &*tokens.file)));
}

fn show_alert(text: &mut Text, alert: &AlertSettings) {
    text.header("[alert]");
    text.string("send_to", alert.send_to.as_str());
    text.strings("urls", alert.urls.iter().map(|url| mask(url.as_str())));
    let path = |path: &Option<PathBuf>| {
        path.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    text.string("token_file", path(&alert.token_file));
    text.string("ca_file", path(&alert.ca_file));
    text.string("after", format_duration(alert.after));
    text.string("min_severity", alert.min_severity.as_str());
}

fn show_resolver(text: &mut Text, resolver: &Resolver) {
    text.header("[[resolver]]");
    text.string("name", &*resolver.name);
    text.strings("servers", resolver.upstreams.iter().map(|upstream| upstream.server.to_string()));
    if let Some(source) = resolver.path.source {
        text.string("source", source.to_string());
    }
    if let Some(interface) = &resolver.path.interface {
        text.string("interface", &**interface);
    }
    text.labels(&resolver.labels);
}

fn show_domain(text: &mut Text, domain: &PlannedDomain) {
    text.header("[[domain]]");
    text.string("name", domain.name.as_str());
    text.strings("resolvers", domain.resolvers.iter().map(|resolver| resolver.name.to_string()));
    text.string("kms", domain.kms.as_str());
    if let Some(hosts) = &domain.hosts {
        text.strings("hosts", hosts.iter().map(format_listed_host));
    }
    text.labels(&domain.labels);
}

fn show_host(text: &mut Text, name: &Name, note: &HostNote) {
    text.header("[[host]]");
    text.string("name", name.as_str());
    text.raw("probe", note.probe);
    if let Some(reason) = &note.reason {
        text.string("reason", reason);
    }
    text.labels(&note.labels);
}

fn show_profile(text: &mut Text, profile: &Profile) {
    text.header("[[profile]]");
    text.string("name", &*profile.name);
    text.strings("suffixes", profile.suffixes.iter().map(ToString::to_string));
    text.string("resolver", &*profile.resolver.name);
    let path = profile.path();
    let base = profile.resolver.base.as_deref().map_or(&**path, |base| &base.path);
    if let Some(source) = path.source.filter(|_| path.source != base.source) {
        text.string("source", source.to_string());
    }
    if let Some(interface) = path.interface.as_ref().filter(|_| path.interface != base.interface) {
        text.string("interface", &**interface);
    }
    if let Some(subnet) = profile.subnet {
        text.string("subnet", subnet.to_string());
    }
    text.string("selection", profile.selection.as_str());
    let host = |host: &Option<Host>| host.as_ref().map_or_else(String::new, format_fixed_host);
    text.string("kms_host", host(&profile.kms_host));
    text.string("office_kms_host", host(&profile.office_kms_host));
    text.string("lookup_domain", profile.lookup_domain.as_ref().map_or("", Name::as_str));
    let machines = profile.machines;
    let counts =
        [("clients", machines.clients), ("servers", machines.servers), ("office", machines.office)];
    for (key, count) in counts {
        if let Some(count) = count {
            text.raw(key, count);
        }
    }
    text.labels(&profile.labels);
}

fn show_exception(text: &mut Text, exception: &Exception) {
    text.header("[[exception]]");
    text.strings("checks", exception.checks.iter().map(ToString::to_string));
    text.strings("domains", exception.patterns.iter().cloned());
    text.string("severity", exception.severity.map_or("off", |severity| severity.as_str()));
    if let Some(reason) = &exception.reason {
        text.string("reason", reason);
    }
    if let Some(expires) = exception.expires {
        text.raw("expires", expires);
    }
}

fn show_maintenance(text: &mut Text, maintenance: &Maintenance) {
    text.header("[[maintenance]]");
    if !maintenance.patterns.is_empty() {
        text.strings("domains", maintenance.patterns.iter().cloned());
    }
    if !maintenance.hosts.is_empty() {
        text.strings("hosts", maintenance.hosts.iter().map(ToString::to_string));
    }
    if !maintenance.resolvers.is_empty() {
        text.strings("resolvers", maintenance.resolvers.iter().map(ToString::to_string));
    }
    match &maintenance.window {
        Window::Once(from, until) => {
            text.raw("from", from);
            text.raw("until", until);
        }
        Window::Weekly(weekly) => text.string("weekly", weekly.to_string()),
    }
    if let Some(reason) = &maintenance.reason {
        text.string("reason", reason);
    }
}
