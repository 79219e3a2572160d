//! Which addresses the hosts and the outside names of the file have at the moment: all that a policy depends on besides its configuration.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses of the hosts and of the outside names of the file, by index. An address belongs to at most one host, a reserved one first, then
/// the lower index; it may belong to any number of names besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    by_host: Vec<Option<Ipv4Addr>>,
    by_address: HashMap<Ipv4Addr, usize>,
    /// Each name's addresses, in order.
    by_name: Vec<Arc<[Ipv4Addr]>>,
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
        HostAddresses { by_host, by_address, by_name: Vec::new() }
    }

    /// The same with the addresses of the outside names, by index.
    pub fn with_names(self, names: impl IntoIterator<Item = Vec<Ipv4Addr>>) -> Self {
        let ordered = |mut addresses: Vec<Ipv4Addr>| {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into()
        };
        HostAddresses { by_name: names.into_iter().map(ordered).collect(), ..self }
    }

    /// The addresses of an outside name, in order; none where it has none yet.
    pub fn of_name(&self, name: usize) -> &[Ipv4Addr] {
        self.by_name.get(name).map_or(&[], |addresses| addresses)
    }

    /// Whether an outside name has this address.
    pub fn name_has(&self, name: usize, address: Ipv4Addr) -> bool {
        self.of_name(name).binary_search(&address).is_ok()
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

    /// Outside names whose addresses differ between two snapshots.
    pub fn names_changed(older: &Self, newer: &Self) -> Vec<usize> {
        let len = older.by_name.len().max(newer.by_name.len());
        (0..len).filter(|name| older.of_name(*name) != newer.of_name(*name)).collect()
    }
}
