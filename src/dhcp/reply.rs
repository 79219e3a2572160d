//! A reply → bytes, never longer than the client takes.

use std::net::Ipv4Addr;

use super::code::{self, MessageType};
use super::message::Message;
use crate::model::MacAddr;

/// Where a reply goes (RFC 2131 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the relay agent, port 67.
    Relay(Ipv4Addr),
    /// To an address the client already uses, port 68.
    Unicast(Ipv4Addr),
    /// To a client that does not answer ARP yet: straight to its hardware address, port 68.
    Hardware(MacAddr, Ipv4Addr),
    /// To 255.255.255.255, port 68.
    Broadcast,
}

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Index into [`crate::config::Config::networks`] of the network it leaves by.
    pub network: usize,
    /// To whom.
    pub destination: Destination,
    /// What it is for.
    pub kind: MessageType,
    /// The payload of the datagram.
    pub bytes: Vec<u8>,
}

/// The fixed fields of a reply that do not come from the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a> {
    pub ciaddr: u32,
    pub yiaddr: u32,
    pub siaddr: u32,
    pub boot_file: &'a [u8],
}

const IP_UDP_HEADERS: usize = 28;
const OPTIONS: usize = 240;
/// Old relays and BOOTP clients expect at least this (RFC 1542 §2.1).
const SHORTEST: usize = 300;

/// Writes a reply. `options` stand in order of importance: where not all fit even into overloaded fields, the last are left out.
pub(super) fn encode(
    kind: MessageType,
    request: &Message<'_>,
    fields: &Fields<'_>,
    options: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut bytes = vec![0; OPTIONS];
    bytes.reserve(SHORTEST);
    bytes[0] = 2;
    bytes[1] = request.htype;
    bytes[2] = request.chaddr.len() as u8;
    bytes[4..8].copy_from_slice(&request.xid.to_be_bytes());
    bytes[10..12].copy_from_slice(&request.flags.to_be_bytes());
    bytes[12..16].copy_from_slice(&fields.ciaddr.to_be_bytes());
    bytes[16..20].copy_from_slice(&fields.yiaddr.to_be_bytes());
    bytes[20..24].copy_from_slice(&fields.siaddr.to_be_bytes());
    bytes[24..28].copy_from_slice(&request.giaddr.octets());
    bytes[28..28 + request.chaddr.len()].copy_from_slice(request.chaddr);
    let file = &fields.boot_file[..fields.boot_file.len().min(127)];
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);

    // RFC 3046 §2.2: what the relay agent added comes last. A relay that sends an oversized one does not get it back.
    let echo = request
        .option(code::RELAY_AGENT_INFORMATION)
        .filter(|data| !request.giaddr.is_unspecified() && data.len() <= 255);
    let echo = echo.as_deref().unwrap_or_default();
    let tail = 1 + if echo.is_empty() { 0 } else { 2 + echo.len() };
    let room = request.maximum_size() - IP_UDP_HEADERS;

    put(&mut bytes, code::MESSAGE_TYPE, &[kind.code()]);
    let needed: usize = options.iter().map(|(_, data)| encoded_length(data)).sum();
    if bytes.len() + needed + tail <= room {
        options.iter().for_each(|(option, data)| put(&mut bytes, *option, data));
    } else {
        put_overloaded(&mut bytes, options, room - tail, file.is_empty());
    }
    if !echo.is_empty() {
        put(&mut bytes, code::RELAY_AGENT_INFORMATION, echo);
    }
    bytes.push(255);
    if bytes.len() < SHORTEST {
        bytes.resize(SHORTEST, 0);
    }
    bytes
}

/// Octets an option takes, split every 255 octets (RFC 3396).
fn encoded_length(data: &[u8]) -> usize {
    data.len() + 2 * data.len().div_ceil(255).max(1)
}

fn put(bytes: &mut Vec<u8>, option: u8, data: &[u8]) {
    if data.is_empty() {
        bytes.extend_from_slice(&[option, 0]);
    }
    for piece in data.chunks(255) {
        bytes.extend_from_slice(&[option, piece.len() as u8]);
        bytes.extend_from_slice(piece);
    }
}

