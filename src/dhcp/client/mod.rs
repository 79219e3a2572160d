//! The uplink's DHCPv4 client (RFC 2131 §4.4) as a value: bytes and moments go in, bytes to send and leases come out. It knows no socket
//! and no clock; timers run on [`Now::instant`], so that a wall clock that jumps changes nothing.
//!
//! After every `handle_…` call [`Client::poll_output`] until `None`, then wait for a message or for [`Client::poll_timeout`].

mod encode;
mod probe;
mod reply;
mod state;

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::{MacAddr, Now};
pub use probe::{Offer, Probe};
use reply::Reply;
use state::{Exchange, Held, State};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hardware address of the uplink.
    pub mac: MacAddr,
    /// What is sent as host name (option 12).
    pub host_name: String,
}

/// What a server granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// Our address with the prefix length.
    pub address: Ipv4Net,
    /// The server that granted it; unspecified where it did not say.
    pub server: Ipv4Addr,
    /// For how many seconds; `u32::MAX` is for ever.
    pub seconds: u32,
    /// T1, where the server says.
    pub renewal: Option<Duration>,
    /// T2, where the server says.
    pub rebinding: Option<Duration>,
    /// Destinations and routers, the default route among them; an unspecified router means "on the link".
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Resolvers, in order of preference.
    pub resolvers: Vec<Ipv4Addr>,
    /// The largest packet, where the server says.
    pub mtu: Option<u32>,
}

/// A lease of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The lease.
    pub lease: Lease,
    /// How long it still lasts; `None` where no clock can tell (it is then used only once a server confirms it).
    pub remaining: Option<Duration>,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message from port 68 to port 67.
    Send {
        /// The DHCP message.
        message: Vec<u8>,
        /// The sender's address: unspecified as long as there is none.
        source: Ipv4Addr,
        /// The server, or 255.255.255.255.
        destination: Ipv4Addr,
    },
    /// Use this lease. Said again for every acknowledgement, so that its new end can be kept.
    Configure {
        /// The lease.
        lease: Lease,
        /// When it ends, on [`Now::instant`]; `None`: never.
        ends: Option<Duration>,
    },
    /// There is no lease (any more).
    Deconfigure(Reason),
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Just started, nothing was kept.
    Start,
    /// The server said no.
    Refused,
    /// No server renewed it in time.
    Expired,
    /// No server confirmed the kept lease, and no clock can tell whether it still holds.
    Unconfirmed,
    /// Another machine uses the address.
    Conflict,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Start => "there is no lease yet",
            Reason::Refused => "the DHCP server refused the address",
            Reason::Expired => "the lease ended and no DHCP server renewed it",
            Reason::Unconfirmed => "no DHCP server confirmed the lease of the last run",
            Reason::Conflict => "another machine uses the address that the DHCP server gave",
        })
    }
}

/// The client.
#[derive(Debug)]
pub struct Client {
    identity: Identity,
    random: u64,
    state: State,
    refusals: u32,
    outputs: VecDeque<Output>,
}

const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// RFC 2131 §4.4.5: renewing and rebinding are not repeated faster.
const SHORTEST_RENEWAL_WAIT: Duration = Duration::from_secs(60);
/// How often a REQUEST is repeated before the client starts over, in REQUESTING and in REBOOTING.
const REQUESTS: u32 = 4;
const REBOOT_REQUESTS: u32 = 2;
/// RFC 2131 §3.1 step 5: after a DECLINE the client waits.
const AFTER_CONFLICT: Duration = Duration::from_secs(10);

impl Client {
    /// A client that begins at once: with a kept lease in INIT-REBOOT, else in INIT. The same seed gives the same run.
    pub fn new(identity: Identity, seed: u64, kept: Option<Kept>, now: Now) -> Self {
        let mut client = Client {
            identity,
            random: seed,
            state: State::Init { at: now.instant, wanted: None },
            refusals: 0,
            outputs: VecDeque::new(),
        };
        match kept {
            None => client.start_over(Reason::Start, None, now),
            Some(kept) if kept.remaining == Some(Duration::ZERO) => {
                client.start_over(Reason::Expired, Some(kept.lease.address.addr()), now);
            }
            Some(kept) => {
                let held =
                    kept.remaining.map(|remaining| Held::for_remaining(kept.lease.clone(), remaining, now.instant));
                client.reboot(kept.lease, held, now);
            }
        }
        client
    }

