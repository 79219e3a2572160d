//! Bytes → [`Message`], or the reason why they are none. Nothing a stranger sends is misread: every length is looked at
//! before what it measures, and what cannot be right is left out.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::code::{self, MessageType};
use super::counters::Dropped;
use crate::model::{ClientKey, MacAddr};

const FIXED: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// No client sends more: an Ethernet frame holds less, and a relay adds one option.
pub const LONGEST: usize = 2048;

/// A request of a client, read from the bytes it borrows (RFC 2131 §2).
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Hardware type; 1 is Ethernet.
    pub htype: u8,
    /// Hops over relays.
    pub hops: u8,
    /// Transaction identifier.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Flags; the highest bit asks for broadcast replies.
    pub flags: u16,
    /// The address the client uses.
    pub ciaddr: Ipv4Addr,
    /// The relay agent.
    pub giaddr: Ipv4Addr,
    /// Client hardware address, as long as it says it is (at most 16).
    pub chaddr: &'a [u8],
    /// What the message is for.
    pub kind: MessageType,
    options: Vec<(u8, &'a [u8])>,
}

fn address_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// The length an option must have, where it has one: others under its code are ignored.
fn fixed_length(option: u8) -> Option<usize> {
    match option {
        code::MESSAGE_TYPE | code::OVERLOAD => Some(1),
        code::MAXIMUM_SIZE => Some(2),
        code::REQUESTED_ADDRESS | code::LEASE_TIME | code::SERVER_IDENTIFIER => Some(4),
        _ => None,
    }
}

