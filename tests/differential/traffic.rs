//! Random packets for a home: from and to the places that its file is about, and their edges.
//!
//! Left out, each for a reason: loopback and multicast addresses as source (the kernel drops them before any hook); IPv6 link-local and
//! multicast addresses (they need a scope, and policy never names them); packets of the router itself to a broadcast address (they leave and
//! come back at once); two flows without ports between the same two ends, or to one end beyond the uplink (connection tracking takes them for
//! one flow, or has no port left to tell them apart behind one address).

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use labgate::firewall::Side;

use super::aim::{Aimed, aimed};
use super::case::Home;
use super::frames::is_error;
use super::packets::{ACK, Content, FIN, Form, PSH, Packet, RST, SYN, URG};
use super::places::Places;
use super::random::Random;

/// The first of the source ports, one for each packet: none of them is a port that rules name.
pub const FIRST_PORT: u16 = 20_000;
/// GRE and ESP.
pub const OTHERS: [u8; 2] = [47, 50];

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
    let (arrives, source, destination, content) =
        if random.chance(35) { aimed(random, home, places, port)? } else { by_chance(random, home, places, port)? };
    let router = arrives.is_none() && (home.is_everybody(destination) || home.is_anycast(source));
    if router || home.is_everybody(source) {
        return None;
    }
    let splits = arrives.is_some() && !matches!(content, Content::Icmp { kind, .. } if is_error(source, kind));
    let form = match random.below(100) {
        0..10 if splits => Form::Fragments,
        10..14 if arrives.is_some() && !matches!(content, Content::Other(_)) => Form::Damaged,
        _ => Form::Whole,
    };
    Some(Packet { arrives, source, destination, content, form })
}

/// Any two places, and a source that is mostly where it belongs.
fn by_chance(random: &mut Random, home: &Home, places: &Places, port: u16) -> Option<Aimed> {
    let interfaces: Vec<usize> = home.interfaces().map(|(number, _)| number).collect();
    let arrives = if random.chance(10) { None } else { Some(*random.pick(&interfaces)) };
    if arrives.is_some() && random.chance(2) {
        let source = if random.chance(50) { Ipv4Addr::UNSPECIFIED.into() } else { *random.pick(&places.ipv4) };
        return Some((arrives, source, Ipv4Addr::BROADCAST.into(), Content::Udp { from: port, to: 67 }));
    }
    let ipv6 = random.chance(22);
    let side = home.side(arrives)?;
    let (all, here) = (if ipv6 { &places.ipv6 } else { &places.ipv4 }, places.on(home, side, ipv6));
    let forged = arrives.is_some() && random.chance(10);
    if !forged && here.is_empty() {
        return None;
    }
    let source = *random.pick(if forged { all } else { &here });
    Some((arrives, source, *random.pick(all), content(random, places, ipv6, port, side == Side::Internet)))
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
