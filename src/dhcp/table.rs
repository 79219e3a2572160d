//! Who holds which address: bindings, offers, addresses withheld, and when each of these ends.
//!
//! Everything is found by hash or in an ordered index; nothing walks over all leases.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashTable};
use ipnet::Ipv4Net;

use super::pool::{Audience, Pool};
use super::scope::{Hosts, Scope};
use crate::model::{Binding, ClientKey, MacAddr};

/// An address held for a client that was offered it.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub client: ClientKey,
    pub mac: Option<MacAddr>,
    pub until: Duration,
    /// Whose lease on the address was over; it comes back where the offer is not taken.
    pub former: Option<Arc<Binding>>,
}

/// What is known about an address.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Leased.
    Live(Arc<Binding>),
    /// Offered, not leased.
    Offered(Box<Offer>),
    /// Leased once; kept so that the client gets the same address again.
    Past(Arc<Binding>),
    /// Somebody uses it without a lease: withheld until then.
    Quarantined(Box<Duration>),
}

impl Slot {
    pub fn client(&self) -> Option<&ClientKey> {
        match self {
            Slot::Live(binding) | Slot::Past(binding) => Some(&binding.client),
            Slot::Offered(offer) => Some(&offer.client),
            Slot::Quarantined(_) => None,
        }
    }

    fn timer(&self) -> Option<Duration> {
        match self {
            Slot::Live(binding) => binding.expires,
            Slot::Offered(offer) => Some(offer.until),
            Slot::Quarantined(until) => Some(**until),
            Slot::Past(_) => None,
        }
    }

    /// Whether the store has a row of it.
    fn is_stored(&self) -> bool {
        match self {
            Slot::Live(_) | Slot::Past(_) => true,
            Slot::Offered(offer) => offer.former.is_some(),
            Slot::Quarantined(_) => false,
        }
    }

    /// How well it speaks for giving the address to its client again.
    fn rank(&self) -> u8 {
        match self {
            Slot::Live(_) => 2,
            Slot::Offered(_) => 1,
            _ => 0,
        }
    }
}

fn ended(binding: &Binding) -> Duration {
    binding.expires.unwrap_or(Duration::MAX)
}

/// All addresses that are or were in use.
#[derive(Debug)]
pub(super) struct Table {
    slots: HashMap<u32, Slot, foldhash::fast::FixedState>,
    /// Addresses by the hash of their client.
    by_client: HashTable<u32>,
    hasher: FixedState,
    timers: BTreeSet<(Duration, u32)>,
    pools: Vec<Pool>,
    /// Indices of `pools` by first address.
    order: Vec<(u32, usize)>,
    reserved: Arc<Hosts>,
    live: usize,
    /// Addresses of whose last lease nothing is known any more.
    pub forgotten: Vec<Ipv4Addr>,
}

impl Table {
    pub fn new(seed: u64) -> Self {
        Table {
            slots: HashMap::default(),
            by_client: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            timers: BTreeSet::new(),
            pools: Vec::new(),
            order: Vec::new(),
            reserved: Arc::default(),
            live: 0,
            forgotten: Vec::new(),
        }
    }

    /// Takes the pools of a configuration and sorts what is known into them.
    pub fn set_pools(&mut self, pools: Vec<Pool>, hosts: Arc<Hosts>) {
        self.pools = pools;
        self.reserved = hosts;
        self.order = self.pools.iter().enumerate().map(|(index, pool)| (pool.first(), index)).collect();
        self.order.sort_unstable();
        let slots: Vec<(u32, Option<Duration>)> =
            self.slots.iter().map(|(address, slot)| (*address, past_end(slot))).collect();
        for (address, past) in slots {
            if let Some(pool) = self.pool_index(address) {
                self.pools[pool].take_never_held(address);
                if let Some(past) = past {
                    self.pools[pool].put_past(past, address);
                }
            }
        }
    }

    /// The pool an address can be leased from by anybody: none for a reserved one.
    fn pool_index(&self, address: u32) -> Option<usize> {
        let after = self.order.partition_point(|(first, _)| *first <= address);
        let (_, index) = *self.order.get(after.checked_sub(1)?)?;
        (self.pools[index].contains(address) && self.reserved.reserved_for(address).is_none()).then_some(index)
    }

    /// The pool an address lies in, where it can be leased from one.
    pub fn pool(&self, address: u32) -> Option<&Pool> {
        self.pool_index(address).map(|index| &self.pools[index])
    }

    pub fn get(&self, address: u32) -> Option<&Slot> {
        self.slots.get(&address)
    }

