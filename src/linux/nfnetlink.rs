//! A small nfnetlink channel: questions, dumps and changes without a process in between. What is said over it stands in `nft_netlink`
//! and `conntrack`.
//!
//! The kernel answers nfnetlink within the system call that asks, so nothing here waits.

use std::io::{self, ErrorKind};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;

// linux/netlink.h
const NLMSG_HEADER: usize = 16;
pub(super) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_ECHO: u16 = 8;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE: u16 = 0x3fff;
// linux/netfilter/nfnetlink.h
pub(super) const NFGENMSG: usize = 4;

/// Octets read at once. The kernel fills its parts of a dump to what the reader takes, 32 KiB at most, and goes through a hash set from its
/// beginning for each part: small reads of a large set cost ten times as much.
const READ_AT_ONCE: usize = 65_536;

/// How often a dump is begun anew that the kernel calls inconsistent.
const DUMPS_AT_MOST: u32 = 10;

/// Kind of a message: the subsystem of nfnetlink, and what it calls the message.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub subsystem: u8,
    pub message: u8,
    /// The address family it is about; 0 for all, or for none.
    pub family: u8,
}

/// An open socket to nfnetlink, of the network namespace in which it was opened.
pub struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Channel {
    /// Opens a socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_cap_ack(true)?;
        // Acknowledgements of a whole batch have to fit.
        socket.set_rx_buf_sz(1_048_576_u32)?;
        Ok(Channel { socket, sequence: 0 })
    }

    /// A message with the next sequence number.
    pub(super) fn message(&mut self, kind: Kind, flags: u16, resource: u16) -> Message {
        self.sequence = self.sequence.wrapping_add(1);
        Message::new(kind, flags | NLM_F_REQUEST, self.sequence, resource)
    }

    /// Asks for one thing and waits for the acknowledgement.
    pub(super) fn ask(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        let message = self.message(kind, NLM_F_ACK, 0).with(body);
        self.send(&message.finish())?;
        self.answers(|_| {})
    }

    /// Everything of a kind, as `read` understands it. A dump that changed under its reader is begun anew.
    pub(super) fn dump<T>(&mut self, kind: Kind, body: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
        for _ in 0..DUMPS_AT_MOST {
            let message = self.message(kind, NLM_F_DUMP, 0).with(body);
            self.send(&message.finish())?;
            let mut found = Vec::new();
            match self.answers(|attributes| found.extend(read(attributes))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome.map(|()| found),
            }
        }
        Err(io::Error::other("what the kernel lists changes faster than it can be read"))
    }

    /// Sends messages as they are.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.socket.send(octets, 0).map(drop)
    }

    /// Reads until the kernel has no more.
    pub(super) fn receive(&self, mut take: impl FnMut(Header, &[u8])) -> io::Result<()> {
        let mut octets = Vec::with_capacity(READ_AT_ONCE);
        loop {
            octets.clear();
            match self.socket.recv(&mut octets, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            netlink_messages(&octets).for_each(|(header, body)| take(header, body));
        }
    }

    /// Reads the answers of one question until its end; `take` gets the attributes. [`ErrorKind::Interrupted`] where they are of no one moment.
    fn answers(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut whole = true;
        let mut octets = Vec::with_capacity(READ_AT_ONCE);
        loop {
            octets.clear();
            match self.socket.recv(&mut octets, 0) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    whole = false;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for (header, body) in netlink_messages(&octets) {
                if header.sequence != self.sequence {
                    continue;
                }
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.kind {
                    NLMSG_ERROR => return error_of(body).map_or(Ok(()), Err),
                    NLMSG_DONE if whole => return Ok(()),
                    NLMSG_DONE => return Err(ErrorKind::Interrupted.into()),
                    _ => take(body.get(NFGENMSG..).unwrap_or_default()),
                }
            }
        }
    }
}

/// A message under construction.
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: Kind, flags: u16, sequence: u32, resource: u16) -> Self {
        let mut octets = vec![0; 4];
        octets.extend((u16::from(kind.subsystem) << 8 | u16::from(kind.message)).to_ne_bytes());
        octets.extend(flags.to_ne_bytes());
        octets.extend(sequence.to_ne_bytes());
        octets.extend([0; 4]);
        octets.extend([kind.family, 0]);
        octets.extend(resource.to_be_bytes());
        Message(octets)
    }

    /// The same with these attributes.
    pub(super) fn with(mut self, body: &[u8]) -> Self {
        self.0.extend(body);
        self
    }

    /// Its sequence number.
    pub(super) fn sequence(&self) -> u32 {
        u32::from_ne_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Appends an attribute.
pub(super) fn attribute(octets: &mut Vec<u8>, kind: u16, value: &[u8]) {
    octets.extend((value.len() as u16 + 4).to_ne_bytes());
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
}

/// Appends a text with the NUL the kernel wants.
pub(super) fn string(octets: &mut Vec<u8>, kind: u16, text: &str) {
    attribute(octets, kind, &[text.as_bytes(), &[0]].concat());
}

/// Appends an attribute that holds attributes.
pub(super) fn nested(octets: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    attribute(octets, kind | NLA_F_NESTED, &inner);
}

/// What a reader wants to know of a message's header.
pub(super) struct Header {
    /// Subsystem and message.
    pub kind: u16,
    flags: u16,
    pub sequence: u32,
}

/// Header and body of each message.
pub(super) fn netlink_messages(mut octets: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(octets.get(..4)?.try_into().ok()?) as usize;
        let message = octets.get(..length).filter(|message| message.len() >= NLMSG_HEADER)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        let short = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
        let sequence = u32::from_ne_bytes(message[8..12].try_into().ok()?);
        Some((Header { kind: short(4), flags: short(6), sequence }, &message[NLMSG_HEADER..]))
    })
}

/// Type and value of each attribute.
pub(super) fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(octets.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(octets.get(2..4)?.try_into().ok()?) & NLA_TYPE;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(super) fn find(octets: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(octets).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A text without its NUL.
pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned()
}

/// The error of an acknowledgement; `None` where it went well.
pub(super) fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}
