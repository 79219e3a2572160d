//! Which flows a change opens and closes: exact, summed up as a person would say it, each with a packet that shows it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use super::{Effect, Sign, Standing};
use crate::firewall::End;
use crate::firewall::reach::{
    self, Diagrams, FAMILY, FROM_LOWER, FROM_SIDE, INTERNET, IPV4, IPV6, PUBLIC, PacketSet, ROUTER, Range, Reach,
    SERVICE, Space, TO_LOWER, TO_SIDE,
};

/// So many flows are told one by one, in each direction.
const TOLD: usize = 30;
/// So many ends or services are named before the rest is only counted.
const NAMED: usize = 4;

/// Upper and lower half of addresses.
type Addresses = Vec<(Range, Range)>;

/// The flows that differ between two standings.
pub(super) fn effects(old: &Standing<'_>, new: &Standing<'_>) -> Vec<Effect> {
    let (mut all, mut names) = (Diagrams::default(), Vec::new());
    let mut reach = |standing: &Standing<'_>| {
        let space = Space::new(standing.policy, Some(standing.hosts), standing.uplink, &mut names, &[]);
        Reach::new(&mut all, space).allowed
    };
    let (before, after) = (reach(old), reach(new));
    let mut told = Vec::new();
    for (sign, standing, other, more, less) in
        [(Sign::Less, old, new, before, after), (Sign::More, new, old, after, before)]
    {
        let set = all.difference(more, less);
        let space = Space::new(standing.policy, Some(standing.hosts), standing.uplink, &mut names, &[]);
        let elsewhere = other.policy.networks.iter().map(|network| network.subnet).collect();
        told.push(Teller { all: &all, space, sign, set, elsewhere }.tell());
    }
    // What goes and comes under the same names has only moved, as its host has.
    let [gone, come] = &told[..] else { return Vec::new() };
    let moved = |effect: &Effect, others: &[Effect]| others.iter().any(|other| other.words == effect.words);
    let gone_for_good = gone.iter().filter(|effect| !moved(effect, come));
    let new_ones = come.iter().filter(|effect| !moved(effect, gone));
    let mut effects = capped(gone_for_good.cloned().collect());
    effects.extend(capped(new_ones.cloned().collect()));
    effects
}

/// The first effects, and how many more there are.
fn capped(mut effects: Vec<Effect>) -> Vec<Effect> {
    let more = effects.len().saturating_sub(TOLD);
    effects.truncate(TOLD);
    if let Some(last) = effects.last().filter(|_| more > 0) {
        let words = format!("and {more} more such flows");
        effects.push(Effect { words, note: String::new(), ..last.clone() });
    }
    effects
}

struct Teller<'a> {
    all: &'a Diagrams,
    space: Space<'a>,
    sign: Sign,
    set: PacketSet,
    /// Networks of the other standing: as a part of the internet their addresses mean nothing.
    elsewhere: Vec<Ipv4Net>,
}

/// Flows from one side to another that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    family: u64,
    from_side: u64,
    to_side: u64,
    from: Addresses,
    to: Addresses,
    services: Vec<Range>,
}

