//! What is said to nf_tables over nfnetlink: which sets there are, what they hold, and changes as one transaction.

use std::io::{self, ErrorKind};

use super::nfnetlink::{
    Channel, Kind, NFGENMSG, NLMSG_ERROR, attribute, attributes, error_of, find, nested, string, text,
};
use crate::firewall::Counter;

// linux/netfilter/nfnetlink.h
const BATCH_BEGIN: u8 = 16;
const BATCH_END: u8 = 17;
const NF_TABLES: u8 = 10;
const NFPROTO_INET: u8 = 1;
// linux/netfilter/nf_tables.h
const GETTABLE: u8 = 1;
const GETSET: u8 = 10;
pub(super) const NEWSETELEM: u8 = 12;
const GETSETELEM: u8 = 13;
pub(super) const DELSETELEM: u8 = 14;
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

const REMOVED: u16 = (NF_TABLES as u16) << 8 | DELSETELEM as u16;

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
    /// Whether a table of the family `inet` is there.
    ///
    /// # Errors
    /// What the kernel says, but for "there is none".
    pub fn table_present(&mut self, table: &str) -> io::Result<bool> {
        let mut body = Vec::new();
        string(&mut body, NFTA_TABLE_NAME, table);
        match self.ask(kind(GETTABLE), &body) {
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
        let mut body = Vec::new();
        string(&mut body, NFTA_SET_TABLE, table);
        // An anonymous set has a name too; it belongs to a rule.
        self.dump(kind(GETSET), &body, |attributes| {
            find(attributes, NFTA_SET_NAME).map(text).filter(|name| !name.starts_with("__"))
        })
    }

    /// Elements of a set or map, in the order in which the kernel has them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn elements(&mut self, table: &str, set: &str) -> io::Result<Vec<DumpedElement>> {
        let mut body = Vec::new();
        string(&mut body, NFTA_SET_TABLE, table);
        string(&mut body, NFTA_SET_NAME, set);
        let parts = self.dump(kind(GETSETELEM), &body, |octets| Some(listed_elements(octets).collect::<Vec<_>>()))?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Sends messages as one transaction. `Ok` holds, by message, the error the kernel gave; where any did, nothing changed. Elements whose
    /// removal was sent with [`NLM_F_ECHO`](super::nfnetlink::NLM_F_ECHO) come back with their set as they were at that moment.
    ///
    /// # Errors
    /// Where the kernel cannot be asked, or refuses the batch as a whole.
    pub(super) fn batch(&mut self, messages: Vec<(u8, u16, Vec<u8>)>) -> io::Result<Batch> {
        let mark = |message| Kind { subsystem: 0, message, family: 0 };
        let begin = self.message(mark(BATCH_BEGIN), 0, NF_TABLES.into());
        let first = begin.sequence() + 1;
        let mut octets = begin.finish();
        let mut batch = Batch::default();
        for (message, flags, body) in messages {
            octets.extend(self.message(kind(message), flags, 0).with(&body).finish());
            batch.errors.push(None);
        }
        octets.extend(self.message(mark(BATCH_END), 0, NF_TABLES.into()).finish());
        self.send(&octets)?;
        let mut whole = None;
        self.receive(|header, body| match header.kind {
            NLMSG_ERROR => {
                let index = header.sequence.checked_sub(first);
                match index.and_then(|index| batch.errors.get_mut(index as usize)) {
                    Some(slot) => *slot = error_of(body),
                    None => whole = error_of(body).or(whole.take()),
                }
            }
            REMOVED => {
                let octets = body.get(NFGENMSG..).unwrap_or_default();
                let set = find(octets, NFTA_SET_ELEM_LIST_SET).map(text).unwrap_or_default();
                batch.removed.extend(listed_elements(octets).map(|element| (set.clone(), element)));
            }
            _ => {}
        })?;
        whole.map_or(Ok(batch), Err)
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

fn listed_elements(octets: &[u8]) -> impl Iterator<Item = DumpedElement> {
    let list = find(octets, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, body)| element(body))
}

fn kind(message: u8) -> Kind {
    Kind { subsystem: NF_TABLES, message, family: NFPROTO_INET }
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
