//! One range of addresses, and which of them nobody ever held: found from any starting point in constant time.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Bits in three levels: a bit of an upper level says whether its word below has any.
#[derive(Clone, Debug)]
struct Bits {
    levels: Vec<Vec<u64>>,
    count: usize,
}

impl Bits {
    fn new(length: usize) -> Self {
        let mut levels = vec![vec![0; length.div_ceil(64).max(1)]];
        while levels.last().is_some_and(|level| level.len() > 1) {
            let above = levels.last().map_or(1, |level| level.len().div_ceil(64));
            levels.push(vec![0; above]);
        }
        Bits { levels, count: 0 }
    }

    fn set(&mut self, mut index: usize) {
        self.count += usize::from(self.levels[0][index / 64] >> (index % 64) & 1 == 0);
        for level in &mut self.levels {
            level[index / 64] |= 1 << (index % 64);
            index /= 64;
        }
    }

    fn clear(&mut self, mut index: usize) {
        self.count -= usize::from(self.get(index));
        for level in &mut self.levels {
            level[index / 64] &= !(1 << (index % 64));
            if level[index / 64] != 0 {
                return;
            }
            index /= 64;
        }
    }

    fn get(&self, index: usize) -> bool {
        self.levels[0][index / 64] >> (index % 64) & 1 != 0
    }

    /// The first bit at or after `start`.
    fn next(&self, start: usize) -> Option<usize> {
        let mut index = start;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(index / 64)? & (u64::MAX << (index % 64));
            if word != 0 {
                let mut found = index / 64 * 64 + word.trailing_zeros() as usize;
                for below in self.levels[..height].iter().rev() {
                    found = found * 64 + below[found].trailing_zeros() as usize;
                }
                return Some(found);
            }
            index = index / 64 + 1;
        }
        None
    }
}

/// For whom a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Clients without a reservation.
    Everyone,
    /// Clients with a made-up MAC.
    PrivateMac,
}

/// One range of a scope.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub network: usize,
    pub audience: Audience,
    first: u32,
    last: u32,
    never_held: Bits,
    /// Addresses whose lease is over, by its end: their last holder gets them again, and strangers the oldest first.
    past: BTreeSet<(Duration, u32)>,
    reserved: usize,
}

impl Pool {
    /// All addresses of `range` but those for which `reserved` says so.
    pub(super) fn new(
        network: usize,
        audience: Audience,
        range: &RangeInclusive<Ipv4Addr>,
        reserved: impl Fn(u32) -> bool,
    ) -> Self {
        let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
        let size = (last - first) as usize + 1;
        let mut never_held = Bits::new(size);
        for address in first..=last {
            if !reserved(address) {
                never_held.set((address - first) as usize);
            }
        }
        let reserved = size - never_held.count;
        Pool { network, audience, first, last, never_held, past: BTreeSet::new(), reserved }
    }

    pub(super) fn contains(&self, address: u32) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// How many addresses can be leased at all.
    pub(super) fn size(&self) -> usize {
        (self.last - self.first) as usize + 1 - self.reserved
    }

    /// How many addresses could be leased now.
    pub(super) fn free(&self) -> usize {
        self.never_held.count + self.past.len()
    }

    pub(super) fn span(&self) -> u32 {
        self.last - self.first + 1
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn is_never_held(&self, address: u32) -> bool {
        self.never_held.get((address - self.first) as usize)
    }

    pub(super) fn put_never_held(&mut self, address: u32) {
        self.never_held.set((address - self.first) as usize);
    }

    pub(super) fn take_never_held(&mut self, address: u32) {
        self.never_held.clear((address - self.first) as usize);
    }

    pub(super) fn put_past(&mut self, ended: Duration, address: u32) {
        self.past.insert((ended, address));
    }

    pub(super) fn take_past(&mut self, ended: Duration, address: u32) {
        self.past.remove(&(ended, address));
    }

    /// The first address from `offset` on that nobody ever held.
    pub(super) fn next_never_held(&self, offset: u32) -> Option<u32> {
        self.never_held.next(offset as usize).map(|found| self.first + found as u32)
    }

    /// The address whose lease ended longest ago.
    pub(super) fn oldest_past(&self) -> Option<(Duration, u32)> {
        self.past.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_from_anywhere() {
        for length in [1, 63, 64, 65, 150, 4096, 4097, 300_000] {
            let mut bits = Bits::new(length);
            assert_eq!(bits.next(0), None);
            for index in [0, length / 3, length - 1] {
                bits.set(index);
            }
            assert_eq!(bits.next(0), Some(0));
            assert_eq!(bits.next(length - 1), Some(length - 1));
            assert_eq!(bits.next(1.min(length - 1)), Some(if length > 3 { length / 3 } else { 0 }), "{length}");
            bits.clear(length - 1);
            assert_eq!(bits.next(length / 3 + 1), None, "{length}");
            bits.clear(0);
            bits.clear(length / 3);
            assert_eq!((bits.next(0), bits.count), (None, 0));
        }
    }

    #[test]
    fn reserved_addresses_are_left_out() {
        let range = Ipv4Addr::new(10, 0, 0, 1)..=Ipv4Addr::new(10, 0, 0, 3);
        let pool = Pool::new(0, Audience::Everyone, &range, |address| address == 0x0a00_0002);
        assert_eq!((pool.size(), pool.free(), pool.span()), (2, 2, 3));
        assert_eq!(pool.next_never_held(1), Some(0x0a00_0003));
    }
}
