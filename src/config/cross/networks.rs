//! Networks against each other and the uplink.

use std::collections::HashMap;
use std::sync::Arc;

use super::pools;
use crate::config::context::Context;
use crate::config::decode::{NetworkDraft, WanDraft};
use crate::config::source::{At, Span};

/// Checks the networks among themselves, and makes the only one of a file its admin network.
pub(in crate::config) fn networks(
    context: &mut Context,
    networks: &mut [NetworkDraft],
    wan: Option<&WanDraft>,
    table: Option<Span>,
) {
    interfaces(context, networks, wan);
    overlaps(context, networks);
    for network in networks.iter() {
        pools::pools(context, network);
    }
    admin(context, networks, table);
}

fn interfaces(context: &mut Context, networks: &[NetworkDraft], wan: Option<&WanDraft>) {
    let mut owners: HashMap<Arc<str>, (String, Span)> = HashMap::new();
    if let Some(interface) = wan.and_then(|wan| wan.interface.as_ref()) {
        owners.insert(interface.value.clone(), ("the uplink".to_owned(), interface.span));
    }
    for network in networks {
        let owner = format!("the network `{}`", network.name);
        let bridge = network.bridge.iter().map(|name| At { value: name.clone(), span: network.span });
        for interface in network.interfaces.iter().cloned().chain(bridge) {
            let Some((first_owner, first)) = owners.get(&interface.value) else {
                owners.insert(interface.value, (owner.clone(), interface.span));
                continue;
            };
            context
                .error("interface-twice", interface.span, format!("two have the interface {}", interface.value))
                .label(format!("given again to {owner}"))
                .also(*first, format!("first given to {first_owner}"))
                .help("an interface belongs to one network; a VLAN such as `eth1.20` makes several of one port");
        }
    }
}

/// Sorted by start, a network can only overlap one whose end was furthest so far.
fn overlaps(context: &mut Context, networks: &[NetworkDraft]) {
    let mut ranges: Vec<(u32, u32, usize)> = networks
        .iter()
        .enumerate()
        .filter_map(|(index, network)| {
            let net = network.address.as_ref()?.value;
            Some((net.network().into(), net.broadcast().into(), index))
        })
        .collect();
    ranges.sort_unstable();
    let mut furthest: Option<(u32, usize)> = None;
    for (start, end, index) in ranges {
        if let Some((reach, other)) = furthest
            && start <= reach
        {
            overlap(context, &networks[index.min(other)], &networks[index.max(other)]);
        }
        if furthest.is_none_or(|(reach, _)| end > reach) {
            furthest = Some((end, index));
        }
    }
}

fn overlap(context: &mut Context, earlier: &NetworkDraft, later: &NetworkDraft) {
    let (Some(one), Some(other)) = (&earlier.address, &later.address) else { return };
    context
        .error(
            "overlapping-networks",
            other.span,
            format!("the networks `{}` and `{}` share addresses", earlier.name, later.name),
        )
        .label(format!("{} overlaps", other.value.trunc()))
        .also(one.span, format!("{} is `{}`", one.value.trunc(), earlier.name))
        .help("give each network a range of its own, as in `192.168.20.1/24`");
}

fn admin(context: &mut Context, networks: &mut [NetworkDraft], table: Option<Span>) {
    let refuse = |context: &mut Context, span: Span| {
        context
            .error("no-admin", span, "nobody could reach this router")
            .label("no network has `admin = true`")
            .help("write `admin = true` in the network you sit in: it may reach SSH on the router");
    };
    match networks {
        [] => {
            context
                .error("no-network", table.unwrap_or_default(), "there is no network")
                .help("a router needs at least `[network.lan]` with `interface` and `address`");
        }
        [only] => match &only.admin {
            None => only.admin = Some(At { value: true, span: only.span }),
            Some(admin) if !admin.value => refuse(context, admin.span),
            Some(_) => {}
        },
        [..] => {
            if !networks.iter().any(|network| network.admin.as_ref().is_some_and(|admin| admin.value)) {
                refuse(context, networks[0].span);
            }
        }
    }
}