    /// What is to be done next; `None`: wait.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Client::handle_timeout`] wants to be called, on [`Now::instant`]; `None`: not before a message comes.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let at = match &self.state {
            State::Init { at, .. } => Some(*at),
            State::Selecting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Rebooting { exchange, .. } => Some(exchange.next),
            State::Bound(held) => held.renew_at,
            State::Renewing(held, exchange) => earliest(Some(exchange.next), held.rebind_at),
            State::Rebinding(held, exchange) => earliest(Some(exchange.next), held.ends),
        };
        match self.held() {
            Some(held) => earliest(at, held.ends),
            None => at,
        }
    }

    /// Time has passed. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(held) = self.held()
            && held.ends.is_some_and(|ends| ends <= now.instant)
        {
            let wanted = held.lease.address.addr();
            return self.start_over(Reason::Expired, Some(wanted), now);
        }
        if self.poll_timeout().is_none_or(|at| at > now.instant) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Init { at: now.instant, wanted: None }) {
            State::Init { wanted, .. } => {
                let exchange = self.begin(now);
                self.discover(exchange, wanted, now);
            }
            State::Selecting { exchange, wanted } => self.discover(exchange, wanted, now),
            State::Requesting { exchange, offer } if exchange.tries < REQUESTS => self.request(exchange, offer, now),
            State::Requesting { offer, .. } => {
                let exchange = self.begin(now);
                self.discover(exchange, Some(offer.address.addr()), now);
            }
            State::Rebooting { exchange, lease, held } if exchange.tries < REBOOT_REQUESTS => {
                self.request_again(exchange, lease, held, now);
            }
            // RFC 2131 §3.2 step 4: without an answer the client may use the lease for as long as it still lasts.
            State::Rebooting { held: Some(held), .. } => self.hold(held),
            State::Rebooting { lease, .. } => self.start_over(Reason::Unconfirmed, Some(lease.address.addr()), now),
            State::Bound(held) | State::Renewing(held, _) if held.rebind_at.is_some_and(|at| at <= now.instant) => {
                self.rebind(held, now);
            }
            State::Bound(held) | State::Renewing(held, _) => self.renew(held, now),
            State::Rebinding(held, _) => self.rebind(held, now),
        }
    }

    /// A DHCP message has come in (the payload of a datagram to port 68). What is no answer to us is nothing.
    pub fn handle_message(&mut self, bytes: &[u8], now: Now) {
        let Some(reply) = Reply::parse(bytes, self.identity.mac) else { return };
        let idle = State::Init { at: now.instant, wanted: None };
        match (std::mem::replace(&mut self.state, idle), reply.kind) {
            (State::Selecting { exchange, .. }, reply::Kind::Offer)
                if reply.xid == exchange.xid && is_good_offer(&reply) =>
            {
                self.request(Exchange { tries: 0, ..exchange }, reply.lease, now);
            }
            (State::Requesting { exchange, offer }, reply::Kind::Ack) if answers(&reply, &exchange, &offer) => {
                let server = reply.server.unwrap_or(offer.server);
                self.acknowledged(Lease { server, ..reply.lease }, exchange.began);
            }
            (State::Rebooting { exchange, lease, .. }, reply::Kind::Ack) if answers(&reply, &exchange, &lease) => {
                self.acknowledged(reply.lease, exchange.began);
            }
            (State::Renewing(held, exchange) | State::Rebinding(held, exchange), reply::Kind::Ack)
                if answers(&reply, &exchange, &held.lease) =>
            {
                let server = reply.server.unwrap_or(held.lease.server);
                self.acknowledged(Lease { server, ..reply.lease }, exchange.sent);
            }
            (State::Requesting { exchange, offer }, reply::Kind::Nak)
                if reply.xid == exchange.xid && reply.server.is_none_or(|server| server == offer.server) =>
            {
                self.refused(now);
            }
            (
                State::Rebooting { exchange, .. } | State::Renewing(_, exchange) | State::Rebinding(_, exchange),
                reply::Kind::Nak,
            ) if reply.xid == exchange.xid => {
                self.refused(now);
            }
            // Not for us, or not now.
            (state, _) => self.state = state,
        }
    }

    /// The cable was plugged in again: the network may be another (RFC 2131 §3.7).
    pub fn handle_link_up(&mut self, now: Now) {
        match std::mem::replace(&mut self.state, State::Init { at: now.instant, wanted: None }) {
            State::Bound(held)
            | State::Renewing(held, _)
            | State::Rebinding(held, _)
            | State::Rebooting { held: Some(held), .. } => {
                self.reboot(held.lease.clone(), Some(held), now);
            }
            State::Rebooting { lease, held: None, .. } => self.reboot(lease, None, now),
            State::Init { wanted, .. } | State::Selecting { wanted, .. } => {
                let exchange = self.begin(now);
                self.discover(exchange, wanted, now);
            }
            State::Requesting { offer, .. } => {
                let exchange = self.begin(now);
                self.discover(exchange, Some(offer.address.addr()), now);
            }
        }
    }

    /// Another machine answers for the address of the lease: it is declined, and after a while another one is asked for.
    pub fn handle_conflict(&mut self, now: Now) {
        let Some(held) = self.held() else { return };
        let lease = held.lease.clone();
        let xid = self.random_u64() as u32;
        let message = encode::decline(&self.identity, xid, &lease);
        self.send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        self.outputs.push_back(Output::Deconfigure(Reason::Conflict));
        self.state = State::Init { at: now.instant + AFTER_CONFLICT, wanted: None };
    }

    /// The state by its name in RFC 2131, for `labgate status`.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Init { .. } => "INIT",
            State::Selecting { .. } => "SELECTING",
            State::Requesting { .. } => "REQUESTING",
            State::Rebooting { .. } => "REBOOTING",
            State::Bound(_) => "BOUND",
            State::Renewing(..) => "RENEWING",
            State::Rebinding(..) => "REBINDING",
        }
    }
}

fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

fn is_good_offer(reply: &Reply) -> bool {
    reply.server.is_some() && reply::is_usable(&reply.lease.address.addr()) && reply.lease.seconds > 0
}

fn answers(reply: &Reply, exchange: &Exchange, lease: &Lease) -> bool {
    reply.xid == exchange.xid && reply.lease.address.addr() == lease.address.addr() && reply.lease.seconds > 0
}

#[cfg(test)]
mod tests;
