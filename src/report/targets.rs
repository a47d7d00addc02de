//! The published hosts as Prometheus discovers them (`http_sd_config`).

use serde::Serialize;

use crate::model::snapshot::HostView;
use crate::model::{Name, Snapshot};

/// A target group for each host: `[{"targets": ["host:port"], "labels": {"__meta_kmswatch_…": …}}]`.
///
/// A name that could not stand in a target's address is left out: DNS may hold any byte there, and
/// such a host is a finding, not a target.
pub fn targets(snapshot: &Snapshot) -> impl Serialize {
    let hosts = snapshot.hosts.iter().filter(|view| is_host_name(&view.host.target));
    hosts.map(|view| Group::of(view)).collect::<Vec<_>>()
}

#[derive(Serialize)]
struct Group {
    targets: [String; 1],
    labels: Labels,
}

#[derive(Serialize)]
struct Labels {
    #[serde(rename = "__meta_kmswatch_target")]
    target: String,
    #[serde(rename = "__meta_kmswatch_port")]
    port: String,
    #[serde(rename = "__meta_kmswatch_status")]
    status: &'static str,
    /// With a comma before and after each, as lists in Prometheus' own discoveries have it.
    #[serde(rename = "__meta_kmswatch_domains")]
    domains: String,
}

impl Group {
    fn of(view: &HostView) -> Self {
        let names: Vec<&str> = view.domains.iter().map(Name::as_str).collect();
        Self {
            targets: [view.host.to_string()],
            labels: Labels {
                target: view.host.target.to_string(),
                port: view.host.port.to_string(),
                status: view.status.as_str(),
                domains: format!(",{},", names.join(",")),
            },
        }
    }
}

fn is_host_name(name: &Name) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_root() && name.as_str().bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::snapshot::HostStatus;
    use crate::report::fixture;

    #[test]
    fn each_host_is_a_target_that_knows_its_domains() {
        let mut snapshot = fixture::troubled();
        snapshot.hosts.push(Arc::new(HostView {
            host: crate::model::Host {
                target: Name::from_labels([b"a/b".as_slice(), b"test"].into_iter()),
                port: 1688,
            },
            status: HostStatus::Up,
            paths: Vec::new(),
            last_up: None,
            domains: Vec::new(),
            endpoints: Vec::new(),
        }));
        let found = serde_json::to_value(targets(&snapshot)).expect("JSON");
        let found = found.as_array().expect("a list");
        assert_eq!(found.len(), 4, "a slash is no part of an address");
        assert_eq!(
            found[3],
            json!({
                "targets": ["kms-n2.north.example:1688"],
                "labels": {
                    "__meta_kmswatch_target": "kms-n2.north.example",
                    "__meta_kmswatch_port": "1688",
                    "__meta_kmswatch_status": "down",
                    "__meta_kmswatch_domains": ",north.example,south.example,",
                },
            })
        );
    }
}
