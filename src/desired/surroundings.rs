//! What decides about packets beside the file, from the pictures.

use ipnet::Ipv6Net;

use crate::firewall::{HostAddresses, Policy, Side, Surroundings};
use crate::model::Links;

/// Where the hosts are, which addresses the uplink has, and where IPv6 prefixes lead.
pub fn surroundings(policy: &Policy, hosts: &HostAddresses, links: &Links) -> Surroundings {
    let uplink = policy.uplink.as_ref().map(|uplink| &uplink.interface);
    let link = uplink.and_then(|interface| links.by_name.get(interface));
    let side = |interface: &str| match policy.network_of_interface(interface) {
        Some(network) => Some(Side::Network(network)),
        None => uplink.filter(|uplink| ***uplink == *interface).map(|_| Side::Internet),
    };
    // Every link has the link-local prefix, so it tells no side.
    let told = |net: &Ipv6Net| net.addr().segments()[0] & 0xffc0 != 0xfe80;
    let routes6 = links.routes6.iter().filter(|(net, _)| told(net));
    Surroundings {
        hosts: hosts.clone(),
        uplink: link.map_or_else(Vec::new, |link| link.addresses.clone()),
        routes6: routes6.filter_map(|(net, interface)| Some((*net, side(interface)?))).collect(),
        routers6: links.own6.clone(),
    }
}
