//! The difference between the kernel and the wish.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::Ipv4Net;

use super::owned::{Owned, name_now};
use super::{LinkPlan, NetworkPlan, Origin};
use crate::config::InterfaceName;
use crate::model::{Link, Links, Route};

/// The kernel as it stands, and what of it is ours.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Interfaces, addresses, routes.
    pub links: &'a Links,
    /// Kernel settings that can be read, by path.
    pub sysctls: &'a BTreeMap<String, String>,
    /// What labgate put there.
    pub owned: &'a Owned,
    /// Links (by number) that were up under our eyes: one of them that is down now was set down by somebody's hand, and stays so.
    pub seen_up: &'a BTreeSet<u32>,
    /// Whether the ruleset is in the kernel, so that forwarding may begin.
    pub closed: bool,
}

/// One change of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a bridge.
    CreateBridge {
        /// Its name.
        name: InterfaceName,
    },
    /// Makes an 802.1Q sub-interface.
    CreateVlan {
        /// Its name.
        name: InterfaceName,
        /// The interface below.
        parent: InterfaceName,
        /// VLAN identifier.
        id: u16,
    },
    /// Puts a link into a bridge.
    SetMaster {
        /// The member.
        link: InterfaceName,
        /// The bridge.
        master: InterfaceName,
    },
    /// Takes a link out of its bridge.
    ClearMaster {
        /// The member.
        link: InterfaceName,
    },
    /// Sets a link up.
    SetUp {
        /// The link.
        link: InterfaceName,
    },
    /// Sets a link down that we had set up.
    SetDown {
        /// The link.
        link: InterfaceName,
    },
    /// Changes the MTU of a link.
    SetMtu {
        /// The link.
        link: InterfaceName,
        /// The new MTU.
        mtu: u32,
    },
    /// Puts the MTU back.
    RestoreMtu {
        /// The link.
        link: InterfaceName,
        /// The MTU it had.
        mtu: u32,
    },
    /// Adds an address.
    AddAddress {
        /// The link.
        link: InterfaceName,
        /// The address.
        address: Ipv4Net,
    },
    /// Removes an address of ours.
    RemoveAddress {
        /// The link.
        link: InterfaceName,
        /// The address.
        address: Ipv4Net,
    },
    /// Adds a route.
    AddRoute {
        /// The route.
        route: Route,
    },
    /// Removes a route of ours.
    RemoveRoute {
        /// The route.
        route: Route,
    },
    /// Deletes a link we made.
    DeleteLink {
        /// The link.
        link: InterfaceName,
    },
    /// Writes a kernel setting.
    WriteSysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// The value.
        value: String,
        /// The link it belongs to.
        link: Option<InterfaceName>,
    },
    /// Puts a kernel setting back.
    RestoreSysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// The value it had.
        value: String,
    },
}

impl Step {
    /// The link the step is about.
    pub fn link(&self) -> Option<&str> {
        match self {
            Step::CreateBridge { name: link }
            | Step::CreateVlan { name: link, .. }
            | Step::SetMaster { link, .. }
            | Step::ClearMaster { link }
            | Step::SetUp { link }
            | Step::SetDown { link }
            | Step::SetMtu { link, .. }
            | Step::RestoreMtu { link, .. }
            | Step::AddAddress { link, .. }
            | Step::RemoveAddress { link, .. }
            | Step::DeleteLink { link } => Some(link),
            Step::AddRoute { route } | Step::RemoveRoute { route } => Some(&route.link),
            Step::WriteSysctl { link, .. } => link.as_deref(),
            Step::RestoreSysctl { .. } => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateBridge { name } => write!(f, "make the bridge {name}"),
            Step::CreateVlan { name, parent, id } => write!(f, "make {name}, VLAN {id} on {parent}"),
            Step::SetMaster { link, master } => write!(f, "put {link} into {master}"),
            Step::ClearMaster { link } => write!(f, "take {link} out of its bridge"),
            Step::SetUp { link } => write!(f, "set {link} up"),
            Step::SetDown { link } => write!(f, "set {link} down again"),
            Step::SetMtu { link, mtu } => write!(f, "set the MTU of {link} to {mtu}"),
            Step::RestoreMtu { link, mtu } => write!(f, "set the MTU of {link} back to {mtu}"),
            Step::AddAddress { link, address } => write!(f, "add {address} to {link}"),
            Step::RemoveAddress { link, address } => write!(f, "remove {address} from {link}"),
            Step::AddRoute { route } => write!(f, "add {}", ShownRoute(route)),
            Step::RemoveRoute { route } => write!(f, "remove {}", ShownRoute(route)),
            Step::DeleteLink { link } => write!(f, "delete {link}"),
            Step::WriteSysctl { name, value, .. } => write!(f, "set {name} to {value}"),
            Step::RestoreSysctl { name, value } => write!(f, "set {name} back to {value}"),
        }
    }
}

