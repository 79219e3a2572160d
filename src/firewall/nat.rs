//! Port forwards → maps, and what masquerades.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::permissions::{port_fields, range4};
use super::policy::{Forward, Network, Policy};
use super::ruleset::{Data, DataType, Element, Field, FieldType, Set};
use super::tally::Tally;
use crate::config::PortRange;

/// Names of the sets and maps of this part that exist.
#[derive(Debug, Default, PartialEq)]
pub(super) struct NatSets {
    /// In the order in which they stand in the table.
    pub sets: Vec<Set>,
    /// Whether any forward holds for some sources only.
    pub restricted: bool,
}

/// Sets and maps of the port forwards.
pub(super) fn sets(policy: &Policy) -> NatSets {
    let mut nat = NatSets::default();
    if policy.uplink.is_none() || policy.forwards.is_empty() {
        return nat;
    }
    let (single, ranges): (Vec<Numbered>, Vec<Numbered>) =
        policy.forwards.iter().enumerate().partition(|(_, forward)| forward.ports.first == forward.ports.last);
    let outside = vec![FieldType::Protocol, FieldType::Port];
    let inside = vec![FieldType::Ipv4, FieldType::Protocol, FieldType::Port];
    if !single.is_empty() {
        let elements = each(policy, Counts::Forward, &single, |forward, ports| {
            (ports.into(), host_data(policy, forward.host, Some(forward.target_port.unwrap_or(forward.ports.first))))
        });
        nat.sets.push(map(
            "forwards",
            "outside port to host and port",
            &outside,
            DataType::AddressPort,
            false,
            elements,
        ));
        let elements =
            each(policy, Counts::Target, &single, |forward, ports| (target(policy, forward, ports), Data::None));
        nat.sets.push(map(
            "forward_targets",
            "where forwards end: their only hole",
            &inside,
            DataType::None,
            false,
            elements,
        ));
    }
    if !ranges.is_empty() {
        let elements = each(policy, Counts::Forward, &ranges, |forward, ports| {
            (ports.into(), host_data(policy, forward.host, None))
        });
        nat.sets.push(map(
            "forward_ranges",
            "outside ports to host, ports kept",
            &outside,
            DataType::Address,
            true,
            elements,
        ));
        let elements =
            each(policy, Counts::Target, &ranges, |forward, ports| (target(policy, forward, ports), Data::None));
        nat.sets.push(map(
            "forward_targets_range",
            "where forwards of ranges end",
            &inside,
            DataType::None,
            true,
            elements,
        ));
    }
    restrict(policy, &mut nat);
    nat
}

/// Forwards that not everybody may use: their ports, and who may.
fn restrict(policy: &Policy, nat: &mut NatSets) {
    let restricted: Vec<Numbered> =
        policy.forwards.iter().enumerate().filter(|(_, forward)| !forward.from.is_empty()).collect();
    if restricted.is_empty() {
        return;
    }
    nat.restricted = true;
    let ports = each(policy, Counts::Nothing, &restricted, |_, ports| (ports.into(), Data::None));
    let key = [FieldType::Protocol, FieldType::Port];
    nat.sets.push(map("forward_restricted", "forwards for some sources only", &key, DataType::None, true, ports));
    let mut sources = Vec::new();
    for (index, forward) in &restricted {
        for source in &forward.from {
            sources.extend(each(policy, Counts::Nothing, &[(*index, forward)], |_, ports| {
                ([vec![range4(*source)], ports].concat().into(), Data::None)
            }));
        }
    }
    let key = [FieldType::Ipv4, FieldType::Protocol, FieldType::Port];
    nat.sets.push(map("forward_sources", "who may use them", &key, DataType::None, true, sources));
}

/// A forward with its place among the forwards.
type Numbered<'a> = (usize, &'a Forward);

/// What the elements of a set count.
#[derive(Clone, Copy)]
enum Counts {
    /// Connections by forward.
    Forward,
    /// The same connections once more, where they end.
    Target,
    Nothing,
}

/// One element per forward and transport, each key once.
fn each(
    policy: &Policy,
    counts: Counts,
    forwards: &[Numbered<'_>],
    element: impl Fn(&Forward, Vec<Field>) -> (Box<[Field]>, Data),
) -> Vec<Element> {
    let mut seen = HashSet::new();
    let mut elements = Vec::new();
    for (index, forward) in forwards {
        let comment: Arc<str> = format!("{} {}", forward.place, policy.hosts[forward.host].name).into();
        for transport in &forward.transports {
            let (key, data) = element(forward, port_fields(*transport, forward.ports).into());
            if seen.insert(key.clone()) {
                let tally = match counts {
                    Counts::Forward => Some(Tally::of_forward(policy, *index, *transport)),
                    Counts::Target => Some(Tally::of_forward_target(policy, *index, *transport)),
                    Counts::Nothing => None,
                };
                elements.push(Element { key, data, comment: comment.clone(), tally: tally.map(Arc::new) });
            }
        }
    }
    elements
}

fn target(policy: &Policy, forward: &Forward, mut ports: Vec<Field>) -> Box<[Field]> {
    let host = match policy.hosts[forward.host].reserved {
        Some(address) => Field::Ipv4(address, address),
        None => Field::Host(forward.host),
    };
    if let Some(port) = forward.target_port {
        ports[1] = Field::Ports(PortRange { first: port, last: port });
    }
    [vec![host], ports].concat().into()
}

fn host_data(policy: &Policy, host: usize, port: Option<u16>) -> Data {
    match (policy.hosts[host].reserved, port) {
        (Some(address), Some(port)) => Data::AddressPort(address, port),
        (Some(address), None) => Data::Address(address),
        (None, port) => Data::Host(host, port),
    }
}

fn map(name: &str, comment: &str, key: &[FieldType], data: DataType, interval: bool, elements: Vec<Element>) -> Set {
    let new = if interval { Set::of_ranges } else { Set::new };
    let set = new(name, comment, key, data, elements);
    // What a forward carries is counted where it begins.
    if matches!(name, "forwards" | "forward_ranges") { set.counted() } else { set }
}

/// Whether a network's hosts need the router's address to be answered from the internet. Networks of public addresses are routed as they are.
pub(super) fn needs_masquerade(network: &Network) -> bool {
    let shared = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
    let benchmark = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
    let first = network.subnet.network();
    first.is_private() || first.is_link_local() || shared.contains(&first) || benchmark.contains(&first)
}
