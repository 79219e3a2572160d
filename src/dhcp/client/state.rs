//! The states of RFC 2131 figure 5, and the ways between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Client, FIRST_WAIT, LONGEST_WAIT, Lease, Output, Reason, SHORTEST_RENEWAL_WAIT, encode};
use crate::model::Now;

/// Where the client stands. A state owns its deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits until `at` to begin.
    Init { at: Duration, wanted: Option<Ipv4Addr> },
    /// DISCOVER is out.
    Selecting { exchange: Exchange, wanted: Option<Ipv4Addr> },
    /// REQUEST for an offer is out.
    Requesting { exchange: Exchange, offer: Lease },
    /// REQUEST for the kept lease is out; `held` is what may be used where nobody answers.
    Rebooting { exchange: Exchange, lease: Lease, held: Option<Held> },
    /// The lease holds.
    Bound(Held),
    /// T1 has passed: the server is asked.
    Renewing(Held, Exchange),
    /// T2 has passed: any server is asked.
    Rebinding(Held, Exchange),
}

/// Messages under one transaction identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub xid: u32,
    /// When the first message left.
    pub began: Duration,
    /// When the last one did.
    pub sent: Duration,
    /// When the next one will.
    pub next: Duration,
    /// How many have left.
    pub tries: u32,
}

/// A lease with its deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub lease: Lease,
    pub renew_at: Option<Duration>,
    pub rebind_at: Option<Duration>,
    pub ends: Option<Duration>,
}

impl Held {
    /// Counted from the moment the request left (RFC 2131 §4.4.1). T1 and T2 default to 0.5 and 0.875 of the lease.
    fn from(lease: Lease, sent: Duration) -> Self {
        if lease.seconds == u32::MAX {
            return Held { lease, renew_at: None, rebind_at: None, ends: None };
        }
        let whole = Duration::from_secs(lease.seconds.into());
        let (renewal, rebinding) = match (lease.renewal, lease.rebinding) {
            (Some(t1), Some(t2)) if t1 < t2 && t2 < whole => (t1, t2),
            (Some(t1), None) if t1 < whole * 7 / 8 => (t1, whole * 7 / 8),
            (None, Some(t2)) if whole / 2 < t2 && t2 < whole => (whole / 2, t2),
            _ => (whole / 2, whole * 7 / 8),
        };
        let (renew_at, rebind_at) = (Some(sent + renewal), Some(sent + rebinding));
        Held { lease, renew_at, rebind_at, ends: Some(sent + whole) }
    }

    /// A kept lease, as if it had been acknowledged when it was.
    pub fn for_remaining(lease: Lease, remaining: Duration, now: Duration) -> Self {
        if lease.seconds == u32::MAX {
            return Held::from(lease, now);
        }
        let whole = Duration::from_secs(lease.seconds.into());
        let remaining = remaining.min(whole);
        let ends = now + remaining;
        let fresh = Held::from(lease, Duration::ZERO);
        let moved = |at: Option<Duration>| at.map(|at| ends.saturating_sub(whole - at).max(now));
        Held {
            renew_at: moved(fresh.renew_at),
            rebind_at: moved(fresh.rebind_at),
            ends: Some(ends),
            lease: fresh.lease,
        }
    }
}

