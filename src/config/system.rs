//! What the machine itself uses: its resolver configuration.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::config::ResolverConfig;
use hickory_resolver::system_conf::read_system_conf;

use super::server::resolver_of;
use crate::model::endpoint::DNS_PORT;
use crate::model::{Name, Resolver, Server, Transport};

/// The machine's own resolver and where its clients look.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    /// Its name is `system`.
    pub resolver: Arc<Resolver>,
    /// The search list, in its order, each name once; empty where the machine has none.
    pub suffixes: Vec<Name>,
}

/// Reads the system's resolver configuration (`/etc/resolv.conf`): servers, and the search list or
/// else the machine's own domain. Timeouts and attempts are not taken over: they are the config's.
///
/// # Errors
/// A sentence, where it cannot be read or names no server that can be asked.
pub fn system_resolver() -> Result<SystemResolver, String> {
    let (config, _options) = read_system_conf()
        .map_err(|error| format!("the system's resolver configuration cannot be read: {error}"))?;
    system_of(&config)
}

/// How the system is read; tests read another one.
pub(super) type ReadSystem = fn() -> Result<SystemResolver, String>;

fn system_of(config: &ResolverConfig) -> Result<SystemResolver, String> {
    let addresses = config.name_servers().iter().map(|server| server.ip);
    let servers: Vec<Server> = addresses
        .filter(|ip| is_usable(*ip))
        .map(|ip| Server { transport: Transport::Udp, address: SocketAddr::new(ip, DNS_PORT) })
        .collect();
    if servers.is_empty() {
        return Err(
            "the system's resolver configuration names no server with an address that can \
                    be asked"
                .to_owned(),
        );
    }
    let own = config.domain().filter(|_| config.search().is_empty());
    let mut suffixes = Vec::new();
    for suffix in config.search().iter().chain(own) {
        // The root, or what no SRV record can stand below, is no domain of clients.
        match Name::parse_domain(&suffix.to_ascii()) {
            Ok(name) if !suffixes.contains(&name) => suffixes.push(name),
            _ => {}
        }
    }
    Ok(SystemResolver { resolver: resolver_of(SYSTEM, &servers), suffixes })
}

/// The name of the resolver that no config gives.
const SYSTEM: &str = "system";

/// A link-local address without its scope, which hickory drops, cannot be asked.
fn is_usable(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !matches!(ip, IpAddr::V6(ip) if Ipv6Addr::is_unicast_link_local(&ip))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::system_conf::parse_resolv_conf;

    use super::*;

    fn read(text: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let (config, _) = parse_resolv_conf(text).map_err(|error| error.to_string())?;
        let system = system_of(&config)?;
        assert_eq!(&*system.resolver.name, "system");
        let servers = system.resolver.upstreams.iter().map(|upstream| upstream.server.to_string());
        Ok((servers.collect(), system.suffixes.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn servers_and_search_list_are_taken_each_once() {
        let text = "nameserver 10.0.0.1\nnameserver 2001:db8::1\nnameserver 10.0.0.1\n\
                    nameserver fe80::1\nsearch East.Contoso.com contoso.com east.contoso.com .\n";
        let servers = ["10.0.0.1", "[2001:db8::1]"].map(str::to_owned).to_vec();
        let suffixes = ["east.contoso.com", "contoso.com"].map(str::to_owned).to_vec();
        assert_eq!(read(text), Ok((servers, suffixes)));
    }

    #[test]
    fn the_domain_stands_in_for_a_search_list() {
        let text = "nameserver 10.0.0.1\ndomain contoso.com\n";
        assert_eq!(read(text).map(|(_, suffixes)| suffixes), Ok(vec!["contoso.com".to_owned()]));
    }

    #[test]
    fn a_configuration_without_usable_server_is_refused() {
        assert_eq!(
            read("nameserver fe80::1\n"),
            Err("the system's resolver configuration names no server with an address that can be \
                 asked"
                .to_owned())
        );
    }
}
