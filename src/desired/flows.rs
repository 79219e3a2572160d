//! Which open connections lose their permission: what to cut, and what keeps it cut.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::firewall::{
    CUT, CUT_IPV6, Content, Counter, Data, DataType, Decision, Element, ElementChange, Field, HostAddresses, Key,
    Packet, Policy, Side, State, Surroundings, connection_end,
};
use crate::model::{Flow, Ports, TCP, Tuple, UDP};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The source port from which a DHCP server speaks: the only one that any decision looks at.
const DHCP_SERVER: u16 = 67;

/// By what a connection is judged.
#[derive(Clone, Copy)]
pub struct Law<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Addresses as they are under it.
    pub around: &'a Surroundings,
}

/// What a law says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    Permits,
    Refuses,
    /// It knows no way between the two ends.
    Unknown,
}

/// Indexes of the connections that `now` refuses and `before` permitted. Without a `before`, `now` alone decides, and what it does not know stays.
///
/// A connection is judged by its first packet, as it came: so one that went through a port forward stays when the forward moves to another
/// host, and goes when the forward goes. Never cut are
///
/// - connections of which neither end is one of the home, and those of the router with itself;
/// - what was announced by another connection, and what is tracked in a zone of its own: neither is the policy's;
/// - multicast and broadcast, and TCP that has ended by itself;
/// - connections whose destination somebody else's table translates to where the policy lets them go;
/// - TCP that was picked up in its middle, where the policy permits it in either direction: then nobody knows who opened it, and the answers
///   of a permitted connection may well have come first.
pub fn refused(now: Law<'_>, before: Option<Law<'_>>, flows: &[Flow]) -> Vec<usize> {
    let (mut now, mut before) = (Court::new(now), before.map(Court::new));
    let lost = |flow: &Flow| {
        if !is_judged(flow) || now.is_foreign(flow) {
            return false;
        }
        match (now.opinion(flow), &mut before) {
            (Opinion::Permits, _) => false,
            (_, Some(before)) => before.opinion(flow) == Opinion::Permits,
            (opinion, None) => opinion == Opinion::Refuses,
        }
    };
    let verdicts: Vec<bool> = flows.iter().map(lost).collect();
    verdicts.iter().enumerate().filter(|(_, lost)| **lost).map(|(index, _)| index).collect()
}

/// [`refused`] by `now` alone, for the connections that were open before the start. One to an address that an outside name had and has left
/// looks like one that never was permitted: so a connection stays also where the policy would permit it if the names stood for its ends.
pub fn refused_at_start(now: Law<'_>, flows: &[Flow]) -> Vec<usize> {
    let lost = refused(now, None, flows);
    if lost.is_empty() || now.policy.outside_names.is_empty() {
        return lost;
    }
    let ends = |flow: &Flow| [flow.original.source, flow.original.destination];
    let addresses: Vec<Ipv4Addr> = lost
        .iter()
        .flat_map(|index| ends(&flows[*index]))
        .filter_map(|end| if let IpAddr::V4(end) = end { Some(end) } else { None })
        .collect();
    let hosts = now.around.hosts.clone().with_names(now.policy.outside_names.iter().map(|_| addresses.clone()));
    let around = Surroundings { hosts, ..now.around.clone() };
    let doubtful: Vec<Flow> = lost.iter().map(|index| flows[*index]).collect();
    let refused = refused(Law { around: &around, ..now }, None, &doubtful);
    refused.into_iter().map(|index| lost[index]).collect()
}

/// Whether any of these changes can take a permission away: a permission that goes, or a denial that comes.
pub fn may_refuse(changes: &[ElementChange]) -> bool {
    changes.iter().any(|change| change.set.starts_with("deny") == change.add)
}

/// The addresses that hosts left or took between two pictures.
pub fn moved(older: &HostAddresses, newer: &HostAddresses) -> HashSet<IpAddr> {
    let hosts = HostAddresses::changed(older, newer);
    hosts.into_iter().flat_map(|host| [older.get(host), newer.get(host)]).flatten().map(IpAddr::V4).collect()
}

/// Whether a connection has an end at one of these addresses, before or behind its translation.
pub fn touches(flow: &Flow, addresses: &HashSet<IpAddr>) -> bool {
    [flow.original.source, flow.original.destination, flow.reply.source].iter().any(|end| addresses.contains(end))
}

