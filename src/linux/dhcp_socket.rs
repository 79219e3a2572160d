//! Sockets of the DHCP server: UDP port 67 per interface, frames to clients without an address, ARP probes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};

use etherparse::PacketBuilder;
use nix::sys::socket::{ControlMessage, LinkAddr, MsgFlags, SockaddrIn, sendmsg, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::dhcp::Destination;
use crate::model::MacAddr;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Room for bursts: a rack that boots at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// UDP port 67 on one interface.
#[derive(Debug)]
pub struct DhcpSocket {
    socket: UdpSocket,
    interface: String,
}

impl DhcpSocket {
    /// Opens port 67 on an interface, which must exist.
    ///
    /// # Errors
    /// What the kernel says: no such interface, no right to the port, port taken.
    pub fn open(interface: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        // The kernel's limit may be lower; what it gives is good enough.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVER_PORT)).into())?;
        let socket = UdpSocket::from_std(StdSocket::from(socket))?;
        Ok(DhcpSocket { socket, interface: interface.to_owned() })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Ready when a datagram waits.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// The next datagram, if one waits.
    ///
    /// # Errors
    /// What the kernel says; the interface may be gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
        match self.socket.try_recv_from(buffer) {
            Ok((length, SocketAddr::V4(source))) => Ok(Some((length, source))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends by UDP, from `router`. A client without an address is reached by broadcast only: see [`Frames`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, destination: Destination, bytes: &[u8], router: Ipv4Addr) -> io::Result<()> {
        let target = match destination {
            Destination::Relay(address) => SocketAddrV4::new(address, SERVER_PORT),
            Destination::Unicast(address) => SocketAddrV4::new(address, CLIENT_PORT),
            Destination::Hardware(..) | Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
        };
        let mut source = nix::libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: nix::libc::in_addr { s_addr: u32::from(router).to_be() },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let target = SockaddrIn::from(target);
        let pieces = [io::IoSlice::new(bytes)];
        let fd = self.socket.as_raw_fd();
        let send = |source: &nix::libc::in_pktinfo| {
            sendmsg(fd, &pieces, &[ControlMessage::Ipv4PacketInfo(source)], MsgFlags::MSG_DONTWAIT, Some(&target))
        };
        match send(&source) {
            // The address is not on the interface yet.
            Err(nix::Error::EINVAL) => {
                source.ipi_spec_dst.s_addr = 0;
                send(&source)?;
            }
            result => {
                result?;
            }
        }
        Ok(())
    }
}

/// The kernel's address of an interface for frames: its number and hardware address.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    link: LinkAddr,
    mac: MacAddr,
}

impl Port {
    /// Looks an interface up; `None` where there is none of that name, or it is no Ethernet.
    pub fn find(interface: &str) -> Option<Self> {
        nix::ifaddrs::getifaddrs().ok()?.filter(|found| found.interface_name == interface).find_map(|found| {
            let link = *found.address?.as_link_addr()?;
            Some(Port { link, mac: MacAddr(link.addr()?) })
        })
    }

    /// The kernel's number of the interface.
    pub fn index(&self) -> u32 {
        self.link.ifindex() as u32
    }
}

/// Frames to clients that cannot answer ARP yet. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct Frames {
    socket: Socket,
}

impl Frames {
    /// Opens the socket. It receives nothing.
    ///
    /// # Errors
    /// What the kernel says, mostly that the right is missing.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
        Ok(Frames { socket })
    }

    /// Sends a DHCP message in a frame to a client's hardware address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, port: &Port, router: Ipv4Addr, to: (MacAddr, Ipv4Addr), bytes: &[u8]) -> io::Result<()> {
        let frame = PacketBuilder::ethernet2(port.mac.0, to.0.0)
            .ipv4(router.octets(), to.1.octets(), 64)
            .udp(SERVER_PORT, CLIENT_PORT);
        let mut buffer = Vec::with_capacity(frame.size(bytes.len()));
        frame.write(&mut buffer, bytes).map_err(io::Error::other)?;
        sendto(self.socket.as_fd().as_raw_fd(), &buffer, &port.link, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

const ARP: u16 = 0x0806;

/// ARP probes (RFC 5227 §2.1.1) and what comes back. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct ArpSocket {
    // A packet socket in the dress of a datagram socket, for its readiness and its `recv`; it is never sent or received from by address.
    socket: UdpSocket,
}

impl ArpSocket {
    /// Opens the socket; it hears ARP on all interfaces.
    ///
    /// # Errors
    /// What the kernel says, mostly that the right is missing.
    pub fn open() -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(ARP.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        Ok(ArpSocket { socket: UdpSocket::from_std(StdSocket::from(socket))? })
    }

    /// Asks who uses an address, without claiming one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn probe(&self, port: &Port, address: Ipv4Addr) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        sendto(fd, &probe_frame(port.mac, address), &port.link, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// Ready when a frame waits.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// Who uses which address, from the next frame that tells it; `None` when no frame waits.
    pub fn receive(&self) -> Option<(Ipv4Addr, MacAddr)> {
        let mut buffer = [0; 64];
        loop {
            let length = self.socket.try_recv(&mut buffer).ok()?;
            if let Some(found) = read_arp(&buffer[..length]) {
                return Some(found);
            }
        }
    }
}

fn probe_frame(own: MacAddr, address: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&own.0);
    frame[12..14].copy_from_slice(&ARP.to_be_bytes());
    // Ethernet, IPv4, their lengths, a request.
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&own.0);
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// The sender of an ARP frame, where it claims an address.
fn read_arp(frame: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    let arp = frame.get(14..42)?;
    if arp[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let address = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
    let mac = MacAddr(arp[8..14].try_into().ok()?);
    (!address.is_unspecified() && !mac.is_multicast()).then_some((address, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_claims_nothing_and_an_answer_is_read() {
        let own = MacAddr([2, 0, 0, 0, 0, 1]);
        let probe = probe_frame(own, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(read_arp(&probe), None);
        let mut answer = probe;
        answer[21] = 2;
        answer[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        answer[28..32].copy_from_slice(&[10, 0, 0, 9]);
        assert_eq!(read_arp(&answer), Some((Ipv4Addr::new(10, 0, 0, 9), MacAddr([2, 0, 0, 0, 0, 9]))));
        assert_eq!(read_arp(&answer[..41]), None);
    }
}
