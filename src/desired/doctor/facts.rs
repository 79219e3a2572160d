//! What is read of the machine, as plain values.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::foreign::Chain;
use crate::model::{Links, UnixSeconds};

/// What was seen, or why it could not be looked at, in words.
pub type Look<T> = Result<T, String>;

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The file: a sentence, or all its problems.
    pub configuration: Look<String>,
    /// The daemon.
    pub daemon: Daemon,
    /// The wall clock.
    pub now_unix: UnixSeconds,
    /// Whether the kernel counts its clock as set by a time service.
    pub clock_synchronised: Look<bool>,
    /// Interfaces, addresses and routes.
    pub links: Look<Links>,
    /// Values of [`super::settings`], where there are such.
    pub settings: BTreeMap<String, String>,
    /// Every chain of the packet filter that sees IPv4, ours too.
    pub chains: Look<Vec<Chain>>,
    /// Sockets at the ports 53 and 67.
    pub holders: Look<Vec<Holder>>,
    /// DHCP servers that offered an address, by network.
    pub offers: BTreeMap<Arc<str>, Look<Vec<Offered>>>,
    /// Upstreams, and whether each answers.
    pub upstreams: Vec<(SocketAddr, Look<()>)>,
}

/// The daemon, as its control socket tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It answers.
    Running {
        /// Its process.
        pid: u32,
        /// Each part's own word: name, whether it is good, a sentence.
        health: Vec<(String, bool, String)>,
        /// What is wrong with the file as it stands, where an older one is running because of it.
        rejected: Option<String>,
    },
    /// We may not ask it.
    Hidden(String),
    /// A process holds the instance's lock and does not answer.
    Silent(String),
    /// None runs.
    Absent,
}

impl Daemon {
    /// Its process, where it answers.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Daemon::Running { pid, .. } => Some(*pid),
            _ => None,
        }
    }
}

/// Protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// A socket that waits at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its protocol.
    pub transport: Transport,
    /// Its port.
    pub port: u16,
    /// Its address; `None`: every address.
    pub address: Option<Ipv4Addr>,
    /// The number of the interface it is tied to.
    pub link: Option<u32>,
    /// Whose it is, where that may be seen.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The name of its program, as the kernel keeps it (15 characters).
    pub name: String,
}

/// An address that a DHCP server offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The server.
    pub server: Ipv4Addr,
    /// The address.
    pub address: Ipv4Addr,
}
