//! A witness packet for each thing that the file permits. They are values: none is ever sent.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::chains::Hook;
use crate::config::{Config, Endpoint, Network, PortRange, Service};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
/// Some machine of the internet.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
/// Some port of a client.
const CLIENT_PORT: u16 = 40_000;

const THROUGH: &[Hook] = &[Hook::Prerouting, Hook::Forward, Hook::Postrouting];
const BEHIND_TRANSLATION: &[Hook] = &[Hook::Forward, Hook::Postrouting];
const IN: &[Hook] = &[Hook::Prerouting, Hook::Input];
const OUT: &[Hook] = &[Hook::Output, Hook::Postrouting];

/// A packet that has to pass.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// What it stands for.
    words: String,
    /// The hooks on its way.
    pub hooks: &'static [Hook],
    /// The interface it comes from.
    pub input: Option<Arc<str>>,
    /// The interface it goes to.
    pub output: Option<Arc<str>>,
    /// Its source.
    pub source: Ipv4Addr,
    /// Its destination; unspecified: this machine's address on the uplink, which the file does not know.
    pub destination: Ipv4Addr,
    /// Its protocol.
    pub protocol: u8,
    /// Its source port.
    pub source_port: u16,
    /// Its destination port.
    pub port: u16,
    /// Whether it answers.
    pub reply: bool,
    /// Whether it is for this machine, as far as the packet itself says.
    pub local: bool,
}

