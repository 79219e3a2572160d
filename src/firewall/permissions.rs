//! Rules → set elements. Every rule is a union of pieces `from × to × service`; each piece is one element of the set whose key has its shape.
//! Pieces of single values stand in hash sets, pieces with ranges in interval sets, and neither costs a packet more for being many.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::policy::{End, Origin, Policy, Rule, Verdict};
use super::ruleset::{Data, DataType, Element, Field, FieldType, Set};
use super::services::{Piece, Protocol};
use super::tally::Tally;
use crate::config::{PortRange, Transport};

/// IP protocol numbers. Numbers, because nft looks names up in a file that a small system lacks.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// How one end of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EndKind {
    /// By interface: a network or the internet.
    Net,
    /// By address: a host, a CIDR or an outside name.
    Host,
    /// Not at all: the hook says so.
    Router,
}

/// How the service of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ServiceKind {
    /// Not at all: every packet.
    Any,
    /// By protocol and destination port.
    Port,
    /// By protocol.
    Protocol,
    /// Not at all, behind a match that leaves TCP, UDP and ICMP out.
    Other,
}

/// The shape of a piece: there is one set for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shape {
    pub verdict: Verdict,
    pub ipv6: bool,
    pub interval: bool,
    pub service: ServiceKind,
    pub from: EndKind,
    pub to: EndKind,
}

impl Shape {
    /// What a whole network may send to a whole network: these stand in a verdict map that is asked before the sets.
    pub const PAIRS: Shape = Shape {
        verdict: Verdict::Allow,
        ipv6: false,
        interval: false,
        service: ServiceKind::Any,
        from: EndKind::Net,
        to: EndKind::Net,
    };

    /// The set's name.
    pub fn name(&self) -> Arc<str> {
        if *self == Shape::PAIRS {
            return "pairs".into();
        }
        self.to_string().into()
    }

    /// The expression that builds the key from a packet.
    pub fn lookup(&self) -> String {
        let family = if self.ipv6 { "ip6" } else { "ip" };
        let mut fields = Vec::new();
        match self.from {
            EndKind::Net => fields.push("iifname".to_owned()),
            EndKind::Host => fields.push(format!("{family} saddr")),
            EndKind::Router => {}
        }
        match self.to {
            EndKind::Net => fields.push("oifname".to_owned()),
            EndKind::Host => fields.push(format!("{family} daddr")),
            EndKind::Router => {}
        }
        match self.service {
            ServiceKind::Port => fields.extend(["meta l4proto".to_owned(), "th dport".to_owned()]),
            ServiceKind::Protocol => fields.push("meta l4proto".to_owned()),
            ServiceKind::Any | ServiceKind::Other => {}
        }
        let key = fields.join(" . ");
        match self.service {
            ServiceKind::Other => {
                format!("meta l4proto != {{ {ICMP}, {TCP}, {UDP}, {ICMPV6} }} {key} @{}", self.name())
            }
            _ if *self == Shape::PAIRS => format!("{key} vmap @{}", self.name()),
            _ => format!("{key} @{}", self.name()),
        }
    }

    fn key_types(&self) -> Vec<FieldType> {
        let address = if self.ipv6 { FieldType::Ipv6 } else { FieldType::Ipv4 };
        let end = |kind| match kind {
            EndKind::Net => Some(FieldType::Interface),
            EndKind::Host => Some(address),
            EndKind::Router => None,
        };
        let mut types: Vec<FieldType> = [end(self.from), end(self.to)].into_iter().flatten().collect();
        match self.service {
            ServiceKind::Port => types.extend([FieldType::Protocol, FieldType::Port]),
            ServiceKind::Protocol => types.push(FieldType::Protocol),
            ServiceKind::Any | ServiceKind::Other => {}
        }
        types
    }

