//! A walk over the records of an answer.

use super::{HEADER, read_name, read_u16, read_u32, rtype, skip_name};

/// The most records of one message that are looked at; no honest answer comes near.
const MOST_RECORDS: usize = 2048;

/// One record where it stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// 0 answer, 1 authority, 2 additional.
    pub section: usize,
    /// Where its owner name starts.
    pub owner_at: usize,
    /// TYPE.
    pub rtype: u16,
    /// CLASS.
    pub class: u16,
    /// TTL as it stands there.
    pub ttl: u32,
    /// Where the TTL stands.
    pub ttl_at: usize,
    /// Where RDATA starts.
    pub rdata_at: usize,
    /// Where RDATA ends.
    pub rdata_end: usize,
}

/// An answer whose sections add up.
#[derive(Debug)]
pub struct Message<'a> {
    /// The octets.
    pub bytes: &'a [u8],
    /// The flags word.
    pub flags: u16,
    /// Where the question ends.
    pub question_end: usize,
    /// The records of all sections.
    pub records: Vec<Record>,
}

impl<'a> Message<'a> {
    /// Reads a message with exactly one question; `None` where it does not add up.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let flags = read_u16(bytes, 2)?;
        if read_u16(bytes, 4)? != 1 {
            return None;
        }
        let counts = [read_u16(bytes, 6)?, read_u16(bytes, 8)?, read_u16(bytes, 10)?].map(usize::from);
        let question_end = skip_name(bytes, HEADER)? + 4;
        let total: usize = counts.iter().sum();
        if question_end > bytes.len() || total > MOST_RECORDS {
            return None;
        }
        let mut records = Vec::with_capacity(total.min(64));
        let mut position = question_end;
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                let owner_at = position;
                let fixed = skip_name(bytes, position)?;
                let rdata_at = fixed + 10;
                let rdata_end = rdata_at + usize::from(read_u16(bytes, fixed + 8)?);
                if rdata_end > bytes.len() {
                    return None;
                }
                records.push(Record {
                    section,
                    owner_at,
                    rtype: read_u16(bytes, fixed)?,
                    class: read_u16(bytes, fixed + 2)?,
                    ttl: read_u32(bytes, fixed + 4)?,
                    ttl_at: fixed + 4,
                    rdata_at,
                    rdata_end,
                });
                position = rdata_end;
            }
        }
        Some(Message { bytes, flags, question_end, records })
    }

    /// RDATA of a record.
    pub fn rdata(&self, record: &Record) -> &'a [u8] {
        self.bytes.get(record.rdata_at..record.rdata_end).unwrap_or_default()
    }

    /// The code, with the upper bits of EDNS where there is an OPT record.
    pub fn rcode(&self) -> u16 {
        let upper = self.records.iter().find(|record| record.rtype == rtype::OPT).map_or(0, |opt| opt.ttl >> 24);
        (upper as u16) << 4 | self.flags & super::flag::RCODE
    }
}

/// A piece of RDATA: octets that stay as they are, or a name that may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdataPart {
    /// From, to.
    Octets(usize, usize),
    /// Where the name starts.
    Name(usize),
}

/// The pieces of a record's RDATA, so that it can be written into another message. Only types whose names may be compressed (RFC 3597 §4)
/// are taken apart. `None` where such RDATA does not add up.
pub fn rdata_parts(bytes: &[u8], record: &Record) -> Option<Vec<RdataPart>> {
    // Octets before the names, names, octets after them.
    let (before, names, after) = match record.rtype {
        rtype::NS | 3 | 4 | rtype::CNAME | 7 | 8 | 9 | rtype::PTR | rtype::DNAME => (0, 1, 0),
        rtype::SOA => (0, 2, 20),
        14 | 17 => (0, 2, 0),
        rtype::MX | 18 | 21 | 36 => (2, 1, 0),
        26 => (2, 2, 0),
        rtype::SRV => (6, 1, 0),
        _ => return Some(vec![RdataPart::Octets(record.rdata_at, record.rdata_end)]),
    };
    let mut parts = Vec::with_capacity(4);
    let mut position = record.rdata_at;
    if before > 0 {
        parts.push(RdataPart::Octets(position, position + before));
        position += before;
    }
    for _ in 0..names {
        parts.push(RdataPart::Name(position));
        position = read_name(bytes, position)?.1;
    }
    if after > 0 {
        parts.push(RdataPart::Octets(position, position + after));
        position += after;
    }
    (position == record.rdata_end).then_some(parts)
}
