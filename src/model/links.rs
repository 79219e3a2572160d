//! The kernel's interfaces, addresses and routes, as a value: what `linux::netlink` reads and `desired::network` compares with the wish.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::MacAddr;

/// The kernel's interfaces, by name, as netlink tells them. One writer: the network task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Interfaces by name.
    pub by_name: BTreeMap<Arc<str>, Link>,
    /// The IPv4 default route that counts (lowest metric): router and interface.
    pub default_route: Option<(Option<Ipv4Addr>, Arc<str>)>,
    /// IPv4 routes of the main table that somebody set: default routes, and those of the protocols `static` and `dhcp`.
    pub routes: Vec<Route>,
    /// IPv6 prefixes of the main table with the interface that leads there, in order.
    pub routes6: Vec<(Ipv6Net, Arc<str>)>,
    /// IPv6 addresses that this machine answers at, those of its subnets' routers (RFC 4291 §2.6.1) included, in order.
    pub own6: Vec<Ipv6Addr>,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What kind of interface it is, as far as labgate cares.
    pub kind: LinkKind,
    /// The bridge (or bond) it is a member of.
    pub master: Option<Arc<str>>,
    /// The largest packet it sends.
    pub mtu: u32,
}

/// Kinds of interface that labgate makes; everything else is [`LinkKind::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// A network card, a veth, anything.
    #[default]
    Other,
    /// A bridge.
    Bridge,
    /// An 802.1Q sub-interface.
    Vlan,
}

/// An IPv4 route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Where it leads; `0.0.0.0/0` is the default route.
    pub destination: Ipv4Net,
    /// The next router; `None` where the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The interface.
    pub link: Arc<str>,
    /// Its metric: the lowest counts.
    pub metric: u32,
}
