//! Keys and data as the kernel's registers hold them: each field padded to four octets, numbers in network order.

use std::net::IpAddr;

use super::ruleset::{Data, Field, Key};
use crate::config::PortRange;

/// Octets of an interface name in a key (`IFNAMSIZ`).
const INTERFACE: usize = 16;

/// The key's lower end.
pub(crate) fn lower(key: &[Field]) -> Vec<u8> {
    encode(key, false)
}

/// The key's upper end; the same as the lower one where no field is a range.
pub(crate) fn upper(key: &[Field]) -> Vec<u8> {
    encode(key, true)
}

fn encode(key: &[Field], upper: bool) -> Vec<u8> {
    let mut octets = Vec::with_capacity(40);
    for field in key {
        match field {
            Field::Interface(name) => {
                let mut padded = [0; INTERFACE];
                let length = name.len().min(INTERFACE - 1);
                padded[..length].copy_from_slice(&name.as_bytes()[..length]);
                octets.extend(padded);
            }
            Field::Ipv4(first, last) => octets.extend(if upper { last } else { first }.octets()),
            Field::Ipv6(first, last) => octets.extend(if upper { last } else { first }.octets()),
            Field::Protocol(protocol) => octets.extend([*protocol, 0, 0, 0]),
            Field::Ports(range) => port(&mut octets, if upper { range.last } else { range.first }),
            Field::Host(index) | Field::Name(index) => unreachable!("host or name {index} has no address"),
        }
    }
    octets
}

/// The data of a map's element; `None` for a set's element and for a verdict, which is no plain value.
pub(crate) fn data(data: &Data) -> Option<Vec<u8>> {
    match data {
        Data::None | Data::Accept | Data::Host(..) => None,
        Data::Address(address) => Some(address.octets().to_vec()),
        Data::AddressPort(address, number) => {
            let mut octets = address.octets().to_vec();
            port(&mut octets, *number);
            Some(octets)
        }
    }
}

/// The key of a member of [`super::CUT`] or [`super::CUT_IPV6`], from its octets.
pub(crate) fn connection(octets: &[u8]) -> Option<Key> {
    let (source, destination) = octets.split_at_checked(octets.len() / 2)?;
    let end = |octets: &[u8]| {
        let (address, port) = octets.split_at_checked(octets.len().checked_sub(4)?)?;
        let port = u16::from_be_bytes([port[0], port[1]]);
        let address = match address.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        Some(connection_end(address, port))
    };
    Some([end(source)?, end(destination)?].concat().into())
}

/// One end of such a key.
pub(crate) fn connection_end(address: IpAddr, port: u16) -> [Field; 2] {
    let address = match address {
        IpAddr::V4(address) => Field::Ipv4(address, address),
        IpAddr::V6(address) => Field::Ipv6(address, address),
    };
    [address, Field::Ports(PortRange { first: port, last: port })]
}

fn port(octets: &mut Vec<u8>, number: u16) {
    octets.extend(number.to_be_bytes());
    octets.extend([0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_connection_is_read_back() {
        for [from, to] in [["192.0.2.1", "198.51.100.7"], ["2001:db8::1", "2001:db8::2"]] {
            let key: Key = [(from, 50_000), (to, 443)]
                .map(|(address, port)| connection_end(address.parse().unwrap(), port))
                .concat()
                .into();
            assert_eq!(connection(&lower(&key)), Some(key));
        }
        for length in 0..12 {
            assert_eq!(connection(&vec![0; length]), None);
        }
    }
}
