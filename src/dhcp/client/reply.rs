//! A server's reply: bytes → [`Reply`], or nothing. Lengths are looked at before what they measure.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Lease;
use crate::model::MacAddr;

const FIXED: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const LONGEST: usize = 4096;

/// What a client needs to know of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub xid: u32,
    pub kind: Kind,
    pub server: Option<Ipv4Addr>,
    pub lease: Lease,
}

/// Message types that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Ack,
    Nak,
}

impl Reply {
    /// Reads a reply to the client with the hardware address `mac`.
    pub fn parse(bytes: &[u8], mac: MacAddr) -> Option<Reply> {
        let fixed = bytes.get(..FIXED)?;
        if bytes.len() > LONGEST || fixed[..3] != [2, 1, 6] || fixed[28..34] != mac.0 {
            return None;
        }
        let field = bytes[FIXED..].strip_prefix(&MAGIC)?;
        let mut options = Vec::with_capacity(16);
        collect(field, &mut options);
        let overload =
            options.iter().find(|(code, data)| *code == 52 && data.len() == 1).map_or(0, |(_, data)| data[0]);
        if overload & 1 != 0 {
            collect(&fixed[108..236], &mut options);
        }
        if overload & 2 != 0 {
            collect(&fixed[44..108], &mut options);
        }
        let options = Options(options);
        let kind = match options.find(53)?[..] {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return None,
        };
        let server = options.address(54);
        Some(Reply {
            xid: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            kind,
            server,
            lease: options.lease(Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]), server),
        })
    }
}

/// The options of one field, up to its end or to one that reaches past it.
fn collect<'a>(mut field: &'a [u8], found: &mut Vec<(u8, &'a [u8])>) {
    loop {
        match field {
            [0, rest @ ..] => field = rest,
            [255, ..] | [] | [_] => return,
            [code, length, rest @ ..] => {
                let Some((data, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                found.push((*code, data));
                field = rest;
            }
        }
    }
}

struct Options<'a>(Vec<(u8, &'a [u8])>);

impl Options<'_> {
    /// The data of an option, pieces joined (RFC 3396).
    fn find(&self, code: u8) -> Option<Vec<u8>> {
        let mut pieces = self.0.iter().filter(|(found, _)| *found == code).map(|(_, data)| *data).peekable();
        pieces.peek()?;
        Some(pieces.flatten().copied().collect())
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let data = self.find(code).unwrap_or_default();
        data.chunks_exact(4).map(|four| Ipv4Addr::new(four[0], four[1], four[2], four[3])).collect()
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.addresses(code).into_iter().find(|address| !address.is_unspecified())
    }

    fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(code)?.try_into().ok()?))
    }

    fn lease(&self, address: Ipv4Addr, server: Option<Ipv4Addr>) -> Lease {
        let prefix =
            self.find(1).and_then(|mask| <[u8; 4]>::try_from(mask).ok()).and_then(|mask| prefix_of(mask.into()));
        let prefix = prefix.unwrap_or_else(|| class_prefix(address));
        let seconds = self.seconds(51).unwrap_or(u32::MAX);
        // RFC 3442: with classless routes the router option does not count.
        let mut routes = self.find(121).map(|data| classless_routes(&data)).unwrap_or_default();
        if routes.is_empty() {
            routes.extend(self.address(3).map(|router| (Ipv4Net::default(), router)));
        }
        Lease {
            address: Ipv4Net::new(address, prefix).unwrap_or_default(),
            server: server.unwrap_or(Ipv4Addr::UNSPECIFIED),
            seconds,
            renewal: self.seconds(58).map(u64::from).map(Duration::from_secs),
            rebinding: self.seconds(59).map(u64::from).map(Duration::from_secs),
            routes,
            resolvers: self.addresses(6).into_iter().filter(is_usable).collect(),
            mtu: self
                .find(26)
                .and_then(|data| <[u8; 2]>::try_from(data).ok())
                .map(|data| u16::from_be_bytes(data).into())
                .filter(|mtu| (576..=9000).contains(mtu)),
        }
    }
}

