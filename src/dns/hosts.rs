//! Hosts files, held compactly: every name once in one arena, addresses in flat lists, both found through tables of 32-bit numbers.
//! 100,000 lines take about 10 MB.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::wire::NameBuf;

const NONE: u32 = u32::MAX;
/// The most addresses of one name, and names of one address. Lists beyond that are block lists, and no reverse answer needs them.
const MOST_PER_KEY: usize = 32;
/// How many skipped lines are told one by one.
const MOST_TOLD: usize = 20;

/// The names and addresses of all hosts files. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Table>);

/// What was skipped while hosts files were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many lines, or names of lines.
    pub count: usize,
    /// The first of them: line and reason.
    pub first: Vec<(usize, &'static str)>,
}

#[derive(Debug, Default)]
struct Table {
    /// Wire forms in lower case, one after another.
    arena: Vec<u8>,
    names: Vec<Name>,
    by_name: HashTable<u32>,
    v4: Vec<V4>,
    v6: Vec<V6>,
    reverse: Vec<Reverse>,
    by_address: HashTable<u32>,
    reverse_names: Vec<ReverseName>,
}

#[derive(Debug)]
struct Name {
    at: u32,
    v4: u32,
    v6: u32,
}

#[derive(Debug)]
struct V4 {
    address: Ipv4Addr,
    next: u32,
}

#[derive(Debug)]
struct V6 {
    address: Ipv6Addr,
    next: u32,
}

/// An address, as a number of `v4` or (with the top bit) `v6` that holds it, and its names.
#[derive(Debug)]
struct Reverse {
    address: u32,
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct ReverseName {
    name: u32,
    next: u32,
}

const IS_V6: u32 = 1 << 31;

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0x686f_7374).hash_one(bytes)
}

fn hash_address(address: IpAddr) -> u64 {
    FixedState::with_seed(0x6164_6472).hash_one(address)
}

/// Reads one hosts file; lines that make no sense are skipped and counted.
pub fn parse(text: &[u8]) -> (Hosts, Skipped) {
    let mut reader = HostsReader::default();
    let skipped = reader.add(text);
    (reader.finish(), skipped)
}

/// Reads several hosts files into one table.
#[derive(Debug, Default)]
pub struct HostsReader {
    table: Table,
}

impl HostsReader {
    /// Adds a file: `ADDRESS NAME…`, `#` starts a comment. Any line ending, with or without a byte order mark.
    pub fn add(&mut self, text: &[u8]) -> Skipped {
        let mut skipped = Skipped::default();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let mut skip = |why| {
                skipped.count += 1;
                if skipped.first.len() < MOST_TOLD {
                    skipped.first.push((index + 1, why));
                }
            };
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(first) = words.next() else { continue };
            let Some(address) = std::str::from_utf8(first).ok().and_then(|text| text.parse::<IpAddr>().ok()) else {
                skip("the line does not start with an address");
                continue;
            };
            let mut named = false;
            for word in words {
                named = true;
                match read_host_name(word) {
                    Some(name) if self.table.add(&name, address).is_some() => {}
                    Some(_) => skip("one name has too many addresses, or the files are too large"),
                    None => skip("a name is not a host name"),
                }
            }
            if !named {
                skip("the address has no name");
            }
        }
        skipped
    }

    /// The table.
    pub fn finish(mut self) -> Hosts {
        let table = &mut self.table;
        table.arena.shrink_to_fit();
        table.names.shrink_to_fit();
        table.v4.shrink_to_fit();
        table.v6.shrink_to_fit();
        table.reverse.shrink_to_fit();
        table.reverse_names.shrink_to_fit();
        Hosts(Arc::new(self.table))
    }
}

/// The wire form of a host name in lower case: letters, digits, `-`, `_`.
fn read_host_name(text: &[u8]) -> Option<NameBuf> {
    let text = text.strip_suffix(b".").unwrap_or(text);
    let mut name = NameBuf::new();
    for label in text.split(|&byte| byte == b'.') {
        let plain = label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if label.is_empty() || !plain {
            return None;
        }
        name.push_label(label)?;
    }
    name.push_suffix(&[0])?;
    name.make_lower();
    Some(name)
}

impl Table {
    fn name_at(&self, at: u32) -> &[u8] {
        let rest = self.arena.get(at as usize..).unwrap_or_default();
        let mut length = 0;
        while let Some(&label) = rest.get(length) {
            length += 1 + usize::from(label);
            if label == 0 {
                break;
            }
        }
        rest.get(..length).unwrap_or_default()
    }

