//! A small model of one nftables table, and the members of its sets that follow leases and outside names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::disjoint::disjoint;
use super::hosts::HostAddresses;
use super::tally::Tally;
use crate::config::{InterfaceName, PortRange};
use crate::model::SharedMap;

/// Family and name of the one table that is ours.
pub const TABLE: &str = "labgate";

/// NFLOG group by which the table tells the daemon of refused packets.
pub const LOG_GROUP: u16 = 4711;

/// Set of the TCP connections that were cut, in both directions as the filter sees their packets. IPv6 has one of its own.
pub const CUT: &str = "cut";
/// The same for IPv6.
pub const CUT_IPV6: &str = "cut_ipv6";

/// One table: sets and chains, made from the configuration alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    /// Named sets and maps.
    pub sets: Vec<Set>,
    /// Chains, in the order a reader wants them.
    pub chains: Vec<Chain>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Its name.
    pub name: Cow<'static, str>,
    /// One line for the reader.
    pub comment: &'static str,
    /// `type filter hook forward priority filter; policy drop;` of a base chain.
    pub hook: Option<&'static str>,
    /// Rules, as nft writes them.
    pub rules: Vec<String>,
}

/// A named set, or a map where [`Set::data`] is not [`DataType::None`].
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// Its name.
    pub name: Arc<str>,
    /// One line for the reader.
    pub comment: String,
    /// Types of the key's fields.
    pub key: Vec<FieldType>,
    /// What an element maps to.
    pub data: DataType,
    /// Whether elements are ranges; otherwise the set is a hash.
    pub interval: bool,
    /// Whether each element counts.
    pub counter: bool,
    /// Whether members leave by themselves, and how.
    pub passing: Option<Passing>,
    /// Members that the configuration alone decides.
    pub fixed: Vec<Element>,
    /// Members with a [`Field::Host`], [`Field::Name`] or [`Data::Host`] in place of an address. In an interval set that has any, all members are here,
    /// because ranges have to be kept apart from one another whenever an address changes.
    pub following: Vec<Element>,
    /// Keys of [`Set::fixed`], where [`Set::following`] may run into them.
    pub(crate) fixed_keys: HashSet<Key>,
}

impl Set {
    /// A set of `elements`, each key once.
    pub(super) fn new(name: &str, comment: &str, key: &[FieldType], data: DataType, elements: Vec<Element>) -> Set {
        let (fixed, following): (Vec<Element>, Vec<Element>) =
            elements.into_iter().partition(|element| !element.follows());
        let keys = if following.is_empty() { &[] } else { &fixed[..] };
        Set {
            name: name.into(),
            comment: comment.to_owned(),
            key: key.to_vec(),
            data,
            interval: false,
            counter: false,
            passing: None,
            fixed_keys: keys.iter().map(|element| element.key.clone()).collect(),
            fixed,
            following,
        }
    }

    /// A set of ranges.
    pub(super) fn of_ranges(
        name: &str,
        comment: &str,
        key: &[FieldType],
        data: DataType,
        elements: Vec<Element>,
    ) -> Set {
        let follows = elements.iter().any(Element::follows);
        let (fixed, following) = if follows { (Vec::new(), elements) } else { (disjoint(elements), Vec::new()) };
        Set { interval: true, fixed, following, ..Set::new(name, comment, key, data, Vec::new()) }
    }

    /// A set that is filled while it stands.
    pub(super) fn of_passing(name: &str, comment: &str, key: &[FieldType], passing: Passing) -> Set {
        Set { passing: Some(passing), ..Set::new(name, comment, key, DataType::None, Vec::new()) }
    }

    /// How many members there may be, where that is known for good: such a set of single values can be a hash of fixed size, which the
    /// kernel looks up faster than one that grows. It takes the next power of two above four thirds of that as buckets: as many as fit into
    /// the same buckets, so that the set can stay when a member comes.
    pub(super) fn size(&self) -> Option<usize> {
        let buckets = (self.fixed.len().max(1) * 4 / 3).next_power_of_two();
        (!self.interval && self.following.is_empty() && self.passing.is_none()).then_some((3 * buckets + 2) / 4)
    }

    /// Whether the kernel can turn one into the other by its members.
    pub(super) fn is_declared_as(&self, other: &Set) -> bool {
        let declared = |set: &Set| (set.data, set.interval, set.counter, set.passing, set.size());
        declared(self) == declared(other) && self.key == other.key && self.comment == other.comment
    }

    /// The same with a counter for each element.
    pub(super) fn counted(self) -> Set {
        Set { counter: true, ..self }
    }

    /// Whether two of the keys that follow may become one: no two hosts share an address, but a host may come to a literal one that stands
    /// beside it, and outside names share theirs with anybody.
    pub(crate) fn keys_may_meet(&self) -> bool {
        let shared = |field: &Field| matches!(field, Field::Ipv4(..) | Field::Name(_));
        self.following.iter().any(|element| element.key.iter().any(shared))
    }
}

/// How long members of a set stay, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// Whether packets add them; else the daemon does.
    pub by_packets: bool,
    /// How many there may be.
    pub at_most: u32,
    /// How long one stays.
    pub seconds: u32,
}

/// Type of one field of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// Interface name.
    Interface,
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// Transport protocol.
    Protocol,
    /// Port.
    Port,
}

/// Type of a map's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// It is a set.
    None,
    /// A verdict.
    Verdict,
    /// An IPv4 address.
    Address,
    /// An IPv4 address and a port.
    AddressPort,
}

