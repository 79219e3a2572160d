//! How long a check takes: the home lab's file, and one of 5,000 hosts and 10,000 rules, right and wrong.

use std::fmt::Write as _;

use divan::Bencher;
use labgate::config::{Source, check};

fn main() {
    divan::main();
}

fn source(text: &str) -> Vec<Source> {
    vec![Source { name: "labgate.toml".to_owned(), text: text.into() }]
}

/// 20 networks, 5,000 hosts, 10,000 rules, 500 forwards; with `mistake` every rule names a host that is not there.
fn large(mistake: bool) -> String {
    let mut text = String::from("[wan]\ninterface = \"eth0\"\n");
    let mut add = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("text");
    for network in 0..20 {
        let admin = network == 0;
        add(format_args!(
            "[network.net{network}]\ninterface = \"eth1.{}\"\naddress = \"10.{network}.0.1/16\"\nadmin = {admin}\n",
            network + 1
        ));
    }
    add(format_args!("[host]\n"));
    for host in 0..5000 {
        let (high, low) = (host / 250, host % 250);
        let mac = format!("52:54:00:00:{high:02x}:{low:02x}");
        add(format_args!(
            "h{host} = {{ mac = \"{mac}\", ip = \"10.{}.{high}.{}\", alias = [\"a{host}\"] }}\n",
            host % 20,
            low + 2
        ));
    }
    add(format_args!("[firewall]\nallow = [\n"));
    for rule in 0..10_000 {
        let to = if mistake { format!("x{rule}") } else { format!("h{}", (rule * 7) % 5000) };
        add(format_args!(
            "  {{ from = \"h{}\", to = \"{to}\", port = [\"tcp/{}\", \"https\"] }},\n",
            rule % 5000,
            rule % 60_000 + 1
        ));
    }
    add(format_args!("]\n[port-forward]\n"));
    for forward in 0..500 {
        add(format_args!("\"tcp/{}\" = \"h{forward}:80\"\n", forward + 1000));
    }
    text
}

#[divan::bench]
fn home(bencher: Bencher<'_, '_>) {
    let sources = source(include_str!("../config/examples/home.toml"));
    bencher.bench(|| check(&sources));
}

#[divan::bench]
fn five_thousand_hosts_ten_thousand_rules(bencher: Bencher<'_, '_>) {
    let sources = source(&large(false));
    let checked = check(&sources);
    assert!(checked.config.is_some(), "{}", checked.report.render(false));
    bencher.bench(|| check(&sources));
}

#[divan::bench]
fn ten_thousand_mistakes(bencher: Bencher<'_, '_>) {
    let sources = source(&large(true));
    assert_eq!(check(&sources).report.errors, 10_000);
    bencher.bench(|| check(&sources));
}

#[divan::bench]
fn rendering_ten_thousand_mistakes(bencher: Bencher<'_, '_>) {
    let report = check(&source(&large(true))).report;
    bencher.bench(|| report.render(false));
}
