//! Client messages for tests and benches, written octet by octet: nothing is shared with the code under test.

#![allow(dead_code, missing_docs)]

pub const CLIENT_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// A client message under construction.
#[derive(Clone)]
pub struct Packet {
    head: [u8; 240],
    options: Vec<u8>,
}

impl Packet {
    pub fn new(mac: [u8; 6]) -> Self {
        let mut head = [0; 240];
        head[..4].copy_from_slice(&[1, 1, 6, 0]);
        head[4..8].copy_from_slice(&[0xde, 0xad, mac[4], mac[5]]);
        head[28..34].copy_from_slice(&mac);
        head[236..].copy_from_slice(&[99, 130, 83, 99]);
        Packet { head, options: Vec::new() }
    }

    pub fn kind(mac: [u8; 6], kind: u8) -> Self {
        Packet::new(mac).option(53, &[kind])
    }

    pub fn option(mut self, code: u8, data: &[u8]) -> Self {
        self.options.extend_from_slice(&[code, data.len() as u8]);
        self.options.extend_from_slice(data);
        self
    }

    pub fn ciaddr(mut self, address: [u8; 4]) -> Self {
        self.head[12..16].copy_from_slice(&address);
        self
    }

    pub fn giaddr(mut self, address: [u8; 4]) -> Self {
        self.head[24..28].copy_from_slice(&address);
        self
    }

    pub fn flags(mut self, flags: u16) -> Self {
        self.head[10..12].copy_from_slice(&flags.to_be_bytes());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.to_vec();
        if !self.options.starts_with(&[53]) && !self.options.contains(&53) {
            bytes.extend_from_slice(&[53, 1, 1]);
        }
        bytes.extend_from_slice(&self.options);
        bytes.push(255);
        bytes
    }
}

/// What a test looks at in a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub kind: u8,
    pub yiaddr: [u8; 4],
    pub siaddr: [u8; 4],
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Read {
    pub fn of(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 300 && bytes[0] == 2, "a BOOTREPLY of at least 300 octets");
        let mut read = Read {
            yiaddr: bytes[16..20].try_into().unwrap(),
            siaddr: bytes[20..24].try_into().unwrap(),
            ..Read::default()
        };
        let mut at = 240;
        while bytes[at] != 255 {
            let (code, length) = (bytes[at], usize::from(bytes[at + 1]));
            let data = bytes[at + 2..at + 2 + length].to_vec();
            if code == 53 {
                read.kind = data[0];
            }
            read.options.push((code, data));
            at += 2 + length;
        }
        read
    }

    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(found, _)| *found == code).map(|(_, data)| &data[..])
    }
}
