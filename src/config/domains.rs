//! `[[domain]]` and `[[domain_list]]` → the domains of the plan.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::errors::{Kind, Log};
use super::file::{Item, Keys, Section, Source};
use super::hosts::listed_host;
use super::include;
use super::plan::{FirstPlaces, domain_name, labels};
use super::refusal::{Refusal, shown, suggest};
use crate::model::plan::ListedHost;
use crate::model::{KmsMode, Labels, Name, PlannedDomain, Resolver};

/// The domains, sorted by name; a `[[domain]]` wins over a list's entry of the same name.
pub(super) fn read(
    root: &Section<'_>,
    log: &Log,
    resolvers: &[Arc<Resolver>],
) -> Vec<Arc<PlannedDomain>> {
    let mut shared = Shared { resolvers, slices: HashMap::new() };
    let mut own = FirstPlaces::default();
    // The first of a name counts.
    let mut named: Vec<(Name, Rc<Manner>)> = Vec::new();
    let tables = root.tables("domain", &DOMAIN);
    for section in &tables {
        let name = section.require("name", EXAMPLE).and_then(|item| {
            let name = item.read(EXAMPLE, domain_name)?;
            own.is_new(name.clone(), name.as_str(), &item).then_some(name)
        });
        let manner = manner(section, log, &mut shared);
        named.extend(name.map(|name| (name, Rc::new(manner))));
    }
    let lists = root.tables("domain_list", &DOMAIN_LIST);
    let mut listed = FirstPlaces::default();
    for section in &lists {
        let manner = Rc::new(manner(section, log, &mut shared));
        named
            .extend(list(section, log, &mut listed).into_iter().map(|name| (name, manner.clone())));
    }
    let is_wrong = root.items("domain").any(|item| !item.is_empty_array());
    let has_profile = root.items("profile").any(|item| !item.is_empty_array());
    if named.is_empty() && !is_wrong && !has_profile {
        let refusal = Refusal::new(
            "no domain is given",
            format!("write [[domain]] with name = {EXAMPLE}, or [[profile]]"),
        );
        log.refuse(Kind::Missing, root.place(), "domain", refusal);
    }
    named.sort_by(|(left, _), (right, _)| left.cmp(right));
    named.dedup_by(|(later, _), (first, _)| later == first);
    // Made in the order in which every audit walks over them: side by side in memory.
    named.into_iter().map(|(name, manner)| manner.domain(name)).collect()
}

/// The key of every domain, and of a list for all of its domains.
#[derive(Debug)]
struct Manner {
    resolvers: Arc<[Arc<Resolver>]>,
    kms: KmsMode,
    hosts: Option<Arc<[ListedHost]>>,
    labels: Labels,
}

impl Manner {
    fn domain(&self, name: Name) -> Arc<PlannedDomain> {
        let (resolvers, hosts) = (self.resolvers.clone(), self.hosts.clone());
        Arc::new(PlannedDomain::new(name, resolvers, self.kms, hosts, self.labels.clone()))
    }
}

/// Slices of resolvers, one for each choice that is written.
#[derive(Debug)]
struct Shared<'p> {
    resolvers: &'p [Arc<Resolver>],
    /// By the indices of the resolvers; no index: all.
    slices: HashMap<Vec<usize>, Arc<[Arc<Resolver>]>>,
}

impl Shared<'_> {
    fn slice(&mut self, indices: Vec<usize>) -> Arc<[Arc<Resolver>]> {
        let all = self.resolvers;
        let make = |indices: &Vec<usize>| match indices[..] {
            [] => all.into(),
            _ => indices.iter().filter_map(|at| all.get(*at)).cloned().collect(),
        };
        self.slices.entry(indices).or_insert_with_key(make).clone()
    }
}

