//! The plan against pictures of a kernel that obeys.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{Link, LinkKind, Links};

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn link(index: u32) -> Link {
    Link { index, up: true, carrier: true, mtu: 1500, ..Link::default() }
}

/// A kernel that does what steps say.
#[derive(Default)]
struct Fake {
    links: Links,
    sysctls: BTreeMap<String, String>,
    owned: Owned,
    seen_up: BTreeSet<u32>,
    closed: bool,
}

impl Fake {
    fn with(names: &[&str]) -> Self {
        let mut fake = Fake { closed: true, ..Fake::default() };
        for (index, name) in names.iter().enumerate() {
            fake.links.by_name.insert((*name).into(), link(index as u32 + 2));
            fake.sysctls.insert(format!("net/ipv4/conf/{name}/rp_filter"), "0".to_owned());
        }
        fake.sysctls.insert(IP_FORWARD.to_owned(), "0".to_owned());
        fake
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel {
            links: &self.links,
            sysctls: &self.sysctls,
            owned: &self.owned,
            seen_up: &self.seen_up,
            closed: self.closed,
        }
    }

    /// Steps until nothing is left; all of them, in words.
    fn settle(&mut self, plan: &NetworkPlan) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..6 {
            self.owned.prune(&self.links);
            let now = steps(plan, self.kernel());
            if now.is_empty() {
                return words;
            }
            for step in now {
                words.push(step.to_string());
                let before = match &step {
                    Step::WriteSysctl { name, .. } => self.sysctls.get(name).cloned(),
                    _ => None,
                };
                if !self.owned.note(&step, &self.links, before.as_deref()) {
                    self.owned.forget(&step, &self.links);
                }
                self.obey(&step);
            }
        }
        panic!("never settles: {words:#?}");
    }

    fn obey(&mut self, step: &Step) {
        let next = self.links.by_name.values().map(|link| link.index).max().unwrap_or(1) + 1;
        let links = &mut self.links.by_name;
        match step {
            Step::CreateBridge { name } | Step::CreateVlan { name, .. } => {
                let kind = if matches!(step, Step::CreateBridge { .. }) { LinkKind::Bridge } else { LinkKind::Vlan };
                links.insert(name.clone(), Link { kind, ..link(next) });
                self.sysctls.insert(format!("net/ipv4/conf/{name}/rp_filter"), "0".to_owned());
            }
            Step::SetMaster { link, master } => links.get_mut(link).unwrap().master = Some(master.clone()),
            Step::ClearMaster { link } => links.get_mut(link).unwrap().master = None,
            Step::SetUp { link } => links.get_mut(link).unwrap().up = true,
            Step::SetDown { link } => links.get_mut(link).unwrap().up = false,
            Step::SetMtu { link, mtu } | Step::RestoreMtu { link, mtu } => links.get_mut(link).unwrap().mtu = *mtu,
            Step::AddAddress { link, address } => links.get_mut(link).unwrap().addresses.push(*address),
            Step::RemoveAddress { link, address } => links.get_mut(link).unwrap().addresses.retain(|a| a != address),
            Step::AddRoute { route } => {
                let same = |other: &Route| other.destination == route.destination && other.metric == route.metric;
                assert!(!self.links.routes.iter().any(same), "the kernel would say EEXIST");
                self.links.routes.push(route.clone());
            }
            Step::RemoveRoute { route } => self.links.routes.retain(|other| other != route),
            Step::DeleteLink { link } => {
                links.remove(link);
                links
                    .values_mut()
                    .filter(|other| other.master.as_ref() == Some(link))
                    .for_each(|other| other.master = None);
                self.sysctls.remove(&format!("net/ipv4/conf/{link}/rp_filter"));
            }
            Step::WriteSysctl { name, value, .. } | Step::RestoreSysctl { name, value } => {
                self.sysctls.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A plan without a configuration file: links by `name`, `name=address`, `name>master`.
fn plan_of(links: &[&str]) -> NetworkPlan {
    let mut plan = NetworkPlan::default();
    let network: Arc<str> = "lan".into();
    for text in links {
        let name = text.split(['=', '>']).next().unwrap();
        plan.want_possible_vlan(&name.into(), &network);
        let link = plan.link(&name.into());
        if let Some((_, address)) = text.split_once('=') {
            link.addresses.push(net(address));
        }
        if let Some((_, master)) = text.split_once('>') {
            link.master = Some(master.into());
        }
        if name.starts_with("br") {
            link.origin = Origin::Bridge;
        }
    }
    plan
}

fn default_route(gateway: &str, link: &str) -> Route {
    Route { destination: Ipv4Net::default(), gateway: gateway.parse().ok(), link: link.into(), metric: 0 }
}

#[test]
fn an_address_is_put_there_changed_and_taken_out() {
    let mut fake = Fake::with(&["eth1"]);
    assert_eq!(fake.settle(&plan_of(&["eth1=192.168.1.1/24"])), ["add 192.168.1.1/24 to eth1"]);
    assert_eq!(fake.settle(&plan_of(&["eth1=192.168.1.1/24"])), [""; 0]);
    let words = fake.settle(&plan_of(&["eth1=192.168.2.1/24"]));
    assert_eq!(words, ["add 192.168.2.1/24 to eth1", "remove 192.168.1.1/24 from eth1"]);
    assert_eq!(fake.settle(&NetworkPlan::default()), ["remove 192.168.2.1/24 from eth1"]);
    assert!(fake.owned.is_empty());
}

#[test]
fn what_was_there_before_stays() {
    let mut fake = Fake::with(&["eth1"]);
    fake.links.by_name.get_mut("eth1").unwrap().addresses = vec![net("192.168.1.1/24"), net("10.0.0.1/8")];
    assert_eq!(fake.settle(&plan_of(&["eth1=192.168.1.1/24"])), [""; 0]);
    assert_eq!(fake.settle(&NetworkPlan::default()), [""; 0]);
}

#[test]
fn an_interface_that_is_made_again_is_a_new_one() {
    let plan = plan_of(&["eth1=192.168.1.1/24"]);
    let mut fake = Fake::with(&[]);
    assert_eq!(fake.settle(&plan), [""; 0]);
    assert_eq!(obstacles(&plan, fake.kernel()), [("lan".to_owned(), "eth1 is not there; waiting".to_owned())]);
    fake.links.by_name.insert("eth1".into(), Link { up: false, ..link(7) });
    assert_eq!(fake.settle(&plan), ["set eth1 up", "add 192.168.1.1/24 to eth1"]);
    // Deleted and made again, with the address put there by somebody else: it is not ours any more.
    fake.links.by_name.insert("eth1".into(), Link { addresses: vec![net("192.168.1.1/24")], ..link(8) });
    assert_eq!(fake.settle(&plan), [""; 0]);
    assert!(fake.owned.is_empty());
    // Renamed: what is ours goes with it and is taken out there.
    fake.links.by_name.insert("eth1".into(), link(9));
    fake.settle(&plan);
    let renamed = fake.links.by_name.remove("eth1").unwrap();
    fake.links.by_name.insert("eth9".into(), renamed);
    assert_eq!(fake.settle(&plan), ["remove 192.168.1.1/24 from eth9"]);
}

#[test]
fn what_a_person_sets_down_stays_down() {
    let plan = plan_of(&["eth1=192.168.1.1/24"]);
    let mut fake = Fake::with(&["eth1"]);
    fake.settle(&plan);
    fake.seen_up.insert(2);
    fake.links.by_name.get_mut("eth1").unwrap().up = false;
    assert_eq!(fake.settle(&plan), [""; 0]);
    assert!(obstacles(&plan, fake.kernel())[0].1.contains("set down by hand"));
}

#[test]
fn a_bridge_over_a_card_and_a_vlan() {
    let plan = plan_of(&["eth1>br-lan", "eth2.20>br-lan", "br-lan=192.168.1.1/24"]);
    assert_eq!(plan.find("eth2.20").unwrap().origin, Origin::Vlan { parent: "eth2".into(), id: 20 });
    let mut fake = Fake::with(&["eth1", "eth2"]);
    let words = fake.settle(&plan);
    assert_eq!(
        words,
        [
            "make eth2.20, VLAN 20 on eth2",
            "make the bridge br-lan",
            "put eth1 into br-lan",
            "put eth2.20 into br-lan",
            "add 192.168.1.1/24 to br-lan"
        ]
    );
    assert_eq!(fake.settle(&plan), [""; 0]);
    let words = fake.settle(&plan_of(&["eth1=192.168.1.1/24"]));
    assert_eq!(words.last().unwrap(), "delete br-lan");
    assert!(words.contains(&"take eth1 out of its bridge".to_owned()), "{words:?}");
    let Fake { links, owned, .. } = &fake;
    assert_eq!(links.by_name.keys().map(|name| &**name).collect::<Vec<_>>(), ["eth1", "eth2"]);
    assert_eq!((links.by_name["eth1"].addresses.len(), owned.links.len()), (1, 0));
}

#[test]
fn a_member_of_a_foreign_bridge_is_left_there() {
    let plan = plan_of(&["eth1>br-lan", "br-lan=192.168.1.1/24"]);
    let mut fake = Fake::with(&["br0", "eth1"]);
    fake.links.by_name.get_mut("eth1").unwrap().master = Some("br0".into());
    assert_eq!(fake.settle(&plan), ["make the bridge br-lan", "add 192.168.1.1/24 to br-lan"]);
    assert!(obstacles(&plan, fake.kernel())[0].1.starts_with("eth1 is a member of br0, which labgate did not make"));
}

#[test]
fn a_vlan_waits_for_its_parent() {
    let plan = plan_of(&["eth1.20=192.168.20.1/24"]);
    let mut fake = Fake::with(&[]);
    assert_eq!(fake.settle(&plan), [""; 0]);
    assert_eq!(obstacles(&plan, fake.kernel())[0].1, "eth1 is not there; waiting");
    // A link of that name that somebody else made is as good, without any parent.
    fake.links.by_name.insert("eth1.20".into(), link(5));
    assert_eq!(fake.settle(&plan), ["add 192.168.20.1/24 to eth1.20"]);
}

#[test]
fn the_uplink_follows_its_lease() {
    let lease = |address: &str, router: &str, mtu| UplinkAddress::Lease {
        address: net(address),
        routes: vec![(Ipv4Net::default(), router.parse().unwrap())],
        mtu,
    };
    let plan_for = |uplink: &UplinkAddress| {
        let mut plan = NetworkPlan::default();
        plan.plan_uplink(&"eth0".into(), &WanAddress::Dhcp, uplink);
        plan
    };
    let mut fake = Fake::with(&["eth0"]);
    let words = fake.settle(&plan_for(&lease("203.0.113.5/24", "203.0.113.1", Some(1492))));
    assert_eq!(
        words,
        [
            "add 203.0.113.5/24 to eth0",
            "set the MTU of eth0 to 1492",
            "add the default route through 203.0.113.1 on eth0"
        ]
    );
    // After a restart of the daemon nothing is known: what is there stays.
    assert_eq!(fake.settle(&plan_for(&UplinkAddress::Unknown)), [""; 0]);
    let words = fake.settle(&plan_for(&lease("198.51.100.7/24", "198.51.100.1", None)));
    assert_eq!(words[0], "add 198.51.100.7/24 to eth0");
    assert!(words.contains(&"set the MTU of eth0 back to 1500".to_owned()), "{words:?}");
    assert_eq!(fake.links.routes, [default_route("198.51.100.1", "eth0")]);
    fake.settle(&plan_for(&UplinkAddress::Nothing));
    assert!(fake.owned.is_empty() && fake.links.routes.is_empty());
}

#[test]
fn a_foreign_default_route_is_reported_not_fought() {
    let mut plan = NetworkPlan::default();
    let wish = WanAddress::Static { address: net("203.0.113.5/24"), gateway: Ipv4Addr::new(203, 0, 113, 1) };
    plan.plan_uplink(&"eth0".into(), &wish, &UplinkAddress::Unknown);
    let mut fake = Fake::with(&["eth0", "eth5"]);
    fake.links.routes.push(default_route("10.0.0.1", "eth5"));
    assert_eq!(fake.settle(&plan), ["add 203.0.113.5/24 to eth0"]);
    let found = obstacles(&plan, fake.kernel());
    assert_eq!(
        found[0],
        (WAN.to_owned(), "the default route through 10.0.0.1 on eth5 was there before; remove it".to_owned())
    );
    fake.links.routes.clear();
    assert_eq!(fake.settle(&plan), ["add the default route through 203.0.113.1 on eth0"]);
}

#[test]
fn forwarding_waits_for_the_firewall_and_settings_go_back() {
    let mut plan = plan_of(&["eth1=192.168.1.1/24"]);
    for (name, once_closed) in [("net/ipv4/conf/eth1/rp_filter", false), (IP_FORWARD, true)] {
        plan.sysctls.push(Sysctl { name: name.to_owned(), value: "1", link: None, once_closed });
    }
    let mut fake = Fake::with(&["eth1"]);
    fake.closed = false;
    assert!(!fake.settle(&plan).iter().any(|words| words.contains("forward")));
    fake.closed = true;
    assert_eq!(fake.settle(&plan), ["set net/ipv4/ip_forward to 1"]);
    let words = fake.settle(&NetworkPlan::default());
    assert_eq!(words[1..], ["set net/ipv4/conf/eth1/rp_filter back to 0", "set net/ipv4/ip_forward back to 0"]);
    assert!(fake.owned.is_empty());
}
