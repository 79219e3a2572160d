//! What decides about packets beside the file, from the pictures.

use crate::firewall::{HostAddresses, Policy, Surroundings};
use crate::model::Links;

/// Where the hosts are and which addresses the uplink has. Of IPv6 routes the pictures know nothing.
pub fn surroundings(policy: &Policy, hosts: &HostAddresses, links: &Links) -> Surroundings {
    let uplink = policy.uplink.as_ref().and_then(|uplink| links.by_name.get(&*uplink.interface));
    let uplink = uplink.map_or_else(Vec::new, |link| link.addresses.clone());
    Surroundings { hosts: hosts.clone(), uplink, ..Surroundings::default() }
}
