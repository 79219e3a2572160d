//! The policy: one exact model of who may open a connection to whom, with the place in the file that says so. The ruleset, the explanation
//! of a packet and every later view are made from it.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::nat::{self, NatSets};
use super::permissions;
use super::ruleset::Set;
use super::services::Services;
use crate::config::{self, Config, Endpoint, InterfaceName, OutsideName, Place, PortRange, Transport, WanAddress};

/// The policy of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The uplink, where there is one.
    pub uplink: Option<Uplink>,
    /// Networks, in file order: indexes are those of the configuration.
    pub networks: Vec<Network>,
    /// Hosts, in file order: indexes are those of the configuration.
    pub hosts: Vec<Host>,
    /// Names of the outside that rules mention: indexes are those of the configuration.
    pub outside_names: Vec<OutsideName>,
    /// What is allowed and denied: first what holds with nothing written, then the file. Order has no meaning.
    pub rules: Vec<Rule>,
    /// Port forwards, in file order.
    pub forwards: Vec<Forward>,
    /// The rules as nft sets.
    pub(super) sets: Arc<[Set]>,
    /// The forwards as nft sets and maps.
    pub(super) nat: Arc<NatSets>,
}

/// The way to the internet.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink {
    /// Its interface.
    pub interface: InterfaceName,
    /// Its address, where the file fixes it.
    pub address: Option<Ipv4Addr>,
    /// Whether a DHCP client, ours or the system's, listens there.
    pub dhcp_client: bool,
    /// Whether the operating system configures it, IPv6 included.
    pub system: bool,
    /// Where it stands.
    pub place: Place,
}

/// A network: what a firewall calls a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: Arc<str>,
    /// The interface its packets arrive on.
    pub interface: InterfaceName,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The router's address in it.
    pub router: Ipv4Addr,
    /// May it open connections to the internet, and so use port forwards by the public address.
    pub internet: bool,
    /// May it reach SSH on the router.
    pub admin: bool,
    /// Whether the router serves DHCP there.
    pub dhcp: bool,
    /// First and last addresses of the pools, for hosts without a reservation.
    pub pools: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Where it stands.
    pub place: Place,
}

/// A named device.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: Arc<str>,
    /// The address the file gives it; without one it follows the lease.
    pub reserved: Option<Ipv4Addr>,
    /// Where it stands.
    pub place: Place,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Beats [`Verdict::Allow`] and port forwards, whatever the order.
    Deny,
    /// Permits new connections; their answers follow by themselves.
    Allow,
}

/// Why a rule is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It is written under `[firewall]`.
    File,
    /// `network.NAME.internet`.
    Internet,
    /// Every network may ask the router's DNS.
    Dns,
    /// `network.NAME.admin`.
    Admin,
}

/// A rule with its groups spelled out.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Allow or deny.
    pub verdict: Verdict,
    /// Who opens the connection.
    pub from: Vec<End>,
    /// To whom.
    pub to: Vec<End>,
    /// `port` without `except`.
    pub services: Services,
    /// Why it is there.
    pub origin: Origin,
    /// `name` of the rule.
    pub name: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// One end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// A network, by index: what arrives from or leaves to its interface.
    Network(usize),
    /// What arrives from or leaves to the uplink.
    Internet,
    /// This machine, on any of its addresses.
    Router,
    /// A host, by index: its address at the moment.
    Host(usize),
    /// IPv4 addresses, wherever they are.
    Cidr4(Ipv4Net),
    /// IPv6 addresses, wherever they are.
    Cidr6(Ipv6Net),
    /// An outside name, by index: its IPv4 addresses at the moment.
    Name(usize),
}

/// A port forward.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Transport protocols.
    pub transports: Vec<Transport>,
    /// Outside ports.
    pub ports: PortRange,
    /// The host that answers.
    pub host: usize,
    /// The host's port where it differs from the outside one.
    pub target_port: Option<u16>,
    /// Who may use it from the internet; empty means everyone. Own networks may always.
    pub from: Vec<Ipv4Net>,
    /// `name` of the forward.
    pub name: Option<String>,
    /// Where it stands.
    pub place: Place,
}

impl Policy {
    /// The policy of a checked configuration.
    pub fn compile(config: &Config) -> Policy {
        let mut policy = Policy {
            uplink: config.wan.as_ref().map(uplink),
            networks: config.networks.iter().map(network).collect(),
            hosts: config.hosts.iter().map(host).collect(),
            outside_names: config.outside_names.clone(),
            rules: Vec::new(),
            forwards: config.forwards.iter().map(forward).collect(),
            sets: Arc::new([]),
            nat: Arc::default(),
        };
        policy.rules = implied_rules(&policy);
        for (verdict, rules) in [(Verdict::Deny, &config.firewall.deny), (Verdict::Allow, &config.firewall.allow)] {
            policy.rules.extend(rules.iter().map(|rule| written_rule(config, verdict, rule)));
        }
        policy.sets = permissions::sets(&policy).into();
        policy.nat = Arc::new(nat::sets(&policy));
        policy
    }

    /// The network that `interface` belongs to.
    pub fn network_of_interface(&self, interface: &str) -> Option<usize> {
        self.networks.iter().position(|network| &*network.interface == interface)
    }

    /// The network that `address` lies in.
    pub fn network_of_address(&self, address: Ipv4Addr) -> Option<usize> {
        self.networks.iter().position(|network| network.subnet.contains(&address))
    }

