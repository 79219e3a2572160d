//! What a whole policy allows, as exact sets of packets: the ground of proofs, lint and plan.
//!
//! A packet of a set is the first one of a connection. What a question means by it: a packet to the address of its target. Who asks from the
//! internet for a host means the forward that leads there, because nothing else could; who asks for the router from there means the public
//! address. Answers to the DHCP client on the uplink are not counted as connections.

mod diagram;
mod forwards;
mod space;
mod witness;

pub use diagram::{Diagrams, PacketSet, Point, Range};
pub use space::{GATEWAY, INTERNET, IPV4, IPV6, LEASED, NAMED, PUBLIC, ROUTER, Space};
pub use witness::{ANY_SERVICE, Why, Witness, services_words};

use space::{Place, protocol_range};

use super::evaluate::Families;
use super::permissions::{ICMP, ICMPV6, UDP};
use super::policy::{End, Rule, Verdict};
use super::services::Services;

/// Fields of a point by name.
pub const FAMILY: usize = 0;
/// See [`FAMILY`].
pub const FROM_SIDE: usize = 1;
/// See [`FAMILY`].
pub const FROM_UPPER: usize = 2;
/// See [`FAMILY`].
pub const FROM_LOWER: usize = 3;
/// See [`FAMILY`].
pub const TO_SIDE: usize = 4;
/// See [`FAMILY`].
pub const TO_UPPER: usize = 5;
/// See [`FAMILY`].
pub const TO_LOWER: usize = 6;
/// See [`FAMILY`].
pub const SERVICE: usize = 7;

/// The sets of one policy.
pub struct Reach<'p> {
    /// Its places.
    pub space: Space<'p>,
    /// What each rule of `Policy::rules` says something of, whatever else is said.
    pub rules: Vec<PacketSet>,
    /// What some rule denies.
    pub denied: PacketSet,
    /// What never meets a rule: traffic inside one network, DHCP, and what IPv6 cannot live without.
    pub unruled: PacketSet,
    /// What passes without a rule of the file, unless one denies it: the router's own packets and pings of the router.
    pub free: PacketSet,
    /// What each forward leads to its host, by forward, denials taken out; as it arrives there.
    pub forwards: Vec<PacketSet>,
    /// What is no connection to the router, though it goes there: what forwards take away from its public address, and the messages that
    /// IPv6 cannot live without.
    pub not_the_router: PacketSet,
    /// What a question is answered with "allowed".
    pub allowed: PacketSet,
}

impl<'p> Reach<'p> {
    /// Computes the sets of a policy.
    pub fn new(all: &mut Diagrams, space: Space<'p>) -> Self {
        let policy = space.policy;
        let rules: Vec<PacketSet> = policy.rules.iter().map(|rule| rule_set(all, &space, rule)).collect();
        let of = |verdict: Verdict| -> Vec<PacketSet> {
            policy.rules.iter().zip(&rules).filter(|(rule, _)| rule.verdict == verdict).map(|(_, set)| *set).collect()
        };
        let denied = all.union_all(&of(Verdict::Deny));
        let (unruled, free) = (unruled(all, &space), free(all, &space));
        let not_the_router = ipv6_control(all, &space);
        let allows = all.union_all(&[of(Verdict::Allow), vec![free]].concat());
        let direct = all.difference(allows, denied);
        let mut reach = Reach {
            space,
            rules,
            denied,
            unruled,
            free,
            forwards: Vec::new(),
            not_the_router,
            allowed: all.union(direct, unruled),
        };
        reach.add_forwards(all);
        all.forget_results();
        reach
    }

    /// The part of a set that comes from the internet.
    pub fn from_internet(&self, all: &mut Diagrams, set: PacketSet) -> PacketSet {
        let from_internet = side_set(all, INTERNET);
        all.intersection(set, from_internet)
    }

