//! Every family of this version (contract, design section 9).

/// A family: its name, help, unit and labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name of the contract.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What its values are.
    pub unit: Unit,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

/// What a family's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 1, and what matters stands in the labels.
    Info,
    /// 1 or 0.
    Truth,
    /// A number of things.
    Count,
    /// 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// Seconds since 1970-01-01 UTC.
    Timestamp,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Grows while the process lives.
    Counter,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// The word of a TYPE line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! definitions {
    ($($constant:ident $kind:ident $unit:ident $name:literal [$($label:literal)*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: &Definition = &Definition {
                name: concat!("kmswatch_", $name),
                help: $help,
                unit: Unit::$unit,
                kind: Kind::$kind,
                labels: &[$($label),*],
            };
        )+

        /// Every family but `process_*`, in the order of the contract.
        pub const ALL: &[&Definition] = &[$($constant),+];
    };
}

definitions! {
    SRV_RECORD_INFO Gauge Info "srv_record_info" ["domain" "target" "port" "priority" "weight"]
        "A published SRV record; held at the servers' last usable answers.";
    SRV_RECORDS Gauge Count "srv_records" ["domain"]
        "How many distinct SRV records are published; absent while no server ever gave a usable answer.";
    SRV_RECORD_TTL Gauge Seconds "srv_record_ttl_seconds" ["domain" "target" "port"]
        "The least time that a cache may keep the record, as the servers said last.";
    SRV_LOOKUP_SUCCESS Gauge Truth "srv_lookup_success" ["domain" "resolver" "server" "role" "path"]
        "Whether the server returned records when it was last asked.";
    SRV_LOOKUP_OUTCOME Gauge Info "srv_lookup_outcome" ["domain" "resolver" "server" "role" "path" "outcome"]
        "What came of the last lookup.";
    SRV_LOOKUP_DURATION Gauge Seconds "srv_lookup_duration_seconds" ["domain" "resolver" "server" "role" "path"]
        "Round trip of the last lookup; absent where no answer came.";
    HOST_UP Gauge Truth "host_up" ["domain" "target" "port"]
        "Whether the host answers, over the domain's paths the worst; absent where it cannot be told.";
    HOST_SHARE Gauge Ratio "host_share" ["domain" "target" "port"]
        "The part of new clients that pick this host first.";
    HOST_LIVE_SHARE Gauge Ratio "host_live_share" ["domain" "target" "port"]
        "The part of new clients that this host serves, given what is up.";
    HOSTS_UP Gauge Count "hosts_up" ["domain"]
        "How many of the domain's hosts answer; absent where none is known to and some cannot be told.";
    ENDPOINT_UP Gauge Truth "endpoint_up" ["target" "port" "address" "path"]
        "Whether the endpoint answers; absent where it cannot be told.";
    ENDPOINT_OUTCOME Gauge Info "endpoint_outcome" ["target" "port" "address" "path" "outcome"]
        "What came of the last probe.";
    ENDPOINT_CONNECT_DURATION Gauge Seconds "endpoint_connect_duration_seconds" ["target" "port" "address" "path"]
        "How long the last probe took to connect; absent where it could not.";
    ENDPOINT_BIND_DURATION Gauge Seconds "endpoint_bind_duration_seconds" ["target" "port" "address" "path"]
        "How long the last probe's RPC bind took; absent where no reply came.";
    RECORD_FIRST_SEEN Gauge Timestamp "record_first_seen_timestamp_seconds" ["domain" "target" "port"]
        "When some server of the domain showed the record first; outlives the record for a while (`vanished_for`).";
    RECORD_LAST_SEEN Gauge Timestamp "record_last_seen_timestamp_seconds" ["domain" "target" "port"]
        "When some server of the domain showed the record last; outlives the record for a while (`vanished_for`).";
    HOST_LAST_UP Gauge Timestamp "host_last_up_timestamp_seconds" ["target" "port"]
        "When an endpoint of the host answered last; outlives its records for a while (`vanished_for`).";
    FINDINGS Gauge Count "findings" ["domain" "check" "severity" "state"]
        "How many findings hit the domain; those that hit none have domain=\"\".";
    PROFILE_OK Gauge Truth "profile_ok" ["profile"]
        "Whether every product of the profile's clients finds a host that answers; absent where it cannot be told.";
    PROFILE_CLIENT_ERROR_INFO Gauge Info "profile_client_error_info" ["profile" "code"]
        "What the profile's clients show.";
    DOMAIN_LAST_AUDIT Gauge Timestamp "domain_last_audit_timestamp_seconds" ["domain"]
        "When the domain was last audited.";
    BUILD_INFO Gauge Info "build_info" ["version"]
        "The running version.";
    CONFIG_LAST_RELOAD_SUCCESSFUL Gauge Truth "config_last_reload_successful" []
        "Whether the running config is the one on disk.";
    CONFIG_LAST_RELOAD_SUCCESS Gauge Timestamp "config_last_reload_success_timestamp_seconds" []
        "When a config was last taken over.";
    DNS_QUERIES Counter Count "dns_queries_total" ["server" "outcome"]
        "Queries sent, by server and what came of them; retries count.";
    DNS_QUERY_DURATION Histogram Seconds "dns_query_duration_seconds" []
        "Round trips of answered queries.";
    PROBES Counter Count "probes_total" ["outcome"]
        "Probes, by what came of them.";
    SCHEDULE_LAG Gauge Seconds "schedule_lag_seconds" []
        "How late the scheduler was when it last looked.";
    JOURNAL_OK Gauge Truth "journal_ok" []
        "Whether the journal keeps what it is given; in memory alone, by the config, it does.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_end_in_their_unit_and_are_distinct() {
        for definition in ALL {
            let name = definition.name;
            let suffix = match (definition.kind, definition.unit) {
                (Kind::Counter, _) => "_total",
                (_, Unit::Seconds) => "_seconds",
                (_, Unit::Timestamp) => "_timestamp_seconds",
                _ => "",
            };
            assert!(name.ends_with(suffix), "{name} should end in {suffix}");
            assert!(!definition.labels.contains(&"zone"));
        }
        let names: HashSet<_> = ALL.iter().map(|definition| definition.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
