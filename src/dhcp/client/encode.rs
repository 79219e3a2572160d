//! The messages a client sends (RFC 2131 table 5).

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Encodable, Encoder};

use super::state::Exchange;
use super::{Identity, Lease};
use crate::model::Now;

/// Old relays drop what is shorter than a BOOTP message with its 64 octets of vendor field (RFC 1542 §2.1).
const SHORTEST: usize = 300;
/// From this try on, servers that cannot send unicast to a machine without an address are asked to broadcast.
const BROADCAST_FROM: u32 = 2;
/// What fits an Ethernet frame.
const LONGEST_REPLY: u16 = 1500;

const WANTED: [OptionCode; 10] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::InterfaceMtu,
    OptionCode::BroadcastAddr,
    OptionCode::AddressLeaseTime,
    OptionCode::ServerIdentifier,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];

pub(super) fn discover(who: &Identity, exchange: &Exchange, wanted: Option<Ipv4Addr>, now: Now) -> Vec<u8> {
    let mut message = start(who, MessageType::Discover, exchange.xid);
    count(&mut message, exchange, now);
    if let Some(address) = wanted {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    }
    ask(who, &mut message);
    finish(&message)
}

pub(super) fn request_offer(who: &Identity, exchange: &Exchange, offer: &Lease, now: Now) -> Vec<u8> {
    let mut message = start(who, MessageType::Request, exchange.xid);
    count(&mut message, exchange, now);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.address.addr()));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(offer.server));
    ask(who, &mut message);
    finish(&message)
}

/// INIT-REBOOT: the address is asked for, no server is named.
pub(super) fn request_kept(who: &Identity, exchange: &Exchange, kept: &Lease, now: Now) -> Vec<u8> {
    let mut message = start(who, MessageType::Request, exchange.xid);
    count(&mut message, exchange, now);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(kept.address.addr()));
    ask(who, &mut message);
    finish(&message)
}

/// RENEWING and REBINDING: the address is in use, so it stands in `ciaddr`.
pub(super) fn extend(who: &Identity, exchange: &Exchange, held: &Lease, now: Now) -> Vec<u8> {
    let mut message = start(who, MessageType::Request, exchange.xid);
    message.set_secs(seconds(exchange, now));
    message.set_ciaddr(held.address.addr());
    ask(who, &mut message);
    finish(&message)
}

pub(super) fn decline(who: &Identity, xid: u32, lease: &Lease) -> Vec<u8> {
    let mut message = start(who, MessageType::Decline, xid);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(lease.address.addr()));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(lease.server));
    finish(&message)
}

fn start(who: &Identity, kind: MessageType, xid: u32) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, none, &who.mac.0);
    message.set_opcode(Opcode::BootRequest).set_htype(HType::Eth);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ClientIdentifier([&[1], &who.mac.0[..]].concat()));
    message
}

fn count(message: &mut Message, exchange: &Exchange, now: Now) {
    message.set_secs(seconds(exchange, now));
    if exchange.tries >= BROADCAST_FROM {
        message.set_flags(Flags::default().set_broadcast());
    }
}

fn seconds(exchange: &Exchange, now: Now) -> u16 {
    now.instant.saturating_sub(exchange.began).as_secs().try_into().unwrap_or(u16::MAX)
}

fn ask(who: &Identity, message: &mut Message) {
    let options = message.opts_mut();
    if !who.host_name.is_empty() {
        options.insert(DhcpOption::Hostname(who.host_name.clone()));
    }
    options.insert(DhcpOption::MaxMessageSize(LONGEST_REPLY));
    options.insert(DhcpOption::ParameterRequestList(WANTED.to_vec()));
}

pub(super) fn finish(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SHORTEST);
    // Writing to memory fails only for options too long for their length octet, and none of ours is.
    let _ = message.encode(&mut Encoder::new(&mut bytes));
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}
