//! A map whose snapshots are cheap: the carrier of the pictures that grow with the number of leases.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;

/// Branches of the root, and of each branch.
const WIDTH: usize = 64;

/// The pairs of one leaf, and beside them what tells quickly which one is meant.
#[derive(Clone)]
struct Leaf<K, V> {
    tags: Vec<u32>,
    pairs: Vec<(K, V)>,
}

type Branch<K, V> = [Arc<Leaf<K, V>>; WIDTH];

/// A hash map in 64 × 64 shared parts. A clone costs one reference count; a change after a clone copies only the part it falls into, a
/// dozen pairs where there are 64,000, so that publishing a picture per group of grants stays far below a copy of all leases.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    root: Arc<[Arc<Branch<K, V>>; WIDTH]>,
    len: usize,
}

/// Where a key belongs: branch, leaf, and its tag there.
struct Place {
    branch: usize,
    leaf: usize,
    tag: u32,
}

impl Place {
    fn of<Q: Hash + ?Sized>(key: &Q) -> Self {
        let hash = FixedState::with_seed(7).hash_one(key);
        Place { branch: (hash >> 58) as usize, leaf: (hash >> 52) as usize % WIDTH, tag: hash as u32 }
    }
}

impl<K: Eq, V> Leaf<K, V> {
    fn position<Q: Eq + ?Sized>(&self, tag: u32, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let mut tags = self.tags.iter().enumerate();
        tags.find(|(index, found)| **found == tag && self.pairs[*index].0.borrow() == key).map(|(index, _)| index)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        let leaf = Arc::new(Leaf { tags: Vec::new(), pairs: Vec::new() });
        let branch: Arc<Branch<K, V>> = Arc::new(std::array::from_fn(|_| leaf.clone()));
        SharedMap { root: Arc::new(std::array::from_fn(|_| branch.clone())), len: 0 }
    }

    /// The value of `key`.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = Place::of(key);
        let leaf = &self.root[place.branch][place.leaf];
        leaf.position(place.tag, key).map(|index| &leaf.pairs[index].1)
    }

    fn leaf_mut(&mut self, place: &Place) -> &mut Leaf<K, V> {
        let branch = Arc::make_mut(&mut Arc::make_mut(&mut self.root)[place.branch]);
        Arc::make_mut(&mut branch[place.leaf])
    }

    /// Sets the value of `key`; gives back the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = Place::of(&key);
        let leaf = self.leaf_mut(&place);
        if let Some(index) = leaf.position(place.tag, &key) {
            return Some(std::mem::replace(&mut leaf.pairs[index].1, value));
        }
        // Leaves are many and small: they grow by little.
        if leaf.pairs.len() == leaf.pairs.capacity() {
            leaf.tags.reserve_exact(4);
            leaf.pairs.reserve_exact(4);
        }
        leaf.tags.push(place.tag);
        leaf.pairs.push((key, value));
        self.len += 1;
        None
    }

    /// Takes `key` out; gives back its value.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = Place::of(key);
        let index = self.root[place.branch][place.leaf].position(place.tag, key)?;
        let leaf = self.leaf_mut(&place);
        leaf.tags.swap_remove(index);
        let (_, value) = leaf.pairs.swap_remove(index);
        self.len -= 1;
        Some(value)
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
        let leaves = self.root.iter().flat_map(|branch| branch.iter());
        leaves.flat_map(|leaf| leaf.pairs.iter().map(|(key, value)| (key, value)))
    }

    /// The keys whose presence or value differs between two snapshots, with both values `(key, older, newer)`.
    /// Parts that the two share are skipped, so that the cost follows the change.
    pub fn difference<'a>(older: &'a Self, newer: &'a Self) -> Vec<(&'a K, Option<&'a V>, Option<&'a V>)>
    where
        V: PartialEq,
    {
        let mut found = Vec::new();
        if Arc::ptr_eq(&older.root, &newer.root) {
            return found;
        }
        let branches = older.root.iter().zip(newer.root.iter()).filter(|(old, new)| !Arc::ptr_eq(old, new));
        let leaves = branches.flat_map(|(old, new)| old.iter().zip(new.iter()));
        for (old, new) in leaves.filter(|(old, new)| !Arc::ptr_eq(old, new)) {
            for (tag, (key, value)) in old.tags.iter().zip(&old.pairs) {
                match new.position(*tag, key).map(|index| &new.pairs[index].1) {
                    Some(now) if now == value => {}
                    now => found.push((key, Some(value), now)),
                }
            }
            for (tag, (key, value)) in new.tags.iter().zip(&new.pairs) {
                if old.position(*tag, key).is_none() {
                    found.push((key, None, Some(value)));
                }
            }
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

    #[test]
    fn does_what_an_ordinary_map_does() {
        let (mut map, mut plain) = (SharedMap::new(), std::collections::HashMap::new());
        let mut dice = 1u64;
        for step in 0..40_000u64 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (dice >> 40) % 9000;
            if dice >> 33 & 3 == 0 {
                assert_eq!(map.remove(&key), plain.remove(&key));
            } else {
                assert_eq!(map.insert(key, step), plain.insert(key, step));
            }
            assert_eq!((map.len(), map.get(&key)), (plain.len(), plain.get(&key)));
        }
        let mut all: Vec<(u64, u64)> = map.iter().map(|(key, value)| (*key, *value)).collect();
        let mut wanted: Vec<(u64, u64)> = plain.into_iter().collect();
        all.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(all, wanted);
    }
}