/// One field of an element's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// An interface.
    Interface(InterfaceName),
    /// IPv4 addresses from first to last.
    Ipv4(Ipv4Addr, Ipv4Addr),
    /// IPv6 addresses from first to last.
    Ipv6(Ipv6Addr, Ipv6Addr),
    /// An IP protocol number.
    Protocol(u8),
    /// Ports.
    Ports(PortRange),
    /// The address that this host has at the moment.
    Host(usize),
    /// Each of the addresses that this outside name has at the moment.
    Name(usize),
}

/// What an element maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Nothing: an element of a set.
    None,
    /// The verdict `accept`.
    Accept,
    /// An address.
    Address(Ipv4Addr),
    /// An address and a port.
    AddressPort(Ipv4Addr, u16),
    /// The address that this host has at the moment, with a port where the map wants one.
    Host(usize, Option<u16>),
}

/// A key: its fields in order.
pub type Key = Box<[Field]>;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The key.
    pub key: Key,
    /// What it maps to.
    pub data: Data,
    /// `labgate.toml:36 web -> db`.
    pub comment: Arc<str>,
    /// What its counter counts for; `None` in a set without counters.
    pub tally: Option<Arc<Tally>>,
}

impl Element {
    /// Puts addresses in place of hosts and names: one element for each address of a name, none where somebody has no address now.
    pub fn resolve(&self, hosts: &HostAddresses) -> Vec<Element> {
        let data = match self.data {
            Data::Host(host, port) => match (hosts.get(host), port) {
                (Some(address), Some(port)) => Data::AddressPort(address, port),
                (Some(address), None) => Data::Address(address),
                (None, _) => return Vec::new(),
            },
            other => other,
        };
        let mut keys = vec![self.key.clone()];
        for (at, field) in self.key.iter().enumerate() {
            let addresses = match field {
                Field::Host(host) => hosts.get(*host).into_iter().collect(),
                Field::Name(name) => hosts.of_name(*name).to_vec(),
                _ => continue,
            };
            keys =
                keys.iter().flat_map(|key| addresses.iter().map(|address| with_address(key, at, *address))).collect();
        }
        keys.into_iter()
            .map(|key| Element { key, data, comment: self.comment.clone(), tally: self.tally.clone() })
            .collect()
    }

    /// Hosts this element waits for.
    pub fn hosts(&self) -> impl Iterator<Item = usize> + '_ {
        let in_key = self.key.iter().filter_map(|field| if let Field::Host(host) = field { Some(*host) } else { None });
        in_key.chain(if let Data::Host(host, _) = self.data { Some(host) } else { None })
    }

    /// Outside names this element waits for.
    pub fn names(&self) -> impl Iterator<Item = usize> + '_ {
        self.key.iter().filter_map(|field| if let Field::Name(name) = field { Some(*name) } else { None })
    }

    /// Whether it waits for anybody.
    pub fn follows(&self) -> bool {
        self.hosts().chain(self.names()).next().is_some()
    }
}

fn with_address(key: &Key, at: usize, address: Ipv4Addr) -> Key {
    let mut key = key.clone();
    key[at] = Field::Ipv4(address, address);
    key
}

/// Members of the sets that follow leases: everything about the table that changes without the configuration changing.
#[derive(Clone, Debug, Default)]
pub struct SetElements {
    /// The set's name, its shape, and its members by key.
    pub(crate) sets: Vec<Members>,
}

/// Members of one set.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) name: Arc<str>,
    pub(crate) data: DataType,
    pub(crate) interval: bool,
    pub(crate) by_key: SharedMap<Key, Element>,
}

/// One change of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementChange {
    /// The set's name.
    pub set: Arc<str>,
    /// Whether the element comes or goes.
    pub add: bool,
    /// Whether the set holds ranges.
    pub interval: bool,
    /// The set's data type.
    pub data: DataType,
    /// The element.
    pub element: Element,
    /// Where the counter of an element that comes begins.
    pub counter: Counter,
}

impl SetElements {
    /// How many members there are in all.
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| set.by_key.len()).sum()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Members of the set called `name`, in no order.
    pub fn members(&self, name: &str) -> impl Iterator<Item = &Element> {
        let found = self.sets.iter().find(|set| &*set.name == name);
        found.into_iter().flat_map(|set| set.by_key.iter().map(|(_, element)| element))
    }

    /// What turns the members of `older` into those of `newer`: first what goes, then what comes. Both are of one policy.
    pub fn difference(older: &SetElements, newer: &SetElements) -> Vec<ElementChange> {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for new in &newer.sets {
            let change = |add, element: &Element| ElementChange {
                set: new.name.clone(),
                add,
                interval: new.interval,
                data: new.data,
                element: element.clone(),
                counter: Counter::default(),
            };
            let Some(old) = older.sets.iter().find(|old| old.name == new.name) else {
                come.extend(new.by_key.iter().map(|(_, element)| change(true, element)));
                continue;
            };
            for (_, before, after) in SharedMap::difference(&old.by_key, &new.by_key) {
                gone.extend(before.map(|element| change(false, element)));
                come.extend(after.map(|element| change(true, element)));
            }
        }
        gone.append(&mut come);
        gone
    }
}

/// Packets and octets that an element has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub bytes: u64,
}

impl Counter {
    /// Both numbers added.
    pub fn plus(self, other: Counter) -> Counter {
        Counter { packets: self.packets.saturating_add(other.packets), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// Both numbers taken away, down to zero.
    pub fn minus(self, other: Counter) -> Counter {
        Counter { packets: self.packets.saturating_sub(other.packets), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// Counters by set and by the key as the kernel holds it (its lower end in a set of ranges), to be carried over a replacement.
pub type Counters = HashMap<Arc<str>, HashMap<Box<[u8]>, Counter>>;
