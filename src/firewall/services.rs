//! Sets of ports and of services, with exact union and difference: what `port` and `except` of a rule leave over.

use crate::config::{PortRange, Service, Transport};

/// All ports.
pub const ALL_PORTS: PortRange = PortRange::ALL;

/// A set of ports as ranges that are sorted, disjoint and not adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    /// Every port.
    pub fn all() -> Self {
        PortSet(vec![ALL_PORTS])
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    /// Whether no port is in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every port is in.
    pub fn is_all(&self) -> bool {
        self.0 == [ALL_PORTS]
    }

    /// Whether `port` is in.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.first <= port && port <= range.last)
    }

    /// Adds the ports of `range`.
    pub fn insert(&mut self, range: PortRange) {
        let (mut first, mut last) = (range.first, range.last);
        self.0.retain(|old| {
            let apart = old.last.saturating_add(1) < first || last.saturating_add(1) < old.first;
            if !apart {
                first = first.min(old.first);
                last = last.max(old.last);
            }
            apart
        });
        let at = self.0.partition_point(|old| old.first < first);
        self.0.insert(at, PortRange { first, last });
    }

    /// Takes the ports of `range` out.
    pub fn remove(&mut self, range: PortRange) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for old in &self.0 {
            if old.last < range.first || range.last < old.first {
                left.push(*old);
                continue;
            }
            if old.first < range.first {
                left.push(PortRange { first: old.first, last: range.first - 1 });
            }
            if range.last < old.last {
                left.push(PortRange { first: range.last + 1, last: old.last });
            }
        }
        self.0 = left;
    }
}

/// A set of services: every IP packet belongs to exactly one of the four parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Services {
    /// TCP, by destination port.
    pub tcp: PortSet,
    /// UDP, by destination port.
    pub udp: PortSet,
    /// ICMP, and ICMPv6 over IPv6.
    pub icmp: bool,
    /// Every other protocol.
    pub other: bool,
}

/// A piece of a [`Services`] that is one element of an nft set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Whatever the protocol.
    Any,
    /// A protocol whose ports all are in, or that has none.
    Protocol(Protocol),
    /// Ports of a transport protocol.
    Ports(Transport, PortRange),
    /// Every protocol but TCP, UDP and ICMP.
    Other,
}

/// Protocols that have a part of their own in [`Services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6, as the family says.
    Icmp,
}

impl Services {
    /// Everything.
    pub fn all() -> Self {
        Services { tcp: PortSet::all(), udp: PortSet::all(), icmp: true, other: true }
    }

    /// What `port` and `except` of a rule leave: no `port` means everything.
    pub fn of_rule(port: &[Service], except: &[Service]) -> Self {
        let mut services = if port.is_empty() { Services::all() } else { Services::default() };
        for service in port {
            match service {
                Service::Tcp(range) => services.tcp.insert(*range),
                Service::Udp(range) => services.udp.insert(*range),
                Service::Icmp => services.icmp = true,
            }
        }
        for service in except {
            match service {
                Service::Tcp(range) => services.tcp.remove(*range),
                Service::Udp(range) => services.udp.remove(*range),
                Service::Icmp => services.icmp = false,
            }
        }
        services
    }

    /// One port of one transport protocol.
    pub fn port(transport: Transport, port: u16) -> Self {
        let range = PortRange { first: port, last: port };
        Services::of_rule(&[if transport == Transport::Tcp { Service::Tcp(range) } else { Service::Udp(range) }], &[])
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.pieces().is_empty()
    }

    /// The fewest pieces whose union this is.
    pub fn pieces(&self) -> Vec<Piece> {
        if *self == Services::all() {
            return vec![Piece::Any];
        }
        let mut pieces = Vec::new();
        for (ports, transport, protocol) in
            [(&self.tcp, Transport::Tcp, Protocol::Tcp), (&self.udp, Transport::Udp, Protocol::Udp)]
        {
            if ports.is_all() {
                pieces.push(Piece::Protocol(protocol));
            } else {
                pieces.extend(ports.ranges().iter().map(|range| Piece::Ports(transport, *range)));
            }
        }
        if self.icmp {
            pieces.push(Piece::Protocol(Protocol::Icmp));
        }
        if self.other {
            pieces.push(Piece::Other);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first: first.min(last), last: first.max(last) }
    }

    #[test]
    fn everything_except_one_port() {
        let services = Services::of_rule(&[], &[Service::Tcp(range(22, 22))]);
        assert_eq!(
            services.pieces(),
            [
                Piece::Ports(Transport::Tcp, range(0, 21)),
                Piece::Ports(Transport::Tcp, range(23, 65535)),
                Piece::Protocol(Protocol::Udp),
                Piece::Protocol(Protocol::Icmp),
                Piece::Other,
            ]
        );
        assert_eq!(Services::all().pieces(), [Piece::Any]);
        assert!(Services::of_rule(&[Service::Icmp], &[Service::Icmp]).is_empty());
    }

    #[test]
    fn neighbours_melt_together() {
        let mut ports = PortSet::default();
        for (first, last) in [(10, 20), (30, 40), (21, 29), (0, 0), (65535, 65535)] {
            ports.insert(range(first, last));
        }
        assert_eq!(ports.ranges(), [range(0, 0), range(10, 40), range(65535, 65535)]);
        ports.insert(ALL_PORTS);
        assert!(ports.is_all());
        ports.remove(ALL_PORTS);
        assert!(ports.is_empty());
    }

    proptest! {
        #[test]
        fn ports_are_a_set(steps in prop::collection::vec((any::<bool>(), 0u16..40, 0u16..40), 0..12)) {
            let mut ports = PortSet::default();
            let mut model = [false; 40];
            for (add, a, b) in steps {
                let range = range(a, b);
                if add { ports.insert(range) } else { ports.remove(range) }
                model[range.first as usize..=range.last as usize].fill(add);
            }
            for (port, expected) in model.iter().enumerate() {
                prop_assert_eq!(ports.contains(port as u16), *expected);
            }
            for pair in ports.ranges().windows(2) {
                prop_assert!(pair[0].last + 1 < pair[1].first);
            }
        }
    }
}
