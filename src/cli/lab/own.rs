//! The home that fits a file of the person's own: a cable per interface, a machine per reserved host, a guest on every network, and a
//! provider as the file's uplink wants it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::home::{Addressing, Home, HostSpec, PROVIDER, PUBLIC, Segment, Service, UPSTREAM};
use crate::config::{Config, NetworkInterface, Source, Wan, WanAddress};
use crate::desired;

/// The longest name of a machine: its cable's name in the switch carries it.
const LONGEST_NAME: usize = 12;

/// Reads and checks a file, and gives its text and the home around it.
pub fn from_file(path: &Path) -> Result<(String, Home)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let checked = desired::check(&[Source { name, text: text.clone().into_bytes() }]);
    match checked.config {
        Some(config) => Ok((text, Home::of(&config))),
        None => bail!("{}", checked.report.render(false).trim_end()),
    }
}

impl Home {
    fn of(config: &Config) -> Self {
        let mut home =
            Home { segments: Vec::new(), gateway_addresses: Vec::new(), gateway_router: None, hosts: Vec::new() };
        if let Some(wan) = &config.wan {
            home.connect(wan, config);
        }
        for (index, network) in config.networks.iter().enumerate() {
            let segment = network.name.chars().take(LONGEST_NAME).collect::<String>();
            home.segments.push(Segment { name: segment.clone(), port: port(&network.interface) });
            let guest = format!("{}-pc", segment.chars().take(LONGEST_NAME - 3).collect::<String>());
            if network.dhcp.is_some() {
                let mac = format!("52:54:00:ff:{:02x}:01", index & 0xff);
                home.hosts.push(HostSpec::client(&guest, &segment, &mac).serving(Service::Web(80)));
            }
            for host in
                config.hosts.iter().filter(|host| host.network == Some(index) && host.name.len() <= LONGEST_NAME)
            {
                if let (Some(mac), Some(_)) = (host.macs.first(), &network.dhcp) {
                    home.hosts.push(HostSpec::client(&host.name, &segment, &mac.to_string()).serving(Service::Web(80)));
                }
            }
        }
        home
    }

    /// The uplink, with a provider at its other end.
    fn connect(&mut self, wan: &Wan, config: &Config) {
        let interface = wan.interface.to_string();
        self.segments.push(Segment { name: "wan".to_owned(), port: interface.clone() });
        let mut internet = HostSpec::internet();
        match &wan.address {
            WanAddress::System => {
                self.gateway_addresses.push((interface, format!("{PUBLIC}/24")));
                self.gateway_router = Some(PROVIDER);
            }
            WanAddress::Dhcp => internet.services.push(Service::Provider("eth0".to_owned())),
            WanAddress::Static { address, gateway } => {
                if let Addressing::Fixed(addresses, _) = &mut internet.addressing
                    && *gateway != PROVIDER
                {
                    addresses.push(("eth0".to_owned(), format!("{gateway}/{}", address.prefix_len())));
                }
            }
        }
        internet.answer_for(config);
        self.hosts.push(internet);
    }
}

/// The interface of the gateway that gets the cable. A VLAN's name is given to a cable of its own, so that no 802.1Q is needed.
fn port(interface: &NetworkInterface) -> String {
    match interface {
        NetworkInterface::Plain(name) | NetworkInterface::Vlan { name, .. } => name.to_string(),
        NetworkInterface::Bridge { members, name } => members.first().unwrap_or(name).to_string(),
    }
}

impl HostSpec {
    /// Lets the internet answer at the addresses of the file's own upstreams.
    fn answer_for(&mut self, config: &Config) {
        let upstreams: BTreeSet<Ipv4Addr> = config
            .dns
            .upstreams
            .iter()
            .filter_map(|upstream| match upstream.server.ip() {
                IpAddr::V4(address) if address != UPSTREAM => Some(address),
                _ => None,
            })
            .collect();
        if let Addressing::Fixed(addresses, _) = &mut self.addressing {
            addresses.extend(upstreams.iter().map(|address| ("lo".to_owned(), format!("{address}/32"))));
        }
        self.services.extend(upstreams.into_iter().map(Service::Dns));
    }
}
