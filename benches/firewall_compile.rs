//! What the firewall costs before nft is asked: the table of 10,000 rules of several shapes, and a host that moves. `benches/engines.rs` has
//! the plain case beside the other engines.

use std::net::Ipv4Addr;

use divan::{Bencher, black_box};
use labgate::config::{Config, Source, check};
use labgate::desired;
use labgate::firewall::{HostAddresses, Policy, SetElements};

fn main() {
    divan::main();
}

const HEAD: &str = "[wan]\ninterface = \"eth0\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"10.0.0.1/16\"\nadmin = true\n\
                    [network.iot]\ninterface = \"eth2\"\naddress = \"10.1.0.1/16\"\n";

/// Rules between devices and networks; `shape` writes one.
fn rules(count: u32, shape: impl Fn(u32) -> String) -> Config {
    let lines: Vec<String> = (0..count).map(shape).collect();
    config(&format!("{HEAD}[firewall]\nallow = [\n{}]\n", lines.concat()))
}

fn config(text: &str) -> Config {
    let checked = check(&[Source { name: "labgate.toml".into(), text: text.into() }]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

fn device(network: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + (network << 16) + 256 + number)
}

fn text_of(bencher: Bencher<'_, '_>, config: &Config) {
    let none = HostAddresses::default();
    bencher.bench_local(|| {
        let policy = Policy::compile(black_box(config));
        desired::ruleset(&policy).text(&desired::elements(&policy, &none)).len()
    });
}

#[divan::bench(args = [100, 10_000])]
fn single_ports(bencher: Bencher<'_, '_>, count: u32) {
    let shape = |index| {
        let (from, to) = (device(0, index), device(1, index));
        format!("{{ from = \"{from}\", to = \"{to}\", port = \"tcp/{}\" }},\n", 1000 + index % 9000)
    };
    text_of(bencher, &rules(count, shape));
}

#[divan::bench(args = [100, 10_000])]
fn port_ranges(bencher: Bencher<'_, '_>, count: u32) {
    let shape = |index| {
        let (from, to) = (device(0, index % 3000), device(1, index));
        format!("{{ from = \"{from}\", to = \"{to}\", port = \"udp/{}-{}\" }},\n", 1000 + index % 9000, 20_000 + index)
    };
    text_of(bencher, &rules(count, shape));
}

#[divan::bench(args = [100, 10_000])]
fn everything_but_one_port(bencher: Bencher<'_, '_>, count: u32) {
    let shape = |index| format!("{{ from = \"lan\", to = \"{}\", except = \"tcp/22\" }},\n", device(1, index));
    text_of(bencher, &rules(count, shape));
}

/// One of many hosts gets another address; each is in several rules.
#[divan::bench(args = [10, 1000])]
fn a_host_moves(bencher: Bencher<'_, '_>, hosts: usize) {
    let mut text = String::from(HEAD) + "[host]\n";
    for host in 0..hosts {
        text += &format!("h{host} = {{ mac = \"02:00:00:00:{:02x}:{:02x}\" }}\n", host / 256, host % 256);
    }
    text += "[firewall]\nallow = [\n";
    for host in 0..hosts {
        text += &format!("{{ from = \"h{host}\", to = \"iot\", port = [\"tcp/80\", \"tcp/443\", \"udp/123\"] }},\n");
        text += &format!("{{ from = \"iot\", to = \"h{host}\", port = \"tcp/9000\" }},\n");
    }
    let policy = Policy::compile(&config(&(text + "]\n")));
    let reserved = vec![None; hosts];
    let mut leased: Vec<Option<Ipv4Addr>> = (0..hosts).map(|host| Some(device(0, host as u32))).collect();
    let before = HostAddresses::new(&reserved, &leased);
    let members = desired::elements(&policy, &before);
    leased[hosts / 2] = Some(device(0, 20_000));
    let after = HostAddresses::new(&reserved, &leased);
    bencher.bench_local(|| {
        let wished = desired::elements_after(black_box(&policy), &members, &before, &after);
        SetElements::difference(&members, &wished).len()
    });
}
