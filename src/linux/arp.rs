//! Tells the neighbours which hardware address now has an address of ours (RFC 5227 §2.3): a router that replaces another under the same
//! address, or comes back with another card, is found at once and not only when their caches end.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};

use crate::model::MacAddr;

/// Announces `address` on an interface. Needs `CAP_NET_RAW`.
///
/// # Errors
/// What the kernel says; where the interface is no Ethernet, there is nobody to tell and that is fine.
pub fn announce(interface: &str, address: Ipv4Addr) -> io::Result<()> {
    let Some(link) = ethernet(interface) else { return Ok(()) };
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
    let mac = MacAddr(link.addr().unwrap_or_default());
    sendto(socket.as_raw_fd(), &frame(mac, address), &link, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// The kernel's address of an Ethernet interface for frames.
pub fn ethernet(interface: &str) -> Option<LinkAddr> {
    const ETHERNET: u16 = 1;
    let found = nix::ifaddrs::getifaddrs().ok()?.filter(|found| found.interface_name == interface);
    let link = found.filter_map(|found| found.address?.as_link_addr().copied()).next()?;
    (link.hatype() == ETHERNET && link.addr().is_some_and(|mac| mac != [0; 6])).then_some(link)
}

/// A request in which sender and target are both ours.
fn frame(mac: MacAddr, address: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac.0);
    // ARP over Ethernet for IPv4, their lengths, a request.
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&address.octets());
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_asks_for_what_it_tells() {
        let frame = frame(MacAddr([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(192, 168, 1, 1));
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 1, 192, 168, 1, 1]);
        assert_eq!(frame[32..], [0, 0, 0, 0, 0, 0, 192, 168, 1, 1]);
    }
}
