//! Random packets for a home: from and to the places that its file is about, and their edges.
//!
//! Left out, each for a reason: loopback and multicast addresses as source (the kernel drops them before any hook); IPv6 link-local and
//! multicast addresses (they need a scope, and policy never names them); packets of the router itself to a broadcast address (they leave and
//! come back at once); two flows without ports between the same two ends, or to one end beyond the uplink (connection tracking takes them for
//! one flow, or has no port left to tell them apart behind one address).

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use labgate::config::{Endpoint, PortRange, Service};
use labgate::firewall::Side;

use super::case::{Home, host6};
use super::frames::is_error;
use super::packets::{ACK, Content, FIN, Form, PSH, Packet, RST, SYN, URG};
use super::random::Random;

/// The first of the source ports, one for each packet: none of them is a port that rules name.
const FIRST_PORT: u16 = 20_000;
/// GRE and ESP.
const OTHERS: [u8; 2] = [47, 50];

/// What the packets of a home are made of.
struct Places {
    ipv4: Vec<IpAddr>,
    ipv6: Vec<IpAddr>,
    ports: Vec<u16>,
}

/// `count` packets, each of a flow of its own.
pub fn packets(random: &mut Random, home: &Home, count: usize) -> Vec<Packet> {
    let places = Places::of(home);
    let mut portless = HashSet::new();
    let mut packets = Vec::with_capacity(count);
    while packets.len() < count {
        let port = FIRST_PORT + packets.len() as u16;
        let Some(packet) = packet(random, home, &places, port) else { continue };
        if let Content::Other(number) = packet.content {
            let ends = [packet.source, packet.destination];
            let beyond = |address: &IpAddr| home.around.side_of(&home.policy, *address) == Some(Side::Internet);
            let mut keys: Vec<(u8, IpAddr, IpAddr)> =
                ends.iter().filter(|end| beyond(end)).map(|end| (number, *end, *end)).collect();
            keys.push((number, ends[0].min(ends[1]), ends[0].max(ends[1])));
            if keys.iter().any(|key| portless.contains(key)) {
                continue;
            }
            portless.extend(keys);
        }
        packets.push(packet);
    }
    packets
}

fn packet(random: &mut Random, home: &Home, places: &Places, port: u16) -> Option<Packet> {
    let interfaces: Vec<usize> = home.interfaces().map(|(number, _)| number).collect();
    let arrives = if random.chance(10) { None } else { Some(*random.pick(&interfaces)) };
    let side = home.side(arrives)?;
    let all = if random.chance(22) { &places.ipv6 } else { &places.ipv4 };
    let here: Vec<IpAddr> = all
        .iter()
        .copied()
        .filter(|address| home.around.side_of(&home.policy, *address) == Some(side) && !home.is_everybody(*address))
        .collect();
    let forged = arrives.is_some() && random.chance(10);
    let source = *if forged || here.is_empty() { random.pick(all) } else { random.pick(&here) };
    let destination = *random.pick(all);
    let dhcp = arrives.is_some() && random.chance(1);
    if dhcp {
        return Some(Packet {
            arrives,
            source: if random.chance(50) { Ipv4Addr::UNSPECIFIED.into() } else { places.ipv4[0] },
            destination: Ipv4Addr::BROADCAST.into(),
            content: Content::Udp { from: port, to: 67 },
            form: Form::Whole,
        });
    }
    let impossible = home.is_everybody(source)
        || arrives.is_none() && (here.is_empty() || home.is_everybody(destination) || home.is_anycast(source));
    if impossible {
        return None;
    }
    let content = content(random, places, source.is_ipv6(), port, side == Side::Internet);
    let splits = arrives.is_some() && !matches!(content, Content::Icmp { kind, .. } if is_error(source, kind));
    let form = match random.below(100) {
        0..10 if splits => Form::Fragments,
        10..14 if arrives.is_some() && !matches!(content, Content::Other(_)) => Form::Damaged,
        _ => Form::Whole,
    };
    Some(Packet { arrives, source, destination, content, form })
}

fn content(random: &mut Random, places: &Places, ipv6: bool, port: u16, outside: bool) -> Content {
    let to = *random.pick(&places.ports);
    match random.below(100) {
        0..45 => {
            let odd = [ACK, SYN | ACK, FIN | ACK, FIN, FIN | PSH | URG, RST, RST | ACK, 0, SYN | FIN];
            let flags = if random.chance(80) { SYN } else { *random.pick(&odd) };
            Content::Tcp { from: port, to, flags }
        }
        // A DHCP server's answer: from outside alone, for behind one address ports are not kept when two hosts use the same.
        45..48 if outside => Content::Udp { from: 67, to: *random.pick(&[68, 68, port]) },
        45..75 => Content::Udp { from: port, to },
        75..90 => {
            let kinds: &[(u8, u8)] = if ipv6 {
                &[
                    (128, 0),
                    (128, 0),
                    (128, 0),
                    (129, 0),
                    (1, 4),
                    (3, 0),
                    (4, 1),
                    (134, 0),
                    (135, 0),
                    (136, 0),
                    (143, 0),
                    (137, 0),
                ]
            } else {
                &[(8, 0), (8, 0), (8, 0), (8, 0), (0, 0), (3, 1), (3, 3), (11, 0), (13, 0), (42, 0)]
            };
            let (kind, code) = *random.pick(kinds);
            let error = matches!(kind, 3 | 11) && !ipv6 || kind < 128 && ipv6;
            Content::Icmp { kind, code, id: if error { 0 } else { port } }
        }
        _ => Content::Other(*random.pick(&OTHERS)),
    }
}

impl Places {
    fn of(home: &Home) -> Places {
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
            ipv4.extend(network.subnet.hosts().filter(|address| *address != network.router).last());
        }
        for net in &home.around.uplink {
            ipv4.extend([net.addr(), net.addr(), net.addr(), net.broadcast()]);
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
