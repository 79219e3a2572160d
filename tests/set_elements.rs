//! Set elements changed by netlink: the kernel ends where a replacement of the whole table would.

#[allow(dead_code)]
mod common;

use std::net::Ipv4Addr;
use std::time::Instant;

use labgate::config::{self, Config};
use labgate::desired;
use labgate::firewall::{HostAddresses, Policy, SetElements};
use labgate::linux::nft;
use labgate::linux::nft_elements::Elements;

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
    let checked = config::check(&[config::Source { name: "labgate.toml".into(), text: FILE.into() }]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
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

async fn listed() -> String {
    // The order of a hash set is the kernel's own business.
    let mut lines: Vec<String> = nft::list_table()
        .await
        .unwrap()
        .lines()
        .map(|line| line.trim().trim_start_matches("elements = { ").trim_end_matches([',', ' ', '}']).to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort();
    lines.join("\n")
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
        let changed = listed().await;
        nft::apply(&ruleset.text(&wished)).await.unwrap();
        assert_eq!(changed, listed().await, "tv {tv:?}, phone {phone:?}, names {names:?}");
        (before, members) = (after, wished);
    }
    nft::delete_table().await.unwrap();
    nft::delete_table().await.unwrap();
    assert!(!nft::table_present().await.unwrap());
}

#[tokio::test(flavor = "current_thread")]
async fn a_move_costs_microseconds() {
    if !common::inside_namespace("a_move_costs_microseconds") {
        return;
    }
    let config = configuration();
    let policy = Policy::compile(&config);
    let two = [20, 21].map(|octet| hosts(&config, Some([192, 168, 20, octet]), Some([192, 168, 1, 100])));
    let members = [0, 1].map(|index| desired::elements(&policy, &two[index]));
    nft::apply(&desired::ruleset(&policy).text(&members[0])).await.unwrap();
    let mut channel = Elements::open().unwrap();
    let mut micros: Vec<u128> = (0..200)
        .map(|round| {
            let (from, to) = (round % 2, (round + 1) % 2);
            let start = Instant::now();
            let wished = desired::elements_after(&policy, &members[from], &two[from], &two[to]);
            channel.change(&SetElements::difference(&members[from], &wished)).unwrap();
            start.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    eprintln!("a host moves in {} µs at the median, {} µs at most", micros[100], micros[199]);
    assert!(micros[100] < 5_000, "the median is {} µs", micros[100]);
}

#[tokio::test(flavor = "current_thread")]
async fn counters_are_read_and_carried_on() {
    if !common::inside_namespace("counters_are_read_and_carried_on") {
        return;
    }
    let config = configuration();
    let policy = Policy::compile(&config);
    let ruleset = desired::ruleset(&policy);
    let members = desired::elements(&policy, &hosts(&config, Some([192, 168, 20, 50]), Some([192, 168, 1, 100])));
    let mut channel = Elements::open().unwrap();
    nft::apply(&ruleset.text(&members)).await.unwrap();
    assert!(nft::counters().await.unwrap().values().all(|counter| *counter == (0, 0)));
    let text = ruleset.text(&members);
    let first = text.find(" comment \"labgate.toml:18 phone -> tv\"").expect("the rule has its element");
    let counted = format!("{} counter packets 7 bytes 5000000000{}", &text[..first], &text[first..]);
    nft::apply(&counted).await.unwrap();
    let carried = channel.counters().unwrap();
    nft::apply(&ruleset.text_with(&members, &carried, &[])).await.unwrap();
    assert_eq!(nft::counters().await.unwrap().get("labgate.toml:18"), Some(&(7, 5_000_000_000)));
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
    let before = listed().await;
    let wrong = text.replacen("192.168.20.50", "192.168.20.350", 1);
    assert_ne!(wrong, text);
    for outcome in [nft::check(&wrong).await, nft::apply(&wrong).await] {
        let said = outcome.unwrap_err().to_string();
        assert!(said.contains("labgate.toml:") && said.contains("Error"), "{said}");
    }
    assert_eq!(before, listed().await, "the old table stands");
    nft::apply("table ip docker { chain x { type filter hook forward priority filter + 5; policy drop; }\n}")
        .await
        .unwrap();
    let foreign = nft::foreign_base_chains().await.unwrap();
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(
        (&*foreign[0].table, &*foreign[0].hook, foreign[0].priority, foreign[0].drops),
        ("docker", "forward", 5, true)
    );
}