/// What keeps these connections cut: members of the sets by which the table knows what is left of them. Tracking would take the next packet
/// of a TCP connection, also an answer, for the first of a new one. With other protocols it is one.
pub fn barriers(flows: &[Flow]) -> Vec<ElementChange> {
    let mut keys: HashSet<Key> = HashSet::new();
    for flow in flows.iter().filter(|flow| flow.original.protocol == TCP) {
        let translated = Tuple {
            destination: flow.reply.source,
            ports: reversed(flow.reply.ports, flow.original.ports),
            ..flow.original
        };
        keys.extend([flow.original, translated, flow.reply].iter().filter_map(key));
    }
    let member = |key: Key| ElementChange {
        set: if matches!(key[0], Field::Ipv4(..)) { CUT } else { CUT_IPV6 }.into(),
        add: true,
        interval: false,
        data: DataType::None,
        element: Element { key, data: Data::None, comment: "".into(), tally: None },
        counter: Counter::default(),
    };
    keys.into_iter().map(member).collect()
}

/// The ports of a packet from the one end to where the other one answers from.
fn reversed(answer: Ports, asked: Ports) -> Ports {
    match (answer, asked) {
        (Ports::Of { source: answers_from, .. }, Ports::Of { source, .. }) => {
            Ports::Of { source, destination: answers_from }
        }
        _ => asked,
    }
}

fn key(tuple: &Tuple) -> Option<Key> {
    let Ports::Of { source, destination } = tuple.ports else { return None };
    Some([connection_end(tuple.source, source), connection_end(tuple.destination, destination)].concat().into())
}

fn is_judged(flow: &Flow) -> bool {
    let Tuple { source, destination, .. } = flow.original;
    let for_one = |address: IpAddr| {
        let everybody = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || everybody)
    };
    flow.zone == 0 && !flow.expected && !flow.ended && for_one(source) && for_one(destination)
}

/// A law, and what it has said already: a thousand connections between two machines are one question.
struct Court<'a> {
    law: Law<'a>,
    said: HashMap<Packet, Opinion>,
}

impl<'a> Court<'a> {
    fn new(law: Law<'a>) -> Self {
        Court { law, said: HashMap::new() }
    }

    fn side(&self, address: IpAddr) -> Option<Side> {
        self.law.around.side_of(self.law.policy, address)
    }

    /// Whether neither end is of this home, or both are the router. Of IPv6 both ends have to be known.
    fn is_foreign(&self, flow: &Flow) -> bool {
        let ends = [flow.original.source, flow.original.destination].map(|end| self.side(end));
        let outside = |side: Option<Side>| matches!(side, None | Some(Side::Internet));
        let unknown = flow.original.source.is_ipv6() && ends.contains(&None);
        unknown || ends.into_iter().all(outside) || ends == [Some(Side::Router); 2]
    }

    fn opinion(&mut self, flow: &Flow) -> Opinion {
        let first = self.ask(&flow.original);
        if first == Opinion::Permits {
            return first;
        }
        let translated = Tuple {
            destination: flow.reply.source,
            ports: reversed(flow.reply.ports, flow.original.ports),
            ..flow.original
        };
        let elsewhere = translated != flow.original && self.ask(&translated) == Opinion::Permits;
        let other_way = flow.picked_up && self.ask(&flow.reply) == Opinion::Permits;
        if elsewhere || other_way { Opinion::Permits } else { first }
    }

    fn ask(&mut self, tuple: &Tuple) -> Opinion {
        let packet = Packet {
            arrives: self.side(tuple.source).unwrap_or(Side::Internet),
            source: tuple.source,
            destination: tuple.destination,
            content: content(tuple),
            state: State::New,
        };
        let Law { policy, around } = self.law;
        *self.said.entry(packet).or_insert_with(|| {
            let decision = policy.evaluate(around, &packet).decision;
            match decision {
                decision if decision.allows() => Opinion::Permits,
                Decision::NoRoute => Opinion::Unknown,
                _ => Opinion::Refuses,
            }
        })
    }
}

/// What a packet of this tuple carries.
pub(super) fn content(tuple: &Tuple) -> Content {
    match (tuple.protocol, tuple.ports) {
        (protocol @ (TCP | UDP), Ports::Of { source, destination: destination_port }) => {
            let source_port = if source == DHCP_SERVER { source } else { 0 };
            if protocol == TCP {
                Content::Tcp { source_port, destination_port }
            } else {
                Content::Udp { source_port, destination_port }
            }
        }
        (ICMP | ICMPV6, Ports::Icmp { kind, code, .. }) => Content::Icmp { kind, code },
        (protocol, _) => Content::Other(protocol),
    }
}

#[cfg(test)]
#[path = "flows_tests.rs"]
mod tests;
