//! Policy + addresses of hosts → the set members that follow leases.

use std::collections::HashSet;

use crate::firewall::{Element, HostAddresses, Members, Policy, Set, SetElements, disjoint};
use crate::model::SharedMap;

/// Every member that depends on an address the file does not fix.
pub fn elements(policy: &Policy, hosts: &HostAddresses) -> SetElements {
    SetElements { sets: policy.following_sets().map(|set| members(set, hosts)).collect() }
}

/// The same as [`elements`], at a cost that follows the number of hosts whose address changed: `older` belongs to `older_hosts`.
pub fn elements_after(
    policy: &Policy,
    older: &SetElements,
    older_hosts: &HostAddresses,
    hosts: &HostAddresses,
) -> SetElements {
    let changed: HashSet<usize> = HostAddresses::changed(older_hosts, hosts).into_iter().collect();
    let sets = policy.following_sets().zip(&older.sets).map(|(set, before)| {
        let touched: Vec<&Element> =
            set.following.iter().filter(|element| element.hosts().any(|host| changed.contains(&host))).collect();
        if touched.is_empty() {
            return before.clone();
        }
        if set.interval || set.literal_beside_host() {
            return members(set, hosts);
        }
        let mut after = before.clone();
        for element in touched.iter().filter_map(|element| element.resolve(older_hosts)) {
            after.by_key.remove(&element.key);
        }
        for element in touched.iter().filter_map(|element| element.resolve(hosts)) {
            insert(set, &mut after.by_key, element);
        }
        after
    });
    SetElements { sets: sets.collect() }
}

fn members(set: &Set, hosts: &HostAddresses) -> Members {
    let resolved = set.following.iter().filter_map(|element| element.resolve(hosts));
    let mut by_key = SharedMap::new();
    if set.interval {
        for element in disjoint(resolved.collect()) {
            by_key.insert(element.key.clone(), element);
        }
    } else {
        for element in resolved {
            insert(set, &mut by_key, element);
        }
    }
    Members { name: set.name.clone(), data: set.data, interval: set.interval, by_key }
}

/// A member that the file fixes already stays the file's: the kernel knows no two elements of one key. Among several, the earlier counts.
fn insert(set: &Set, by_key: &mut SharedMap<crate::firewall::Key, Element>, element: Element) {
    if !set.fixed_keys.contains(&element.key) && by_key.get(&element.key).is_none() {
        by_key.insert(element.key.clone(), element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Endpoint, PortRange, Service};
    use crate::firewall::testing::{config, host, rule};
    use crate::firewall::{Data, Field};
    use std::net::Ipv4Addr;

    fn at(octet: u8) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::new(192, 168, 1, octet))
    }

    /// Two hosts that follow leases, and rules of every shape that follows them.
    fn policy() -> Policy {
        let mut config = config();
        config.hosts = vec![host("a", None), host("b", None), host("c", None)];
        let port = Service::Tcp(PortRange { first: 443, last: 443 });
        let ports = Service::Udp(PortRange { first: 1000, last: 2000 });
        let literal = Endpoint::Cidr("192.168.1.50/32".parse().unwrap());
        config.firewall.allow = vec![
            rule(&[Endpoint::Host(0)], &[Endpoint::Network(1), Endpoint::Host(1)], &[port], 10),
            rule(&[literal, Endpoint::Network(1)], &[Endpoint::Host(0), Endpoint::Host(2)], &[port], 11),
            rule(&[Endpoint::Network(0), Endpoint::Host(1)], &[Endpoint::Host(0), Endpoint::Router], &[ports], 12),
        ];
        Policy::compile(&config)
    }

    #[test]
    fn a_lease_moves_exactly_its_elements() {
        let policy = policy();
        let none = [None, None, None];
        let before = HostAddresses::new(&none, &[at(100), None, None]);
        let after = HostAddresses::new(&none, &[at(101), at(102), None]);
        let older = elements(&policy, &before);
        let newer = elements(&policy, &after);
        let changes = SetElements::difference(&older, &newer);
        assert!(changes.iter().all(|change| change.element.key.iter().all(|field| !matches!(field, Field::Host(_)))));
        let gone = changes.iter().filter(|change| !change.add).count();
        assert!(gone > 0 && changes[..gone].iter().all(|change| !change.add), "what goes stands first");
        assert!(SetElements::difference(&newer, &newer).is_empty());
        assert!(changes.iter().all(|change| change.element.data == Data::None));
    }

    #[test]
    fn the_short_way_ends_where_the_long_way_does() {
        let policy = policy();
        let none = [None, None, None];
        let steps = [
            [None, None, None],
            [at(50), None, None],
            [at(50), at(51), None],
            [at(51), at(50), at(52)],
            [None, at(50), at(51)],
            [at(53), None, None],
        ];
        let mut hosts = HostAddresses::new(&none, &steps[0]);
        let mut step = elements(&policy, &hosts);
        for leased in &steps[1..] {
            let next = HostAddresses::new(&none, leased);
            step = elements_after(&policy, &step, &hosts, &next);
            let whole = elements(&policy, &next);
            assert_eq!(SetElements::difference(&step, &whole), []);
            assert_eq!(SetElements::difference(&whole, &step), []);
            hosts = next;
        }
    }
}
