//! The server: messages in, outputs out, no clock and no socket of its own.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::choose::Contest;
use super::code::MessageType;
use super::counters::{Counters, Dropped};
use super::message::Message;
use super::output::{EndReason, Ended, Event, Output};
use super::scope::{Plan, Scope};
use super::table::{Slot, Table};
use super::{host_name, newcomers};
use crate::config::Config;
use crate::model::{Binding, ClientKey, MacAddr, Now};

/// A datagram as it came in on port 67.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Index into [`Config::networks`] of the network whose interface it came in on.
    pub network: usize,
    /// Its sender.
    pub source: SocketAddrV4,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// The DHCPv4 server of all networks (RFC 2131).
///
/// **Call [`Server::poll_output`] until it gives `None` after every `handle_…` and [`Server::apply`], and then arm a timer for
/// [`Server::poll_timeout`].** No input fails: what cannot be served is counted.
#[derive(Debug)]
pub struct Server {
    pub(super) plan: Arc<Plan>,
    pub(super) table: Table,
    pub(super) counters: Counters,
    pub(super) outputs: VecDeque<Output>,
    pub(super) newcomers: Vec<newcomers::Limit>,
    /// Addresses withheld, oldest first, by network.
    pub(super) withheld: Vec<VecDeque<u32>>,
    pub(super) contests: HashMap<u32, Contest>,
    pub(super) last: Now,
}

/// The client of one message.
pub(super) struct Client<'m> {
    pub key: ClientKey,
    pub mac: Option<MacAddr>,
    /// Index of its `[host]` entry.
    pub host: Option<usize>,
    pub fqdn: Option<host_name::Fqdn>,
    pub message: &'m Message<'m>,
    /// Behind a relay agent, where ARP does not reach.
    pub relayed: bool,
    pub source: Ipv4Addr,
}

/// An address that a client or a stranger spoiled is withheld for this long.
const PROBATION: Duration = Duration::from_secs(3600);
/// At most this part of a network's addresses is withheld at a time, so that declining them all empties no pool.
const WITHHELD_SHARE: usize = 4;

impl Server {
    /// A server that goes on with the leases of a store.
    pub fn new(config: &Config, stored: Vec<Binding>, seed: u64, now: Now) -> Self {
        let mut server = Server {
            plan: Arc::default(),
            table: Table::new(seed),
            counters: Counters::default(),
            outputs: VecDeque::new(),
            newcomers: Vec::new(),
            withheld: Vec::new(),
            contests: HashMap::new(),
            last: now,
        };
        server.take_plan(config);
        server.restore(stored, now);
        server
    }

    /// Goes on with a new configuration. No lease is lost: one that the file no longer permits ends when its client renews.
    pub fn apply(&mut self, config: &Config, now: Now) {
        self.observe(now);
        self.take_plan(config);
        self.rename_networks();
    }

    fn take_plan(&mut self, config: &Config) {
        let mut plan = Plan::new(config);
        let pools = std::mem::take(&mut plan.pools);
        self.table.set_pools(pools, plan.hosts.clone());
        self.newcomers = vec![newcomers::Limit::default(); plan.scopes.len()];
        let mut withheld = vec![VecDeque::new(); plan.scopes.len()];
        for address in self.withheld.drain(..).flatten() {
            if let Some(scope) = plan.scope_of(address) {
                withheld[scope.network].push_back(address);
            }
        }
        self.withheld = withheld;
        self.plan = Arc::new(plan);
    }

    /// Takes a datagram.
    pub fn handle_message(&mut self, received: Received<'_>, now: Now) {
        self.observe(now);
        let message = match Message::parse(received.bytes) {
            Ok(message) => message,
            Err(reason) => return self.counters.count_dropped(reason),
        };
        self.counters.count_received(message.kind);
        let plan = Arc::clone(&self.plan);
        let Some(scope) = plan.scopes.get(received.network).and_then(Option::as_ref) else {
            return self.counters.count_dropped(Dropped::NotServed);
        };
        if let Err(reason) = self.dispatch(scope, &message, *received.source.ip(), now) {
            self.counters.count_dropped(reason);
        }
    }

    fn dispatch(&mut self, scope: &Scope, message: &Message<'_>, source: Ipv4Addr, now: Now) -> Result<(), Dropped> {
        let relayed = !message.giaddr.is_unspecified();
        if relayed && !is_plain_relay(scope, message, source) {
            return Err(Dropped::Relay);
        }
        let (key, mac) = (message.client_key(), message.mac());
        let host = self.plan.hosts.find(mac, key.identifier());
        if scope.known_only && host.is_none() {
            return Err(Dropped::UnknownClient);
        }
        let fqdn = host_name::Fqdn::read(message);
        let client = Client { key, mac, host, fqdn, message, relayed, source };
        match message.kind {
            MessageType::Discover => self.discover(scope, &client, now),
            MessageType::Request => self.request(scope, &client, now),
            MessageType::Decline => self.decline(scope, &client, now),
            MessageType::Release => self.release(scope, &client, now),
            MessageType::Inform => self.inform(scope, &client),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => Err(Dropped::ServerMessage),
        }
    }

