//! Packets as octets, and octets as what was seen. Every packet carries its tag, by which it is known again wherever it comes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packets::{ACK, Content, Form, RST};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
/// What stands before the tag in a payload.
const MARK: [u8; 2] = *b"LG";
/// Octets of payload of every packet: enough for two fragments.
const PAYLOAD: usize = 40;
/// Octets of the first fragment behind the IP header; a multiple of 8 that holds the transport header and the tag.
const FIRST_FRAGMENT: usize = 32;

/// Sequence numbers of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    pub number: u32,
    pub acknowledged: u32,
}

impl Sequence {
    /// Numbers from which a reset tells the tag of the segment it answers.
    pub fn of_tag(tag: u16) -> Self {
        Sequence { number: u32::from(tag) << 16, acknowledged: u32::from(tag) << 16 }
    }

    /// The next number of who sent a segment.
    pub fn after(self, syn: bool) -> u32 {
        self.number.wrapping_add(PAYLOAD as u32 + u32::from(syn))
    }
}

/// Something to send: header fields, and what is quoted where it is an ICMP error.
pub struct Outgoing<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub content: Content,
    pub form: Form,
    pub tag: u16,
    pub sequence: Sequence,
    /// The IP packet that an ICMP error is about.
    pub quoted: Option<&'a [u8]>,
}

/// The IP packets that carry it: two where it comes in fragments.
pub fn build(packet: &Outgoing<'_>) -> Vec<Vec<u8>> {
    let (protocol, mut body) = transport(packet);
    if packet.form == Form::Damaged {
        let at = if protocol == TCP {
            16
        } else if protocol == UDP {
            6
        } else {
            2
        };
        body[at] ^= 0x55;
    }
    let ip = |body: &[u8], fragment| header(packet, protocol, body, fragment);
    if packet.form == Form::Fragments {
        let (first, second) = body.split_at(FIRST_FRAGMENT);
        return vec![ip(first, Some((0, true))), ip(second, Some((FIRST_FRAGMENT, false)))];
    }
    vec![ip(&body, None)]
}

/// Whether an ICMP message reports an error about a packet that it quotes.
pub fn is_error(source: IpAddr, kind: u8) -> bool {
    if source.is_ipv4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 }
}

fn transport(packet: &Outgoing<'_>) -> (u8, Vec<u8>) {
    let ipv6 = packet.source.is_ipv6();
    let mut payload = [&MARK[..], &packet.tag.to_be_bytes()].concat();
    payload.resize(PAYLOAD, b'.');
    let (protocol, mut body, checksum_at) = match packet.content {
        Content::Tcp { from, to, flags } => {
            let acknowledged = if flags & ACK != 0 { packet.sequence.acknowledged } else { 0 };
            let mut body = [from.to_be_bytes(), to.to_be_bytes()].concat();
            body.extend([packet.sequence.number.to_be_bytes(), acknowledged.to_be_bytes()].concat());
            body.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            (TCP, body, Some(16))
        }
        Content::Udp { from, to } => {
            let length = (8 + PAYLOAD) as u16;
            (UDP, [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0; 2]].concat(), Some(6))
        }
        Content::Icmp { kind, code, id } => {
            let rest = if is_error(packet.source, kind) { [0; 4] } else { [(id >> 8) as u8, id as u8, 0, 1] };
            if is_error(packet.source, kind) {
                payload = packet.quoted.map_or_else(|| stranger(packet), <[u8]>::to_vec);
            }
            (if ipv6 { ICMPV6 } else { ICMP }, [&[kind, code, 0, 0], &rest[..]].concat(), Some(2))
        }
        Content::Other(number) => (number, Vec::new(), None),
    };
    if protocol == 47 {
        body.extend([0, 0, 0x08, 0]); // A GRE header without key, around IPv4.
    }
    body.extend(payload);
    if let Some(at) = checksum_at {
        let mut covered = body.clone();
        if protocol != ICMP {
            covered = [pseudo_header(packet.source, packet.destination, protocol, body.len()), covered].concat();
        }
        let sum = checksum(&covered);
        // Over UDP a sum of 0 would mean that there is none.
        let sum = if sum == 0 && protocol == UDP { 0xffff } else { sum };
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    (protocol, body)
}

/// What an error quotes that is about no connection there ever was.
fn stranger(packet: &Outgoing<'_>) -> Vec<u8> {
    let about = Outgoing {
        source: packet.destination,
        destination: packet.source,
        content: Content::Udp { from: 9, to: 9 },
        form: Form::Whole,
        ..*packet
    };
    build(&about).remove(0)
}

