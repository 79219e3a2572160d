//! Which sockets are open: one place per network, reopened when the interface under it was made anew.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::thread::available_parallelism;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::tcp::{self, Connections};
use super::udp::{Scope, Worker};
use crate::config::{Config, Network};
use crate::daemon::forwarder::Forwarder;
use crate::linux::dns_socket::{self, Place};
use crate::model::Links;

/// More workers per network than that serve no home.
const MOST_WORKERS: usize = 4;

pub(super) struct Listeners {
    engine: Arc<Engine>,
    forwarder: Arc<Forwarder>,
    connections: Arc<Connections>,
    port: u16,
    open: HashMap<Arc<str>, Listener>,
    wanted: usize,
}

struct Listener {
    place: Place,
    /// The kernel's number of the interface; another one means that it was made anew, and the old socket hears nothing.
    link: Option<u32>,
    scope: Arc<ArcSwap<Scope>>,
    workers: Vec<Worker>,
    tcp: CancellationToken,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tcp.cancel();
        for worker in &self.workers {
            worker.stop();
        }
    }
}

impl Listeners {
    pub(super) fn new(engine: Arc<Engine>, forwarder: Arc<Forwarder>, port: u16) -> Self {
        let connections = Arc::new(Connections::default());
        Listeners { engine, forwarder, connections, port, open: HashMap::new(), wanted: 0 }
    }

    /// How many networks are served, and how many should be.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.wanted)
    }

    /// Opens what is missing, closes what is no longer wanted, leaves the rest alone.
    pub(super) fn apply(&mut self, config: &Config, links: &Links) {
        self.wanted = config.networks.len();
        let gone: Vec<_> =
            self.open.keys().filter(|name| !config.networks.iter().any(|n| n.name == **name)).cloned().collect();
        for name in gone {
            self.open.remove(&name);
            self.engine.pictures.forget_report(&format!("dns {name}"));
        }
        for (index, network) in config.networks.iter().enumerate() {
            let scope = Scope { network: index, subnet: network.address.trunc() };
            let place = Place {
                address: SocketAddrV4::new(network.router(), self.port),
                interface: Some(network.link().clone()),
            };
            let link = links.by_name.get(network.link()).map(|link| link.index);
            if link.is_none() && !links.by_name.is_empty() {
                self.open.remove(&network.name);
                let words = format!("waits for interface {}", network.link());
                self.engine.pictures.report(&format!("dns {}", network.name), false, words);
                continue;
            }
            if let Some(listener) = self.open.get(&network.name) {
                if listener.place == place && (link.is_none() || listener.link.is_none() || listener.link == link) {
                    if **listener.scope.load() != scope {
                        listener.scope.store(Arc::new(scope));
                    }
                    continue;
                }
                self.open.remove(&network.name);
            }
            self.open(network, place, link, scope);
        }
    }

    fn open(&mut self, network: &Network, place: Place, link: Option<u32>, scope: Scope) {
        let row = format!("dns {}", network.name);
        let pictures = &self.engine.pictures;
        match self.try_open(network, &place, link, scope) {
            Ok(listener) => {
                tracing::info!("dns: answers {} on {}", network.name, place.address);
                pictures.report(&row, true, format!("answers on {}", place.address));
                self.open.insert(network.name.clone(), listener);
            }
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {
                pictures.report(&row, false, format!("waits for interface {}", network.link()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let words = format!("{} is taken by another program; it is tried again", place.address);
                pictures.report(&row, false, words);
            }
            Err(error) => pictures.report(&row, false, format!("cannot listen on {}: {error}", place.address)),
        }
    }

    fn try_open(&self, network: &Network, place: &Place, link: Option<u32>, scope: Scope) -> std::io::Result<Listener> {
        let count = available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        // All sockets first: clients are divided among those that are open.
        let sockets = (0..count).map(|_| dns_socket::udp(place)).collect::<std::io::Result<Vec<_>>>()?;
        let stream = tokio::net::TcpListener::from_std(dns_socket::tcp(place)?)?;
        let scope = Arc::new(ArcSwap::from_pointee(scope));
        let mut listener = Listener {
            place: place.clone(),
            link,
            scope: scope.clone(),
            workers: Vec::with_capacity(count),
            tcp: CancellationToken::new(),
        };
        for socket in sockets {
            let (engine, forwarder) = (self.engine.clone(), self.forwarder.clone());
            listener.workers.push(Worker::start(&network.name, socket, scope.clone(), engine, forwarder)?);
        }
        let server = tcp::Server {
            engine: self.engine.clone(),
            forwarder: self.forwarder.clone(),
            connections: self.connections.clone(),
            scope,
        };
        tokio::spawn(server.accept(stream, listener.tcp.clone()));
        Ok(listener)
    }

    pub(super) fn close(&mut self) {
        self.open.clear();
    }
}
