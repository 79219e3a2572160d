//! Interfaces, addresses and routes by rtnetlink: read as one picture, changed step by step, watched.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use ipnet::{Ipv4Net, Ipv6Net};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVlan, MulticastGroup, RouteMessageBuilder};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::desired::network::Step;
use crate::model::{Link, LinkKind, Links, MacAddr, Route};

/// A connection to the kernel's network configuration, and the news of its changes.
pub struct Netlink {
    handle: Handle,
    news: Arc<Notify>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Netlink {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Netlink {
    /// Opens both sockets: one for requests, one for news of links, addresses and routes. Must be called inside a runtime.
    ///
    /// # Errors
    /// Where the kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        let (requests, handle, _) = rtnetlink::new_connection()?;
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ];
        let (listener, _, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
        let news = Arc::new(Notify::new());
        let notify = news.clone();
        // Whatever is heard, an overrun included, means: read the picture again. So nothing piles up and nothing can be missed.
        let collector = tokio::spawn(async move {
            while messages.next().await.is_some() {
                notify.notify_one();
            }
        });
        Ok(Netlink { handle, news, tasks: [tokio::spawn(requests), tokio::spawn(listener), collector] })
    }

    /// Waits until something has changed since the last call.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Whether the kernel still talks to us: false after a socket has ended.
    pub fn is_alive(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }

    /// Reads interfaces, IPv4 addresses, and routes of both families.
    ///
    /// # Errors
    /// Where a dump fails.
    pub async fn links(&self) -> Result<Links, rtnetlink::Error> {
        let links: Vec<LinkMessage> = self.handle.link().get().execute().try_collect().await?;
        let addresses: Vec<AddressMessage> = self.handle.address().get().execute().try_collect().await?;
        let wanted = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<RouteMessage> = self.handle.route().get(wanted).execute().try_collect().await?;
        let mut picture = picture(&links, &addresses, &routes);
        let wanted = RouteMessageBuilder::<Ipv6Addr>::new().build();
        // A kernel without IPv6 has no routes of it.
        let routes = self.handle.route().get(wanted).execute().try_collect().await.unwrap_or_default();
        add_ipv6(&mut picture, routes);
        Ok(picture)
    }

    /// Does one step, as the kernel stands in `links`.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn apply(&self, step: &Step, links: &Links) -> io::Result<()> {
        let outcome = match step {
            Step::CreateBridge { name } => self.handle.link().add(bridge_message(name)).execute().await,
            Step::CreateVlan { name, parent, id } => {
                let message = vlan_message(name, index(links, parent)?, *id);
                self.handle.link().add(message).execute().await
            }
            Step::SetMaster { link, master } => {
                let to = index(links, master)?;
                self.change(LinkUnspec::new_with_index(index(links, link)?).controller(to)).await
            }
            Step::ClearMaster { link } => {
                self.change(LinkUnspec::new_with_index(index(links, link)?).nocontroller()).await
            }
            Step::SetUp { link } => self.change(LinkUnspec::new_with_index(index(links, link)?).up()).await,
            Step::SetDown { link } => self.change(LinkUnspec::new_with_index(index(links, link)?).down()).await,
            Step::SetMtu { link, mtu } | Step::RestoreMtu { link, mtu } => {
                self.change(LinkUnspec::new_with_index(index(links, link)?).mtu(*mtu)).await
            }
            Step::AddAddress { link, address } => {
                let request =
                    self.handle.address().add(index(links, link)?, IpAddr::V4(address.addr()), address.prefix_len());
                request.execute().await
            }
            Step::RemoveAddress { link, address } => {
                let message = address_message(index(links, link)?, *address);
                self.handle.address().del(message).execute().await
            }
            Step::AddRoute { route } => self.handle.route().add(route_message(route, links)?).execute().await,
            Step::RemoveRoute { route } => self.handle.route().del(route_message(route, links)?).execute().await,
            Step::DeleteLink { link } => self.handle.link().del(index(links, link)?).execute().await,
            Step::WriteSysctl { name, value, .. } | Step::RestoreSysctl { name, value } => {
                return super::sysctl::write(name, value).map_err(io::Error::other);
            }
        };
        outcome.map_err(as_io)
    }

