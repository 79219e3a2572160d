//! A packet of a set, chosen so that a person knows it, in words; and which line decides about it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    FAMILY, FROM_LOWER, FROM_SIDE, FROM_UPPER, GATEWAY, INTERNET, IPV6, LEASED, NAMED, PUBLIC, PacketSet, Point,
    ROUTER, Range, Reach, SERVICE, Space, TO_LOWER, TO_SIDE, TO_UPPER,
};
use crate::firewall::permissions::{ICMP, ICMPV6, TCP, UDP};
use crate::firewall::policy::Verdict;
use crate::firewall::reach::Diagrams;

/// A packet in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Who sends it: `cam (192.168.20.44)`.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `tcp/443`, `icmp`, `protocol 47`.
    pub service: String,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.service)
    }
}

/// Why a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A rule, by index into [`crate::firewall::Policy::rules`].
    Rule(usize),
    /// A port forward, by index.
    Forward(usize),
    /// No rule is asked.
    Unruled,
    /// It is free unless a rule denies it.
    Free,
}

impl Reach<'_> {
    /// A packet of `set`, one that a person would think of where there is such; `None` where the set is empty.
    pub fn witness(&self, all: &Diagrams, set: PacketSet) -> Option<Point> {
        all.pick(set, |field, point| self.space.familiar(field, point))
    }

    /// Why a packet of [`Reach::allowed`] passes.
    pub fn why_allowed(&self, all: &Diagrams, point: &Point) -> Why {
        if all.contains(self.unruled, point) {
            return Why::Unruled;
        }
        if let Some(forward) = self.forward_of(all, point) {
            return Why::Forward(forward);
        }
        self.rule_saying(all, point, Verdict::Allow).map_or(Why::Free, Why::Rule)
    }

    /// The rule that denies a packet.
    pub fn why_denied(&self, all: &Diagrams, point: &Point) -> Option<usize> {
        self.rule_saying(all, point, Verdict::Deny)
    }

    fn rule_saying(&self, all: &Diagrams, point: &Point, verdict: Verdict) -> Option<usize> {
        let says = |(index, set): &(usize, &PacketSet)| {
            self.space.policy.rules[*index].verdict == verdict && all.contains(**set, point)
        };
        self.rules.iter().enumerate().find(says).map(|(index, _)| index)
    }

    fn forward_of(&self, all: &Diagrams, point: &Point) -> Option<usize> {
        if (point[TO_SIDE], point[TO_LOWER]) == (ROUTER, PUBLIC) {
            let forwards = &self.space.policy.forwards;
            return forwards.iter().position(|forward| {
                super::forwards::transport_ranges(forward, forward.ports)
                    .iter()
                    .any(|range| range.0 <= point[SERVICE] && point[SERVICE] <= range.1)
            });
        }
        let outside = point[FROM_SIDE] == INTERNET;
        self.forwards.iter().position(|set| outside && all.contains(*set, point))
    }
}

