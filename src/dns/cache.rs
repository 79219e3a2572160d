//! The cache of upstream answers: bounded by entries, in wire form, aged in place. One value is one shard; who shares it decides about locks.
//!
//! Eviction is CLOCK with a small count per entry: an answer that was asked for again survives a flood of names that nobody asks for twice.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::entry::Entry;
use super::wire::{Key, rcode};

/// The longest time a positive answer is kept.
pub const LONGEST: u32 = 86_400;
/// The longest time a negative answer is kept.
pub const LONGEST_NEGATIVE: u32 = 3600;
/// How long a failure is kept (RFC 9520 §3.2 asks for at least one second).
pub const FAILURE: u32 = 2;
/// The TTL of an expired answer that is given out all the same (RFC 8767 §4).
pub const STALE_TTL: u32 = 30;
/// For how long an expired answer is given out at once after the upstreams failed (RFC 8767 §5).
const RETRY: u32 = 10;
/// The most rounds of the clock an often used entry survives unused.
const MOST_USES: u8 = 3;

/// A shard of the cache.
#[derive(Debug)]
pub struct Cache {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    limit: usize,
    stale: u32,
    hasher: FixedState,
}

#[derive(Debug)]
struct Slot {
    /// `None` for a slot that is free.
    entry: Option<Entry>,
    /// On the engine's clock, in seconds.
    stored: u32,
    expires: u32,
    /// Until when the expired entry is given out at once.
    retry: u32,
    uses: u8,
}

/// What a look into the cache finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The answer.
    pub entry: Entry,
    /// Its age in seconds.
    pub age: u32,
    /// Whether it may be given out.
    pub freshness: Freshness,
}

/// Whether an answer may be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within its TTL.
    Fresh,
    /// Expired, but upstreams failed a moment ago: give it out now.
    StaleNow,
    /// Expired: give it out where upstreams fail.
    Stale,
}

impl Hit {
    /// An answer that has just come.
    pub fn fresh(entry: Entry) -> Self {
        Hit { entry, age: 0, freshness: Freshness::Fresh }
    }

    /// The TTL to give out instead of the aged one, where the answer is expired.
    pub fn stale_ttl(&self) -> Option<u32> {
        (self.freshness != Freshness::Fresh).then_some(STALE_TTL)
    }
}

