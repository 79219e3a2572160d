//! Writes answers.

use super::query::Refusal;
use super::{CLASS_IN, HEADER, Query, UDP_LIMIT, flag, rcode, read_name, rtype};

/// How many places of names are remembered for compression.
const REMEMBERED: usize = 48;

/// A section of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// SOA of a negative answer.
    Authority,
    /// The rest.
    Additional,
}

/// The owner of a record.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The name of the question, in its own case.
    Question,
    /// Another, in wire form.
    Name(&'a [u8]),
}

/// An extended DNS error (RFC 8914) for clients with EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT, for a person who reads it.
    pub text: &'static str,
}

impl ExtendedError {
    /// The answer is older than its TTL; upstreams fail.
    pub const STALE: Self = ExtendedError { code: 3, text: "" };
    /// A private address in a public answer was dropped.
    pub const REBIND: Self = ExtendedError { code: 15, text: "private address dropped (rebind protection)" };
    /// The answer is not for this client or question.
    pub const PROHIBITED: Self = ExtendedError { code: 18, text: "" };
    /// The server does not recurse for this question.
    pub const NOT_AUTHORITATIVE: Self = ExtendedError { code: 20, text: "" };
    /// No upstream answered.
    pub const NO_REACHABLE_AUTHORITY: Self = ExtendedError { code: 22, text: "no upstream answered in time" };
    /// Upstreams answered with an error.
    pub const NETWORK_ERROR: Self = ExtendedError { code: 23, text: "every upstream failed" };
    /// The alias chain of the answer loops or is too long.
    pub const ALIAS_CHAIN: Self = ExtendedError { code: 0, text: "the chain of aliases loops or is too long" };
    /// Too many questions wait.
    pub const BUSY: Self = ExtendedError { code: 0, text: "too many questions wait for their answer" };
    /// No upstream is known.
    pub const NO_UPSTREAM: Self = ExtendedError { code: 23, text: "no upstream is known yet" };
}

/// Writes one answer into a buffer that is kept from answer to answer.
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    /// Header and question.
    head: usize,
    counts: [u16; 3],
    places: [u16; REMEMBERED],
    known: usize,
}

impl<'b> Writer<'b> {
    /// Starts the answer to `query`: the header and the question, octet for octet.
    pub fn new(query: &Query<'_>, out: &'b mut Vec<u8>) -> Self {
        Self::with_head(query.head, out)
    }

    /// The same from header and question alone.
    pub fn with_head(head: &[u8], out: &'b mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(head);
        Writer { out, head: head.len(), counts: [0; 3], places: [0; REMEMBERED], known: 0 }
    }

