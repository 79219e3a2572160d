//! A packet as a line of text: `eth1 192.168.1.10 > 8.8.8.8 tcp 20001 443 S`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;
pub const URG: u8 = 32;

const FLAGS: [(char, u8); 6] = [('F', FIN), ('S', SYN), ('R', RST), ('P', PSH), ('A', ACK), ('U', URG)];

/// One packet, as it reaches the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The number of the interface it comes from (`eth0` is the uplink); `None`: the router makes it itself.
    pub arrives: Option<usize>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub content: Content,
    pub form: Form,
}

/// What it carries; ICMP is ICMPv6 where the addresses are IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Tcp { from: u16, to: u16, flags: u8 },
    Udp { from: u16, to: u16 },
    Icmp { kind: u8, code: u8, id: u16 },
    Other(u8),
}

/// How it comes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Whole,
    /// In two fragments.
    Fragments,
    /// With a wrong checksum of its transport header.
    Damaged,
}

impl Content {
    /// The same as the other side sends it back.
    pub fn reversed(self) -> Content {
        match self {
            Content::Tcp { from, to, flags } => Content::Tcp { from: to, to: from, flags },
            Content::Udp { from, to } => Content::Udp { from: to, to: from },
            other => other,
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.arrives {
            Some(number) => write!(f, "eth{number}")?,
            None => f.write_str("router")?,
        }
        write!(f, " {} > {} {}", self.source, self.destination, self.content)?;
        f.write_str(match self.form {
            Form::Whole => "",
            Form::Fragments => " fragments",
            Form::Damaged => " damaged",
        })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Tcp { from, to, flags } => {
                let flags: String = FLAGS.iter().filter(|(_, bit)| flags & bit != 0).map(|(sign, _)| *sign).collect();
                write!(f, "tcp {from} {to} {}", if flags.is_empty() { "-" } else { &flags })
            }
            Content::Udp { from, to } => write!(f, "udp {from} {to}"),
            Content::Icmp { kind, code, id } => write!(f, "icmp {kind} {code} {id}"),
            Content::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

impl FromStr for Packet {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let packet = read(&mut words).filter(|_| words.next().is_none());
        packet.ok_or_else(|| format!("no packet: {line}"))
    }
}

fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Packet> {
    let arrives = match words.next()? {
        "router" => None,
        interface => Some(interface.strip_prefix("eth")?.parse().ok()?),
    };
    let source = words.next()?.parse().ok()?;
    let destination = words.next().filter(|sign| *sign == ">").and(words.next())?.parse().ok()?;
    let kind = words.next()?;
    let mut number = || words.next()?.parse::<u16>().ok();
    let content = match kind {
        "tcp" => {
            let (from, to) = (number()?, number()?);
            let signs = words.next()?;
            let flags = FLAGS.iter().filter(|(sign, _)| signs.contains(*sign)).map(|(_, bit)| bit).sum();
            Content::Tcp { from, to, flags }
        }
        "udp" => Content::Udp { from: number()?, to: number()? },
        "icmp" => Content::Icmp { kind: number()? as u8, code: number()? as u8, id: number()? },
        "protocol" => Content::Other(number()? as u8),
        _ => return None,
    };
    let form = match words.next() {
        None => Form::Whole,
        Some("fragments") => Form::Fragments,
        Some("damaged") => Form::Damaged,
        Some(_) => return None,
    };
    Some(Packet { arrives, source, destination, content, form })
}