impl Cache {
    /// An empty shard of at most `limit` entries, which keeps expired ones for `stale`. `seed` keeps strangers from choosing collisions.
    pub fn new(limit: usize, stale: Duration, seed: u64) -> Self {
        Cache {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            limit,
            stale: u32::try_from(stale.as_secs()).unwrap_or(u32::MAX),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Takes other bounds, and keeps what fits them.
    pub fn set_limits(&mut self, limit: usize, stale: Duration) {
        (self.limit, self.stale) = (limit, u32::try_from(stale.as_secs()).unwrap_or(u32::MAX));
        while self.len() > limit && self.evict() {}
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.table.clear();
        self.slots.clear();
        self.free.clear();
        self.hand = 0;
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let same = |&index: &u32| self.slots[index as usize].entry.as_ref().is_some_and(|entry| entry.key() == key);
        self.table.find(self.hash(key), same).copied()
    }

    /// Looks for an answer. `now` is the engine's clock.
    pub fn get(&mut self, key: &Key, now: Duration) -> Option<Hit> {
        let now = now.as_secs() as u32;
        let index = self.find(key.as_bytes())?;
        let stale = self.stale;
        let slot = &mut self.slots[index as usize];
        let entry = slot.entry.as_ref()?;
        let freshness = if now < slot.expires {
            Freshness::Fresh
        } else if entry.rcode() == rcode::SERVFAIL || now >= slot.expires.saturating_add(stale) {
            return None;
        } else if now < slot.retry {
            Freshness::StaleNow
        } else {
            Freshness::Stale
        };
        slot.uses = (slot.uses + 1).min(MOST_USES);
        Some(Hit { entry: entry.clone(), age: now.saturating_sub(slot.stored), freshness })
    }

    /// Keeps an answer, unless its TTL is 0.
    pub fn insert(&mut self, entry: Entry, now: Duration) {
        let now = now.as_secs() as u32;
        if entry.ttl() == 0 || self.limit == 0 {
            return;
        }
        let expires = now.saturating_add(entry.ttl());
        if let Some(index) = self.find(entry.key()) {
            let slot = &mut self.slots[index as usize];
            // An expired good answer is worth more than the news that upstreams fail: it may still serve.
            let failure = entry.rcode() == rcode::SERVFAIL;
            let good = slot.entry.as_ref().is_some_and(|old| old.rcode() != rcode::SERVFAIL);
            if failure && good && now < slot.expires.saturating_add(self.stale) {
                slot.retry = now + RETRY;
                return;
            }
            (slot.entry, slot.stored, slot.expires, slot.retry) = (Some(entry), now, expires, 0);
            return;
        }
        while self.len() >= self.limit && self.evict() {}
        let hash = self.hash(entry.key());
        let slot = Slot { entry: Some(entry), stored: now, expires, retry: 0, uses: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, index, |&index| {
            slots[index as usize].entry.as_ref().map_or(0, |entry| hasher.hash_one(entry.key()))
        });
    }

    /// Moves the hand to an entry that nobody used since its last round, and drops it.
    fn evict(&mut self) -> bool {
        // Every entry is passed at most once per use it has left, so this ends.
        for _ in 0..self.slots.len() * (usize::from(MOST_USES) + 1) {
            let index = self.hand;
            self.hand = if index + 1 < self.slots.len() { index + 1 } else { 0 };
            let slot = &mut self.slots[index];
            let Some(entry) = &slot.entry else { continue };
            if slot.uses > 0 {
                slot.uses -= 1;
                continue;
            }
            let hash = self.hasher.hash_one(entry.key());
            if let Ok(found) = self.table.find_entry(hash, |&other| other as usize == index) {
                found.remove();
            }
            slot.entry = None;
            self.free.push(index as u32);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::wire::ExtendedError;

    fn key(number: u32) -> Key {
        let label = format!("n{number:05}");
        let mut name = vec![label.len() as u8];
        name.extend_from_slice(label.as_bytes());
        name.push(0);
        Key::new(&name, 1, false, false).unwrap()
    }

    fn entry(number: u32, ttl: u32) -> Entry {
        Entry::new(&key(number), &Default::default(), rcode::NOERROR, ttl, None)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn answers_age_expire_and_serve_when_upstreams_fail() {
        let mut cache = Cache::new(10, at(100), 1);
        cache.insert(entry(1, 60), at(1000));
        cache.insert(entry(2, 0), at(1000));
        assert!(cache.get(&key(2), at(1000)).is_none());
        let hit = cache.get(&key(1), at(1059)).unwrap();
        assert_eq!((hit.age, hit.freshness, hit.stale_ttl()), (59, Freshness::Fresh, None));
        let hit = cache.get(&key(1), at(1060)).unwrap();
        assert_eq!((hit.freshness, hit.stale_ttl()), (Freshness::Stale, Some(STALE_TTL)));
        // The upstreams fail: the old answer stays, and is given out at once for a while.
        cache.insert(Entry::failure(&key(1), rcode::SERVFAIL, FAILURE, ExtendedError::NETWORK_ERROR), at(1061));
        assert_eq!(cache.get(&key(1), at(1062)).unwrap().freshness, Freshness::StaleNow);
        assert_eq!(cache.get(&key(1), at(1061 + u64::from(RETRY))).unwrap().freshness, Freshness::Stale);
        assert!(cache.get(&key(1), at(1160)).is_none());
        // A failure of a name that was never known is kept briefly, and never served stale.
        cache.insert(Entry::failure(&key(3), rcode::SERVFAIL, FAILURE, ExtendedError::NETWORK_ERROR), at(1061));
        assert!(cache.get(&key(3), at(1062)).is_some() && cache.get(&key(3), at(1063)).is_none());
    }

    #[test]
    fn a_flood_does_not_push_out_what_is_used() {
        let mut cache = Cache::new(100, at(0), 1);
        for number in 0..50 {
            cache.insert(entry(number, 600), at(0));
        }
        for number in 1000..5000 {
            cache.insert(entry(number, 600), at(0));
            if number % 20 == 0 {
                for useful in 0..50 {
                    assert!(cache.get(&key(useful), at(1)).is_some(), "{useful} lost at {number}");
                }
            }
        }
        assert_eq!(cache.len(), 100);
        cache.set_limits(30, at(0));
        assert_eq!(cache.len(), 30);
        cache.set_limits(0, at(0));
        cache.insert(entry(1, 60), at(0));
        assert!(cache.is_empty());
    }
}
