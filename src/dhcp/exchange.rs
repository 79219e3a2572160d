//! What the server does with each message type (RFC 2131 §4.3).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::choose::Verdict;
use super::code::MessageType;
use super::counters::Dropped;
use super::host_name;
use super::newcomers::{self, SHORT_LEASE};
use super::output::{EndReason, Ended, Event, Grant, Output};
use super::pool::Audience;
use super::scope::{LeaseTime, Scope};
use super::server::{Client, Server};
use super::table::{Offer, Slot};
use crate::model::{Binding, Now};

/// An offer that is not taken ends after this long.
const OFFER_TIME: Duration = Duration::from_secs(30);
/// A client may ask for a shorter lease, but not for one that makes it ask all the time.
const SHORTEST_LEASE: u32 = 120;

impl Server {
    /// An offer at once; whether the address is in use already is asked beside it, and a REQUEST that comes after a wrong answer gets a NAK.
    pub(super) fn discover(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<(), Dropped> {
        let choice = self.choose(scope, client, now)?;
        let lease = self.lease_for(scope, client, choice.newcomer);
        let address = choice.address;
        let own = self.table.get(address).is_some_and(|slot| slot.client() == Some(&client.key));
        if !own && !client.relayed {
            self.outputs.push_back(Output::Probe { network: scope.network, address: address.into() });
        }
        if !matches!(self.table.get(address), Some(Slot::Live(_))) {
            let until = now.instant + OFFER_TIME;
            let offer =
                |former| Slot::Offered(Box::new(Offer { client: client.key.clone(), mac: client.mac, until, former }));
            let former = match self.table.get(address) {
                Some(Slot::Past(binding)) => Some(binding.clone()),
                Some(Slot::Offered(offer)) => offer.former.clone(),
                _ => None,
            };
            self.table.set(address, Some(offer(former)));
        }
        let name = self.host_name(client);
        let reply = self.answer(MessageType::Offer, scope, client, Some(address.into()), Some(lease), name.as_deref());
        self.outputs.push_back(Output::Reply(reply));
        Ok(())
    }

    /// The four states of a client that sends REQUEST, told apart as in RFC 2131 §4.3.2.
    ///
    /// The server is authoritative for its networks: what it knows to be wrong gets a NAK in every state, and a client it does not know
    /// may have the address it asks for where that is free, so that homes survive a lost store.
    pub(super) fn request(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<(), Dropped> {
        let message = client.message;
        let selecting = message.server_identifier();
        if let Some(server) = selecting.filter(|server| *server != scope.router) {
            self.forget_offer(scope, client);
            if !self.plan.scopes.iter().flatten().any(|scope| scope.router == server) {
                self.outputs.push_back(Output::Event(Event::OtherServer { network: scope.name.clone(), server }));
            }
            return Err(Dropped::OtherServer);
        }
        let in_use = Some(message.ciaddr).filter(|address| !address.is_unspecified());
        let wanted = match selecting {
            Some(_) => message.requested_address().or(in_use),
            None => in_use.or(message.requested_address()),
        };
        let address = u32::from(wanted.ok_or(Dropped::NoAddress)?);
        match self.judge(scope, client, address, now)? {
            Verdict::Fits { newcomer } => {
                self.grant(scope, client, address, newcomer, now);
                Ok(())
            }
            Verdict::Wrong(words) => {
                let reply = self.refuse(scope, client, words);
                self.outputs.push_back(Output::Reply(reply));
                Ok(())
            }
        }
    }

    fn grant(&mut self, scope: &Scope, client: &Client<'_>, address: u32, newcomer: bool, now: Now) {
        let lease = self.lease_for(scope, client, newcomer);
        let host_name = self.host_name(client);
        let binding = Arc::new(Binding {
            address: address.into(),
            client: client.key.clone(),
            mac: client.mac,
            network: scope.name.clone(),
            host_name,
            expires: lease.map(|lease| now.instant + lease),
            expires_unix: lease.map(|lease| now.unix + lease.as_secs()),
            acknowledged_unix: now.unix,
        });
        let name = binding.host_name.clone();
        let ack = self.answer(MessageType::Ack, scope, client, Some(address.into()), Some(lease), name.as_deref());
        let former = self.table.set(address, Some(Slot::Live(binding.clone())));
        let same = matches!(former, Some(Slot::Live(former)) if former.client == binding.client);
        let reserved = self.plan.hosts.reserved_for(address).is_some();
        let moves = self.table.all_of_client(&client.key, &scope.prefix).iter().any(|other| *other != address);
        self.outputs.push_back(Output::Grant(Grant { binding, ack, reserved, moves }));
        self.contests.remove(&address);
        if !same {
            self.look_at_room(scope, client);
        }
    }

    /// Ends what a client held in the network before it moved to the address of `binding`.
    pub(super) fn leave_others(&mut self, scope: &Scope, binding: &Binding, now: Now) {
        for other in self.table.all_of_client(&binding.client, &scope.prefix) {
            if other != u32::from(binding.address) {
                self.end(other, EndReason::Moved, None, now);
            }
        }
    }

    fn look_at_room(&mut self, scope: &Scope, client: &Client<'_>) {
        let (size, free) = self.table.room(scope.pools_of(self.audience(scope, client)));
        if self.newcomers[scope.network].tell_low(size, free) {
            self.outputs.push_back(Output::Event(Event::PoolLow { network: scope.name.clone(), free, size }));
        }
    }

    /// Ends a lease or an offer; `slot` is what the address becomes: by default a lease is remembered, so that its client gets it again.
    fn end(&mut self, address: u32, reason: EndReason, slot: Option<Slot>, now: Now) {
        match self.table.get(address).cloned() {
            Some(Slot::Live(binding)) => {
                let binding = Arc::new(Binding {
                    expires: Some(now.instant),
                    expires_unix: Some(now.unix),
                    ..Binding::clone(&binding)
                });
                let moved = reason == EndReason::Moved;
                self.table.set(address, slot.or_else(|| (!moved).then(|| Slot::Past(binding.clone()))));
                self.outputs.push_back(Output::Ended(Ended { binding, reason }));
            }
            Some(Slot::Offered(offer)) => {
                self.table.set(address, slot.or_else(|| offer.former.map(Slot::Past)));
            }
            Some(Slot::Past(_)) => {
                self.table.set(address, slot);
            }
            Some(Slot::Quarantined(_)) | None => {}
        }
    }

    fn forget_offer(&mut self, scope: &Scope, client: &Client<'_>) {
        if let Some(address) = self.table.of_client(&client.key, &scope.prefix)
            && let Some(Slot::Offered(offer)) = self.table.get(address)
        {
            let former = offer.former.clone();
            self.table.set(address, former.map(Slot::Past));
        }
    }

    /// Only the holder may say that an address is spoiled: with anybody's word a pool could be emptied.
    pub(super) fn decline(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<(), Dropped> {
        let address = client.message.requested_address().ok_or(Dropped::NoAddress)?;
        let slot = self.table.get(address.into());
        let held =
            matches!(slot, Some(Slot::Live(_) | Slot::Offered(_))) && slot.and_then(Slot::client) == Some(&client.key);
        if !held || !scope.prefix.contains(&address) {
            return Err(Dropped::NotTheHolder);
        }
        self.end(address.into(), EndReason::Declined, None, now);
        let withheld = self.withhold(scope, address.into(), now);
        self.outputs.push_back(Output::Event(Event::Declined { network: scope.name.clone(), address, withheld }));
        Ok(())
    }

    pub(super) fn release(&mut self, scope: &Scope, client: &Client<'_>, now: Now) -> Result<(), Dropped> {
        let address = client.message.ciaddr;
        if client.message.server_identifier().is_some_and(|server| server != scope.router) {
            return Err(Dropped::OtherServer);
        }
        match self.table.get(address.into()) {
            Some(Slot::Live(binding)) if binding.client == client.key && scope.prefix.contains(&address) => {
                self.end(address.into(), EndReason::Released, None, now);
                Ok(())
            }
            _ => Err(Dropped::NotTheHolder),
        }
    }

    /// Parameters for a client with an address of its own; nothing is leased (RFC 2131 §4.3.5).
    pub(super) fn inform(&mut self, scope: &Scope, client: &Client<'_>) -> Result<(), Dropped> {
        let address = if client.message.ciaddr.is_unspecified() { client.source } else { client.message.ciaddr };
        if !scope.prefix.contains(&address) || address == scope.router {
            return Err(Dropped::WrongNetwork);
        }
        let name = self.host_name(client);
        let mut reply = self.answer(MessageType::Ack, scope, client, None, None, name.as_deref());
        if !client.relayed {
            reply.destination = super::reply::Destination::Unicast(address);
        }
        self.outputs.push_back(Output::Reply(reply));
        Ok(())
    }

    fn host_name(&self, client: &Client<'_>) -> Option<Arc<str>> {
        host_name::of(client.message, client.fqdn.as_ref())
    }

    /// The lease time: what the scope gives, or less where the client asks for less.
    fn lease_for(&self, scope: &Scope, client: &Client<'_>, newcomer: bool) -> LeaseTime {
        let private = client.host.is_none() && client.mac.is_some_and(|mac| mac.is_local());
        let mut lease = scope.private_lease.filter(|_| private).unwrap_or(scope.lease);
        let mut shorten = |to: Duration| lease = Some(lease.map_or(to, |lease| lease.min(to)));
        if let Some(asked) = client.message.requested_lease().filter(|asked| *asked != u32::MAX) {
            shorten(Duration::from_secs(asked.max(SHORTEST_LEASE).into()));
        }
        if newcomer {
            let (size, free) = self.table.room(scope.pools_of(self.audience(scope, client)));
            if newcomers::is_low(size, free) {
                shorten(SHORT_LEASE);
            }
        }
        lease
    }

    /// Which pools serve a client without a reservation.
    pub(super) fn audience(&self, scope: &Scope, client: &Client<'_>) -> Audience {
        let private = scope.private_pools && client.host.is_none() && client.mac.is_some_and(|mac| mac.is_local());
        if private { Audience::PrivateMac } else { Audience::Everyone }
    }

    /// A refusal: the client starts over (RFC 2131 §4.3.2).
    fn refuse(&mut self, scope: &Scope, client: &Client<'_>, words: &str) -> super::reply::Reply {
        self.counters.count_sent(MessageType::Nak);
        super::answer::refusal(scope, client, words)
    }

    fn answer(
        &mut self,
        kind: MessageType,
        scope: &Scope,
        client: &Client<'_>,
        address: Option<Ipv4Addr>,
        lease: Option<LeaseTime>,
        name: Option<&str>,
    ) -> super::reply::Reply {
        self.counters.count_sent(kind);
        let host = client.host.map(|index| &*self.plan.hosts.get(index).name);
        super::answer::answer(kind, scope, client, &super::answer::Given { address, lease, name, host })
    }
}