struct ShownRoute<'a>(&'a Route);

impl fmt::Display for ShownRoute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.destination.prefix_len() {
            0 => write!(f, "the default route")?,
            _ => write!(f, "the route to {}", self.0.destination)?,
        }
        if let Some(gateway) = self.0.gateway {
            write!(f, " through {gateway}")?;
        }
        write!(f, " on {}", self.0.link)
    }
}

/// What can be done now to bring the kernel closer to the plan. Steps that need the outcome of others come in a later round: ask again
/// with the kernel as it then is, until nothing is left.
pub fn steps(plan: &NetworkPlan, kernel: Kernel<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for wish in &plan.links {
        match kernel.links.by_name.get(&wish.name) {
            None => steps.extend(creation(wish, kernel.links)),
            Some(link) => bring_closer(wish, link, kernel, &mut steps),
        }
    }
    change_routes(plan, kernel, &mut steps);
    write_sysctls(plan, kernel, &mut steps);
    take_out(plan, kernel, &mut steps);
    steps
}

fn creation(wish: &LinkPlan, links: &Links) -> Option<Step> {
    match &wish.origin {
        Origin::Machine => None,
        Origin::Bridge => Some(Step::CreateBridge { name: wish.name.clone() }),
        Origin::Vlan { parent, id } => links.by_name.contains_key(parent).then(|| Step::CreateVlan {
            name: wish.name.clone(),
            parent: parent.clone(),
            id: *id,
        }),
    }
}

fn bring_closer(wish: &LinkPlan, link: &Link, kernel: Kernel<'_>, steps: &mut Vec<Step>) {
    let name = &wish.name;
    let ours = kernel.owned.members.iter().find(|member| member.index == link.index);
    match (&wish.master, &link.master) {
        (Some(master), None) if kernel.links.by_name.contains_key(master) => {
            steps.push(Step::SetMaster { link: name.clone(), master: master.clone() });
        }
        // Only out of a bridge that we put it into.
        (wanted, Some(now)) if wanted.as_ref() != Some(now) && ours.is_some_and(|member| *member.master == **now) => {
            steps.push(Step::ClearMaster { link: name.clone() });
        }
        _ => {}
    }
    if !link.up && !kernel.seen_up.contains(&link.index) {
        steps.push(Step::SetUp { link: name.clone() });
    }
    for address in wish.addresses.iter().filter(|address| !link.addresses.contains(address)) {
        steps.push(Step::AddAddress { link: name.clone(), address: *address });
    }
    if let Some(mtu) = wish.mtu.filter(|mtu| *mtu != link.mtu) {
        steps.push(Step::SetMtu { link: name.clone(), mtu });
    }
}

/// The kernel knows a route by destination and metric, so that ours goes before the one that replaces it comes.
fn change_routes(plan: &NetworkPlan, kernel: Kernel<'_>, steps: &mut Vec<Step>) {
    for owned in &kernel.owned.routes {
        let route = Route::from(owned);
        let undecided = plan.undecided.as_deref() == Some(&*owned.link);
        if !undecided && !plan.routes.contains(&route) && kernel.links.routes.contains(&route) {
            steps.push(Step::RemoveRoute { route });
        }
    }
    for route in &plan.routes {
        let ready = kernel.links.by_name.get(&route.link).is_some_and(|link| link.up && !link.addresses.is_empty());
        if ready && !kernel.links.routes.contains(route) && rival(route, kernel).is_none() {
            steps.push(Step::AddRoute { route: route.clone() });
        }
    }
}

