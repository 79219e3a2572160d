//! The policy's answer to the first packet of a connection: the same order of questions as the chains of the table ask.

use std::net::{IpAddr, Ipv4Addr};

use super::hosts::HostAddresses;
use super::policy::{End, Forward, Policy, Rule, Verdict};
use super::services::{Protocol, Services};
use crate::config::Transport;

/// On which side of the router something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Network(usize),
    Internet,
    Router,
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub side: Side,
    pub address: Option<IpAddr>,
}

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub from: Peer,
    pub to: Peer,
    pub protocol: Protocol,
    /// `None` stands for every port at once.
    pub port: Option<u16>,
}

/// Why a packet passes or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision<'a> {
    /// Both ends are in one network: not the router's business.
    Inside,
    /// The router's own packets are free.
    Output,
    /// DHCP, where the router serves it.
    Dhcp,
    /// Echo requests from own networks to the router.
    Ping,
    /// A port forward made its own hole.
    Forward(&'a Forward),
    /// A rule says so.
    Rule(&'a Rule),
    /// No rule says anything.
    Nothing,
}

impl Decision<'_> {
    pub fn allowed(&self) -> bool {
        match self {
            Decision::Rule(rule) => rule.verdict == Verdict::Allow,
            Decision::Nothing => false,
            _ => true,
        }
    }
}

impl Policy {
    /// Decides on `packet`, whose destination is already translated by `forward` where that is given.
    pub(super) fn decide<'a>(
        &'a self,
        hosts: &HostAddresses,
        packet: &Packet,
        forward: Option<&'a Forward>,
    ) -> Decision<'a> {
        if packet.from.side == packet.to.side {
            return Decision::Inside;
        }
        let udp_to_router = packet.to.side == Side::Router && packet.protocol == Protocol::Udp;
        if let Side::Network(index) = packet.from.side
            && udp_to_router
            && packet.port == Some(67)
            && !matches!(packet.from.address, Some(IpAddr::V6(_)))
            && self.networks[index].dhcp
        {
            return Decision::Dhcp;
        }
        let says = |verdict| self.rules.iter().find(|rule| rule.verdict == verdict && matches(hosts, rule, packet));
        if let Some(rule) = says(Verdict::Deny) {
            return Decision::Rule(rule);
        }
        if packet.from.side == Side::Router {
            return Decision::Output;
        }
        if let Some(forward) = forward {
            return Decision::Forward(forward);
        }
        let ping = packet.protocol == Protocol::Icmp && packet.to.side == Side::Router;
        if ping && matches!(packet.from.side, Side::Network(_)) {
            return Decision::Ping;
        }
        says(Verdict::Allow).map_or(Decision::Nothing, Decision::Rule)
    }

    /// The forward that a packet to the router's public address meets, and whether its source may use it.
    pub(super) fn forward_of(&self, packet: &Packet) -> Option<(&Forward, bool)> {
        let transport = match packet.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            Protocol::Icmp => return None,
        };
        let port = packet.port?;
        let own = match packet.from.side {
            Side::Network(index) => self.networks[index].internet,
            Side::Internet => false,
            Side::Router => return None,
        };
        if !own && packet.from.side != Side::Internet {
            return None;
        }
        let hit = |forward: &&Forward| {
            forward.transports.contains(&transport) && forward.ports.first <= port && port <= forward.ports.last
        };
        let forward = self.forwards.iter().find(hit)?;
        let listed = matches!(packet.from.address, Some(IpAddr::V4(source)) if forward.from.iter().any(|net| net.contains(&source)));
        Some((forward, own || forward.from.is_empty() || listed))
    }

    /// Which side of the router an address is on.
    pub(super) fn side_of(&self, address: Ipv4Addr) -> Side {
        match self.network_of_address(address) {
            Some(index) if self.networks[index].router == address => Side::Router,
            Some(index) => Side::Network(index),
            None => Side::Internet,
        }
    }
}

/// Whether the ends and the service of a rule hold for a packet.
pub(super) fn matches(hosts: &HostAddresses, rule: &Rule, packet: &Packet) -> bool {
    has_service(&rule.services, packet.protocol, packet.port) && ends_match(hosts, rule, &packet.from, &packet.to)
}

/// Whether a rule has such ends, whatever the service.
pub(super) fn ends_match(hosts: &HostAddresses, rule: &Rule, from: &Peer, to: &Peer) -> bool {
    let pairs = rule.from.iter().flat_map(|source| rule.to.iter().map(move |target| (*source, *target)));
    pairs.into_iter().any(|(source, target)| {
        is_at(hosts, source, from)
            && is_at(hosts, target, to)
            && (rule.verdict == Verdict::Deny || families_agree(source, target, from, to))
    })
}

/// What is allowed between networks and the internet is IPv4, unless one end is an IPv6 address or the router itself.
fn families_agree(source: End, target: End, from: &Peer, to: &Peer) -> bool {
    let ipv6 = [from, to].iter().any(|peer| matches!(peer.address, Some(IpAddr::V6(_))));
    let says_so = [source, target].iter().any(|end| matches!(end, End::Cidr6(_) | End::Router));
    !ipv6 || says_so
}

pub(super) fn is_at(hosts: &HostAddresses, end: End, peer: &Peer) -> bool {
    match end {
        End::Router => peer.side == Side::Router,
        // What goes to the router itself is a matter of rules that name the router.
        _ if peer.side == Side::Router => false,
        End::Network(index) => peer.side == Side::Network(index),
        End::Internet => peer.side == Side::Internet,
        End::Host(host) => peer.address.is_some() && hosts.get(host).map(IpAddr::V4) == peer.address,
        End::Name(name) => matches!(peer.address, Some(IpAddr::V4(address)) if hosts.name_has(name, address)),
        End::Cidr4(net) => matches!(peer.address, Some(IpAddr::V4(address)) if net.contains(&address)),
        End::Cidr6(net) => matches!(peer.address, Some(IpAddr::V6(address)) if net.contains(&address)),
    }
}

fn has_service(services: &Services, protocol: Protocol, port: Option<u16>) -> bool {
    let ports = match protocol {
        Protocol::Tcp => &services.tcp,
        Protocol::Udp => &services.udp,
        Protocol::Icmp => return services.icmp,
    };
    port.map_or(ports.is_all(), |port| ports.contains(port))
}
