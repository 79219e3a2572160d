//! The part that follows the leases.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::RESERVED;
use super::fixed::{below, host_of};
use crate::config::Config;
use crate::dns::wire::{NameBuf, WireName};
use crate::dns::{Claimed, FixedNames, Follower, LocalNames};
use crate::model::{Binding, Bindings, DomainName, SharedMap, is_ldh_label};

/// What happened to a name, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameEvent {
    /// A name answers.
    Published {
        /// The full name.
        name: WireName,
        /// With this address.
        address: Ipv4Addr,
    },
    /// A client may not have the name it sent.
    Refused {
        /// What it sent.
        label: Arc<str>,
        /// Its address.
        address: Ipv4Addr,
        /// Why.
        reason: Refused,
    },
    /// A name passed to the client that waited for it.
    Moved {
        /// The full name.
        name: WireName,
        /// Who had it.
        from: Ipv4Addr,
        /// Who has it now.
        to: Ipv4Addr,
    },
    /// A name no longer answers.
    Withdrawn {
        /// The full name.
        name: WireName,
        /// The address it had.
        address: Ipv4Addr,
    },
}

/// Why a client may not have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no host label.
    NoLabel,
    /// It is one of [`RESERVED`].
    Reserved,
    /// The configuration or a hosts file has it.
    Taken,
    /// Another client has it; this one gets it when that lease ends.
    Held {
        /// Who has it.
        by: Ipv4Addr,
    },
}

impl fmt::Display for NameEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameEvent::Published { name, address } => write!(f, "{name} is {address}"),
            NameEvent::Moved { name, from, to } => write!(f, "{name} moved from {from} to {to}, which waited for it"),
            NameEvent::Withdrawn { name, address } => write!(f, "{name} is no longer {address}: the lease has ended"),
            NameEvent::Refused { label, address, reason } => {
                write!(f, "the client at {address} may not be called {label:?}: ")?;
                match reason {
                    Refused::NoLabel => write!(f, "a host name is letters, digits and inner hyphens"),
                    Refused::Reserved => write!(f, "software trusts whoever has that name"),
                    Refused::Taken => write!(f, "the name belongs to the configuration or a hosts file"),
                    Refused::Held { by } => write!(f, "{by} has that name, it passes on when its lease ends"),
                }
            }
        }
    }
}

/// What one binding means for the names.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// No name at all.
    Nothing,
    /// A configured host on its fixed address: its names are in the fixed part.
    AtHome,
    /// A configured host with a fixed address, on another one: only the reverse name.
    Elsewhere(WireName),
    /// A configured host without a fixed address.
    Follows(Arc<str>, Follower, WireName),
    /// Another client.
    Claims(WireName),
    /// Another client, with a name it may not have.
    Refused(Arc<str>, Refused),
}

fn wish(fixed: &FixedNames, config: &Config, binding: &Binding) -> Wish {
    let network = config.networks.iter().find(|network| network.name == binding.network);
    let domain = network.map_or(&config.gateway.domain, |network| &network.domain);
    let full = |label: &str| below(&DomainName::parse(label).ok()?, domain);
    if let Some(host) = host_of(fixed, config, binding) {
        return match (host.ip, full(&host.name)) {
            (Some(address), _) if address == binding.address => Wish::AtHome,
            (Some(_), Some(name)) => Wish::Elsewhere(name),
            (None, Some(name)) => {
                let follower = Follower { address: binding.address, domain: WireName::new(domain) };
                Wish::Follows(host.name.clone(), follower, name)
            }
            (_, None) => Wish::Nothing,
        };
    }
    let Some(label) = binding.host_name.clone().filter(|label| !label.is_empty()) else { return Wish::Nothing };
    let Some(name) = full(&label).filter(|_| is_ldh_label(&label)) else {
        return Wish::Refused(label, Refused::NoLabel);
    };
    if RESERVED.contains(&&*label) {
        return Wish::Refused(label, Refused::Reserved);
    }
    // What is taken in one domain is taken in all, and bare: otherwise a client could pass for that host where domains are searched.
    let taken_in = |domain: &[u8]| {
        let mut taken = NameBuf::new();
        let whole = taken.push_label(label.as_bytes()).and_then(|()| taken.push_suffix(domain));
        whole.is_some() && fixed.is_taken(taken.as_bytes())
    };
    if taken_in(&[0]) || fixed.domains().iter().any(|domain| taken_in(domain.as_bytes())) {
        return Wish::Refused(label, Refused::Taken);
    }
    Wish::Claims(name)
}

