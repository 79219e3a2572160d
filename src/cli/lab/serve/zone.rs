//! The small internet that the lab's upstream knows.

use std::net::Ipv4Addr;

use super::super::home::WWW;

/// Record types that the zone has.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Octets as they go on the wire.
    Octets(u16, Vec<u8>),
    /// A name, for CNAME and PTR.
    Name(u16, String),
}

/// What the zone says of a name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records with their time to live; none: the name exists, the type does not.
    Records(u32, Vec<Data>),
    /// The name does not exist.
    NxDomain,
    /// The server cannot say.
    Failure,
}

/// What a test or a person tells the zone to say instead: lines `NAME TTL ADDRESS…` and `NAME failure`.
pub fn told(lines: &str, name: &str, of: u16) -> Option<Answer> {
    let mut lines = lines.lines().map(|line| line.split(' '));
    let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    let Some(ttl) = words.next().and_then(|ttl| ttl.parse().ok()) else { return Some(Answer::Failure) };
    let addresses = words.filter(|_| of == kind::A).filter_map(|address| address.parse::<Ipv4Addr>().ok());
    Some(Answer::Records(ttl, addresses.map(|address| Data::Octets(kind::A, address.octets().to_vec())).collect()))
}

/// Looks a lower-case name without its last dot up.
pub fn look_up(name: &str, of: u16) -> Answer {
    let address =
        |ttl: u32, address: Ipv4Addr| only(ttl, of, kind::A, Data::Octets(kind::A, address.octets().to_vec()));
    match name {
        "www.example.com" | "www.example.net" | "www.example.org" => address(300, WWW),
        "short.example.com" => address(1, Ipv4Addr::new(198, 51, 100, 81)),
        "rebind.example.com" => address(300, Ipv4Addr::new(192, 168, 1, 10)),
        "v6.example.com" => {
            let octets = "2001:db8::80"
                .parse::<std::net::Ipv6Addr>()
                .map_or_else(|_| Vec::new(), |address| address.octets().to_vec());
            only(300, of, kind::AAAA, Data::Octets(kind::AAAA, octets))
        }
        "alias.example.com" if of == kind::A => Answer::Records(
            300,
            vec![Data::Name(kind::CNAME, "www.example.com".to_owned()), Data::Octets(kind::A, WWW.octets().to_vec())],
        ),
        "big.example.com" if of == kind::TXT => {
            let text = |index: u8| [&[200][..], &[b'a' + index; 200]].concat();
            Answer::Records(300, (0..12).map(|index| Data::Octets(kind::TXT, text(index))).collect())
        }
        "alias.example.com" | "big.example.com" | "example.com" => Answer::Records(300, Vec::new()),
        "80.100.51.198.in-addr.arpa" => only(300, of, kind::PTR, Data::Name(kind::PTR, "www.example.com".to_owned())),
        _ => match name.strip_suffix(".load.example.com").and_then(|label| label.parse::<u8>().ok()) {
            Some(last) => address(300, Ipv4Addr::new(198, 51, 100, last)),
            None => Answer::NxDomain,
        },
    }
}

fn only(ttl: u32, asked: u16, kind: u16, data: Data) -> Answer {
    Answer::Records(ttl, if asked == kind { vec![data] } else { Vec::new() })
}