impl Packet {
    /// nft's word for its connection's state.
    pub fn state(&self) -> &'static str {
        if self.reply { "established" } else { "new" }
    }

    /// `tcp/443`.
    pub fn service(&self) -> String {
        let name = match self.protocol {
            TCP => "tcp",
            UDP => "udp",
            _ => return "icmp".to_owned(),
        };
        format!("{name}/{}", self.port)
    }

    /// Whether a machine of the internet opens this connection: what is permitted then is one port of one host.
    pub fn is_from_outside(&self) -> bool {
        self.source == OUTSIDE && !self.reply
    }

    /// Its answer, on the way back.
    fn answer(&self) -> Packet {
        Packet {
            words: format!("the answers to {}", self.words),
            input: self.output.clone(),
            output: self.input.clone(),
            source: self.destination,
            destination: self.source,
            source_port: self.port,
            port: self.source_port,
            reply: true,
            hooks: BEHIND_TRANSLATION,
            ..self.clone()
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// One end of a permission: its name, interface and address.
struct End {
    name: String,
    link: Arc<str>,
    address: Ipv4Addr,
}

/// The witnesses of a configuration, each once.
pub(super) fn all(config: &Config) -> Vec<Packet> {
    let mut found = Vec::new();
    for network in &config.networks {
        to_router(network, &mut found);
    }
    for network in config.networks.iter().filter(|network| network.internet) {
        if let Some(outside) = outside(config) {
            through(&end(network), &outside, (TCP, 443), &mut found);
        }
    }
    for rule in &config.firewall.allow {
        let service = service(rule.services.first());
        let ends = |list: &[Endpoint]| list.iter().flat_map(|end| resolve(config, end)).collect::<Vec<_>>();
        let to = ends(&rule.to);
        for from in ends(&rule.from) {
            for to in to.iter().filter(|to| to.link != from.link) {
                through(&from, to, service, &mut found);
            }
        }
    }
    forwards(config, &mut found);
    if let Some(outside) = outside(config) {
        let words = "the router's own questions to the internet (udp/53)".to_owned();
        found.push(Packet { output: Some(outside.link), destination: OUTSIDE, ..packet(words, OUT, (UDP, 53)) });
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|packet| seen.insert(packet.words.clone()));
    found
}

/// A packet that stays inside a bridge.
pub(super) fn inside(network: &Network) -> Packet {
    let link = Some(network.link().clone());
    let words = format!("{0} -> {0} inside the bridge", network.name);
    let (source, destination) = (host_of(network), network.router());
    Packet { input: link.clone(), output: link, source, destination, ..packet(words, THROUGH, (TCP, 443)) }
}

fn packet(words: String, hooks: &'static [Hook], (protocol, port): (u8, u16)) -> Packet {
    Packet {
        words,
        hooks,
        input: None,
        output: None,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::UNSPECIFIED,
        protocol,
        source_port: CLIENT_PORT,
        port,
        reply: false,
        local: false,
    }
}

fn to_router(network: &Network, found: &mut Vec<Packet>) {
    let mut push = |what: &str, service: (u8, u16)| {
        let words = format!("{what} from {} to the router", network.name);
        found.push(Packet {
            input: Some(network.link().clone()),
            source: host_of(network),
            destination: network.router(),
            local: true,
            ..packet(words, IN, service)
        });
    };
    if network.dhcp.is_some() {
        push("DHCP (udp/67)", (UDP, 67));
    }
    push("DNS (udp/53)", (UDP, 53));
    push("DNS (tcp/53)", (TCP, 53));
    if network.admin {
        push("SSH (tcp/22)", (TCP, 22));
    }
}

fn through(from: &End, to: &End, service: (u8, u16), found: &mut Vec<Packet>) {
    let words = format!("{} -> {}", from.name, to.name);
    let mut there = Packet {
        input: Some(from.link.clone()),
        output: Some(to.link.clone()),
        source: from.address,
        destination: to.address,
        ..packet(words, THROUGH, service)
    };
    there.words = format!("{} {} ({})", there.words, there.service(), from.address);
    found.push(there.answer());
    found.insert(found.len() - 1, there);
}

/// What a forward takes has two destinations: the router's, and behind the translation the host's.
fn forwards(config: &Config, found: &mut Vec<Packet>) {
    let Some(outside) = outside(config) else { return };
    for forward in &config.forwards {
        let Some(host) = config.hosts.get(forward.host) else { continue };
        let Some((network, ip)) = host.network.and_then(|index| config.networks.get(index)).zip(host.ip) else {
            continue;
        };
        for transport in &forward.transports {
            let protocol = match transport {
                crate::config::Transport::Tcp => TCP,
                crate::config::Transport::Udp => UDP,
            };
            let service = (protocol, forward.ports.first);
            let mut arriving = packet(String::new(), &[Hook::Prerouting], service);
            arriving.words = format!("the forwarded port {}", arriving.service());
            (arriving.input, arriving.source, arriving.local) = (Some(outside.link.clone()), OUTSIDE, true);
            found.push(arriving);
            let end = End { name: host.name.to_string(), link: network.link().clone(), address: ip };
            let target = (protocol, forward.target_port.unwrap_or(forward.ports.first));
            let first = found.len();
            through(&outside, &end, target, found);
            found[first].hooks = BEHIND_TRANSLATION;
        }
    }
}

fn outside(config: &Config) -> Option<End> {
    let wan = config.wan.as_ref()?;
    Some(End { name: "internet".to_owned(), link: wan.interface.clone(), address: OUTSIDE })
}

fn end(network: &Network) -> End {
    End { name: network.name.to_string(), link: network.link().clone(), address: host_of(network) }
}

/// The networks behind one end of a rule. The router and addresses that lie in no network give none.
fn resolve(config: &Config, endpoint: &Endpoint) -> Vec<End> {
    match endpoint {
        Endpoint::Network(index) => config.networks.get(*index).map(end).into_iter().collect(),
        Endpoint::Host(index) => {
            let host = config.hosts.get(*index);
            let known = host.and_then(|host| Some((host, config.networks.get(host.network?)?, host.ip?)));
            let end = known.map(|(host, network, address)| End {
                name: host.name.to_string(),
                link: network.link().clone(),
                address,
            });
            end.into_iter().collect()
        }
        // Groups do not nest.
        Endpoint::Group(index) => config
            .groups
            .get(*index)
            .iter()
            .flat_map(|group| &group.members)
            .flat_map(|end| resolve(config, end))
            .collect(),
        // An outside name stands for machines beyond the uplink.
        Endpoint::Internet | Endpoint::Name(_) => outside(config).into_iter().collect(),
        Endpoint::Router | Endpoint::Cidr(_) => Vec::new(),
    }
}

fn service(first: Option<&Service>) -> (u8, u16) {
    let port = |range: &PortRange| if range.first == 0 { 443 } else { range.first };
    match first {
        None => (TCP, 443),
        Some(Service::Tcp(range)) => (TCP, port(range)),
        Some(Service::Udp(range)) => (UDP, port(range)),
        Some(Service::Icmp) => (ICMP, 0),
    }
}

/// An address that a host of the network may have.
fn host_of(network: &Network) -> Ipv4Addr {
    let pool = network.dhcp.as_ref().and_then(|scope| scope.pools.first()).map(|pool| *pool.start());
    let any = || network.address.hosts().find(|address| *address != network.router());
    pool.or_else(any).unwrap_or(network.router())
}
