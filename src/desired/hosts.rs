//! Configuration + bindings → which address each host of the file has.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::config::Config;
use crate::firewall::HostAddresses;
use crate::model::{Bindings, MacAddr, UnixSeconds};

/// The address of each host: the reserved one, else that of its live lease, by client identifier or hardware address.
/// A host with several leases is where it was acknowledged last.
pub fn host_addresses(config: &Config, bindings: &Bindings) -> HostAddresses {
    let reserved: Vec<Option<Ipv4Addr>> = config.hosts.iter().map(|host| host.ip).collect();
    let mut by_mac: HashMap<MacAddr, usize> = HashMap::new();
    let mut by_identifier: HashMap<&[u8], usize> = HashMap::new();
    for (index, host) in config.hosts.iter().enumerate().filter(|(_, host)| host.ip.is_none()) {
        by_mac.extend(host.macs.iter().map(|mac| (*mac, index)));
        by_identifier.extend(host.client_id.as_deref().map(|identifier| (identifier, index)));
    }
    let mut latest: Vec<Option<(UnixSeconds, Ipv4Addr)>> = vec![None; config.hosts.len()];
    if !by_mac.is_empty() || !by_identifier.is_empty() {
        for (address, binding) in bindings.iter() {
            let by_identifier = binding.client.identifier().and_then(|identifier| by_identifier.get(identifier));
            let host = by_identifier.or_else(|| by_mac.get(&binding.mac?));
            if let Some(host) = host {
                latest[*host] = latest[*host].max(Some((binding.acknowledged_unix, *address)));
            }
        }
    }
    let leased: Vec<Option<Ipv4Addr>> = latest.iter().map(|found| found.map(|(_, address)| address)).collect();
    HostAddresses::new(&reserved, &leased)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::testing::{config, host};
    use crate::model::{Binding, ClientKey};
    use std::sync::Arc;

    fn lease(address: [u8; 4], mac: &str, client: ClientKey, acknowledged_unix: u64) -> (Ipv4Addr, Arc<Binding>) {
        let address = Ipv4Addr::from(address);
        let binding = Binding {
            address,
            client,
            mac: Some(mac.parse().unwrap()),
            network: "lan".into(),
            host_name: None,
            expires: None,
            expires_unix: None,
            acknowledged_unix,
        };
        (address, Arc::new(binding))
    }

    #[test]
    fn reserved_first_then_the_latest_lease() {
        let mut config = config();
        config.hosts = vec![
            host("nas", Some([192, 168, 1, 10])),
            host("laptop", None),
            host("thing", None),
            host("ghost", None),
        ];
        config.hosts[1].macs = vec!["02:00:00:00:00:01".parse().unwrap()];
        config.hosts[2].client_id = Some(vec![9, 9]);
        let other = ClientKey::from_hardware(1, &[1]);
        let mut bindings = Bindings::new();
        for (address, binding) in [
            lease([192, 168, 1, 100], "02:00:00:00:00:01", other.clone(), 5),
            lease([192, 168, 1, 101], "02:00:00:00:00:01", other.clone(), 7),
            lease([192, 168, 1, 102], "02:00:00:00:00:09", ClientKey::from_identifier(&[9, 9]), 1),
            lease([192, 168, 1, 103], "02:00:00:00:00:08", other, 1),
        ] {
            bindings.insert(address, binding);
        }
        let hosts = host_addresses(&config, &bindings);
        let shown: Vec<_> = (0..5).map(|index| hosts.get(index).map(|address| address.octets()[3])).collect();
        assert_eq!(shown, [Some(10), Some(101), Some(102), None, None]);
        assert_eq!(hosts.host_at(Ipv4Addr::new(192, 168, 1, 101)), Some(1));
    }
}
