//! The way of one packet, phase by phase, with the deciding line of the file.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::decide::{Decision, Packet, Peer, Side, ends_match, is_at};
use super::describe::{range, transport_name};
use super::hosts::HostAddresses;
use super::nat::needs_masquerade;
use super::policy::{End, Forward, Origin, Policy, Rule, Verdict};
use super::query::{Party, Query};
use super::services::{Piece, Protocol};

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
pub fn explain(policy: &Policy, hosts: &HostAddresses, query: &Query) -> Explanation {
    let asked = Packet {
        from: peer(policy, hosts, query.from, None),
        to: peer(policy, hosts, query.to, Some(query.from)),
        protocol: query.protocol,
        port: query.port,
    };
    let translation = translation(policy, hosts, query, &asked);
    let packet = translation.packet;
    let homeless = [query.from, query.to].into_iter().find_map(|party| match party {
        Party::Host(host) if hosts.get(host).is_none() => Some(policy.hosts[host].name.to_string()),
        Party::Name(name) if hosts.of_name(name).is_empty() => Some(policy.outside_names[name].name.to_string()),
        _ => None,
    });
    let decision = match homeless {
        Some(_) => Decision::Nothing,
        None => policy.decide(hosts, &packet, translation.forward.filter(|_| translation.usable)),
    };
    let allowed = decision.allowed() && !(packet.to.side == Side::Internet && policy.uplink.is_none());
    let words = Words { policy, hosts, query };
    let mut explanation = Explanation {
        from: query.from_text.clone(),
        to: query.to_text.clone(),
        source: words.party(query.from, &packet.from, &query.from_text),
        destination: words.party(query.to, &asked.to, &query.to_text),
        protocol: protocol_name(query.protocol).to_owned(),
        port: query.port,
        allowed,
        verdict: verdict(allowed, packet.from.side).to_owned(),
        place: place(&decision),
        reason: None,
        suggestion: None,
        phases: words.phases(&packet, &translation, &decision, allowed),
    };
    if !allowed {
        explanation.reason = Some(match homeless {
            Some(name) => format!("{name} has no address now, so no rule that names it is in effect"),
            None => words.denial(&packet, &translation, &decision),
        });
        explanation.suggestion = (decision == Decision::Nothing).then(|| words.suggestion());
    }
    explanation
}

/// What the nat phase does.
struct Translation<'a> {
    packet: Packet,
    forward: Option<&'a Forward>,
    /// Whether the source may use the forward.
    usable: bool,
}

/// Who asks for the router from outside, or for its public address from inside, meets the port forwards. Who asks from outside for a host
/// that has a forward to this port means that forward.
fn translation<'a>(policy: &'a Policy, hosts: &HostAddresses, query: &Query, asked: &Packet) -> Translation<'a> {
    let none = Translation { packet: *asked, forward: None, usable: false };
    let public = match query.to {
        Party::Router => asked.from.side == Side::Internet,
        Party::Address(address) => policy.uplink.as_ref().is_some_and(|uplink| uplink.address == Some(address)),
        _ => false,
    };
    let outside = if public {
        query.port
    } else if asked.from.side == Side::Internet {
        outside_port(policy, query)
    } else {
        None
    };
    let Some((forward, usable)) = policy.forward_of(&Packet { port: outside, ..*asked }) else { return none };
    if !usable {
        return Translation { forward: Some(forward), ..none };
    }
    let to = peer(policy, hosts, Party::Host(forward.host), None);
    let packet = Packet { to, port: forward.target_port.or(outside), ..*asked };
    Translation { packet, forward: Some(forward), usable }
}

/// The outside port of a forward that ends at the host and port asked for.
fn outside_port(policy: &Policy, query: &Query) -> Option<u16> {
    let (Party::Host(host), Some(port)) = (query.to, query.port) else { return None };
    policy.forwards.iter().filter(|forward| forward.host == host).find_map(|forward| match forward.target_port {
        Some(target) => (target == port).then_some(forward.ports.first),
        None => (forward.ports.first <= port && port <= forward.ports.last).then_some(port),
    })
}

