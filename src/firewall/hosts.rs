//! Which address each host of the file has at the moment.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Addresses of the hosts of the file, by index. An address belongs to at most one host: a reserved one first, then the lower index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    by_host: Vec<Option<Ipv4Addr>>,
    by_address: HashMap<Ipv4Addr, usize>,
}

impl HostAddresses {
    /// Takes reserved addresses and addresses of live leases, by host.
    pub fn new(reserved: &[Option<Ipv4Addr>], leased: &[Option<Ipv4Addr>]) -> Self {
        let mut by_host = reserved.to_vec();
        let mut by_address = HashMap::with_capacity(by_host.len());
        for (host, address) in reserved.iter().enumerate() {
            if let Some(address) = address {
                by_address.entry(*address).or_insert(host);
            }
        }
        for (host, address) in leased.iter().enumerate() {
            if let (Some(address), None) = (address, by_host[host])
                && !by_address.contains_key(address)
            {
                by_address.insert(*address, host);
                by_host[host] = Some(*address);
            }
        }
        HostAddresses { by_host, by_address }
    }

    /// The address of a host.
    pub fn get(&self, host: usize) -> Option<Ipv4Addr> {
        self.by_host.get(host).copied().flatten()
    }

    /// The host at an address.
    pub fn host_at(&self, address: Ipv4Addr) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    /// Hosts whose address differs between two snapshots.
    pub fn changed(older: &Self, newer: &Self) -> Vec<usize> {
        let len = older.by_host.len().max(newer.by_host.len());
        (0..len).filter(|host| older.get(*host) != newer.get(*host)).collect()
    }
}
