//! A refused packet in one line of the log: who wanted what of whom, and why not.

use std::net::IpAddr;

use super::devices::Devices;
use super::flows::content;
use crate::firewall::{Content, Decision, Packet, Party, Protocol, Query, Side, State, explain};
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
        _ => reason(devices, &packet).unwrap_or_else(|| "no rule allows it".to_owned()),
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

/// What `labgate explain` says of the same packet; `None` where that cannot be asked.
fn reason(devices: &Devices<'_>, packet: &Packet) -> Option<String> {
    let party = |address: IpAddr| match (devices.around.side_of(devices.policy, address), address) {
        (Some(Side::Router), _) => Party::Router,
        (_, IpAddr::V4(address)) => Party::Address(address),
        (_, IpAddr::V6(address)) => Party::Address6(address),
    };
    let query = Query {
        from_text: packet.source.to_string(),
        to_text: packet.destination.to_string(),
        from: party(packet.source),
        to: party(packet.destination),
        protocol: match packet.content {
            Content::Tcp { .. } => Protocol::Tcp,
            Content::Udp { .. } => Protocol::Udp,
            Content::Icmp { .. } => Protocol::Icmp,
            Content::Other(_) => return None,
        },
        port: packet.content.destination_port(),
    };
    explain(devices.policy, &devices.around.hosts, &query).reason
}
