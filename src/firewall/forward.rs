//! The chains of what goes through the router. A packet of an own network finds the chain of that network by one look into a hash, and there
//! its source is compared with one prefix: the sets that many networks share are asked only about packets that are about to be dropped.

use std::borrow::Cow;

use super::compile::{lookups, own_source};
use super::nat::NatSets;
use super::permissions::{EndKind, Shape};
use super::policy::{Network, Policy, Verdict};
use super::ruleset::Chain;
use super::tell;
use super::text::quote;

const INVALID: &str = "ct state invalid counter drop";
/// What is IPv4 here has a wrong source.
const NOT_ITS_SOURCE: [&str; 2] = ["meta nfproto ipv4 goto spoofed", "goto forward_ipv6"];

/// The base chain first, then those it goes to.
pub(super) fn chains(policy: &Policy, shapes: &[Shape], nat: &NatSets) -> Vec<Chain> {
    let through: Vec<Shape> = shapes.iter().copied().filter(passes).collect();
    let mut chains = vec![base(policy)];
    chains.extend(policy.networks.iter().map(from));
    chains.extend([decide(&through, nat), decide_ipv6(&through)]);
    if let Some(uplink) = &policy.uplink {
        let interface = quote(&uplink.interface);
        let clamp = |way: &str| format!("{way} {interface} tcp option maxseg size set rt mtu");
        let rules = vec![clamp("oifname"), clamp("iifname")];
        chains.push(Chain { name: "mss".into(), comment: "TCP segments fit the uplink", hook: None, rules });
    }
    chains
}

fn passes(shape: &Shape) -> bool {
    shape.from != EndKind::Router && shape.to != EndKind::Router
}

fn base(policy: &Policy) -> Chain {
    let mut rules = Vec::new();
    if policy.uplink.is_some() {
        rules.push("tcp flags & (syn | rst) == syn jump mss".to_owned());
    }
    rules.push("ct state established,related accept".to_owned());
    let way = |network: &Network| format!("{} : goto {}", quote(&network.interface), chain_name(network));
    let ways: Vec<String> = policy.networks.iter().map(way).collect();
    if !ways.is_empty() {
        rules.push(format!("iifname vmap {{ {} }}", ways.join(", ")));
    }
    rules.extend([INVALID.to_owned(), format!("{} goto decide", own_source(policy, "!="))]);
    rules.extend(NOT_ITS_SOURCE.map(str::to_owned));
    Chain {
        name: "forward".into(),
        comment: "through the router: established first, then by network",
        hook: Some("type filter hook forward priority filter; policy drop;"),
        rules,
    }
}

/// Packets from one network.
fn from(network: &Network) -> Chain {
    let mut rules = vec![
        format!("oifname {} accept", quote(&network.interface)),
        INVALID.to_owned(),
        format!("ip saddr {} goto decide", network.subnet.trunc()),
    ];
    rules.extend(NOT_ITS_SOURCE.map(str::to_owned));
    Chain {
        name: chain_name(network),
        comment: "traffic inside one network is never filtered, a source belongs to its network",
        hook: None,
        rules,
    }
}

/// Names of networks are letters, digits and hyphens; whatever else one might hold does not become syntax.
fn chain_name(network: &Network) -> Cow<'static, str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    format!("from_{}", network.name.chars().map(plain).collect::<String>()).into()
}

fn decide(through: &[Shape], nat: &NatSets) -> Chain {
    let of = |verdict| lookups(through, move |shape| !shape.ipv6 && shape.verdict == verdict);
    let mut rules = vec![tell::MIDSTREAM.to_owned()];
    rules.extend(of(Verdict::Deny));
    for name in ["forward_targets", "forward_targets_range"] {
        if nat.sets.iter().any(|set| &*set.name == name) {
            rules.push(format!("ct status dnat ip daddr . meta l4proto . th dport @{name} accept"));
        }
    }
    rules.extend(of(Verdict::Allow));
    rules.push("goto refuse".to_owned());
    Chain { name: "decide".into(), comment: "new connections: denials, port forwards, permissions", hook: None, rules }
}

fn decide_ipv6(through: &[Shape]) -> Chain {
    // What is denied between networks is denied to both families.
    let names_no_family = |shape: &Shape| shape.from == EndKind::Net && shape.to == EndKind::Net;
    let denied = |shape: &Shape| shape.verdict == Verdict::Deny && (shape.ipv6 || names_no_family(shape));
    let opens = |shape: &Shape| shape.ipv6 && shape.verdict == Verdict::Allow;
    // A refusal is an answer, and an answer to a forged source would go to somebody who asked nothing.
    let mut rules = vec!["jump spoofed".to_owned(), tell::MIDSTREAM.to_owned()];
    if through.iter().any(opens) {
        rules.extend(lookups(through, denied));
        rules.extend(lookups(through, opens));
    }
    rules.push("goto refuse".to_owned());
    Chain { name: "forward_ipv6".into(), comment: "IPv6 passes by literal addresses only", hook: None, rules }
}
