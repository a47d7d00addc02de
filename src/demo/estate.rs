//! What the demo's estate is made of: domains, each with what it shows; hosts; the resolvers of four
//! sites; kinds of clients.

use super::rpc::Behaviour;

/// A domain, and what a look at it shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    pub(super) name: &'static str,
    /// The site whose servers are asked.
    pub(super) site: Site,
    /// The config's word: `required` or `none`.
    pub(super) kms: &'static str,
    /// What DNS says.
    pub(super) published: &'static [Record],
    /// What the config lists; `None`: it lists nothing.
    pub(super) listed: Option<&'static [Record]>,
    /// The checks that find something at warning or above, and after a colon, why; "well" where none does.
    pub(super) shows: &'static str,
}

/// Priority, weight and target.
pub(super) type Record = (u16, u16, &'static str);

/// Whose clients ask which servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// Two servers, and all is well with them.
    Headquarters,
    /// One of headquarters', and one with an old copy of the zone.
    Berlin,
    /// One of headquarters', and one that refuses everything.
    Paris,
    /// A silent one, and one that refuses everything.
    Tokyo,
}

impl Site {
    pub(super) const ALL: [Self; 4] = [Self::Headquarters, Self::Berlin, Self::Paris, Self::Tokyo];

    /// The name of its resolver.
    pub(super) fn resolver(self) -> &'static str {
        match self {
            Self::Headquarters => "hq",
            Self::Berlin => "berlin",
            Self::Paris => "paris",
            Self::Tokyo => "tokyo",
        }
    }
}

/// A host at an address of its own.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: &'static str,
    /// It is 127.0.0.this.
    pub(super) octet: u8,
    /// What answers on the KMS port; `None`: nothing listens.
    pub(super) answers: Option<Behaviour>,
}

pub(super) const ZONE: &str = "contoso.test";
pub(super) const WEST: &str = "west.contoso.test";
const EAST: &str = "east.contoso.test";
/// Its name alone makes headquarters' servers fail.
pub(super) const BROKEN: &str = "broken.contoso.test";
/// Its name exists, because one below it does.
pub(super) const EMPTY: &str = "empty.contoso.test";
/// Berlin's old copy knows the first host of it only.
pub(super) const SPLIT: &str = "split.contoso.test";

/// It will die.
pub(super) const KMS_E1: &str = "kms-e1.east.contoso.test";
const KMS_E2: &str = "kms-e2.east.contoso.test";
/// It will leave DNS.
pub(super) const KMS_W1: &str = "kms-w1.west.contoso.test";
const KMS_W2: &str = "kms-w2.west.contoso.test";
const KMS1: &str = "kms1.contoso.test";
const KMS2: &str = "kms2.contoso.test";
/// DNS names a port of it that is closed.
pub(super) const PORT_HOST: &str = "kms.port.contoso.test";
/// It has an IPv6 address too, where nothing listens.
pub(super) const HALF_HOST: &str = "kms.half.contoso.test";
const PRINTER: &str = "printer.rogue.contoso.test";
const ANY_HOST: &str = "kms.any.contoso.test";
const WEB_HOST: &str = "www.web.contoso.test";
const SILENT_HOST: &str = "kms.silent.contoso.test";
const DEAD_A: &str = "kms-a.dead.contoso.test";
const DEAD_B: &str = "kms-b.dead.contoso.test";
const TIER_HOST: &str = "kms.tier.contoso.test";
const LAST_HOST: &str = "kms.last.contoso.test";

pub(super) const HOSTS: [Host; 16] = [
    host(KMS_E1, 11, Some(Behaviour::Kms)),
    host(KMS_E2, 12, Some(Behaviour::Kms)),
    host(KMS_W1, 21, Some(Behaviour::Kms)),
    host(KMS_W2, 22, Some(Behaviour::Kms)),
    host(KMS1, 31, Some(Behaviour::Kms)),
    host(KMS2, 32, Some(Behaviour::Kms)),
    host(PORT_HOST, 41, Some(Behaviour::Kms)),
    host(HALF_HOST, 42, Some(Behaviour::Kms)),
    host(PRINTER, 43, Some(Behaviour::Kms)),
    host(ANY_HOST, 44, Some(Behaviour::AcceptsAny)),
    host(WEB_HOST, 45, Some(Behaviour::NotRpc)),
    host(SILENT_HOST, 46, Some(Behaviour::Silent)),
    host(DEAD_A, 51, None),
    host(DEAD_B, 52, None),
    host(TIER_HOST, 53, None),
    host(LAST_HOST, 54, None),
];

const FIRST: Record = (10, 50, KMS1);
const SECOND: Record = (10, 50, KMS2);