impl Client {
    pub(super) fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Bound(held) | State::Renewing(held, _) | State::Rebinding(held, _) => Some(held),
            State::Rebooting { held, .. } => held.as_ref(),
            State::Init { .. } | State::Selecting { .. } | State::Requesting { .. } => None,
        }
    }

    /// SplitMix64: enough for jitter and transaction identifiers, and a seed repeats it.
    pub(super) fn random_u64(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 4, 8, 16, 32, 64 s, each by up to a second more or less (RFC 2131 §4.1).
    fn backoff(&mut self, tries: u32) -> Duration {
        let whole = (FIRST_WAIT * 2_u32.pow(tries.min(4))).min(LONGEST_WAIT);
        whole - Duration::from_secs(1) + Duration::from_millis(self.random_u64() % 2001)
    }

    pub(super) fn begin(&mut self, now: Now) -> Exchange {
        let xid = self.random_u64() as u32;
        Exchange { xid, began: now.instant, sent: now.instant, next: now.instant, tries: 0 }
    }

    fn sent(&mut self, exchange: Exchange, now: Now) -> Exchange {
        let next = now.instant + self.backoff(exchange.tries);
        Exchange { sent: now.instant, next, tries: exchange.tries + 1, ..exchange }
    }

    pub(super) fn send(&mut self, message: Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) {
        self.outputs.push_back(Output::Send { message, source, destination });
    }

    pub(super) fn discover(&mut self, exchange: Exchange, wanted: Option<Ipv4Addr>, now: Now) {
        let message = encode::discover(&self.identity, &exchange, wanted, now);
        self.send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        self.state = State::Selecting { exchange: self.sent(exchange, now), wanted };
    }

    pub(super) fn request(&mut self, exchange: Exchange, offer: Lease, now: Now) {
        let message = encode::request_offer(&self.identity, &exchange, &offer, now);
        self.send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        self.state = State::Requesting { exchange: self.sent(exchange, now), offer };
    }

    pub(super) fn reboot(&mut self, lease: Lease, held: Option<Held>, now: Now) {
        let exchange = self.begin(now);
        self.request_again(exchange, lease, held, now);
    }

    pub(super) fn request_again(&mut self, exchange: Exchange, lease: Lease, held: Option<Held>, now: Now) {
        let message = encode::request_kept(&self.identity, &exchange, &lease, now);
        self.send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        self.state = State::Rebooting { exchange: self.sent(exchange, now), lease, held };
    }

    pub(super) fn renew(&mut self, held: Held, now: Now) {
        let exchange = self.begin(now);
        let message = encode::extend(&self.identity, &exchange, &held.lease, now);
        let destination = match held.lease.server {
            Ipv4Addr::UNSPECIFIED => Ipv4Addr::BROADCAST,
            server => server,
        };
        self.send(message, held.lease.address.addr(), destination);
        let next = half_way(now.instant, held.rebind_at);
        self.state = State::Renewing(held, Exchange { next, tries: 1, ..exchange });
    }

    pub(super) fn rebind(&mut self, held: Held, now: Now) {
        let exchange = self.begin(now);
        let message = encode::extend(&self.identity, &exchange, &held.lease, now);
        self.send(message, held.lease.address.addr(), Ipv4Addr::BROADCAST);
        let next = half_way(now.instant, held.ends);
        self.state = State::Rebinding(held, Exchange { next, tries: 1, ..exchange });
    }

    pub(super) fn acknowledged(&mut self, lease: Lease, sent: Duration) {
        self.refusals = 0;
        self.hold(Held::from(lease, sent));
    }

    pub(super) fn hold(&mut self, held: Held) {
        self.outputs.push_back(Output::Configure { lease: held.lease.clone(), ends: held.ends });
        self.state = State::Bound(held);
    }

    /// After a NAK the client starts over, each time a little later, so that a server that says no to everything is not flooded.
    pub(super) fn refused(&mut self, now: Now) {
        let wait = if self.refusals == 0 { Duration::ZERO } else { self.backoff(self.refusals - 1) };
        self.refusals += 1;
        self.outputs.push_back(Output::Deconfigure(Reason::Refused));
        self.state = State::Init { at: now.instant + wait, wanted: None };
        if wait.is_zero() {
            let exchange = self.begin(now);
            self.discover(exchange, None, now);
        }
    }

    pub(super) fn start_over(&mut self, reason: Reason, wanted: Option<Ipv4Addr>, now: Now) {
        self.outputs.push_back(Output::Deconfigure(reason));
        let exchange = self.begin(now);
        self.discover(exchange, wanted, now);
    }
}

/// RFC 2131 §4.4.5: half of the time that is left, and not less than a minute.
fn half_way(now: Duration, until: Option<Duration>) -> Duration {
    let left = until.unwrap_or(now).saturating_sub(now);
    now + (left / 2).max(SHORTEST_RENEWAL_WAIT)
}
