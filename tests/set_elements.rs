//! Set elements changed by netlink: the kernel ends where a replacement of the whole table would.

#[allow(dead_code)]
mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use labgate::config::Config;
use labgate::desired;
use labgate::desired::doctor::foreign::{Base, Hook};
use labgate::firewall::{HostAddresses, Policy, Reading, SetElements, Usage};
use labgate::linux::nft;
use labgate::linux::nft_elements::Elements;
use labgate::linux::nft_netlink::DumpedElement;
use labgate::model::Now;

const NOW: Now = Now { instant: Duration::from_secs(100), unix: 1_800_000_000 };

/// Rules and forwards of every shape that follows leases.
const FILE: &str = r#"
[wan]
interface = "eth0"
[network.lan]
interface = "eth1"
address = "192.168.1.1/24"
admin = true
[network.iot]
interface = "eth2"
address = "192.168.20.1/24"
internet = false
[host]
tv = { mac = "52:54:00:00:20:20" }
phone = { mac = "52:54:00:00:01:21" }
nas = { mac = "52:54:00:00:01:10", ip = "192.168.1.10" }
[firewall]
allow = [
  { from = "phone", to = "tv", port = "tcp/8009" },
  { from = "phone", to = "iot", except = "tcp/22" },
  { from = "lan", to = "tv", port = ["udp/5000-5010", "icmp"] },
  { from = "tv", to = ["nas", "internet"] },
  { from = "192.168.20.99", to = "phone", port = "tcp/1" },
  { from = "tv", to = "phone", port = "tcp/1" },
  { from = ["tv", "iot"], to = ["updates.example.net", "cdn.example.net"], port = ["https", "udp/8000-8010"] },
  { from = "iot", to = "198.51.100.3", port = "https" },
]
deny = [{ from = "tv", to = "router", port = "tcp/80-90" }]
[port-forward]
"tcp/80" = "tv"
"udp/3000-3010" = "phone"
"#;

fn configuration() -> Config {
    common::configuration(FILE)
}

