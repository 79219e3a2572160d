//! The network itself: which links, addresses, routes and kernel settings the configuration asks for ([`plan`]), and what is to be done
//! where the kernel differs ([`steps`]). Level triggered: the same question may be asked at any time, and a kernel that already is as
//! wished gives no step.
//!
//! `rp_filter` is strict (1) on the links of networks: each is reached by one way only, so a source that would be answered elsewhere is
//! forged, and that holds even while no ruleset is loaded. The uplink's is left as it is: machines with two uplinks need it loose, and the
//! ruleset refuses forged sources there. IPv6 forwarding and `bridge-nf-call-*` are never touched.

mod lease;
mod owned;
mod steps;

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::config::{Config, InterfaceName, NetworkInterface, WanAddress};
use crate::model::Route;

pub use lease::accept;
pub use owned::{Owned, OwnedAddress, OwnedLink, OwnedMember, OwnedMtu, OwnedRoute};
pub use steps::{Kernel, Step, obstacles, steps};

/// The setting that makes the machine a router: written only once the firewall is closed.
pub const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// The label of the uplink among the networks.
pub const WAN: &str = "wan";

/// What the kernel should look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Links in the order in which they can be made: parents before their VLANs, members before their bridge.
    pub links: Vec<LinkPlan>,
    /// Routes through the uplink.
    pub routes: Vec<Route>,
    /// Kernel settings.
    pub sysctls: Vec<Sysctl>,
    /// A link whose addresses and routes of ours are to be left as they are: the uplink until its DHCP client knows more.
    pub undecided: Option<InterfaceName>,
}

/// One link of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// Its name.
    pub name: InterfaceName,
    /// The network it is there for: `lan`, or `wan` for the uplink.
    pub network: Arc<str>,
    /// Whether it is waited for, or made where absent.
    pub origin: Origin,
    /// The bridge it is to be a member of.
    pub master: Option<InterfaceName>,
    /// The addresses it is to have; others are left alone.
    pub addresses: Vec<Ipv4Net>,
    /// The largest packet, where the uplink's DHCP server names one.
    pub mtu: Option<u32>,
}

/// Where a link comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The machine: it is waited for.
    Machine,
    /// An 802.1Q sub-interface, made where it is absent.
    Vlan {
        /// The interface below.
        parent: InterfaceName,
        /// VLAN identifier.
        id: u16,
    },
    /// A bridge, made where it is absent.
    Bridge,
}

/// A kernel setting below `/proc/sys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path: `net/ipv4/ip_forward`.
    pub name: String,
    /// The value it should have.
    pub value: &'static str,
    /// The link it belongs to; `None` where it is there always.
    pub link: Option<InterfaceName>,
    /// Only once the firewall is closed.
    pub once_closed: bool,
}

/// What the uplink's DHCP client knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UplinkAddress {
    /// Nothing yet: what an earlier run put there stays.
    #[default]
    Unknown,
    /// There is no lease: what we put there goes.
    Nothing,
    /// A lease.
    Lease {
        /// Our address with the prefix length.
        address: Ipv4Net,
        /// Destinations and routers, the default route among them.
        routes: Vec<(Ipv4Net, Ipv4Addr)>,
        /// The largest packet, where the server names it.
        mtu: Option<u32>,
    },
}

/// What `config` asks for. With `wan.address = "dhcp"` the uplink's address comes from `uplink`.
pub fn plan(config: &Config, uplink: &UplinkAddress) -> NetworkPlan {
    let mut plan = NetworkPlan::default();
    if let Some(wan) = &config.wan {
        plan.plan_uplink(&wan.interface, &wan.address, uplink);
    }
    for network in &config.networks {
        match &network.interface {
            NetworkInterface::Plain(name) => plan.want(name, &network.name),
            NetworkInterface::Vlan { name, parent, id } => plan.want_vlan(name, parent, *id, &network.name),
            NetworkInterface::Bridge { name, members } => {
                for member in members {
                    plan.want_possible_vlan(member, &network.name);
                    plan.link(member).master = Some(name.clone());
                }
                plan.want(name, &network.name);
                plan.link(name).origin = Origin::Bridge;
            }
        }
        let link = plan.link(network.link());
        link.addresses.push(network.address);
        // A parent that carries VLANs may be a network of its own: it then reports under its own name.
        link.network = network.name.clone();
        plan.sysctls.push(Sysctl {
            name: format!("net/ipv4/conf/{}/rp_filter", network.link()),
            value: "1",
            link: Some(network.link().clone()),
            once_closed: false,
        });
    }
    if !config.networks.is_empty() {
        plan.sysctls.push(Sysctl { name: IP_FORWARD.to_owned(), value: "1", link: None, once_closed: true });
    }
    plan
}

impl NetworkPlan {
    fn plan_uplink(&mut self, interface: &InterfaceName, wish: &WanAddress, uplink: &UplinkAddress) {
        let network: Arc<str> = WAN.into();
        match wish {
            // The operating system's: nothing there is ours.
            WanAddress::System => {}
            WanAddress::Static { address, gateway } => {
                self.want_possible_vlan(interface, &network);
                self.link(interface).addresses.push(*address);
                self.routes.push(Route {
                    destination: Ipv4Net::default(),
                    gateway: Some(*gateway),
                    link: interface.clone(),
                    metric: 0,
                });
            }
            WanAddress::Dhcp => {
                self.want_possible_vlan(interface, &network);
                match uplink {
                    UplinkAddress::Unknown => self.undecided = Some(interface.clone()),
                    UplinkAddress::Nothing => {}
                    UplinkAddress::Lease { address, routes, mtu } => {
                        let link = self.link(interface);
                        link.addresses.push(*address);
                        link.mtu = *mtu;
                        self.routes.extend(routes.iter().map(|(destination, router)| Route {
                            destination: destination.trunc(),
                            gateway: (!router.is_unspecified()).then_some(*router),
                            link: interface.clone(),
                            metric: 0,
                        }));
                    }
                }
            }
        }
    }

    /// A link that is in the plan at most once, whoever wants it.
    fn want(&mut self, name: &InterfaceName, network: &Arc<str>) {
        if !self.links.iter().any(|link| link.name == *name) {
            self.links.push(LinkPlan {
                name: name.clone(),
                network: network.clone(),
                origin: Origin::Machine,
                master: None,
                addresses: Vec::new(),
                mtu: None,
            });
        }
    }

    fn want_vlan(&mut self, name: &InterfaceName, parent: &InterfaceName, id: u16, network: &Arc<str>) {
        self.want(parent, network);
        self.want(name, network);
        self.link(name).origin = Origin::Vlan { parent: parent.clone(), id };
    }

    fn want_possible_vlan(&mut self, name: &InterfaceName, network: &Arc<str>) {
        match vlan_name(name) {
            Some((parent, id)) => self.want_vlan(name, &parent.into(), id, network),
            None => self.want(name, network),
        }
    }

    fn link(&mut self, name: &InterfaceName) -> &mut LinkPlan {
        let at = self.links.iter().position(|link| link.name == *name);
        // Every caller has just put the link there.
        &mut self.links[at.unwrap_or_default()]
    }

    /// The link of that name.
    pub fn find(&self, name: &str) -> Option<&LinkPlan> {
        self.links.iter().find(|link| &*link.name == name)
    }
}

/// Parent and VLAN identifier of a name like `eth1.20`.
fn vlan_name(name: &str) -> Option<(&str, u16)> {
    let (parent, id) = name.rsplit_once('.')?;
    let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
    (!parent.is_empty()).then_some((parent, id))
}

#[cfg(test)]
mod tests;
