//! Asks upstreams, once for all who want the same, and puts what they say into the cache. Bounded in every direction: questions under way,
//! per domain, per client, and who waits for one of them.

mod exchange;
mod flights;
mod outside;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::config::{Config, Upstream};
use crate::daemon::dns::Engine;
use crate::dns::upstream::Servers;
use crate::dns::wire::{ExtendedError, Incoming, WireName, Writer, rcode, read_query};
use crate::dns::{Answer, Ask, Asker, Entry, Route, Zones, answer};
use crate::linux::{clock, dns_socket};
use crate::model::DomainName;

use flights::{Admission, Flights};
pub use outside::Outside;

/// The whole time for a question: below the five seconds after which clients give up.
const BUDGET: Duration = Duration::from_millis(3700);
/// The same where an expired answer is at hand (RFC 8767 §5).
const STALE_BUDGET: Duration = Duration::from_millis(1800);

/// What the running configuration means for answering.
#[derive(Debug)]
pub struct Settings {
    /// Who decides about which suffix.
    pub zones: Zones,
    /// `dns.upstream`, or what the uplink learned.
    upstream: Arc<Group>,
    /// By zone of `dns.forward`.
    forward: Vec<Arc<Group>>,
    /// The router's addresses, which no public name may have.
    own: Vec<Ipv4Addr>,
    /// The outside names that rules mention.
    outside: HashMap<WireName, DomainName>,
}

/// The servers of one route; their health survives a change of the configuration that leaves them as they are.
#[derive(Debug)]
pub(crate) struct Group {
    servers: Mutex<Servers>,
}

