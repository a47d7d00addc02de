//! What the lab's DNS servers serve: names and their records, mutable while they run.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hickory_proto::rr::RecordType;

use crate::model::Name;

/// The TTL of a record unless it is given: an hour, which no check finds extreme.
pub const DEFAULT_TTL: u32 = 3600;

/// Names and their records; clones share them, so that several servers serve one truth and a
/// change reaches all of them at once.
///
/// Names are given as text, in any case, with or without the trailing dot; `"."` is the root. Any
/// text is accepted between the dots, also what no config would (`10.0.0.5` as an SRV target).
#[derive(Debug, Clone, Default)]
pub struct Zones {
    content: Arc<RwLock<Content>>,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Type 33 (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities.
        weight: u16,
        /// TCP port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// Type 1.
    A(Ipv4Addr),
    /// Type 28.
    Aaaa(Ipv6Addr),
    /// Type 5.
    Cname(Name),
}

impl Data {
    /// An SRV record; the target is text as everywhere in [`Zones`].
    pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Self {
        Self::Srv { priority, weight, port, target: name(target) }
    }

    /// A CNAME record.
    pub fn cname(target: &str) -> Self {
        Self::Cname(name(target))
    }

    fn kind(&self) -> RecordType {
        match self {
            Self::Srv { .. } => RecordType::SRV,
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
        }
    }
}

/// A record with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRecord {
    /// The name that has it.
    pub owner: Name,
    /// Seconds.
    pub ttl: u32,
    /// The data.
    pub data: Data,
}

/// The zone that a looked-up name is in; its SOA goes into negative answers (RFC 2308).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneOrigin {
    /// The apex.
    pub origin: Name,
    /// Counts up with every change.
    pub serial: u32,
}

/// What the zones say to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What became of the name at the end of the CNAME chain.
    pub verdict: Verdict,
    /// The CNAME chain in order, then the records of the asked type, in the order of insertion.
    pub records: Vec<ZoneRecord>,
    /// The zone of the last name of the chain; `None` where it is in none.
    pub zone: Option<ZoneOrigin>,
}

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has records of the type.
    Records,
    /// It exists, perhaps only because names below it do (RFC 8020), without records of the type.
    NoData,
    /// It does not exist.
    NxDomain,
    /// The chain leads out of the zones: the CNAMEs are all that is known.
    Elsewhere,
    /// The asked name itself is in no zone.
    OutOfZone,
}

impl Zones {
    /// No zone, no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves names at and below the origin; those below no origin are refused. Adding it twice
    /// changes nothing.
    pub fn add_zone(&self, origin: &str) {
        let origin = name(origin);
        let key = Key::of(&origin);
        self.write().zones.entry(key).or_insert(ZoneOrigin { origin, serial: 1 });
    }

    /// Adds a record with [`DEFAULT_TTL`]; one that is there already is not doubled.
    pub fn insert(&self, owner: &str, data: Data) {
        self.insert_with_ttl(owner, DEFAULT_TTL, data);
    }

    /// Adds a record; one with the same data gets the new TTL.
    pub fn insert_with_ttl(&self, owner: &str, ttl: u32, data: Data) {
        let owner = name(owner);
        let mut content = self.write();
        content.touch(&owner);
        let records = content.names.entry(Key::of(&owner)).or_default();
        records.retain(|(_, known)| *known != data);
        records.push((ttl, data));
    }

    /// Removes the records of a name that `keep` does not want, and tells how many those were. A
    /// name without records exists no more, unless names below it do.
    pub fn retain(&self, owner: &str, mut keep: impl FnMut(&Data) -> bool) -> usize {
        let owner = name(owner);
        let key = Key::of(&owner);
        let mut content = self.write();
        let Some(records) = content.names.get_mut(&key) else { return 0 };
        let before = records.len();
        records.retain(|(_, data)| keep(data));
        let (removed, empty) = (before - records.len(), records.is_empty());
        if empty {
            content.names.remove(&key);
        }
        if removed > 0 {
            content.touch(&owner);
        }
        removed
    }

    /// Removes all records of a name, and tells how many those were.
    pub fn remove(&self, owner: &str) -> usize {
        self.retain(owner, |_| false)
    }

