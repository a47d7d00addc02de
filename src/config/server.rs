//! The grammar of a server: `[tcp://]ADDRESS[:PORT]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use super::refusal::{Refusal, shown};
use crate::model::endpoint::DNS_PORT;
use crate::model::{Labels, Path, Resolver, Server, Transport, Upstream};

/// Reads a server as config and command line write it: `10.0.0.53`, `10.0.0.54:5353`,
/// `[2001:db8::53]`, `[fe80::1%eth0]`, `tcp://10.0.0.55`.
///
/// # Errors
/// A sentence that tells what is wrong and what to write instead.
pub fn parse_server(text: &str) -> Result<Server, String> {
    Ok(server(text)?)
}

/// A resolver of these servers over the default path; a server that is named twice is asked once.
pub fn resolver_of(name: &str, servers: &[Server]) -> Arc<Resolver> {
    resolver_over(name, servers, Path::default(), Labels::default())
}

/// A resolver of these servers over a path; a server that is named twice is asked once.
pub(super) fn resolver_over(
    name: &str,
    servers: &[Server],
    path: Path,
    labels: Labels,
) -> Arc<Resolver> {
    let mut upstreams: Vec<Arc<Upstream>> = Vec::with_capacity(servers.len());
    for server in servers {
        if upstreams.iter().all(|upstream| upstream.server != *server) {
            upstreams.push(Arc::new(Upstream { server: *server, path: path.clone() }));
        }
    }
    Arc::new(Resolver { name: name.into(), upstreams, path: Arc::new(path), labels, base: None })
}

/// Reads a server.
pub(super) fn server(text: &str) -> Result<Server, Refusal> {
    let (transport, rest) = match text.split_once("://") {
        None => (Transport::Udp, text),
        Some(("tcp", rest)) => (Transport::Tcp, rest),
        Some(("tls" | "https", _)) => return Err(later_transport(text)),
        Some(_) => return Err(no_server(text)),
    };
    let address = address(rest).unwrap_or_else(|| Err(no_server(text)))?;
    if address.port() == 0 {
        return Err(Refusal::new(
            format!("{} has port 0", shown(text)),
            "write a port from 1 to 65535, or none for 53",
        ));
    }
    check_unicast(text, address.ip())?;
    Ok(Server { transport, address })
}

/// Refuses addresses that are nobody's own.
pub(super) fn check_unicast(text: &str, ip: IpAddr) -> Result<(), Refusal> {
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Refusal::new(
            format!("{} is the address of no single machine", shown(text)),
            "write a unicast address such as \"10.0.0.53\"",
        ));
    }
    Ok(())
}

/// `None`: no address at all; an error: an address that needs something else.
fn address(text: &str) -> Option<Result<SocketAddr, Refusal>> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(Ok((ip, DNS_PORT).into()));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Some(Err(needs_brackets(text, ip)));
    }
    if let Some(inner) = text.strip_prefix('[') {
        return address_v6(inner);
    }
    let (ip, port) = text.rsplit_once(':')?;
    Some(Ok((ip.parse::<Ipv4Addr>().ok()?, parse_port(port)?).into()))
}

/// Without them, nobody can tell the address from its port.
pub(super) fn needs_brackets(text: &str, ip: Ipv6Addr) -> Refusal {
    Refusal::new(format!("{} needs brackets", shown(text)), format!("write \"[{ip}]\""))
}

/// What follows an opening bracket.
fn address_v6(inner: &str) -> Option<Result<SocketAddr, Refusal>> {
    let (address, tail) = inner.split_once(']')?;
    let port = match tail.strip_prefix(':') {
        Some(port) => parse_port(port)?,
        None if tail.is_empty() => DNS_PORT,
        None => return None,
    };
    let (ip, scope) = match address.split_once('%') {
        Some((ip, scope)) => (ip, Some(scope)),
        None => (address, None),
    };
    let ip: Ipv6Addr = ip.parse().ok()?;
    if let Some(ipv4) = ip.to_ipv4_mapped() {
        let advice = format!("write \"{ipv4}\"");
        return Some(Err(Refusal::new(format!("[{ip}] is an IPv4 address in disguise"), advice)));
    }
    Some(scope_id(ip, scope).map(|id| SocketAddrV6::new(ip, port, 0, id).into()))
}

/// Digits only: `+53` is no port.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The index of the interface that a link-local address needs; 0 for every other one.
fn scope_id(ip: Ipv6Addr, scope: Option<&str>) -> Result<u32, Refusal> {
    match (ip.is_unicast_link_local(), scope) {
        (false, None) => Ok(0),
        (false, Some(_)) => Err(Refusal::new(
            format!("[{ip}] is not link-local and has no scope"),
            format!("write \"[{ip}]\""),
        )),
        (true, None) => Err(Refusal::new(
            format!("[{ip}] is link-local and needs a scope"),
            format!("write its interface too, such as \"[{ip}%eth0]\""),
        )),
        (true, Some(scope)) => interface_index(scope).ok_or_else(|| {
            Refusal::new(
                format!("this machine has no interface {}", shown(scope)),
                "write the name of one that \"ip link\" lists",
            )
        }),
    }
}

