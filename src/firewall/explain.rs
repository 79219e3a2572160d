//! The way of one packet, phase by phase, with the deciding line of the file.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::evaluate::{is_at, pairs};
use super::explain_words::Words;
use super::packet::{Content, Decision, Fate, Packet, Side, State, Surroundings, Trace};
use super::policy::{End, Policy};
use super::query::{Party, Query};
use super::services::Protocol;

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// Who asks, as written.
    pub from: String,
    /// Who is asked, as written.
    pub to: String,
    /// Who asks, with address and network.
    pub source: String,
    /// Who is asked, with address and network.
    pub destination: String,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// The port asked for.
    pub port: Option<u16>,
    /// Whether the connection is allowed.
    pub allowed: bool,
    /// `accept`, `reject` or `drop`.
    pub verdict: String,
    /// What the sender of a refused packet hears: `tcp-reset`, `admin-prohibited`, `no-route`.
    pub answer: Option<String>,
    /// `labgate.toml:36`, where a line decides.
    pub place: Option<String>,
    /// Why it is denied.
    pub reason: Option<String>,
    /// The rule one would have to write.
    pub suggestion: Option<String>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// One phase of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Phase {
    /// `in`, `nat`, `route`, `policy`, `out`.
    pub name: String,
    /// What happens.
    pub words: String,
    /// The deciding line.
    pub place: Option<String>,
    /// New connections that this line has decided since it was loaded, where the kernel was asked.
    pub packets: Option<u64>,
    /// `ok`, `-`, `ALLOW` or `DENY`.
    pub outcome: String,
}

impl Explanation {
    /// Puts what the kernel has counted beside the lines of the file, by place (`labgate.toml:36`): packets and octets.
    pub fn with_counters(mut self, counters: &HashMap<String, (u64, u64)>) -> Self {
        for phase in &mut self.phases {
            let counter = phase.place.as_ref().and_then(|place| counters.get(place));
            phase.packets = counter.map(|(packets, _)| *packets);
        }
        self
    }
}

