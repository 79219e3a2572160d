//! Policy → the one table: which chains there are and what they ask, in which order. Sets come from `permissions` and `nat`; here are those
//! that describe the networks themselves.

use std::sync::Arc;

use super::forward;
use super::nat::{self, NatSets};
use super::permissions::{self, EndKind, ICMPV6, Shape, TCP, range4};
use super::policy::{Network, Policy, Uplink, Verdict};
use super::ruleset::{Chain, Data, DataType, Element, Field, FieldType, Ruleset, Set};
use super::tally::Tally;
use super::tell;
use super::text::quote;

impl Policy {
    /// The table that does what the policy says.
    pub fn ruleset(&self) -> Ruleset {
        let nat = &self.nat;
        let shapes = permissions::shapes(&self.sets);
        let mut chains = input(self, &shapes);
        chains.extend(forward::chains(self, &shapes, nat));
        chains.extend(output(&shapes));
        chains.extend(tell::chains());
        chains.push(refuse(true));
        chains.extend(translate(self, nat));
        let mut sets = network_sets(self);
        sets.extend(self.sets.iter().cloned());
        sets.extend(nat.sets.iter().cloned());
        sets.extend(tell::sets());
        Ruleset { sets, chains }
    }

    /// The sets whose members follow leases, without the rest of the table.
    pub(crate) fn following_sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().chain(&self.nat.sets).filter(|set| !set.following.is_empty())
    }

    /// The sets whose elements count.
    pub(super) fn counted_sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().chain(&self.nat.sets).filter(|set| set.counter)
    }

    /// What is counted, whether or not its hosts have an address now. A tally of several elements comes several times.
    pub(super) fn tallies(&self) -> impl Iterator<Item = &Arc<Tally>> {
        let elements = self.counted_sets().flat_map(|set| set.fixed.iter().chain(&set.following));
        elements.filter_map(|element| element.tally.as_ref())
    }
}

/// What names the networks: everything here is known from the file alone.
fn network_sets(policy: &Policy) -> Vec<Set> {
    let set = |name, comment, key: &[FieldType], interval, elements| {
        let new = if interval { Set::of_ranges } else { Set::new };
        new(name, comment, key, DataType::None, elements)
    };
    let interface = |network: &Network| Field::Interface(network.interface.clone());
    let subnet = |network: &Network| range4(network.subnet);
    let first = |network: &Network| Field::Ipv4(network.subnet.network(), network.subnet.network());
    let of = |which: &dyn Fn(&Network) -> bool, key: &dyn Fn(&Network) -> Vec<Field>| -> Vec<Element> {
        policy
            .networks
            .iter()
            .filter(|network| which(network))
            .map(|network| element(&network.name, key(network)))
            .collect()
    };
    let all = |_: &Network| true;
    use FieldType::{Interface, Ipv4};
    let own_addresses = match one_length(policy) {
        Some(_) => set("own_addresses", "own networks", &[Ipv4], false, of(&all, &|n| vec![first(n)])),
        None => set("own_ranges", "addresses of own networks", &[Ipv4], true, of(&all, &|n| vec![subnet(n)])),
    };
    let mut sets = vec![
        set("networks", "interfaces of own networks", &[Interface], false, of(&all, &|n| vec![interface(n)])),
        own_addresses,
        set(
            "sources",
            "which addresses may come from which interface",
            &[Interface, Ipv4],
            true,
            of(&all, &|n| vec![interface(n), subnet(n)]),
        ),
    ];
    if policy.networks.iter().any(|network| network.dhcp) {
        sets.push(set(
            "dhcp_networks",
            "where the router serves DHCP",
            &[Interface],
            false,
            of(&|n| n.dhcp, &|n| vec![interface(n)]),
        ));
    }
    let Some(uplink) = &policy.uplink else { return sets };
    if policy.networks.iter().any(|network| !nat::needs_masquerade(network)) {
        let private = of(&nat::needs_masquerade, &|n| vec![subnet(n)]);
        sets.push(set("masqueraded", "own networks whose addresses mean nothing outside", &[Ipv4], true, private));
    }
    if !policy.forwards.is_empty() {
        let mut clients = vec![element("internet", vec![Field::Interface(uplink.interface.clone())])];
        clients.extend(of(&|n| n.internet, &|n| vec![interface(n)]));
        sets.push(set("forward_clients", "who may use port forwards", &[Interface], false, clients));
        let gateway = |n: &Network| vec![Field::Ipv4(n.router, n.router)];
        sets.push(set("gateways", "addresses of the router in own networks", &[Ipv4], false, of(&all, &gateway)));
        let both = |n: &Network| vec![subnet(n), subnet(n)];
        sets.push(set("hairpin", "client and target in one network", &[Ipv4, Ipv4], true, of(&all, &both)));
    }
    sets
}