/// Reads one options field. An option that reaches past the end ends the field: what follows it cannot be known.
fn read_options<'a>(mut field: &'a [u8], found: &mut Vec<(u8, &'a [u8])>) {
    loop {
        match field {
            [0, rest @ ..] => field = rest,
            [255, ..] | [] | [_] => return,
            [option, length, rest @ ..] => {
                let Some((data, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                if fixed_length(*option).is_none_or(|wanted| wanted == data.len()) {
                    found.push((*option, data));
                }
                field = rest;
            }
        }
    }
}

impl<'a> Message<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// Why the bytes are no request of a client that can be served.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Dropped> {
        if bytes.len() < FIXED + MAGIC.len() {
            return Err(Dropped::TooShort);
        }
        if bytes.len() > LONGEST {
            return Err(Dropped::TooLong);
        }
        if bytes[0] != 1 {
            return Err(Dropped::NotARequest);
        }
        if bytes[FIXED..FIXED + MAGIC.len()] != MAGIC {
            return Err(Dropped::NoMagicCookie);
        }
        let (htype, hlen) = (bytes[1], usize::from(bytes[2]));
        let chaddr = bytes[28..44].get(..hlen).ok_or(Dropped::HardwareAddress)?;
        if htype == 1 && (hlen != 6 || chaddr[0] & 1 != 0 || chaddr == [0; 6]) {
            return Err(Dropped::HardwareAddress);
        }
        let mut options = Vec::with_capacity(24);
        read_options(&bytes[FIXED + MAGIC.len()..], &mut options);
        let overload = options.iter().find(|(option, _)| *option == code::OVERLOAD).map_or(0, |(_, data)| data[0]);
        if overload & 1 != 0 {
            read_options(&bytes[108..236], &mut options);
        }
        if overload & 2 != 0 {
            read_options(&bytes[44..108], &mut options);
        }
        let kind = match options.iter().find(|(option, _)| *option == code::MESSAGE_TYPE) {
            None => return Err(Dropped::Bootp),
            Some((_, data)) => MessageType::from_code(data[0]).ok_or(Dropped::UnknownType)?,
        };
        let message = Message {
            htype,
            hops: bytes[3],
            xid: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            secs: u16::from_be_bytes([bytes[8], bytes[9]]),
            flags: u16::from_be_bytes([bytes[10], bytes[11]]),
            ciaddr: address_at(bytes, 12),
            giaddr: address_at(bytes, 24),
            chaddr,
            kind,
            options,
        };
        // Hardware other than Ethernet (InfiniBand, RFC 4390) is served where the client names itself.
        if htype != 1 && message.client_identifier().is_none() {
            return Err(Dropped::HardwareAddress);
        }
        Ok(message)
    }

    /// The data of an option. Pieces under one code are one option (RFC 3396); of options with a fixed length the first counts.
    pub fn option(&self, option: u8) -> Option<Cow<'a, [u8]>> {
        let mut pieces = self.options.iter().filter(|(found, _)| *found == option).map(|(_, data)| *data);
        let first = pieces.next()?;
        if fixed_length(option).is_some() {
            return Some(Cow::Borrowed(first));
        }
        let mut whole = Cow::Borrowed(first);
        for piece in pieces {
            whole.to_mut().extend_from_slice(piece);
        }
        Some(whole)
    }

    fn address_option(&self, option: u8) -> Option<Ipv4Addr> {
        self.option(option).map(|data| address_at(&data, 0)).filter(|address| !address.is_unspecified())
    }

    /// The address the client asks for (option 50).
    pub fn requested_address(&self) -> Option<Ipv4Addr> {
        self.address_option(code::REQUESTED_ADDRESS)
    }

    /// The server the client means (option 54).
    pub fn server_identifier(&self) -> Option<Ipv4Addr> {
        self.address_option(code::SERVER_IDENTIFIER)
    }

    /// The lease time the client asks for (option 51), in seconds.
    pub fn requested_lease(&self) -> Option<u32> {
        let data = self.option(code::LEASE_TIME)?;
        Some(u32::from_be_bytes([data[0], data[1], data[2], data[3]]))
    }

    /// The longest datagram the client accepts (option 57); never under the 576 octets every host takes (RFC 2131 §2).
    pub fn maximum_size(&self) -> usize {
        self.option(code::MAXIMUM_SIZE)
            .map_or(576, |data| u16::from_be_bytes([data[0], data[1]]).clamp(576, 1500))
            .into()
    }

    /// The client identifier (option 61). An empty one is none.
    pub fn client_identifier(&self) -> Option<Cow<'a, [u8]>> {
        self.option(code::CLIENT_IDENTIFIER).filter(|data| !data.is_empty())
    }

    /// Who the client is (RFC 2131 §4.2).
    pub fn client_key(&self) -> ClientKey {
        match self.client_identifier() {
            Some(identifier) => ClientKey::from_identifier(&identifier),
            None => ClientKey::from_hardware(self.htype, self.chaddr),
        }
    }

    /// The hardware address, where it is Ethernet.
    pub fn mac(&self) -> Option<MacAddr> {
        (self.htype == 1).then(|| self.chaddr.try_into().ok().map(MacAddr)).flatten()
    }

    /// Whether the client cannot receive unicast before it has an address.
    pub fn wants_broadcast(&self) -> bool {
        self.flags & 0x8000 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_MAC, Packet};
    use super::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut bytes = Packet::new(CLIENT_MAC).bytes();
        bytes.truncate(240);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn refuses_what_is_no_request() {
        let good = packet(&[53, 1, 1, 255]);
        assert_eq!(Message::parse(&good).unwrap().kind, MessageType::Discover);
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Message::parse(&bytes).err()
        };
        assert_eq!(Message::parse(&good[..239]).err(), Some(Dropped::TooShort));
        assert_eq!(Message::parse(&vec![0; 65507]).err(), Some(Dropped::TooLong));
        assert_eq!(Message::parse(&[0; 300]).err(), Some(Dropped::NotARequest));
        assert_eq!(changed(0, 2), Some(Dropped::NotARequest));
        assert_eq!(changed(236, 0), Some(Dropped::NoMagicCookie));
        for hlen in [0, 5, 7, 17, 255] {
            assert_eq!(changed(2, hlen), Some(Dropped::HardwareAddress), "hlen {hlen}");
        }
        assert_eq!(changed(1, 32), Some(Dropped::HardwareAddress));
        assert_eq!(changed(28, 1), Some(Dropped::HardwareAddress));
        assert_eq!(changed(242, 99), Some(Dropped::UnknownType));
        assert_eq!(Message::parse(&packet(&[255])).err(), Some(Dropped::Bootp));
    }

    #[test]
    fn never_misreads_the_next_option() {
        // Option 57 with length 4 does not smuggle an option 50 in.
        let bytes = packet(&[53, 1, 1, 57, 4, 2, 64, 50, 4, 12, 2, b'a', b'b', 255]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.maximum_size(), message.requested_address()), (576, None));
        assert_eq!(message.option(code::HOST_NAME).unwrap().as_ref(), b"ab");
        // Past the end: that option is left out, and nothing follows it.
        let bytes = packet(&[53, 1, 3, 12, 200, b'x', 50, 4, 1, 2, 3, 4]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.option(12), message.requested_address()), (MessageType::Request, None, None));
        // No END, pads, a lone code at the end.
        assert!(Message::parse(&packet(&[0, 0, 53, 1, 1, 0, 0, 50])).is_ok());
        // Of two message types the first counts.
        assert_eq!(Message::parse(&packet(&[53, 1, 1, 53, 1, 7])).unwrap().kind, MessageType::Discover);
    }

    #[test]
    fn joins_pieces_and_reads_overloaded_fields() {
        let bytes = packet(&[12, 2, b'a', b'b', 53, 1, 1, 12, 1, b'c', 255]);
        assert_eq!(Message::parse(&bytes).unwrap().option(12).unwrap().as_ref(), b"abc");
        let mut bytes = packet(&[52, 1, 3, 255]);
        bytes[108..113].copy_from_slice(&[53, 1, 3, 255, 7]);
        bytes[44..51].copy_from_slice(&[50, 4, 10, 0, 0, 9, 255]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.kind, MessageType::Request);
        assert_eq!(message.requested_address(), Some(Ipv4Addr::new(10, 0, 0, 9)));
        // An overload inside an overloaded field says nothing.
        let mut bytes = packet(&[53, 1, 1, 52, 1, 1, 255]);
        bytes[108..112].copy_from_slice(&[52, 1, 3, 255]);
        bytes[44..50].copy_from_slice(&[50, 4, 10, 0, 0, 9]);
        assert_eq!(Message::parse(&bytes).unwrap().requested_address(), None);
    }

    #[test]
    fn a_latin_name_first_hides_nothing() {
        let bytes = packet(&[
            12, 4, b'B', 0xfc, b'r', b'o', 81, 5, 0, 0, 0, b'p', b'c', 60, 2, b'M', b'S', 55, 2, 1, 3, 53, 1, 1, 255,
        ]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.option(55).unwrap().as_ref(), [1, 3]);
        assert_eq!(message.option(81).unwrap().as_ref(), [0, 0, 0, b'p', b'c']);
    }
}