    /// Adds a record whose RDATA is written by `rdata`. Sections come in order.
    pub fn record(&mut self, section: Section, owner: Owner<'_>, rtype: u16, ttl: u32, rdata: impl FnOnce(&mut Self)) {
        match owner {
            Owner::Question => self.out.extend_from_slice(&[0xc0, HEADER as u8]),
            Owner::Name(name) => self.name(name),
        }
        self.octets(&rtype.to_be_bytes());
        self.octets(&CLASS_IN.to_be_bytes());
        self.octets(&ttl.to_be_bytes());
        let length_at = self.out.len();
        self.octets(&[0, 0]);
        rdata(self);
        let length = (self.out.len() - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.counts[section as usize] = self.counts[section as usize].saturating_add(1);
    }

    /// Adds plain octets.
    pub fn octets(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    /// Adds a name in wire form, compressed where a tail of it was written before.
    pub fn name(&mut self, wire: &[u8]) {
        if self.known == 0 {
            self.remember(HEADER, self.head.saturating_sub(4));
        }
        let start = self.out.len();
        for suffix in super::name::suffixes(wire) {
            if suffix.len() == 1 {
                break;
            }
            if let Some(place) = self.find(suffix) {
                let prefix = wire.len() - suffix.len();
                self.out.extend_from_slice(&wire[..prefix]);
                let end = self.out.len();
                self.out.extend_from_slice(&(0xc000 | place).to_be_bytes());
                return self.remember(start, end);
            }
        }
        self.out.extend_from_slice(wire);
        let end = self.out.len();
        self.remember(start, end);
    }

    /// Adds a name in wire form as it is: for RDATA of types that must not be compressed (RFC 3597 §4).
    pub fn plain_name(&mut self, wire: &[u8]) {
        self.octets(wire);
    }

    /// How long the message is by now.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Records by section, by now.
    pub fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// Ends the answer: flags, counts, OPT where the client speaks EDNS; where it is longer than `limit`, only the question stays, with TC.
    pub fn finish(
        self,
        query: &Query<'_>,
        limit: usize,
        authoritative: bool,
        rcode: u16,
        error: Option<ExtendedError>,
    ) {
        finish(self.out, query, self.counts, limit, authoritative, rcode, error);
    }

    fn remember(&mut self, start: usize, end: usize) {
        let mut position = start;
        while position < end && self.known < REMEMBERED && position < 0x4000 {
            let length = self.out[position];
            if length == 0 || length > 63 {
                break;
            }
            self.places[self.known] = position as u16;
            self.known += 1;
            position += 1 + usize::from(length);
        }
    }

    fn find(&self, suffix: &[u8]) -> Option<u16> {
        self.places[..self.known].iter().copied().find(|&place| {
            let first = usize::from(place);
            // Most places differ in their first label: look before the whole name is read.
            self.out[first] == suffix[0]
                && read_name(self.out, first).is_some_and(|(name, _)| name.as_bytes().eq_ignore_ascii_case(suffix))
        })
    }
}

/// Ends an answer that consists of `query`'s head and records already in `out`.
pub(crate) fn finish(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    mut counts: [u16; 3],
    limit: usize,
    authoritative: bool,
    rcode: u16,
    error: Option<ExtendedError>,
) {
    let error = error.filter(|_| query.has_edns());
    let opt = if query.has_edns() { 11 + error.map_or(0, |error| 6 + error.text.len()) } else { 0 };
    let mut flags = flag::QR | flag::RA | query.flags() & (flag::RD | flag::CD) | rcode & flag::RCODE;
    if authoritative {
        flags |= flag::AA;
    }
    if out.len() + opt > limit {
        out.truncate(query.head_len());
        counts = [0; 3];
        flags |= flag::TC;
    }
    if query.has_edns() {
        write_opt(out, rcode, query.key.dnssec_ok(), error);
        counts[2] += 1;
    }
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..6].copy_from_slice(&[0, 1]);
    for (index, count) in counts.into_iter().enumerate() {
        out[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
    }
}

fn write_opt(out: &mut Vec<u8>, rcode: u16, dnssec_ok: bool, error: Option<ExtendedError>) {
    let [size_high, size_low] = (UDP_LIMIT as u16).to_be_bytes();
    let [type_high, type_low] = rtype::OPT.to_be_bytes();
    let bits = if dnssec_ok { 0x80 } else { 0 };
    out.extend_from_slice(&[0, type_high, type_low, size_high, size_low, (rcode >> 4) as u8, 0, bits, 0]);
    let Some(ExtendedError { code, text }) = error else { return out.extend_from_slice(&[0, 0]) };
    for number in [6 + text.len() as u16, 15, 2 + text.len() as u16, code] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
}

/// Writes the answer to a message that is refused as a whole.
pub fn write_refusal(refusal: &Refusal<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(refusal.header);
    out.extend_from_slice(refusal.question);
    let sent = u16::from_be_bytes([refusal.header[2], refusal.header[3]]);
    let mut flags = flag::QR | sent & (flag::OPCODE | flag::RD | flag::CD) | refusal.rcode & flag::RCODE;
    if sent & flag::OPCODE == 0 && refusal.rcode != rcode::FORMERR {
        flags |= flag::RA;
    }
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..12].copy_from_slice(&[0, u8::from(!refusal.question.is_empty()), 0, 0, 0, 0, 0, u8::from(refusal.edns)]);
    if refusal.edns {
        write_opt(out, refusal.rcode, false, None);
    }
}
