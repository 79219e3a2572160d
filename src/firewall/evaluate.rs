//! The policy's answer to one packet: the same questions in the same order as the kernel's hooks and the chains of the table ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nat::needs_masquerade;
use super::packet::{Content, Decision, Fate, Packet, Side, State, Surroundings, Trace};
use super::permissions::{ICMP, ICMPV6, TCP, UDP};
use super::policy::{End, Forward, Policy, Rule, Verdict};
use super::services::Services;
use crate::config::Transport;

/// A packet where the filter sees it: its destination is translated, and both sides are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossing {
    pub from: Side,
    pub source: IpAddr,
    pub to: Side,
    pub destination: IpAddr,
    pub content: Content,
}

impl Policy {
    /// The way of `packet` through the router.
    pub fn evaluate<'a>(&'a self, around: &Surroundings, packet: &Packet) -> Trace<'a> {
        let mut trace = Trace {
            fate: Fate::Accept,
            decision: Decision::Established,
            leaves: None,
            forward: None,
            closed_forward: None,
            masqueraded: false,
            source: packet.source,
            destination: packet.destination,
            content: packet.content,
        };
        if packet.state == State::New {
            self.translate_destination(around, packet, &mut trace);
        }
        trace.leaves = around.side_of(self, trace.destination);
        trace.decision = match trace.leaves {
            // The kernel asks where a packet goes before it asks whether it can come from there.
            None => Decision::NoRoute,
            _ if self.is_martian(around, packet) => Decision::Spoofed,
            Some(to) => {
                let crossing = Crossing {
                    from: packet.arrives,
                    source: packet.source,
                    to,
                    destination: trace.destination,
                    content: trace.content,
                };
                self.filter(around, &crossing, packet.state, trace.forward)
            }
        };
        trace.fate = fate(&trace.decision, packet);
        if trace.fate == Fate::Accept && packet.state == State::New {
            self.translate_source(around, packet, &mut trace);
        }
        trace
    }

    /// Chain `prerouting`.
    fn translate_destination<'a>(&'a self, around: &Surroundings, packet: &Packet, trace: &mut Trace<'a>) {
        let IpAddr::V4(destination) = packet.destination else { return };
        if !around.uplink.iter().any(|net| net.addr() == destination) {
            return;
        }
        let Some((forward, usable)) = self.forward_at(packet.arrives, packet.source, packet.content) else { return };
        if !usable {
            trace.closed_forward = Some(forward);
            return;
        }
        let Some(target) = around.hosts.get(forward.host) else { return };
        trace.forward = Some(forward);
        trace.destination = IpAddr::V4(target);
        if let Some(port) = forward.target_port {
            trace.content = trace.content.to_port(port);
        }
    }

    /// The forward that a packet to the public address meets, and whether its source may use it.
    pub(super) fn forward_at(&self, arrives: Side, source: IpAddr, content: Content) -> Option<(&Forward, bool)> {
        let (transport, port) = match content {
            Content::Tcp { destination_port, .. } => (Transport::Tcp, destination_port),
            Content::Udp { destination_port, .. } => (Transport::Udp, destination_port),
            _ => return None,
        };
        let inside = match arrives {
            Side::Network(index) if self.networks[index].internet => true,
            Side::Internet => false,
            _ => return None,
        };
        let hit = |forward: &&Forward| {
            forward.transports.contains(&transport) && forward.ports.first <= port && port <= forward.ports.last
        };
        let forward = self.forwards.iter().filter(|_| self.uplink.is_some()).find(hit)?;
        let listed = matches!(source, IpAddr::V4(source) if forward.from.iter().any(|net| net.contains(&source)));
        Some((forward, inside || forward.from.is_empty() || listed))
    }

    /// What the kernel drops before any chain decides: `rp_filter` is strict on the networks' interfaces, and nobody else has an address
    /// of the router.
    fn is_martian(&self, around: &Surroundings, packet: &Packet) -> bool {
        let IpAddr::V4(source) = packet.source else { return false };
        let asks_for_an_address =
            source.is_unspecified() && around.side_of(self, packet.destination) == Some(Side::Router);
        match packet.arrives {
            Side::Router => false,
            _ if asks_for_an_address => false,
            _ if source.is_unspecified() => true,
            Side::Network(index) => around.side_of(self, packet.source) != Some(Side::Network(index)),
            Side::Internet => around.side_of(self, packet.source) == Some(Side::Router),
        }
    }

    /// Chains `input`, `forward` and `output`.
    fn filter<'a>(
        &'a self,
        around: &Surroundings,
        crossing: &Crossing,
        state: State,
        forward: Option<&'a Forward>,
    ) -> Decision<'a> {
        let Crossing { from, to, .. } = *crossing;
        if matches!(state, State::Established | State::Related) {
            return Decision::Established;
        }
        if from == to && matches!(from, Side::Network(_) | Side::Router) {
            return Decision::Inside;
        }
        if state == State::Invalid && from != Side::Router {
            return Decision::Invalid;
        }
        match (from, to) {
            (Side::Router, _) => self.ruled(around, crossing, Verdict::Deny).unwrap_or(Decision::Output),
            (_, Side::Router) => self.input(around, crossing),
            _ => self.through(around, crossing, forward),
        }
    }

    fn input(&self, around: &Surroundings, crossing: &Crossing) -> Decision<'_> {
        if let Some(decision) = self.welcome(crossing) {
            return decision;
        }
        if self.is_spoofed(around, crossing) {
            return Decision::Spoofed;
        }
        if let Some(denied) = self.ruled(around, crossing, Verdict::Deny) {
            return denied;
        }
        let echo = match (crossing.content, crossing.source.is_ipv6()) {
            (Content::Icmp { kind, .. }, false) => kind == 8,
            (Content::Icmp { kind, .. }, true) => kind == 128,
            _ => false,
        };
        if echo && matches!(crossing.from, Side::Network(_)) {
            return Decision::Ping;
        }
        self.ruled(around, crossing, Verdict::Allow).unwrap_or(Decision::Nothing)
    }

    /// What the router takes whatever the rules say: DHCP, and the messages that keep IPv6 alive.
    fn welcome(&self, crossing: &Crossing) -> Option<Decision<'_>> {
        let uplink = self.uplink.as_ref().filter(|_| crossing.from == Side::Internet);
        match (crossing.content, crossing.source) {
            (Content::Icmp { kind, .. }, IpAddr::V6(source)) => {
                let control = match kind {
                    135 | 136 | 1..=4 => true,
                    130..=132 | 143 => source.is_unspecified() || is_link_local(source),
                    134 => uplink.is_some(),
                    _ => false,
                };
                control.then_some(Decision::Ipv6Control)
            }
            (Content::Udp { destination_port: 67, .. }, IpAddr::V4(_)) => match crossing.from {
                Side::Network(index) if self.networks[index].dhcp => Some(Decision::Dhcp),
                _ => None,
            },
            (Content::Udp { source_port: 67, destination_port: 68 }, IpAddr::V4(_)) => {
                uplink.filter(|uplink| uplink.dhcp_client).map(|_| Decision::DhcpClient)
            }
            (Content::Udp { destination_port: 546, .. }, IpAddr::V6(source)) if is_link_local(source) => {
                uplink.filter(|uplink| uplink.system).map(|_| Decision::DhcpClient)
            }
            _ => None,
        }
    }

    fn through<'a>(&'a self, around: &Surroundings, crossing: &Crossing, forward: Option<&'a Forward>) -> Decision<'a> {
        if self.is_spoofed(around, crossing) {
            return Decision::Spoofed;
        }
        if crossing.source.is_ipv6() && !self.opens_ipv6() {
            return Decision::Ipv6Closed;
        }
        if let Some(denied) = self.ruled(around, crossing, Verdict::Deny) {
            return denied;
        }
        if let Some(forward) = forward {
            return Decision::Forward(forward);
        }
        self.ruled(around, crossing, Verdict::Allow).unwrap_or(Decision::Nothing)
    }

    /// Chain `spoofed`.
    fn is_spoofed(&self, around: &Surroundings, crossing: &Crossing) -> bool {
        match (crossing.source, crossing.from) {
            (IpAddr::V4(source), Side::Network(index)) => !self.networks[index].subnet.contains(&source),
            (IpAddr::V4(source), _) => self.network_of_address(source).is_some(),
            (IpAddr::V6(source), side) => !around.leads_back(source, side),
        }
    }

    /// Whether any rule lets IPv6 through.
    pub(super) fn opens_ipv6(&self) -> bool {
        let ipv6 = |from: &End, to: &End| matches!((from, to), (End::Cidr6(_), _) | (_, End::Cidr6(_)));
        self.rules.iter().filter(|rule| rule.verdict == Verdict::Allow && !rule.services.is_empty()).any(|rule| {
            pairs(rule).any(|(from, to)| {
                let through = from != End::Router && to != End::Router;
                through && ipv6(&from, &to) && self.families(rule.verdict, from, to) == Families::Ipv6
            })
        })
    }

    /// The first rule of the file that says `verdict` of this packet.
    fn ruled(&self, around: &Surroundings, crossing: &Crossing, verdict: Verdict) -> Option<Decision<'_>> {
        let says = |rule: &&Rule| rule.verdict == verdict && self.rule_holds(around, rule, crossing);
        self.rules.iter().find(says).map(Decision::Rule)
    }

    pub(super) fn rule_holds(&self, around: &Surroundings, rule: &Rule, crossing: &Crossing) -> bool {
        pairs(rule).any(|(from, to)| {
            let families = self.families(rule.verdict, from, to);
            families.hold(crossing.source.is_ipv6())
                && is_at(around, from, crossing.from, crossing.source)
                && is_at(around, to, crossing.to, crossing.destination)
                && has_service(&rule.services, crossing, families)
        })
    }

    /// The IP families that a pair of ends of a rule is in effect for.
    pub(super) fn families(&self, verdict: Verdict, from: End, to: End) -> Families {
        let family = |end: End| match end {
            End::Cidr6(_) => Some(true),
            End::Host(_) | End::Name(_) | End::Cidr4(_) => Some(false),
            _ => None,
        };
        let named = |end: End| family(end).is_some();
        let router = from == End::Router || to == End::Router;
        let nowhere = self.uplink.is_none() && (from == End::Internet || to == End::Internet);
        // Inside one network nothing is filtered, and what the router sends needs no permission.
        let needless = from == to && !named(from) || from == End::Router && verdict == Verdict::Allow;
        match (family(from), family(to)) {
            _ if needless || nowhere => Families::None,
            (Some(one), Some(other)) if one != other => Families::None,
            (Some(true), _) | (_, Some(true)) => Families::Ipv6,
            (None, None) if router || verdict == Verdict::Deny => Families::Both,
            _ => Families::Ipv4,
        }
    }

    /// Chain `postrouting`.
    fn translate_source(&self, around: &Surroundings, packet: &Packet, trace: &mut Trace<'_>) {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (packet.source, trace.destination) else { return };
        if self.uplink.is_none() {
            return;
        }
        let network = |address: Ipv4Addr| self.network_of_address(address).map(|index| &self.networks[index]);
        let new = match trace.leaves {
            Some(Side::Internet) if network(source).is_some_and(needs_masquerade) => {
                // Of several addresses the kernel takes the one that is in a network with the next hop, which is the provider's router elsewhere.
                let beside = around.uplink.iter().find(|net| net.contains(&destination));
                beside.or(around.uplink.first()).map(|net| net.addr())
            }
            Some(Side::Network(index)) if trace.forward.is_some() => {
                let network = &self.networks[index];
                if !(network.subnet.contains(&source) && network.subnet.contains(&destination)) {
                    return;
                }
                Some(network.router)
            }
            _ => return,
        };
        trace.masqueraded = true;
        trace.source = new.map_or(trace.source, IpAddr::V4);
    }
}