    fn find(&self, wire: &[u8]) -> Option<u32> {
        self.by_name.find(hash(wire), |&index| self.name_at(self.names[index as usize].at) == wire).copied()
    }

    fn find_or_add(&mut self, wire: &[u8]) -> Option<u32> {
        if let Some(index) = self.find(wire) {
            return Some(index);
        }
        let at = u32::try_from(self.arena.len()).ok()?;
        let index = u32::try_from(self.names.len()).ok().filter(|&index| index < IS_V6)?;
        self.arena.extend_from_slice(wire);
        self.names.push(Name { at, v4: NONE, v6: NONE });
        let mut by_name = std::mem::take(&mut self.by_name);
        by_name.insert_unique(hash(wire), index, |&index| hash(self.name_at(self.names[index as usize].at)));
        self.by_name = by_name;
        Some(index)
    }

    /// `None` where the name has its fill of addresses.
    fn add(&mut self, name: &NameBuf, address: IpAddr) -> Option<()> {
        let name = self.find_or_add(name.as_bytes())?;
        let entry = &mut self.names[name as usize];
        let place = match address {
            IpAddr::V4(address) => {
                let (mut last, mut count, mut at) = (NONE, 0, entry.v4);
                while at != NONE {
                    let here = &self.v4[at as usize];
                    if here.address == address {
                        return Some(());
                    }
                    (last, count, at) = (at, count + 1, here.next);
                }
                let place = u32::try_from(self.v4.len()).ok().filter(|&place| place < IS_V6 && count < MOST_PER_KEY)?;
                self.v4.push(V4 { address, next: NONE });
                match last {
                    NONE => entry.v4 = place,
                    last => self.v4[last as usize].next = place,
                }
                place
            }
            IpAddr::V6(address) => {
                let (mut last, mut count, mut at) = (NONE, 0, entry.v6);
                while at != NONE {
                    let here = &self.v6[at as usize];
                    if here.address == address {
                        return Some(());
                    }
                    (last, count, at) = (at, count + 1, here.next);
                }
                let place = u32::try_from(self.v6.len()).ok().filter(|&place| place < IS_V6 && count < MOST_PER_KEY)?;
                self.v6.push(V6 { address, next: NONE });
                match last {
                    NONE => entry.v6 = place,
                    last => self.v6[last as usize].next = place,
                }
                place | IS_V6
            }
        };
        self.add_reverse(address, place, name);
        Some(())
    }

    fn address_at(&self, place: u32) -> IpAddr {
        if place & IS_V6 == 0 {
            IpAddr::V4(self.v4[place as usize].address)
        } else {
            IpAddr::V6(self.v6[(place & !IS_V6) as usize].address)
        }
    }

    fn find_reverse(&self, address: IpAddr) -> Option<u32> {
        let same = |&index: &u32| self.address_at(self.reverse[index as usize].address) == address;
        self.by_address.find(hash_address(address), same).copied()
    }

    fn add_reverse(&mut self, address: IpAddr, place: u32, name: u32) {
        if address.is_unspecified() {
            return;
        }
        let new = self.reverse_names.len() as u32;
        match self.find_reverse(address) {
            Some(index) => {
                let entry = &self.reverse[index as usize];
                let (mut at, mut count) = (entry.first, 0);
                while at != NONE {
                    (at, count) = (self.reverse_names[at as usize].next, count + 1);
                }
                if count >= MOST_PER_KEY {
                    return;
                }
                self.reverse_names[entry.last as usize].next = new;
                self.reverse[index as usize].last = new;
            }
            None => {
                let index = self.reverse.len() as u32;
                self.reverse.push(Reverse { address: place, first: new, last: new });
                let mut by_address = std::mem::take(&mut self.by_address);
                by_address.insert_unique(hash_address(address), index, |&index| {
                    hash_address(self.address_at(self.reverse[index as usize].address))
                });
                self.by_address = by_address;
            }
        }
        self.reverse_names.push(ReverseName { name, next: NONE });
    }
}

