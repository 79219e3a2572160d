//! Policy + addresses of hosts and outside names → the set members that follow them.

use std::collections::HashSet;

use crate::firewall::{Element, HostAddresses, Key, Members, Policy, Set, SetElements, disjoint};
use crate::model::SharedMap;

/// Every member that depends on an address the file does not fix.
pub fn elements(policy: &Policy, hosts: &HostAddresses) -> SetElements {
    SetElements { sets: policy.following_sets().map(|set| members(set, hosts)).collect() }
}

/// The same as [`elements`], at a cost that follows the number of hosts and names whose addresses changed: `older` belongs to `older_hosts`.
pub fn elements_after(
    policy: &Policy,
    older: &SetElements,
    older_hosts: &HostAddresses,
    hosts: &HostAddresses,
) -> SetElements {
    let changed: HashSet<usize> = HostAddresses::changed(older_hosts, hosts).into_iter().collect();
    let names: HashSet<usize> = HostAddresses::names_changed(older_hosts, hosts).into_iter().collect();
    let is_touched = |element: &&Element| {
        element.hosts().any(|host| changed.contains(&host)) || element.names().any(|name| names.contains(&name))
    };
    let sets = policy.following_sets().zip(&older.sets).map(|(set, before)| {
        let touched: Vec<&Element> = set.following.iter().filter(is_touched).collect();
        if touched.is_empty() {
            return before.clone();
        }
        if set.interval {
            return members(set, hosts);
        }
        let resolved = |hosts| touched.iter().flat_map(move |element| element.resolve(hosts));
        let mut after = before.clone();
        let mut keys: HashSet<Key> = resolved(older_hosts).map(|element| element.key).collect();
        keys.iter().for_each(|key| drop(after.by_key.remove(key)));
        if !set.keys_may_meet() {
            resolved(hosts).for_each(|element| insert(set, &mut after.by_key, element));
            return after;
        }
        // Somebody who did not move may say the same key, and be the one that counts now.
        keys.extend(resolved(hosts).map(|element| element.key));
        keys.iter().for_each(|key| drop(after.by_key.remove(key)));
        for element in set.following.iter().flat_map(|element| element.resolve(hosts)) {
            if keys.contains(&element.key) {
                insert(set, &mut after.by_key, element);
            }
        }
        after
    });
    SetElements { sets: sets.collect() }
}

fn members(set: &Set, hosts: &HostAddresses) -> Members {
    let resolved = set.following.iter().flat_map(|element| element.resolve(hosts));
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
fn insert(set: &Set, by_key: &mut SharedMap<Key, Element>, element: Element) {
    if !set.fixed_keys.contains(&element.key) && by_key.get(&element.key).is_none() {
        by_key.insert(element.key.clone(), element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Endpoint, PortRange, Service};
    use crate::firewall::testing::{config, host, outside_name, rule};
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

    /// A host that follows its lease, two outside names, and rules that say the same of them in several ways.
    fn policy_of_names() -> Policy {
        let mut config = config();
        config.hosts = vec![host("a", None)];
        config.outside_names = ["one.example.net", "two.example.net"].map(outside_name).to_vec();
        let port = Service::Tcp(PortRange { first: 443, last: 443 });
        let ports = Service::Udp(PortRange { first: 1000, last: 2000 });
        let literal = Endpoint::Cidr("203.0.113.2/32".parse().unwrap());
        let (one, two, iot) = (Endpoint::Name(0), Endpoint::Name(1), Endpoint::Network(1));
        config.firewall.allow = vec![
            rule(std::slice::from_ref(&iot), &[one.clone(), two.clone(), literal], &[port], 10),
            rule(&[Endpoint::Host(0), one.clone()], &[two.clone(), Endpoint::Host(0)], &[port, ports], 11),
            rule(&[two, one], &[iot, Endpoint::Router], &[], 12),
        ];
        Policy::compile(&config)
    }

    #[test]
    fn names_that_share_addresses_leave_one_another_theirs() {
        let policy = policy_of_names();
        let of = |lasts: &[u8]| lasts.iter().map(|last| Ipv4Addr::new(203, 0, 113, *last)).collect::<Vec<_>>();
        let steps: [(Option<Ipv4Addr>, &[u8], &[u8]); 8] = [
            (None, &[], &[]),
            (None, &[1, 2, 3], &[]),
            (at(50), &[1, 2, 3], &[3, 4]),
            (at(50), &[1], &[3, 4]),
            (at(51), &[3, 4], &[1]),
            (None, &[3], &[3]),
            (Some(Ipv4Addr::new(203, 0, 113, 3)), &[], &[3, 2]),
            (None, &[], &[]),
        ];
        let hosts = |(leased, one, two): (Option<Ipv4Addr>, &[u8], &[u8])| {
            HostAddresses::new(&[None], &[leased]).with_names([of(one), of(two)])
        };
        let mut before = hosts(steps[0]);
        let mut step = elements(&policy, &before);
        for next in steps {
            let next = hosts(next);
            step = elements_after(&policy, &step, &before, &next);
            let whole = elements(&policy, &next);
            assert_eq!(SetElements::difference(&step, &whole), [], "{next:?}");
            assert_eq!(SetElements::difference(&whole, &step), [], "{next:?}");
            before = next;
        }
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