/// Whether an address can be a machine's.
pub(super) fn is_usable(address: &Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}

/// The length of a mask without holes.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() == 32 && bits != 0).then_some(bits.leading_ones() as u8)
}

/// What a server means that sends no mask (RFC 791): no surviving one does.
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// RFC 3442: prefix length, as many octets of the destination as that needs, router. What is wrong ends the list.
fn classless_routes(mut data: &[u8]) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = data.split_first() {
        let significant = usize::from(prefix).div_ceil(8);
        if prefix > 32 || rest.len() < significant + 4 || routes.len() == 64 {
            break;
        }
        let mut destination = [0; 4];
        destination[..significant].copy_from_slice(&rest[..significant]);
        let router = &rest[significant..significant + 4];
        if let Ok(destination) = Ipv4Net::new(destination.into(), prefix) {
            routes.push((destination.trunc(), Ipv4Addr::new(router[0], router[1], router[2], router[3])));
        }
        data = &rest[significant + 4..];
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn reply(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[16..20].copy_from_slice(&[203, 0, 113, 9]);
        bytes[28..34].copy_from_slice(&MAC.0);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn reads_what_a_client_needs() {
        let bytes = reply(&[
            53, 1, 5, 1, 4, 255, 255, 255, 0, 3, 4, 203, 0, 113, 1, 6, 8, 9, 9, 9, 9, 0, 0, 0, 0, 51, 4, 0, 0, 14, 16,
            54, 4, 203, 0, 113, 2, 26, 2, 5, 212, 255,
        ]);
        let reply = Reply::parse(&bytes, MAC).unwrap();
        assert_eq!((reply.kind, reply.server), (Kind::Ack, Some(Ipv4Addr::new(203, 0, 113, 2))));
        assert_eq!(reply.lease.address.to_string(), "203.0.113.9/24");
        assert_eq!(reply.lease.routes, [(Ipv4Net::default(), Ipv4Addr::new(203, 0, 113, 1))]);
        assert_eq!((reply.lease.resolvers.len(), reply.lease.seconds, reply.lease.mtu), (1, 3600, Some(1492)));
        assert_eq!(Reply::parse(&bytes, MacAddr([2, 0, 0, 0, 0, 2])), None);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let bytes = reply(&[
            53, 1, 5, 3, 4, 203, 0, 113, 1, 121, 13, 24, 10, 1, 2, 203, 0, 113, 3, 0, 203, 0, 113, 4, 33, 1, 255,
        ]);
        let lease = Reply::parse(&bytes, MAC).unwrap().lease;
        let text: Vec<String> = lease.routes.iter().map(|(to, by)| format!("{to} {by}")).collect();
        assert_eq!(text, ["10.1.2.0/24 203.0.113.3", "0.0.0.0/0 203.0.113.4"]);
    }

    #[test]
    fn what_is_no_reply_is_nothing() {
        let good = reply(&[53, 1, 5, 255]);
        assert!(Reply::parse(&good, MAC).is_some());
        for (at, value) in [(0, 1), (1, 6), (2, 16), (2, 255), (236, 0), (242, 1), (242, 99), (28, 9)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Reply::parse(&bytes, MAC), None, "octet {at} = {value}");
        }
        for length in 0..good.len() - 1 {
            let _ = Reply::parse(&good[..length], MAC);
        }
        assert!(
            Reply::parse(&reply(&[53, 1, 2, 1, 4, 255, 0, 255, 0, 51, 2, 0, 1, 6, 3, 1, 2, 3, 58, 200]), MAC).is_some()
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_misread(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            if let Some(reply) = Reply::parse(&reply(&tail), MAC) {
                proptest::prop_assert!(reply.lease.routes.len() <= 64);
            }
        }
    }
}
