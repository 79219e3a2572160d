//! The book against a kernel of the test's own, in virtual time.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::replacement::Replacement;
use super::ruleset::{Counter, Counters, Element, Ruleset, SetElements};
use super::testing::{config, forward, host, network, rule, tcp};
use super::usage::{Reading, Usage};
use super::wire;
use super::{HostAddresses, Policy, Used};
use crate::config::{Config, Endpoint, PortRange, Service};
use crate::desired;
use crate::model::Now;

const DAY: u64 = 86_400;
const START: Now = Now { instant: Duration::from_secs(100), unix: 1_800_000_000 };

/// What a kernel holds: the element and its counter, by set and key.
type Kernel = HashMap<(Arc<str>, Box<[u8]>), (Element, Counter)>;

struct World {
    policy: Policy,
    ruleset: Ruleset,
    hosts: HostAddresses,
    elements: SetElements,
    kernel: Kernel,
    usage: Usage,
    now: Now,
}

/// Networks lan, iot, web; the hosts a and b follow leases.
fn home() -> Config {
    let mut config = config();
    config.networks.push(network("web", "eth3", "192.168.30.1/24"));
    config.hosts = vec![host("a", None), host("b", None), host("nas", Some([192, 168, 1, 10]))];
    let ports = Service::Tcp(PortRange { first: 1000, last: 2000 });
    config.firewall.allow = vec![
        rule(&[Endpoint::Network(0)], &[Endpoint::Network(1), Endpoint::Network(2)], &[], 31),
        rule(&[Endpoint::Host(0)], &[Endpoint::Network(2), Endpoint::Host(1)], &[tcp(443), tcp(80)], 32),
        // Ranges that are split where they overlap, anew at every lease.
        rule(&[Endpoint::Network(1), Endpoint::Host(1)], &[Endpoint::Host(0)], &[ports], 33),
        rule(&[Endpoint::Cidr("192.168.20.0/24".parse().unwrap())], &[Endpoint::Host(0)], &[ports], 34),
        rule(&[Endpoint::Network(1)], &[Endpoint::Router], &[Service::Icmp], 35),
    ];
    config.firewall.deny = vec![rule(&[Endpoint::Network(1)], &[Endpoint::Host(2)], &[], 40)];
    config.forwards = vec![forward(8080, 0, 50)];
    config
}

fn hosts(a: Option<u8>, b: Option<u8>) -> HostAddresses {
    let at = |octet: Option<u8>| octet.map(|octet| Ipv4Addr::new(192, 168, 20, octet));
    HostAddresses::new(&[None, None, Some(Ipv4Addr::new(192, 168, 1, 10))], &[at(a), at(b), None])
}

