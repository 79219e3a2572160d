//! The model of one packet, the sets of packets, and the set elements made from one policy say the same of every packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::permissions::{self, EndKind, ServiceKind, Shape};
use super::policy::{End, Policy, Verdict};
use super::reach::{self, Diagrams, Point, Reach, Space};
use super::ruleset::{Element, Field, SetElements};
use super::services::Services;
use super::testing::{config, host, network, outside_name, rule};
use super::{Content, Fate, HostAddresses, Packet, Side, State, Surroundings, disjoint};
use crate::config::{Config, Endpoint, PortRange, Rule, Service};
use crate::model::SharedMap;

/// Three networks, two hosts with an address and two that follow leases, two outside names.
fn home(allow: Vec<Rule>, deny: Vec<Rule>) -> Config {
    let mut config = config();
    config.networks.push(network("db", "eth1.40", "192.168.40.1/24"));
    config.networks[2].internet = false;
    config.hosts =
        vec![host("a", Some([192, 168, 1, 10])), host("b", Some([192, 168, 40, 10])), host("c", None), host("d", None)];
    config.outside_names = ["one.example.net", "two.example.net"].map(outside_name).to_vec();
    config.firewall.allow = allow;
    config.firewall.deny = deny;
    config
}

fn hosts() -> HostAddresses {
    let at = |a, b| Some(Ipv4Addr::new(192, 168, a, b));
    let outside = |last| Ipv4Addr::new(203, 0, 113, last);
    HostAddresses::new(&[at(1, 10), at(40, 10), None, None], &[None, None, at(20, 50), None])
        .with_names([vec![outside(9), outside(10)], vec![outside(9), Ipv4Addr::new(8, 8, 8, 8)]])
}

fn resolved(policy: &Policy) -> SetElements {
    let sets = policy.following_sets().map(|set| {
        let members: Vec<Element> = set.following.iter().flat_map(|element| element.resolve(&hosts())).collect();
        let members = if set.interval { disjoint(members) } else { members };
        let mut by_key = SharedMap::new();
        for element in members {
            by_key.insert(element.key.clone(), element);
        }
        super::Members { name: set.name.clone(), data: set.data, interval: set.interval, by_key }
    });
    SetElements { sets: sets.collect() }
}

/// What the chains answer to a new packet that is where it should be, read off the sets.
fn chains_allow(policy: &Policy, elements: &SetElements, packet: &Packet) -> bool {
    let ipv6 = packet.source.is_ipv6();
    let to = around().side_of(policy, packet.destination).expect("a route");
    let (from_router, to_router) = (packet.arrives == Side::Router, to == Side::Router);
    let shapes = permissions::shapes(&policy.sets);
    let hit = |verdict| {
        shapes.iter().any(|shape| {
            let here = (shape.from == EndKind::Router) == from_router && (shape.to == EndKind::Router) == to_router;
            let no_family = shape.from != EndKind::Host && shape.to != EndKind::Host;
            let family = shape.ipv6 == ipv6 || no_family && (to_router || from_router || verdict == Verdict::Deny);
            shape.verdict == verdict && here && family && contains(policy, elements, shape, packet, to)
        })
    };
    if packet.arrives == to && to != Side::Internet {
        return true;
    }
    let own = matches!(packet.arrives, Side::Network(_));
    if own && to_router && !ipv6 && matches!(packet.content, Content::Udp { destination_port: 67, .. }) {
        return true;
    }
    if hit(Verdict::Deny) {
        return false;
    }
    let echo = Content::Icmp { kind: if ipv6 { 128 } else { 8 }, code: 0 };
    from_router || own && to_router && packet.content == echo || hit(Verdict::Allow)
}

