//! Which address a client gets, and whether it may have the one it names.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::counters::Dropped;
use super::output::{Event, Output};
use super::pool::Audience;
use super::scope::Scope;
use super::server::{Client, Server};
use super::table::Slot;
use crate::model::{MacAddr, Now};

/// An address for an offer.
pub(super) struct Choice {
    pub address: u32,
    /// Whether the client has neither a lease, nor had one, nor a reservation.
    pub newcomer: bool,
}

/// Whether a client may have an address.
pub(super) enum Verdict {
    Fits {
        newcomer: bool,
    },
    /// Known to be wrong, and why.
    Wrong(&'static str),
}

/// How a client stands to the address that is reserved for it.
enum Reservation {
    None,
    Ready(u32),
    /// Leased to a client that does not count as the same device.
    Held(u32),
}

/// Another network card of a host asks for the address that one of its cards holds: the holder is asked by ARP, and the next message decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest {
    asked: Duration,
    answered: bool,
}

const CONTEST_WAIT: Duration = Duration::from_millis(500);
const CONTEST_END: Duration = Duration::from_secs(60);

/// The place in a pool where the search for a client begins. It must give the same over restarts and versions: a home that lost its store
/// gets the same addresses again. (FNV-1a, and a final mix so that neighbouring MACs spread.)
pub(super) fn place(octets: &[u8]) -> u64 {
    let mut hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

impl Server {
    /// An address for an offer: the reserved one; the one the client has or had; the one it asks for; one by its hash; the next
    /// free one; the one whose lease ended longest ago.
    pub(super) fn choose(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<Choice, Dropped> {
        match self.reservation(scope, client, now) {
            Reservation::Ready(address) => return Ok(Choice { address, newcomer: false }),
            Reservation::Held(address) => {
                self.tell_reservation_held(client, address);
                // The device that asks again in a moment learns whether the holder still answers.
                if self.contests.get(&address).is_some_and(|contest| !contest.answered) {
                    return Err(Dropped::ReservationContested);
                }
            }
            Reservation::None => {}
        }
        let audience = self.audience(scope, client);
        if let Some(address) = self.table.of_client(&client.key, &scope.prefix)
            && self.table.is_in_pools(address, scope, audience)
        {
            let newcomer = is_newcomer(self.table.get(address), client);
            return Ok(Choice { address, newcomer });
        }
        let pools = scope.pools_of(audience);
        let asked = client.message.requested_address().map(u32::from).filter(|address| {
            self.table.is_in_pools(*address, scope, audience)
                && self.table.pool(*address).is_some_and(|pool| pool.is_never_held(*address))
        });
        let hash = match client.mac {
            Some(MacAddr(octets)) => place(&octets),
            None => place(client.key.as_bytes()),
        };
        let Some(address) = asked.or_else(|| self.table.pick(pools, hash)) else {
            self.outputs.push_back(Output::Event(Event::PoolExhausted { network: scope.name.clone() }));
            return Err(Dropped::PoolExhausted);
        };
        self.admit(scope, client, now)?;
        Ok(Choice { address, newcomer: true })
    }

    fn admit(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<(), Dropped> {
        let (size, free) = self.table.room(scope.pools_of(self.audience(scope, client)));
        let admitted = client.host.is_some() || self.newcomers[scope.network].admit(size, free, now.instant);
        if admitted { Ok(()) } else { Err(Dropped::NewClientLimit) }
    }

    /// Whether a client may have `address`, for a REQUEST.
    pub(super) fn judge(
        &mut self,
        scope: &Scope,
        client: &Client<'_>,
        address: u32,
        now: Now,
    ) -> Result<Verdict, Dropped> {
        if !scope.contains(address) {
            return Ok(Verdict::Wrong("the address belongs to another network"));
        }
        match self.reservation(scope, client, now) {
            Reservation::Ready(reserved) if reserved == address => return Ok(Verdict::Fits { newcomer: false }),
            Reservation::Ready(_) => return Ok(Verdict::Wrong("another address is reserved for this host")),
            Reservation::Held(reserved) if reserved == address => {
                return Ok(Verdict::Wrong("the address is leased to another client"));
            }
            Reservation::Held(_) | Reservation::None => {}
        }
        if self.plan.hosts.reserved_for(address).is_some() {
            return Ok(Verdict::Wrong("the address is reserved for another host"));
        }
        if !self.table.is_in_pools(address, scope, self.audience(scope, client)) {
            return Ok(Verdict::Wrong("the address is not served"));
        }
        let slot = self.table.get(address);
        if slot.and_then(Slot::client) == Some(&client.key) {
            return Ok(Verdict::Fits { newcomer: is_newcomer(slot, client) });
        }
        match slot {
            Some(Slot::Live(_) | Slot::Offered(_)) => Ok(Verdict::Wrong("the address is leased to another client")),
            Some(Slot::Quarantined(_)) => Ok(Verdict::Wrong("the address is in use without a lease")),
            Some(Slot::Past(_)) | None => {
                self.admit(scope, client, now)?;
                Ok(Verdict::Fits { newcomer: true })
            }
        }
    }

    /// The reservation of a client, whatever client identifier it sends today: firmware and operating system of one device send different ones.
    fn reservation(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Reservation {
        let Some(host) = client.host.map(|index| self.plan.hosts.get(index)) else { return Reservation::None };
        let Some(address) = host.ip.filter(|ip| scope.contains(*ip)) else { return Reservation::None };
        let holder = match self.table.get(address) {
            Some(Slot::Live(binding)) => Some((&binding.client, binding.mac)),
            Some(Slot::Offered(offer)) => Some((&offer.client, offer.mac)),
            _ => None,
        };
        let Some((key, mac)) = holder else { return Reservation::Ready(address) };
        if *key == client.key || (mac.is_some() && mac == client.mac) {
            return Reservation::Ready(address);
        }
        let same_host = mac.is_some_and(|mac| host.macs.contains(&mac))
            || key.identifier().is_some_and(|id| host.has_identifier(id));
        if !same_host || client.relayed {
            return Reservation::Held(address);
        }
        if self.contest(scope, address, now) { Reservation::Ready(address) } else { Reservation::Held(address) }
    }

    /// Whether the other card of the host has fallen silent. The first question sends a probe.
    fn contest(&mut self, scope: &Scope, address: u32, now: Now) -> bool {
        self.contests.retain(|_, contest| now.instant < contest.asked + CONTEST_END);
        match self.contests.get(&address) {
            Some(contest) => !contest.answered && now.instant >= contest.asked + CONTEST_WAIT,
            None => {
                self.contests.insert(address, Contest { asked: now.instant, answered: false });
                self.outputs.push_back(Output::Probe { network: scope.network, address: address.into() });
                false
            }
        }
    }

    pub(super) fn contest_answered(&mut self, address: u32) {
        if let Some(contest) = self.contests.get_mut(&address) {
            contest.answered = true;
        }
    }

    fn tell_reservation_held(&mut self, client: &Client<'_>, address: u32) {
        if let Some(host) = client.host {
            let host = self.plan.hosts.get(host).name.clone();
            self.outputs.push_back(Output::Event(Event::ReservationHeld { host, address: address.into() }));
        }
    }
}

/// Whether the client knows its own address by an offer only, and never had a lease on it.
fn is_newcomer(slot: Option<&Slot>, client: &Client<'_>) -> bool {
    matches!(slot, Some(Slot::Offered(offer)) if offer.former.as_ref().is_none_or(|former| former.client != client.key))
}

impl Scope {
    /// Whether an address belongs to the network.
    pub(super) fn contains(&self, address: u32) -> bool {
        self.prefix.contains(&Ipv4Addr::from(address))
    }

    /// The pools that serve an audience.
    pub(super) fn pools_of(&self, audience: Audience) -> &[usize] {
        match audience {
            Audience::Everyone => &self.pools,
            Audience::PrivateMac => &self.private,
        }
    }
}
