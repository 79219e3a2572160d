//! What `labgate explain FROM TO[:PORT]` asks: names as a person writes them → ends of a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::services::Protocol;
use crate::config::{Config, nearest};

/// A question: may FROM open a connection to TO?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks, as written.
    pub from_text: String,
    /// Who is asked, as written, without the port.
    pub to_text: String,
    /// Who asks.
    pub from: Party,
    /// Who is asked.
    pub to: Party,
    /// By which protocol.
    pub protocol: Protocol,
    /// At which port; `None` asks for all of them.
    pub port: Option<u16>,
}

/// One side of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// A host of the file, by index.
    Host(usize),
    /// Some unnamed device of a network, by index.
    Network(usize),
    /// Anybody beyond the uplink.
    Internet,
    /// This machine.
    Router,
    /// An outside name that a rule mentions, by index.
    Name(usize),
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// An IPv6 address.
    Address6(Ipv6Addr),
}

/// Why a question cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A name the file does not have.
    #[error("`{0}` is no host, alias, network, outside name, address or device with a lease{1}")]
    UnknownName(String, String),
    /// A protocol other than the three.
    #[error("`{0}` is no protocol; one of tcp, udp, icmp")]
    UnknownProtocol(String),
    /// A port that is none.
    #[error("`{0}` is no port; a port is a number from 1 to 65535")]
    BadPort(String),
    /// ICMP with a port.
    #[error("icmp has no ports")]
    IcmpPort,
}

impl Query {
    /// Reads a question: `from` and `to` are a host, an alias, a network, `internet`, `router`, an address, or else a device that `leased`
    /// knows by the name it told with its lease, in small letters; `to` may end in `:PORT`.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(
        config: &Config,
        leased: impl Fn(&str) -> Option<Ipv4Addr>,
        (from, to): (&str, &str),
        protocol: &str,
    ) -> Result<Query, QueryError> {
        let (to_text, port) = split_port(to)?;
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" | "ping" if port.is_some() => return Err(QueryError::IcmpPort),
            "icmp" | "ping" => Protocol::Icmp,
            _ => return Err(QueryError::UnknownProtocol(protocol.to_owned())),
        };
        Ok(Query {
            from: party(config, &leased, from)?,
            to: party(config, &leased, to_text)?,
            from_text: from.to_owned(),
            to_text: to_text.to_owned(),
            protocol,
            port,
        })
    }
}

/// `nas:443`, `[2001:db8::1]:443`, `192.168.1.10:443`; a bare IPv6 address has no port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), QueryError> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let number = |port: &str| port.parse().ok().filter(|port| *port != 0).ok_or(QueryError::BadPort(port.to_owned()));
    Ok((name, port.map(number).transpose()?))
}

fn party(config: &Config, leased: impl Fn(&str) -> Option<Ipv4Addr>, text: &str) -> Result<Party, QueryError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(match address {
            IpAddr::V4(address) if config.networks.iter().any(|network| network.router() == address) => Party::Router,
            IpAddr::V4(address) => Party::Address(address),
            IpAddr::V6(address) => Party::Address6(address),
        });
    }
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "internet" => return Ok(Party::Internet),
        "router" => return Ok(Party::Router),
        _ => {}
    }
    let named = |name: &str| name == lower || lower == format!("{name}.{}", config.gateway.domain);
    if named(config.gateway.name.as_str()) {
        return Ok(Party::Router);
    }
    if let Some(index) = config.networks.iter().position(|network| *network.name == *lower) {
        return Ok(Party::Network(index));
    }
    let host = config
        .hosts
        .iter()
        .position(|host| named(&host.name) || host.aliases.iter().any(|alias| named(alias.as_str())));
    let absolute = lower.strip_suffix('.').unwrap_or(&lower);
    let outside = || config.outside_names.iter().position(|outside| outside.name.as_str() == absolute);
    host.map(Party::Host)
        .or_else(|| outside().map(Party::Name))
        .or_else(|| leased(absolute).map(Party::Address))
        .ok_or_else(|| QueryError::UnknownName(text.to_owned(), near(config, &lower)))
}

/// The known name that was perhaps meant, as a further sentence.
fn near(config: &Config, text: &str) -> String {
    let names = config.hosts.iter().map(|host| &*host.name).chain(config.networks.iter().map(|network| &*network.name));
    nearest(text, names.chain(["internet", "router"])).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::testing::{config, host, outside_name};

    #[test]
    fn names_ports_and_addresses() {
        let mut config = config();
        config.hosts = vec![host("nas", Some([192, 168, 1, 10]))];
        let leased = |name: &str| (name == "laptop").then_some(Ipv4Addr::new(192, 168, 1, 136));
        let parse = |to: &str, protocol: &str| Query::parse(&config, leased, ("iot", to), protocol);
        let nas = parse("nas:443", "tcp").unwrap();
        assert_eq!((nas.from, nas.to, nas.port), (Party::Network(1), Party::Host(0), Some(443)));
        assert_eq!(parse("NAS.home.arpa", "udp").unwrap().to, Party::Host(0));
        assert_eq!(parse("[2001:db8::1]:22", "tcp").unwrap().port, Some(22));
        assert_eq!(parse("2001:db8::22", "tcp").unwrap().port, None);
        assert_eq!(parse("192.168.20.1:53", "udp").unwrap().to, Party::Router);
        assert_eq!(parse("gateway", "icmp").unwrap().to, Party::Router);
        assert_eq!(parse("Laptop:22", "tcp").unwrap().to, Party::Address(Ipv4Addr::new(192, 168, 1, 136)));
        config.outside_names = vec![outside_name("updates.example.net")];
        let leased = |name: &str| (name == "laptop").then_some(Ipv4Addr::new(192, 168, 1, 136));
        let parse = |to: &str, protocol: &str| Query::parse(&config, leased, ("iot", to), protocol);
        assert_eq!(parse("Updates.Example.net.:443", "tcp").unwrap().to, Party::Name(0));
        assert_eq!(parse("nas:0", "tcp"), Err(QueryError::BadPort("0".into())));
        assert_eq!(parse("nas:1", "icmp"), Err(QueryError::IcmpPort));
        assert_eq!(parse("nas", "gre"), Err(QueryError::UnknownProtocol("gre".into())));
        assert!(parse("nsa", "tcp").unwrap_err().to_string().ends_with("did you mean `nas`?"));
    }
}