/// The end of the packet that stands for a party.
fn peer(policy: &Policy, hosts: &HostAddresses, party: Party, asker: Option<Party>) -> Peer {
    let v4 = |address: Ipv4Addr| Peer { side: policy.side_of(address), address: Some(IpAddr::V4(address)) };
    match party {
        Party::Host(host) => hosts.get(host).map_or(Peer { side: Side::Internet, address: None }, v4),
        Party::Name(name) => {
            hosts.of_name(name).first().map_or(Peer { side: Side::Internet, address: None }, |address| v4(*address))
        }
        Party::Network(index) => v4(representative(policy, hosts, index, asker == Some(party))),
        Party::Address(address) if policy.uplink.as_ref().is_some_and(|uplink| uplink.address == Some(address)) => {
            Peer { side: Side::Router, address: Some(IpAddr::V4(address)) }
        }
        Party::Address(address) => v4(address),
        Party::Address6(address) => Peer { side: Side::Internet, address: Some(IpAddr::V6(address)) },
        Party::Internet => Peer { side: Side::Internet, address: Some(IpAddr::V4(stranger(policy))) },
        Party::Router => Peer { side: Side::Router, address: None },
    }
}

/// An address of a network that no host of the file has: the last one that is free.
fn representative(policy: &Policy, hosts: &HostAddresses, network: usize, second: bool) -> Ipv4Addr {
    let network = &policy.networks[network];
    let (first, last) = (u32::from(network.subnet.network()), u32::from(network.subnet.broadcast()));
    let free = |number: &u32| {
        let address = Ipv4Addr::from(*number);
        address != network.router && hosts.host_at(address).is_none()
    };
    let mut free = (first..last).rev().filter(free).map(Ipv4Addr::from);
    free.nth(usize::from(second)).unwrap_or(network.subnet.network())
}

/// An address of the internet that no rule names.
fn stranger(policy: &Policy) -> Ipv4Addr {
    let named = |address: &Ipv4Addr| {
        let ends = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
        policy.network_of_address(*address).is_some()
            || ends
                .into_iter()
                .any(|end| matches!(end, End::Cidr4(net) if net.prefix_len() > 0 && net.contains(address)))
    };
    let documentation = [[203, 0, 113, 9], [198, 51, 100, 9], [192, 0, 2, 9]].map(Ipv4Addr::from);
    documentation.into_iter().find(|address| !named(address)).unwrap_or(documentation[0])
}

fn verdict(allowed: bool, from: Side) -> &'static str {
    match (allowed, from) {
        (true, _) => "accept",
        (false, Side::Internet) => "drop",
        (false, _) => "reject",
    }
}