/// The length that all networks' prefixes have. Then an own address is known by one look into a hash, half as dear as into a set of ranges.
fn one_length(policy: &Policy) -> Option<u8> {
    let first = policy.networks.first()?.subnet.prefix_len();
    policy.networks.iter().all(|network| network.subnet.prefix_len() == first).then_some(first)
}

/// Matches sources in own networks (`==`) or outside them (`!=`).
pub(super) fn own_source(policy: &Policy, is: &str) -> String {
    match policy.networks.first().filter(|_| one_length(policy).is_some()) {
        Some(network) => format!("ip saddr & {} {is} @own_addresses", network.subnet.netmask()),
        None => format!("ip saddr {is} @own_ranges"),
    }
}

fn element(comment: &str, key: Vec<Field>) -> Element {
    Element { key: key.into(), data: Data::None, comment: comment.into(), tally: None }
}

/// Rules of the lookups of one verdict: denials go to the refusal, permissions end here.
pub(super) fn lookups(shapes: &[Shape], which: impl Fn(&Shape) -> bool) -> Vec<String> {
    let rule = |shape: &Shape| match shape.verdict {
        _ if *shape == Shape::PAIRS => shape.lookup(),
        Verdict::Deny => format!("{} goto refuse", shape.lookup()),
        Verdict::Allow => format!("{} accept", shape.lookup()),
    };
    shapes.iter().filter(|shape| which(shape)).map(rule).collect()
}

fn input(policy: &Policy, shapes: &[Shape]) -> Vec<Chain> {
    let to_router = |shape: &&Shape| shape.to == EndKind::Router;
    let mut rules = vec![
        "iifname \"lo\" accept".to_owned(),
        "ct state established,related accept".to_owned(),
        "ct state invalid counter drop".to_owned(),
        tell::MIDSTREAM.to_owned(),
        format!("meta l4proto {ICMPV6} jump icmp_v6"),
    ];
    if policy.networks.iter().any(|network| network.dhcp) {
        rules.push(format!("meta nfproto ipv4 udp dport 67 iifname @dhcp_networks accept {}", comment("DHCP")));
    }
    if let Some(uplink) = policy.uplink.as_ref().filter(|uplink| uplink.dhcp_client) {
        rules.push(format!(
            "meta nfproto ipv4 iifname {} udp sport 67 udp dport 68 accept {}",
            quote(&uplink.interface),
            comment("answers to the DHCP client")
        ));
    }
    if let Some(uplink) = policy.uplink.as_ref().filter(|uplink| uplink.system) {
        let interface = quote(&uplink.interface);
        rules.push(format!(
            "iifname {interface} ip6 saddr fe80::/10 udp dport 546 accept {}",
            comment("answers to the DHCPv6 client")
        ));
    }
    rules.push("jump spoofed".to_owned());
    rules.extend(lookups(shapes, |shape| to_router(&shape) && shape.verdict == Verdict::Deny));
    rules.push(format!("icmp type echo-request iifname @networks accept {}", comment("ping")));
    rules.push(format!("icmpv6 type echo-request iifname @networks accept {}", comment("ping")));
    rules.extend(lookups(shapes, |shape| to_router(&shape) && shape.verdict == Verdict::Allow));
    rules.push("goto refuse".to_owned());
    vec![
        Chain {
            name: "input".into(),
            comment: "to the router itself",
            hook: Some("type filter hook input priority filter; policy drop;"),
            rules,
        },
        Chain {
            name: "icmp_v6".into(),
            comment: "what IPv6 cannot live without (RFC 4890)",
            hook: None,
            rules: icmp_v6(policy.uplink.as_ref()),
        },
        Chain {
            name: "spoofed".into(),
            comment: "a source belongs to the network it comes from",
            hook: None,
            rules: spoofed(policy),
        },
    ]
}

pub(super) fn icmp_v6(uplink: Option<&Uplink>) -> Vec<String> {
    let mut rules = vec![
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept".to_owned(),
        "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept".to_owned(),
        "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } ip6 saddr { ::, fe80::/10 } accept".to_owned(),
    ];
    if let Some(uplink) = uplink {
        rules
            .push(format!("iifname {} icmpv6 type nd-router-advert ip6 hoplimit 255 accept", quote(&uplink.interface)));
    }
    rules
}

