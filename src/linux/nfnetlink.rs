//! A small nfnetlink channel: batches of changes, and dumps of sets, without a process in between.
//!
//! The kernel answers nfnetlink within the system call that asks, so nothing here waits.

use std::io::{self, ErrorKind};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::firewall::Counter;

// linux/netlink.h
const NLMSG_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_ECHO: u16 = 8;
const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE: u16 = 0x3fff;
// linux/netfilter/nfnetlink.h
const NFGENMSG: usize = 4;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
const NFPROTO_INET: u8 = 1;
// linux/netfilter/nf_tables.h
const GETTABLE: u16 = 1;
const GETSET: u16 = 10;
pub(super) const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(super) const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
/// Type of a comment in an element's user data (libnftnl's `NFTNL_UDATA_SET_ELEM_COMMENT`).
pub(super) const UDATA_COMMENT: u8 = 0;

/// Octets read at once. The kernel fills its parts of a dump to what the reader takes, 32 KiB at most, and goes through a hash set from its
/// beginning for each part: small reads of a large set cost ten times as much.
const READ_AT_ONCE: usize = 65_536;
const REMOVED: u16 = SUBSYSTEM << 8 | DELSETELEM;

/// An open socket to nfnetlink, of the network namespace in which it was opened.
pub struct Channel {
    socket: Socket,
    sequence: u32,
}

/// An element as a dump tells it.
#[derive(Debug, Default)]
pub struct DumpedElement {
    /// The key's octets; its lower end in a set of ranges.
    pub key: Vec<u8>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its counter.
    pub counter: Option<Counter>,
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

    /// Whether a table of the family `inet` is there.
    ///
    /// # Errors
    /// What the kernel says, but for "there is none".
    pub fn table_present(&mut self, table: &str) -> io::Result<bool> {
        let mut message = self.message(GETTABLE, NLM_F_ACK);
        message.string(NFTA_TABLE_NAME, table);
        self.send(&message.finish())?;
        match self.answers(|_, _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Names of the sets and maps of a table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_names(&mut self, table: &str) -> io::Result<Vec<String>> {
        let mut message = self.message(GETSET, NLM_F_DUMP);
        message.string(NFTA_SET_TABLE, table);
        self.send(&message.finish())?;
        let mut names = Vec::new();
        self.answers(|_, attributes| {
            // An anonymous set has a name too; it belongs to a rule.
            names.extend(find(attributes, NFTA_SET_NAME).map(text).filter(|name| !name.starts_with("__")));
        })?;
        Ok(names)
    }

    /// Elements of a set or map, in the order in which the kernel has them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn elements(&mut self, table: &str, set: &str) -> io::Result<Vec<DumpedElement>> {
        let mut message = self.message(GETSETELEM, NLM_F_DUMP);
        message.string(NFTA_SET_TABLE, table);
        message.string(NFTA_SET_NAME, set);
        self.send(&message.finish())?;
        let mut elements = Vec::new();
        self.answers(|_, octets| {
            elements.extend(listed_elements(octets));
        })?;
        Ok(elements)
    }

    /// Sends messages as one transaction. `Ok` holds, by message, the error the kernel gave; where any did, nothing changed. Elements whose
    /// removal was sent with [`NLM_F_ECHO`] come back with their set as they were at that moment.
    ///
    /// # Errors
    /// Where the kernel cannot be asked, or refuses the batch as a whole.
    pub(super) fn batch(&mut self, messages: Vec<(u16, u16, Vec<u8>)>) -> io::Result<Batch> {
        let mut octets = self.batch_mark(BATCH_BEGIN);
        let first = self.sequence + 1;
        let mut batch = Batch::default();
        for (kind, flags, body) in messages {
            let mut message = self.message(kind, flags);
            message.0.extend(body);
            octets.extend(message.finish());
            batch.errors.push(None);
        }
        octets.extend(self.batch_mark(BATCH_END));
        self.send(&octets)?;
        let mut whole = None;
        self.receive(|kind, sequence, body| match kind {
            NLMSG_ERROR => match sequence.checked_sub(first).and_then(|index| batch.errors.get_mut(index as usize)) {
                Some(slot) => *slot = error_of(body),
                None => whole = error_of(body).or(whole.take()),
            },
            REMOVED => {
                let octets = body.get(NFGENMSG..).unwrap_or_default();
                let set = find(octets, NFTA_SET_ELEM_LIST_SET).map(text).unwrap_or_default();
                batch.removed.extend(listed_elements(octets).map(|element| (set.clone(), element)));
            }
            _ => {}
        })?;
        whole.map_or(Ok(batch), Err)
    }

    fn message(&mut self, kind: u16, flags: u16) -> Message {
        self.sequence = self.sequence.wrapping_add(1);
        Message::new(SUBSYSTEM << 8 | kind, flags | NLM_F_REQUEST, self.sequence, NFPROTO_INET, 0)
    }

    fn batch_mark(&mut self, kind: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        Message::new(kind, NLM_F_REQUEST, self.sequence, 0, SUBSYSTEM).finish()
    }

    fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.socket.send(octets, 0).map(drop)
    }