    /// Somebody with this hardware address answered for an address that was probed.
    pub fn handle_conflict(&mut self, address: Ipv4Addr, mac: MacAddr, now: Now) {
        self.observe(now);
        let plan = Arc::clone(&self.plan);
        let Some(scope) = plan.scope_of(address.into()) else { return };
        let (stranger, offered) = match self.table.get(address.into()) {
            Some(Slot::Offered(offer)) => (offer.mac != Some(mac), true),
            Some(Slot::Live(binding)) => (binding.mac != Some(mac), false),
            _ => (true, false),
        };
        self.contest_answered(address.into());
        if !stranger {
            return;
        }
        self.outputs.push_back(Output::Event(Event::Conflict { network: scope.name.clone(), address, mac }));
        if offered {
            self.withhold(scope, address.into(), now);
        }
    }

    /// Withholds an address, unless it is reserved: a reserved host is always served.
    pub(super) fn withhold(&mut self, scope: &Scope, address: u32, now: Now) -> bool {
        if self.plan.hosts.reserved_for(address).is_some() {
            return false;
        }
        let until = Box::new(now.instant + PROBATION);
        self.table.set(address, Some(Slot::Quarantined(until)));
        let (size, _) = self.table.room(&[&scope.pools[..], &scope.private[..]].concat());
        let withheld = &mut self.withheld[scope.network];
        withheld.push_back(address);
        if withheld.len() > (size / WITHHELD_SHARE).max(1)
            && let Some(oldest) = withheld.pop_front()
            && matches!(self.table.get(oldest), Some(Slot::Quarantined(_)))
        {
            self.table.set(oldest, None);
        }
        true
    }

    /// A lease by which its client moves ([`super::Grant::moves`]) is durable: the client leaves its other addresses of the network.
    pub fn handle_committed(&mut self, binding: &Binding, now: Now) {
        self.observe(now);
        let plan = Arc::clone(&self.plan);
        if let Some(scope) = plan.scope_of(binding.address.into()) {
            self.leave_others(scope, binding, now);
        }
    }

    /// The store could not keep this lease and the client was not told: it never was.
    pub fn handle_uncommitted(&mut self, binding: &Arc<Binding>, now: Now) {
        self.observe(now);
        self.counters.count_dropped(Dropped::NotDurable);
        let address = binding.address.into();
        if matches!(self.table.get(address), Some(Slot::Live(live)) if Arc::ptr_eq(live, binding)) {
            self.table.set(address, None);
        }
    }

    /// Ends what has run out.
    pub fn handle_timeout(&mut self, now: Now) {
        self.observe(now);
        while let Some(address) = self.table.due(now.instant) {
            match self.table.get(address).cloned() {
                Some(Slot::Live(binding)) => {
                    self.table.set(address, Some(Slot::Past(binding.clone())));
                    self.outputs.push_back(Output::Ended(Ended { binding, reason: EndReason::Expired }));
                }
                Some(Slot::Offered(offer)) => {
                    self.table.set(address, offer.former.map(Slot::Past));
                }
                Some(Slot::Quarantined(_)) => {
                    self.table.set(address, None);
                    self.withheld.iter_mut().for_each(|withheld| withheld.retain(|found| *found != address));
                }
                Some(Slot::Past(_)) | None => {}
            }
        }
    }

    /// When [`Server::handle_timeout`] is wanted next, on [`Now::instant`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.table.next_timer()
    }

    /// The next effect.
    pub fn poll_output(&mut self) -> Option<Output> {
        let forgotten = &mut self.table.forgotten;
        let forget = || (!forgotten.is_empty()).then(|| Output::Forgotten(std::mem::take(forgotten)));
        self.outputs.pop_front().or_else(forget)
    }

    /// What came in, went out, and was dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All live leases, in no order.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.table.bindings()
    }

    /// How many leases are live.
    pub fn live(&self) -> usize {
        self.table.live()
    }
}

/// Relay agents are not configured; but a relay that stands on the network itself, speaks with its own address and puts that address into
/// `giaddr`, serves clients of the same network. Anything else (an address of another network, our own, somebody else's) is no relay.
fn is_plain_relay(scope: &Scope, message: &Message<'_>, source: Ipv4Addr) -> bool {
    message.giaddr == source && scope.prefix.contains(&source) && source != scope.router && message.hops <= 16
}
