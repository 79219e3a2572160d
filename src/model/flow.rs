//! A connection as the kernel tracks it: what `linux::conntrack` reads and `desired::flows` judges.

use std::net::IpAddr;

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;

/// One direction of a tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The transport: its IP protocol number, and what tells connections of it apart.
    pub protocol: u8,
    /// Ports, or what stands for them.
    pub ports: Ports,
}

/// What tells connections between the same two ends apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Source and destination port, of TCP, UDP and their like.
    Of {
        /// The sender's.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// Type of the message.
        kind: u8,
        /// Its code.
        code: u8,
        /// Its identifier.
        id: u16,
    },
    /// The protocol has none that is tracked.
    None,
}

/// A tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// From who opened it, before any translation.
    pub original: Tuple,
    /// Its answers as they arrive: from where it was translated to, to what its source was translated to.
    pub reply: Tuple,
    /// Tells it from a later one of the same tuple.
    pub id: u32,
    /// The conntrack zone; 0 unless somebody's rules say otherwise.
    pub zone: u16,
    /// It belongs to another one, which announced it (a data connection of FTP).
    pub expected: bool,
    /// TCP whose opening was not seen: tracking began in the middle, so its direction is a guess.
    pub picked_up: bool,
    /// TCP that has ended: it is remembered for stray packets only.
    pub ended: bool,
}

impl Tuple {
    /// What is asked for: `tcp/443`, `icmp`, `protocol 47`.
    pub fn service(&self) -> String {
        match (self.protocol, self.ports) {
            (TCP, Ports::Of { destination, .. }) => format!("tcp/{destination}"),
            (UDP, Ports::Of { destination, .. }) => format!("udp/{destination}"),
            (_, Ports::Icmp { .. }) => "icmp".to_owned(),
            (protocol, _) => format!("protocol {protocol}"),
        }
    }
}