fn header(packet: &Outgoing<'_>, protocol: u8, body: &[u8], fragment: Option<(usize, bool)>) -> Vec<u8> {
    // Neighbour discovery is believed only with the hop limit that no router has touched.
    let hops = if matches!(packet.content, Content::Icmp { kind: 133..=137, .. }) { 255 } else { 64 };
    let (offset, more) = fragment.unwrap_or_default();
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = ((20 + body.len()) as u16).to_be_bytes();
            let place = ((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes();
            let mut octets = [&[0x45, 0], &length[..], &packet.tag.to_be_bytes(), &place].concat();
            octets.extend([hops, protocol, 0, 0]);
            octets.extend([source.octets(), destination.octets()].concat());
            let sum = checksum(&octets).to_be_bytes();
            octets[10..12].copy_from_slice(&sum);
            [&octets, body].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (next, extension) = match fragment {
                Some(_) => {
                    let place = (offset as u16 | u16::from(more)).to_be_bytes();
                    let id = u32::from(packet.tag).to_be_bytes();
                    (FRAGMENT, [&[protocol, 0], &place[..], &id].concat())
                }
                None => (protocol, Vec::new()),
            };
            let length = ((extension.len() + body.len()) as u16).to_be_bytes();
            let octets = [&[0x60, 0, 0, 0], &length[..], &[next, hops], &source.octets(), &destination.octets()];
            [&octets.concat()[..], &extension, body].concat()
        }
        _ => panic!("a packet has one family"),
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = (length as u16).to_be_bytes();
            [&source.octets()[..], &destination.octets(), &[0, protocol], &length].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = (length as u32).to_be_bytes();
            [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, protocol]].concat()
        }
        _ => panic!("a packet has one family"),
    }
}

fn checksum(octets: &[u8]) -> u16 {
    let sum: u32 =
        octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| (*low).into())).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A packet that was seen somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub content: Content,
    /// What an ICMP error is about.
    pub about: Option<Box<Seen>>,
    pub tag: Option<u16>,
    /// The packet from its IP header on.
    pub octets: Vec<u8>,
}

/// Reads an IP packet; `None` for later fragments and what is no IP.
pub fn parse(octets: &[u8]) -> Option<Seen> {
    match octets.first()? >> 4 {
        4 => {
            let words: &[u8; 20] = octets.first_chunk()?;
            let later = u16::from_be_bytes([words[6], words[7]]) & 0x1fff != 0;
            let address = |at: usize| IpAddr::V4(Ipv4Addr::new(words[at], words[at + 1], words[at + 2], words[at + 3]));
            let body = octets.get(usize::from(words[0] & 15) * 4..)?;
            if later { None } else { parse_body(address(12), address(16), words[9], body, octets) }
        }
        6 => {
            let words: &[u8; 40] = octets.first_chunk()?;
            let address =
                |at: usize| words[at..at + 16].first_chunk().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
            let (mut protocol, mut body) = (words[6], &octets[40..]);
            if protocol == FRAGMENT {
                let extension: &[u8; 8] = body.first_chunk()?;
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0 {
                    return None;
                }
                (protocol, body) = (extension[0], &body[8..]);
            }
            parse_body(address(8)?, address(24)?, protocol, body, octets)
        }
        _ => None,
    }
}

/// Reads what stands behind the IP header.
pub fn parse_body(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8], octets: &[u8]) -> Option<Seen> {
    let word = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let mut about = None;
    let (content, payload) = match protocol {
        TCP => {
            let flags = *body.get(13)?;
            (Content::Tcp { from: word(0)?, to: word(2)?, flags }, body.get(20..))
        }
        UDP => (Content::Udp { from: word(0)?, to: word(2)? }, body.get(8..)),
        ICMP | ICMPV6 => {
            let (kind, code) = (*body.first()?, *body.get(1)?);
            let error = is_error(source, kind);
            about = if error { body.get(8..).and_then(parse).map(Box::new) } else { None };
            (Content::Icmp { kind, code, id: if error { 0 } else { word(4)? } }, body.get(8..))
        }
        47 => (Content::Other(protocol), body.get(4..)),
        _ => (Content::Other(protocol), Some(body)),
    };
    let in_payload = payload.and_then(<[u8]>::first_chunk::<4>).filter(|four| four[..2] == MARK);
    let tag = match (&about, in_payload, content) {
        (Some(about), _, _) => about.tag,
        (None, Some(four), _) => Some(u16::from_be_bytes([four[2], four[3]])),
        // A reset has no payload; it tells by its numbers which segment it answers.
        (None, None, Content::Tcp { flags, .. }) if flags & RST != 0 => {
            if flags & ACK != 0 {
                word(8)
            } else {
                word(4)
            }
        }
        _ => None,
    };
    Some(Seen { source, destination, content, about, tag, octets: octets.to_vec() })
}