impl Teller<'_> {
    fn tell(&self) -> Vec<Effect> {
        let mut flows = self.flows();
        // What the router itself may send, and what stays in one network, is nobody's permission; the router serves nothing over IPv6.
        flows.retain(|flow| {
            let served = flow.to_side != ROUTER || flow.family == IPV4;
            flow.from_side != ROUTER && flow.from_side != flow.to_side && served && !self.is_elsewhere(flow)
        });
        flows.sort();
        let mut effects: Vec<Effect> = flows.iter().map(|flow| self.effect(flow)).collect();
        effects.dedup_by(|one, other| one.words == other.words);
        effects
    }

    /// Whether one end is a network of the other standing that is only a piece of the internet in this one.
    fn is_elsewhere(&self, flow: &Flow) -> bool {
        let ends = [(flow.from_side, &flow.from), (flow.to_side, &flow.to)];
        let within = |range: &Range| {
            let bounds = |net: &Ipv4Net| (u64::from(u32::from(net.network())), u64::from(u32::from(net.broadcast())));
            self.elsewhere.iter().map(bounds).any(|(first, last)| first <= range.0 && range.1 <= last)
        };
        flow.family == IPV4
            && ends
                .iter()
                .any(|(side, addresses)| *side == INTERNET && addresses.iter().all(|(_, lower)| within(lower)))
    }

    /// The set as flows, with alike sources together and then alike targets.
    fn flows(&self) -> Vec<Flow> {
        let mut by_rest: BTreeMap<(u64, u64, u64, Addresses, Vec<Range>), Addresses> = BTreeMap::new();
        for (family, from_side, sources) in self.sources() {
            for (below, from) in sources {
                for (to_side, to, services) in self.targets(below) {
                    let key = (family, from_side, to_side, to, services);
                    by_rest.entry(key).or_default().extend(from.iter().copied());
                }
            }
        }
        let mut by_source: BTreeMap<(u64, u64, u64, Addresses, Vec<Range>), Addresses> = BTreeMap::new();
        for ((family, from_side, to_side, to, services), mut from) in by_rest {
            from.sort_unstable();
            by_source.entry((family, from_side, to_side, from, services)).or_default().extend(to);
        }
        let flow = |((family, from_side, to_side, from, services), mut to): (
            (u64, u64, u64, Addresses, Vec<Range>),
            Addresses,
        )| {
            to.sort_unstable();
            Flow { family, from_side, to_side, from, to, services }
        };
        by_source.into_iter().map(flow).collect()
    }

    /// Family and side, with the addresses there by what they reach.
    fn sources(&self) -> Vec<(u64, u64, BTreeMap<PacketSet, Addresses>)> {
        let mut found = Vec::new();
        for (families, below) in self.all.ranges(self.set) {
            for family in families.0..=families.1.min(IPV6) {
                for (sides, below) in self.all.ranges(below) {
                    found.extend((sides.0..=sides.1).map(|side| (family, side, self.addresses(below))));
                }
            }
        }
        found
    }

    /// Side, addresses and services below a source.
    fn targets(&self, below: PacketSet) -> Vec<(u64, Addresses, Vec<Range>)> {
        let mut found = Vec::new();
        for (sides, below) in self.all.ranges(below) {
            for (services, mut to) in self.addresses(below) {
                // The public address: told as the forwards that it leads to.
                to.retain(|(_, lower)| sides.0 != ROUTER || *lower != (PUBLIC, PUBLIC));
                if !to.is_empty() {
                    let services: Vec<Range> = self.all.ranges(services).map(|(range, _)| range).collect();
                    found.extend((sides.0..=sides.1).map(|side| (side, to.clone(), services.clone())));
                }
            }
        }
        found
    }

    /// Addresses by what is below them.
    fn addresses(&self, set: PacketSet) -> BTreeMap<PacketSet, Addresses> {
        let mut by_below: BTreeMap<PacketSet, Addresses> = BTreeMap::new();
        for (upper, below) in self.all.ranges(set) {
            for (lower, below) in self.all.ranges(below) {
                by_below.entry(below).or_default().push((upper, lower));
            }
        }
        by_below
    }

    fn effect(&self, flow: &Flow) -> Effect {
        let family = if flow.family == IPV6 { " over IPv6" } else { "" };
        let (from, to) =
            (self.ends(flow.family, flow.from_side, &flow.from), self.ends(flow.family, flow.to_side, &flow.to));
        let words = format!("{from} -> {to}{family}   {}", services(&flow.services));
        let was = if self.sign == Sign::Less { "was allowed, becomes denied" } else { "was denied, becomes allowed" };
        let example = self.example(flow).map(|example| format!("   (e.g. {example})")).unwrap_or_default();
        Effect { subject: "reachability".to_owned(), sign: self.sign, words, note: format!("{was}{example}") }
    }

    /// A packet of a flow that a person knows.
    fn example(&self, flow: &Flow) -> Option<String> {
        let within = |ranges: &[Range], value: &u64| ranges.iter().any(|range| range.0 <= *value && *value <= range.1);
        let lower = |addresses: &Addresses| addresses.iter().map(|(_, lower)| *lower).collect::<Vec<Range>>();
        let (from, to) = (lower(&flow.from), lower(&flow.to));
        let point = self.all.pick(self.set, |field, point| {
            let ranges: &[Range] = match field {
                FAMILY => return vec![flow.family],
                FROM_SIDE => return vec![flow.from_side],
                TO_SIDE => return vec![flow.to_side],
                FROM_LOWER => &from,
                TO_LOWER => &to,
                SERVICE => &flow.services,
                _ => return Vec::new(),
            };
            let mut values = self.space.familiar(field, point);
            values.retain(|value| within(ranges, value));
            values.extend(ranges.first().map(|range| range.0));
            values
        })?;
        Some(self.space.words(&point).to_string())
    }

    /// `lan`, `lan but nas`, `nas, printer`, `192.168.1.0/25`.
    fn ends(&self, family: u64, side: u64, addresses: &Addresses) -> String {
        if side == ROUTER {
            return "router".to_owned();
        }
        let (whole, name) = match self.space.network(side) {
            Some(network) => (End::Network(network), self.space.policy.networks[network].name.to_string()),
            None => (End::Internet, "internet".to_owned()),
        };
        let places: Addresses =
            self.space.places(whole, family).into_iter().map(|[_, upper, lower]| (upper, lower)).collect();
        if family == IPV6 {
            let text = |(upper, lower): &(Range, Range)| prefix6(*upper, *lower);
            return if *addresses == places { name } else { listed(addresses.iter().map(text).collect()) };
        }
        let missing = without(&places, addresses);
        if missing.is_empty() {
            return name;
        }
        let few = missing.len() <= NAMED && missing.iter().all(|range| range.0 == range.1);
        let named = |range: &Range| self.range_name(*range);
        if few && addresses.len() > 1 {
            return format!("{name} but {}", listed(missing.iter().map(named).collect()));
        }
        listed(addresses.iter().map(|(_, lower)| named(lower)).collect())
    }

    fn range_name(&self, range: Range) -> String {
        let (first, last) = (Ipv4Addr::from(range.0 as u32), Ipv4Addr::from(range.1 as u32));
        if first == last {
            return self.space.host_at(first).map_or_else(|| first.to_string(), str::to_owned);
        }
        match ipnet::Ipv4Subnets::new(first, last, 0).collect::<Vec<_>>()[..] {
            [net] => net.to_string(),
            _ => format!("{first}-{last}"),
        }
    }
}

