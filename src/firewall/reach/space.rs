//! Ends and services of rules as ranges of the fields of a point.
//!
//! The fields are family, then side, upper and lower half of the address for the source, the same for the destination, and the service:
//! protocol number and port together, or type and code of ICMP. The router is one place whatever address it is asked at, but for the public
//! one, which port forwards capture. Where leases are not known, a host that follows its lease stands at places of its own: one for each
//! stretch of a pool that no literal address of the file cuts, in every network with DHCP. So what is proved there holds wherever it comes.
//! An outside name stands at a place of its own on the internet then.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::diagram::Range;
use crate::firewall::HostAddresses;
use crate::firewall::permissions::{ICMP, ICMPV6, TCP, UDP};
use crate::firewall::policy::{End, Policy};
use crate::firewall::services::Services;

/// The values of the field `family`.
pub const IPV4: u64 = 0;
/// See [`IPV4`].
pub const IPV6: u64 = 1;
/// The side of the internet; networks come after the router.
pub const INTERNET: u64 = 0;
/// The side of the router itself.
pub const ROUTER: u64 = 1;
const FIRST_NETWORK: u64 = 2;
/// Upper half of the "address" of a host wherever its lease is; the lower half is stretch and host.
pub const LEASED: u64 = 1;
/// Upper half of the "address" of an outside name wherever it leads to; the lower half is the name.
pub const NAMED: u64 = 2;
/// Bits of the host beside the stretch.
const HOST_BITS: u32 = 24;
/// The router at its addresses in own networks.
pub const GATEWAY: u64 = 0;
/// The router at the uplink's address.
pub const PUBLIC: u64 = 1;
const ANY: Range = (0, u64::MAX);

/// Side, upper and lower half of an address.
pub type Place = [Range; 3];

/// How addresses of a policy become places.
pub struct Space<'p> {
    /// Whose places they are.
    pub policy: &'p Policy,
    /// Where the hosts are; `None`: wherever their leases may be.
    pub hosts: Option<&'p HostAddresses>,
    /// The number of each network's side.
    sides: Vec<u64>,
    /// Addresses beyond the uplink.
    internet: Vec<(u32, u32)>,
    /// By network, stretches of its pools that literal addresses leave whole.
    stretches: Vec<Vec<(u32, u32)>>,
}

impl<'p> Space<'p> {
    /// The places of `policy`. `names` holds the networks that have met before, by name: two policies in one space share their sides.
    /// `more` are ends beside those of the rules whose literal addresses count.
    pub fn new(
        policy: &'p Policy,
        hosts: Option<&'p HostAddresses>,
        uplink: &[Ipv4Addr],
        names: &mut Vec<String>,
        more: &[End],
    ) -> Self {
        let sides = policy.networks.iter().map(|network| {
            let known = names.iter().position(|name| **name == *network.name);
            let index = known.unwrap_or_else(|| {
                names.push(network.name.to_string());
                names.len() - 1
            });
            FIRST_NETWORK + index as u64
        });
        let mut space = Space { policy, hosts, sides: sides.collect(), internet: Vec::new(), stretches: Vec::new() };
        space.internet = space.beyond(uplink);
        if hosts.is_none() {
            space.stretches = space.cut_pools(more);
        }
        space
    }

    /// The side of a network.
    pub fn side(&self, network: usize) -> u64 {
        self.sides[network]
    }

    /// The network of a side.
    pub fn network(&self, side: u64) -> Option<usize> {
        self.sides.iter().position(|known| *known == side)
    }

    /// The host that a lower half of a leased place stands for.
    pub fn leased_host(lower: u64) -> usize {
        (lower & ((1 << HOST_BITS) - 1)) as usize
    }

    /// Everything that is beyond the uplink: no own network, no address of the uplink itself, nothing that is never routed.
    fn beyond(&self, uplink: &[Ipv4Addr]) -> Vec<(u32, u32)> {
        if self.policy.uplink.is_none() {
            return Vec::new();
        }
        let special = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"];
        let special = special.iter().filter_map(|net| net.parse().ok());
        let mut taken: Vec<(u32, u32)> =
            special.chain(self.policy.networks.iter().map(|network| network.subnet)).map(bounds).collect();
        taken.extend(uplink.iter().map(|address| (u32::from(*address), u32::from(*address))));
        without((0, u32::MAX), taken)
    }