    fn comment(&self) -> String {
        let end = |kind| match kind {
            EndKind::Net => "network",
            EndKind::Host if self.interval => "addresses",
            EndKind::Host => "host",
            EndKind::Router => "router",
        };
        let service = match self.service {
            ServiceKind::Any => "anything",
            ServiceKind::Port if self.interval => "ports",
            ServiceKind::Port => "one port",
            ServiceKind::Protocol => "a whole protocol",
            ServiceKind::Other => "anything but icmp, tcp, udp",
        };
        format!("{} to {}: {service}", end(self.from), end(self.to))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |kind| match kind {
            EndKind::Net => "net",
            EndKind::Host => "host",
            EndKind::Router => "router",
        };
        let verdict = if self.verdict == Verdict::Allow { "allow" } else { "deny" };
        let family = if self.ipv6 { "6" } else { "" };
        write!(f, "{verdict}{family}_{}_{}", end(self.from), end(self.to))?;
        f.write_str(match self.service {
            ServiceKind::Any => "",
            ServiceKind::Port => "_port",
            ServiceKind::Protocol => "_protocol",
            ServiceKind::Other => "_other",
        })?;
        f.write_str(if self.interval { "_range" } else { "" })
    }
}

/// The rules of the policy as sets, in a steady order.
pub(super) fn sets(policy: &Policy) -> Vec<Set> {
    let mut by_shape: HashMap<Shape, Collected> = HashMap::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let pieces = rule.services.pieces();
        for from in &rule.from {
            for to in &rule.to {
                collect(policy, index, *from, *to, &pieces, &mut by_shape);
            }
        }
    }
    let mut shapes: Vec<(Shape, Collected)> = by_shape.into_iter().collect();
    shapes.sort_by_key(|(shape, _)| *shape);
    shapes.into_iter().map(|(shape, collected)| collected.set(shape)).collect()
}

/// Shapes that the sets of `policy` have, in the order in which a packet meets them.
pub(super) fn shapes(sets: &[Set]) -> Vec<Shape> {
    let names: HashSet<&str> = sets.iter().map(|set| &*set.name).collect();
    let mut shapes = Vec::new();
    for verdict in [Verdict::Deny, Verdict::Allow] {
        for ipv6 in [false, true] {
            for interval in [false, true] {
                for service in [ServiceKind::Any, ServiceKind::Port, ServiceKind::Protocol, ServiceKind::Other] {
                    for from in [EndKind::Net, EndKind::Host, EndKind::Router] {
                        for to in [EndKind::Net, EndKind::Host, EndKind::Router] {
                            shapes.push(Shape { verdict, ipv6, interval, service, from, to });
                        }
                    }
                }
            }
        }
    }
    shapes.retain(|shape| names.contains(&*shape.name()));
    shapes
}

/// Elements of one set, each key once: the first rule that says it counts.
#[derive(Default)]
struct Collected {
    seen: HashSet<Box<[Field]>>,
    elements: Vec<Element>,
}

impl Collected {
    fn set(self, shape: Shape) -> Set {
        let new = if shape.interval { Set::of_ranges } else { Set::new };
        let data = if shape == Shape::PAIRS { DataType::Verdict } else { DataType::None };
        new(&shape.name(), &shape.comment(), &shape.key_types(), data, self.elements).counted()
    }
}

/// One end of a piece: its kind, its field, whether it is a range, and its family where it has one.
struct Side {
    kind: EndKind,
    field: Option<Field>,
    range: bool,
    ipv6: Option<bool>,
}

/// `None` where the end does not exist: the internet without an uplink.
fn side(policy: &Policy, end: End) -> Option<Side> {
    let address = |field, range, ipv6| Side { kind: EndKind::Host, field: Some(field), range, ipv6: Some(ipv6) };
    Some(match end {
        End::Network(_) | End::Internet => {
            let interface = policy.end_interface(end)?.clone();
            Side { kind: EndKind::Net, field: Some(Field::Interface(interface)), range: false, ipv6: None }
        }
        End::Router => Side { kind: EndKind::Router, field: None, range: false, ipv6: None },
        End::Host(host) => match policy.hosts[host].reserved {
            Some(reserved) => address(Field::Ipv4(reserved, reserved), false, false),
            None => address(Field::Host(host), false, false),
        },
        End::Name(name) => address(Field::Name(name), false, false),
        End::Cidr4(net) => address(range4(net), net.prefix_len() < 32, false),
        End::Cidr6(net) => address(range6(net), true, true),
    })
}

