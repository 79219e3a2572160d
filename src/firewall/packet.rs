//! A packet as it comes to the router, what the router knows about its surroundings, and what becomes of the packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::HostAddresses;
use super::permissions::{ICMP, ICMPV6, TCP, UDP};
use super::policy::{Forward, Policy, Rule, Verdict};

/// On which side of the router something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// A network, by index.
    Network(usize),
    /// Beyond the uplink.
    Internet,
    /// This machine itself.
    Router,
}

/// What of a packet, behind its addresses, the policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// TCP.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
    /// UDP.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
    /// ICMP, or ICMPv6 where the addresses are IPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Another IP protocol, by number.
    Other(u8),
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It opens a connection.
    New,
    /// It belongs to one, in either direction.
    Established,
    /// It is about one, as an ICMP error is.
    Related,
    /// It fits no connection and cannot open one.
    Invalid,
}

/// A packet before the router has done anything to it. A fragmented one is whole here, as connection tracking makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The side it arrives from; [`Side::Router`] for one that the router makes itself.
    pub arrives: Side,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// What it carries.
    pub content: Content,
    /// What connection tracking says of it.
    pub state: State,
}

impl Content {
    /// The IP protocol number.
    pub fn protocol(&self, ipv6: bool) -> u8 {
        match self {
            Content::Tcp { .. } => TCP,
            Content::Udp { .. } => UDP,
            Content::Icmp { .. } if ipv6 => ICMPV6,
            Content::Icmp { .. } => ICMP,
            Content::Other(protocol) => *protocol,
        }
    }

    /// The destination port of TCP and UDP.
    pub fn destination_port(&self) -> Option<u16> {
        match self {
            Content::Tcp { destination_port, .. } | Content::Udp { destination_port, .. } => Some(*destination_port),
            _ => None,
        }
    }

    /// The same to another destination port, where it has one.
    pub(super) fn to_port(mut self, port: u16) -> Self {
        if let Content::Tcp { destination_port, .. } | Content::Udp { destination_port, .. } = &mut self {
            *destination_port = port;
        }
        self
    }
}

/// What decides about a packet beside the file: addresses and routes as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// Where the hosts of the file are.
    pub hosts: HostAddresses,
    /// The uplink's own addresses, the one that masquerading uses first.
    pub uplink: Vec<Ipv4Net>,
    /// IPv6 prefixes by the side they are routed to; the longest counts, `::/0` is the default route.
    pub routes6: Vec<(Ipv6Net, Side)>,
    /// The router's own IPv6 addresses; a router that forwards IPv6 also has the first of each of its prefixes (subnet-router anycast).
    pub routers6: Vec<Ipv6Addr>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It goes on, or reaches the router itself.
    Accept,
    /// Nobody hears of it again.
    Drop,
    /// Its sender hears a TCP reset.
    Reset,
    /// Its sender hears ICMP "administratively prohibited".
    Prohibited,
    /// The kernel knows no route to its destination.
    Unroutable,
}

/// Why it becomes so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision<'a> {
    /// Its connection was allowed before.
    Established,
    /// Both ends are in one network: not the router's business.
    Inside,
    /// It fits no connection.
    Invalid,
    /// Its source cannot be where it comes from.
    Spoofed,
    /// No route leads to its destination.
    NoRoute,
    /// The router's own packets are free.
    Output,
    /// DHCP, where the router serves it.
    Dhcp,
    /// An answer to the DHCP client on the uplink.
    DhcpClient,
    /// What IPv6 cannot live without (RFC 4890).
    Ipv6Control,
    /// An echo request from an own network to the router.
    Ping,
    /// A port forward made its own hole.
    Forward(&'a Forward),
    /// A rule says so.
    Rule(&'a Rule),
    /// No rule opens any way for IPv6.
    Ipv6Closed,
    /// No rule says anything.
    Nothing,
}

impl Decision<'_> {
    /// Whether it lets the packet go on.
    pub fn allows(&self) -> bool {
        match self {
            Decision::Rule(rule) => rule.verdict == Verdict::Allow,
            Decision::Nothing | Decision::Ipv6Closed | Decision::Invalid | Decision::Spoofed | Decision::NoRoute => {
                false
            }
            _ => true,
        }
    }
}

/// The way of a packet through the router.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace<'a> {
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub decision: Decision<'a>,
    /// The side it leaves to, or would; `None` where no route leads on.
    pub leaves: Option<Side>,
    /// The forward that translated its destination.
    pub forward: Option<&'a Forward>,
    /// A forward of its port that holds for other sources only.
    pub closed_forward: Option<&'a Forward>,
    /// Whether its source is translated on the way out.
    pub masqueraded: bool,
    /// The source it leaves with; as it came where the address to masquerade with is not known.
    pub source: IpAddr,
    /// The destination it leaves with.
    pub destination: IpAddr,
    /// What it carries, with the destination port it leaves with.
    pub content: Content,
}

impl Surroundings {
    /// The side that `address` is on, seen from the router; `None` where no route leads there.
    pub fn side_of(&self, policy: &Policy, address: IpAddr) -> Option<Side> {
        match address {
            IpAddr::V4(address) => self.side_of_ipv4(policy, address),
            IpAddr::V6(address) => self.side_of_ipv6(address),
        }
    }

    fn side_of_ipv4(&self, policy: &Policy, address: Ipv4Addr) -> Option<Side> {
        let everybody = address.is_broadcast() || address.is_multicast() || address.is_loopback();
        if everybody || self.uplink.iter().any(|net| net.addr() == address || is_broadcast(net, address)) {
            return Some(Side::Router);
        }
        match policy.network_of_address(address) {
            Some(index) => {
                let network = &policy.networks[index];
                let own = network.router == address || is_broadcast(&network.subnet, address);
                Some(if own { Side::Router } else { Side::Network(index) })
            }
            None => policy.uplink.as_ref().map(|_| Side::Internet),
        }
    }

    fn side_of_ipv6(&self, address: Ipv6Addr) -> Option<Side> {
        if self.routers6.contains(&address) || address.is_loopback() || address.is_multicast() {
            return Some(Side::Router);
        }
        let holding = self.routes6.iter().filter(|(net, _)| net.contains(&address));
        holding.max_by_key(|(net, _)| net.prefix_len()).map(|(_, side)| *side)
    }

    /// Whether the route back to `address` is through `side` (`fib saddr . iif oif`): never for an address of the router itself.
    pub(super) fn leads_back(&self, address: Ipv6Addr, side: Side) -> bool {
        let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
        link_local || side != Side::Router && self.side_of_ipv6(address) == Some(side)
    }
}

fn is_broadcast(net: &Ipv4Net, address: Ipv4Addr) -> bool {
    net.prefix_len() < 31 && net.broadcast() == address
}