/// What of `whole` is not in `part`, as ranges of the lower half. Both are sorted.
fn without(whole: &Addresses, part: &Addresses) -> Vec<Range> {
    let mut left = Vec::new();
    for (_, range) in whole {
        let mut next = Some(range.0);
        for (_, taken) in part.iter().filter(|(_, taken)| taken.1 >= range.0 && taken.0 <= range.1) {
            let Some(start) = next else { break };
            if start < taken.0 {
                left.push((start, taken.0 - 1));
            }
            next = taken.1.checked_add(1).filter(|next| *next <= range.1);
        }
        left.extend(next.map(|start| (start, range.1)));
    }
    left
}

fn listed(mut names: Vec<String>) -> String {
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let text = names.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

fn prefix6(upper: Range, lower: Range) -> String {
    let address = |upper: u64, lower: u64| u128::from(upper) << 64 | u128::from(lower);
    let (first, last) = (address(upper.0, lower.0), address(upper.1, lower.1));
    let bits = (first ^ last).count_ones();
    format!("{}/{}", Ipv6Addr::from(first), 128 - bits)
}

/// `any`, `tcp/443, udp/53`.
fn services(ranges: &[Range]) -> String {
    let any = ranges == [reach::ANY_SERVICE];
    if any { "any".to_owned() } else { listed(ranges.iter().flat_map(|range| reach::services_words(*range)).collect()) }
}
