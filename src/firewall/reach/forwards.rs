//! Port forwards among the sets of packets: what each leads to its host, and what the public address means because of them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::diagram::{Diagrams, PacketSet, Range};
use super::space::{INTERNET, IPV4, PUBLIC, Place, ROUTER, Space};
use super::{Reach, SERVICE, TO_SIDE, product, service_set, with_source};
use crate::config::PortRange;
use crate::firewall::permissions::number;
use crate::firewall::policy::{End, Forward};

const PUBLIC_ADDRESS: Place = [(ROUTER, ROUTER), (0, 0), (PUBLIC, PUBLIC)];

impl Reach<'_> {
    /// Takes the forwards in. Those for the same sources are dealt with together, so that ten thousand cost little more than one.
    pub(super) fn add_forwards(&mut self, all: &mut Diagrams) {
        let policy = self.space.policy;
        self.forwards = vec![PacketSet::EMPTY; policy.forwards.len()];
        if policy.uplink.is_none() {
            return;
        }
        let mut groups: BTreeMap<&[Ipv4Net], Vec<usize>> = BTreeMap::new();
        for (index, forward) in policy.forwards.iter().enumerate() {
            groups.entry(&forward.from).or_default().push(index);
        }
        for group in groups.into_values() {
            self.add_group(all, &group);
        }
    }

    fn add_group(&mut self, all: &mut Diagrams, group: &[usize]) {
        let policy = self.space.policy;
        let clients = clients(&self.space, &policy.forwards[group[0]]);
        // Inside one network no rule is asked. Few denials touch a forward: only those are held against each of them.
        let refused = all.difference(self.denied, self.unruled);
        let everything = self.led_to(all, group, &clients);
        let refused = all.intersection(everything, refused);
        let (mut captured, mut open_ports) = (Vec::new(), Vec::new());
        let mut arrivals: Vec<(Place, PacketSet)> = Vec::new();
        let mut passing = Vec::new();
        for index in group {
            let forward = &policy.forwards[*index];
            let targets = self.space.places(End::Host(forward.host), IPV4);
            if targets.is_empty() {
                continue;
            }
            let service = inner_service(all, forward);
            let to = product(all, &targets, service);
            let whole = with_source(all, IPV4, &clients, to);
            let outside = transport_ranges(forward, forward.ports);
            captured.extend_from_slice(&outside);
            if all.is_disjoint(whole, refused) {
                self.forwards[*index] = whole;
                open_ports.extend(outside);
                arrivals.extend(targets.iter().map(|place| (*place, service)));
            } else {
                let open = all.difference(whole, refused);
                self.forwards[*index] = open;
                passing.extend([seen_from_outside(all, forward, open), self.from_internet(all, open)]);
            }
        }
        let mut at_public = |ports: &[Range]| {
            let service = service_set(all, ports);
            let to = product(all, &[PUBLIC_ADDRESS], service);
            with_source(all, IPV4, &clients, to)
        };
        // What forwards capture is no longer the router's own affair.
        let (captured, open) = (at_public(&captured), at_public(&open_ports));
        let boxes: Vec<(&[Range], PacketSet)> =
            arrivals.iter().map(|(place, service)| (&place[..], *service)).collect();
        let to = all.build(&boxes);
        let outside: Vec<Place> = clients.iter().filter(|place| place[0].0 == INTERNET).copied().collect();
        let from_outside = with_source(all, IPV4, &outside, to);
        let rest = all.difference(self.allowed, captured);
        passing.extend([rest, open, from_outside]);
        self.allowed = all.union_all(&passing);
        self.not_the_router = all.union(self.not_the_router, captured);
    }

    /// What forwards for the same clients lead to their hosts, whatever is denied.
    fn led_to(&self, all: &mut Diagrams, group: &[usize], clients: &[Place]) -> PacketSet {
        let mut boxes: Vec<(Place, PacketSet)> = Vec::new();
        for index in group {
            let forward = &self.space.policy.forwards[*index];
            let service = inner_service(all, forward);
            boxes.extend(self.space.places(End::Host(forward.host), IPV4).into_iter().map(|place| (place, service)));
        }
        let boxes: Vec<(&[Range], PacketSet)> = boxes.iter().map(|(place, service)| (&place[..], *service)).collect();
        let to = all.build(&boxes);
        with_source(all, IPV4, clients, to)
    }
}

/// The service as it arrives at the host.
fn inner_service(all: &mut Diagrams, forward: &Forward) -> PacketSet {
    let inner = forward.target_port.map_or(forward.ports, |port| PortRange { first: port, last: port });
    service_set(all, &transport_ranges(forward, inner))
}

/// The packets to the public address that become those of `open`.
fn seen_from_outside(all: &mut Diagrams, forward: &Forward, open: PacketSet) -> PacketSet {
    let mut found: Vec<(Vec<Range>, PacketSet)> = Vec::new();
    for path in super::paths(all, open) {
        let protocol = path[SERVICE].0 >> 16;
        let mut outside = transport_ranges(forward, forward.ports);
        outside.retain(|range| range.0 >> 16 == protocol);
        let ports = if forward.target_port.is_some() { &outside[..] } else { &path[SERVICE..] };
        let service = service_set(all, ports);
        let to = product(all, &[PUBLIC_ADDRESS], service);
        found.push((path[..TO_SIDE].to_vec(), to));
    }
    let boxes: Vec<(&[Range], PacketSet)> = found.iter().map(|(ranges, set)| (&ranges[..], *set)).collect();
    all.build(&boxes)
}

/// Who may use a forward.
fn clients(space: &Space<'_>, forward: &Forward) -> Vec<Place> {
    let mut places: Vec<Place> = match forward.from.is_empty() {
        true => space.places(End::Internet, IPV4),
        false => forward.from.iter().flat_map(|net| space.places(End::Cidr4(*net), IPV4)).collect(),
    };
    places.retain(|place| place[0].0 == INTERNET);
    let inside = space.policy.networks.iter().enumerate().filter(|(_, network)| network.internet);
    places.extend(inside.flat_map(|(index, _)| space.places(End::Network(index), IPV4)));
    places
}

/// Ports of a forward as ranges of services.
pub(super) fn transport_ranges(forward: &Forward, ports: PortRange) -> Vec<Range> {
    let range = |transport| {
        let base = u64::from(number(transport)) << 16;
        (base | u64::from(ports.first), base | u64::from(ports.last))
    };
    forward.transports.iter().map(|transport| range(*transport)).collect()
}
