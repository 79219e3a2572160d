//! Who could still administer the router: every admin network, and whoever asks.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::desired::lock_out;
use crate::firewall::{Content, Fate, Packet, Side, State, Surroundings};

/// Where administrators knock.
const SSH: u16 = 22;

/// The remote session of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Where it comes from.
    pub address: Ipv4Addr,
    /// Its port of the router.
    pub port: u16,
}

/// Sentences about the ways in, and the refusal where there is none left.
pub(super) fn ways_in(
    old: &Standing<'_>,
    new: &Standing<'_>,
    session: Option<Session>,
) -> (Vec<String>, Option<String>) {
    let mut sentences = Vec::new();
    for network in old.config.networks.iter().filter(|network| network.admin) {
        let still = new.config.networks.iter().find(|other| other.name == network.name).filter(|other| other.admin);
        if still.is_none() {
            sentences.push(format!("way in: {} is no admin network any more", network.name));
        }
    }
    let ways = lock_out::ways_in(new.config, new.policy, new.hosts);
    for (index, shut) in &ways {
        let name = &new.config.networks[*index].name;
        sentences.push(match shut {
            None => format!("way in: {name} reaches SSH on the router"),
            Some(shut) => format!("way in: {name} does NOT reach SSH on the router ({}: {})", shut.packet, shut.reason),
        });
    }
    let shut = lock_out::all_shut(&ways);
    if let Some(session) = session {
        sentences.push(about(session, new));
    }
    (sentences, shut.map(|shut| shut.to_string()))
}

fn about(session: Session, new: &Standing<'_>) -> String {
    let how = if session.port == SSH { "over ssh".to_owned() } else { format!("at port {}", session.port) };
    let around = Surroundings { hosts: new.hosts.clone(), ..Surroundings::default() };
    let source = IpAddr::V4(session.address);
    let side = around.side_of(new.policy, source);
    let Some(Side::Network(index)) = side else {
        return format!(
            "this session: {} {how} comes through the uplink, where nothing new is let in",
            session.address
        );
    };
    let network = &new.policy.networks[index];
    let packet = Packet {
        arrives: Side::Network(index),
        source,
        destination: IpAddr::V4(network.router),
        content: Content::Tcp { source_port: 0, destination_port: session.port },
        state: State::New,
    };
    let admin = if network.admin { ", admin" } else { "" };
    let stays = new.policy.evaluate(&around, &packet).fate == Fate::Accept;
    let fate = if stays { "stays allowed" } else { "is NOT allowed any more" };
    format!("this session: {} {how} {fate} (network {}{admin})", session.address, network.name)
}