    /// What a question from some ends to others is about. The router is asked at its public address from the internet, at its gateway
    /// address from elsewhere. Both families where `ipv6`, else IPv4 alone unless an end is an IPv6 address.
    pub fn question(&self, all: &mut Diagrams, from: &[End], to: &[End], services: &Services, ipv6: bool) -> PacketSet {
        let mut parts = Vec::new();
        for family in [IPV4, IPV6] {
            let literal = from.iter().chain(to).any(|end| matches!(end, End::Cidr6(_)));
            if family == IPV6 && !ipv6 && !literal {
                continue;
            }
            let service = service_set(all, &Space::services(services, family, true));
            let sources: Vec<Place> = from.iter().flat_map(|end| self.space.places(*end, family)).collect();
            for outside in [false, true] {
                let sources: Vec<Place> =
                    sources.iter().filter(|place| (place[0].0 == INTERNET) == outside).copied().collect();
                let at = if outside && family == IPV4 { PUBLIC } else { GATEWAY };
                let mut targets: Vec<Place> = to.iter().flat_map(|end| self.space.places(*end, family)).collect();
                for place in targets.iter_mut().filter(|place| place[0].0 == ROUTER) {
                    place[2] = (at, at);
                }
                let to = product(all, &targets, service);
                parts.push(with_source(all, family, &sources, to));
            }
        }
        all.union_all(&parts)
    }
}

/// What a rule says something of.
fn rule_set(all: &mut Diagrams, space: &Space<'_>, rule: &Rule) -> PacketSet {
    let mut parts: Vec<(Vec<Range>, PacketSet)> = Vec::new();
    for family in [IPV4, IPV6] {
        let one = service_set(all, &Space::services(&rule.services, family, false));
        let both = service_set(all, &Space::services(&rule.services, family, true));
        let targets: Vec<(End, Vec<Place>)> = rule.to.iter().map(|end| (*end, space.places(*end, family))).collect();
        for from in &rule.from {
            let mut boxes: Vec<(&[Range], PacketSet)> = Vec::new();
            for (to, places) in &targets {
                let families = space.policy.families(rule.verdict, *from, *to);
                if families.hold(family == IPV6) {
                    let service = if families == Families::Both { both } else { one };
                    boxes.extend(places.iter().map(|place| (&place[..], service)));
                }
            }
            if boxes.is_empty() {
                continue;
            }
            let to = all.build(&boxes);
            for place in space.places(*from, family) {
                parts.push((vec![(family, family), place[0], place[1], place[2]], to));
            }
        }
    }
    let boxes: Vec<(&[Range], PacketSet)> = parts.iter().map(|(ranges, set)| (&ranges[..], *set)).collect();
    all.build(&boxes)
}

/// What never meets a rule.
fn unruled(all: &mut Diagrams, space: &Space<'_>) -> PacketSet {
    let mut parts = vec![ipv6_control(all, space)];
    let router = [End::Router];
    let everything = service_set(all, &[(0, protocol_range(255).1)]);
    let dhcp = service_set(all, &[(u64::from(UDP) << 16 | 67, u64::from(UDP) << 16 | 67)]);
    for (index, network) in space.policy.networks.iter().enumerate() {
        let network_end = [End::Network(index)];
        parts.extend([IPV4, IPV6].map(|family| between(all, space, family, &network_end, &network_end, everything)));
        if network.dhcp {
            parts.push(between(all, space, IPV4, &network_end, &router, dhcp));
        }
    }
    parts.extend([IPV4, IPV6].map(|family| between(all, space, family, &router, &router, everything)));
    all.union_all(&parts)
}

