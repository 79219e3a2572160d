//! Keys and data as the kernel's registers hold them: each field padded to four octets, numbers in network order.

use super::ruleset::{Data, Field};

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

fn port(octets: &mut Vec<u8>, number: u16) {
    octets.extend(number.to_be_bytes());
    octets.extend([0, 0]);
}
