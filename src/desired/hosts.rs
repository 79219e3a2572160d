//! Configuration + bindings + resolved names → which addresses each host and outside name of the file has.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::config::Config;
use crate::dns::outside::Resolved;
use crate::firewall::HostAddresses;
use crate::model::{Binding, Bindings, MacAddr, UnixSeconds};

/// The address of each host: the reserved one, else that of its live lease, by client identifier or hardware address.
/// A host with several leases is where it was acknowledged last. Beside them the addresses of the outside names.
pub fn host_addresses(config: &Config, bindings: &Bindings, resolved: &Resolved) -> HostAddresses {
    let reserved: Vec<Option<Ipv4Addr>> = config.hosts.iter().map(|host| host.ip).collect();
    let followers = Followers::new(config);
    let mut latest: Vec<Option<(UnixSeconds, Ipv4Addr)>> = vec![None; config.hosts.len()];
    if !followers.is_empty() {
        for (address, binding) in bindings.iter() {
            if let Some(host) = followers.host_of(binding) {
                latest[host] = latest[host].max(Some((binding.acknowledged_unix, *address)));
            }
        }
    }
    let leased: Vec<Option<Ipv4Addr>> = latest.iter().map(|found| found.map(|(_, address)| address)).collect();
    let names = config.outside_names.iter().map(|outside| resolved.addresses(&outside.name).collect());
    HostAddresses::new(&reserved, &leased).with_names(names)
}

/// Whether an outside name of the file has other addresses in one picture than in the other.
pub fn names_moved(config: &Config, older: &Resolved, newer: &Resolved) -> bool {
    config.outside_names.iter().any(|outside| older.addresses(&outside.name).ne(newer.addresses(&outside.name)))
}

/// Whether some host of the file that follows its lease is among what differs between two pictures of the leases. Costs what differs,
/// not what there is.
pub fn hosts_moved(config: &Config, older: &Bindings, newer: &Bindings) -> bool {
    let followers = Followers::new(config);
    !followers.is_empty()
        && Bindings::difference(older, newer)
            .into_iter()
            .flat_map(|(_, old, new)| old.into_iter().chain(new))
            .any(|binding| followers.host_of(binding).is_some())
}

/// The hosts without a reserved address, by what identifies them.
struct Followers<'a> {
    by_mac: HashMap<MacAddr, usize>,
    by_identifier: HashMap<&'a [u8], usize>,
}

impl<'a> Followers<'a> {
    fn new(config: &'a Config) -> Self {
        let hosts = || config.hosts.iter().enumerate().filter(|(_, host)| host.ip.is_none());
        let by_mac = hosts().flat_map(|(index, host)| host.macs.iter().map(move |mac| (*mac, index))).collect();
        let by_identifier = hosts().filter_map(|(index, host)| Some((host.client_id.as_deref()?, index))).collect();
        Followers { by_mac, by_identifier }
    }

    fn is_empty(&self) -> bool {
        self.by_mac.is_empty() && self.by_identifier.is_empty()
    }

    fn host_of(&self, binding: &Binding) -> Option<usize> {
        let by_identifier = binding.client.identifier().and_then(|identifier| self.by_identifier.get(identifier));
        by_identifier.or_else(|| self.by_mac.get(&binding.mac?)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::testing::{config, host};
    use crate::model::ClientKey;
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
        config.hosts =
            vec![host("nas", Some([192, 168, 1, 10])), host("laptop", None), host("thing", None), host("ghost", None)];
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
        let hosts = host_addresses(&config, &bindings, &Resolved::default());
        let shown: Vec<_> = (0..5).map(|index| hosts.get(index).map(|address| address.octets()[3])).collect();
        assert_eq!(shown, [Some(10), Some(101), Some(102), None, None]);
        assert_eq!(hosts.host_at(Ipv4Addr::new(192, 168, 1, 101)), Some(1));

        let mut newer = bindings.clone();
        newer.remove(&Ipv4Addr::new(192, 168, 1, 103));
        assert!(!hosts_moved(&config, &bindings, &newer), "nobody of the file had it");
        newer.remove(&Ipv4Addr::new(192, 168, 1, 102));
        assert!(hosts_moved(&config, &bindings, &newer));
    }
}
