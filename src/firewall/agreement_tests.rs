//! The model and the set elements made from it say the same of every packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::decide::{Packet, Peer, Side};
use super::permissions::{self, EndKind, ServiceKind, Shape};
use super::policy::{Policy, Verdict};
use super::ruleset::{Element, Field, SetElements};
use super::services::Protocol;
use super::testing::{config, host, network, rule};
use super::{HostAddresses, disjoint};
use crate::config::{Config, Endpoint, PortRange, Rule, Service};
use crate::model::SharedMap;

/// Three networks, two hosts with an address and two that follow leases.
fn home(allow: Vec<Rule>, deny: Vec<Rule>) -> Config {
    let mut config = config();
    config.networks.push(network("db", "eth1.40", "192.168.40.1/24"));
    config.networks[2].internet = false;
    config.hosts =
        vec![host("a", Some([192, 168, 1, 10])), host("b", Some([192, 168, 40, 10])), host("c", None), host("d", None)];
    config.firewall.allow = allow;
    config.firewall.deny = deny;
    config
}

fn hosts() -> HostAddresses {
    let at = |a, b| Some(Ipv4Addr::new(192, 168, a, b));
    HostAddresses::new(&[at(1, 10), at(40, 10), None, None], &[None, None, at(20, 50), None])
}

fn resolved(policy: &Policy) -> SetElements {
    let sets = policy.following_sets().map(|set| {
        let members: Vec<Element> = set.following.iter().filter_map(|element| element.resolve(&hosts())).collect();
        let members = if set.interval { disjoint(members) } else { members };
        let mut by_key = SharedMap::new();
        for element in members {
            by_key.insert(element.key.clone(), element);
        }
        super::Members { name: set.name.clone(), data: set.data, interval: set.interval, by_key }
    });
    SetElements { sets: sets.collect() }
}

/// What the chains answer, read off the sets.
fn chains_allow(policy: &Policy, elements: &SetElements, packet: &Packet) -> bool {
    let ipv6 = [packet.from, packet.to].iter().any(|peer| matches!(peer.address, Some(IpAddr::V6(_))));
    let (from_router, to_router) = (packet.from.side == Side::Router, packet.to.side == Side::Router);
    let shapes = permissions::shapes(&policy.sets);
    let hit = |verdict| {
        shapes.iter().any(|shape| {
            let here = (shape.from == EndKind::Router) == from_router && (shape.to == EndKind::Router) == to_router;
            let no_family = shape.from != EndKind::Host && shape.to != EndKind::Host;
            let family = shape.ipv6 == ipv6 || no_family && (to_router || from_router || verdict == Verdict::Deny);
            shape.verdict == verdict && here && family && contains(policy, elements, shape, packet)
        })
    };
    if packet.from.side == packet.to.side {
        return true;
    }
    let own = matches!(packet.from.side, Side::Network(_));
    if own && to_router && packet.protocol == Protocol::Udp && packet.port == Some(67) {
        return true;
    }
    if hit(Verdict::Deny) {
        return false;
    }
    from_router || own && to_router && packet.protocol == Protocol::Icmp || hit(Verdict::Allow)
}

fn contains(policy: &Policy, elements: &SetElements, shape: &Shape, packet: &Packet) -> bool {
    let set = policy.sets.iter().find(|set| set.name == shape.name()).unwrap();
    let ipv6 = [packet.from, packet.to].iter().any(|peer| matches!(peer.address, Some(IpAddr::V6(_))));
    let mut values = Vec::new();
    for (kind, peer) in [(shape.from, packet.from), (shape.to, packet.to)] {
        match kind {
            EndKind::Net => values.push(interface(policy, peer.side)),
            EndKind::Host => values.push(match peer.address {
                Some(IpAddr::V4(address)) => Field::Ipv4(address, address),
                Some(IpAddr::V6(address)) => Field::Ipv6(address, address),
                None => return false,
            }),
            EndKind::Router => {}
        }
    }
    let protocol = match packet.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp if ipv6 => 58,
        Protocol::Icmp => 1,
    };
    match shape.service {
        ServiceKind::Any => {}
        ServiceKind::Other => return false,
        ServiceKind::Protocol => values.push(Field::Protocol(protocol)),
        ServiceKind::Port => {
            let port = packet.port.unwrap_or(0);
            values.extend([Field::Protocol(protocol), Field::Ports(PortRange { first: port, last: port })]);
        }
    }
    let mut members = set.fixed.iter().chain(elements.members(&set.name));
    members.any(|element| element.key.iter().zip(&values).all(|(field, value)| holds(field, value)))
}

