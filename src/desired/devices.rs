//! What the log calls the ends of a packet.

use std::net::IpAddr;

use crate::firewall::{Policy, Side, Surroundings};
use crate::model::{Bindings, MacAddr, Tuple};

/// The devices of a home by address.
#[derive(Clone, Copy)]
pub struct Devices<'a> {
    /// Hosts and networks.
    pub policy: &'a Policy,
    /// Where the hosts are.
    pub around: &'a Surroundings,
    /// Leases, for the names that devices give themselves.
    pub bindings: &'a Bindings,
}

impl Devices<'_> {
    /// `cam (192.168.20.44, iot)`: the name in the file, else the one its lease has, with the network. Names of leases are clean labels of
    /// letters, digits and hyphens, so nothing a device says of itself can break a line.
    pub fn shown(&self, address: IpAddr) -> String {
        let side = self.around.side_of(self.policy, address);
        let place = match side {
            Some(Side::Network(network)) => &*self.policy.networks[network].name,
            Some(Side::Internet) => "internet",
            Some(Side::Router) if address.is_multicast() => "everybody",
            Some(Side::Router) => return format!("router ({address})"),
            None => return address.to_string(),
        };
        match self.name(address) {
            Some(name) => format!("{name} ({address}, {place})"),
            None => format!("{address} ({place})"),
        }
    }

    /// `cam (192.168.20.44, iot) -> nas (192.168.1.10, lan) tcp/443`.
    pub fn asked(&self, tuple: &Tuple) -> String {
        format!("{} -> {} {}", self.shown(tuple.source), self.shown(tuple.destination), tuple.service())
    }

    /// The name of who has a hardware address, by its lease.
    pub fn of_hardware(&self, hardware: MacAddr) -> Option<&str> {
        let (address, _) = self.bindings.iter().find(|(_, binding)| binding.mac == Some(hardware))?;
        self.name(IpAddr::V4(*address))
    }

    fn name(&self, address: IpAddr) -> Option<&str> {
        let IpAddr::V4(address) = address else { return None };
        match self.around.hosts.host_at(address) {
            Some(host) => Some(&self.policy.hosts[host].name),
            None => self.bindings.get(&address)?.host_name.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::HostAddresses;
    use crate::firewall::testing::{config, host};
    use crate::model::{Binding, ClientKey};
    use std::net::Ipv4Addr;

    #[test]
    fn the_file_names_first_then_the_lease() {
        let mut config = config();
        config.hosts = vec![host("nas", Some([192, 168, 1, 10]))];
        let policy = Policy::compile(&config);
        let around = Surroundings {
            hosts: HostAddresses::new(&[Some(Ipv4Addr::new(192, 168, 1, 10))], &[None]),
            ..Surroundings::default()
        };
        let mut bindings = Bindings::new();
        for (last, name) in [(10, "not-the-nas"), (50, "phone")] {
            let address = Ipv4Addr::new(192, 168, 1, last);
            let binding = Binding {
                address,
                client: ClientKey::from_hardware(1, &[last]),
                mac: None,
                network: "lan".into(),
                host_name: Some(name.into()),
                expires: None,
                expires_unix: None,
                acknowledged_unix: 0,
            };
            bindings.insert(address, binding.into());
        }
        let devices = Devices { policy: &policy, around: &around, bindings: &bindings };
        for (address, shown) in [
            ("192.168.1.10", "nas (192.168.1.10, lan)"),
            ("192.168.1.50", "phone (192.168.1.50, lan)"),
            ("192.168.20.9", "192.168.20.9 (iot)"),
            ("192.168.1.1", "router (192.168.1.1)"),
            ("198.51.100.7", "198.51.100.7 (internet)"),
            ("2001:db8::7", "2001:db8::7"),
        ] {
            assert_eq!(devices.shown(address.parse().unwrap()), shown);
        }
    }
}
