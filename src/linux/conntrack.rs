//! The kernel's connection tracking: all entries of this network namespace, and the end of single ones.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use super::nfnetlink::{Channel, Kind, NLM_F_ACK, NLMSG_ERROR, attribute, error_of, find, nested};
use crate::model::{Flow, Ports, TCP, Tuple};

// linux/netfilter/nfnetlink.h
const CTNETLINK: u8 = 1;
// linux/netfilter/nfnetlink_conntrack.h
const GET: u8 = 1;
const DELETE: u8 = 2;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const TUPLE_ZONE: u16 = 3;
const IP_V4_SRC: u16 = 1;
const IP_V4_DST: u16 = 2;
const IP_V6_SRC: u16 = 3;
const IP_V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
const PROTO_ICMP_ID: u16 = 4;
const PROTO_ICMPV6_ID: u16 = 7;
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_TCP_STATE: u16 = 1;
const PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
// linux/netfilter/nf_conntrack_common.h and nf_conntrack_tcp.h
const IPS_EXPECTED: u32 = 1;
const BE_LIBERAL: u8 = 8;
const TIME_WAIT: u8 = 7;
const CLOSE: u8 = 8;
// linux/socket.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// How many deletions are sent at once: their errors have to fit into the socket's buffer.
const AT_ONCE: usize = 500;

/// All tracked connections, of both families. One that comes or goes meanwhile may be among them or not. What the kernel tells in a way that
/// is not understood is left out.
///
/// # Errors
/// What the kernel says.
pub fn flows(channel: &mut Channel) -> io::Result<Vec<Flow>> {
    channel.dump(Kind { subsystem: CTNETLINK, message: GET, family: 0 }, &[], flow)
}

/// Ends the tracking of these connections, and of no other: one that has taken the place of an ended one goes on. How many were still there.
///
/// # Errors
/// What the kernel says; the others are ended nevertheless.
pub fn delete(channel: &mut Channel, flows: &[Flow]) -> io::Result<usize> {
    let (mut ended, mut failed) = (0, None);
    for part in flows.chunks(AT_ONCE) {
        let mut octets = Vec::new();
        let mut first = 0;
        for (index, flow) in part.iter().enumerate() {
            let family = if flow.original.source.is_ipv4() { AF_INET } else { AF_INET6 };
            // Errors come unasked; one acknowledgement tells that all were read.
            let flags = if index + 1 == part.len() { NLM_F_ACK } else { 0 };
            let message = channel.message(Kind { subsystem: CTNETLINK, message: DELETE, family }, flags, 0);
            if index == 0 {
                first = message.sequence();
            }
            octets.extend(message.with(&exactly(flow)).finish());
        }
        channel.send(&octets)?;
        ended += part.len();
        channel.receive(|header, body| {
            let ours = header.kind == NLMSG_ERROR && header.sequence.wrapping_sub(first) < AT_ONCE as u32;
            let Some(error) = error_of(body).filter(|_| ours) else { return };
            ended -= 1;
            if error.raw_os_error() != Some(Errno::ENOENT as i32) {
                failed = Some(error);
            }
        })?;
    }
    failed.map_or(Ok(ended), Err)
}

/// The attributes that name one entry. Without the tuple the kernel would delete all of them.
fn exactly(flow: &Flow) -> Vec<u8> {
    let tuple = &flow.original;
    let mut octets = Vec::with_capacity(96);
    nested(&mut octets, TUPLE_ORIG, |body| {
        nested(body, TUPLE_IP, |body| match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                attribute(body, IP_V4_SRC, &source.octets());
                attribute(body, IP_V4_DST, &destination.octets());
            }
            (source, destination) => {
                attribute(body, IP_V6_SRC, &octets_v6(source));
                attribute(body, IP_V6_DST, &octets_v6(destination));
            }
        });
        nested(body, TUPLE_PROTO, |body| {
            attribute(body, PROTO_NUM, &[tuple.protocol]);
            match tuple.ports {
                Ports::Of { source, destination } => {
                    attribute(body, PROTO_SRC_PORT, &source.to_be_bytes());
                    attribute(body, PROTO_DST_PORT, &destination.to_be_bytes());
                }
                Ports::Icmp { kind, code, id } => {
                    let first = if tuple.source.is_ipv4() { PROTO_ICMP_ID } else { PROTO_ICMPV6_ID };
                    attribute(body, first, &id.to_be_bytes());
                    attribute(body, first + 1, &[kind]);
                    attribute(body, first + 2, &[code]);
                }
                Ports::None => {}
            }
        });
    });
    if flow.zone != 0 {
        attribute(&mut octets, ZONE, &flow.zone.to_be_bytes());
    }
    attribute(&mut octets, ID, &flow.id.to_be_bytes());
    octets
}

fn octets_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn flow(octets: &[u8]) -> Option<Flow> {
    let original = find(octets, TUPLE_ORIG)?;
    let zone = find(octets, ZONE).or_else(|| find(original, TUPLE_ZONE)).and_then(short).unwrap_or(0);
    let status = find(octets, STATUS).and_then(long).unwrap_or(0);
    let tcp = find(octets, PROTOINFO).and_then(|info| find(info, PROTOINFO_TCP)).unwrap_or_default();
    let octet = |kind| find(tcp, kind).and_then(|octets| octets.first()).copied().unwrap_or(0);
    let original = tuple(original)?;
    Some(Flow {
        original,
        reply: tuple(find(octets, TUPLE_REPLY)?)?,
        id: find(octets, ID).and_then(long)?,
        zone,
        expected: status & IPS_EXPECTED != 0,
        // The kernel is so lenient with nobody else: of a connection it did not see open it does not know the window.
        picked_up: original.protocol == TCP && octet(PROTOINFO_TCP_FLAGS_ORIGINAL) & BE_LIBERAL != 0,
        ended: matches!(octet(PROTOINFO_TCP_STATE), TIME_WAIT | CLOSE),
    })
}

fn tuple(octets: &[u8]) -> Option<Tuple> {
    let (ip, proto) = (find(octets, TUPLE_IP)?, find(octets, TUPLE_PROTO)?);
    let address = |v4, v6| match (find(ip, v4), find(ip, v6)) {
        (Some(octets), _) => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))),
        (None, octets) => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets?).ok()?))),
    };
    let icmp = |first: u16| {
        let octet = |kind| find(proto, kind)?.first().copied();
        Some(Ports::Icmp { kind: octet(first + 1)?, code: octet(first + 2)?, id: short(find(proto, first)?)? })
    };
    let port = |kind| find(proto, kind).and_then(short);
    let ports = match (port(PROTO_SRC_PORT), port(PROTO_DST_PORT)) {
        (Some(source), Some(destination)) => Some(Ports::Of { source, destination }),
        _ => icmp(PROTO_ICMP_ID).or_else(|| icmp(PROTO_ICMPV6_ID)),
    };
    Some(Tuple {
        source: address(IP_V4_SRC, IP_V6_SRC)?,
        destination: address(IP_V4_DST, IP_V6_DST)?,
        protocol: find(proto, PROTO_NUM)?.first().copied()?,
        ports: ports.unwrap_or(Ports::None),
    })
}

fn short(octets: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(octets.try_into().ok()?))
}

fn long(octets: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(octets.try_into().ok()?))
}
