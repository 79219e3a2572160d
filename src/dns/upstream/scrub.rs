//! What of an upstream's answer is passed on: what was asked for, the aliases that lead there, the SOA of a negative answer. Nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::cache::{LONGEST, LONGEST_NEGATIVE};
use crate::dns::entry::{Body, Entry, write_parts};
use crate::dns::wire::{
    CLASS_IN, ExtendedError, Key, Message, NameBuf, Owner, Record, Section, Writer, flag, is_within, rcode,
    rdata_parts, read_name, read_u16, read_u32, rtype,
};

/// The longest chain of aliases.
const MOST_ALIASES: usize = 16;
/// How long an answer is kept that lost its private addresses.
const REBIND_TTL: u32 = 60;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// To be cached and given out.
    Good(Entry),
    /// Ask again over TCP.
    Truncated,
    /// The server says that it cannot: ask another.
    Failed {
        /// What it says.
        rcode: u16,
    },
    /// The aliases loop or are too many: no other server will say better.
    AliasChain,
    /// It does not add up: ask another.
    Malformed,
}

/// What rebind protection drops; `None` for names that the person forwards to own servers.
pub type Rebind<'a> = Option<&'a [Ipv4Addr]>;

/// Whether an address must not come from outside: private, loopback, link-local, unspecified, also mapped into IPv6, or one of `own`.
pub fn is_private(address: IpAddr, own: &[Ipv4Addr]) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || a == 0
                || (a == 100 && b & 0xc0 == 64)
                || own.contains(&v4)
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            let embedded = v6.to_ipv4_mapped().or_else(|| {
                // NAT64 (RFC 6052) and the deprecated compatible form lead to the same address.
                let nat64 = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
                (nat64 || v6.segments()[..6] == [0; 6]).then(|| Ipv4Addr::from(v6.to_bits() as u32))
            });
            first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || first & 0xffc0 == 0xfec0
                || v6.is_loopback()
                || v6.is_unspecified()
                || embedded.is_some_and(|v4| is_private(IpAddr::V4(v4), own))
        }
    }
}

/// Cleans the answer to `key`, which was already believed to come from the server.
pub fn scrub(key: &Key, answer: &[u8], rebind: Rebind<'_>) -> Scrubbed {
    let Some(message) = Message::read(answer) else { return Scrubbed::Malformed };
    if message.flags & flag::TC != 0 {
        return Scrubbed::Truncated;
    }
    let code = message.rcode();
    if !matches!(code, rcode::NOERROR | rcode::NXDOMAIN) {
        return Scrubbed::Failed { rcode: code };
    }
    let Some(owners) = lower_owners(&message) else { return Scrubbed::Malformed };
    let Some(chain) = alias_chain(key, &message, &owners) else { return Scrubbed::AliasChain };
    let mut scrub = Scrub { key, message: &message, owners: &owners, chain: &chain, rebind, dropped: false };
    let kept: Vec<usize> = (0..message.records.len()).filter(|&index| scrub.keeps(index)).collect();
    let of_type = |wanted: u16| kept.iter().any(|&index| message.records[index].rtype == wanted);
    let answered = kept.iter().any(|&index| {
        let record = &message.records[index];
        record.section == 0 && record.rtype == key.qtype()
    });
    let referral = message.records.iter().any(|record| record.section == 1 && record.rtype == rtype::NS);
    if code == rcode::NOERROR && kept.is_empty() && !scrub.dropped && referral {
        // A server that only points elsewhere does not recurse for us.
        return Scrubbed::Failed { rcode: rcode::REFUSED };
    }
    let negative = !answered;
    let soa_ttl = if negative && of_type(rtype::SOA) { negative_ttl(&message, &kept) } else { None };
    scrub.write(&kept, code, negative, soa_ttl)
}

/// The owners of the records in sections answer and authority, in lower case.
fn lower_owners(message: &Message<'_>) -> Option<Vec<NameBuf>> {
    let sections = message.records.iter().take_while(|record| record.section < 2);
    sections
        .map(|record| {
            let (mut name, _) = read_name(message.bytes, record.owner_at)?;
            name.make_lower();
            Some(name)
        })
        .collect()
}

/// The name asked for and the names its aliases lead to; `None` where they loop or are too many.
fn alias_chain(key: &Key, message: &Message<'_>, owners: &[NameBuf]) -> Option<Vec<NameBuf>> {
    let mut first = NameBuf::new();
    first.push_suffix(key.name())?;
    let mut chain = vec![first];
    if matches!(key.qtype(), rtype::CNAME | rtype::ANY) {
        return Some(chain);
    }
    loop {
        let current = chain[chain.len() - 1];
        let alias = message.records.iter().zip(owners).find(|(record, owner)| {
            record.section == 0 && record.rtype == rtype::CNAME && owner.as_bytes() == current.as_bytes()
        });
        let Some((record, _)) = alias else { return Some(chain) };
        let (mut target, _) = read_name(message.bytes, record.rdata_at)?;
        target.make_lower();
        if chain.len() > MOST_ALIASES || chain.iter().any(|name| name.as_bytes() == target.as_bytes()) {
            return None;
        }
        chain.push(target);
    }
}

/// RFC 2308 §5: the lesser of the SOA's TTL and its last field.
fn negative_ttl(message: &Message<'_>, kept: &[usize]) -> Option<u32> {
    let soa = kept.iter().map(|&index| &message.records[index]).find(|record| record.rtype == rtype::SOA)?;
    let minimum = read_u32(message.bytes, soa.rdata_end.checked_sub(4)?)?;
    Some(sane_ttl(soa.ttl).min(sane_ttl(minimum)).min(LONGEST_NEGATIVE))
}

