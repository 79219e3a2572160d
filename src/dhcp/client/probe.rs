//! A question that takes nothing: who would give out an address here?

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode};

use super::encode;
use super::reply::{Kind, Reply};
use crate::model::MacAddr;

/// The client identifier of the question (type 0: no hardware address, RFC 2132 §9.14). Always the same, so that a server that notes its
/// offers notes one, however often it is asked.
const CLIENT_ID: &[u8] = b"\0labgate-probe";

/// A DISCOVER that no REQUEST follows. The answers are asked for by broadcast: the client that it speaks of is nobody.
#[derive(Debug)]
pub struct Probe {
    mac: MacAddr,
    xid: u32,
    message: Vec<u8>,
}

/// What a server offered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The server.
    pub server: Ipv4Addr,
    /// The address.
    pub address: Ipv4Addr,
}

impl Probe {
    /// The question from the interface with the hardware address `mac`.
    pub fn new(mac: MacAddr, xid: u32) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(xid, none, none, none, none, &mac.0);
        message.set_opcode(Opcode::BootRequest).set_htype(HType::Eth).set_flags(Flags::default().set_broadcast());
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
        message.opts_mut().insert(DhcpOption::ClientIdentifier(CLIENT_ID.to_vec()));
        Probe { mac, xid, message: encode::finish(&message) }
    }

    /// The message to send.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The offer in `bytes`; `None` where this is no answer to the question, or a server does not say who it is.
    pub fn offer(&self, bytes: &[u8]) -> Option<Offer> {
        let reply = Reply::parse(bytes, self.mac).filter(|reply| reply.xid == self.xid && reply.kind == Kind::Offer)?;
        Some(Offer { server: reply.server?, address: reply.lease.address.addr() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offer_to_the_question_counts() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let probe = Probe::new(mac, 77);
        let mut reply = Message::new_with_id(
            77,
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::new(192, 168, 1, 200),
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::UNSPECIFIED,
            &mac.0,
        );
        reply.set_opcode(Opcode::BootReply).set_htype(HType::Eth);
        for option in [
            DhcpOption::MessageType(MessageType::Offer),
            DhcpOption::ServerIdentifier(Ipv4Addr::new(192, 168, 1, 9)),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::AddressLeaseTime(600),
        ] {
            reply.opts_mut().insert(option);
        }
        let offered = Some(Offer { server: [192, 168, 1, 9].into(), address: [192, 168, 1, 200].into() });
        assert_eq!(probe.offer(&encode::finish(&reply)), offered);
        assert_eq!(Probe::new(mac, 78).offer(&encode::finish(&reply)), None, "the answer to another question");
        assert_eq!(probe.offer(probe.message()), None);
    }
}
