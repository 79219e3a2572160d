//! Changes single elements of our sets and maps by netlink: microseconds, where a process costs milliseconds.

use std::collections::HashSet;
use std::io;

use anyhow::Context as _;
use nix::errno::Errno;

use super::nfnetlink::{Channel, NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, attribute, nested, string};
use super::nft_netlink::{
    DELSETELEM, DumpedElement, NEWSETELEM, NFTA_SET_ELEM_EXPR, UDATA_COMMENT, counter_expression,
};
use crate::firewall::{
    CUT, CUT_IPV6, Counter, Counters, Data, Element, ElementChange, TABLE, connection, plain_comment, wire_data,
    wire_lower, wire_upper,
};

// linux/netfilter/nf_tables.h
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_USERDATA: u16 = 6;
const ELEM_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const NF_ACCEPT: u32 = 1;

/// How many changes go into one transaction: the socket's buffer holds no more than some thousands.
const AT_ONCE: usize = 500;

/// An open way to our sets, to be kept for many changes.
pub struct Elements(Channel);

impl Elements {
    /// Opens it, in the network namespace of the caller.
    ///
    /// # Errors
    /// What the kernel says of the socket.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Elements(Channel::open().context("cannot talk to nftables")?))
    }

    /// Changes elements of our table in one transaction (one for each 500 changes, in order), and tells what those that went had counted. An
    /// element to remove that is gone already, and one to add that is there already, are as wished.
    ///
    /// # Errors
    /// What the kernel says; then nothing of this transaction changed.
    pub fn change(&mut self, changes: &[ElementChange]) -> anyhow::Result<Counters> {
        let mut last = Counters::new();
        for part in changes.chunks(AT_ONCE) {
            for (set, element) in self.change_at_once(part)? {
                let by_key = last.entry(set.into()).or_default();
                by_key.extend(element.counter.map(|counter| (element.key.into_boxed_slice(), counter)));
            }
        }
        Ok(last)
    }

    fn change_at_once(&mut self, changes: &[ElementChange]) -> anyhow::Result<Vec<(String, DumpedElement)>> {
        let (mut done, mut in_the_way) = (HashSet::new(), HashSet::new());
        // One wrong element fails the whole batch, so it is sent again without those that are as wished already, and with the removal of
        // what stands in the way. Each round settles at least one element; a third one is for those that changed under our hands.
        for _ in 0..3 {
            let mut sent = Vec::new();
            let mut messages = Vec::new();
            for (index, change) in changes.iter().enumerate().filter(|(index, _)| !done.contains(index)) {
                if in_the_way.contains(&index) {
                    sent.push((index, false));
                    messages.push((DELSETELEM, NLM_F_ECHO, encode(change, false)));
                }
                sent.push((index, change.add));
                let (kind, flags) = if change.add { (NEWSETELEM, NLM_F_CREATE) } else { (DELSETELEM, NLM_F_ECHO) };
                messages.push((kind, flags, encode(change, change.add)));
            }
            // Errors come unasked; one acknowledgement tells that the batch was read.
            if let Some((_, flags, _)) = messages.last_mut() {
                *flags |= NLM_F_ACK;
            }
            let batch = self.0.batch(messages).context("cannot change set elements")?;
            let mut clean = true;
            for ((index, add), error) in sent.into_iter().zip(batch.errors) {
                let Some(error) = error else { continue };
                clean = false;
                match (add, errno(&error)) {
                    (false, Errno::ENOENT) if changes[index].add => drop(in_the_way.remove(&index)),
                    (false, Errno::ENOENT) => drop(done.insert(index)),
                    (true, Errno::EEXIST) => drop(done.insert(index)),
                    (true, Errno::EBUSY) if in_the_way.insert(index) => {}
                    _ => return Err(error).with_context(|| describe(&changes[index])),
                }
            }
            if clean {
                return Ok(batch.removed);
            }
        }
        anyhow::bail!("set elements change under our hands")
    }

    /// The connections that are kept cut.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn cut(&mut self) -> anyhow::Result<Vec<Element>> {
        let mut cut = Vec::new();
        for set in [CUT, CUT_IPV6] {
            let members = self.0.elements(TABLE, set)?.into_iter();
            cut.extend(members.filter_map(|member| {
                let key = connection(&member.key)?;
                Some(Element { key, data: Data::None, comment: "".into(), tally: None })
            }));
        }
        Ok(cut)
    }

    /// The elements of one of our sets with their counters.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` where there is no such set.
    pub fn read(&mut self, set: &str) -> std::io::Result<Vec<DumpedElement>> {
        self.0.elements(TABLE, set)
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

fn describe(change: &ElementChange) -> String {
    let verb = if change.add { "cannot add to" } else { "cannot remove from" };
    format!("{verb} set {}: {}", change.set, change.element.comment)
}

fn encode(change: &ElementChange, whole: bool) -> Vec<u8> {
    let element = &change.element;
    let mut octets = Vec::with_capacity(256);
    string(&mut octets, LIST_TABLE, TABLE);
    string(&mut octets, LIST_SET, &change.set);
    nested(&mut octets, LIST_ELEMENTS, |list| {
        nested(list, LIST_ELEM, |body| {
            nested(body, ELEM_KEY, |key| attribute(key, DATA_VALUE, &wire_lower(&element.key)));
            if change.interval {
                nested(body, ELEM_KEY_END, |key| attribute(key, DATA_VALUE, &wire_upper(&element.key)));
            }
            if !whole {
                return;
            }
            if let Some(value) = wire_data(&element.data) {
                nested(body, ELEM_DATA, |data| attribute(data, DATA_VALUE, &value));
            } else if element.data == Data::Accept {
                nested(body, ELEM_DATA, |data| {
                    nested(data, DATA_VERDICT, |verdict| attribute(verdict, VERDICT_CODE, &NF_ACCEPT.to_be_bytes()));
                });
            }
            attribute(body, ELEM_USERDATA, &user_data(&element.comment));
            if change.counter != Counter::default() {
                counter_expression(body, NFTA_SET_ELEM_EXPR, change.counter);
            }
        });
    });
    octets
}

/// A comment as nft stores it: type, length, text with a NUL.
fn user_data(comment: &str) -> Vec<u8> {
    let text = plain_comment(comment);
    let mut octets = vec![UDATA_COMMENT, text.len() as u8 + 1];
    octets.extend(text.as_bytes());
    octets.push(0);
    octets
}