/// Explains what the policy does with the first packet of a connection.
pub fn explain(policy: &Policy, around: &Surroundings, query: &Query) -> Explanation {
    let around = assumed(policy, around);
    let words = Words { policy, around: &around, query };
    let (source, destination) = match ends(policy, &around, query) {
        Ok(ends) => ends,
        Err(why) => return words.nowhere(why),
    };
    let packet = |port| Packet {
        arrives: source.0,
        source: source.1,
        destination: destination.address(policy, query, port),
        content: destination.content(policy, query, port, source.1.is_ipv6()),
        state: State::New,
    };
    let Some(ports) = undecided_ports(policy, &around, query, &packet(1)) else {
        let packet = packet(query.port.unwrap_or(0));
        return words.explanation(&packet, destination.address, &policy.evaluate(&around, &packet), None);
    };
    // Every port at once: the answer changes only at ports that something names.
    let answers: Vec<(u16, Packet, Trace<'_>)> = ports
        .iter()
        .map(|port| (*port, packet(*port)))
        .map(|(port, packet)| (port, packet, policy.evaluate(&around, &packet)))
        .collect();
    let passing = |(_, _, trace): &&(u16, Packet, Trace<'_>)| trace.fate == Fate::Accept;
    let allowed: Vec<u16> = answers.iter().filter(passing).map(|(port, _, _)| *port).collect();
    let (_, packet, trace) = answers.iter().find(|answer| !passing(answer)).unwrap_or(&answers[0]);
    words.explanation(packet, destination.address, trace, Some(allowed).filter(|ports| ports.len() < answers.len()))
}

/// Why a packet is refused, as [`explain`] says it; `None` where it is not, or where its protocol cannot be asked about.
pub fn refusal(policy: &Policy, around: &Surroundings, packet: &Packet) -> Option<String> {
    let party = |address: IpAddr| match (around.side_of(policy, address), address) {
        (Some(Side::Router), _) => Party::Router,
        (_, IpAddr::V4(address)) => Party::Address(address),
        (_, IpAddr::V6(address)) => Party::Address6(address),
    };
    let query = Query {
        from_text: packet.source.to_string(),
        to_text: packet.destination.to_string(),
        from: party(packet.source),
        to: party(packet.destination),
        protocol: match packet.content {
            Content::Tcp { .. } => Protocol::Tcp,
            Content::Udp { .. } => Protocol::Udp,
            Content::Icmp { .. } => Protocol::Icmp,
            Content::Other(_) => return None,
        },
        port: packet.content.destination_port(),
    };
    let trace = policy.evaluate(around, packet);
    Words { policy, around, query: &query }.explanation(packet, packet.destination, &trace, None).reason
}

/// The target of a question.
struct Target {
    /// The address asked for.
    address: IpAddr,
    /// The public address, where the question means a port forward by naming its host.
    public: Option<Ipv4Addr>,
}

impl Target {
    /// The destination of the packet. Who asks from outside for a host that has a forward to this port means that forward.
    fn address(&self, policy: &Policy, query: &Query, port: u16) -> IpAddr {
        match self.public {
            Some(public) if outside_port(policy, query, port).is_some() => IpAddr::V4(public),
            _ => self.address,
        }
    }

    fn content(&self, policy: &Policy, query: &Query, port: u16, ipv6: bool) -> Content {
        let outside = self.public.and_then(|_| outside_port(policy, query, port));
        let destination_port = outside.unwrap_or(port);
        match query.protocol {
            Protocol::Tcp => Content::Tcp { source_port: 0, destination_port },
            Protocol::Udp => Content::Udp { source_port: 0, destination_port },
            Protocol::Icmp => Content::Icmp { kind: if ipv6 { 128 } else { 8 }, code: 0 },
        }
    }
}

/// The outside port of a forward that ends at the host asked for and this port.
fn outside_port(policy: &Policy, query: &Query, port: u16) -> Option<u16> {
    let Party::Host(host) = query.to else { return None };
    policy.forwards.iter().filter(|forward| forward.host == host).find_map(|forward| match forward.target_port {
        Some(target) => (target == port).then_some(forward.ports.first),
        None => (forward.ports.first <= port && port <= forward.ports.last).then_some(port),
    })
}

/// Where nothing is known of the public address or of IPv6, one is assumed that no rule names.
fn assumed(policy: &Policy, around: &Surroundings) -> Surroundings {
    let mut around = around.clone();
    if let Some(uplink) = policy.uplink.as_ref().filter(|_| around.uplink.is_empty()) {
        let address = uplink.address.unwrap_or_else(|| stranger(policy, 2));
        around.uplink.extend(Ipv4Net::new(address, 32));
    }
    if around.routes6.is_empty() {
        let prefix = |index: usize| Ipv6Net::new(Ipv6Addr::new(0xfd00, 0, 0, index as u16, 0, 0, 0, 0), 64);
        let sides = (0..policy.networks.len()).filter_map(|index| Some((prefix(index).ok()?, Side::Network(index))));
        around.routes6 = sides.collect();
        around.routes6.extend(policy.uplink.as_ref().map(|_| (Ipv6Net::default(), Side::Internet)));
        around.routers6 = (0..policy.networks.len()).filter_map(|index| Some(host6(prefix(index).ok()?, 1))).collect();
    }
    around
}

fn host6(net: Ipv6Net, number: u128) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()) + number)
}

/// Source side and address, and the target; or why there is no such packet.
fn ends(policy: &Policy, around: &Surroundings, query: &Query) -> Result<((Side, IpAddr), Target), String> {
    let ipv6 = [query.from, query.to].iter().any(|party| matches!(party, Party::Address6(_)));
    let from = address(policy, around, query.from, ipv6, false, None)?;
    let side = match query.from {
        Party::Router => Side::Router,
        Party::Internet => Side::Internet,
        Party::Network(index) => Side::Network(index),
        _ => around.side_of(policy, from).unwrap_or(Side::Internet),
    };
    let again = query.from == query.to;
    let to = address(policy, around, query.to, ipv6, again, Some(side))?;
    let public = around.uplink.first().map(|net| net.addr()).filter(|_| side == Side::Internet && !ipv6);
    Ok(((side, from), Target { address: to, public }))
}