fn withdraw(names: &mut LocalNames, config: &Config, binding: &Binding, events: &mut Vec<NameEvent>) {
    let address = binding.address;
    if let Some((_, holder)) = names.claim_of(address) {
        let Some((name, next)) = names.give_up(address) else { return };
        match next {
            Some(to) => events.push(NameEvent::Moved { name, from: address, to }),
            None if holder == address => events.push(NameEvent::Withdrawn { name, address }),
            None => {}
        }
    } else if let Some(host) = host_of(&names.fixed().clone(), config, binding) {
        if names.followers(&host.name).iter().any(|follower| follower.address == address) {
            let domain = config.networks.iter().find(|network| network.name == binding.network);
            let domain = domain.map_or(&config.gateway.domain, |network| &network.domain);
            if let Some(name) = DomainName::parse(&host.name).ok().and_then(|label| below(&label, domain)) {
                events.push(NameEvent::Withdrawn { name, address });
            }
        }
        names.unfollow(&host.name, address);
    }
}

fn grant(names: &mut LocalNames, config: &Config, binding: &Binding, events: &mut Vec<NameEvent>) {
    let address = binding.address;
    match wish(&names.fixed().clone(), config, binding) {
        Wish::Nothing | Wish::AtHome => {}
        Wish::Elsewhere(name) => names.set_reverse(address, Some(name)),
        Wish::Follows(host, follower, name) => {
            names.follow(&host, follower, name.clone());
            events.push(NameEvent::Published { name, address });
        }
        Wish::Claims(name) => match names.claim(address, name.clone()) {
            Claimed::Holds => events.push(NameEvent::Published { name, address }),
            Claimed::Waits { holder } => {
                let label = binding.host_name.clone().unwrap_or_default();
                events.push(NameEvent::Refused { label, address, reason: Refused::Held { by: holder } });
            }
        },
        Wish::Refused(label, reason) => events.push(NameEvent::Refused { label, address, reason }),
    }
}

/// Whether a change of a binding may change its names: a renewal does not.
fn same_names(older: &Binding, newer: &Binding) -> bool {
    (older.client == newer.client)
        && older.mac == newer.mac
        && older.network == newer.network
        && older.host_name == newer.host_name
}

/// The names after the leases changed from `older` to `newer`: costs what the change costs. The events are for the log.
pub fn publish(
    names: &LocalNames,
    config: &Config,
    older: &Bindings,
    newer: &Bindings,
) -> (LocalNames, Vec<NameEvent>) {
    publish_changes(names, config, SharedMap::difference(older, newer).into_iter().map(|(_, old, new)| (old, new)))
}

/// The same for one who knows what changed: what each binding was, and what it is.
pub fn publish_changes<'a>(
    names: &LocalNames,
    config: &Config,
    changes: impl Iterator<Item = (Option<&'a Arc<Binding>>, Option<&'a Arc<Binding>>)>,
) -> (LocalNames, Vec<NameEvent>) {
    let mut names = names.clone();
    let mut events = Vec::new();
    let mut begins = Vec::new();
    // What ends first makes room; what begins comes in the order of acknowledgement, so that the outcome does not hang on the map's order.
    for (old, new) in changes {
        if let (Some(old), Some(new)) = (old, new)
            && same_names(old, new)
        {
            continue;
        }
        if let Some(old) = old {
            withdraw(&mut names, config, old, &mut events);
        }
        begins.extend(new);
    }
    begins.sort_by_key(|binding| (binding.acknowledged_unix, binding.address));
    for binding in begins {
        grant(&mut names, config, binding, &mut events);
    }
    (names, events)
}

/// The names of a new configuration or new hosts files: everything anew, but who held a name before keeps it.
/// Only what differs from before is told.
pub fn rebuild(
    before: &LocalNames,
    fixed: FixedNames,
    config: &Config,
    bindings: &Bindings,
) -> (LocalNames, Vec<NameEvent>) {
    let mut names = LocalNames::new(fixed);
    let mut events = Vec::new();
    let mut all: Vec<&Arc<Binding>> = bindings.iter().map(|(_, binding)| binding).collect();
    all.sort_by_cached_key(|binding| {
        let holds = before.claim_of(binding.address).is_some_and(|(_, holder)| holder == binding.address);
        (!holds, binding.acknowledged_unix, binding.address)
    });
    for binding in all {
        grant(&mut names, config, binding, &mut events);
    }
    events.retain(|event| match event {
        NameEvent::Published { name, address } => {
            let held = before.find(name.as_bytes()).and_then(|local| local.lease);
            held != Some(*address) && before.claim_of(*address).is_none_or(|(old, _)| old != name)
        }
        _ => true,
    });
    (names, events)
}
