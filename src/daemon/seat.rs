//! Whether a profile's clients can be played from this machine at all. Sends nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{Domain, Socket, Type};

use crate::model::observation::{in_words, not_here};
use crate::model::preflight::Seat;
use crate::model::{Path, Profile};

/// Looks at this machine for a profile's path.
pub(super) fn seat(profile: &Profile) -> Seat {
    let path = profile.path();
    if let Some(obstacle) = obstacle(path) {
        return Seat { obstacle: Some(obstacle.into()), ..Seat::default() };
    }
    let addresses = addresses();
    let server = profile.resolver.upstreams.first().map(|upstream| upstream.server.address);
    let source = path.source.or_else(|| leaves_from(path, server?).ok());
    let has = |wanted: &dyn Fn(IpAddr) -> bool| addresses.iter().find(|(_, ip)| wanted(*ip));
    let interface = source.and_then(|source| has(&|ip| ip == source));
    let within =
        profile.subnet.and_then(|subnet| has(&|ip| subnet.contains(&ip) && reaches(ip, server)));
    Seat {
        obstacle: None,
        source,
        interface: interface.map(|(name, _)| name.clone()),
        within: within.map(|(_, ip)| *ip),
    }
}

/// What is of the other family cannot ask the server.
fn reaches(ip: IpAddr, server: Option<SocketAddr>) -> bool {
    server.is_none_or(|server| server.is_ipv4() == ip.is_ipv4())
}

/// Why nothing can leave over this path.
fn obstacle(path: &Path) -> Option<String> {
    if let Some(interface) = path.interface.as_deref().filter(|name| if_nametoindex(*name).is_err())
    {
        return Some(not_here(format_args!("interface {interface}")));
    }
    if let Some(trouble) = path.interface.as_deref().and_then(link_trouble) {
        return Some(trouble);
    }
    let source = path.source?;
    match UdpSocket::bind(SocketAddr::new(source, 0)) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Some(not_here(format_args!("source {source}")))
        }
        Err(error) => Some(format!("the source {source} cannot be used: {}", in_words(&error))),
    }
}

/// Why an interface that is there sends nothing.
fn link_trouble(interface: &str) -> Option<String> {
    let mut all = getifaddrs().ok()?;
    let flags = all.find(|address| address.interface_name == interface)?.flags;
    let is = |flag| flags.contains(flag);
    match (is(InterfaceFlags::IFF_UP), is(InterfaceFlags::IFF_RUNNING)) {
        (false, _) => Some(format!("the interface {interface} is down")),
        (true, false) => Some(format!("the interface {interface} has no link")),
        (true, true) => None,
    }
}

/// The address that the kernel picks towards a server; to connect a datagram socket sends nothing.
fn leaves_from(path: &Path, server: SocketAddr) -> io::Result<IpAddr> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
    if let Some(interface) = &path.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.connect(&server.into())?;
    let local = socket.local_addr()?.as_socket();
    local.map(|local| local.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Every address of this machine with its interface; none where the kernel does not say.
fn addresses() -> Vec<(String, IpAddr)> {
    let named = |address: InterfaceAddress| {
        let socket = address.address?;
        let ip = match (socket.as_sockaddr_in(), socket.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::from(v4.ip()),
            (_, Some(v6)) => IpAddr::from(v6.ip()),
            (None, None) => return None,
        };
        Some((address.interface_name, ip))
    };
    getifaddrs().map(|all| all.filter_map(named).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn path(source: &str, interface: Option<&str>) -> Path {
        Path { source: source.parse().ok(), interface: interface.map(Arc::from), ..Path::default() }
    }

    #[test]
    fn what_this_machine_lacks_is_told() {
        assert_eq!(obstacle(&path("127.99.1.2", Some("lo"))), None, "all of 127.0.0.0/8 is here");
        assert_eq!(
            obstacle(&path("192.0.2.1", None)).as_deref(),
            Some("the source 192.0.2.1 is not on this machine")
        );
        assert_eq!(
            obstacle(&path("127.0.0.1", Some("no-such-if"))).as_deref(),
            Some("the interface no-such-if is not on this machine")
        );
    }

    #[test]
    fn an_address_within_is_of_the_family_of_the_servers() {
        let of = |server: [u8; 4]| Some(SocketAddr::from((server, 53)));
        assert!(reaches([10, 0, 0, 1].into(), of([10, 0, 0, 53])));
        assert!(!reaches(std::net::Ipv6Addr::LOCALHOST.into(), of([10, 0, 0, 53])));
        assert!(reaches(std::net::Ipv6Addr::LOCALHOST.into(), None));
    }

    #[test]
    fn the_kernel_tells_where_it_would_send_from() {
        let server = SocketAddr::from(([127, 3, 2, 1], 53));
        let from = leaves_from(&Path::default(), server).expect("loopback is up");
        assert!(from.is_loopback());
        assert!(addresses().contains(&("lo".to_owned(), [127, 0, 0, 1].into())));
    }
}
