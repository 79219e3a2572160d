//! The picture of the kernel's interfaces, addresses and default route.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::model::MacAddr;

/// The kernel's interfaces, by name, as netlink tells them. One writer: the network task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Interfaces by name.
    pub by_name: BTreeMap<Arc<str>, Link>,
    /// The IPv4 default route: router and interface.
    pub default_route: Option<(Option<Ipv4Addr>, Arc<str>)>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number; changes when an interface is deleted and made again.
    pub index: u32,
    /// Its hardware address, where it is Ethernet.
    pub mac: Option<MacAddr>,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Net>,
}
