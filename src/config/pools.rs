//! Ranges of addresses: the default pool, and what is left of a range.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

/// The pool of a network that gives none: .100 to .249 of a /24, the same share of other sizes. The router's address may lie inside.
pub fn default_pool(network: Ipv4Net) -> RangeInclusive<Ipv4Addr> {
    let size = 1u64 << (32 - u32::from(network.prefix_len()));
    let start = u64::from(u32::from(network.network()));
    let first = (size * 100 / 256).max(1);
    let last = (size * 250 / 256).saturating_sub(1).max(first);
    let address = |offset: u64| Ipv4Addr::from(u32::try_from(start + offset).unwrap_or(u32::MAX));
    address(first)..=address(last)
}

/// What is left of `range` without `taken`, in order.
pub(super) fn without(
    range: RangeInclusive<Ipv4Addr>,
    mut taken: Vec<RangeInclusive<Ipv4Addr>>,
) -> Vec<RangeInclusive<Ipv4Addr>> {
    taken.sort_by_key(|range| *range.start());
    let end = u64::from(u32::from(*range.end()));
    let mut next = u64::from(u32::from(*range.start()));
    let mut left = Vec::new();
    let mut keep = |from: u64, to: u64| {
        if let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(to)) {
            left.push(Ipv4Addr::from(from)..=Ipv4Addr::from(to));
        }
    };
    for hole in taken {
        let (from, to) = (u64::from(u32::from(*hole.start())), u64::from(u32::from(*hole.end())));
        if from > next && next <= end {
            keep(next, end.min(from - 1));
        }
        next = next.max(to + 1);
    }
    if next <= end {
        keep(next, end);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> RangeInclusive<Ipv4Addr> {
        first.parse().unwrap()..=last.parse().unwrap()
    }

    #[test]
    fn default_pools_of_all_sizes() {
        for (network, first, last) in [
            ("192.168.1.1/24", "192.168.1.100", "192.168.1.249"),
            ("10.0.0.1/16", "10.0.100.0", "10.0.249.255"),
            ("10.0.0.1/29", "10.0.0.3", "10.0.0.6"),
            ("10.0.0.1/30", "10.0.0.1", "10.0.0.2"),
        ] {
            assert_eq!(default_pool(network.parse().unwrap()), range(first, last), "{network}");
        }
        for length in 1..=30 {
            let network: Ipv4Net = format!("10.1.2.3/{length}").parse().unwrap();
            let pool = default_pool(network);
            assert!(
                network.network() < *pool.start() && pool.start() <= pool.end() && *pool.end() < network.broadcast()
            );
        }
    }

    #[test]
    fn steps_around() {
        let whole = || range("10.0.0.10", "10.0.0.20");
        let left = |taken: Vec<_>| without(whole(), taken);
        assert_eq!(left(vec![]), [whole()]);
        assert_eq!(
            left(vec![range("10.0.0.15", "10.0.0.15")]),
            [range("10.0.0.10", "10.0.0.14"), range("10.0.0.16", "10.0.0.20")]
        );
        assert_eq!(
            left(vec![range("10.0.0.1", "10.0.0.10"), range("10.0.0.20", "10.0.0.99")]),
            [range("10.0.0.11", "10.0.0.19")]
        );
        assert_eq!(left(vec![range("10.0.0.0", "10.0.0.255")]), []);
        assert_eq!(left(vec![range("10.0.0.30", "10.0.0.40")]), [whole()]);
        assert_eq!(
            without(range("255.255.255.250", "255.255.255.255"), vec![range("255.255.255.255", "255.255.255.255")])
                .len(),
            1
        );
    }
}