    fn cut_pools(&self, more: &[End]) -> Vec<Vec<(u32, u32)>> {
        let rules = &self.policy.rules;
        let written = rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to)).chain(more);
        let mut cuts: Vec<u32> = Vec::new();
        for end in written {
            if let End::Cidr4(net) = end {
                let (first, last) = bounds(*net);
                cuts.extend([Some(first), last.checked_add(1)].into_iter().flatten());
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        let cut = |pool: &(Ipv4Addr, Ipv4Addr)| {
            let (mut first, last) = (u32::from(pool.0), u32::from(pool.1));
            let mut pieces = Vec::new();
            for cut in &cuts[cuts.partition_point(|cut| *cut <= first)..cuts.partition_point(|cut| *cut <= last)] {
                pieces.push((first, cut - 1));
                first = *cut;
            }
            pieces.push((first, last));
            pieces
        };
        self.policy.networks.iter().map(|network| network.pools.iter().flat_map(cut).collect()).collect()
    }

    /// Addresses that hosts of a network can have.
    fn inside(&self, network: usize) -> Vec<(u32, u32)> {
        let network = &self.policy.networks[network];
        let mut taken = vec![(u32::from(network.router), u32::from(network.router))];
        if network.subnet.prefix_len() < 31 {
            let broadcast = u32::from(network.subnet.broadcast());
            taken.push((broadcast, broadcast));
        }
        without(bounds(network.subnet), taken)
    }

    /// Where an end is, in one family; empty where it is nowhere.
    pub fn places(&self, end: End, family: u64) -> Vec<Place> {
        if family == IPV6 { self.places6(end) } else { self.places4(end) }
    }

    fn places4(&self, end: End) -> Vec<Place> {
        let plain = |side: u64, range: (u32, u32)| [(side, side), (0, 0), (range.0.into(), range.1.into())];
        match end {
            End::Router => vec![[(ROUTER, ROUTER), (0, 0), (GATEWAY, PUBLIC)]],
            End::Internet => {
                let mut places: Vec<Place> = self.internet.iter().map(|range| plain(INTERNET, *range)).collect();
                if self.hosts.is_none() && !places.is_empty() && !self.policy.outside_names.is_empty() {
                    places.push([
                        (INTERNET, INTERNET),
                        (NAMED, NAMED),
                        (0, self.policy.outside_names.len() as u64 - 1),
                    ]);
                }
                places
            }
            End::Network(network) => {
                let side = self.sides[network];
                let mut places: Vec<Place> = self.inside(network).into_iter().map(|range| plain(side, range)).collect();
                if self.stretches.get(network).is_some_and(|stretches| !stretches.is_empty()) {
                    places.push([(side, side), (LEASED, LEASED), ANY]);
                }
                places
            }
            End::Host(host) => self.host_places(host),
            End::Name(name) => match self.hosts {
                None if self.internet.is_empty() => Vec::new(),
                None => vec![[(INTERNET, INTERNET), (NAMED, NAMED), (name as u64, name as u64)]],
                Some(hosts) => hosts.of_name(name).iter().map(|address| self.place_of(*address)).collect(),
            },
            End::Cidr4(net) => {
                let mut places: Vec<Place> =
                    clip(&self.internet, bounds(net)).map(|range| plain(INTERNET, range)).collect();
                for network in 0..self.policy.networks.len() {
                    let side = self.sides[network];
                    let (first, last) = bounds(self.policy.networks[network].subnet);
                    if last < bounds(net).0 || bounds(net).1 < first {
                        continue;
                    }
                    places.extend(clip(&self.inside(network), bounds(net)).map(|range| plain(side, range)));
                    places.extend(self.leased_places(network, net));
                }
                places
            }
            End::Cidr6(_) => Vec::new(),
        }
    }

    fn place_of(&self, address: Ipv4Addr) -> Place {
        let side = self.policy.network_of_address(address).map_or(INTERNET, |network| self.sides[network]);
        let number = u64::from(u32::from(address));
        [(side, side), (0, 0), (number, number)]
    }

    fn host_places(&self, host: usize) -> Vec<Place> {
        let address = match self.hosts {
            Some(hosts) => hosts.get(host),
            None => self.policy.hosts[host].reserved,
        };
        match address {
            Some(address) => vec![self.place_of(address)],
            None => self
                .stretches
                .iter()
                .enumerate()
                .flat_map(|(network, stretches)| {
                    let side = self.sides[network];
                    (0..stretches.len() as u64).map(move |stretch| {
                        let lower = stretch << HOST_BITS | host as u64;
                        [(side, side), (LEASED, LEASED), (lower, lower)]
                    })
                })
                .collect(),
        }
    }

    /// Hosts that may have a lease of `network` in `net`.
    fn leased_places(&self, network: usize, net: Ipv4Net) -> Option<Place> {
        let (stretches, (first, last)) = (self.stretches.get(network)?, bounds(net));
        let within = |stretch: &(u32, u32)| first <= stretch.0 && stretch.1 <= last;
        let from = stretches.iter().position(within)? as u64;
        let to = stretches.iter().rposition(within)? as u64;
        let side = self.sides[network];
        Some([(side, side), (LEASED, LEASED), (from << HOST_BITS, ((to + 1) << HOST_BITS) - 1)])
    }

    fn places6(&self, end: End) -> Vec<Place> {
        match end {
            End::Router => vec![[(ROUTER, ROUTER), (0, 0), (GATEWAY, GATEWAY)]],
            End::Internet if self.policy.uplink.is_some() => vec![[(INTERNET, INTERNET), ANY, ANY]],
            End::Network(network) => vec![[(self.sides[network], self.sides[network]), ANY, ANY]],
            End::Cidr6(net) => {
                let (upper, lower) = halves(net);
                let uplink = self.policy.uplink.as_ref().map(|_| INTERNET);
                self.sides.iter().copied().chain(uplink).map(|side| [(side, side), upper, lower]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The ranges of the field `service` that a rule with `services` holds for.
    pub fn services(services: &Services, family: u64, both_families: bool) -> Vec<Range> {
        if *services == Services::all() {
            return vec![(0, protocol_range(255).1)];
        }
        let mut ranges = Vec::new();
        for (protocol, ports) in [(TCP, &services.tcp), (UDP, &services.udp)] {
            let base = u64::from(protocol) << 16;
            ranges.extend(
                ports.ranges().iter().map(|range| (base | u64::from(range.first), base | u64::from(range.last))),
            );
        }
        if services.icmp {
            let native = if family == IPV6 { ICMPV6 } else { ICMP };
            let held = [ICMP, ICMPV6].into_iter().filter(|protocol| *protocol == native || both_families);
            ranges.extend(held.map(protocol_range));
        }
        if services.other {
            let named = [ICMP, TCP, UDP, ICMPV6];
            ranges.extend((0..=255).filter(|protocol| !named.contains(protocol)).map(protocol_range));
        }
        ranges
    }
}

/// Every value of the field `service` with this protocol.
pub fn protocol_range(protocol: u8) -> Range {
    let base = u64::from(protocol) << 16;
    (base, base | 0xffff)
}

pub(super) fn bounds(net: Ipv4Net) -> (u32, u32) {
    (u32::from(net.network()), u32::from(net.broadcast()))
}

fn halves(net: Ipv6Net) -> (Range, Range) {
    let split = |address: Ipv6Addr| ((u128::from(address) >> 64) as u64, u128::from(address) as u64);
    let (first, last) = (split(net.network()), split(net.broadcast()));
    ((first.0, last.0), (first.1, last.1))
}

/// What `taken` leaves of a range.
fn without(range: (u32, u32), mut taken: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    taken.sort_unstable();
    let (mut left, mut next) = (Vec::new(), Some(range.0));
    for (first, last) in taken {
        let Some(start) = next else { break };
        if last < start || first > range.1 {
            continue;
        }
        if start < first {
            left.push((start, first - 1));
        }
        next = last.checked_add(1).filter(|next| *next <= range.1);
    }
    left.extend(next.map(|start| (start, range.1)));
    left
}

fn clip(ranges: &[(u32, u32)], to: (u32, u32)) -> impl Iterator<Item = (u32, u32)> + '_ {
    let cut = move |range: &(u32, u32)| (range.0.max(to.0), range.1.min(to.1));
    ranges.iter().map(cut).filter(|(first, last)| first <= last)
}