/// In the order in which they are told.
pub(super) const DOMAINS: [Domain; 22] = [
    well(EAST, &[(10, 75, KMS_E1), (10, 25, KMS_E2), (90, 75, KMS_W1), (90, 25, KMS_W2)]),
    well(WEST, &[(10, 75, KMS_W1), (10, 25, KMS_W2), (90, 75, KMS_E1), (90, 25, KMS_E2)]),
    Domain {
        kms: "none",
        ..fault("guests.contoso.test", &[], "well: it shall have no KMS, and has none")
    },
    fault("missing.contoso.test", &[], "srv-missing: the name does not exist"),
    fault(EMPTY, &[], "srv-empty: the name exists, and has no SRV records"),
    fault("declined.contoso.test", &[(0, 0, ".")], "srv-declined: the target is \".\""),
    fault(BROKEN, &[], "dns-failure: both servers fail for this name (SERVFAIL)"),
    at(
        Site::Tokyo,
        fault(
            "cut-off.contoso.test",
            &[],
            "server-failure: one server of its site is silent, the other refuses",
        ),
    ),
    at(
        Site::Paris,
        well_but(
            "lame.contoso.test",
            &[FIRST, SECOND],
            "server-failure: one of two servers refuses everything",
        ),
    ),
    at(
        Site::Berlin,
        well_but(SPLIT, &[FIRST, SECOND], "server-divergence: one server has an old copy"),
    ),
    listed(
        &[FIRST, SECOND],
        fault(
            "rogue.contoso.test",
            &[FIRST, SECOND, (10, 50, PRINTER)],
            "record-unexpected: a host that nobody listed",
        ),
    ),
    listed(
        &[FIRST, SECOND, (10, 50, "kms3.contoso.test")],
        fault(
            "incomplete.contoso.test",
            &[FIRST, SECOND],
            "record-missing: a listed host is not published",
        ),
    ),
    listed(
        &[FIRST, SECOND],
        fault(
            "drift.contoso.test",
            &[FIRST, (10, 5, KMS2)],
            "record-drift: another weight than listed",
        ),
    ),
    fault(
        "dotless.contoso.test",
        &[FIRST, SECOND, (10, 50, "kms1.contoso.test.contoso.test")],
        "target-suffix-doubled, target-unresolvable: a dot is missing in the zone",
    ),
    well_but(
        "port.contoso.test",
        &[FIRST, SECOND, (10, 50, PORT_HOST)],
        "port-mismatch: KMS answers, but on another port",
    ),
    well_but(
        "web.contoso.test",
        &[FIRST, SECOND, (10, 50, WEB_HOST)],
        "host-not-kms: a web server answers",
    ),
    well_but(
        "any.contoso.test",
        &[FIRST, SECOND, (10, 50, ANY_HOST)],
        "host-accepts-any: it accepts interfaces that cannot exist",
    ),
    well_but(
        "half.contoso.test",
        &[FIRST, SECOND, (10, 50, HALF_HOST)],
        "host-degraded: it answers over IPv4, not over IPv6",
    ),
    well_but(
        "silent.contoso.test",
        &[FIRST, SECOND, (10, 50, SILENT_HOST)],
        "host-unconfirmed: its port opens, and nothing comes",
    ),
    well_but(
        "tier.contoso.test",
        &[(10, 0, TIER_HOST), (90, 50, KMS1), (90, 50, KMS2)],
        "tier-down: the preferred host is down",
    ),
    well_but(
        "last.contoso.test",
        &[FIRST, (10, 50, LAST_HOST)],
        "redundancy-lost: one of two hosts is down",
    ),
    well_but(
        "dead.contoso.test",
        &[(10, 50, DEAD_A), (10, 50, DEAD_B)],
        "all-hosts-down: nothing listens on either",
    ),
];

/// A kind of client of headquarters, and what comes of its way.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) suffixes: &'static [&'static str],
    /// Set by policy: the search is off then.
    pub(super) kms_host: Option<&'static str>,
    /// How many Windows clients, and machines with Office, there are; 0: nothing is declared.
    pub(super) clients: u32,
    pub(super) office: u32,
    pub(super) shows: &'static str,
}

pub(super) const PROFILES: [Profile; 4] = [
    Profile {
        clients: 120,
        office: 40,
        ..profile("east-office", &[EAST], "well: three of four go to one host, one to another")
    },
    profile(
        "new-subnet",
        &["missing.contoso.test", EMPTY],
        "profile-no-kms: no suffix of its list has a record",
    ),
    profile(
        "branch",
        &["dead.contoso.test", WEST],
        "profile-shadowed: dead hosts hide the good ones of a later suffix",
    ),
    Profile {
        kms_host: Some(KMS1),
        ..profile("kiosks", &[WEST], "profile-pinned: a fixed host switches discovery off")
    },
];

const fn profile(
    name: &'static str,
    suffixes: &'static [&'static str],
    shows: &'static str,
) -> Profile {
    Profile { name, suffixes, kms_host: None, clients: 0, office: 0, shows }
}

const fn host(name: &'static str, octet: u8, answers: Option<Behaviour>) -> Host {
    Host { name, octet, answers }
}

/// Something that is not listed.
const fn fault(name: &'static str, published: &'static [Record], shows: &'static str) -> Domain {
    Domain { name, site: Site::Headquarters, kms: "required", published, listed: None, shows }
}

/// What is listed is published.
const fn well_but(name: &'static str, both: &'static [Record], shows: &'static str) -> Domain {
    listed(both, fault(name, both, shows))
}

const fn well(name: &'static str, both: &'static [Record]) -> Domain {
    well_but(name, both, "well: 75 % / 25 % on its own two hosts, two more to fall back on")
}

const fn listed(listed: &'static [Record], domain: Domain) -> Domain {
    Domain { listed: Some(listed), ..domain }
}

const fn at(site: Site, domain: Domain) -> Domain {
    Domain { site, ..domain }
}