impl Group {
    fn new(upstreams: &[Upstream]) -> Arc<Self> {
        Arc::new(Group { servers: Mutex::new(Servers::new(upstreams)) })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Servers) -> R) -> R {
        act(&mut self.servers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Settings {
    /// Compiles the configuration; `learned` are the servers to ask where it names none, `own` the router's addresses.
    pub fn new(config: &Config, learned: Vec<Upstream>, own: Vec<Ipv4Addr>, before: Option<&Settings>) -> Self {
        let zones = Zones::new(config);
        let kept: Vec<Arc<Group>> = before.map(|old| old.groups().cloned().collect()).unwrap_or_default();
        let group = |upstreams: &[Upstream]| {
            let same = kept.iter().find(|group| group.with(|servers| servers.is_made_from(upstreams)));
            same.cloned().unwrap_or_else(|| Group::new(upstreams))
        };
        let upstreams = if config.dns.upstreams.is_empty() { &learned } else { &config.dns.upstreams };
        let upstream = group(upstreams);
        let forward = zones.forward.iter().map(|zone| group(&zone.servers)).collect();
        let names = config.outside_names.iter().map(|outside| &outside.name);
        let outside = names.map(|name| (WireName::new(name), name.clone())).collect();
        Settings { zones, upstream, forward, own, outside }
    }

    fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        [&self.upstream].into_iter().chain(&self.forward)
    }

    fn group(&self, route: Route) -> Option<&Arc<Group>> {
        match route {
            Route::Upstream => Some(&self.upstream),
            Route::Forward(index) => self.forward.get(index),
        }
    }

    /// A sentence about the upstreams, and whether they work.
    pub fn upstream_health(&self) -> (bool, String) {
        self.upstream.with(|servers| {
            if servers.is_empty() {
                return (
                    false,
                    "no upstream is known: set dns.upstream, or wait for the uplink to learn one".to_owned(),
                );
            }
            let failing: Vec<String> = servers.failing().map(|upstream| upstream.server.to_string()).collect();
            match failing.as_slice() {
                [] => (true, "upstreams answer".to_owned()),
                some => (!servers.all_fail(), format!("no answer from {}", some.join(", "))),
            }
        })
    }
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A datagram from the socket that was asked.
    Udp(Arc<UdpSocket>, SocketAddrV4),
    /// A message on a connection.
    Tcp(mpsc::Sender<Vec<u8>>),
    /// Nowhere: it is asked for what rules mention.
    Nowhere,
}

/// A client that waits for an upstream.
#[derive(Debug)]
pub struct Waiter {
    /// Its question, whole.
    pub message: Box<[u8]>,
    /// Who it is, for the answer.
    pub asker: Asker,
    /// Its address, for the limit per client.
    pub client: Ipv4Addr,
    /// Where the answer goes.
    pub reply: Reply,
}

impl Waiter {
    /// Somebody who wants upstreams to be asked, and hears of it by the pictures.
    fn nobody() -> Self {
        let asker = Asker { network: None, limit: 0 };
        Waiter { message: Box::default(), asker, client: Ipv4Addr::UNSPECIFIED, reply: Reply::Nowhere }
    }

    fn send(&self, out: &[u8]) {
        match &self.reply {
            _ if out.is_empty() => {}
            Reply::Udp(socket, to) => dns_socket::send(socket, *to, out),
            // A connection that does not take its answers has lost them; it is closed by its own task.
            Reply::Tcp(sender) => drop(sender.try_send(out.to_vec())),
            Reply::Nowhere => {}
        }
    }

    fn fail(&self, error: ExtendedError) {
        let Incoming::Query(query) = read_query(&self.message) else { return };
        let mut out = Vec::with_capacity(128);
        Writer::new(&query, &mut out).finish(&query, self.asker.limit, false, rcode::SERVFAIL, Some(error));
        self.send(&out);
    }
}

/// Asks upstreams for whoever missed the cache.
pub struct Forwarder {
    engine: Arc<Engine>,
    flights: Mutex<Flights>,
    runtime: Handle,
}

impl Forwarder {
    /// A forwarder that works on `runtime`, in a process that may open `descriptors`.
    pub fn new(engine: Arc<Engine>, runtime: Handle, descriptors: usize) -> Arc<Self> {
        Arc::new(Forwarder { engine, flights: Mutex::new(Flights::new(descriptors)), runtime })
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for `waiter`, or lets it wait for the same question that is already under way. Returns at once.
    pub fn ask(self: &Arc<Self>, ask: Ask, waiter: Waiter, settings: Arc<Settings>) {
        let admission = self.flights().admit(&ask, waiter);
        match admission {
            Admission::Joined => {}
            Admission::Refused(waiter) => self.answer_late(&waiter, None, &settings, ExtendedError::BUSY),
            Admission::First => {
                let flight = Flight { forwarder: self.clone(), ask, settings, landed: false };
                self.runtime.spawn(flight.fly());
            }
        }
    }

    /// Decides again, now that the cache or `entry` knows more; where that still does not answer, the client hears of the failure.
    fn answer_late(&self, waiter: &Waiter, entry: Option<&Entry>, settings: &Settings, error: ExtendedError) {
        let Incoming::Query(query) = read_query(&waiter.message) else { return };
        let names = self.engine.pictures.names.load();
        let now = clock::now().instant;
        let mut out = Vec::with_capacity(512);
        let cached = |key: &crate::dns::wire::Key| {
            let fresh = entry.filter(|entry| entry.key() == key.as_bytes());
            let failed = fresh.is_none_or(|entry| entry.rcode() == rcode::SERVFAIL);
            let kept = if failed { self.engine.look_up(key, now) } else { None };
            let kept = kept.map(|mut hit| {
                // Nobody else will say better now.
                if hit.freshness == crate::dns::cache::Freshness::Stale {
                    hit.freshness = crate::dns::cache::Freshness::StaleNow;
                }
                hit
            });
            kept.or_else(|| fresh.map(|entry| crate::dns::cache::Hit::fresh(entry.clone())))
        };
        match answer(&query, &waiter.asker, &names, &settings.zones, cached, &mut out) {
            Answer::Ready(_) => waiter.send(&out),
            Answer::Ask(_) => waiter.fail(error),
        }
    }
}

/// One question under way. Whatever becomes of it, those who wait are answered.
struct Flight {
    forwarder: Arc<Forwarder>,
    ask: Ask,
    settings: Arc<Settings>,
    landed: bool,
}

impl Flight {
    async fn fly(mut self) {
        let budget = if self.ask.stale { STALE_BUDGET } else { BUDGET };
        let entry = match self.settings.group(self.ask.route) {
            Some(group) => {
                let rebind = self.settings.zones.rebind_protection && self.ask.route == Route::Upstream;
                let rebind = rebind.then_some(&self.settings.own[..]);
                exchange::resolve(group, &self.ask.key, rebind, budget).await
            }
            None => exchange::failure(&self.ask.key, ExtendedError::NO_UPSTREAM),
        };
        outside::publish(&self.forwarder.engine.pictures, &self.settings, &self.ask, &entry).await;
        self.land(Some(entry));
    }

    fn land(&mut self, entry: Option<Entry>) {
        self.landed = true;
        if let Some(entry) = &entry {
            self.forwarder.engine.keep(entry.clone(), clock::now().instant);
        }
        // Only now, so that whoever comes between finds either the flight or the answer.
        let waiters = self.forwarder.flights().land(&self.ask);
        for waiter in &waiters {
            let error = ExtendedError::NO_REACHABLE_AUTHORITY;
            self.forwarder.answer_late(waiter, entry.as_ref(), &self.settings, error);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.land(None);
        }
    }
}
