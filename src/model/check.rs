//! The checks of the contract (design section 8) by id.

use super::finding::Severity;
use super::observation::display_and_serialize_as_str;

macro_rules! checks {
    ($($variant:ident $id:literal $severity:ident $built:literal;)+) => {
        /// A named rule with a stable id. What each means is told by its page in `docs/checks/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "docs/checks/ID.md is the text of each check")]
        pub enum Check { $($variant,)+ }

        impl Check {
            /// Every check of the contract, in its order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The id of the contract.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The severity unless circumstances or an exception change it.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// Whether this version can raise it.
            pub fn is_built(self) -> bool {
                match self { $(Self::$variant => $built,)+ }
            }
        }
    };
}

checks! {
    SrvMissing "srv-missing" Critical true;
    SrvEmpty "srv-empty" Critical true;
    SrvDeclined "srv-declined" Critical true;
    DnsFailure "dns-failure" Critical true;
    ServerFailure "server-failure" Warning true;
    ServerDivergence "server-divergence" Warning true;
    ServerInconsistent "server-inconsistent" Warning false;
    ServerLame "server-lame" Warning false;
    AuthorityUnreachable "authority-unreachable" Warning false;
    DnssecBogus "dnssec-bogus" Critical false;
    RecordVanished "record-vanished" Critical true;
    RecordUnexpected "record-unexpected" Critical true;
    RecordMissing "record-missing" Critical true;
    RecordDrift "record-drift" Warning true;
    RecordStale "record-stale" Warning true;
    RecordAged "record-aged" Warning false;
    RecordStatic "record-static" Info false;
    RecordDuplicate "record-duplicate" Warning true;
    TargetUnresolvable "target-unresolvable" Critical true;
    TargetAlias "target-alias" Warning true;
    TargetSuffixDoubled "target-suffix-doubled" Critical true;
    TargetLiteral "target-literal" Warning true;
    PortMismatch "port-mismatch" Critical true;
    PortUnusual "port-unusual" Info true;
    WeightStarved "weight-starved" Info true;
    TtlExtreme "ttl-extreme" Info true;
    TierDown "tier-down" Warning true;
    RedundancyLost "redundancy-lost" Warning true;
    RedundancyNone "redundancy-none" Info true;
    HostDown "host-down" Warning true;
    HostNotKms "host-not-kms" Warning true;
    HostUnconfirmed "host-unconfirmed" Warning true;
    HostAcceptsAny "host-accepts-any" Warning true;
    HostDegraded "host-degraded" Warning true;
    HostSlow "host-slow" Info true;
    AllHostsDown "all-hosts-down" Critical true;
    ProfileNoSuffix "profile-no-suffix" Critical true;
    ProfileNoKms "profile-no-kms" Critical true;
    ProfileShadowed "profile-shadowed" Critical true;
    ProfilePinned "profile-pinned" Info true;
    ProfileBelowThreshold "profile-below-threshold" Info true;
}

display_and_serialize_as_str!(Check);

impl Check {
    /// The check of this id.
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|check| check.as_str() == id)
    }
}
