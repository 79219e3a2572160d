//! A case: a configuration, the addresses that come from elsewhere, and packets. As text it is the configuration with comments at its end:
//!
//! ```text
//! # lease phone 192.168.1.130
//! # lease www.example.net 198.51.100.80
//! # uplink 203.0.113.5/24
//! # packet eth1 192.168.1.130 > 8.8.8.8 tcp 20001 443 S
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use labgate::config::{self, Config};
use labgate::firewall::{HostAddresses, Policy, Side, Surroundings};

use super::packets::Packet;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Case {
    /// The configuration, without the comments above.
    pub text: String,
    /// Which host holds which lease, and which outside name has which addresses.
    pub leases: Vec<(String, Ipv4Addr)>,
    /// Addresses of the uplink, in the order in which they are given to it.
    pub uplink: Vec<Ipv4Net>,
    pub packets: Vec<Packet>,
}

/// A case whose configuration is valid, with what follows from it.
pub struct Home {
    pub config: Config,
    pub policy: Policy,
    pub around: Surroundings,
}

impl Case {
    /// `None` where the configuration is refused.
    pub fn home(&self) -> Option<Home> {
        let source = config::Source { name: "labgate.toml".into(), text: self.text.clone().into_bytes() };
        let config = config::check(&[source]).config?;
        let policy = Policy::compile(&config);
        let reserved: Vec<_> = config.hosts.iter().map(|host| host.ip).collect();
        let lease = |name: &str| self.leases.iter().find(|(host, _)| host == name).map(|(_, address)| *address);
        let leased: Vec<_> = config.hosts.iter().map(|host| lease(&host.name)).collect();
        let addresses = |name: &str| -> Vec<Ipv4Addr> {
            self.leases.iter().filter(|(host, _)| host == name).map(|(_, address)| *address).collect()
        };
        let names = config.outside_names.iter().map(|outside| addresses(outside.name.as_str()));
        let hosts = HostAddresses::new(&reserved, &leased).with_names(names);
        let mut around = Surroundings { hosts, ..Surroundings::default() };
        if policy.uplink.is_some() {
            around.uplink.clone_from(&self.uplink);
            around.routes6.push((Ipv6Net::default(), Side::Internet));
        }
        let home = Home { config, policy, around };
        let ends: Vec<(usize, Side)> = home.interfaces().collect();
        let mut around = home.around.clone();
        for (number, side) in ends {
            around.routes6.push((prefix6(number), side));
            around.routers6.extend([host6(number, 1), prefix6(number).network()]);
        }
        Some(Home { around, ..home })
    }

    /// The same with other packets.
    pub fn with_packets(&self, packets: Vec<Packet>) -> Case {
        Case { packets, ..self.clone() }
    }
}

impl Home {
    /// The interfaces there are, by number, with their sides.
    pub fn interfaces(&self) -> impl Iterator<Item = (usize, Side)> + '_ {
        let uplink = self.policy.uplink.iter().map(|uplink| (number(&uplink.interface), Side::Internet));
        let networks = self.policy.networks.iter().enumerate();
        uplink.chain(networks.map(|(index, network)| (number(&network.interface), Side::Network(index))))
    }

    /// The side behind an interface; `None` where the home has no such interface.
    pub fn side(&self, arrives: Option<usize>) -> Option<Side> {
        match arrives {
            None => Some(Side::Router),
            Some(wanted) => self.interfaces().find(|(number, _)| *number == wanted).map(|(_, side)| side),
        }
    }

    /// The interface before a side; `None` for the router itself.
    pub fn interface(&self, wanted: Side) -> Option<usize> {
        self.interfaces().find(|(_, side)| *side == wanted).map(|(number, _)| number)
    }

    /// Whether an address is the anycast address of the routers on a link: a kernel never sends from it.
    pub fn is_anycast(&self, address: IpAddr) -> bool {
        let mut prefixes = self.interfaces().map(|(number, _)| prefix6(number).network());
        prefixes.any(|prefix| address == prefix)
    }

    /// Whether an address stands for everybody on a link: no kernel answers such a packet with an error.
    pub fn is_everybody(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return address.is_multicast() };
        let mut nets = self.around.uplink.iter().chain(self.policy.networks.iter().map(|network| &network.subnet));
        address.is_broadcast() || address.is_multicast() || nets.any(|net| net.broadcast() == address)
    }
}

fn number(interface: &str) -> usize {
    let number = interface.strip_prefix("eth").and_then(|number| number.parse().ok());
    number.expect("interfaces of these cases are called eth0, eth1, …")
}

/// The IPv6 prefix of the link on an interface.
pub fn prefix6(number: usize) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, number as u16, 0, 0, 0, 0, 0), 64)
}

/// A host on that link; the router itself is number 1, and 0 by the anycast address of its prefix.
pub fn host6(number: usize, host: u16) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(prefix6(number).network()) | u128::from(host))
}

/// The provider's router: the first address of the uplink's first network that is not ours.
pub fn provider(uplink: &[Ipv4Net]) -> Option<Ipv4Addr> {
    uplink.first()?.hosts().find(|address| uplink.iter().all(|net| net.addr() != *address))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        for (host, address) in &self.leases {
            writeln!(f, "# lease {host} {address}")?;
        }
        for net in &self.uplink {
            writeln!(f, "# uplink {net}")?;
        }
        for packet in &self.packets {
            writeln!(f, "# packet {packet}")?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Case { text: String::new(), leases: Vec::new(), uplink: Vec::new(), packets: Vec::new() };
        for line in text.lines() {
            let wrong = || format!("cannot be read: {line}");
            match line.strip_prefix("# ").and_then(|words| words.split_once(' ')) {
                Some(("lease", words)) => {
                    let (host, address) = words.split_once(' ').ok_or_else(wrong)?;
                    case.leases.push((host.to_owned(), address.parse().map_err(|_| wrong())?));
                }
                Some(("uplink", net)) => case.uplink.push(net.parse().map_err(|_| wrong())?),
                Some(("packet", words)) => case.packets.push(words.parse()?),
                _ => case.text += &format!("{line}\n"),
            }
        }
        Ok(case)
    }
}