/// An address that stands for a party. `asker` is the side that asks for the router.
fn address(
    policy: &Policy,
    around: &Surroundings,
    party: Party,
    ipv6: bool,
    second: bool,
    asker: Option<Side>,
) -> Result<IpAddr, String> {
    let only_ipv4 = |name: &str| format!("{name} is known by its IPv4 address alone");
    let none = |name: &str| format!("{name} has no address now, so no rule that names it is in effect");
    let found = match party {
        Party::Host(host) => {
            let name = &policy.hosts[host].name;
            let address = around.hosts.get(host).ok_or_else(|| none(name))?;
            return if ipv6 { Err(only_ipv4(name)) } else { Ok(address.into()) };
        }
        Party::Name(index) => {
            let name = policy.outside_names[index].name.as_str();
            let address = around.hosts.of_name(index).first().ok_or_else(|| none(name))?;
            return if ipv6 { Err(only_ipv4(name)) } else { Ok((*address).into()) };
        }
        Party::Address(address) if ipv6 => {
            return Err(format!("{address} is an IPv4 address, and the other end is not"));
        }
        Party::Address(address) => address.into(),
        Party::Address6(address) => address.into(),
        Party::Network(index) if ipv6 => {
            let routed = around.routes6.iter().find(|(_, side)| *side == Side::Network(index));
            let (net, _) = routed.ok_or_else(|| only_ipv4(&policy.networks[index].name))?;
            host6(*net, 100 + u128::from(second)).into()
        }
        Party::Network(index) => representative(policy, around, index, second).into(),
        Party::Internet if ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).into(),
        Party::Internet => stranger(policy, 9 + u8::from(second)).into(),
        Party::Router if ipv6 => around.routers6.first().copied().unwrap_or(Ipv6Addr::LOCALHOST).into(),
        Party::Router => {
            let inner = policy.networks.first().map(|network| network.router);
            let gateway = match asker {
                Some(Side::Network(index)) => Some(policy.networks[index].router),
                Some(Side::Internet) => around.uplink.first().map(|net| net.addr()),
                _ => inner,
            };
            gateway.or(inner).unwrap_or(Ipv4Addr::LOCALHOST).into()
        }
    };
    Ok(found)
}

/// An address of a network that no host of the file has: the last one that is free.
fn representative(policy: &Policy, around: &Surroundings, network: usize, second: bool) -> Ipv4Addr {
    let network = &policy.networks[network];
    let (first, last) = (u32::from(network.subnet.network()), u32::from(network.subnet.broadcast()));
    let free = |number: &u32| {
        let address = Ipv4Addr::from(*number);
        address != network.router && around.hosts.host_at(address).is_none()
    };
    let mut free = (first..last).rev().filter(free).map(Ipv4Addr::from);
    free.nth(usize::from(second)).unwrap_or(network.subnet.network())
}

/// An address of the internet that no rule names, with this last octet.
fn stranger(policy: &Policy, last: u8) -> Ipv4Addr {
    let named = |address: &Ipv4Addr| {
        let ends = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
        policy.network_of_address(*address).is_some()
            || ends
                .into_iter()
                .any(|end| matches!(end, End::Cidr4(net) if net.prefix_len() > 0 && net.contains(address)))
    };
    let documentation = [[203, 0, 113, last], [198, 51, 100, last], [192, 0, 2, last]].map(Ipv4Addr::from);
    documentation.into_iter().find(|address| !named(address)).unwrap_or(documentation[0])
}

/// One port of each stretch on which the answer cannot change; `None` where the question names its port or has none.
fn undecided_ports(policy: &Policy, around: &Surroundings, query: &Query, packet: &Packet) -> Option<BTreeSet<u16>> {
    if query.port.is_some() || query.protocol == Protocol::Icmp {
        return None;
    }
    let side = around.side_of(policy, packet.destination);
    let concerns = |from: &End, to: &End| {
        is_at(around, *from, packet.arrives, packet.source)
            && side.is_none_or(|side| is_at(around, *to, side, packet.destination))
    };
    let mut ports = BTreeSet::from([1, 67, 68, 69, 546, 547]);
    let mut add = |first: u16, last: u16| ports.extend([Some(first.max(1)), last.checked_add(1)].into_iter().flatten());
    for rule in policy.rules.iter().filter(|rule| pairs(rule).any(|(from, to)| concerns(&from, &to))) {
        let set = if query.protocol == Protocol::Tcp { &rule.services.tcp } else { &rule.services.udp };
        set.ranges().iter().for_each(|range| add(range.first, range.last));
    }
    for forward in &policy.forwards {
        add(forward.ports.first, forward.ports.last);
        forward.target_port.into_iter().for_each(|port| add(port, port));
    }
    Some(ports)
}

/// The line that decides.
pub(super) fn place(decision: &Decision<'_>) -> Option<String> {
    match decision {
        Decision::Rule(rule) => Some(rule.place.to_string()),
        Decision::Forward(forward) => Some(forward.place.to_string()),
        _ => None,
    }
}