/// RFC 2181 §8: a TTL with the top bit set is 0.
fn sane_ttl(ttl: u32) -> u32 {
    if ttl >> 31 != 0 { 0 } else { ttl.min(LONGEST) }
}

struct Scrub<'a> {
    key: &'a Key,
    message: &'a Message<'a>,
    owners: &'a [NameBuf],
    chain: &'a [NameBuf],
    rebind: Rebind<'a>,
    dropped: bool,
}

impl Scrub<'_> {
    fn keeps(&mut self, index: usize) -> bool {
        let record = &self.message.records[index];
        let Some(owner) = self.owners.get(index).map(NameBuf::as_bytes) else { return false };
        if record.class != CLASS_IN {
            return false;
        }
        let position = self.chain.iter().position(|name| name.as_bytes() == owner);
        let last = self.chain.len() - 1;
        let signed = self.key.dnssec_ok();
        let wanted = match (record.section, record.rtype) {
            (0, rtype::CNAME) if self.key.qtype() != rtype::CNAME => position.is_some_and(|at| at < last),
            (0, rtype::RRSIG) if signed => position.is_some() || self.above_chain(owner),
            (0, rtype::DNAME) if self.key.qtype() != rtype::DNAME => self.above_chain(owner),
            (0, kind) => position == Some(last) && (kind == self.key.qtype() || self.key.qtype() == rtype::ANY),
            (1, rtype::SOA) => is_within(self.chain[last].as_bytes(), owner),
            (1, rtype::RRSIG | rtype::NSEC | rtype::NSEC3 | rtype::DS) => signed,
            _ => false,
        };
        if wanted && record.section == 0 && self.rebinds(record) {
            self.dropped = true;
            return false;
        }
        wanted
    }

    fn above_chain(&self, owner: &[u8]) -> bool {
        self.chain.iter().any(|name| name.as_bytes() != owner && is_within(name.as_bytes(), owner))
    }

    fn rebinds(&self, record: &Record) -> bool {
        let Some(own) = self.rebind else { return false };
        let rdata = self.message.rdata(record);
        match record.rtype {
            rtype::A => <[u8; 4]>::try_from(rdata).is_ok_and(|octets| is_private(octets.into(), own)),
            rtype::AAAA => <[u8; 16]>::try_from(rdata).is_ok_and(|octets| is_private(octets.into(), own)),
            rtype::SVCB | rtype::HTTPS => hints(rdata).into_iter().any(|address| is_private(address, own)),
            _ => false,
        }
    }

    fn write(&self, kept: &[usize], code: u16, negative: bool, soa_ttl: Option<u32>) -> Scrubbed {
        let mut head = vec![0; 12];
        head.extend_from_slice(self.key.name());
        head.extend_from_slice(&self.key.qtype().to_be_bytes());
        head.extend_from_slice(&CLASS_IN.to_be_bytes());
        let mut out = Vec::with_capacity(self.message.bytes.len() + 64);
        let mut writer = Writer::with_head(&head, &mut out);
        let mut places = Vec::with_capacity(kept.len());
        let mut lowest = LONGEST;
        for &index in kept {
            let record = &self.message.records[index];
            if record.section == 1 && record.rtype == rtype::SOA && !negative {
                continue;
            }
            let (Some((owner, _)), Some(parts)) =
                (read_name(self.message.bytes, record.owner_at), rdata_parts(self.message.bytes, record))
            else {
                return Scrubbed::Malformed;
            };
            let ttl = match (record.section, soa_ttl) {
                (1, Some(ttl)) if negative => sane_ttl(record.ttl).min(ttl),
                _ => sane_ttl(record.ttl),
            };
            lowest = lowest.min(ttl);
            let section = if record.section == 0 { Section::Answer } else { Section::Authority };
            writer.record(section, Owner::Name(owner.as_bytes()), record.rtype, ttl, |writer| {
                places.push(u16::try_from(writer.len() - 6));
                write_parts(writer, self.message.bytes, record.rtype, &parts);
            });
        }
        let counts = writer.counts();
        let places: Result<Vec<u16>, _> = places.into_iter().collect();
        let (Ok(places), true) = (places, out.len() < 0xff00) else { return Scrubbed::Malformed };
        let (ttl, error) = match (self.dropped, negative, soa_ttl) {
            (true, ..) => (lowest.min(REBIND_TTL), Some(ExtendedError::REBIND)),
            (false, false, _) | (false, true, Some(_)) => (lowest, None),
            // RFC 2308 §5: without SOA a negative answer is not kept.
            (false, true, None) => (0, None),
        };
        let body = Body { message: &out, head_len: head.len(), ttl_places: &places, counts };
        Scrubbed::Good(Entry::new(self.key, &body, code, ttl, error))
    }
}

/// The address hints of an SVCB or HTTPS record (RFC 9460 §7.3).
fn hints(rdata: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Some((_, mut position)) = read_name(rdata, 2) else { return found };
    while let (Some(key), Some(length)) = (read_u16(rdata, position), read_u16(rdata, position + 2)) {
        let end = position + 4 + usize::from(length);
        let Some(value) = rdata.get(position + 4..end) else { return found };
        match key {
            4 => found.extend(value.chunks_exact(4).map(|c| IpAddr::from([c[0], c[1], c[2], c[3]]))),
            6 => found.extend(
                value
                    .chunks_exact(16)
                    .filter_map(|c| <[u8; 16]>::try_from(c).ok())
                    .map(|c| IpAddr::V6(Ipv6Addr::from(c))),
            ),
            _ => {}
        }
        position = end;
    }
    found
}

#[cfg(test)]
mod tests;
