//! The grammar of a listed host: `host[:port][, priority, weight]`.

use super::refusal::{Refusal, no_url, shown};
use super::server::parse_port;
use crate::model::plan::ListedHost;
use crate::model::srv::KMS_PORT;
use crate::model::{Host, Name};

/// Reads a listed host such as `kms.contoso.com`, `kms.contoso.com:1689` or
/// `kms.contoso.com, 10, 75`; no port means 1688, no priority and weight means that they are not
/// compared.
///
/// # Errors
/// A sentence that tells what is wrong and what to write instead.
pub fn parse_listed_host(text: &str) -> Result<ListedHost, String> {
    Ok(listed_host(text)?)
}

/// The text that [`parse_listed_host`] reads as this host.
pub(super) fn format_listed_host(listed: &ListedHost) -> String {
    let host = &listed.host;
    match listed.priority_and_weight {
        Some((priority, weight)) => format!("{host}, {priority}, {weight}"),
        None => host.to_string(),
    }
}

/// Reads a listed host.
pub(super) fn listed_host(text: &str) -> Result<ListedHost, Refusal> {
    no_url(text, "kms.contoso.com:1688")?;
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let (host, priority_and_weight) = match fields[..] {
        [host] => (host, None),
        [host, priority, weight] => match (parse_port(priority), parse_port(weight)) {
            (Some(priority), Some(weight)) => (host, Some((priority, weight))),
            _ => return Err(no_priority(text)),
        },
        _ => return Err(no_priority(text)),
    };
    let (target, port) = match host.rsplit_once(':') {
        None => (host, KMS_PORT),
        Some((_, port)) if !(1..=u16::MAX).contains(&parse_port(port).unwrap_or(0)) => {
            return Err(Refusal::new(
                format!("{} has no valid port", shown(text)),
                "write a port from 1 to 65535, such as \"kms.contoso.com:1688\"",
            ));
        }
        Some((target, port)) => (target, parse_port(port).unwrap_or(KMS_PORT)),
    };
    Ok(ListedHost { host: Host { target: Name::parse(target)?, port }, priority_and_weight })
}

fn no_priority(text: &str) -> Refusal {
    Refusal::new(
        format!("{} has no priority and weight from 0 to 65535 after the host", shown(text)),
        "write \"host[:port]\" or \"host[:port], priority, weight\", such as \
         \"kms.contoso.com:1688, 10, 75\"",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_read_as_written() {
        let read = |text| parse_listed_host(text).map(|listed| format_listed_host(&listed));
        assert_eq!(read("KMS.contoso.com."), Ok("kms.contoso.com:1688".to_owned()));
        assert_eq!(
            read("kms-münchen:1689 ,0, 65535"),
            Ok("xn--kms-mnchen-eeb:1689, 0, 65535".to_owned())
        );
    }

    #[test]
    fn wrong_hosts_are_refused_with_what_to_write() {
        let refused = |text| parse_listed_host(text).unwrap_err();
        for wrong in ["a, 1", "a, 1, 2, 3", "a, x, 1", "a, 1, 65536", "a, -1, 0", "a,,"] {
            assert_eq!(
                refused(wrong),
                format!(
                    "{wrong:?} has no priority and weight from 0 to 65535 after the host; write \
                     \"host[:port]\" or \"host[:port], priority, weight\", such as \
                     \"kms.contoso.com:1688, 10, 75\""
                )
            );
        }
        for wrong in ["a:0", "a:", "a:70000", "::1"] {
            let expected = "has no valid port; write a port from 1 to 65535, such as \
                            \"kms.contoso.com:1688\"";
            if wrong != "::1" {
                assert_eq!(refused(wrong), format!("{wrong:?} {expected}"));
            }
        }
        assert_eq!(refused("10.0.0.1:1688"), "\"10.0.0.1\" is an address; write a DNS name");
        assert_eq!(refused(" "), "a name is empty; write a DNS name such as \"contoso.com\"");
        assert_eq!(
            refused("https://u:secret@h:1"),
            "\"https://u:***@h:1\" is no name but a URL or an account; write the name alone, such \
             as \"kms.contoso.com:1688\""
        );
    }

    proptest! {
        #[test]
        fn what_reads_shows_and_reads_the_same(text in "[a-z.]{1,9}(:[0-9]{1,5})?(, ?[0-9]{1,5}){0,2}|\\PC{0,20}") {
            if let Ok(listed) = parse_listed_host(&text) {
                prop_assert_eq!(parse_listed_host(&format_listed_host(&listed)), Ok(listed));
            }
        }
    }
}