    async fn change(&self, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), rtnetlink::Error> {
        self.handle.link().change(message.build()).execute().await
    }
}

fn as_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

fn index(links: &Links, name: &str) -> io::Result<u32> {
    let link = links.by_name.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(link.index)
}

fn bridge_message(name: &str) -> LinkMessage {
    let message = LinkBridge::new(name);
    match stable_mac(name) {
        // A bridge without an address of its own takes its members' lowest and changes it as they come and go.
        Some(mac) => message.address(mac.0.to_vec()),
        None => message,
    }
    .build()
}

/// The address of a bridge: the same after every boot of this machine, different on the next machine.
fn stable_mac(name: &str) -> Option<MacAddr> {
    let machine = std::fs::read_to_string("/etc/machine-id").ok().filter(|id| id.trim().len() >= 32)?;
    Some(mac_from(format!("labgate {} {name}", machine.trim()).as_bytes()))
}

/// FNV-1a over the text, as a locally administered address.
fn mac_from(text: &[u8]) -> MacAddr {
    let hash = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let [.., a, b, c, d, e, f] = hash.to_be_bytes();
    MacAddr([(a & 0xfc) | 0x02, b, c, d, e, f])
}

fn vlan_message(name: &str, parent: u32, id: u16) -> LinkMessage {
    LinkVlan::new(name, parent, id).protocol(VlanProtocol::Ieee8021Q).up().build()
}

fn address_message(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(IpAddr::V4(address.addr())));
    message.attributes.push(AddressAttribute::Address(IpAddr::V4(address.addr())));
    message
}

fn route_message(route: &Route, links: &Links) -> io::Result<RouteMessage> {
    let link = links.by_name.get(&route.link).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(link.index);
    if route.destination.prefix_len() > 0 {
        message = message.destination_prefix(route.destination.addr(), route.destination.prefix_len());
    }
    if let Some(gateway) = route.gateway {
        message = message.gateway(gateway);
        // Providers give a /32 and a router beside it.
        if !link.addresses.iter().any(|address| address.contains(&gateway)) {
            message = message.onlink();
        }
    } else {
        message = message.scope(netlink_packet_route::route::RouteScope::Link);
    }
    if route.metric > 0 {
        message = message.priority(route.metric);
    }
    Ok(message.build())
}

fn picture(links: &[LinkMessage], addresses: &[AddressMessage], routes: &[RouteMessage]) -> Links {
    let mut by_index: BTreeMap<u32, (Arc<str>, Link)> = BTreeMap::new();
    for message in links {
        if let Some((name, link)) = read_link(message) {
            by_index.insert(link.index, (name, link));
        }
    }
    for message in links {
        let master = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Controller(master) if *master != 0 => Some(*master),
            _ => None,
        });
        let master = master.and_then(|master| by_index.get(&master)).map(|(name, _)| name.clone());
        if let Some((_, link)) = by_index.get_mut(&message.header.index) {
            link.master = master;
        }
    }
    for message in addresses {
        if let (Some(address), Some((_, link))) = (read_address(message), by_index.get_mut(&message.header.index)) {
            link.addresses.push(address);
        }
    }
    let mut routes: Vec<Route> = routes.iter().filter_map(|message| read_route(message, &by_index)).collect();
    routes.sort();
    let default = routes.iter().filter(|route| route.destination.prefix_len() == 0).min_by_key(|route| route.metric);
    Links {
        default_route: default.map(|route| (route.gateway, route.link.clone())),
        routes,
        by_name: by_index.into_values().collect(),
        ..Links::default()
    }
}

/// What IPv6 routes tell: where prefixes lead, and which addresses are the machine's own.
fn add_ipv6(picture: &mut Links, routes: Vec<RouteMessage>) {
    for message in routes {
        let header = &message.header;
        let (mut destination, mut interface) = (Ipv6Addr::UNSPECIFIED, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => destination = *address,
                RouteAttribute::Oif(index) => interface = Some(*index),
                _ => {}
            }
        }
        if header.address_family != AddressFamily::Inet6 {
            continue;
        }
        match header.kind {
            RouteType::Local | RouteType::Anycast => picture.own6.push(destination),
            RouteType::Unicast if header.table == RouteHeader::RT_TABLE_MAIN => {
                let link = picture.by_name.iter().find(|(_, link)| Some(link.index) == interface);
                let net = Ipv6Net::new(destination, header.destination_prefix_length).ok();
                picture.routes6.extend(net.zip(link).map(|(net, (name, _))| (net, name.clone())));
            }
            _ => {}
        }
    }
    picture.routes6.sort();
    picture.own6.sort_unstable();
}