/// Families of a pair of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    None,
    Ipv4,
    Ipv6,
    Both,
}

impl Families {
    pub fn hold(self, ipv6: bool) -> bool {
        match self {
            Families::None => false,
            Families::Ipv4 => !ipv6,
            Families::Ipv6 => ipv6,
            Families::Both => true,
        }
    }
}

/// Every source of a rule with every target.
pub(super) fn pairs(rule: &Rule) -> impl Iterator<Item = (End, End)> + '_ {
    rule.from.iter().flat_map(|from| rule.to.iter().map(move |to| (*from, *to)))
}

/// Whether an end of a rule is where one end of a packet is. What goes to the router itself is a matter of rules that name the router.
pub(super) fn is_at(around: &Surroundings, end: End, side: Side, address: IpAddr) -> bool {
    match end {
        End::Router => side == Side::Router,
        _ if side == Side::Router => false,
        End::Network(index) => side == Side::Network(index),
        End::Internet => side == Side::Internet,
        End::Host(host) => around.hosts.get(host).is_some_and(|at| IpAddr::V4(at) == address),
        End::Name(name) => matches!(address, IpAddr::V4(address) if around.hosts.name_has(name, address)),
        End::Cidr4(net) => matches!(address, IpAddr::V4(address) if net.contains(&address)),
        End::Cidr6(net) => matches!(address, IpAddr::V6(address) if net.contains(&address)),
    }
}

fn has_service(services: &Services, crossing: &Crossing, families: Families) -> bool {
    let ipv6 = crossing.source.is_ipv6();
    match (crossing.content.protocol(ipv6), crossing.content.destination_port()) {
        (TCP, Some(port)) => services.tcp.contains(port),
        (UDP, Some(port)) => services.udp.contains(port),
        (protocol @ (ICMP | ICMPV6), _) => {
            let native = protocol == if ipv6 { ICMPV6 } else { ICMP };
            services.icmp && (native || families == Families::Both) || *services == Services::all()
        }
        _ => services.other,
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Chain `refuse`: own networks hear it at once, others hear nothing.
fn fate(decision: &Decision<'_>, packet: &Packet) -> Fate {
    let own = matches!(packet.arrives, Side::Network(_));
    match decision {
        decision if decision.allows() => Fate::Accept,
        Decision::Invalid | Decision::Spoofed => Fate::Drop,
        Decision::NoRoute => Fate::Unroutable,
        _ if packet.arrives == Side::Router => Fate::Prohibited,
        _ if !own => Fate::Drop,
        _ if matches!(packet.content, Content::Tcp { .. }) => Fate::Reset,
        _ => Fate::Prohibited,
    }
}