fn interface(policy: &Policy, side: Side) -> Field {
    Field::Interface(match side {
        Side::Network(index) => policy.networks[index].interface.clone(),
        Side::Internet => policy.uplink.as_ref().unwrap().interface.clone(),
        Side::Router => "lo".into(),
    })
}

fn holds(field: &Field, value: &Field) -> bool {
    match (field, value) {
        (Field::Ipv4(first, last), Field::Ipv4(value, _)) => first <= value && value <= last,
        (Field::Ipv6(first, last), Field::Ipv6(value, _)) => first <= value && value <= last,
        (Field::Ports(range), Field::Ports(value)) => range.first <= value.first && value.first <= range.last,
        _ => field == value,
    }
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let cidr = |text: &str| Endpoint::Cidr(text.parse().unwrap());
    prop_oneof![
        (0usize..3).prop_map(Endpoint::Network),
        (0usize..4).prop_map(Endpoint::Host),
        Just(Endpoint::Internet),
        Just(Endpoint::Router),
        Just(cidr("192.168.1.0/25")),
        Just(cidr("192.168.0.0/16")),
        Just(cidr("203.0.113.0/24")),
        Just(cidr("192.168.20.50/32")),
        Just(cidr("192.168.1.1/32")),
        Just(cidr("2001:db8::/32")),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let range = prop_oneof![
        Just(PortRange { first: 22, last: 22 }),
        Just(PortRange { first: 20, last: 80 }),
        Just(PortRange { first: 0, last: u16::MAX }),
    ];
    prop_oneof![range.clone().prop_map(Service::Tcp), range.prop_map(Service::Udp), Just(Service::Icmp)]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let ends = || prop::collection::vec(endpoint(), 1..3);
    let services = || prop::collection::vec(service(), 0..3);
    let one = (ends(), ends(), services(), services()).prop_map(|(from, to, services, except)| {
        let mut rule = rule(&from, &to, &services, 30);
        rule.except = except;
        rule
    });
    prop::collection::vec(one, 0..5)
}

fn peer() -> impl Strategy<Value = Peer> {
    let v4 = |side, address: [u8; 4]| Peer { side, address: Some(IpAddr::from(address)) };
    prop_oneof![
        Just(v4(Side::Network(0), [192, 168, 1, 10])),
        Just(v4(Side::Network(0), [192, 168, 1, 200])),
        Just(v4(Side::Network(1), [192, 168, 20, 50])),
        Just(v4(Side::Network(1), [192, 168, 20, 51])),
        Just(v4(Side::Network(2), [192, 168, 40, 10])),
        Just(v4(Side::Internet, [203, 0, 113, 9])),
        Just(v4(Side::Internet, [8, 8, 8, 8])),
        Just(Peer { side: Side::Router, address: None }),
    ]
}

/// The same packet over IPv6: every end that has an address gets one of two.
fn over_ipv6(peer: Peer) -> Peer {
    let near = matches!(peer.address, Some(IpAddr::V4(address)) if address.octets()[3] < 100);
    let new =
        if near { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1) } else { Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1) };
    Peer { address: peer.address.map(|_| IpAddr::V6(new)), ..peer }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn model_and_sets_agree(
        (allow, deny) in (rules(), rules()),
        packets in prop::collection::vec((peer(), peer(), 0u8..3, 0usize..4, any::<bool>()), 40),
    ) {
        let policy = Policy::compile(&home(allow, deny));
        let elements = resolved(&policy);
        for (from, to, protocol, port, ipv6) in packets {
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][usize::from(protocol)];
            let port = (protocol != Protocol::Icmp).then_some([22, 53, 67, 443][port]);
            let (from, to) = if ipv6 { (over_ipv6(from), over_ipv6(to)) } else { (from, to) };
            let packet = Packet { from, to, protocol, port };
            let model = policy.decide(&hosts(), &packet, None).allowed();
            prop_assert_eq!(model, chains_allow(&policy, &elements, &packet), "{:?}", packet);
        }
    }
}