    /// Answers one question as an authoritative server does (RFC 1034 section 4.3.2): the CNAME
    /// chain is followed as far as the zones know it, a loop is cut after 16 steps.
    pub fn find(&self, asked: &Name, kind: RecordType) -> Found {
        let content = self.read();
        let mut records = Vec::new();
        let mut at = asked.clone();
        for step in 0..=LONGEST_CHAIN {
            let Some(zone) = content.zone_of(&at) else {
                let verdict = if step == 0 { Verdict::OutOfZone } else { Verdict::Elsewhere };
                return Found { verdict, records, zone: None };
            };
            let zone = Some(zone.clone());
            let at_name = content.records_of(&at);
            let asked_for = at_name.iter().filter(|record| is_asked_for(&record.data, kind));
            let before = records.len();
            records.extend(asked_for.cloned());
            if records.len() > before {
                return Found { verdict: Verdict::Records, records, zone };
            }
            let Some((alias, target)) = at_name.into_iter().find_map(as_alias) else {
                return Found { verdict: content.absence_of(&at), records, zone };
            };
            records.push(alias);
            at = target;
        }
        Found { verdict: Verdict::Elsewhere, records, zone: None }
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As BIND's `max-query-restarts` of old.
const LONGEST_CHAIN: usize = 16;

/// A name from text that is taken as it stands: the root for `"."`, any octets between dots.
pub fn name(text: &str) -> Name {
    Name::from_labels(text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes))
}

fn is_asked_for(data: &Data, kind: RecordType) -> bool {
    kind == RecordType::ANY || data.kind() == kind
}

fn as_alias(record: ZoneRecord) -> Option<(ZoneRecord, Name)> {
    match &record.data {
        Data::Cname(target) => {
            let target = target.clone();
            Some((record, target))
        }
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Content {
    zones: BTreeMap<Key, ZoneOrigin>,
    /// Never with an empty list.
    names: BTreeMap<Key, Vec<(u32, Data)>>,
}

impl Content {
    fn zone_of(&self, name: &Name) -> Option<&ZoneOrigin> {
        Key::of(name).with_ancestors().find_map(|key| self.zones.get(&key))
    }

    /// The zone that holds this name has changed.
    fn touch(&mut self, name: &Name) {
        let key = Key::of(name).with_ancestors().find(|key| self.zones.contains_key(key));
        if let Some(zone) = key.and_then(|key| self.zones.get_mut(&key)) {
            zone.serial = zone.serial.wrapping_add(1);
        }
    }

    fn records_of(&self, owner: &Name) -> Vec<ZoneRecord> {
        let records = self.names.get(&Key::of(owner)).map(Vec::as_slice).unwrap_or_default();
        let with_owner = |(ttl, data): &(u32, Data)| ZoneRecord {
            owner: owner.clone(),
            ttl: *ttl,
            data: data.clone(),
        };
        records.iter().map(with_owner).collect()
    }

    /// NXDOMAIN, unless the name is an apex, has other records, or has names below it.
    fn absence_of(&self, name: &Name) -> Verdict {
        let key = Key::of(name);
        let next = self.names.range(key.clone()..).next();
        let exists =
            self.zones.contains_key(&key) || next.is_some_and(|(next, _)| next.is_in(&key));
        if exists { Verdict::NoData } else { Verdict::NxDomain }
    }
}

/// A name's labels from the root down, each with a NUL behind it, which no label in text form has:
/// a name sorts right before the names below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl Key {
    fn of(name: &Name) -> Self {
        let mut labels: Vec<&str> = name.labels().collect();
        labels.reverse();
        Self(labels.into_iter().flat_map(|label| [label, "\0"]).collect())
    }

    fn is_in(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// From the name itself up to the root.
    fn with_ancestors(&self) -> impl Iterator<Item = Self> {
        let parent = |key: &Self| {
            let without_last = key.0.strip_suffix('\0')?;
            let end = without_last.rfind('\0').map_or(0, |at| at + 1);
            Some(Self(key.0[..end].to_owned()))
        };
        std::iter::successors(Some(self.clone()), parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn zones() -> Zones {
        let zones = Zones::new();
        zones.add_zone("contoso.test");
        zones.add_zone("sub.contoso.test.");
        zones.insert("_vlmcs._tcp.contoso.test", Data::srv(10, 75, 1688, "KMS.contoso.test."));
        zones.insert("kms.contoso.test", Data::A(HOST));
        zones.insert("alias.contoso.test", Data::cname("second.contoso.test"));
        zones.insert("second.contoso.test", Data::cname("kms.contoso.test"));
        zones.insert("away.contoso.test", Data::cname("kms.elsewhere.test"));
        zones.insert("dangling.contoso.test", Data::cname("gone.sub.contoso.test"));
        zones.insert("loop.contoso.test", Data::cname("loop.contoso.test"));
        zones
    }

    /// `verdict records-as-types zone`.
    fn told(zones: &Zones, asked: &str, kind: RecordType) -> String {
        let found = zones.find(&name(asked), kind);
        let types: Vec<String> =
            found.records.iter().map(|record| record.data.kind().to_string()).collect();
        let zone = found.zone.map_or("-".to_owned(), |zone| zone.origin.to_string());
        format!("{:?} [{}] {zone}", found.verdict, types.join(" "))
    }

    #[test]
    fn each_kind_of_name_gets_its_verdict() {
        let zones = zones();
        for (asked, kind, expected) in [
            ("_vlmcs._tcp.contoso.test", RecordType::SRV, "Records [SRV] contoso.test"),
            ("_VLMCS._tcp.Contoso.TEST.", RecordType::SRV, "Records [SRV] contoso.test"),
            ("kms.contoso.test", RecordType::A, "Records [A] contoso.test"),
            ("kms.contoso.test", RecordType::ANY, "Records [A] contoso.test"),
            ("kms.contoso.test", RecordType::AAAA, "NoData [] contoso.test"),
            ("_tcp.contoso.test", RecordType::SRV, "NoData [] contoso.test"),
            ("contoso.test", RecordType::SRV, "NoData [] contoso.test"),
            ("_tcp.sub.contoso.test", RecordType::SRV, "NxDomain [] sub.contoso.test"),
            ("ms.contoso.test", RecordType::A, "NxDomain [] contoso.test"),
            ("km.contoso.test", RecordType::A, "NxDomain [] contoso.test"),
            ("alias.contoso.test", RecordType::A, "Records [CNAME CNAME A] contoso.test"),
            ("alias.contoso.test", RecordType::CNAME, "Records [CNAME] contoso.test"),
            ("alias.contoso.test", RecordType::AAAA, "NoData [CNAME CNAME] contoso.test"),
            ("dangling.contoso.test", RecordType::A, "NxDomain [CNAME] sub.contoso.test"),
            ("away.contoso.test", RecordType::A, "Elsewhere [CNAME] -"),
            ("fabrikam.test", RecordType::SRV, "OutOfZone [] -"),
            ("test", RecordType::SRV, "OutOfZone [] -"),
            ("notcontoso.test", RecordType::SRV, "OutOfZone [] -"),
        ] {
            assert_eq!(told(&zones, asked, kind), expected, "{asked} {kind}");
        }
        assert_eq!(zones.find(&name("loop.contoso.test"), RecordType::A).records.len(), 17);
    }

    #[test]
    fn a_removed_record_takes_its_name_along_and_all_clones_see_it() {
        let zones = zones();
        let (owner, other) = ("_vlmcs._tcp.contoso.test", zones.clone());
        other.insert(owner, Data::srv(0, 0, 1688, "kms2.contoso.test"));
        other.insert_with_ttl(owner, 60, Data::srv(10, 75, 1688, "kms.contoso.test"));
        let before = zones.find(&name(owner), RecordType::SRV);
        let ttls: Vec<u32> = before.records.iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [3600, 60]);
        let is_first = |data: &Data| matches!(data, Data::Srv { target, .. } if *target == name("kms.contoso.test"));
        assert_eq!(zones.retain(owner, |data| !is_first(data)), 1);
        assert_eq!(told(&zones, owner, RecordType::SRV), "Records [SRV] contoso.test");
        assert_eq!((zones.remove(owner), zones.remove(owner)), (1, 0));
        assert_eq!(told(&other, owner, RecordType::SRV), "NxDomain [] contoso.test");
        assert_eq!(told(&other, "_tcp.contoso.test", RecordType::SRV), "NxDomain [] contoso.test");
        let serial = |found: Found| found.zone.map(|zone| zone.serial);
        let after = serial(zones.find(&name(owner), RecordType::SRV));
        assert_eq!(after, serial(before).map(|serial| serial + 2));
    }

    #[test]
    fn the_root_can_be_served() {
        let zones = Zones::new();
        zones.add_zone(".");
        zones.insert("kms.test", Data::A(HOST));
        assert_eq!(told(&zones, "kms.test", RecordType::A), "Records [A] .");
        assert_eq!(told(&zones, "test", RecordType::A), "NoData [] .");
        assert_eq!(told(&zones, ".", RecordType::A), "NoData [] .");
        assert_eq!(told(&zones, "fabrikam", RecordType::A), "NxDomain [] .");
    }

    #[test]
    fn targets_that_no_config_would_take_are_served() {
        assert!(name(".").is_root());
        assert!(name("").is_root());
        assert_eq!(name("10.0.0.5").as_address(), Some([10, 0, 0, 5].into()));
    }
}