    /// Reads until the kernel has no more: message type, sequence number and body.
    fn receive(&self, mut take: impl FnMut(u16, u32, &[u8])) -> io::Result<()> {
        let mut octets = Vec::with_capacity(READ_AT_ONCE);
        loop {
            octets.clear();
            match self.socket.recv(&mut octets, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            netlink_messages(&octets).for_each(|(kind, sequence, body)| take(kind, sequence, body));
        }
    }

    /// Reads the answers of one question until its end; `take` gets the message type and the attributes.
    fn answers(&self, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut octets = Vec::with_capacity(READ_AT_ONCE);
        loop {
            octets.clear();
            self.socket.recv(&mut octets, 0)?;
            for (kind, sequence, body) in netlink_messages(&octets) {
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_ERROR => return error_of(body).map_or(Ok(()), Err),
                    NLMSG_DONE => return Ok(()),
                    kind => take(kind, body.get(NFGENMSG..).unwrap_or_default()),
                }
            }
        }
    }
}

/// What the kernel says of a transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By message.
    pub errors: Vec<Option<io::Error>>,
    /// Elements that went, each with its set.
    pub removed: Vec<(String, DumpedElement)>,
}

/// A message under construction.
pub(super) struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> Self {
        let mut octets = vec![0; 4];
        octets.extend(kind.to_ne_bytes());
        octets.extend(flags.to_ne_bytes());
        octets.extend(sequence.to_ne_bytes());
        octets.extend([0; 4]);
        octets.extend([family, 0]);
        octets.extend(resource.to_be_bytes());
        Message(octets)
    }

    fn string(&mut self, kind: u16, text: &str) {
        string(&mut self.0, kind, text);
    }

    fn finish(mut self) -> Vec<u8> {
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

/// Type, sequence number and body of each message.
pub(super) fn netlink_messages(mut octets: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(octets.get(..4)?.try_into().ok()?) as usize;
        let message = octets.get(..length).filter(|message| message.len() >= NLMSG_HEADER)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let sequence = u32::from_ne_bytes(message[8..12].try_into().ok()?);
        Some((kind, sequence, &message[NLMSG_HEADER..]))
    })
}

/// Type and value of each attribute.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(octets.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(octets.get(2..4)?.try_into().ok()?) & NLA_TYPE;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn find(octets: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(octets).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned()
}

pub(super) fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

fn listed_elements(octets: &[u8]) -> impl Iterator<Item = DumpedElement> {
    let list = find(octets, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, body)| element(body))
}

fn element(octets: &[u8]) -> DumpedElement {
    let mut element = DumpedElement::default();
    for (kind, value) in attributes(octets) {
        match kind {
            NFTA_SET_ELEM_KEY => element.key = find(value, NFTA_DATA_VALUE).unwrap_or_default().to_vec(),
            NFTA_SET_ELEM_USERDATA => element.comment = comment(value),
            NFTA_SET_ELEM_EXPR => element.counter = counter(value).or(element.counter),
            NFTA_SET_ELEM_EXPRESSIONS => element.counter = attributes(value).find_map(|(_, value)| counter(value)),
            _ => {}
        }
    }
    element
}

fn comment(mut octets: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = octets {
        let value = rest.get(..usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            return Some(text(value));
        }
        octets = &rest[usize::from(*length)..];
    }
    None
}

/// A counter as an element that comes carries it.
pub(super) fn counter_expression(octets: &mut Vec<u8>, kind: u16, counter: Counter) {
    nested(octets, kind, |expression| {
        string(expression, NFTA_EXPR_NAME, "counter");
        nested(expression, NFTA_EXPR_DATA, |data| {
            attribute(data, NFTA_COUNTER_BYTES, &counter.bytes.to_be_bytes());
            attribute(data, NFTA_COUNTER_PACKETS, &counter.packets.to_be_bytes());
        });
    });
}

fn counter(expression: &[u8]) -> Option<Counter> {
    if text(find(expression, NFTA_EXPR_NAME)?) != "counter" {
        return None;
    }
    let data = find(expression, NFTA_EXPR_DATA)?;
    let number = |kind| Some(u64::from_be_bytes(find(data, kind)?.try_into().ok()?));
    Some(Counter { packets: number(NFTA_COUNTER_PACKETS)?, bytes: number(NFTA_COUNTER_BYTES)? })
}