fn manner(section: &Section<'_>, log: &Log, shared: &mut Shared<'_>) -> Manner {
    let modes = [KmsMode::Required, KmsMode::Optional, KmsMode::None];
    let words = modes.map(|mode| (mode.as_str(), mode));
    let kms = section.get("kms").and_then(|item| item.choose(&words)).unwrap_or(KmsMode::Required);
    let chosen = section.get("resolvers").map_or(Vec::new(), |item| indices(&item, log, shared));
    let hosts = section.get("hosts").and_then(|item| {
        if kms == KmsMode::None {
            log.warn(
                &item.place(),
                item.path(),
                "hosts are listed, but kms = \"none\" expects none",
            );
        }
        hosts(&item)
    });
    Manner { resolvers: shared.slice(chosen), kms, hosts, labels: labels(section) }
}

/// Which resolvers are named.
fn indices(item: &Item<'_>, log: &Log, shared: &Shared<'_>) -> Vec<usize> {
    let items = item.array("[\"hq\"]").unwrap_or_default();
    if shared.resolvers.is_empty() {
        // That there is none is an error of its own.
        return Vec::new();
    }
    if items.is_empty() && item.is_empty_array() {
        item.refuse(Refusal::new("no resolver", "name one, or leave the key out for all"));
    }
    // A resolver without a name was refused already.
    let known = || shared.resolvers.iter().map(|resolver| &*resolver.name);
    let mut seen = FirstPlaces::default();
    let named = items.iter().filter_map(|item| {
        let name = item.string("\"hq\"")?;
        seen.is_new(name, name, item).then_some(())?;
        let index = known().position(|known| known == name);
        if index.is_none() {
            let problem = format!("{} is no resolver of this config", shown(name));
            let advice = suggest(name, known().filter(|name| !name.is_empty()));
            // It may be one that broken syntax hides.
            log.refuse(Kind::Missing, item.place(), item.path(), Refusal::new(problem, advice));
        }
        index
    });
    named.collect()
}

fn hosts(item: &Item<'_>) -> Option<Arc<[ListedHost]>> {
    const EXAMPLE: &str = "\"kms.contoso.com, 10, 75\"";
    let items = item.array(&format!("[{EXAMPLE}]"))?;
    if items.is_empty() {
        let advice = "name the hosts, leave the key out, or write kms = \"none\"";
        item.refuse(Refusal::new("no host", advice));
    }
    let mut seen = FirstPlaces::default();
    let hosts = items.iter().filter_map(|item| {
        let listed = item.read(EXAMPLE, listed_host)?;
        let host = &listed.host;
        seen.is_new(host.clone(), &host.to_string(), item).then_some(listed)
    });
    Some(hosts.collect())
}

/// The domains of a list's file.
fn list(section: &Section<'_>, log: &Log, listed: &mut FirstPlaces<Name>) -> Vec<Name> {
    let Some(item) = section.require("file", "\"domains.txt\"") else {
        return Vec::new();
    };
    let Some(file) = item.string("\"domains.txt\"") else {
        return Vec::new();
    };
    let path = item.source().base.join(file);
    let read = include::read(&path, log);
    let Some(source) = item.take(read.map_err(|error| include::unreadable(&path, &error))) else {
        return Vec::new();
    };
    let names = list_lines(&source, section.key(), log, listed);
    if names.is_empty() {
        log.warn(&item.place(), item.path(), "the list names no domain");
    }
    names
}

fn list_lines(source: &Source, key: &str, log: &Log, listed: &mut FirstPlaces<Name>) -> Vec<Name> {
    let mut names = Vec::new();
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        let start = offset + (line.len() - line.trim_start().len());
        offset += line.len();
        let text = line.split('#').next().unwrap_or("").trim();
        if text.is_empty() {
            continue;
        }
        let read = domain_name(text).and_then(|name| {
            let again = listed.again(name.clone(), name.as_str(), || source.place(start));
            again.map_or(Ok(name), Err)
        });
        match read {
            Ok(name) => names.push(name),
            Err(refusal) => log.refuse(Kind::Value, source.place(start), key, refusal),
        }
    }
    names
}

const EXAMPLE: &str = "\"contoso.com\"";

const DOMAIN: Keys =
    Keys { known: &["name", "resolvers", "kms", "hosts", "labels"], later: &["authoritative"] };
const DOMAIN_LIST: Keys =
    Keys { known: &["file", "resolvers", "kms", "hosts", "labels"], later: &["authoritative"] };