fn place(decision: &Decision<'_>) -> Option<String> {
    match decision {
        Decision::Rule(rule) => Some(rule.place.to_string()),
        Decision::Forward(forward) => Some(forward.place.to_string()),
        _ => None,
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

/// Turns a decision into words.
struct Words<'a> {
    policy: &'a Policy,
    hosts: &'a HostAddresses,
    query: &'a Query,
}

impl Words<'_> {
    fn party(&self, party: Party, peer: &Peer, text: &str) -> String {
        let network = match peer.side {
            Side::Network(index) => format!(", network {}", self.policy.networks[index].name),
            _ => String::new(),
        };
        match (party, peer.address) {
            (Party::Host(_), Some(address)) => format!("{text} ({address}{network})"),
            (Party::Host(_) | Party::Name(_), None) => format!("{text} (no address now)"),
            (Party::Network(_) | Party::Internet | Party::Name(_), Some(address)) => format!("{text} (e.g. {address})"),
            (Party::Address(_), _) => match self.policy_host(peer) {
                Some(name) => format!("{text} ({name}{network})"),
                None if network.is_empty() => text.to_owned(),
                None => format!("{text} ({})", &network[2..]),
            },
            _ => text.to_owned(),
        }
    }

    fn policy_host(&self, peer: &Peer) -> Option<&str> {
        let Some(IpAddr::V4(address)) = peer.address else { return None };
        self.hosts.host_at(address).map(|host| &*self.policy.hosts[host].name)
    }

    fn phases(
        &self,
        packet: &Packet,
        translation: &Translation<'_>,
        decision: &Decision<'_>,
        allowed: bool,
    ) -> Vec<Phase> {
        let phase = |name: &str, words: String, place: Option<String>, outcome: &str| Phase {
            name: name.to_owned(),
            words,
            place,
            packets: None,
            outcome: outcome.to_owned(),
        };
        let (arrival, arrived) = self.arrival(packet);
        let (nat, nat_place, nat_outcome) = self.nat(packet, translation);
        let outcome = if allowed { "ALLOW" } else { "DENY" };
        let (route, routed) = self.route(packet);
        let mut phases = vec![
            phase("in", arrival, None, arrived),
            phase("nat", nat, nat_place, nat_outcome),
            phase("route", route, None, routed),
            phase("policy", self.decision(packet, decision), place(decision), outcome),
        ];
        if allowed {
            phases.push(phase("out", self.departure(packet), None, ""));
        }
        phases
    }

    fn arrival(&self, packet: &Packet) -> (String, &'static str) {
        match packet.from.side {
            Side::Network(index) => {
                let network = &self.policy.networks[index];
                (format!("{}, source belongs to {}", network.interface, network.name), "ok")
            }
            Side::Router => ("made by the router itself".to_owned(), "-"),
            Side::Internet => match &self.policy.uplink {
                Some(uplink) => (format!("{}, source is none of our networks", uplink.interface), "ok"),
                None => ("there is no uplink it could come from".to_owned(), "-"),
            },
        }
    }

    fn nat(&self, packet: &Packet, translation: &Translation<'_>) -> (String, Option<String>, &'static str) {
        let Some(forward) = translation.forward else { return ("no port-forward matches".to_owned(), None, "-") };
        let transports: Vec<&str> = forward.transports.iter().map(|transport| transport_name(*transport)).collect();
        let outside = format!("{}/{}", transports.join("+"), range(forward.ports));
        let place = Some(forward.place.to_string());
        if !translation.usable {
            return (format!("port-forward {outside} is for other sources"), place, "-");
        }
        let address = packet.to.address.map_or_else(|| "no address now".to_owned(), |address| address.to_string());
        let host = &self.policy.hosts[forward.host].name;
        let port = packet.port.map_or_else(String::new, |port| format!(":{port}"));
        (format!("port-forward {outside} to {host} {address}{port}"), place, "ok")
    }

    fn route(&self, packet: &Packet) -> (String, &'static str) {
        match packet.to.side {
            Side::Network(index) => {
                let network = &self.policy.networks[index];
                (format!("{} is directly on {}", network.subnet, network.interface), "ok")
            }
            Side::Router => ("ends at the router itself".to_owned(), "ok"),
            Side::Internet => match &self.policy.uplink {
                Some(uplink) => (format!("by the uplink {}", uplink.interface), "ok"),
                None => ("there is no uplink".to_owned(), "-"),
            },
        }
    }

    fn departure(&self, packet: &Packet) -> String {
        let masqueraded =
            matches!(packet.from.side, Side::Network(index) if needs_masquerade(&self.policy.networks[index]));
        match packet.to.side {
            Side::Network(index) => self.policy.networks[index].interface.to_string(),
            Side::Router => "delivered to the router".to_owned(),
            Side::Internet => {
                let interface = self.policy.uplink.as_ref().map_or("", |uplink| &uplink.interface);
                format!("{interface}{}", if masqueraded { ", with the uplink's address as source" } else { "" })
            }
        }
    }

    fn decision(&self, packet: &Packet, decision: &Decision<'_>) -> String {
        match decision {
            Decision::Inside => "inside one network nothing is filtered".to_owned(),
            Decision::Output => "the router's own packets are free".to_owned(),
            Decision::Dhcp => "every network with DHCP reaches the server".to_owned(),
            Decision::Ping => "own networks may ping the router".to_owned(),
            Decision::Forward(forward) => {
                format!("the forward to {} opens this port", self.policy.hosts[forward.host].name)
            }
            Decision::Rule(rule) => self.rule(rule),
            Decision::Nothing => {
                format!("no rule allows {} -> {}", self.side(packet.from.side), self.side(packet.to.side))
            }
        }
    }

    fn side(&self, side: Side) -> &str {
        match side {
            Side::Network(index) => &self.policy.networks[index].name,
            Side::Internet => "internet",
            Side::Router => "router",
        }
    }

    fn rule(&self, rule: &Rule) -> String {
        let list = |ends: &[End]| {
            let shown: Vec<String> = ends.iter().map(|end| self.policy.end_name(*end).to_string()).collect();
            shown.join(", ")
        };
        let verb = if rule.verdict == Verdict::Deny { "deny " } else { "" };
        let mut words = format!("{verb}{} -> {}", list(&rule.from), list(&rule.to));
        let pieces: Vec<String> = rule.services.pieces().iter().filter_map(piece).collect();
        match rule.origin {
            Origin::File if pieces.is_empty() => {}
            Origin::File | Origin::Dns => words = format!("{words} {}", pieces.join(", ")),
            Origin::Internet => words.push_str(" (internet = true)"),
            Origin::Admin => words = format!("{words} {} (admin = true)", pieces.join(", ")),
        }
        words
    }

    fn denial(&self, packet: &Packet, translation: &Translation<'_>, decision: &Decision<'_>) -> String {
        if packet.to.side == Side::Internet && self.policy.uplink.is_none() {
            return "there is no uplink".to_owned();
        }
        if let Decision::Rule(rule) = decision {
            return format!("{} says {}", rule.place, self.rule(rule));
        }
        if let Some(forward) = translation.forward.filter(|_| !translation.usable) {
            return format!("the forward of {} is for other sources", forward.place);
        }
        let words = self.decision(packet, decision);
        match self.nearest(packet) {
            Some((rule, how)) => format!("{words}; the nearest is {} ({}, {how})", rule.place, self.rule(rule)),
            None => words,
        }
    }

    /// The rule of the file that comes closest to allowing the packet, and what it lacks.
    fn nearest(&self, packet: &Packet) -> Option<(&Rule, &'static str)> {
        let written =
            || self.policy.rules.iter().filter(|rule| rule.verdict == Verdict::Allow && rule.origin == Origin::File);
        let near = |from: &Peer, to: &Peer| written().find(|rule| ends_match(self.hosts, rule, from, to));
        let one_end = |party: &Peer, target: bool| {
            written().find(|rule| {
                let ends = if target { &rule.to } else { &rule.from };
                ends.iter().any(|end| is_at(self.hosts, *end, party))
            })
        };
        near(&packet.from, &packet.to)
            .map(|rule| (rule, "other ports"))
            .or_else(|| near(&packet.to, &packet.from).map(|rule| (rule, "other direction")))
            .or_else(|| one_end(&packet.to, true).map(|rule| (rule, "other source")))
    }

    fn suggestion(&self) -> String {
        let port = match (self.query.protocol, self.query.port) {
            (protocol, Some(port)) => format!("{}/{port}", protocol_name(protocol)),
            (protocol, None) => protocol_name(protocol).to_owned(),
        };
        let name = |party: Party, text: &str| match party {
            Party::Host(host) => self.policy.hosts[host].name.to_string(),
            Party::Router => "router".to_owned(),
            _ => text.to_owned(),
        };
        let from = name(self.query.from, &self.query.from_text);
        let to = name(self.query.to, &self.query.to_text);
        format!("{{ from = \"{from}\", to = \"{to}\", port = \"{port}\" }}")
    }
}

fn piece(piece: &Piece) -> Option<String> {
    match piece {
        Piece::Any => None,
        Piece::Protocol(protocol) => Some(protocol_name(*protocol).to_owned()),
        Piece::Ports(transport, ports) => Some(format!("{}/{}", transport_name(*transport), range(*ports))),
        Piece::Other => Some("other protocols".to_owned()),
    }
}