impl Space<'_> {
    /// Values of a field that people know: hosts of the file, first addresses of pools, ports of common services.
    pub fn familiar(&self, field: usize, point: &Point) -> Vec<u64> {
        match field {
            FROM_UPPER | TO_UPPER if point[FAMILY] == IPV6 => vec![0x2001_0db8_0000_0000, 0xfd00_0000_0000_0000],
            FROM_LOWER | TO_LOWER if point[FAMILY] == IPV6 => vec![1],
            FROM_LOWER => self.familiar_addresses(point[FROM_SIDE], point[FROM_UPPER]),
            TO_LOWER => self.familiar_addresses(point[TO_SIDE], point[TO_UPPER]),
            SERVICE => {
                let port = |protocol: u8, port: u64| u64::from(protocol) << 16 | port;
                let tcp = [443, 80, 22, 1].map(|number| port(TCP, number));
                let echo = [port(ICMP, 8 << 8), port(ICMPV6, 128 << 8)];
                [&tcp[..], &[53, 1].map(|number| port(UDP, number)), &echo].concat()
            }
            _ => Vec::new(),
        }
    }

    fn familiar_addresses(&self, side: u64, upper: u64) -> Vec<u64> {
        let number = |address: Ipv4Addr| u64::from(u32::from(address));
        if side == INTERNET {
            return [[203, 0, 113, 9], [198, 51, 100, 9], [192, 0, 2, 9], [9, 9, 9, 9]]
                .map(|at| number(at.into()))
                .to_vec();
        }
        let Some(network) = self.network(side).filter(|_| upper == 0) else { return Vec::new() };
        let network = &self.policy.networks[network];
        let hosts = (0..self.policy.hosts.len()).filter_map(|host| self.address_of(host));
        let hosts = hosts.filter(|address| network.subnet.contains(address)).take(64);
        hosts.chain(network.pools.iter().map(|pool| pool.0)).map(number).collect()
    }

    /// Where a host is, as far as this space knows.
    fn address_of(&self, host: usize) -> Option<Ipv4Addr> {
        self.hosts.map_or(self.policy.hosts[host].reserved, |hosts| hosts.get(host))
    }

    /// The name of the host at an address.
    pub fn host_at(&self, address: Ipv4Addr) -> Option<&str> {
        let host = match self.hosts {
            Some(hosts) => hosts.host_at(address),
            None => self.policy.hosts.iter().position(|host| host.reserved == Some(address)),
        };
        host.map(|host| &*self.policy.hosts[host].name)
    }

    /// A packet in words.
    pub fn words(&self, point: &Point) -> Witness {
        let family = point[FAMILY];
        Witness {
            from: self.end_words(family, point[FROM_SIDE], point[FROM_UPPER], point[FROM_LOWER]),
            to: self.end_words(family, point[TO_SIDE], point[TO_UPPER], point[TO_LOWER]),
            service: service_words(point[SERVICE]),
        }
    }

    fn end_words(&self, family: u64, side: u64, upper: u64, lower: u64) -> String {
        let network = self.network(side).map(|index| &self.policy.networks[index].name);
        let beside = |address: String| match network {
            Some(name) => format!("{address} ({name})"),
            None => address,
        };
        match (side, family, upper) {
            (ROUTER, _, _) if lower == GATEWAY => "router".to_owned(),
            (ROUTER, _, _) => "the router's public address".to_owned(),
            (_, IPV6, _) => beside(Ipv6Addr::from(u128::from(upper) << 64 | u128::from(lower)).to_string()),
            (_, _, LEASED) => {
                let host = self.policy.hosts.get(Space::leased_host(lower)).map_or("a host", |host| &*host.name);
                format!("{host} (with a lease of {})", network.map_or("some network", |name| name))
            }
            (_, _, NAMED) => {
                self.policy.outside_names.get(lower as usize).map_or("a name", |known| known.name.as_str()).to_owned()
            }
            _ => {
                let address = Ipv4Addr::from(lower as u32);
                match self.host_at(address) {
                    Some(host) => format!("{host} ({address})"),
                    None => beside(address.to_string()),
                }
            }
        }
    }
}

/// Every value of the field `service`.
pub const ANY_SERVICE: Range = (0, 0xff_ffff);

/// A range of the field `service` in words, by protocol: `tcp`, `udp/1000-2000`.
pub fn services_words(range: Range) -> Vec<String> {
    let protocols = (range.0 >> 16)..=(range.1 >> 16);
    let words = |protocol: u64| {
        let base = protocol << 16;
        let (first, last) = (range.0.max(base), range.1.min(base | 0xffff));
        let name = service_words(base);
        let name = name.split('/').next().unwrap_or_default().to_owned();
        match (protocol as u8, first - base, last - base) {
            (TCP | UDP, 0..=1, 0xffff) => name,
            (TCP | UDP, first, last) if first == last => format!("{name}/{first}"),
            (TCP | UDP, first, last) => format!("{name}/{first}-{last}"),
            _ => name,
        }
    };
    if protocols.clone().count() > 8 { vec!["other protocols".to_owned()] } else { protocols.map(words).collect() }
}

/// A value of the field `service` in words.
fn service_words(service: u64) -> String {
    let (protocol, low) = ((service >> 16) as u8, service & 0xffff);
    match protocol {
        TCP => format!("tcp/{low}"),
        UDP => format!("udp/{low}"),
        ICMP | ICMPV6 => "icmp".to_owned(),
        other => format!("protocol {other}"),
    }
}
