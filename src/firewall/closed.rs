//! The closed table: what stands before the network is up and before the whole configuration is known.

use std::borrow::Cow;

use super::compile::{icmp_v6, refuse};
use super::policy::Policy;
use super::ruleset::{Chain, Data, DataType, Element, Field, FieldType, Ruleset, Set, SetElements};
use crate::config::{Config, InterfaceName};

/// A transaction after which nothing is forwarded and the router answers nobody, but for what keeps a link alive (DHCP, ping from own
/// networks, IPv6 neighbour discovery) and SSH from admin networks. Without a configuration no network is known to be one's own.
pub fn closed_ruleset(config: Option<&Config>) -> String {
    let policy = config.map(Policy::compile);
    let uplink = policy.as_ref().and_then(|policy| policy.uplink.as_ref());
    let networks = policy.as_ref().map_or(&[][..], |policy| &policy.networks);
    let all = networks.iter().map(|network| &network.interface).collect();
    let admin = networks.iter().filter(|network| network.admin).map(|network| &network.interface).collect();
    let rules = [
        "iifname \"lo\" accept",
        "ct state established,related accept",
        "ct state invalid counter drop",
        "meta l4proto 58 jump icmp_v6",
        "udp dport { 67, 68 } accept comment \"DHCP, as server and as client\"",
        "iifname @networks icmp type echo-request accept comment \"ping\"",
        "iifname @admin_networks tcp dport 22 accept",
        "goto refuse",
    ];
    let forward = ["iifname . oifname @inside accept", "goto refuse"];
    let base = |name, comment, hook, rules: &[&str]| Chain {
        name: Cow::Borrowed(name),
        comment,
        hook: Some(hook),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
    };
    let inside = networks.iter().map(|network| [&network.interface, &network.interface].map(field).into()).collect();
    let ruleset = Ruleset {
        sets: vec![
            set("networks", "interfaces of own networks", interfaces(all)),
            set("admin_networks", "who may reach SSH", interfaces(admin)),
            Set {
                key: vec![FieldType::Interface; 2],
                ..set("inside", "traffic inside one network is never filtered", inside)
            },
        ],
        chains: vec![
            base(
                "input",
                "closed: labgate is not up yet",
                "type filter hook input priority filter; policy drop;",
                &rules,
            ),
            Chain {
                name: "icmp_v6".into(),
                comment: "what IPv6 cannot live without (RFC 4890)",
                hook: None,
                rules: icmp_v6(uplink),
            },
            base(
                "forward",
                "closed: nothing passes",
                "type filter hook forward priority filter; policy drop;",
                &forward,
            ),
            refuse(false),
        ],
    };
    ruleset.text(&SetElements::default())
}

fn field(interface: &InterfaceName) -> Field {
    Field::Interface(interface.clone())
}

fn interfaces(names: Vec<&InterfaceName>) -> Vec<Box<[Field]>> {
    names.into_iter().map(|name| [field(name)].into()).collect()
}

fn set(name: &str, comment: &str, keys: Vec<Box<[Field]>>) -> Set {
    let elements =
        keys.into_iter().map(|key| Element { key, data: Data::None, comment: "".into(), tally: None }).collect();
    Set::new(name, comment, &[FieldType::Interface], DataType::None, elements)
}