pub(super) fn range4(net: Ipv4Net) -> Field {
    Field::Ipv4(net.network(), net.broadcast())
}

fn range6(net: Ipv6Net) -> Field {
    Field::Ipv6(net.network(), net.broadcast())
}

fn collect(
    policy: &Policy,
    index: usize,
    from: End,
    to: End,
    pieces: &[Piece],
    by_shape: &mut HashMap<Shape, Collected>,
) {
    let rule = &policy.rules[index];
    let (Some(source), Some(target)) = (side(policy, from), side(policy, to)) else { return };
    // Inside one network nothing is filtered; what the router says to itself is not either; the internet is not routed to itself.
    let same = from == to && source.kind != EndKind::Host;
    let families_differ = source.ipv6.is_some() && target.ipv6.is_some() && source.ipv6 != target.ipv6;
    // What the router sends is open: nothing has to be allowed.
    let needless = source.kind == EndKind::Router && rule.verdict == Verdict::Allow;
    if same || families_differ || needless {
        return;
    }
    let ipv6 = source.ipv6 == Some(true) || target.ipv6 == Some(true);
    let with_router = source.kind == EndKind::Router || target.kind == EndKind::Router;
    // A key of interfaces names no family. Towards the router it holds for both; between networks only a denial does.
    let both_families =
        (with_router || rule.verdict == Verdict::Deny) && source.ipv6.is_none() && target.ipv6.is_none();
    let comment: Arc<str> = comment(policy, rule, from, to).into();
    for piece in pieces {
        let interval = source.range
            || target.range
            || ipv6
            || matches!(piece, Piece::Ports(_, range) if range.first != range.last);
        let service = match piece {
            Piece::Any => ServiceKind::Any,
            Piece::Ports(..) => ServiceKind::Port,
            Piece::Protocol(_) => ServiceKind::Protocol,
            Piece::Other => ServiceKind::Other,
        };
        let shape = Shape { verdict: rule.verdict, ipv6, interval, service, from: source.kind, to: target.kind };
        let collected = by_shape.entry(shape).or_default();
        let tally = Arc::new(Tally::of_rule(policy, index, from, to, *piece));
        for service in service_fields(*piece, ipv6, both_families) {
            let key: Box<[Field]> = source.field.iter().chain(&target.field).cloned().chain(service).collect();
            if collected.seen.insert(key.clone()) {
                let data = if shape == Shape::PAIRS { Data::Accept } else { Data::None };
                collected.elements.push(Element { key, data, comment: comment.clone(), tally: Some(tally.clone()) });
            }
        }
    }
}

/// The last fields of the key; ICMP of both families makes two elements.
fn service_fields(piece: Piece, ipv6: bool, both_families: bool) -> Vec<Vec<Field>> {
    match piece {
        Piece::Any | Piece::Other => vec![vec![]],
        Piece::Ports(transport, range) => vec![vec![Field::Protocol(number(transport)), Field::Ports(range)]],
        Piece::Protocol(Protocol::Tcp) => vec![vec![Field::Protocol(TCP)]],
        Piece::Protocol(Protocol::Udp) => vec![vec![Field::Protocol(UDP)]],
        Piece::Protocol(Protocol::Icmp) if both_families => {
            vec![vec![Field::Protocol(ICMP)], vec![Field::Protocol(ICMPV6)]]
        }
        Piece::Protocol(Protocol::Icmp) => vec![vec![Field::Protocol(if ipv6 { ICMPV6 } else { ICMP })]],
    }
}

/// The protocol number of a transport.
pub(super) fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}

/// The fields of one port range of one transport.
pub(super) fn port_fields(transport: Transport, ports: PortRange) -> [Field; 2] {
    [Field::Protocol(number(transport)), Field::Ports(ports)]
}

fn comment(policy: &Policy, rule: &Rule, from: End, to: End) -> String {
    let (place, from, to) = (&rule.place, policy.end_name(from), policy.end_name(to));
    match rule.origin {
        Origin::File | Origin::Internet => format!("{place} {from} -> {to}"),
        Origin::Dns => format!("{place} {from}: dns"),
        Origin::Admin => format!("{place} {from}: admin"),
    }
}
