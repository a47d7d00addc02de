//! PURE. What the operating system and the network say of a connection that failed, as an outcome and
//! in words.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use nix::errno::Errno;

use crate::model::observation::{NoWay, SAYS_ITSELF, in_words};
use crate::model::{Probe, ProbeOutcome};

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The outcome.
    pub outcome: ProbeOutcome,
    /// Who sent the ICMP error, where one came.
    pub rejected_by: Option<IpAddr>,
    /// In words, where they say more than the outcome.
    pub detail: Option<String>,
}

impl Failure {
    /// Judges what a connection failed with. An ICMP error says more than the error number that the
    /// kernel makes of it.
    pub fn new(error: &io::Error, icmp: Option<&IcmpError>) -> Self {
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        let outcome = judge(errno);
        match icmp {
            Some(icmp) => Self {
                outcome: icmp.outcome().unwrap_or(outcome),
                rejected_by: icmp.offender,
                detail: Some(icmp.to_string()),
            },
            None => Self { outcome, rejected_by: None, detail: words(errno, error) },
        }
    }

    /// This machine lacks what the path names, or cannot do it.
    pub fn of_this_machine(detail: String) -> Self {
        Self { outcome: ProbeOutcome::Unreachable, rejected_by: None, detail: Some(detail) }
    }

    /// The probe that ended so.
    pub fn into_probe(self) -> Probe {
        Probe {
            rejected_by: self.rejected_by,
            detail: self.detail.map(Arc::from),
            ..Probe::bare(self.outcome)
        }
    }
}

/// An ICMP error about our connection, from the socket's error queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpError {
    /// Which ICMP.
    pub version: IcmpVersion,
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: u8,
    /// Who sent it.
    pub offender: Option<IpAddr>,
    /// Whether that is this machine itself: its firewall, or an address that nobody claimed.
    pub own: bool,
}

/// Which ICMP a message belongs to: types and codes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpVersion {
    /// RFC 792.
    V4,
    /// RFC 4443.
    V6,
}

impl IcmpError {
    fn outcome(&self) -> Option<ProbeOutcome> {
        meaning(self.version, self.kind, self.code).map(|(outcome, _)| outcome)
    }
}

impl std::fmt::Display for IcmpError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = meaning(self.version, self.kind, self.code).map_or("error", |(_, words)| words);
        let version = match self.version {
            IcmpVersion::V4 => "ICMP",
            IcmpVersion::V6 => "ICMPv6",
        };
        write!(formatter, "{words} ({version} type {} code {})", self.kind, self.code)?;
        if self.own { formatter.write_str(SAYS_ITSELF) } else { Ok(()) }
    }
}

/// Whether it is this machine that lacks something at the moment, which says nothing of the peer.
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN)
}

/// The types and codes that end a connection attempt (RFC 792, RFC 1122, RFC 1812, RFC 4443).
fn meaning(version: IcmpVersion, kind: u8, code: u8) -> Option<(ProbeOutcome, &'static str)> {
    use IcmpVersion::{V4, V6};
    use ProbeOutcome::{Prohibited, Refused, Unreachable};
    Some(match (version, kind, code) {
        (V4, 3, 0 | 6) | (V6, 1, 0) => (Unreachable, "network unreachable"),
        (V4, 3, 1 | 7) | (V6, 1, 3) => (Unreachable, "host unreachable"),
        (V4, 3, 2) => (Unreachable, "protocol unreachable"),
        (V4, 3, 3) | (V6, 1, 4) => (Refused, "port unreachable"),
        (V4, 3, 9) => (Prohibited, "network administratively prohibited"),
        (V4, 3, 10) => (Prohibited, "host administratively prohibited"),
        (V4, 3, 13) | (V6, 1, 1) => (Prohibited, "communication administratively prohibited"),
        (V6, 1, 2) => (Unreachable, "beyond the scope of the source address"),
        (V6, 1, 5) => (Prohibited, "source address failed a policy"),
        (V6, 1, 6) => (Prohibited, "rejected route"),
        (V4, 11, _) | (V6, 3, _) => {
            (Unreachable, "time exceeded on the way, perhaps a routing loop")
        }
        (V4, 3, _) | (V6, 1, _) => (Unreachable, "destination unreachable"),
        _ => return None,
    })
}

/// What an error number means where no ICMP error explains it.
fn judge(errno: Errno) -> ProbeOutcome {
    use ProbeOutcome::{ClosedEarly, Prohibited, Refused, Reset, Timeout, Unreachable};
    match errno {
        Errno::ECONNREFUSED => Refused,
        // A connection that is gone as soon as it stood.
        Errno::ECONNRESET | Errno::ENOTCONN => Reset,
        Errno::EPIPE => ClosedEarly,
        Errno::ETIMEDOUT => Timeout,
        Errno::EACCES | Errno::EPERM => Prohibited,
        _ => Unreachable,
    }
}