    /// The host called `name`.
    pub fn host(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|host| host.name.eq_ignore_ascii_case(name))
    }

    /// An end of a rule as the file writes it.
    pub fn end_name(&self, end: End) -> EndName<'_> {
        EndName(self, end)
    }

    /// The interface that stands for an end: networks and the internet have one.
    pub(super) fn end_interface(&self, end: End) -> Option<&InterfaceName> {
        match end {
            End::Network(index) => Some(&self.networks[index].interface),
            End::Internet => self.uplink.as_ref().map(|uplink| &uplink.interface),
            _ => None,
        }
    }
}

/// An end of a rule, shown as the file writes it.
pub struct EndName<'a>(&'a Policy, End);

impl fmt::Display for EndName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            End::Network(index) => f.write_str(&self.0.networks[index].name),
            End::Host(index) => f.write_str(&self.0.hosts[index].name),
            End::Name(index) => f.write_str(self.0.outside_names[index].name.as_str()),
            End::Internet => f.write_str("internet"),
            End::Router => f.write_str("router"),
            End::Cidr4(net) if net.prefix_len() == 32 => net.addr().fmt(f),
            End::Cidr4(net) => net.fmt(f),
            End::Cidr6(net) if net.prefix_len() == 128 => net.addr().fmt(f),
            End::Cidr6(net) => net.fmt(f),
        }
    }
}

fn uplink(wan: &config::Wan) -> Uplink {
    Uplink {
        interface: wan.interface.clone(),
        address: if let WanAddress::Static { address, .. } = &wan.address { Some(address.addr()) } else { None },
        dhcp_client: !matches!(wan.address, WanAddress::Static { .. }),
        system: matches!(wan.address, WanAddress::System),
        place: wan.place.clone(),
    }
}

fn network(network: &config::Network) -> Network {
    Network {
        name: network.name.clone(),
        interface: network.link().clone(),
        subnet: network.address.trunc(),
        router: network.router(),
        internet: network.internet,
        admin: network.admin,
        dhcp: network.dhcp.is_some(),
        pools: network.dhcp.iter().flat_map(scope_pools).collect(),
        place: network.place.clone(),
    }
}

fn scope_pools(scope: &config::Scope) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + '_ {
    let private = scope.private_mac.iter().flat_map(|private| &private.pools);
    scope.pools.iter().chain(private).map(|pool| (*pool.start(), *pool.end()))
}

fn host(host: &config::Host) -> Host {
    Host { name: host.name.clone(), reserved: host.ip, place: host.place.clone() }
}

fn forward(forward: &config::PortForward) -> Forward {
    Forward {
        transports: forward.transports.clone(),
        ports: forward.ports,
        host: forward.host,
        target_port: forward.target_port,
        from: forward.from.clone(),
        name: forward.name.clone(),
        place: forward.place.clone(),
    }
}

/// What holds with nothing written.
fn implied_rules(policy: &Policy) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, network) in policy.networks.iter().enumerate() {
        let mut allow = |to, services, origin| {
            rules.push(Rule {
                verdict: Verdict::Allow,
                from: vec![End::Network(index)],
                to: vec![to],
                services,
                origin,
                name: None,
                place: network.place.clone(),
            });
        };
        if network.internet {
            allow(End::Internet, Services::all(), Origin::Internet);
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            allow(End::Router, Services::port(transport, 53), Origin::Dns);
        }
        if network.admin {
            allow(End::Router, Services::port(Transport::Tcp, 22), Origin::Admin);
        }
    }
    rules
}

fn written_rule(config: &Config, verdict: Verdict, rule: &config::Rule) -> Rule {
    Rule {
        verdict,
        from: ends(config, &rule.from),
        to: ends(config, &rule.to),
        services: Services::of_rule(&rule.services, &rule.except),
        origin: Origin::File,
        name: rule.name.clone(),
        place: rule.place.clone(),
    }
}

/// Endpoints with their groups spelled out, each end once.
pub(super) fn ends<'e>(config: &Config, endpoints: impl IntoIterator<Item = &'e Endpoint>) -> Vec<End> {
    let mut ends = Vec::new();
    for endpoint in endpoints {
        match endpoint {
            Endpoint::Group(index) => {
                ends.extend(config.groups[*index].members.iter().filter_map(|member| end(config, member)));
            }
            other => ends.extend(end(config, other)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    ends.retain(|end| seen.insert(*end));
    ends
}

/// `None` for a group: groups do not nest. An address of the router is the router: the packets to it never go through.
fn end(config: &Config, endpoint: &Endpoint) -> Option<End> {
    let is_router = |net: &IpNet| {
        let address = net.addr();
        net.prefix_len() == net.max_prefix_len() && config.networks.iter().any(|network| network.router() == address)
    };
    Some(match endpoint {
        Endpoint::Network(index) => End::Network(*index),
        Endpoint::Host(index) => End::Host(*index),
        Endpoint::Internet => End::Internet,
        Endpoint::Router => End::Router,
        Endpoint::Cidr(net) if is_router(net) => End::Router,
        Endpoint::Cidr(IpNet::V4(net)) => End::Cidr4(net.trunc()),
        Endpoint::Cidr(IpNet::V6(net)) => End::Cidr6(net.trunc()),
        Endpoint::Name(index) => End::Name(*index),
        Endpoint::Group(_) => return None,
    })
}
