//! The table as text for `nft -f -`: one transaction that replaces it whole, members included, whether or not it was there.
//!
//! Nothing of the person's file reaches nft as syntax: names stand in quotes, and what could end a quote is replaced.

use std::fmt::Write as _;

use super::ruleset::{
    Chain, Counter, Counters, Data, DataType, Element, Field, FieldType, Key, Passing, Ruleset, Set, SetElements, TABLE,
};
use super::wire;

/// Octets of a comment that nft takes.
const COMMENT_AT_MOST: usize = 120;

impl Ruleset {
    /// The transaction, with counters at zero.
    pub fn text(&self, elements: &SetElements) -> String {
        self.text_with(elements, &Counters::new())
    }

    /// The transaction, with counters that go on where they were.
    pub fn text_with(&self, elements: &SetElements, counters: &Counters) -> String {
        let mut text = String::with_capacity(4096 + 128 * self.sets.iter().map(|set| set.fixed.len()).sum::<usize>());
        let _ = writeln!(text, "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{");
        for set in &self.sets {
            write_set(&mut text, set, elements, counters);
        }
        for chain in &self.chains {
            write_chain(&mut text, chain);
        }
        text.push_str("}\n");
        text
    }
}

/// What nft calls it.
pub(super) fn kind(set: &Set) -> &'static str {
    if set.data == DataType::None { "set" } else { "map" }
}

pub(super) fn write_set(text: &mut String, set: &Set, elements: &SetElements, counters: &Counters) {
    let _ = writeln!(text, "\t{} {} {{", kind(set), set.name);
    let key: Vec<&str> = set.key.iter().map(|field| type_name(*field)).collect();
    let data = match set.data {
        DataType::None => "",
        DataType::Verdict => " : verdict",
        DataType::Address => " : ipv4_addr",
        DataType::AddressPort => " : ipv4_addr . inet_service",
    };
    let _ = writeln!(text, "\t\ttype {}{data}", key.join(" . "));
    if let Some(size) = set.size() {
        let _ = writeln!(text, "\t\tsize {size}");
    }
    if set.interval {
        text.push_str("\t\tflags interval\n");
    }
    if let Some(Passing { by_packets, at_most, seconds }) = set.passing {
        let flags = if by_packets { "dynamic,timeout" } else { "timeout" };
        let _ = writeln!(text, "\t\tsize {at_most}\n\t\tflags {flags}\n\t\ttimeout {seconds}s");
    }
    if set.counter {
        text.push_str("\t\tcounter\n");
    }
    let _ = writeln!(text, "\t\tcomment {}", quote(&set.comment));
    let counters = counters.get(&set.name);
    let mut open = false;
    // In one order, whatever order the members have in memory: the kernel lists ranges as they came.
    let mut members: Vec<&Element> = set.fixed.iter().chain(elements.members(&set.name)).collect();
    members.sort_by(|one, other| one.key.cmp(&other.key));
    for element in members {
        text.push_str(if open { ",\n\t\t\t" } else { "\t\telements = {\n\t\t\t" });
        open = true;
        let counter = counters.and_then(|by_key| by_key.get(&wire::lower(&element.key)[..]).copied());
        write_element(text, element, counter);
    }
    text.push_str(if open { "\n\t\t}\n\t}\n" } else { "\t}\n" });
}

fn type_name(field: FieldType) -> &'static str {
    match field {
        FieldType::Interface => "ifname",
        FieldType::Ipv4 => "ipv4_addr",
        FieldType::Ipv6 => "ipv6_addr",
        FieldType::Protocol => "inet_proto",
        FieldType::Port => "inet_service",
    }
}

pub(super) fn write_key(text: &mut String, key: &Key) {
    for (index, field) in key.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { " . " });
        write_field(text, field);
    }
}

pub(super) fn write_element(text: &mut String, element: &Element, counter: Option<Counter>) {
    write_key(text, &element.key);
    if let Some(Counter { packets, bytes }) = counter {
        let _ = write!(text, " counter packets {packets} bytes {bytes}");
    }
    if !element.comment.is_empty() {
        let _ = write!(text, " comment {}", quote(&element.comment));
    }
    let _ = match element.data {
        Data::None => Ok(()),
        Data::Accept => write!(text, " : accept"),
        Data::Address(address) => write!(text, " : {address}"),
        Data::AddressPort(address, port) => write!(text, " : {address} . {port}"),
        Data::Host(host, _) => unreachable!("host {host} has no address"),
    };
}

fn write_field(text: &mut String, field: &Field) {
    let _ = match field {
        Field::Interface(name) => write!(text, "{}", quote(name)),
        Field::Ipv4(first, last) if first == last => write!(text, "{first}"),
        Field::Ipv4(first, last) => match prefix_length(u32::from(*first).into(), u32::from(*last).into(), 32) {
            Some(length) => write!(text, "{first}/{length}"),
            None => write!(text, "{first}-{last}"),
        },
        Field::Ipv6(first, last) if first == last => write!(text, "{first}"),
        Field::Ipv6(first, last) => match prefix_length((*first).into(), (*last).into(), 128) {
            Some(length) => write!(text, "{first}/{length}"),
            None => write!(text, "{first}-{last}"),
        },
        Field::Protocol(protocol) => write!(text, "{protocol}"),
        Field::Ports(range) if range.first == range.last => write!(text, "{}", range.first),
        Field::Ports(range) => write!(text, "{}-{}", range.first, range.last),
        Field::Host(index) | Field::Name(index) => unreachable!("host or name {index} has no address"),
    };
}

/// The length of the prefix that is this range, where it is one.
fn prefix_length(first: u128, last: u128, bits: u32) -> Option<u32> {
    let differing = first ^ last;
    let host = 128 - differing.leading_zeros();
    let aligned = differing.count_ones() == host && first & differing == 0;
    aligned.then(|| bits - host)
}

pub(super) fn write_chain(text: &mut String, chain: &Chain) {
    let _ = writeln!(text, "\tchain {} {{\n\t\tcomment {}", chain.name, quote(chain.comment));
    if let Some(hook) = chain.hook {
        let _ = writeln!(text, "\t\t{hook}");
    }
    for rule in &chain.rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n");
}

/// `text` in quotes. nft knows no escape inside them, and `*` at the end of an interface name means any ending: what could mean
/// something becomes `?`, which matches no interface.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars().take(COMMENT_AT_MOST) {
        let plain = character == ' ' || character.is_ascii_graphic() && !matches!(character, '"' | '\\' | '*' | '$');
        quoted.push(if plain { character } else { '?' });
    }
    quoted.push('"');
    quoted
}

/// A comment as an element that comes by netlink carries it: the same text as [`quote`] lets through.
pub(crate) fn plain_comment(text: &str) -> String {
    let quoted = quote(text);
    quoted[1..quoted.len() - 1].to_owned()
}