fn read_link(message: &LinkMessage) -> Option<(Arc<str>, Link)> {
    let flags = message.header.flags;
    let mut name = None;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.as_str().into()),
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(InfoKind::Bridge) => link.kind = LinkKind::Bridge,
                        LinkInfo::Kind(InfoKind::Vlan) => link.kind = LinkKind::Vlan,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some((name?, link))
}

fn read_address(message: &AddressMessage) -> Option<Ipv4Net> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    // On a point-to-point link `Address` is the other end's and `Local` is ours.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(local, message.header.prefix_len).ok()
}

fn read_route(message: &RouteMessage, links: &BTreeMap<u32, (Arc<str>, Link)>) -> Option<Route> {
    let header = &message.header;
    let of_a_person =
        header.destination_prefix_length == 0 || matches!(header.protocol, RouteProtocol::Static | RouteProtocol::Dhcp);
    if header.address_family != AddressFamily::Inet
        || header.table != RouteHeader::RT_TABLE_MAIN
        || header.kind != RouteType::Unicast
        || !of_a_person
    {
        return None;
    }
    let (mut destination, mut gateway, mut link, mut metric) = (Ipv4Addr::UNSPECIFIED, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::Oif(index) => link = links.get(index).map(|(name, _)| name.clone()),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let destination = Ipv4Net::new(destination, header.destination_prefix_length).ok()?;
    Some(Route { destination, gateway, link: link?, metric })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;

    /// What the kernel would be sent, as `ip link add link eth1 name eth1.20 type vlan proto 802.1Q id 20` sends it.
    #[test]
    fn vlan_request() {
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewLink(vlan_message("eth1.20", 3, 20)));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let wished: Vec<u8> = [
            &88_u32.to_ne_bytes()[..], // length
            &16_u16.to_ne_bytes(),     // RTM_NEWLINK
            &0x0605_u16.to_ne_bytes(), // create, exclusively, with an answer
            &[0; 8],                   // sequence number and port
            &[0; 8],                   // struct ifinfomsg: family, type, index
            &1_u32.to_ne_bytes(),      // flags: IFF_UP
            &1_u32.to_ne_bytes(),      // change mask
            &12_u16.to_ne_bytes(),
            &3_u16.to_ne_bytes(), // IFLA_IFNAME
            b"eth1.20\0",
            &8_u16.to_ne_bytes(),
            &5_u16.to_ne_bytes(), // IFLA_LINK
            &3_u32.to_ne_bytes(),
            &36_u16.to_ne_bytes(),
            &18_u16.to_ne_bytes(), // IFLA_LINKINFO
            &9_u16.to_ne_bytes(),
            &1_u16.to_ne_bytes(), // IFLA_INFO_KIND
            b"vlan\0\0\0\0",
            &20_u16.to_ne_bytes(),
            &2_u16.to_ne_bytes(), // IFLA_INFO_DATA
            &6_u16.to_ne_bytes(),
            &1_u16.to_ne_bytes(), // IFLA_VLAN_ID
            &20_u16.to_ne_bytes(),
            &[0, 0],
            &6_u16.to_ne_bytes(),
            &5_u16.to_ne_bytes(), // IFLA_VLAN_PROTOCOL
            &0x8100_u16.to_be_bytes(),
            &[0, 0],
        ]
        .concat();
        assert_eq!(bytes, wished, "\n got {bytes:02x?}\nwant {wished:02x?}");
    }

    #[test]
    fn bridges_keep_their_own_address() {
        let (first, second) = (mac_from(b"labgate a br-lan"), mac_from(b"labgate b br-lan"));
        assert_ne!(first, second);
        assert!(first.is_local() && !first.is_multicast());
        assert_eq!(first, mac_from(b"labgate a br-lan"));
    }
}