fn spoofed(policy: &Policy) -> Vec<String> {
    vec![
        "iifname . ip saddr @sources return".to_owned(),
        format!("meta nfproto ipv4 iifname @networks counter goto forged {}", comment("source of another network")),
        format!("{} counter drop {}", own_source(policy, "=="), comment("own source from outside")),
        format!("meta nfproto ipv6 fib saddr . iif oif missing counter goto forged {}", comment("no way back there")),
    ]
}

/// The router's own packets are free but for what a rule denies it.
fn output(shapes: &[Shape]) -> Vec<Chain> {
    // The refusal of the other chains asks where a packet came from, and these came from nowhere.
    let denied = |shape: &&Shape| shape.from == EndKind::Router && shape.verdict == Verdict::Deny;
    let denials: Vec<String> =
        shapes.iter().filter(denied).map(|shape| format!("{} goto refuse_own", shape.lookup())).collect();
    let refuse_own = (!denials.is_empty()).then(|| Chain {
        name: "refuse_own".into(),
        comment: "the router hears it at once too",
        hook: None,
        rules: vec!["jump tell".to_owned(), "counter reject with icmpx admin-prohibited".to_owned()],
    });
    let rules =
        ["oifname \"lo\" accept", "ct state established,related accept", tell::OWN_MIDSTREAM].map(str::to_owned);
    let output = Chain {
        name: "output".into(),
        comment: "from the router: free but for what is denied",
        hook: Some("type filter hook output priority filter; policy accept;"),
        rules: rules.into_iter().chain(denials).collect(),
    };
    [output].into_iter().chain(refuse_own).collect()
}

/// The end of what is not accepted.
pub(super) fn refuse(told: bool) -> Chain {
    let mut rules = vec!["iifname != @networks counter drop".to_owned()];
    if told {
        rules.push("jump tell".to_owned());
    }
    rules.push(format!("meta l4proto {TCP} counter reject with tcp reset"));
    rules.push("counter reject with icmpx admin-prohibited".to_owned());
    Chain { name: "refuse".into(), comment: "own networks hear it at once, others hear nothing", hook: None, rules }
}

fn translate(policy: &Policy, nat: &NatSets) -> Vec<Chain> {
    let Some(uplink) = &policy.uplink else { return Vec::new() };
    let interface = quote(&uplink.interface);
    let mut chains = Vec::new();
    if !nat.sets.is_empty() {
        // In the order in which most packets are let go: those to elsewhere, those to the gateway itself.
        let public = "fib daddr type local ip daddr != @gateways iifname @forward_clients";
        let forwards = port_forwards(&interface, nat);
        let chain = |rules| Chain {
            name: "prerouting".into(),
            comment: "an address of this router that is no gateway address is the public one, whatever it is",
            hook: Some("type nat hook prerouting priority dstnat; policy accept;"),
            rules,
        };
        if let [forward] = &forwards[..] {
            chains.push(chain(vec![format!("{public} {forward}")]));
        } else {
            chains.push(chain(vec![format!("{public} jump port_forwards")]));
            chains.push(Chain {
                name: "port_forwards".into(),
                comment: "outside port to host",
                hook: None,
                rules: forwards,
            });
        }
    }
    let own = own_source(policy, "==");
    let private =
        if policy.networks.iter().all(nat::needs_masquerade) { own.as_str() } else { "ip saddr @masqueraded" };
    let mut rules = vec![format!("oifname {interface} {private} masquerade")];
    if !nat.sets.is_empty() {
        // A packet from outside with an own source has been dropped before.
        rules.push(format!(
            "iifname != {interface} ct status dnat {own} ip saddr . ip daddr @hairpin masquerade {}",
            comment("so that answers come back this way")
        ));
    }
    chains.push(Chain {
        name: "postrouting".into(),
        comment: "own networks share the uplink's address",
        hook: Some("type nat hook postrouting priority srcnat; policy accept;"),
        rules,
    });
    chains
}

fn port_forwards(uplink: &str, nat: &NatSets) -> Vec<String> {
    let mut rules = Vec::new();
    if nat.restricted {
        rules.push(format!(
            "iifname {uplink} meta l4proto . th dport @forward_restricted ip saddr . meta l4proto . th dport != @forward_sources return"
        ));
    }
    for name in ["forwards", "forward_ranges"] {
        if nat.sets.iter().any(|set| &*set.name == name) {
            rules.push(format!("dnat ip to meta l4proto . th dport map @{name}"));
        }
    }
    rules
}

fn comment(text: &str) -> String {
    format!("comment {}", quote(text))
}
