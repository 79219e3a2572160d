//! The addresses and ports that a home's file is about, and their edges: what packets are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use labgate::config::{Endpoint, PortRange, Service};
use labgate::firewall::Side;

use super::case::{Home, host6, provider};
use super::traffic::FIRST_PORT;

pub struct Places {
    pub ipv4: Vec<IpAddr>,
    pub ipv6: Vec<IpAddr>,
    pub ports: Vec<u16>,
}

impl Places {
    pub fn of(home: &Home) -> Places {
        let mut ipv4: Vec<Ipv4Addr> =
            [[8, 8, 8, 8], [8, 8, 4, 4], [203, 0, 113, 9], [255; 4]].map(Ipv4Addr::from).into();
        let mut ipv6: Vec<Ipv6Addr> =
            vec![Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9), Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 9)];
        for (number, _) in home.interfaces() {
            ipv6.extend([1, 0x10, 0x20].map(|host| host6(number, host)));
        }
        for network in &home.policy.networks {
            ipv4.extend([network.router, network.router, network.subnet.broadcast()]);
            ipv4.extend(network.subnet.hosts().filter(|address| *address != network.router).take(2));
            ipv4.extend(network.subnet.hosts().rfind(|address| *address != network.router));
        }
        for net in &home.around.uplink {
            ipv4.extend([net.addr(), net.addr(), net.broadcast()]);
            ipv4.extend(net.hosts().last());
        }
        ipv4.extend(provider(&home.around.uplink));
        for name in 0..home.config.outside_names.len() {
            ipv4.extend(home.around.hosts.of_name(name));
        }
        ipv4.extend((0..home.config.hosts.len()).filter_map(|host| home.around.hosts.get(host)));
        let mut ports = vec![22, 53, 67, 443];
        let firewall = &home.config.firewall;
        for rule in firewall.allow.iter().chain(&firewall.deny) {
            for end in rule.from.iter().chain(&rule.to) {
                edges(end, &mut ipv4, &mut ipv6);
            }
            for service in rule.services.iter().chain(&rule.except) {
                if let Service::Tcp(range) | Service::Udp(range) = service {
                    ports.extend(around(*range));
                }
            }
        }
        for group in &home.config.groups {
            group.members.iter().for_each(|end| edges(end, &mut ipv4, &mut ipv6));
        }
        for forward in &home.config.forwards {
            let ranges = [Some(forward.ports), forward.target_port.map(|port| PortRange { first: port, last: port })];
            ranges.into_iter().flatten().for_each(|range| ports.extend(around(range)));
        }
        ports.retain(|port| *port < FIRST_PORT || *port > FIRST_PORT + 5000);
        ipv4.retain(|address| {
            !address.is_loopback()
                && !address.is_multicast()
                && address.octets()[0] != 0
                && (address.octets()[0] < 240 || address.is_broadcast())
        });
        ipv6.retain(|address| (0x2000..0xfe00).contains(&address.segments()[0]));
        Places {
            ipv4: ipv4.into_iter().map(IpAddr::V4).collect(),
            ipv6: ipv6.into_iter().map(IpAddr::V6).collect(),
            ports,
        }
    }

    /// Those of one family on one side that may be a source there.
    pub fn on(&self, home: &Home, side: Side, ipv6: bool) -> Vec<IpAddr> {
        let all = if ipv6 { &self.ipv6 } else { &self.ipv4 };
        let here = |address: &IpAddr| home.around.side_of(&home.policy, *address) == Some(side);
        all.iter().copied().filter(|address| here(address) && !home.is_everybody(*address)).collect()
    }
}

/// The first and last addresses of an end, and those just outside.
fn edges(end: &Endpoint, ipv4: &mut Vec<Ipv4Addr>, ipv6: &mut Vec<Ipv6Addr>) {
    match end {
        Endpoint::Cidr(IpNet::V4(net)) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            ipv4.extend(all.map(Ipv4Addr::from));
        }
        Endpoint::Cidr(IpNet::V6(net)) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            let all = [first.wrapping_sub(1), first.wrapping_add(2), last, last.wrapping_add(1)];
            ipv6.extend(all.map(Ipv6Addr::from));
        }
        _ => {}
    }
}

fn around(range: PortRange) -> [u16; 4] {
    [range.first.saturating_sub(1).max(1), range.first.max(1), range.last, range.last.saturating_add(1)]
}