fn interface_index(scope: &str) -> Option<u32> {
    let index = match scope.parse() {
        Ok(index) => index,
        Err(_) => nix::net::if_::if_nametoindex(scope).ok()?,
    };
    (index != 0).then_some(index)
}

fn later_transport(text: &str) -> Refusal {
    Refusal::new(
        format!("{}: tls:// and https:// are not in this version", shown(text)),
        "write \"ADDRESS[:PORT]\" for UDP or \"tcp://ADDRESS[:PORT]\"",
    )
}

fn no_server(text: &str) -> Refusal {
    Refusal::new(
        format!("{} is no server address", shown(text)),
        "write an IP address such as \"10.0.0.53\", \"10.0.0.54:5353\", \"[2001:db8::53]\" or \
         \"tcp://10.0.0.55\"",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn servers_are_read_as_written() {
        for text in [
            "10.0.0.53",
            "10.0.0.54:5353",
            "[2001:db8::53]",
            "[2001:db8::53]:5353",
            "tcp://10.0.0.55",
            "tcp://[2001:db8::53]:54",
        ] {
            assert_eq!(parse_server(text).map(|server| server.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(parse_server("10.0.0.53:53"), parse_server("10.0.0.53"));
    }

    #[test]
    fn a_link_local_server_needs_an_interface_that_exists() {
        let by_name = parse_server("[fe80::1%lo]").expect("every Linux has lo");
        let by_index = parse_server(&by_name.to_string());
        assert_eq!(by_index, Ok(by_name));
        assert_eq!(
            parse_server("[fe80::1]").unwrap_err(),
            "[fe80::1] is link-local and needs a scope; \
             write its interface too, such as \"[fe80::1%eth0]\""
        );
        assert_eq!(
            parse_server("[fe80::1%no-such-if]").unwrap_err(),
            "this machine has no interface \"no-such-if\"; \
             write the name of one that \"ip link\" lists"
        );
    }

    #[test]
    fn wrong_servers_are_refused_with_what_to_write() {
        let no_server = "is no server address; write an IP address such as \"10.0.0.53\", \
                         \"10.0.0.54:5353\", \"[2001:db8::53]\" or \"tcp://10.0.0.55\"";
        for wrong in [
            "",
            " 10.0.0.1",
            "dns.contoso.com",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "10.0.0.1:+5",
            "[::1",
            "[::1]x",
            "udp://10.0.0.1",
            "10.0.0",
            "[10.0.0.1]",
            "tcp://",
        ] {
            assert_eq!(parse_server(wrong).unwrap_err(), format!("{wrong:?} {no_server}"));
        }
        let refused = |text| parse_server(text).unwrap_err();
        assert_eq!(
            refused("2001:db8::53"),
            "\"2001:db8::53\" needs brackets; write \"[2001:db8::53]\""
        );
        assert_eq!(
            refused("[::ffff:10.0.0.1]"),
            "[::ffff:10.0.0.1] is an IPv4 address in disguise; write \"10.0.0.1\""
        );
        assert_eq!(
            refused("[::1%lo]"),
            "[::1] is not link-local and has no scope; write \"[::1]\""
        );
        assert_eq!(
            refused("10.0.0.1:0"),
            "\"10.0.0.1:0\" has port 0; write a port from 1 to 65535, or none for 53"
        );
        assert_eq!(
            refused("0.0.0.0"),
            "\"0.0.0.0\" is the address of no single machine; write a unicast address such as \
             \"10.0.0.53\""
        );
        assert_eq!(
            refused("tls://10.0.0.56#dns.contoso.com"),
            "\"tls://10.0.0.56#dns.contoso.com\": tls:// and https:// are not in this version; \
             write \"ADDRESS[:PORT]\" for UDP or \"tcp://ADDRESS[:PORT]\""
        );
    }

    #[test]
    fn a_resolver_asks_each_server_once() {
        let server = parse_server("10.0.0.53").expect("valid");
        assert_eq!(resolver_of("r", &[server, server]).upstreams.len(), 1);
    }

    proptest! {
        #[test]
        fn what_reads_shows_and_reads_the_same(text in "(tcp://)?([0-9.:]{0,16}|\\[[0-9a-f:%]{0,12}\\](:[0-9]{0,5})?)|\\PC{0,20}") {
            if let Ok(server) = parse_server(&text) {
                prop_assert_eq!(parse_server(&server.to_string()), Ok(server));
            }
        }
    }
}