/// Chain `icmp_v6`: neighbour discovery and errors from everywhere, multicast listeners from their link, advertisements of the uplink's router.
fn ipv6_control(all: &mut Diagrams, space: &Space<'_>) -> PacketSet {
    let types = |first: u64, last: u64| {
        let base = u64::from(ICMPV6) << 16;
        (base | first << 8, base | last << 8 | 0xff)
    };
    let everywhere: Vec<End> = (0..space.policy.networks.len()).map(End::Network).chain([End::Internet]).collect();
    let always = service_set(all, &[types(135, 136), types(1, 4)]);
    let listeners = service_set(all, &[types(130, 132), types(143, 143)]);
    let advertisement = service_set(all, &[types(134, 134)]);
    let link = ["fe80::/10", "::/128"].iter().filter_map(|net| net.parse().ok()).map(End::Cidr6);
    let link: Vec<End> = link.collect();
    let router = [End::Router];
    let parts = [
        between(all, space, IPV6, &everywhere, &router, always),
        between(all, space, IPV6, &link, &router, listeners),
        between(all, space, IPV6, &[End::Internet], &router, advertisement),
    ];
    all.union_all(&parts)
}

/// What passes unless a rule denies it.
fn free(all: &mut Diagrams, space: &Space<'_>) -> PacketSet {
    let networks: Vec<End> = (0..space.policy.networks.len()).map(End::Network).collect();
    let everywhere: Vec<End> = networks.iter().copied().chain([End::Internet]).collect();
    let everything = service_set(all, &[(0, protocol_range(255).1)]);
    let echo = |protocol: u8, kind: u64| {
        let base = u64::from(protocol) << 16 | kind << 8;
        [(base, base | 0xff)]
    };
    let mut parts = Vec::new();
    for (family, ping) in [(IPV4, echo(ICMP, 8)), (IPV6, echo(ICMPV6, 128))] {
        let ping = service_set(all, &ping);
        parts.push(between(all, space, family, &[End::Router], &everywhere, everything));
        parts.push(between(all, space, family, &networks, &[End::Router], ping));
    }
    all.union_all(&parts)
}

fn service_set(all: &mut Diagrams, ranges: &[Range]) -> PacketSet {
    let boxes: Vec<(&[Range], PacketSet)> =
        ranges.iter().map(|range| (std::slice::from_ref(range), PacketSet::IN)).collect();
    all.build(&boxes)
}

/// Places with what is in below each of them.
fn product(all: &mut Diagrams, places: &[Place], below: PacketSet) -> PacketSet {
    let boxes: Vec<(&[Range], PacketSet)> = places.iter().map(|place| (&place[..], below)).collect();
    all.build(&boxes)
}

fn with_source(all: &mut Diagrams, family: u64, sources: &[Place], below: PacketSet) -> PacketSet {
    if below.is_empty() {
        return PacketSet::EMPTY;
    }
    let boxes: Vec<[Range; 4]> = sources.iter().map(|place| [(family, family), place[0], place[1], place[2]]).collect();
    let boxes: Vec<(&[Range], PacketSet)> = boxes.iter().map(|ranges| (&ranges[..], below)).collect();
    all.build(&boxes)
}

fn between(
    all: &mut Diagrams,
    space: &Space<'_>,
    family: u64,
    from: &[End],
    to: &[End],
    service: PacketSet,
) -> PacketSet {
    let places = |ends: &[End]| -> Vec<Place> { ends.iter().flat_map(|end| space.places(*end, family)).collect() };
    let to = product(all, &places(to), service);
    with_source(all, family, &places(from), to)
}

/// Everything that comes from one side.
fn side_set(all: &mut Diagrams, side: u64) -> PacketSet {
    let mut ranges = [(0, u64::MAX); diagram::FIELDS];
    ranges[FROM_SIDE] = (side, side);
    all.build(&[(&ranges, PacketSet::IN)])
}

/// The set as boxes, disjoint, one for each path through its diagram.
pub fn paths(all: &Diagrams, set: PacketSet) -> Vec<Vec<Range>> {
    fn walk(all: &Diagrams, set: PacketSet, path: &mut Vec<Range>, found: &mut Vec<Vec<Range>>) {
        if path.len() == diagram::FIELDS {
            found.push(path.clone());
            return;
        }
        for (range, below) in all.ranges(set) {
            path.push(range);
            walk(all, below, path, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(all, set, &mut Vec::new(), &mut found);
    found
}
