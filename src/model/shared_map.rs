//! A map whose snapshots are cheap: the carrier of the pictures that grow with the number of leases.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

const SHARDS: usize = 256;

/// A hash map in 256 shared parts. A clone costs 256 reference counts; a change after a clone copies only the part it falls into,
/// so that publishing a picture per group of grants stays far below a copy of all leases.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    shards: Arc<[Arc<HashMap<K, V, FixedState>>; SHARDS]>,
    len: usize,
}

fn shard_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    // The low bits choose the bucket inside the part, so the part is chosen by other bits.
    (FixedState::with_seed(7).hash_one(key) >> 32) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        let empty: Arc<HashMap<K, V, FixedState>> = Arc::default();
        SharedMap { shards: Arc::new(std::array::from_fn(|_| empty.clone())), len: 0 }
    }

    /// The value of `key`.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[shard_of(key)].get(key)
    }

    /// Sets the value of `key`; gives back the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shards = Arc::make_mut(&mut self.shards);
        let old = Arc::make_mut(&mut shards[shard_of(&key)]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes `key` out; gives back its value.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let shards = Arc::make_mut(&mut self.shards);
        let old = Arc::make_mut(&mut shards[shard_of(key)]).remove(key);
        self.len -= usize::from(old.is_some());
        old
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All pairs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The keys whose presence or value differs between two snapshots, with both values `(key, older, newer)`.
    /// Parts that the two share are skipped, so that the cost follows the change.
    pub fn difference<'a>(older: &'a Self, newer: &'a Self) -> Vec<(&'a K, Option<&'a V>, Option<&'a V>)>
    where
        V: PartialEq,
    {
        let mut found = Vec::new();
        for (old, new) in older.shards.iter().zip(newer.shards.iter()) {
            if Arc::ptr_eq(old, new) {
                continue;
            }
            for (key, value) in old.iter() {
                match new.get(key) {
                    Some(now) if now == value => {}
                    now => found.push((key, Some(value), now)),
                }
            }
            found.extend(
                new.iter().filter(|(key, _)| !old.contains_key(*key)).map(|(key, value)| (key, None, Some(value))),
            );
        }
        found
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: std::fmt::Debug + Hash + Eq + Clone, V: std::fmt::Debug + Clone> std::fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_stand_still_and_differ_by_the_change() {
        let mut map = SharedMap::new();
        for key in 0..1000u32 {
            map.insert(key, key * 2);
        }
        let before = map.clone();
        map.insert(7, 0);
        map.remove(&8);
        map.insert(5000, 1);
        assert_eq!((before.get(&7), before.get(&8), before.len(), map.len()), (Some(&14), Some(&16), 1000, 1000));
        let mut changes = SharedMap::difference(&before, &map);
        changes.sort();
        assert_eq!(changes, [(&7, Some(&14), Some(&0)), (&8, Some(&16), None), (&5000, None, Some(&1))]);
    }
}
