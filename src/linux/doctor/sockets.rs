//! Who waits at a port: the kernel's socket diagnosis (sock_diag(7)), which also tells the interface that a socket is tied to, and `/proc`
//! for the process.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

use crate::desired::doctor::{Holder, Process, Transport};
use crate::linux::nfnetlink::{error_of, find, netlink_messages};

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST: usize = 16 + 56;
const ANSWER: usize = 72;
const SKV6ONLY: u16 = 11;
// net/tcp_states.h
const CLOSE: u32 = 1 << 7;
const LISTEN: u32 = 1 << 10;

/// Sockets at these ports, whoever's they are. Without root the process of another user's stays unknown.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn holders(ports: &[u16]) -> io::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for (transport, state) in [(Transport::Udp, CLOSE), (Transport::Tcp, LISTEN)] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            found
                .extend(dump(transport, family, state)?.into_iter().filter(|(holder, _)| ports.contains(&holder.port)));
        }
    }
    let inodes: Vec<u32> = found.iter().map(|(_, inode)| *inode).collect();
    let processes = processes(&inodes);
    let owned = found.into_iter().map(|(holder, inode)| Holder { process: processes.get(&inode).cloned(), ..holder });
    Ok(owned.collect())
}

fn dump(transport: Transport, family: i32, state: u32) -> io::Result<Vec<(Holder, u32)>> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let protocol = if transport == Transport::Udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
    let mut request = [0; REQUEST];
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16..18].copy_from_slice(&[family as u8, protocol as u8]);
    request[20..24].copy_from_slice(&state.to_ne_bytes());
    socket.send(&request, 0)?;
    let mut found = Vec::new();
    loop {
        let (octets, _) = socket.recv_from_full()?;
        for (header, body) in netlink_messages(&octets) {
            match header.kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return error_of(body).map_or(Ok(found), Err),
                _ => found.extend(read(transport, family, body)),
            }
        }
    }
}

/// `struct inet_diag_msg`, then attributes. An IPv6 socket counts where it hears IPv4 too.
fn read(transport: Transport, family: i32, body: &[u8]) -> Option<(Holder, u32)> {
    let message = body.get(..ANSWER)?;
    let number = |at: usize| u32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
    let address = match family {
        libc::AF_INET => Ipv4Addr::new(message[8], message[9], message[10], message[11]),
        _ => {
            let ipv6_only = find(&body[ANSWER..], SKV6ONLY).is_some_and(|value| value.first() == Some(&1));
            if ipv6_only || message[8..24] != [0; 16] {
                return None;
            }
            Ipv4Addr::UNSPECIFIED
        }
    };
    let holder = Holder {
        transport,
        port: u16::from_be_bytes([message[4], message[5]]),
        address: (!address.is_unspecified()).then_some(address),
        link: Some(number(40)).filter(|link| *link != 0),
        process: None,
    };
    Some((holder, number(68)))
}

/// The processes that have these sockets open, as far as we may look.
fn processes(inodes: &[u32]) -> HashMap<u32, Process> {
    let wanted: HashMap<String, u32> = inodes.iter().map(|inode| (format!("socket:[{inode}]"), *inode)).collect();
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        for open in std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = std::fs::read_link(open.path()) else { continue };
            if let Some(inode) = target.to_str().and_then(|target| wanted.get(target)) {
                let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
                found.entry(*inode).or_insert(Process { pid, name });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_socket_and_its_process() {
        let ours = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let both = std::net::TcpListener::bind("[::]:0").ok();
        let port = ours.local_addr().unwrap().port();
        let found = holders(&[port]).unwrap();
        let holder = found.iter().find(|holder| holder.transport == Transport::Udp).expect("our socket");
        assert_eq!((holder.address, holder.link), (Some(Ipv4Addr::LOCALHOST), None));
        assert_eq!(holder.process.as_ref().map(|process| process.pid), Some(std::process::id()));
        if let Some(both) = both {
            let found = holders(&[both.local_addr().unwrap().port()]).unwrap();
            assert!(
                found.iter().any(|holder| holder.transport == Transport::Tcp && holder.address.is_none()),
                "{found:?}"
            );
        }
    }
}