/// Places what does not fit before `end` into `file` (where no boot file stands there) and `sname` (RFC 2131 §4.1).
fn put_overloaded(bytes: &mut Vec<u8>, options: &[(u8, &[u8])], end: usize, file_free: bool) {
    let end = end - 3;
    let (mut file, mut sname) = (Vec::with_capacity(128), Vec::with_capacity(64));
    for (option, data) in options {
        let length = encoded_length(data);
        if bytes.len() + length <= end {
            put(bytes, *option, data);
        } else if file_free && file.len() + length < 128 {
            put(&mut file, *option, data);
        } else if sname.len() + length < 64 {
            put(&mut sname, *option, data);
        }
    }
    let mut overload = 0;
    for (area, at, bit) in [(&mut file, 108, 1), (&mut sname, 44, 2)] {
        if !area.is_empty() {
            area.push(255);
            bytes[at..at + area.len()].copy_from_slice(area);
            overload |= bit;
        }
    }
    if overload != 0 {
        put(bytes, code::OVERLOAD, &[overload]);
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::{Decodable, v4};

    use super::super::testing::{CLIENT_MAC, Packet};
    use super::*;

    fn encoded(packet: Packet, options: &[(u8, &[u8])], file: &[u8]) -> Vec<u8> {
        let request = packet.bytes();
        let request = Message::parse(&request).unwrap();
        encode(
            MessageType::Offer,
            &request,
            &Fields { yiaddr: 0x0a00_0009, boot_file: file, ..Fields::default() },
            options,
        )
    }

    #[test]
    fn another_parser_reads_the_same() {
        let bytes = encoded(Packet::new(CLIENT_MAC), &[(54, &[10, 0, 0, 1]), (15, b"home.arpa")], b"pxe.0");
        assert_eq!(bytes.len(), 300);
        let message = v4::Message::from_bytes(&bytes).unwrap();
        assert_eq!(message.yiaddr(), Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(message.opts().msg_type(), Some(v4::MessageType::Offer));
        assert_eq!(
            message.opts().get(v4::OptionCode::DomainName),
            Some(&v4::DhcpOption::DomainName("home.arpa".into()))
        );
        assert_eq!(message.fname(), Some(&b"pxe.0\0"[..]));
        assert_eq!(bytes[240..243], [53, 1, 2]);
    }

    #[test]
    fn fits_the_client_and_keeps_what_matters() {
        let long = vec![7u8; 200];
        let options: Vec<(u8, &[u8])> =
            vec![(54, &[10, 0, 0, 1]), (200, &long), (201, &[1; 100]), (202, &[2; 50]), (203, &[3; 65])];
        let bytes = encoded(Packet::new(CLIENT_MAC), &options, b"");
        assert!(bytes.len() <= 548, "{}", bytes.len());
        // Read back by our own parser, overload included; 203 was left out.
        let mut request = bytes.clone();
        request[0] = 1;
        let read = Message::parse(&request).unwrap();
        assert_eq!(read.option(200).unwrap().as_ref(), long);
        assert_eq!(read.option(201).unwrap().as_ref(), [1; 100]);
        assert_eq!(read.option(202).unwrap().as_ref(), [2; 50]);
        assert_eq!(read.option(203), None);
        // With room, all go the plain way.
        let wide = encoded(Packet::new(CLIENT_MAC).option(57, &[5, 220]), &options, b"");
        assert!(!wide[240..].windows(2).any(|pair| pair == [52, 1]));
        assert!(wide.len() > 650);
    }

    #[test]
    fn relay_information_is_echoed_last() {
        let relayed = Packet::new(CLIENT_MAC).giaddr([10, 0, 0, 5]).option(82, &[1, 2, 3, 4]);
        let bytes = encoded(relayed, &[(54, &[10, 0, 0, 1])], b"");
        assert!(bytes.windows(7).any(|window| window == [82, 4, 1, 2, 3, 4, 255]));
        let direct = encoded(Packet::new(CLIENT_MAC).option(82, &[1, 2, 3, 4]), &[], b"");
        assert!(!direct.windows(6).any(|window| window == [82, 4, 1, 2, 3, 4]));
    }
}
