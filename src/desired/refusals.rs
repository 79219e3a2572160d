//! A refused packet in one line of the log: who wanted what of whom, and why not.

use super::devices::Devices;
use super::flows::content;
use crate::firewall::{Decision, Packet, Side, State, refusal};
use crate::model::{MacAddr, Tuple};

/// A packet that the table refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The side it came from.
    pub arrives: Side,
    /// The hardware address it came from.
    pub hardware: Option<MacAddr>,
    /// What it asked for.
    pub tuple: Tuple,
}

/// The line: `refused: cam (192.168.20.44, iot) -> nas (192.168.1.10, lan) tcp/443: no rule allows iot -> lan; …`.
pub fn line(devices: &Devices<'_>, refused: &Refused) -> String {
    let Refused { arrives, tuple, .. } = *refused;
    let packet = Packet {
        arrives,
        source: tuple.source,
        destination: tuple.destination,
        content: content(&tuple),
        state: State::New,
    };
    let decision = devices.policy.evaluate(devices.around, &packet).decision;
    let reason = match decision {
        Decision::Spoofed => forged(devices, refused),
        decision if decision.allows() => "the rules have changed since".to_owned(),
        _ => refusal(devices.policy, devices.around, &packet).unwrap_or_else(|| "no rule allows it".to_owned()),
    };
    format!("refused: {}: {reason}", devices.asked(&tuple))
}

/// Whose the packet really is: its source says nothing of that, its hardware address does.
fn forged(devices: &Devices<'_>, refused: &Refused) -> String {
    let place = match refused.arrives {
        Side::Network(network) => &*devices.policy.networks[network].name,
        _ => "outside",
    };
    let sender = refused.hardware.map_or_else(String::new, |hardware| match devices.of_hardware(hardware) {
        Some(name) => format!(", from {hardware} ({name})"),
        None => format!(", from {hardware}"),
    });
    format!("it came from {place}, where this source does not belong{sender}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;
    use crate::firewall::testing::{config, host, rule, tcp};
    use crate::firewall::{HostAddresses, Policy, Surroundings};
    use crate::model::{Binding, Bindings, ClientKey, Ports, TCP};
    use std::net::Ipv4Addr;

    #[track_caller]
    fn told(arrives: Side, from: &str, to: &str, protocol: u8, port: u16) -> String {
        let mut config = config();
        config.hosts = vec![host("nas", Some([192, 168, 1, 10]))];
        config.firewall.allow = vec![rule(&[Endpoint::Network(1)], &[Endpoint::Host(0)], &[tcp(443)], 30)];
        config.firewall.deny = vec![rule(&[Endpoint::Router], &[Endpoint::Internet], &[tcp(25)], 31)];
        let policy = Policy::compile(&config);
        let around = Surroundings {
            hosts: HostAddresses::new(&[Some(Ipv4Addr::new(192, 168, 1, 10))], &[None]),
            uplink: vec!["203.0.113.2/24".parse().unwrap()],
            ..Surroundings::default()
        };
        let mac: MacAddr = "52:54:00:00:20:10".parse().unwrap();
        let address = Ipv4Addr::new(192, 168, 20, 44);
        let binding = Binding {
            address,
            client: ClientKey::from_hardware(1, &mac.0),
            mac: Some(mac),
            network: "iot".into(),
            host_name: Some("cam".into()),
            expires: None,
            expires_unix: None,
            acknowledged_unix: 0,
        };
        let mut bindings = Bindings::new();
        bindings.insert(address, binding.into());
        let ports = if port == 0 { Ports::None } else { Ports::Of { source: 50_000, destination: port } };
        let tuple = Tuple { source: from.parse().unwrap(), destination: to.parse().unwrap(), protocol, ports };
        let devices = Devices { policy: &policy, around: &around, bindings: &bindings };
        line(&devices, &Refused { arrives, hardware: Some(mac), tuple })
    }

    #[test]
    fn the_line_names_both_ends_and_the_reason_of_explain() {
        let iot = Side::Network(1);
        let line = told(iot, "192.168.20.44", "192.168.1.10", TCP, 22);
        let ends = "refused: cam (192.168.20.44, iot) -> nas (192.168.1.10, lan)";
        assert!(line.starts_with(&format!("{ends} tcp/22: no rule allows iot -> lan; the nearest is labgate.toml:30")));
        assert_eq!(told(iot, "192.168.20.44", "192.168.1.10", 47, 0), format!("{ends} protocol 47: no rule allows it"));
        assert_eq!(
            told(iot, "192.168.20.44", "192.168.1.10", TCP, 443),
            format!("{ends} tcp/443: the rules have changed since")
        );
        let own = told(Side::Router, "203.0.113.2", "198.51.100.7", TCP, 25);
        assert!(own.starts_with("refused: router (203.0.113.2) -> 198.51.100.7 (internet) tcp/25: labgate.toml:31"));
    }

    #[test]
    fn a_forged_source_is_told_with_who_forged_it() {
        assert_eq!(
            told(Side::Network(1), "192.168.1.9", "192.168.1.10", TCP, 443),
            "refused: 192.168.1.9 (lan) -> nas (192.168.1.10, lan) tcp/443: it came from iot, where this source does not belong, \
             from 52:54:00:00:20:10 (cam)"
        );
    }
}