/// What it says beside the outcome. The kernel's own words mislead for those that its routing table
/// returns.
fn words(errno: Errno, error: &io::Error) -> Option<String> {
    match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ETIMEDOUT => None,
        Errno::EAFNOSUPPORT => Some(NoWay::Family.to_string()),
        _ => NoWay::of(error.kind()).map(|way| way.to_string()).or_else(|| Some(in_words(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(errno: Errno, icmp: Option<(IcmpVersion, u8, u8)>) -> ProbeOutcome {
        let icmp = icmp.map(|(version, kind, code)| IcmpError {
            version,
            kind,
            code,
            offender: None,
            own: false,
        });
        Failure::new(&io::Error::from(errno), icmp.as_ref()).outcome
    }

    #[test]
    fn an_error_number_alone_is_judged() {
        for (errno, expected) in [
            (Errno::ECONNREFUSED, ProbeOutcome::Refused),
            (Errno::ECONNRESET, ProbeOutcome::Reset),
            (Errno::ENOTCONN, ProbeOutcome::Reset),
            (Errno::EPIPE, ProbeOutcome::ClosedEarly),
            (Errno::ETIMEDOUT, ProbeOutcome::Timeout),
            (Errno::EACCES, ProbeOutcome::Prohibited),
            (Errno::EPERM, ProbeOutcome::Prohibited),
            (Errno::EINVAL, ProbeOutcome::Unreachable),
            (Errno::ENETUNREACH, ProbeOutcome::Unreachable),
            (Errno::EHOSTUNREACH, ProbeOutcome::Unreachable),
            (Errno::ENETDOWN, ProbeOutcome::Unreachable),
        ] {
            assert_eq!(failure(errno, None), expected, "{errno}");
        }
    }

    #[test]
    fn an_error_of_this_machine_says_nothing_of_the_peer() {
        use Errno::{EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, ENETDOWN, ENETUNREACH, EPERM};
        let probe = |errno, icmp: Option<&IcmpError>| {
            Failure::new(&io::Error::from(errno), icmp).into_probe()
        };
        for errno in [ENETUNREACH, ENETDOWN, EINVAL, EACCES, EPERM, EADDRNOTAVAIL, EAFNOSUPPORT] {
            assert!(probe(errno, None).lacks_path(), "{errno}");
        }
        let (version, kind) = (IcmpVersion::V4, 3);
        let icmp = IcmpError { version, kind, code: 0, offender: None, own: false };
        assert!(!probe(Errno::ENETUNREACH, Some(&icmp)).lacks_path(), "a router says it");
        assert!(!probe(Errno::ECONNREFUSED, None).lacks_path());
        assert!(!probe(Errno::EHOSTUNREACH, None).lacks_path());
    }

    #[test]
    fn an_icmp_code_says_more_than_the_error_number() {
        use IcmpVersion::{V4, V6};
        for (errno, icmp, expected) in [
            (Errno::ENETUNREACH, (V4, 3, 0), ProbeOutcome::Unreachable),
            (Errno::EHOSTUNREACH, (V4, 3, 1), ProbeOutcome::Unreachable),
            (Errno::ECONNREFUSED, (V4, 3, 3), ProbeOutcome::Refused),
            (Errno::ENETUNREACH, (V4, 3, 9), ProbeOutcome::Prohibited),
            (Errno::EHOSTUNREACH, (V4, 3, 10), ProbeOutcome::Prohibited),
            (Errno::EHOSTUNREACH, (V4, 3, 13), ProbeOutcome::Prohibited),
            (Errno::EHOSTUNREACH, (V4, 3, 15), ProbeOutcome::Unreachable),
            (Errno::EHOSTUNREACH, (V4, 11, 0), ProbeOutcome::Unreachable),
            (Errno::ENETUNREACH, (V6, 1, 0), ProbeOutcome::Unreachable),
            (Errno::EACCES, (V6, 1, 1), ProbeOutcome::Prohibited),
            (Errno::EHOSTUNREACH, (V6, 1, 3), ProbeOutcome::Unreachable),
            (Errno::ECONNREFUSED, (V6, 1, 4), ProbeOutcome::Refused),
            (Errno::EACCES, (V6, 1, 5), ProbeOutcome::Prohibited),
            (Errno::EACCES, (V6, 1, 6), ProbeOutcome::Prohibited),
            (Errno::ECONNREFUSED, (V4, 40, 0), ProbeOutcome::Refused),
        ] {
            assert_eq!(failure(errno, Some(icmp)), expected, "{icmp:?}");
        }
    }

    #[test]
    fn an_icmp_error_is_named_in_words_and_by_its_sender() {
        let router = IpAddr::from([10, 0, 0, 1]);
        let icmp = IcmpError {
            version: IcmpVersion::V4,
            kind: 3,
            code: 13,
            offender: Some(router),
            own: false,
        };
        let failure = Failure::new(&io::Error::from(Errno::EHOSTUNREACH), Some(&icmp));
        assert_eq!(failure.rejected_by, Some(router));
        assert_eq!(
            failure.detail.as_deref(),
            Some("communication administratively prohibited (ICMP type 3 code 13)")
        );
        let own = IcmpError { own: true, kind: 3, code: 1, ..icmp };
        assert_eq!(
            own.to_string(),
            "host unreachable (ICMP type 3 code 1), says this machine itself"
        );
    }

    #[test]
    fn only_what_this_machine_lacks_is_a_shortage() {
        let shortage = |errno| is_shortage(&io::Error::from(errno));
        assert!(shortage(Errno::EMFILE) && shortage(Errno::ENOBUFS));
        assert!(!shortage(Errno::ECONNREFUSED) && !shortage(Errno::ENETUNREACH));
        assert!(!is_shortage(&io::Error::other("no error number")));
    }
}
