//! How many strangers a network takes in while its addresses run out.
//!
//! A flood of made-up clients empties any pool. So while under a tenth is free, newcomers get leases of ten minutes at most, which run out soon
//! after the flood; and of the last addresses one goes to a newcomer every fifteen seconds. Clients that have or had a lease, and reserved
//! hosts, never wait.

use std::time::Duration;

/// Under pressure, a newcomer's first lease is no longer than this.
pub(super) const SHORT_LEASE: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(15);

/// The state of one network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    next: Duration,
    told_low: bool,
}

/// Whether addresses are short.
pub(super) fn is_low(size: usize, free: usize) -> bool {
    free * 10 < size
}

/// Whether only the last addresses are left: two in a hundred, or eight of a small pool.
fn is_last(size: usize, free: usize) -> bool {
    free <= (size / 50).max((size / 8).min(8))
}

impl Limit {
    /// Whether one more newcomer is taken in.
    pub fn admit(&mut self, size: usize, free: usize, now: Duration) -> bool {
        if !is_last(size, free) {
            return true;
        }
        let admitted = now >= self.next;
        if admitted {
            self.next = now + INTERVAL;
        }
        admitted
    }

    /// Whether it is time to say that addresses are short: once, until a fifth is free again.
    pub fn tell_low(&mut self, size: usize, free: usize) -> bool {
        if free * 5 >= size {
            self.told_low = false;
        }
        let tell = is_low(size, free) && !self.told_low;
        self.told_low |= tell;
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_addresses_are_rationed() {
        let mut limit = Limit::default();
        let second = Duration::from_secs(1);
        assert!((9..150).all(|free| limit.admit(150, free, second)));
        assert!(limit.admit(150, 8, second) && !limit.admit(150, 7, 2 * second) && limit.admit(150, 7, 16 * second));
        assert!(limit.tell_low(150, 14) && !limit.tell_low(150, 3) && !limit.tell_low(150, 20));
        assert!(!limit.tell_low(150, 30) && limit.tell_low(150, 1));
    }
}
