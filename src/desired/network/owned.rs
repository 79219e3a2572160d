//! What labgate itself has put into the kernel: only that is ever taken out again.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::Step;
use crate::model::{Links, Route};

/// The record, as it is kept in `network.json`. An interface is known by the kernel's number, so that one that was deleted and made again
/// under the same name is a stranger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Owned {
    /// Links we made.
    pub links: Vec<OwnedLink>,
    /// Links we put into a bridge.
    pub members: Vec<OwnedMember>,
    /// Links that were down and that we set up.
    pub raised: Vec<OwnedLink>,
    /// Addresses we added.
    pub addresses: Vec<OwnedAddress>,
    /// Routes we added.
    pub routes: Vec<OwnedRoute>,
    /// Links whose MTU we changed.
    pub mtus: Vec<OwnedMtu>,
    /// Kernel settings we changed, with the value they had before.
    pub sysctls: BTreeMap<String, String>,
}

/// A link by name and number; number 0 is a link that was about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedLink {
    /// Its name.
    pub name: String,
    /// The kernel's number.
    pub index: u32,
}

/// A member of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedMember {
    /// Name of the member.
    pub name: String,
    /// The kernel's number of the member.
    pub index: u32,
    /// Name of the bridge.
    pub master: String,
}

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedAddress {
    /// Name of the link.
    pub name: String,
    /// The kernel's number of the link.
    pub index: u32,
    /// The address with its prefix length.
    pub address: Ipv4Net,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedRoute {
    /// The destination.
    pub destination: Ipv4Net,
    /// The next router.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// Name of the link.
    pub link: String,
    /// The metric.
    pub metric: u32,
}

/// A changed MTU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedMtu {
    /// Name of the link.
    pub name: String,
    /// The kernel's number of the link.
    pub index: u32,
    /// The MTU it had.
    pub before: u32,
}

impl From<&Route> for OwnedRoute {
    fn from(route: &Route) -> Self {
        OwnedRoute {
            destination: route.destination,
            gateway: route.gateway,
            link: route.link.to_string(),
            metric: route.metric,
        }
    }
}

impl From<&OwnedRoute> for Route {
    fn from(route: &OwnedRoute) -> Self {
        Route {
            destination: route.destination,
            gateway: route.gateway,
            link: route.link.as_str().into(),
            metric: route.metric,
        }
    }
}

fn is_there(links: &Links, name: &str, index: u32) -> bool {
    links.by_name.get(name).is_some_and(|link| link.index == index)
        // Renamed: still the same interface, and still to be cleaned up.
        || links.by_name.values().any(|link| link.index == index)
}

/// The name the link with that number has now.
pub(super) fn name_now(links: &Links, index: u32) -> Option<std::sync::Arc<str>> {
    links.by_name.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone())
}

/// Puts an item on a list once.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T) -> bool {
    let news = !list.contains(&item);
    if news {
        list.push(item);
    }
    news
}

impl Owned {
    /// Whether nothing of ours is in the kernel.
    pub fn is_empty(&self) -> bool {
        *self == Owned::default()
    }

    /// Drops what is no longer in the kernel, and learns the numbers of links that were just made.
    pub fn prune(&mut self, links: &Links) {
        for link in &mut self.links {
            if let (0, Some(made)) = (link.index, links.by_name.get(link.name.as_str())) {
                link.index = made.index;
            }
        }
        self.links.retain(|link| is_there(links, &link.name, link.index));
        self.raised.retain(|link| is_there(links, &link.name, link.index));
        self.mtus.retain(|link| is_there(links, &link.name, link.index));
        self.members.retain(|member| {
            links.by_name.values().any(|l| l.index == member.index && l.master.as_deref() == Some(&*member.master))
        });
        self.addresses.retain(|owned| {
            links.by_name.values().any(|l| l.index == owned.index && l.addresses.contains(&owned.address))
        });
        self.routes.retain(|route| links.routes.contains(&Route::from(route)));
    }

    /// Notes that `step` is about to be done, as the kernel stands in `links`. `before` is the value a kernel setting has.
    /// Says whether the record changed.
    pub fn note(&mut self, step: &Step, links: &Links, before: Option<&str>) -> bool {
        let index = |name: &str| links.by_name.get(name).map_or(0, |link| link.index);
        match step {
            Step::CreateBridge { name } | Step::CreateVlan { name, .. } => {
                add(&mut self.links, OwnedLink { name: name.to_string(), index: 0 })
            }
            Step::SetMaster { link, master } => {
                let name = link.to_string();
                add(&mut self.members, OwnedMember { index: index(link), name, master: master.to_string() })
            }
            Step::SetUp { link } => add(&mut self.raised, OwnedLink { index: index(link), name: link.to_string() }),
            Step::AddAddress { link, address } => {
                add(&mut self.addresses, OwnedAddress { index: index(link), name: link.to_string(), address: *address })
            }
            Step::AddRoute { route } => add(&mut self.routes, route.into()),
            Step::SetMtu { link, .. } => {
                let Some(now) = links.by_name.get(link) else { return false };
                !self.mtus.iter().any(|mtu| mtu.index == now.index)
                    && add(&mut self.mtus, OwnedMtu { name: link.to_string(), index: now.index, before: now.mtu })
            }
            Step::WriteSysctl { name, .. } => match before {
                // What it was before our first write is what it goes back to.
                Some(before) if !self.sysctls.contains_key(name) => {
                    self.sysctls.insert(name.clone(), before.to_owned()).is_none()
                }
                _ => false,
            },
            Step::ClearMaster { .. }
            | Step::RemoveAddress { .. }
            | Step::RemoveRoute { .. }
            | Step::DeleteLink { .. }
            | Step::SetDown { .. }
            | Step::RestoreMtu { .. }
            | Step::RestoreSysctl { .. } => false,
        }
    }

    /// Notes that what a step is about is not (or no longer) ours: it was taken out, or could not be put there.
    pub fn forget(&mut self, step: &Step, links: &Links) {
        let index = |name: &str| links.by_name.get(name).map_or(0, |link| link.index);
        match step {
            Step::CreateBridge { name } | Step::CreateVlan { name, .. } | Step::DeleteLink { link: name } => {
                self.links.retain(|link| link.name != **name);
            }
            Step::SetMaster { link, .. } | Step::ClearMaster { link } => {
                self.members.retain(|m| m.index != index(link))
            }
            Step::SetUp { link } | Step::SetDown { link } => self.raised.retain(|l| l.index != index(link)),
            Step::AddAddress { link, address } | Step::RemoveAddress { link, address } => {
                self.addresses.retain(|owned| owned.index != index(link) || owned.address != *address);
            }
            Step::AddRoute { route } | Step::RemoveRoute { route } => {
                self.routes.retain(|owned| Route::from(owned) != *route)
            }
            Step::SetMtu { link, .. } | Step::RestoreMtu { link, .. } => {
                self.mtus.retain(|mtu| mtu.index != index(link))
            }
            Step::WriteSysctl { name, .. } | Step::RestoreSysctl { name, .. } => {
                self.sysctls.remove(name);
            }
        }
    }
}