impl World {
    fn new(config: &Config) -> World {
        let mut world = World {
            policy: Policy::compile(config),
            ruleset: Ruleset::default(),
            hosts: hosts(Some(50), None),
            elements: SetElements::default(),
            kernel: Kernel::new(),
            usage: Usage::new(START),
            now: START,
        };
        world.replace(config);
        world
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn read(&mut self) {
        let mut by_set: HashMap<Arc<str>, Vec<Reading<'_>>> = HashMap::new();
        for ((set, key), (element, counter)) in &self.kernel {
            let reading = Reading { key, comment: &element.comment, counter: *counter };
            by_set.entry(set.clone()).or_default().push(reading);
        }
        for (set, readings) in by_set {
            self.usage.absorb(&set, readings, self.now);
        }
    }

    fn replace(&mut self, config: &Config) {
        self.replace_during(config, |_| {});
    }

    /// `meanwhile` happens between the last reading and the next table.
    fn replace_during(&mut self, config: &Config, meanwhile: impl FnOnce(&mut World)) {
        self.read();
        let policy = Policy::compile(config);
        let (ruleset, elements) = (policy.ruleset(), desired::elements(&policy, &self.hosts));
        let (old, old_elements) = (self.ruleset.clone(), self.elements.clone());
        let replacement = Replacement::new((&old, &old_elements), (&ruleset, &elements));
        let planned = self.usage.plan(&policy, &elements, |set, key| replacement.stays(set, key));
        meanwhile(self);
        let counters = planned.counters();
        let mut before = std::mem::take(&mut self.kernel);
        for set in policy.counted_sets() {
            for element in set.fixed.iter().chain(elements.members(&set.name)) {
                let key: Box<[u8]> = wire::lower(&element.key).into();
                let begins = counters.get(&set.name).and_then(|by_key| by_key.get(&key)).copied().unwrap_or_default();
                let at = (set.name.clone(), key);
                let stood = before.remove(&at).filter(|_| replacement.stays(&set.name, &element.key));
                let counter = stood.map_or(begins, |(_, counter)| counter);
                self.kernel.insert(at, (element.clone(), counter));
            }
        }
        self.usage.replaced(&policy, planned, self.now);
        (self.policy, self.ruleset, self.elements) = (policy, ruleset, elements);
    }

    fn lease(&mut self, a: Option<u8>, b: Option<u8>) {
        let hosts = hosts(a, b);
        let wished = desired::elements_after(&self.policy, &self.elements, &self.hosts, &hosts);
        let mut changes = SetElements::difference(&self.elements, &wished);
        self.usage.begin(&mut changes);
        let mut last = Counters::new();
        for change in changes.iter().filter(|change| change.element.tally.is_some()) {
            let key: Box<[u8]> = wire::lower(&change.element.key).into();
            let at = (change.set.clone(), key.clone());
            if change.add {
                self.kernel.insert(at, (change.element.clone(), change.counter));
            } else if let Some((_, counter)) = self.kernel.remove(&at) {
                last.entry(change.set.clone()).or_default().insert(key, counter);
            }
        }
        self.usage.followed(&changes, &last, self.now);
        (self.hosts, self.elements) = (hosts, wished);
    }

    /// A packet for the element that stands at `index` in a steady order; tells whose it is.
    fn hit(&mut self, index: usize) -> Box<str> {
        let mut keys: Vec<_> = self.kernel.keys().cloned().collect();
        keys.sort();
        let (element, counter) = self.kernel.get_mut(&keys[index % keys.len()]).unwrap();
        *counter = counter.plus(Counter { packets: 1, bytes: 60 });
        element.tally.as_ref().expect("it counts").name.clone()
    }

    fn hit_named(&mut self, name: &str) {
        let mut found = self.kernel.values_mut();
        let (_, counter) = found.find(|(element, _)| &*element.tally.as_ref().unwrap().name == name).unwrap();
        *counter = counter.plus(Counter { packets: 1, bytes: 60 });
    }

    fn packets(&self, name: &str) -> u64 {
        self.usage.seen(name).map_or(0, |seen| seen.total.packets)
    }

    fn restart(&mut self, seconds: u64) {
        let stored = self.usage.store(self.now);
        self.pass(seconds);
        self.usage = Usage::load(&stored, self.now).unwrap();
        self.ruleset = Ruleset::default();
    }

    /// What a start does with the table it finds.
    fn adopt(&mut self) {
        let readings = self.kernel.iter().map(|((set, key), (element, counter))| {
            (&**set, Reading { key, comment: &element.comment, counter: *counter })
        });
        self.usage.adopt(&self.policy, readings, self.now);
    }

    /// The rule written in this line.
    fn rule(&self, line: u32) -> Used {
        let index = self.policy.rules.iter().position(|rule| rule.place.line == line).unwrap();
        self.usage.of_rules(&self.policy, self.now).swap_remove(index)
    }
}

#[test]
fn an_edit_elsewhere_keeps_counts_and_a_new_meaning_begins_anew() {
    let mut config = home();
    let mut world = World::new(&config);
    world.hit_named("allow lan -> web");
    world.hit_named("allow a -> web tcp/443");
    world.pass(60);
    // A line more above, another order, and another port.
    config.firewall.allow.reverse();
    config.firewall.allow.iter_mut().for_each(|rule| rule.place.line += 1);
    config.firewall.allow[3].services = vec![tcp(444), tcp(80)];
    world.replace(&config);
    assert_eq!((world.packets("allow lan -> web"), world.packets("allow a -> web tcp/444")), (1, 0));
    assert_eq!((world.rule(32).total.packets, world.rule(33).total.packets), (1, 0));
    // Taken back: the rule goes on where it was.
    world.pass(60);
    world.replace(&home());
    assert_eq!(world.rule(32).total, Counter { packets: 1, bytes: 60 });
}

#[test]
fn what_stays_counts_on_while_the_table_changes() {
    let mut world = World::new(&home());
    world.hit_named("allow lan -> web");
    let mut config = home();
    config.firewall.allow.remove(1);
    world.replace_during(&config, |world| world.hit_named("allow lan -> web"));
    world.read();
    assert_eq!(world.packets("allow lan -> web"), 2);
}

#[test]
fn a_lease_that_leaves_and_comes_back_somewhere_else_goes_on() {
    let mut world = World::new(&home());
    world.hit_named("allow a -> web tcp/443");
    world.hit_named("forward tcp/8080 -> a");
    world.lease(None, None);
    assert_eq!(world.packets("allow a -> web tcp/443"), 1, "what was counted last is not lost");
    world.pass(60);
    world.lease(Some(99), Some(50));
    let shown = |world: &World, name: &str| {
        let of = |(element, _): &&(Element, Counter)| &*element.tally.as_ref().unwrap().name == name;
        world.kernel.values().filter(of).map(|(_, counter)| counter.packets).sum::<u64>()
    };
    assert_eq!((shown(&world, "allow a -> web tcp/443"), shown(&world, "forward tcp/8080 -> a")), (1, 1));
    world.hit_named("forward tcp/8080 -> a");
    world.read();
    assert_eq!(world.usage.of_forwards(&world.policy, world.now)[0].total.packets, 2);
}

#[test]
fn a_counter_that_somebody_sets_back_takes_nothing_away() {
    let mut world = World::new(&home());
    world.hit_named("allow lan -> iot");
    world.hit_named("allow lan -> iot");
    world.read();
    world.kernel.values_mut().for_each(|(_, counter)| *counter = Counter::default());
    world.hit_named("allow lan -> iot");
    world.read();
    world.read();
    assert_eq!(world.packets("allow lan -> iot"), 3);
}

#[test]
fn a_start_adds_what_the_standing_table_counted_meanwhile_and_only_where_it_means_the_same() {
    let mut world = World::new(&home());
    world.hit_named("allow lan -> web");
    world.replace(&home());
    world.restart(3600);
    world.hit_named("allow lan -> web");
    world.hit_named("forward tcp/8080 -> a");
    world.hit_named("allow a -> web tcp/443");
    for (element, _) in world.kernel.values_mut().filter(|(element, _)| element.comment.contains("a -> web")) {
        element.comment = "labgate.toml:32 b -> web".into();
    }
    world.adopt();
    assert_eq!((world.packets("allow lan -> web"), world.packets("allow a -> web tcp/443")), (2, 0));
    assert_eq!(world.usage.seen("allow lan -> web").unwrap().total.bytes, 120);
    assert_eq!(world.packets("forward tcp/8080 -> a"), 1, "also where the host's lease is not known yet");
}

#[test]
fn a_jump_of_the_wall_clock_moves_no_hit_and_makes_nothing_unused() {
    let mut world = World::new(&home());
    world.pass(60);
    world.hit_named("allow lan -> web");
    world.read();
    // From 1970 to today, as when the first NTP answer comes.
    world.now.unix += 1_000_000_000;
    world.pass(600);
    let used = world.rule(31);
    assert_eq!(used.last_hit_unix, Some(world.now.unix - 600));
    assert_eq!(used.counted_since_unix, Some(world.now.unix - 660));
    assert_eq!(used.hints, [""; 0]);
    // A year in a drawer.
    let hit = used.last_hit_unix;
    let stored = world.usage.store(world.now);
    world.now = Now { instant: Duration::from_secs(5), unix: world.now.unix + 365 * DAY };
    world.usage = Usage::load(&stored, world.now).unwrap();
    world.replace(&home());
    let used = world.rule(31);
    assert_eq!((used.last_hit_unix, used.hints.len()), (hit, 0));
}

#[test]
fn a_rule_wider_than_its_use_is_told_after_thirty_days() {
    let mut world = World::new(&home());
    let use_some = |world: &mut World| {
        world.hit_named("allow lan -> iot");
        world.hit_named("allow a -> web tcp/443");
        world.read();
    };
    world.pass(29 * DAY);
    use_some(&mut world);
    assert_eq!((world.rule(31).hints.len(), world.rule(33).hints.len()), (0, 0), "a day too early");
    assert_eq!(world.rule(31).unused, ["lan -> web"]);
    world.pass(DAY);
    use_some(&mut world);
    assert_eq!(world.rule(31).hints, ["wider than used: in 30 days nothing went lan -> web; only lan -> iot was used"]);
    assert_eq!(
        world.rule(32).hints,
        ["wider than used: in 30 days nothing went a -> web tcp/80, a -> b; only a -> web tcp/443 was used"]
    );
    assert_eq!(world.rule(33).hints, ["nothing used this rule in 30 days"]);
    assert_eq!(world.rule(40).hints, [""; 0], "a denial is there for what should not happen");
    let forwards = world.usage.of_forwards(&world.policy, world.now);
    assert_eq!(forwards[0].hints, ["nothing used this forward in 30 days"]);
    let implied = world.usage.of_rules(&world.policy, world.now).swap_remove(0);
    assert_eq!((implied.hints.len(), implied.last_hit_unix), (0, None));
    // A new end of the rule is too young to be judged; what was used then is not now.
    let mut wider = home();
    wider.networks.push(network("db", "eth4", "192.168.40.1/24"));
    wider.firewall.allow[0].to.push(Endpoint::Network(3));
    world.replace(&wider);
    assert_eq!(world.rule(31).unused, ["lan -> web", "lan -> db"]);
    assert_eq!(world.rule(31).hints.len(), 1);
    world.pass(30 * DAY);
    assert_eq!(world.rule(31).hints, ["nothing used this rule in 30 days"]);
}

#[test]
fn time_in_which_a_rule_was_gone_is_no_time_in_which_nobody_used_it() {
    let mut world = World::new(&home());
    let mut without = home();
    without.firewall.allow.remove(4);
    world.pass(10 * DAY);
    world.replace(&without);
    world.pass(25 * DAY);
    world.replace(&home());
    assert_eq!(world.rule(35).hints, [""; 0]);
    assert_eq!(world.rule(35).counted_since_unix, Some(world.now.unix - 10 * DAY));
    world.pass(20 * DAY);
    assert_eq!(world.rule(35).hints, ["nothing used this rule in 30 days"]);
}

#[test]
fn what_is_kept_of_rules_that_are_gone_has_an_end() {
    let mut config = home();
    let mut world = World::new(&config);
    for edit in 0..4 {
        let ports = |port| rule(&[Endpoint::Network(0)], &[Endpoint::Network(2)], &[tcp(port)], 31);
        config.firewall.allow = (0..1000).map(|port| ports(10_000 * edit + port + 1)).collect();
        world.pass(60);
        world.replace(&config);
    }
    let stored = world.usage.store(world.now);
    let book: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    let names = book["tallies"].as_object().unwrap();
    assert!(names.len() < 3200 && stored.len() < 400_000, "{} tallies, {} octets", names.len(), stored.len());
    assert!(names.contains_key("allow lan -> web tcp/20001") && !names.contains_key("allow lan -> web tcp/1"));
}

#[derive(Clone, Debug)]
enum Step {
    Hit(usize),
    Lease(Option<u8>, Option<u8>),
    Read,
    Edit(usize),
    Flush,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let octet = || prop::option::of(50u8..53);
    prop_oneof![
        6 => (0usize..64).prop_map(Step::Hit),
        3 => (octet(), octet()).prop_map(|(a, b)| Step::Lease(a, b)),
        1 => Just(Step::Read),
        2 => (0usize..32).prop_map(Step::Edit),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_packet_is_lost_or_counted_twice(steps in prop::collection::vec(step(), 0..60)) {
        let mut config = home();
        let mut world = World::new(&config);
        let mut model: HashMap<Box<str>, u64> = HashMap::new();
        for step in steps {
            world.pass(7);
            match step {
                Step::Hit(index) => *model.entry(world.hit(index)).or_default() += 1,
                Step::Lease(a, b) => world.lease(a, b),
                Step::Read => world.read(),
                // Rules by the bits of a number, so that they go and come back.
                Step::Edit(bits) => {
                    let rules = home().firewall.allow.into_iter().enumerate();
                    config.firewall.allow = rules.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, rule)| rule).collect();
                    world.replace(&config);
                }
                // Somebody removes the table: what was read before stays.
                Step::Flush => {
                    world.read();
                    world.kernel.clear();
                    world.ruleset = Ruleset::default();
                    world.replace(&config);
                }
                Step::Restart => {
                    world.read();
                    world.restart(60);
                    world.adopt();
                    world.replace(&config);
                }
            }
        }
        world.read();
        for (name, packets) in &model {
            prop_assert_eq!(world.packets(name), *packets, "{}", name);
        }
        for (element, counter) in world.kernel.values() {
            let name = &element.tally.as_ref().unwrap().name;
            prop_assert!(counter.packets <= world.packets(name), "the kernel shows too much for {}", name);
        }
    }
}
