//! The DNS server: a socket per network and worker that answers from names and cache in place, the forwarder for the rest, TCP beside it.

mod engine;
mod listeners;
mod tcp;
mod udp;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::forwarder::{Forwarder, Settings};
use super::pictures::Pictures;
use crate::config::{Config, Transport, Upstream};
use crate::model::Links;

pub use engine::Engine;
use listeners::Listeners;

const PORT: u16 = 53;
/// How often what could not be opened is tried again, and the health of the upstreams is told.
const ROUND: Duration = Duration::from_secs(2);

/// Serves DNS on every network until `token` ends. The cache outlives changes of the configuration.
///
/// # Errors
/// Where the runtime gives no threads.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    run_on(pictures, token, PORT).await
}

/// The same on another port.
///
/// # Errors
/// As [`run`].
pub async fn run_on(pictures: Arc<Pictures>, token: CancellationToken, port: u16) -> anyhow::Result<()> {
    let (mut configs, mut links, mut uplinks) =
        (pictures.config.subscribe(), pictures.links.subscribe(), pictures.uplink.subscribe());
    let settings = |before: Option<&Settings>| {
        let config = pictures.config.borrow().clone();
        let own = own_addresses(&config, &pictures.links.borrow());
        let learned = learned(&pictures, &own, port);
        (Settings::new(&config, learned, own, before), config)
    };
    let (first, config) = settings(None);
    let engine = Arc::new(Engine::new(pictures.clone(), &config, first)?);
    let forwarder = Forwarder::new(engine.clone(), tokio::runtime::Handle::current());
    let mut listeners = Listeners::new(engine.clone(), forwarder, port);
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let config = configs.borrow_and_update().clone();
        let present = links.borrow_and_update().clone();
        listeners.apply(&config, &present);
        tell(&pictures, &engine, &listeners);
        tokio::select! {
            () = token.cancelled() => break,
            _ = round.tick() => continue,
            changed = configs.changed() => changed?,
            changed = links.changed() => changed?,
            changed = uplinks.changed() => changed?,
        }
        uplinks.mark_unchanged();
        let (new, config) = settings(Some(&engine.settings.load()));
        engine.apply(&config, new);
    }
    listeners.close();
    Ok(())
}

/// The router's addresses on all networks and on the uplink.
fn own_addresses(config: &Config, links: &Links) -> Vec<Ipv4Addr> {
    let mut own: Vec<Ipv4Addr> = config.networks.iter().map(|network| network.router()).collect();
    let wan = config.wan.as_ref().and_then(|wan| links.by_name.get(&wan.interface));
    own.extend(wan.into_iter().flat_map(|link| link.addresses.iter().map(|address| address.addr())));
    own
}

/// The resolvers that the uplink learned, without ourselves.
fn learned(pictures: &Pictures, own: &[Ipv4Addr], port: u16) -> Vec<Upstream> {
    let uplink = pictures.uplink.borrow().clone();
    let others = uplink.resolvers.iter().filter(|address| port != PORT || !own.contains(address));
    others.map(|&address| Upstream { transport: Transport::Udp, server: (address, PORT).into() }).collect()
}

fn tell(pictures: &Pictures, engine: &Engine, listeners: &Listeners) {
    let (upstreams, words) = engine.settings.load().upstream_health();
    let (open, wanted) = listeners.count();
    let words = format!("answers on {open} of {wanted} networks; {words}; {} answers cached", engine.cached());
    pictures.report("dns", upstreams && open == wanted, words);
}

#[cfg(test)]
mod tests;
