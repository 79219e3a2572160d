//! The wire format of DNS messages (RFC 1035 §4), as far as a forwarder needs it: a view of a question without allocation,
//! a bounded walk over names and records, and a writer with name compression. Nothing here panics, whatever the bytes are.

mod name;
mod query;
mod records;
mod writer;

pub use name::{NameBuf, WireName, read_name, reverse_address, skip_name};
pub(crate) use name::{is_within, labels, suffixes};
pub use query::{Incoming, Key, Query, Refusal, read_query};
pub use records::{Message, RdataPart, Record, rdata_parts};
pub(crate) use writer::finish;
pub use writer::{ExtendedError, Owner, Section, Writer, write_refusal};

/// Length of the header.
pub const HEADER: usize = 12;
/// The largest UDP answer, to stay below every path's fragmentation limit (RFC 9715).
pub const UDP_LIMIT: usize = 1232;
/// The class of the Internet.
pub const CLASS_IN: u16 = 1;

/// Record types that are treated by name.
pub mod rtype {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Response codes (RFC 1035 §4.1.1, RFC 6891 §9).
pub mod rcode {
    #![allow(missing_docs)]
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BADVERS: u16 = 16;
}

/// Bits of the second 16-bit word of the header.
pub mod flag {
    #![allow(missing_docs)]
    pub const QR: u16 = 0x8000;
    pub const AA: u16 = 0x0400;
    pub const TC: u16 = 0x0200;
    pub const RD: u16 = 0x0100;
    pub const RA: u16 = 0x0080;
    pub const AD: u16 = 0x0020;
    pub const CD: u16 = 0x0010;
    pub const OPCODE: u16 = 0x7800;
    pub const RCODE: u16 = 0x000f;
}

/// The 16-bit number at `at`, where the message reaches that far.
pub fn read_u16(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// The 32-bit number at `at`, where the message reaches that far.
pub fn read_u32(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