impl Hosts {
    /// The addresses of a name in wire form and lower case; `None` where no file has the name.
    pub fn addresses(&self, wire: &[u8]) -> Option<Addresses<'_>> {
        let name = &self.0.names[self.0.find(wire)? as usize];
        Some(Addresses { table: &self.0, v4: name.v4, v6: name.v6 })
    }

    /// The names of an address, in the order of the files, in wire form.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &[u8]> {
        let table = &*self.0;
        let mut at = table.find_reverse(address).map_or(NONE, |index| table.reverse[index as usize].first);
        std::iter::from_fn(move || {
            let entry = table.reverse_names.get(at as usize)?;
            at = entry.next;
            Some(table.name_at(table.names[entry.name as usize].at))
        })
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.names.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.names.is_empty()
    }
}

/// The addresses of one name.
#[derive(Debug)]
pub struct Addresses<'a> {
    table: &'a Table,
    v4: u32,
    v6: u32,
}

impl<'a> Addresses<'a> {
    /// IPv4, in the order of the files.
    pub fn v4(&self) -> impl Iterator<Item = Ipv4Addr> + 'a {
        let (table, mut at) = (self.table, self.v4);
        std::iter::from_fn(move || {
            let entry = table.v4.get(at as usize)?;
            at = entry.next;
            Some(entry.address)
        })
    }

    /// IPv6, in the order of the files.
    pub fn v6(&self) -> impl Iterator<Item = Ipv6Addr> + 'a {
        let (table, mut at) = (self.table, self.v6);
        std::iter::from_fn(move || {
            let entry = table.v6.get(at as usize)?;
            at = entry.next;
            Some(entry.address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::wire::WireName;
    use crate::model::DomainName;

    fn wire(name: &str) -> WireName {
        WireName::new(&DomainName::parse(name).unwrap())
    }

    #[test]
    fn reads_what_makes_sense_and_tells_the_rest() {
        let text =
            b"\xef\xbb\xbf# home\r\n192.168.1.5\tNAS nas.home.arpa # box\r\n\r\n192.168.1.6 nas\nfe80::1%eth0 link\n\
            2001:db8::5 nas\nbad line\n10.0.0.1\n10.0.0.2 caf\xc3\xa9 ok\n0.0.0.0 ads.example\n192.168.1.5 nas\n";
        let (hosts, skipped) = parse(text);
        let nas = hosts.addresses(wire("nas").as_bytes()).unwrap();
        assert_eq!(nas.v4().collect::<Vec<_>>(), [Ipv4Addr::new(192, 168, 1, 5), Ipv4Addr::new(192, 168, 1, 6)]);
        assert_eq!(nas.v6().collect::<Vec<_>>(), ["2001:db8::5".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(skipped.first.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 7, 8, 9]);
        let names: Vec<_> = hosts.names_of("192.168.1.5".parse().unwrap()).collect();
        assert_eq!(names, [wire("nas").as_bytes(), wire("nas.home.arpa").as_bytes()]);
        assert!(hosts.names_of("0.0.0.0".parse().unwrap()).next().is_none());
        assert!(hosts.addresses(wire("gone").as_bytes()).is_none());
        assert_eq!((hosts.len(), skipped.count), (4, 4));
    }

    #[test]
    fn a_hundred_thousand_lines_are_found_again() {
        let text: String = (0..100_000u32)
            .map(|i| format!("10.{}.{}.{} host{i}.lab.example\n", i >> 16, i >> 8 & 255, i & 255))
            .collect();
        let (hosts, skipped) = parse(text.as_bytes());
        assert_eq!((hosts.len(), skipped.count), (100_000, 0));
        for i in [0u32, 1, 4711, 99_999] {
            let address = Ipv4Addr::from(0x0a00_0000 | i);
            let name = wire(&format!("host{i}.lab.example"));
            assert!(hosts.addresses(name.as_bytes()).unwrap().v4().eq([address]));
            assert!(hosts.names_of(address.into()).eq([name.as_bytes()]));
        }
    }

    #[test]
    fn one_name_with_a_million_addresses_stays_small() {
        let text: String = (0..5000u32).map(|i| format!("{} same\n127.0.0.1 n{i}\n", Ipv4Addr::from(i + 1))).collect();
        let (hosts, skipped) = parse(text.as_bytes());
        assert_eq!(hosts.addresses(wire("same").as_bytes()).unwrap().v4().count(), MOST_PER_KEY);
        assert_eq!(skipped.count, 5000 - MOST_PER_KEY);
        assert!(skipped.first.len() <= MOST_TOLD);
    }
}