/// A route to the same destination that somebody else has set.
fn rival<'a>(route: &Route, kernel: Kernel<'a>) -> Option<&'a Route> {
    kernel.links.routes.iter().find(|other| {
        other.destination == route.destination
            && other.metric == route.metric
            && *other != route
            && !kernel.owned.routes.iter().any(|owned| Route::from(owned) == **other)
    })
}

fn write_sysctls(plan: &NetworkPlan, kernel: Kernel<'_>, steps: &mut Vec<Step>) {
    for wish in &plan.sysctls {
        let now = kernel.sysctls.get(&wish.name);
        let possible = wish.link.as_ref().is_none_or(|link| kernel.links.by_name.contains_key(link));
        if possible && (kernel.closed || !wish.once_closed) && now.is_some_and(|now| now != wish.value) {
            steps.push(Step::WriteSysctl {
                name: wish.name.clone(),
                value: wish.value.to_owned(),
                link: wish.link.clone(),
            });
        }
    }
}

/// What is ours and no longer wished for. An address goes only when what replaces it is there.
fn take_out(plan: &NetworkPlan, kernel: Kernel<'_>, steps: &mut Vec<Step>) {
    let undecided = |name: &str| plan.undecided.as_deref() == Some(name);
    for owned in &kernel.owned.addresses {
        let Some(name) = name_now(kernel.links, owned.index) else { continue };
        let wished = plan.find(&name).is_some_and(|link| link.addresses.contains(&owned.address));
        let replacing = steps.iter().any(|step| matches!(step, Step::AddAddress { link, .. } if *link == name));
        if !wished && !replacing && !undecided(&name) {
            steps.push(Step::RemoveAddress { link: name, address: owned.address });
        }
    }
    for owned in &kernel.owned.mtus {
        let Some(name) = name_now(kernel.links, owned.index) else { continue };
        if plan.find(&name).is_none_or(|link| link.mtu.is_none()) && !undecided(&name) {
            steps.push(Step::RestoreMtu { link: name, mtu: owned.before });
        }
    }
    for owned in &kernel.owned.members {
        let Some(name) = name_now(kernel.links, owned.index) else { continue };
        if plan.find(&name).is_none() {
            steps.push(Step::ClearMaster { link: name });
        }
    }
    for owned in &kernel.owned.links {
        let Some(name) = name_now(kernel.links, owned.index) else { continue };
        if plan.find(&name).is_none() {
            steps.push(Step::DeleteLink { link: name });
        }
    }
    for (name, before) in &kernel.owned.sysctls {
        let gone = !plan.sysctls.iter().any(|wish| wish.name == *name);
        if gone && kernel.sysctls.contains_key(name) {
            steps.push(Step::RestoreSysctl { name: name.clone(), value: before.clone() });
        }
    }
}

/// What keeps each network from being as wished and that no step can mend: `(network, sentence)`.
pub fn obstacles(plan: &NetworkPlan, kernel: Kernel<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for wish in &plan.links {
        let mut say = |words: String| found.push((wish.network.to_string(), words));
        match kernel.links.by_name.get(&wish.name) {
            None if wish.origin == Origin::Machine => say(format!("{} is not there; waiting", wish.name)),
            Some(link) if !link.up && kernel.seen_up.contains(&link.index) => {
                say(format!("{} was set down by hand; `ip link set {} up` brings it back", wish.name, wish.name));
            }
            Some(link) => {
                if let (Some(wanted), Some(now)) = (&wish.master, &link.master)
                    && wanted != now
                    && !kernel.owned.members.iter().any(|member| member.index == link.index)
                {
                    say(format!(
                        "{} is a member of {now}, which labgate did not make; take it out (`ip link set {} nomaster`)",
                        wish.name, wish.name
                    ));
                }
            }
            None => {}
        }
    }
    for route in &plan.routes {
        if let (Some(rival), Some(link)) = (rival(route, kernel), plan.find(&route.link)) {
            found.push((link.network.to_string(), format!("{} was there before; remove it", ShownRoute(rival))));
        }
    }
    found
}
