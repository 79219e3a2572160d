//! One answer in wire form: what the cache keeps and what an upstream's answer becomes after scrubbing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::wire::{
    ExtendedError, Key, Message, Owner, Query, RdataPart, Section, Writer, finish, rdata_parts, read_name, rtype,
};

/// An answer without its header and question, with the places of its TTLs, so that it can be sent again with a few patches.
/// Compression pointers in it are right for every message with the same question, whatever the case of its letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, the places of the TTLs in the body (two octets each), the body.
    data: Arc<[u8]>,
    key_len: u16,
    ttl_count: u16,
    counts: [u16; 3],
    /// The code.
    rcode: u16,
    /// How long it may be given out, in seconds; 0: never again.
    ttl: u32,
    /// What is to be told beside it.
    error: Option<ExtendedError>,
}

/// Records as they were written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body<'a> {
    /// A message that starts with the head of the question.
    pub message: &'a [u8],
    /// Where its records start.
    pub head_len: usize,
    /// Where its TTLs stand.
    pub ttl_places: &'a [u16],
    /// Records by section.
    pub counts: [u16; 3],
}

impl Entry {
    /// The answer to `key` that stands in `body`, for `ttl` seconds.
    pub fn new(key: &Key, body: &Body<'_>, rcode: u16, ttl: u32, error: Option<ExtendedError>) -> Self {
        let key = key.as_bytes();
        let records = body.message.get(body.head_len..).unwrap_or_default();
        let mut data = Vec::with_capacity(key.len() + 2 * body.ttl_places.len() + records.len());
        data.extend_from_slice(key);
        for &place in body.ttl_places {
            data.extend_from_slice(&place.saturating_sub(body.head_len as u16).to_be_bytes());
        }
        data.extend_from_slice(records);
        let (key_len, ttl_count) = (key.len() as u16, body.ttl_places.len() as u16);
        Entry { data: data.into(), key_len, ttl_count, counts: body.counts, rcode, ttl, error }
    }

    /// An answer without records: a failure.
    pub fn failure(key: &Key, rcode: u16, ttl: u32, error: ExtendedError) -> Self {
        Entry::new(key, &Body::default(), rcode, ttl, Some(error))
    }

    /// The octets of the key.
    pub fn key(&self) -> &[u8] {
        &self.data[..usize::from(self.key_len)]
    }

    /// The code.
    pub fn rcode(&self) -> u16 {
        self.rcode
    }

    /// How long it may be given out, in seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Octets it takes.
    pub fn size(&self) -> usize {
        self.data.len()
    }

    fn body(&self) -> &[u8] {
        &self.data[usize::from(self.key_len) + 2 * usize::from(self.ttl_count)..]
    }

    fn ttl_places(&self) -> impl Iterator<Item = usize> {
        let start = usize::from(self.key_len);
        let places = &self.data[start..start + 2 * usize::from(self.ttl_count)];
        places.chunks_exact(2).map(|place| usize::from(u16::from_be_bytes([place[0], place[1]])))
    }

    /// Writes the answer for `query`, whose key must be this entry's. TTLs are `age` seconds lower; with `stale` they all are that.
    pub fn write(&self, query: &Query<'_>, age: u32, stale: Option<u32>, limit: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(query.head());
        let start = out.len();
        out.extend_from_slice(self.body());
        for place in self.ttl_places() {
            let at = start + place;
            let Some(octets) = out.get_mut(at..at + 4) else { continue };
            let ttl = u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
            octets.copy_from_slice(&stale.unwrap_or(ttl.saturating_sub(age)).to_be_bytes());
        }
        let error = if stale.is_some() { Some(ExtendedError::STALE) } else { self.error };
        finish(out, query, self.counts, limit, false, self.rcode, error);
    }

    /// The whole as a message to the question it answers.
    fn message(&self) -> Vec<u8> {
        let name_len = usize::from(self.key_len) - 3;
        let mut message = vec![0; 12];
        message[4..6].copy_from_slice(&[0, 1]);
        for (index, count) in self.counts.into_iter().enumerate() {
            message[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        message.extend_from_slice(&self.data[..name_len + 2]);
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(self.body());
        message
    }

    /// The IPv4 addresses of the answer, each with its TTL in seconds: where aliases lead elsewhere, those that stand at their end.
    pub fn addresses(&self) -> Vec<(Ipv4Addr, u32)> {
        let message = self.message();
        let Some(message) = Message::read(&message) else { return Vec::new() };
        let answers = message.records.iter().filter(|record| record.section == 0 && record.rtype == rtype::A);
        let address = |record| <[u8; 4]>::try_from(message.rdata(record)).ok().map(Ipv4Addr::from);
        answers.filter_map(|record| Some((address(record)?, record.ttl))).collect()
    }

    /// Adds the answer's records to one that has begun with an alias of this entry's name.
    pub fn append(&self, writer: &mut Writer<'_>, age: u32, stale: Option<u32>) {
        let message = self.message();
        let Some(message) = Message::read(&message) else { return };
        for record in &message.records {
            let section = [Section::Answer, Section::Authority, Section::Additional][record.section.min(2)];
            let (Some((owner, _)), Some(parts)) =
                (read_name(message.bytes, record.owner_at), rdata_parts(message.bytes, record))
            else {
                continue;
            };
            let ttl = stale.unwrap_or(record.ttl.saturating_sub(age));
            writer.record(section, Owner::Name(owner.as_bytes()), record.rtype, ttl, |writer| {
                write_parts(writer, message.bytes, record.rtype, &parts);
            });
        }
    }

    /// What is to be told beside it.
    pub fn error(&self) -> Option<ExtendedError> {
        self.error
    }
}

/// Writes RDATA taken apart by [`rdata_parts`]; names are compressed where RFC 3597 §4 allows it.
pub(super) fn write_parts(writer: &mut Writer<'_>, message: &[u8], rtype: u16, parts: &[RdataPart]) {
    for part in parts {
        match *part {
            RdataPart::Octets(from, to) => writer.octets(message.get(from..to).unwrap_or_default()),
            RdataPart::Name(at) => {
                let Some((name, _)) = read_name(message, at) else { continue };
                match rtype {
                    2 | 5 | 6 | 12 | 15 => writer.name(name.as_bytes()),
                    _ => writer.plain_name(name.as_bytes()),
                }
            }
        }
    }
}
