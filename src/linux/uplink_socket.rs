//! Sockets of the uplink's DHCP client: frames as long as there is no address, UDP port 68 for the server that granted one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nix::sys::socket::{LinkAddr, MsgFlags, bind, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::arp::ethernet;
use crate::model::MacAddr;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const IPV4: u16 = 0x0800;
/// An Ethernet frame, and more than a server sends.
const FRAME: usize = 2048;

/// Both sockets, on one interface. Needs `CAP_NET_RAW` and `CAP_NET_BIND_SERVICE`.
#[derive(Debug)]
pub struct UplinkSocket {
    /// An `AF_PACKET` socket in the clothes of a UDP one, for `recv` is the same for both.
    frames: UdpSocket,
    /// Also keeps the kernel from answering "port unreachable" to a server.
    datagrams: UdpSocket,
    link: LinkAddr,
    mac: MacAddr,
}

impl UplinkSocket {
    /// Opens both on an interface, which must be there and be Ethernet.
    ///
    /// # Errors
    /// What the kernel says, with what it was asked for.
    pub fn open(interface: &str) -> io::Result<Self> {
        let told =
            |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what} on {interface}: {error}"));
        let link = ethernet(interface)
            .ok_or_else(|| io::Error::other(format!("there is no Ethernet interface {interface}")))?;
        let mac = link.addr().map(MacAddr).unwrap_or(MacAddr([0; 6]));
        let frames = open_frames(&link).map_err(|error| told("a raw socket (CAP_NET_RAW)", error))?;
        let datagrams = open_datagrams(interface).map_err(|error| told("UDP port 68", error))?;
        Ok(UplinkSocket { frames: UdpSocket::from_std(StdSocket::from(frames))?, datagrams, link, mac })
    }

    /// The hardware address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The kernel's number of the interface.
    pub fn index(&self) -> u32 {
        self.link.ifindex() as u32
    }

    /// The next DHCP message that came to port 68, from whichever socket.
    ///
    /// # Errors
    /// What the kernel says; the interface may be gone.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let (mut frame, mut datagram) = ([0; FRAME], [0; FRAME]);
        loop {
            tokio::select! {
                received = self.frames.recv(&mut frame) => {
                    if let Some(message) = payload(&frame[..received?]) {
                        return Ok(message.to_owned());
                    }
                }
                received = self.datagrams.recv(&mut datagram) => return Ok(datagram[..received?].to_owned()),
            }
        }
    }

    /// Sends a DHCP message: broadcast as a frame, for that needs neither address nor route; else by UDP.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn send(&self, message: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> io::Result<()> {
        if destination.is_broadcast() {
            let frame = frame(self.mac, source, message)?;
            sendto(self.frames.as_raw_fd(), &frame, &self.link, MsgFlags::MSG_DONTWAIT)?;
        } else {
            self.datagrams.send_to(message, (destination, SERVER_PORT)).await?;
        }
        Ok(())
    }
}

fn open_frames(link: &LinkAddr) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(IPV4.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    socket.attach_filter(&dhcp_only())?;
    // The address comes without a protocol, and the kernel then keeps the one the socket was made with.
    bind(socket.as_raw_fd(), link)?;
    Ok(socket)
}

/// IPv4, UDP, not a later fragment, port 68: a router's uplink carries much else.
fn dhcp_only() -> [SockFilter; 11] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
    const HEADER_LENGTH: u16 = 0xb1;
    const EQUAL: u16 = 0x15;
    const ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(EQUAL, 0, 8, IPV4.into()),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(EQUAL, 0, 6, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(ANY_BIT, 4, 0, 0x1fff),
        SockFilter::new(HEADER_LENGTH, 0, 0, 14),
        SockFilter::new(LOAD_HALF_BEHIND_HEADER, 0, 0, 16),
        SockFilter::new(EQUAL, 0, 1, CLIENT_PORT.into()),
        SockFilter::new(RETURN, 0, 0, FRAME as u32),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn open_datagrams(interface: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT_PORT)).into())?;
    UdpSocket::from_std(StdSocket::from(socket))
}

fn frame(mac: MacAddr, source: Ipv4Addr, message: &[u8]) -> io::Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(mac.0, [0xff; 6])
        .ipv4(source.octets(), Ipv4Addr::BROADCAST.octets(), 64)
        .udp(CLIENT_PORT, SERVER_PORT);
    let mut frame = Vec::with_capacity(builder.size(message.len()));
    builder.write(&mut frame, message).map_err(io::Error::other)?;
    Ok(frame)
}

/// The UDP payload of a frame from a server to us. The checksum is not looked at: the kernel hands out frames of this machine before it is made.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match (packet.net?, packet.transport?) {
        (NetSlice::Ipv4(_), TransportSlice::Udp(udp))
            if (udp.source_port(), udp.destination_port()) == (SERVER_PORT, CLIENT_PORT) =>
        {
            Some(udp.payload())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_from_a_server_is_read() {
        let build = |from: u16, to: u16| {
            let builder = PacketBuilder::ethernet2([2; 6], [0xff; 6]).ipv4([10, 0, 0, 1], [255; 4], 64).udp(from, to);
            let mut frame = Vec::new();
            builder.write(&mut frame, b"hello").unwrap();
            frame
        };
        assert_eq!(payload(&build(67, 68)), Some(&b"hello"[..]));
        assert_eq!(payload(&build(68, 67)), None);
        let good = build(67, 68);
        for length in 0..good.len() {
            let _ = payload(&good[..length]);
        }
        assert_eq!(payload(&frame(MacAddr([2; 6]), Ipv4Addr::UNSPECIFIED, b"x").unwrap()), None);
    }
}
