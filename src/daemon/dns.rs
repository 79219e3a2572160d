//! The DNS server: a socket per network and worker that answers from names and cache in place, the forwarder for the rest, TCP beside it.

mod engine;
mod listeners;
mod tcp;
mod udp;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::forwarder::{Forwarder, Outside, Settings};
use super::pictures::Pictures;
use crate::config::{Config, Transport, Upstream};
use crate::linux::{clock, dns_socket};
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
    let descriptors = dns_socket::raise_descriptor_limit();
    let (mut configs, mut links, mut uplinks) =
        (pictures.config.subscribe(), pictures.links.subscribe(), pictures.uplink.subscribe());
    let config = configs.borrow_and_update().clone();
    let engine =
        Arc::new(Engine::new(pictures.clone(), &config, Settings::new(&config, Vec::new(), Vec::new(), None))?);
    let forwarder = Forwarder::new(engine.clone(), tokio::runtime::Handle::current(), descriptors);
    let mut listeners = Listeners::new(engine.clone(), forwarder.clone(), port);
    let mut resolved = pictures.resolved.subscribe();
    let mut outside = Outside::default();
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut changed = true;
    loop {
        // What is read here is what counts until the next change: none can be lost in between.
        let config = configs.borrow_and_update().clone();
        let present = links.borrow_and_update().clone();
        let resolvers = uplinks.borrow_and_update().resolvers.clone();
        if changed {
            let own = own_addresses(&config, &present);
            let learned = learned(&resolvers, &own);
            let settings = Settings::new(&config, learned, own, Some(&engine.settings.load()));
            engine.apply(&config, settings);
        }
        listeners.apply(&config, &present);
        tell(&pictures, &engine, &listeners);
        let known = resolved.borrow_and_update().clone();
        let next = outside.round(&forwarder, &config, &known, changed);
        changed = tokio::select! {
            () = token.cancelled() => break,
            _ = round.tick() => false,
            () = tokio::time::sleep_until(clock::deadline(next)) => false,
            ended = resolved.changed() => ended.map(|()| false)?,
            ended = configs.changed() => ended.map(|()| true)?,
            ended = links.changed() => ended.map(|()| true)?,
            ended = uplinks.changed() => ended.map(|()| true)?,
        };
    }
    listeners.close();
    outside.finish(&pictures);
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
fn learned(resolvers: &[Ipv4Addr], own: &[Ipv4Addr]) -> Vec<Upstream> {
    let others = resolvers.iter().filter(|address| !own.contains(address));
    others.map(|&address| Upstream { transport: Transport::Udp, server: (address, PORT).into() }).collect()
}

fn tell(pictures: &Pictures, engine: &Engine, listeners: &Listeners) {
    let (upstreams, words) = engine.settings.load().upstream_health();
    let (open, wanted) = listeners.count();
    let words = format!("answers on {open} of {wanted} networks; {words}");
    pictures.report("dns", upstreams && open == wanted, words);
}

#[cfg(test)]
mod tests;
