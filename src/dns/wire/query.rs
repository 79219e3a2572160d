//! What a client asks: a view of its message, without allocation.

use super::{CLASS_IN, HEADER, UDP_LIMIT, flag, rcode, read_u16, rtype, skip_name};

/// What arrived at the server's port.
// A query is made on the stack for each datagram and read in place; boxing it would cost the allocation the design avoids.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Incoming<'a> {
    /// No answer at all: too short, or itself an answer. Answering would make loops and reflections.
    Ignore,
    /// To be answered by [`super::write_refusal`].
    Refuse(Refusal<'a>),
    /// A question.
    Query(Query<'a>),
}

/// An answer without a decision: the message is broken or asks for what no forwarder does.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The header of what arrived.
    pub(super) header: &'a [u8],
    /// The question, as it came, where there is exactly one.
    pub(super) question: &'a [u8],
    /// The code to answer with, extended ones too.
    pub rcode: u16,
    /// Whether the client speaks EDNS.
    pub(super) edns: bool,
}

/// What a cached answer is found by: the question in lower case and the bits that change an answer (DO, CD).
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; 258],
    name_len: u8,
}

impl Key {
    /// The key of a name in wire form and lower case.
    pub fn new(name: &[u8], qtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Option<Self> {
        let mut key = Key { bytes: [0; 258], name_len: u8::try_from(name.len()).ok()? };
        key.bytes[..name.len()].copy_from_slice(name);
        let [high, low] = qtype.to_be_bytes();
        key.bytes[name.len()..name.len() + 3].copy_from_slice(&[
            high,
            low,
            u8::from(dnssec_ok) | u8::from(checking_disabled) << 1,
        ]);
        Some(key)
    }

    /// The key as octets: name, type, bits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.name_len) + 3]
    }

    /// QNAME in wire form and lower case.
    pub fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.name_len)]
    }

    /// QTYPE.
    pub fn qtype(&self) -> u16 {
        let at = usize::from(self.name_len);
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// The DO bit (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.bytes[usize::from(self.name_len) + 2] & 1 != 0
    }

    /// The CD bit (RFC 4035).
    pub fn checking_disabled(&self) -> bool {
        self.bytes[usize::from(self.name_len) + 2] & 2 != 0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} type {}", super::WireName::from_wire(self.name()), self.qtype())
    }
}

/// A well-formed question of class IN.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Header and question, as they came.
    pub(super) head: &'a [u8],
    /// What is asked, for lookups.
    pub key: Key,
    /// The client's EDNS buffer size; `None` without EDNS.
    edns: Option<u16>,
}

impl Query<'_> {
    /// The identifier.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// The flags word of the header.
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Whether the client wants recursion.
    pub fn recursion_desired(&self) -> bool {
        self.flags() & flag::RD != 0
    }

    /// Whether the client speaks EDNS.
    pub fn has_edns(&self) -> bool {
        self.edns.is_some()
    }

    /// Header and question, as they came: enough to answer later.
    pub fn head(&self) -> &[u8] {
        self.head
    }

    /// The longest answer that fits a UDP datagram to this client.
    pub fn udp_limit(&self) -> usize {
        usize::from(self.edns.unwrap_or(0)).clamp(512, UDP_LIMIT)
    }

    /// The length that every answer to this question has before its first record.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }
}

/// Reads what a client sent. RFC 8906 is followed: garbage gets FORMERR once, unknown opcodes NOTIMP, unknown EDNS versions BADVERS.
pub fn read_query(message: &[u8]) -> Incoming<'_> {
    let Some(header) = message.get(..HEADER) else { return Incoming::Ignore };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    if flags & flag::QR != 0 {
        return Incoming::Ignore;
    }
    let refuse = |question, rcode, edns| Incoming::Refuse(Refusal { header, question, rcode, edns });
    if flags & flag::OPCODE != 0 {
        return refuse(&[], rcode::NOTIMP, false);
    }
    if word(4) != 1 {
        return refuse(&[], rcode::FORMERR, false);
    }
    let Some(question_end) = question_end(message) else { return refuse(&[], rcode::FORMERR, false) };
    let question = &message[HEADER..question_end];
    let (qtype, qclass) = (
        u16::from_be_bytes([message[question_end - 4], message[question_end - 3]]),
        u16::from_be_bytes([message[question_end - 2], message[question_end - 1]]),
    );
    let records = usize::from(word(6)) + usize::from(word(8)) + usize::from(word(10));
    let edns = match find_edns(message, question_end, records) {
        Ok(edns) => edns,
        Err(Malformed) => return refuse(question, rcode::FORMERR, false),
    };
    if edns.is_some_and(|edns| edns.version != 0) {
        return refuse(question, rcode::BADVERS, true);
    }
    // Meta types (RFC 6895 §3.1): OPT is no question, TKEY to AXFR and the like are not a forwarder's, ANY is answered minimally.
    let refused = match qtype {
        rtype::OPT | 0 => Some(rcode::FORMERR),
        128..=254 => Some(rcode::REFUSED),
        _ if qclass != CLASS_IN => Some(rcode::REFUSED),
        _ => None,
    };
    if let Some(rcode) = refused {
        return refuse(question, rcode, edns.is_some());
    }
    let name_len = question.len() - 4;
    let mut key = Key { bytes: [0; 258], name_len: name_len as u8 };
    key.bytes[..name_len + 2].copy_from_slice(&question[..name_len + 2]);
    key.bytes[..name_len].make_ascii_lowercase();
    let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
    key.bytes[name_len + 2] = u8::from(dnssec_ok) | u8::from(flags & flag::CD != 0) << 1;
    Incoming::Query(Query { head: &message[..question_end], key, edns: edns.map(|edns| edns.size) })
}

/// Where the one question ends. Its name holds no pointer: there is nothing before it to point to.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut position = HEADER;
    loop {
        let length = usize::from(*message.get(position)?);
        position += 1 + length;
        if length > 63 || position - HEADER > 255 {
            return None;
        }
        if length == 0 {
            return (position + 4 <= message.len()).then_some(position + 4);
        }
    }
}

#[derive(Clone, Copy)]
struct Edns {
    size: u16,
    version: u8,
    dnssec_ok: bool,
}

struct Malformed;

/// Walks the records after the question for OPT. Whatever does not add up, trailing octets too, is malformed.
fn find_edns(message: &[u8], start: usize, records: usize) -> Result<Option<Edns>, Malformed> {
    let mut position = start;
    let mut edns = None;
    for _ in 0..records {
        let owner = position;
        position = skip_name(message, position).ok_or(Malformed)?;
        let fixed: &[u8; 10] =
            message.get(position..position + 10).and_then(|slice| slice.try_into().ok()).ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let rdata = message.get(position + 10..position + 10 + length).ok_or(Malformed)?;
        position += 10 + length;
        if u16::from_be_bytes([fixed[0], fixed[1]]) == rtype::OPT {
            let size = u16::from_be_bytes([fixed[2], fixed[3]]);
            let found = Edns { size, version: fixed[5], dnssec_ok: fixed[6] & 0x80 != 0 };
            if message[owner] != 0 || !options_add_up(rdata) || edns.replace(found).is_some() {
                return Err(Malformed);
            }
        }
    }
    if position == message.len() { Ok(edns) } else { Err(Malformed) }
}

/// Whether the options of an OPT record fill it exactly.
fn options_add_up(rdata: &[u8]) -> bool {
    let mut position = 0;
    while position < rdata.len() {
        let Some(length) = read_u16(rdata, position + 2) else { return false };
        position += 4 + usize::from(length);
    }
    position == rdata.len()
}
