//! What the server asks of its shell, in the order it is to be done.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::reply::Reply;
use crate::model::{Binding, MacAddr};

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be sent at once.
    Reply(Reply),
    /// A lease: to be made durable, then published, then acknowledged.
    Grant(Grant),
    /// A lease is over.
    Ended(Ended),
    /// The same leases with other words or times: to be stored, and shown where they are live.
    Updated(Vec<Arc<Binding>>),
    /// Of these addresses nothing is remembered any more; nor should the store.
    Forgotten(Vec<Ipv4Addr>),
    /// Ask by ARP whether somebody uses the address; an answer goes to [`super::Server::handle_conflict`].
    Probe {
        /// Index into [`crate::config::Config::networks`].
        network: usize,
        /// The address.
        address: Ipv4Addr,
    },
    /// Something an administrator wants to read.
    Event(Event),
}

/// A lease and the message that tells the client. The two belong together: the message must not leave before the lease is durable
/// (RFC 2131 §3.1 step 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub binding: Arc<Binding>,
    /// The DHCPACK.
    pub ack: Reply,
    /// Whether the address is reserved for the client: the configuration remembers such a lease, if the store cannot.
    pub reserved: bool,
    /// Whether the client leaves another address for this one: [`super::Server::handle_committed`] is to be called when the lease is
    /// durable. Until then the client holds both, for it may never hear of this one.
    pub moves: bool,
}

/// A lease that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The lease, with the times at which it ended.
    pub binding: Arc<Binding>,
    /// Why.
    pub reason: EndReason,
}

/// Why a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its time ran out.
    Expired,
    /// The client gave it back.
    Released,
    /// The client found the address in use.
    Declined,
    /// The client has another address of the same network now.
    Moved,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Expired => "expired",
            EndReason::Released => "released",
            EndReason::Declined => "declined",
            EndReason::Moved => "moved",
        })
    }
}

/// Something an administrator wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Less than a tenth of the addresses is free.
    PoolLow {
        /// The network.
        network: Arc<str>,
        /// Addresses that can be leased now.
        free: usize,
        /// Addresses that can be leased at all.
        size: usize,
    },
    /// No address is free.
    PoolExhausted {
        /// The network.
        network: Arc<str>,
    },
    /// Somebody answers for an address that no lease gives him.
    Conflict {
        /// The network.
        network: Arc<str>,
        /// The address.
        address: Ipv4Addr,
        /// Who answered.
        mac: MacAddr,
    },
    /// A client found its address in use.
    Declined {
        /// The network.
        network: Arc<str>,
        /// The address.
        address: Ipv4Addr,
        /// Whether the address is withheld for a while; a reserved one never is.
        withheld: bool,
    },
    /// A client took the offer of a DHCP server that is not us.
    OtherServer {
        /// The network.
        network: Arc<str>,
        /// The server's identifier.
        server: Ipv4Addr,
    },
    /// A reserved address is still leased to another.
    ReservationHeld {
        /// The host it is reserved for.
        host: Arc<str>,
        /// The address.
        address: Ipv4Addr,
    },
    /// The wall clock jumped by this many seconds; leases go on by the clock that does not jump.
    ClockJumped {
        /// Seconds, forwards or backwards.
        seconds: i64,
    },
}

impl Event {
    /// What kind of event it is: one line per kind and minute is enough.
    pub fn cause(&self) -> &'static str {
        match self {
            Event::PoolLow { .. } => "pool-low",
            Event::PoolExhausted { .. } => "pool-exhausted",
            Event::Conflict { .. } => "conflict",
            Event::Declined { .. } => "declined",
            Event::OtherServer { .. } => "other-server",
            Event::ReservationHeld { .. } => "reservation-held",
            Event::ClockJumped { .. } => "clock-jumped",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::PoolLow { network, free, size } => {
                write!(f, "network {network}: {free} of {size} addresses are free; new clients get short leases")
            }
            Event::PoolExhausted { network } => {
                write!(f, "network {network}: no address is free; make `dhcp.pool` larger or `lease-time` shorter")
            }
            Event::Conflict { network, address, mac } => {
                write!(f, "network {network}: {mac} uses {address} without a lease")
            }
            Event::Declined { network, address, withheld: true } => {
                write!(
                    f,
                    "network {network}: a client found {address} in use by another; the address is withheld for an hour"
                )
            }
            Event::Declined { network, address, withheld: false } => {
                write!(
                    f,
                    "network {network}: a client found {address} in use by another; the address is reserved and stays in service"
                )
            }
            Event::OtherServer { network, server } => {
                write!(f, "network {network}: another DHCP server, {server}, gives addresses here")
            }
            Event::ReservationHeld { host, address } => {
                write!(
                    f,
                    "{address} is reserved for {host} but still leased to another client; {host} gets it when that lease ends"
                )
            }
            Event::ClockJumped { seconds } => {
                write!(f, "the wall clock jumped by {seconds} s; leases keep their remaining time")
            }
        }
    }
}
