//! Packets that the table hands over by NFLOG.

use std::io;

use etherparse::{IpNumber, LaxNetSlice, LaxSlicedPacket};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};

use super::nfnetlink::{
    Kind, Message, NFGENMSG, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, attribute, error_of, find, netlink_messages,
};
use crate::model::{MacAddr, Ports, Tuple};

// linux/netfilter/nfnetlink.h
const ULOG: u8 = 4;
// linux/netfilter/nfnetlink_log.h
const PACKET: u16 = (ULOG as u16) << 8;
const CONFIG: u8 = 1;
const CFG_CMD: u16 = 1;
const CFG_MODE: u16 = 2;
const CFG_QTHRESH: u16 = 5;
const CFG_FLAGS: u16 = 6;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const FLAG_SEQ: u16 = 1;
const INDEV: u16 = 4;
const HWADDR: u16 = 8;
const PAYLOAD: u16 = 9;
const SEQ: u16 = 12;

/// Longer than anything the kernel puts into one datagram of the group.
const BUFFER: usize = 16 * 1024;

/// Octets of a packet that are looked at.
const HEAD: u32 = 128;

/// A packet as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Index of the interface it came in by; `None` for a packet of this machine.
    pub arrives: Option<u32>,
    /// The hardware address it came from.
    pub hardware: Option<MacAddr>,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// How many were lost between the one before and this one.
    pub missed: u32,
}

/// A group that is listened to.
pub struct Listener {
    socket: TokioSocket,
    buffer: bytes::BytesMut,
    /// Number of the next packet, where none is lost.
    next: u32,
}

impl Listener {
    /// Listens to `group`. Must be called inside a runtime.
    ///
    /// # Errors
    /// What the kernel says: that somebody else listens to this group, or that it knows no NFLOG.
    pub fn open(group: u16) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_mut().connect(&SocketAddr::new(0, 0))?;
        let mut body = Vec::new();
        attribute(&mut body, CFG_CMD, &[CMD_BIND]);
        configure(socket.socket_mut(), group, &body)?;
        body.clear();
        let mut mode = HEAD.to_be_bytes().to_vec();
        mode.extend([COPY_PACKET, 0]);
        attribute(&mut body, CFG_MODE, &mode);
        // Each packet at once: the table lets few through.
        attribute(&mut body, CFG_QTHRESH, &1_u32.to_be_bytes());
        attribute(&mut body, CFG_FLAGS, &FLAG_SEQ.to_be_bytes());
        configure(socket.socket_mut(), group, &body)?;
        Ok(Listener { socket, buffer: bytes::BytesMut::with_capacity(BUFFER), next: 0 })
    }

    /// Waits for packets. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the socket has died.
    pub async fn next(&mut self) -> io::Result<Vec<Logged>> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            match self.socket.recv(&mut self.buffer).await {
                Ok(()) => {
                    let octets = self.buffer.split();
                    return Ok(self.read(&octets));
                }
                // An overrun: the sequence numbers tell how many were lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, octets: &[u8]) -> Vec<Logged> {
        let packets = netlink_messages(octets).filter(|(header, _)| header.kind == PACKET);
        packets.filter_map(|(_, body)| self.packet(body.get(NFGENMSG..)?)).collect()
    }

    fn packet(&mut self, attributes: &[u8]) -> Option<Logged> {
        let number = |kind| Some(u32::from_be_bytes(find(attributes, kind)?.try_into().ok()?));
        let sequence = number(SEQ).unwrap_or(self.next);
        let missed = sequence.wrapping_sub(self.next);
        self.next = sequence.wrapping_add(1);
        let hardware = find(attributes, HWADDR).and_then(|octets| {
            let ethernet = octets.get(..2)? == [0, 6];
            let address: [u8; 6] = octets.get(4..10)?.try_into().ok()?;
            ethernet.then_some(MacAddr(address))
        });
        let tuple = tuple(find(attributes, PAYLOAD)?)?;
        Some(Logged { arrives: number(INDEV), hardware, tuple, missed })
    }
}

/// The kernel answers within the call, but a packet may stand before the answer.
fn configure(socket: &Socket, group: u16, body: &[u8]) -> io::Result<()> {
    let kind = Kind { subsystem: ULOG, message: CONFIG, family: 0 };
    socket.send(&Message::new(kind, NLM_F_REQUEST | NLM_F_ACK, 0, group).with(body).finish(), 0)?;
    loop {
        let (octets, _) = socket.recv_from_full()?;
        let answer = netlink_messages(&octets).find(|(header, _)| header.kind == NLMSG_ERROR);
        if let Some((_, body)) = answer {
            return error_of(body).map_or(Ok(()), Err);
        }
    }
}

/// Addresses and ports of the head of an IP packet. What has no whole transport header has no ports.
fn tuple(packet: &[u8]) -> Option<Tuple> {
    let net = LaxSlicedPacket::from_ip(packet).ok()?.net?;
    let (source, destination) = match &net {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let payload = net.ip_payload_ref()?;
    let short = |at: usize| Some(u16::from_be_bytes(payload.payload.get(at..at + 2)?.try_into().ok()?));
    let ports = match payload.ip_number {
        IpNumber::TCP | IpNumber::UDP => match (short(0), short(2)) {
            (Some(source), Some(destination)) => Ports::Of { source, destination },
            _ => Ports::None,
        },
        IpNumber::ICMP | IpNumber::IPV6_ICMP => match *payload.payload {
            [kind, code, ..] => Ports::Icmp { kind, code, id: short(4).unwrap_or(0) },
            _ => Ports::None,
        },
        _ => Ports::None,
    };
    Some(Tuple { source, destination, protocol: payload.ip_number.0, ports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn the_head_of_a_packet_is_enough() {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([192, 168, 20, 44], [192, 168, 1, 10], 64).tcp(50_000, 443, 7, 1000);
        builder.write(&mut packet, &[0; 1000]).unwrap();
        let read = tuple(&packet[..HEAD as usize]).unwrap();
        assert_eq!((read.source.to_string(), read.service()), ("192.168.20.44".to_owned(), "tcp/443".to_owned()));
        assert_eq!(tuple(&packet[..21]).unwrap().ports, Ports::None);
        packet.clear();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(5, 53);
        builder.write(&mut packet, &[0; 1000]).unwrap();
        assert_eq!(tuple(&packet[..HEAD as usize]).unwrap().service(), "udp/53");
        packet.clear();
        let builder = PacketBuilder::ipv4([1, 2, 3, 4], [5, 6, 7, 8], 64).icmpv4_echo_request(9, 1);
        builder.write(&mut packet, &[]).unwrap();
        assert_eq!(tuple(&packet).unwrap().ports, Ports::Icmp { kind: 8, code: 0, id: 9 });
        for end in 0..packet.len() {
            let _ = tuple(&packet[..end]);
        }
        assert_eq!(tuple(&[]), None);
    }
}