    /// How many leases are live.
    pub fn live(&self) -> usize {
        self.live
    }

    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Live(binding) => Some(binding),
            _ => None,
        })
    }

    /// Leases that are over, with what their addresses are now.
    pub fn past_slots(&self) -> impl Iterator<Item = (&Slot, &Arc<Binding>)> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Past(binding) => Some((slot, binding)),
            Slot::Offered(offer) => offer.former.as_ref().map(|former| (slot, former)),
            _ => None,
        })
    }

    /// Changes what is known about an address, and every index with it; gives back what was known.
    pub fn set(&mut self, address: u32, slot: Option<Slot>) -> Option<Slot> {
        let pool = self.pool_index(address);
        let (timer, client) = slot.as_ref().map_or((None, None), |slot| (slot.timer(), slot.client()));
        let old = self.slots.get(&address);
        let (old_timer, old_client) = old.map_or((None, None), |slot| (slot.timer(), slot.client()));
        if old_timer != timer {
            if let Some(at) = old_timer {
                self.timers.remove(&(at, address));
            }
            if let Some(at) = timer {
                self.timers.insert((at, address));
            }
        }
        if old_client != client {
            let old_hash = old_client.map(|client| self.hasher.hash_one(client.as_bytes()));
            let hash = client.map(|client| self.hasher.hash_one(client.as_bytes()));
            if let Some(Ok(entry)) = old_hash.map(|hash| self.by_client.find_entry(hash, |found| *found == address)) {
                entry.remove();
            }
            if let Some(hash) = hash {
                let (slots, hasher) = (&self.slots, &self.hasher);
                self.by_client.insert_unique(hash, address, |found| {
                    let client = slots.get(found).and_then(Slot::client);
                    hasher.hash_one(client.map_or(&[][..], ClientKey::as_bytes))
                });
            }
        }
        let (is_past, is_live) = (slot.as_ref().and_then(past_end), matches!(slot, Some(Slot::Live(_))));
        let old = match slot {
            Some(slot) => self.slots.insert(address, slot),
            None => self.slots.remove(&address),
        };
        self.live = self.live + usize::from(is_live) - usize::from(matches!(old, Some(Slot::Live(_))));
        let stored = self.slots.get(&address).is_some_and(Slot::is_stored);
        if old.as_ref().is_some_and(Slot::is_stored) && !stored {
            self.forgotten.push(address.into());
        }
        if let Some(pool) = pool.map(|index| &mut self.pools[index]) {
            match &old {
                None => pool.take_never_held(address),
                Some(old) => {
                    if let Some(ended) = past_end(old) {
                        pool.take_past(ended, address);
                    }
                }
            }
            if !self.slots.contains_key(&address) {
                pool.put_never_held(address);
            }
            if let Some(ended) = is_past {
                pool.put_past(ended, address);
            }
        }
        old
    }

    /// The address a client holds, was offered, or held last, within a network.
    pub fn of_client(&self, client: &ClientKey, prefix: &Ipv4Net) -> Option<u32> {
        let hash = self.hasher.hash_one(client.as_bytes());
        let holds = |address: &&u32| {
            prefix.contains(&Ipv4Addr::from(**address)) && self.get(**address).and_then(Slot::client) == Some(client)
        };
        self.by_client
            .iter_hash(hash)
            .filter(holds)
            .max_by_key(|address| (self.slots[*address].rank(), **address))
            .copied()
    }

    /// All addresses that a client holds, was offered, or held within a network.
    pub fn all_of_client(&self, client: &ClientKey, prefix: &Ipv4Net) -> Vec<u32> {
        let hash = self.hasher.hash_one(client.as_bytes());
        let holds = |address: &&u32| {
            prefix.contains(&Ipv4Addr::from(**address)) && self.get(**address).and_then(Slot::client) == Some(client)
        };
        self.by_client.iter_hash(hash).filter(holds).copied().collect()
    }

    /// When something ends next.
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next address for which something has ended.
    pub fn due(&self, now: Duration) -> Option<u32> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, address)| *address)
    }

    /// An address for a newcomer: nobody's, nearest after `hash`, else the one whose lease ended longest ago.
    pub fn pick(&self, pools: &[usize], hash: u64) -> Option<u32> {
        let total: u64 = pools.iter().map(|index| u64::from(self.pools[*index].span())).sum();
        let mut offset = hash.checked_rem(total)?;
        let mut start = 0;
        while offset >= u64::from(self.pools[pools[start]].span()) {
            offset -= u64::from(self.pools[pools[start]].span());
            start += 1;
        }
        let rest = (1..=pools.len()).map(|step| (pools[(start + step) % pools.len()], 0));
        std::iter::once((pools[start], offset as u32))
            .chain(rest)
            .find_map(|(pool, offset)| self.pools[pool].next_never_held(offset))
            .or_else(|| {
                pools.iter().filter_map(|pool| self.pools[*pool].oldest_past()).min().map(|(_, address)| address)
            })
    }

    /// How many addresses pools can lease at all, and how many of them now.
    pub fn room(&self, pools: &[usize]) -> (usize, usize) {
        pools
            .iter()
            .map(|index| &self.pools[*index])
            .fold((0, 0), |(size, free), pool| (size + pool.size(), free + pool.free()))
    }

    /// Whether an address can be leased to a client of this kind without a reservation.
    pub fn is_in_pools(&self, address: u32, scope: &Scope, audience: Audience) -> bool {
        self.pool(address).is_some_and(|pool| pool.network == scope.network && pool.audience == audience)
    }
}

fn past_end(slot: &Slot) -> Option<Duration> {
    match slot {
        Slot::Past(binding) => Some(ended(binding)),
        _ => None,
    }
}