fn contains(policy: &Policy, elements: &SetElements, shape: &Shape, packet: &Packet, to: Side) -> bool {
    let set = policy.sets.iter().find(|set| set.name == shape.name()).unwrap();
    let mut values = Vec::new();
    for (kind, side, address) in [(shape.from, packet.arrives, packet.source), (shape.to, to, packet.destination)] {
        match (kind, address) {
            (EndKind::Net, _) => values.push(interface(policy, side)),
            (EndKind::Host, IpAddr::V4(address)) => values.push(Field::Ipv4(address, address)),
            (EndKind::Host, IpAddr::V6(address)) => values.push(Field::Ipv6(address, address)),
            (EndKind::Router, _) => {}
        }
    }
    let protocol = Field::Protocol(packet.content.protocol(packet.source.is_ipv6()));
    let known = [1, 6, 17, 58].map(Field::Protocol).contains(&protocol);
    match (shape.service, packet.content.destination_port()) {
        (ServiceKind::Any, _) => {}
        (ServiceKind::Other, _) if known => return false,
        (ServiceKind::Other, _) => {}
        (ServiceKind::Protocol, _) => values.push(protocol),
        (ServiceKind::Port, Some(port)) => {
            values.extend([protocol, Field::Ports(PortRange { first: port, last: port })])
        }
        (ServiceKind::Port, None) => return false,
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
        (0usize..2).prop_map(Endpoint::Name),
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

/// Sides and addresses that belong together, by family.
fn place() -> impl Strategy<Value = (Side, [IpAddr; 2])> {
    let at = |side, v4: [u8; 4], v6: [u16; 2]| {
        (side, [IpAddr::from(v4), IpAddr::from(Ipv6Addr::new(v6[0], v6[1], 0, 0, 0, 0, 0, 9))])
    };
    prop_oneof![
        Just(at(Side::Network(0), [192, 168, 1, 10], [0xfd00, 1])),
        Just(at(Side::Network(0), [192, 168, 1, 200], [0xfd00, 1])),
        Just(at(Side::Network(1), [192, 168, 20, 50], [0xfd00, 2])),
        Just(at(Side::Network(1), [192, 168, 20, 51], [0xfd00, 2])),
        Just(at(Side::Network(2), [192, 168, 40, 10], [0xfd00, 3])),
        Just(at(Side::Internet, [203, 0, 113, 9], [0x2001, 0xdb8])),
        Just(at(Side::Internet, [8, 8, 8, 8], [0x2002, 1])),
        Just(at(Side::Router, [192, 168, 20, 1], [0xfd00, 9])),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let port = || prop_oneof![Just(22u16), Just(53), Just(67), Just(443)];
    prop_oneof![
        port().prop_map(|destination_port| Content::Tcp { source_port: 40000, destination_port }),
        port().prop_map(|destination_port| Content::Udp { source_port: 40000, destination_port }),
        prop_oneof![Just(8u8), Just(128), Just(13)].prop_map(|kind| Content::Icmp { kind, code: 0 }),
        prop_oneof![Just(47u8), Just(58), Just(1)].prop_map(Content::Other),
    ]
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let one = (place(), place(), content(), any::<bool>()).prop_map(|(from, to, content, ipv6)| Packet {
        arrives: from.0,
        source: from.1[usize::from(ipv6)],
        destination: to.1[usize::from(ipv6)],
        content,
        state: State::New,
    });
    prop::collection::vec(one, 40)
}

fn around() -> Surroundings {
    let net = |text: &str| text.parse().unwrap();
    Surroundings {
        hosts: hosts(),
        uplink: vec!["198.51.100.2/24".parse().unwrap()],
        routes6: vec![
            (net("fd00:1::/32"), Side::Network(0)),
            (net("fd00:2::/32"), Side::Network(1)),
            (net("fd00:3::/32"), Side::Network(2)),
            (net("::/0"), Side::Internet),
        ],
        routers6: vec![Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 9)],
    }
}

/// Where a packet is among the sets of packets.
fn point(space: &Space<'_>, packet: &Packet) -> Point {
    let mut point = [0; 8];
    let to = around().side_of(space.policy, packet.destination).expect("a route");
    point[reach::FAMILY] = u64::from(packet.source.is_ipv6());
    for (at, side, address) in
        [(reach::FROM_SIDE, packet.arrives, packet.source), (reach::TO_SIDE, to, packet.destination)]
    {
        (point[at], point[at + 1], point[at + 2]) = match (side, address) {
            (Side::Router, _) => (reach::ROUTER, 0, reach::GATEWAY),
            (_, IpAddr::V4(address)) => (number(space, side), 0, u32::from(address).into()),
            (_, IpAddr::V6(address)) => {
                (number(space, side), (u128::from(address) >> 64) as u64, u128::from(address) as u64)
            }
        };
    }
    let low = match packet.content {
        Content::Icmp { kind, code } => u64::from(kind) << 8 | u64::from(code),
        _ => packet.content.destination_port().unwrap_or(0).into(),
    };
    point[reach::SERVICE] = u64::from(packet.content.protocol(packet.source.is_ipv6())) << 16 | low;
    point
}

#[test]
fn a_name_whose_addresses_are_not_known_is_somewhere_on_the_internet() {
    let allow = vec![rule(&[Endpoint::Network(2)], &[Endpoint::Name(0)], &[], 30)];
    let policy = Policy::compile(&home(allow, Vec::new()));
    let mut all = Diagrams::default();
    let space = Space::new(&policy, None, &[], &mut Vec::new(), &[]);
    let reach = Reach::new(&mut all, space);
    let db = [End::Network(2)];
    let mut open = |to: End| {
        let asked = reach.question(&mut all, &db, &[to], &Services::all(), false);
        (all.difference(asked, reach.allowed), all.intersection(asked, reach.allowed))
    };
    let ((closed, one), (_, two), (rest, internet)) = (open(End::Name(0)), open(End::Name(1)), open(End::Internet));
    assert!(closed.is_empty() && !one.is_empty() && two.is_empty());
    assert!(!internet.is_empty() && !rest.is_empty(), "the rule opens a part of the internet");
}

fn number(space: &Space<'_>, side: Side) -> u64 {
    if let Side::Network(index) = side { space.side(index) } else { reach::INTERNET }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn model_sets_of_packets_and_set_elements_agree(
        (allow, deny) in (rules(), rules()),
        packets in packets(),
    ) {
        let policy = Policy::compile(&home(allow, deny));
        let elements = resolved(&policy);
        let (mut all, hosts) = (Diagrams::default(), hosts());
        let space = Space::new(&policy, Some(&hosts), &[Ipv4Addr::new(198, 51, 100, 2)], &mut Vec::new(), &[]);
        let reach = Reach::new(&mut all, space);
        for packet in packets {
            let trace = policy.evaluate(&around(), &packet);
            let model = trace.fate == Fate::Accept;
            prop_assert_eq!(model, chains_allow(&policy, &elements, &packet), "{:?} {:?}", packet, trace);
            // Every IPv6 address may be at every side there: where exactly is a matter of routes.
            prop_assert_eq!(model, all.contains(reach.allowed, &point(&reach.space, &packet)), "{:?} {:?}", packet, trace);
        }
    }
}
