//! The one text of each check: its page in `docs/checks/`, and the remedy made of that page's commands.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;

use crate::model::endpoint::DNS_PORT;
use crate::model::srv::KMS_PORT;
use crate::model::{Check, Server, Transport};

/// The page that explains a check, as Markdown, placeholders and all; a line that says so for a
/// check that this version does not raise.
pub fn page(check: Check) -> &'static str {
    PAGES.iter().find(|(of, _)| *of == check).map_or(NOT_BUILT, |(_, page)| page)
}

/// The page as a terminal shows it best: Markdown, with the fenced commands indented as the others
/// are.
pub fn page_for_terminal(check: Check) -> String {
    if !check.is_built() {
        return format!("# {check}\n\n{NOT_BUILT}");
    }
    let mut text = String::new();
    for line in unfenced(page(check)) {
        match line {
            Line::Text(line) => text.push_str(line),
            Line::Command(command) => text.extend(["    ", &command]),
        }
        text.push('\n');
    }
    text
}

/// The first sentence of a check's page; `None` for one that this version does not raise.
pub fn summary(check: Check) -> Option<&'static str> {
    check.is_built().then(|| page(check).lines().nth(2)).flatten()
}

/// What to do about a finding: a sentence, then the commands to see and to mend it, each on a line
/// of its own that can be copied to a shell.
///
/// They are the fenced commands of the page, of "Mend" those of [`Values::part`] where it has parts.
/// One whose value is not known is left out.
pub fn remedy(check: Check, values: &Values) -> String {
    let Some(template) = TEMPLATES.get(&(check, values.part)) else { return String::new() };
    let mut text = values.fill(&template.advice, OnMissing::Name).unwrap_or_default();
    for (heading, commands) in [("See:", &template.see), ("Mend:", &template.mend)] {
        let lines: Vec<String> =
            commands.iter().filter_map(|command| values.fill_command(command)).collect();
        if lines.is_empty() {
            continue;
        }
        text.push('\n');
        text.push_str(heading);
        for line in lines {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    text
}

/// The values that fill the placeholders of a page.
///
/// Names in DNS may hold any byte, and a remedy is pasted into a shell. So a value that holds
/// anything but letters, digits, `.`, `_`, `:` and `-`, or that begins like an option, shows as
/// `<target>`.
#[derive(Debug, Clone)]
pub struct Values {
    known: BTreeMap<Key, String>,
    server: Option<Server>,
    part: Option<Part>,
}

impl Default for Values {
    /// The well-known ports, 53 and 1688, and nothing else.
    fn default() -> Self {
        let known = BTreeMap::from([(Key::Gate, SOME_GATE.to_owned())]);
        let bare = Self { known, server: None, part: None };
        bare.set(Key::ServerPort, DNS_PORT).set(Key::KmsPort, KMS_PORT)
    }
}

impl Values {
    /// With the value of one placeholder.
    #[must_use]
    pub fn set(mut self, key: Key, value: impl Display) -> Self {
        self.known.insert(key, safe(key, value.to_string()));
        self
    }

    /// With the part of the page's "Mend" that fits; a page that has parts needs one.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.part = Some(part);
        self
    }

    /// With the server to ask: its address, its port, and the options that its port and transport
    /// need.
    #[must_use]
    pub fn server(mut self, server: &Server) -> Self {
        self.server = Some(*server);
        self.set(Key::Server, server.address.ip()).set(Key::ServerPort, server.address.port())
    }

    /// The command with its values, or nothing if one is not known or the tool cannot ask this server.
    fn fill_command(&self, command: &str) -> Option<String> {
        let command = self.fill(command, OnMissing::LeaveOut)?;
        let (Some(server), Some((tool, rest))) = (self.server, command.split_once(' ')) else {
            return Some(command);
        };
        let port = Some(server.address.port()).filter(|port| *port != DNS_PORT);
        let tcp = server.transport == Transport::Tcp;
        let (port_option, tcp_option) = match tool {
            "nslookup" => (port.map(|port| format!("-port={port} ")), "-vc "),
            "dig" => (port.map(|port| format!("-p {port} ")), "+tcp "),
            "Resolve-DnsName" if port.is_some() => return None,
            "Resolve-DnsName" => (None, "-TcpOnly "),
            _ => return Some(command),
        };
        let (port, tcp) = (port_option.unwrap_or_default(), if tcp { tcp_option } else { "" });
        Some(format!("{tool} {port}{tcp}{rest}"))
    }

    fn fill(&self, text: &str, missing: OnMissing) -> Option<String> {
        let mut filled = String::with_capacity(text.len() + 32);
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(key) => match (self.known.get(&key), missing) {
                    (Some(value), _) => filled.push_str(value),
                    (None, OnMissing::Name) => filled.push_str(&unknown(key)),
                    (None, OnMissing::LeaveOut) => return None,
                },
            }
        }
        Some(filled)
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $variant:ident $word:literal;)+) => {
        /// A placeholder of the pages: `{domain}` and the like.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $($(#[$doc])* $variant,)+ }

        impl Key {
            /// Every placeholder.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word between the braces.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

keys! {
    /// The domain.
    Domain "domain";
    /// `_vlmcs._tcp.<domain>`.
    Owner "owner";
    /// The record's target.
    Target "target";
    /// The record's port.
    Port "port";
    /// The record's priority.
    Priority "priority";
    /// The record's weight.
    Weight "weight";
    /// The name that should stand as target.
    RightTarget "right_target";
    /// The port that the config lists.
    ListedPort "listed_port";
    /// The priority that the config lists.
    ListedPriority "listed_priority";
    /// The weight that the config lists.
    ListedWeight "listed_weight";
    /// An address of the host.
    Address "address";
    /// The address of a DNS server; [`Values::server`] sets it.
    Server "server";
    /// Its port; [`Values::server`] sets it, 53 before that.
    ServerPort "server_port";
    /// The well-known KMS port of the plan; 1688 unless set.
    KmsPort "kms_port";
    /// What nft calls the family of `address`: `ip` or `ip6`.
    Family "family";
    /// The network of a profile's clients, else their source address.
    Clients "clients";
    /// Who rejects a connection on the way; words for a firewall that nobody knows unless set.
    Gate "gate";
}

const SOME_GATE: &str = "the firewall on the way";

macro_rules! parts {
    ($($(#[$doc:meta])* $variant:ident $heading:literal;)+) => {
        /// A part of "Mend" in a page, below a heading of its own: one finding, mended by what causes it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Part { $($(#[$doc])* $variant,)+ }

        impl Part {
            /// Every part.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its heading.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $heading,)+ }
            }
        }
    };
}

parts! {
    /// The DNS server gets questions, and fails.
    ServerFails "The server fails";
    /// This machine has no such source or interface, so that the server gets none.
    PathLacking "This machine lacks the path";
    /// No suffix has records.
    NoRecords "No suffix has records";
    /// The DNS servers are silent, or not to be reached.
    LookupUnanswered "No DNS server answers";
    /// The DNS servers answer, but say that they fail or refuse.
    LookupFails "A lookup fails";
    /// The target is ".".
    Declined "A suffix declines";
    /// Connections get lost on the way, or are rejected there.
    WayBlocked "The way to the hosts is blocked";
    /// The same, of hosts that hide others.
    HidingWayBlocked "The way to the hosts of the earlier suffix is blocked";
    /// Hosts that hide others do not serve.
    HidingHostsFail "The hosts of the earlier suffix are dead";
    /// The hosts themselves do not serve.
    HostsFail "The hosts fail";
    /// The fixed host is set for Windows, and Office takes it over.
    FixedForWindows "A host set for Windows";
    /// The fixed host is set for Office alone.
    FixedForOffice "A host set for Office";
}

/// What becomes of a text with a placeholder that has no value.
#[derive(Clone, Copy)]
enum OnMissing {
    /// The placeholder's name stands for it.
    Name,
    /// The whole text is of no use.
    LeaveOut,
}

fn safe(key: Key, value: String) -> String {
    // A network has a slash; in what comes from DNS it might make a path.
    let plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_' | ':' | '-')
            || (c == '/' && key == Key::Clients)
    };
    if value.starts_with('-') || value.is_empty() || !value.chars().all(plain) {
        return unknown(key);
    }
    value
}

fn unknown(key: Key) -> String {
    format!("<{}>", key.as_str())
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(Key),
}

/// Cuts a text at its placeholders; other braces are text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(open) = rest[from..].find('{').map(|at| from + at) {
        let word = rest[open + 1..].split('}').next().unwrap_or_default();
        let Some(key) = Key::ALL.iter().find(|key| key.as_str() == word) else {
            from = open + 1;
            continue;
        };
        pieces.push(Piece::Text(&rest[..open]));
        pieces.push(Piece::Placeholder(*key));
        rest = &rest[open + word.len() + 2..];
        from = 0;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// What a remedy is made of.
struct Template {
    /// The first paragraph of "Mend".
    advice: String,
    see: Vec<String>,
    mend: Vec<String>,
}

static TEMPLATES: LazyLock<BTreeMap<(Check, Option<Part>), Template>> = LazyLock::new(|| {
    let template = |page, mend| Template {
        advice: first_paragraph(mend),
        see: commands(section(page, "See")),
        mend: commands(mend),
    };
    let of_page = |(check, page): &(Check, &'static str)| {
        let (check, page) = (*check, *page);
        let parts = parts(section(page, "Mend"));
        parts.map(move |(part, mend)| ((check, part), template(page, mend)))
    };
    PAGES.iter().flat_map(of_page).collect()
});

/// What "Mend" says for everybody, and each part of it.
fn parts(mend: &'static str) -> impl Iterator<Item = (Option<Part>, &'static str)> {
    let of = |heading: &str| Part::ALL.iter().copied().find(|part| part.as_str() == heading);
    let mut pieces = mend.split("### ");
    let whole = pieces.next().map(|text| (None, text));
    let parts = pieces.filter_map(move |piece| {
        let (heading, text) = piece.split_once('\n')?;
        Some((Some(of(heading)?), text))
    });
    whole.into_iter().chain(parts)
}

/// The lines below `## heading`, up to the next heading; empty if there is none.
fn section(page: &'static str, heading: &str) -> &'static str {
    let mut sections = page.split("\n## ").skip(1);
    sections
        .find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'))
        .unwrap_or_default()
}

fn first_paragraph(section: &str) -> String {
    let paragraph = section.trim_start().split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fenced lines, each with where it runs.
fn commands(section: &str) -> Vec<String> {
    let commands = unfenced(section).filter_map(|line| match line {
        Line::Text(_) => None,
        Line::Command(command) => Some(command),
    });
    commands.collect()
}

/// A line of a page; the fences themselves are gone.
enum Line<'a> {
    Text(&'a str),
    Command(String),
}

/// What follows the language in a fence's first line says where the commands run, and goes behind
/// each as a comment, which both kinds of shell skip.
fn unfenced(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut place = None;
    text.lines().filter_map(move |line| match (line.strip_prefix("```"), place) {
        (Some(info), None) => {
            place = Some(info.split_once(' ').map_or("", |(_, place)| place));
            None
        }
        (Some(_), Some(_)) => {
            place = None;
            None
        }
        (None, Some("")) => Some(Line::Command(line.to_owned())),
        (None, Some(place)) => Some(Line::Command(format!("{line}  # {place}"))),
        (None, None) => Some(Line::Text(line)),
    })
}

const NOT_BUILT: &str = "This version does not raise this check.\n";

macro_rules! pages {
    ($($variant:ident $id:literal)+) => {
        /// The page of each check that this version raises, with the notes that all pages share.
        const PAGES: &[(Check, &str)] = &[$((
            Check::$variant,
            concat!(
                include_str!(concat!("../../docs/checks/", $id, ".md")),
                include_str!("../../docs/commands.md"),
            ),
        )),+];
    };
}

pages! {
    SrvMissing "srv-missing"
    SrvEmpty "srv-empty"
    SrvDeclined "srv-declined"
    DnsFailure "dns-failure"
    ServerFailure "server-failure"
    ServerDivergence "server-divergence"
    RecordVanished "record-vanished"
    RecordUnexpected "record-unexpected"
    RecordMissing "record-missing"
    RecordDrift "record-drift"
    RecordStale "record-stale"
    RecordDuplicate "record-duplicate"
    TargetUnresolvable "target-unresolvable"
    TargetAlias "target-alias"
    TargetSuffixDoubled "target-suffix-doubled"
    TargetLiteral "target-literal"
    PortMismatch "port-mismatch"
    PortUnusual "port-unusual"
    WeightStarved "weight-starved"
    TtlExtreme "ttl-extreme"
    TierDown "tier-down"
    RedundancyLost "redundancy-lost"
    RedundancyNone "redundancy-none"
    HostDown "host-down"
    HostNotKms "host-not-kms"
    HostUnconfirmed "host-unconfirmed"
    HostAcceptsAny "host-accepts-any"
    HostDegraded "host-degraded"
    HostSlow "host-slow"
    AllHostsDown "all-hosts-down"
    ProfileNoSuffix "profile-no-suffix"
    ProfileNoKms "profile-no-kms"
    ProfileShadowed "profile-shadowed"
    ProfilePinned "profile-pinned"
    ProfileBelowThreshold "profile-below-threshold"
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Name;

    fn server(transport: Transport, address: &str) -> Server {
        let address: SocketAddr = address.parse().expect("a socket address");
        Server { transport, address }
    }

    fn full() -> Values {
        Values::default()
            .set(Key::Domain, "east.contoso.com")
            .set(Key::Owner, "_vlmcs._tcp.east.contoso.com")
            .set(Key::Target, "kms-e1.contoso.com")
            .set(Key::Port, 1700)
            .set(Key::Priority, 10)
            .set(Key::Weight, 75)
            .set(Key::RightTarget, "kms.contoso.com")
            .set(Key::ListedPort, 1688)
            .set(Key::ListedPriority, 20)
            .set(Key::ListedWeight, 50)
            .set(Key::Address, "10.0.0.5")
            .set(Key::Family, "ip")
            .set(Key::Clients, "10.40.7.0/24")
            .server(&server(Transport::Udp, "10.0.0.53:53"))
    }

    #[test]
    fn a_remedy_is_a_sentence_and_its_commands() {
        let values = full();
        assert_eq!(
            remedy(Check::RecordMissing, &values),
            "Publish the record again, or take the host out of `hosts` if it was retired.\n\
             See:\n  \
             nslookup -type=srv _vlmcs._tcp.east.contoso.com. 10.0.0.53\n  \
             Test-NetConnection -ComputerName kms-e1.contoso.com -Port 1700\n\
             Mend:\n  \
             Add-DnsServerResourceRecord -ZoneName east.contoso.com -Srv -Name _vlmcs._tcp \
             -DomainName kms-e1.contoso.com -Priority 10 -Weight 75 -Port 1700  # on Windows DNS\n  \
             printf '%s\\n' 'update add _vlmcs._tcp.east.contoso.com. 3600 SRV 10 75 1700 \
             kms-e1.contoso.com.' send | nsupdate -g  # by dynamic update"
        );
    }

    #[test]
    fn a_command_without_its_value_is_left_out() {
        let few = Values::default()
            .set(Key::Target, "kms.contoso.com")
            .set(Key::Port, 1688)
            .set(Key::Owner, "_vlmcs._tcp.contoso.com");
        assert_eq!(
            remedy(Check::RecordMissing, &few),
            "Publish the record again, or take the host out of `hosts` if it was retired.\n\
             See:\n  Test-NetConnection -ComputerName kms.contoso.com -Port 1688"
        );
    }

    #[test]
    fn a_server_on_its_own_port_or_over_tcp_is_asked_there() {
        let asked = |server: &Server| {
            let values = Values::default().set(Key::Owner, "o").server(server);
            [
                "nslookup {owner} {server}",
                "dig @{server} {owner}",
                "Resolve-DnsName -Server {server}",
            ]
            .map(|command| values.fill_command(command).unwrap_or_default())
        };
        assert_eq!(
            asked(&server(Transport::Udp, "10.0.0.53:53")),
            ["nslookup o 10.0.0.53", "dig @10.0.0.53 o", "Resolve-DnsName -Server 10.0.0.53"]
        );
        assert_eq!(
            asked(&server(Transport::Udp, "[2001:db8::53]:5353")),
            ["nslookup -port=5353 o 2001:db8::53", "dig -p 5353 @2001:db8::53 o", ""]
        );
        assert_eq!(
            asked(&server(Transport::Tcp, "10.0.0.53:53")),
            [
                "nslookup -vc o 10.0.0.53",
                "dig +tcp @10.0.0.53 o",
                "Resolve-DnsName -TcpOnly -Server 10.0.0.53"
            ]
        );
    }

    /// Every check with each part of its page.
    fn every_remedy() -> impl Iterator<Item = (Check, Option<Part>)> {
        Check::ALL.iter().flat_map(|check| {
            let mut parts: Vec<_> =
                parts(section(page(*check), "Mend")).map(|(part, _)| part).collect();
            // What stands before the parts is no remedy by itself.
            if parts.len() > 1 {
                parts.remove(0);
            }
            parts.into_iter().map(|part| (*check, part))
        })
    }

    #[test]
    fn the_built_checks_and_only_they_have_a_remedy() {
        let values = full();
        let own = ["east.contoso.com", "kms-e1.contoso.com", "10.0.0.5", "10.0.0.53"];
        for (check, part) in every_remedy() {
            let values = part.map_or(values.clone(), |part| values.clone().part(part));
            let text = remedy(check, &values);
            let commands: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            assert_eq!(text.is_empty(), !check.is_built(), "{check}");
            if !check.is_built() {
                assert_eq!(page(check), NOT_BUILT, "{check}");
                continue;
            }
            assert!((2..=5).contains(&commands.len()), "{check}: {commands:?}");
            assert!(!text.contains(['{', '<']), "{check}: {text}");
            assert!(text.contains("See:\n") && text.contains("Mend:\n"), "{check}: {text}");
            // A client without suffix has no name to speak of.
            let has_names = check != Check::ProfileNoSuffix;
            let names_own = commands.iter().any(|c| own.iter().any(|own| c.contains(own)));
            assert_eq!(names_own, has_names, "{check}");
        }
    }

    #[test]
    fn a_terminal_sees_every_command_and_no_fence() {
        for check in Check::ALL.iter().copied().filter(|check| check.is_built()) {
            let shown = page_for_terminal(check);
            let of_page = commands(page(check));
            assert!(!shown.contains("```") && !of_page.is_empty(), "{check}");
            for command in of_page {
                assert!(shown.contains(&format!("\n    {command}\n")), "{check}: {command}");
            }
            assert!(shown.starts_with(&format!("# {check}\n")), "{check}");
            assert!(summary(check).is_some_and(|summary| shown.contains(summary)), "{check}");
        }
        let place = "\n    slmgr.vbs /sdns  # on the KMS host\n";
        assert!(page_for_terminal(Check::SrvMissing).contains(place));
        let later = format!("# record-aged\n\n{NOT_BUILT}");
        assert_eq!(page_for_terminal(Check::RecordAged), later);
        assert_eq!(summary(Check::RecordAged), None);
    }

    #[test]
    fn hostile_values_are_named_instead_of_shown() {
        let target = Name::from_labels([b"-vc".as_slice(), b"evil"].into_iter());
        for target in [target.as_str(), "$(reboot)", "a;b", "a\nb", "a b", "a'b", r"a\032b", ""] {
            let text = remedy(Check::HostDown, &full().set(Key::Target, target));
            assert!(
                text.contains("Test-NetConnection -ComputerName <target> -Port 1700"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_adds_anything_that_a_shell_reads(
            values in prop::collection::vec("(\\PC|[;|&`$()<>'\"\\n\\r%{}\\-]){0,12}", Key::ALL.len()),
            at in any::<prop::sample::Index>(),
        ) {
            let all: Vec<_> = every_remedy().collect();
            let (check, part) = all[at.index(all.len())];
            let filled = Key::ALL.iter().zip(&values).fold(Values::default(), |to, (key, value)| to.set(*key, value));
            let named = Key::ALL.iter().fold(Values::default(), |to, key| to.set(*key, "x"));
            let (filled, named) = (Values { part, ..filled }, Values { part, ..named });
            let special = |text: &str| -> String {
                let names = Key::ALL.iter().fold(text.to_owned(), |text, key| text.replace(&unknown(*key), "x"));
                names.chars().filter(|c| !c.is_ascii_alphanumeric() && !"._:-/".contains(*c)).collect()
            };
            prop_assert_eq!(special(&remedy(check, &filled)), special(&remedy(check, &named)));
        }

        #[test]
        fn filling_never_panics_and_keeps_other_braces(text in "[{}a-z ]{0,40}") {
            let filled = Values::default().fill(&text, OnMissing::Name).expect("names stand for what is missing");
            prop_assert!(Key::ALL.iter().any(|key| text.contains(key.as_str())) || filled == text);
        }
    }
}