fn hosts(config: &Config, tv: Option<[u8; 4]>, phone: Option<[u8; 4]>) -> HostAddresses {
    let reserved: Vec<_> = config.hosts.iter().map(|host| host.ip).collect();
    let mut leased = vec![None; reserved.len()];
    for (name, address) in [("tv", tv), ("phone", phone)] {
        let index = config.hosts.iter().position(|host| &*host.name == name).unwrap();
        leased[index] = address.map(Ipv4Addr::from);
    }
    HostAddresses::new(&reserved, &leased)
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_ends_where_a_replacement_does() {
    if !common::inside_namespace("a_change_ends_where_a_replacement_does") {
        return;
    }
    let config = configuration();
    let policy = Policy::compile(&config);
    let ruleset = desired::ruleset(&policy);
    assert!(!nft::table_present().await.unwrap());
    let mut before = hosts(&config, None, None);
    let mut members = desired::elements(&policy, &before);
    nft::apply(&ruleset.text(&members)).await.unwrap();
    assert!(nft::table_present().await.unwrap());
    let mut channel = Elements::open().unwrap();
    let steps: [(_, _, [&[u8]; 2]); 8] = [
        (Some([192, 168, 20, 50]), None, [&[], &[]]),
        (Some([192, 168, 20, 50]), Some([192, 168, 1, 100]), [&[1, 2], &[]]),
        (Some([192, 168, 20, 99]), Some([192, 168, 1, 101]), [&[1, 2], &[2, 3]]),
        (Some([192, 168, 20, 51]), Some([192, 168, 1, 101]), [&[1], &[2, 3]]),
        (Some([192, 168, 20, 51]), Some([192, 168, 1, 101]), [&[3, 4], &[1]]),
        (None, Some([192, 168, 1, 102]), [&[3, 4], &[1]]),
        (Some([192, 168, 1, 102]), Some([192, 168, 20, 51]), [&[5], &[5]]),
        (None, None, [&[], &[]]),
    ];
    for (tv, phone, names) in steps {
        let of = |lasts: &[u8]| lasts.iter().map(|last| Ipv4Addr::new(198, 51, 100, *last)).collect();
        let after = hosts(&config, tv, phone).with_names(names.map(of));
        let wished = desired::elements_after(&policy, &members, &before, &after);
        let changes = SetElements::difference(&members, &wished);
        channel.change(&changes).unwrap();
        // Once more: what is as wished already is no error.
        channel.change(&changes).unwrap();
        let changed = common::listed().await;
        nft::apply(&ruleset.text(&wished)).await.unwrap();
        assert_eq!(changed, common::listed().await, "tv {tv:?}, phone {phone:?}, names {names:?}");
        (before, members) = (after, wished);
    }
    nft::delete_table().await.unwrap();
    nft::delete_table().await.unwrap();
    assert!(!nft::table_present().await.unwrap());
}

/// What the rule in this line of the file has counted.
fn used(usage: &Usage, policy: &Policy, line: u32) -> (u64, u64) {
    let index = policy.rules.iter().position(|rule| rule.place.line == line).unwrap();
    let total = usage.of_rules(policy, NOW)[index].total;
    (total.packets, total.bytes)
}

/// Reads the kernel's counters into the book; gives back what those of the element with this comment show.
fn read(channel: &mut Elements, usage: &mut Usage, comment: &str) -> Option<(u64, u64)> {
    let mut found = None;
    let sets: Vec<_> = usage.standing().sets().cloned().collect();
    for set in sets {
        let elements = channel.read(&set).unwrap();
        let of = |element: &DumpedElement| element.comment.as_deref() == Some(comment);
        let shown = elements.iter().find(|element| of(element)).and_then(|element| element.counter);
        found = found.or(shown.map(|counter| (counter.packets, counter.bytes)));
        let readings = elements.iter().map(|element| Reading {
            key: &element.key,
            comment: element.comment.as_deref().unwrap_or_default(),
            counter: element.counter.expect("every element of such a set counts"),
        });
        usage.absorb(&set, readings, NOW);
    }
    found
}

#[tokio::test(flavor = "current_thread")]
async fn counters_outlive_elements_and_tables() {
    if !common::inside_namespace("counters_outlive_elements_and_tables") {
        return;
    }
    const RULE: &str = "labgate.toml:18 phone -> tv";
    const RANGE: &str = "labgate.toml:27 tv -> router";
    let config = configuration();
    let policy = Policy::compile(&config);
    let ruleset = desired::ruleset(&policy);
    let before = hosts(&config, Some([192, 168, 20, 50]), Some([192, 168, 1, 100]));
    let members = desired::elements(&policy, &before);
    let mut channel = Elements::open().unwrap();
    let mut usage = Usage::new(NOW);
    let planned = usage.plan(&policy, &members, |_, _| false);
    let text = ruleset.text_with(&members, &planned.counters());
    assert_eq!(text, ruleset.text(&members), "nothing is counted yet");
    // The table as it would stand after some packets, one behind the other.
    let counted = |text: &str, comment: &str, packets: u64| {
        let at = text.find(&format!(" comment \"{comment}\"")).expect("the rule has its element");
        format!("{} counter packets {packets} bytes 5000000000{}", &text[..at], &text[at..])
    };
    nft::apply(&counted(&counted(&text, RULE, 7), RANGE, 3)).await.unwrap();
    usage.replaced(&policy, planned, NOW);
    assert_eq!(read(&mut channel, &mut usage, RULE), Some((7, 5_000_000_000)));
    assert_eq!((used(&usage, &policy, 18), used(&usage, &policy, 27)), ((7, 5_000_000_000), (3, 5_000_000_000)));

    // Packets that nobody has read when the lease goes are told by the kernel as the element goes.
    let planned = usage.plan(&policy, &members, |_, _| false);
    nft::apply(&counted(&counted(&text, RULE, 9), RANGE, 4)).await.unwrap();
    usage.replaced(&policy, planned, NOW);
    let mut now = (before, members);
    for tv in [None, Some([192, 168, 20, 51]), Some([192, 168, 20, 52])] {
        let after = hosts(&config, tv, Some([192, 168, 1, 100]));
        let wished = desired::elements_after(&policy, &now.1, &now.0, &after);
        let mut changes = SetElements::difference(&now.1, &wished);
        usage.begin(&mut changes);
        let last = channel.change(&changes).unwrap();
        usage.followed(&changes, &last, NOW);
        assert_eq!((used(&usage, &policy, 18).0, used(&usage, &policy, 27).0), (9, 4), "{tv:?}");
        let shown = [RULE, RANGE].map(|comment| read(&mut channel, &mut usage, comment).map(|counter| counter.0));
        assert_eq!(shown, if tv.is_some() { [Some(9), Some(4)] } else { [None, None] }, "{tv:?}");
        now = (after, wished);
    }

    // Somebody removes the table; the next one goes on, and so does a book that was stored, over a table that was left standing.
    nft::delete_table().await.unwrap();
    let planned = usage.plan(&policy, &now.1, |_, _| false);
    nft::apply(&ruleset.text_with(&now.1, &planned.counters())).await.unwrap();
    usage.replaced(&policy, planned, NOW);
    assert_eq!(read(&mut channel, &mut usage, RULE).map(|counter| counter.0), Some(9));
    let mut usage = Usage::load(&usage.store(NOW), NOW).unwrap();
    nft::apply(&counted(&ruleset.text(&now.1), RULE, 12)).await.unwrap();
    let planned = usage.plan(&policy, &now.1, |_, _| false);
    let sets: Vec<_> = planned.sets().map(|set| (set.clone(), channel.read(set).unwrap())).collect();
    let readings = sets.iter().flat_map(|(set, elements)| {
        elements.iter().map(move |element| {
            let comment = element.comment.as_deref().unwrap_or_default();
            (&**set, Reading { key: &element.key, comment, counter: element.counter.unwrap_or_default() })
        })
    });
    usage.adopt(&policy, readings, NOW);
    assert_eq!((used(&usage, &policy, 18).0, used(&usage, &policy, 27).0), (12, 4));
}

#[tokio::test(flavor = "current_thread")]
async fn a_set_that_comes_in_many_parts_is_read_whole() {
    if !common::inside_namespace("a_set_that_comes_in_many_parts_is_read_whole") {
        return;
    }
    let address = |rule: usize| format!("10.0.{}.{}", rule / 250, rule % 250);
    let rules: String = (0..2000).map(|rule| format!("{{ from = \"{}\", to = \"lan\" }},\n", address(rule))).collect();
    let config = common::configuration(&FILE.replace("allow = [", &format!("allow = [{rules}")));
    let policy = Policy::compile(&config);
    let members = desired::elements(&policy, &hosts(&config, None, None));
    let mut usage = Usage::new(NOW);
    let planned = usage.plan(&policy, &members, |_, _| false);
    let text = desired::ruleset(&policy).text_with(&members, &planned.counters());
    let counted = text.replace(" comment \"labgate.toml:", " counter packets 1 bytes 60 comment \"labgate.toml:");
    nft::apply(&counted).await.unwrap();
    usage.replaced(&policy, planned, NOW);
    let mut channel = Elements::open().unwrap();
    read(&mut channel, &mut usage, "");
    let rules = usage.of_rules(&policy, NOW).into_iter().zip(&policy.rules);
    let hit = rules.filter(|(used, rule)| used.total.packets == 1 && rule.place.line < 2100 && rule.from.len() == 1);
    assert!(hit.count() >= 2000);
}

#[tokio::test(flavor = "current_thread")]
async fn what_nft_refuses_is_said_in_the_words_of_the_file() {
    if !common::inside_namespace("what_nft_refuses_is_said_in_the_words_of_the_file") {
        return;
    }
    let config = configuration();
    let policy = Policy::compile(&config);
    let text =
        desired::ruleset(&policy).text(&desired::elements(&policy, &hosts(&config, Some([192, 168, 20, 50]), None)));
    nft::apply(&text).await.unwrap();
    let before = common::listed().await;
    let wrong = text.replacen("192.168.20.50", "192.168.20.350", 1);
    assert_ne!(wrong, text);
    for outcome in [nft::check(&wrong).await, nft::apply(&wrong).await] {
        let said = outcome.unwrap_err().to_string();
        assert!(said.contains("labgate.toml:") && said.contains("Error"), "{said}");
    }
    assert_eq!(before, common::listed().await, "the old table stands");
    nft::apply("table ip docker { chain x { type filter hook forward priority filter + 5; policy drop; }\n}")
        .await
        .unwrap();
    let chains = labgate::linux::doctor::chains().await.unwrap();
    let foreign: Vec<_> = chains.iter().filter(|chain| !chain.is_ours()).collect();
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(foreign[0].base, Some(Base { hook: Hook::Forward, nat: false, priority: 5, drops: true }));
}
