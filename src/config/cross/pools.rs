//! The pools of one network.

use std::net::Ipv4Addr;

use crate::config::context::Context;
use crate::config::decode::{NetworkDraft, PoolDraft};

/// Checks the pools that the file gives; the default pool steps around everything by itself.
pub(super) fn pools(context: &mut Context, network: &NetworkDraft) {
    let Some(scope) = &network.dhcp else { return };
    let ordinary = scope.pools.iter().flatten();
    let private = scope.private_mac.iter().flat_map(|(pools, _)| pools);
    let mut all: Vec<&PoolDraft> = ordinary.chain(private).collect();
    for pool in &all {
        place_in_network(context, network, pool);
    }
    all.sort_by_key(|pool| (*pool.value.start(), *pool.value.end()));
    let mut furthest: Option<&PoolDraft> = None;
    for pool in all {
        if let Some(other) = furthest
            && pool.value.start() <= other.value.end()
        {
            let (first, second) = if other.span < pool.span { (other, pool) } else { (pool, other) };
            let shared = pool.value.start();
            context
                .error("pool-overlap", second.span, format!("two pools hold {shared}"))
                .label("overlaps")
                .also(first.span, "first given")
                .help("make them one range, or keep them apart");
        }
        if furthest.is_none_or(|other| pool.value.end() > other.value.end()) {
            furthest = Some(pool);
        }
    }
}

fn place_in_network(context: &mut Context, network: &NetworkDraft, pool: &PoolDraft) {
    let Some(address) = &network.address else { return };
    let net = address.value;
    let (first, last) = (*pool.value.start(), *pool.value.end());
    let outside = [first, last].into_iter().find(|address| !net.contains(address));
    if let Some(outside) = outside {
        context
            .error("pool-outside-network", pool.span, format!("the pool holds {outside}, outside {}", net.trunc()))
            .label(format!("not in `{}`", network.name))
            .also(address.span, "the network's range")
            .help(format!(
                "the network has room from {} to {}",
                following(net.network(), 1),
                following(net.broadcast(), -1)
            ));
        return;
    }
    let edge = |context: &mut Context, what: &str, edge: Ipv4Addr| {
        context
            .error("pool-contains-edge", pool.span, format!("the pool holds {edge}, the {what} address of its network"))
            .also(address.span, "the network's range")
            .help(format!("hosts have {} to {}", following(net.network(), 1), following(net.broadcast(), -1)));
    };
    if first == net.network() {
        edge(context, "network", first);
    }
    if last == net.broadcast() {
        edge(context, "broadcast", last);
    }
    if pool.value.contains(&net.addr()) {
        context
            .error(
                "pool-contains-router",
                pool.span,
                format!("the pool holds {}, the router's own address", net.addr()),
            )
            .also(address.span, "the router's address")
            .help("write a list of two ranges that leave it out");
    }
}

fn following(address: Ipv4Addr, by: i64) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address).saturating_add_signed(i32::try_from(by).unwrap_or(0)))
}
