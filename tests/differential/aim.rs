//! Packets that one rule or port forward of the file is about: chance alone rarely meets one.

use std::net::IpAddr;

use ipnet::IpNet;
use labgate::config::{PortRange, Transport};
use labgate::firewall::{End, Forward, Rule, Side};

use super::case::Home;
use super::packets::{Content, SYN};
use super::places::Places;
use super::random::Random;
use super::traffic::OTHERS;

/// Where such a packet comes from, its addresses, and what it carries from a source port.
pub type Aimed = (Option<usize>, IpAddr, IpAddr, Content);

/// A packet for a forward or a rule; `None` where this one can have none.
pub fn aimed(random: &mut Random, home: &Home, places: &Places, port: u16) -> Option<Aimed> {
    if !home.policy.forwards.is_empty() && random.chance(50) {
        return at_forward(random, home, places, port);
    }
    let rule = random.pick(&home.policy.rules);
    at_rule(random, home, places, rule, port)
}

fn at_forward(random: &mut Random, home: &Home, places: &Places, port: u16) -> Option<Aimed> {
    let forward: &Forward = random.pick(&home.policy.forwards);
    // Mostly to the public address, sometimes past it to where the forward ends: that is no way in.
    let past = home.around.hosts.get(forward.host).filter(|_| random.chance(25));
    let ends = [forward.ports.first, forward.ports.last];
    let to = forward.target_port.filter(|_| past.is_some()).unwrap_or(*random.pick(&ends));
    let content = match random.pick(&forward.transports) {
        Transport::Tcp => Content::Tcp { from: port, to, flags: SYN },
        Transport::Udp => Content::Udp { from: port, to },
    };
    let public = random.pick(&home.around.uplink).addr();
    let destination = past.unwrap_or(public).into();
    let interfaces: Vec<(usize, Side)> = home.interfaces().collect();
    let (number, side) = if random.chance(50) { interfaces[0] } else { *random.pick(&interfaces) };
    let here = places.on(home, side, false);
    let listed: Vec<IpAddr> =
        here.iter().copied().filter(|source| forward.from.iter().any(|net| IpNet::V4(*net).contains(source))).collect();
    let source = if !listed.is_empty() && random.chance(60) { *random.pick(&listed) } else { pick(random, &here)? };
    Some((Some(number), source, destination, content))
}

fn at_rule(random: &mut Random, home: &Home, places: &Places, rule: &Rule, port: u16) -> Option<Aimed> {
    let (from, to) = (*random.pick(&rule.from), *random.pick(&rule.to));
    let named6 = [from, to].iter().any(|end| matches!(end, End::Cidr6(_)));
    let named4 = [from, to].iter().any(|end| matches!(end, End::Cidr4(_) | End::Host(_) | End::Name(_)));
    let ipv6 = named6 || !named4 && random.chance(25);
    let source = at(random, home, places, from, ipv6)?;
    let destination = at(random, home, places, to, ipv6)?;
    if source.is_ipv6() != destination.is_ipv6() {
        return None;
    }
    let arrives = match home.around.side_of(&home.policy, source)? {
        Side::Router => None,
        side => Some(home.interface(side)?),
    };
    let end = |random: &mut Random, ranges: &[PortRange]| {
        let range = pick(random, ranges)?;
        Some(*random.pick(&[range.first.max(1), range.last]))
    };
    let services = &rule.services;
    let mut kinds = vec![0, 0, 1, 1, 2, 3];
    kinds.retain(|kind| match kind {
        0 => !services.tcp.is_empty(),
        1 => !services.udp.is_empty(),
        2 => services.icmp,
        _ => services.other,
    });
    let content = match pick(random, &kinds)? {
        0 => Content::Tcp { from: port, to: end(random, services.tcp.ranges())?, flags: SYN },
        1 => Content::Udp { from: port, to: end(random, services.udp.ranges())? },
        2 => Content::Icmp { kind: if ipv6 { 128 } else { 8 }, code: 0, id: port },
        _ => Content::Other(*random.pick(&OTHERS)),
    };
    Some((arrives, source, destination, content))
}

/// An address where an end of a rule is.
fn at(random: &mut Random, home: &Home, places: &Places, end: End, ipv6: bool) -> Option<IpAddr> {
    let within = |net: IpNet| -> Vec<IpAddr> {
        let all = if ipv6 { &places.ipv6 } else { &places.ipv4 };
        all.iter().copied().filter(|address| net.contains(address) && !home.is_everybody(*address)).collect()
    };
    match end {
        End::Network(index) => pick(random, &places.on(home, Side::Network(index), ipv6)),
        End::Internet => pick(random, &places.on(home, Side::Internet, ipv6)),
        End::Router => pick(random, &places.on(home, Side::Router, ipv6)),
        End::Host(host) => home.around.hosts.get(host).map(IpAddr::V4),
        End::Name(name) => pick(random, home.around.hosts.of_name(name)).map(IpAddr::V4),
        End::Cidr4(net) => pick(random, &within(net.into())),
        End::Cidr6(net) => pick(random, &within(net.into())),
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| *random.pick(from))
}
