//! What one question costs apart from the kernel: a cached answer, a lease name, a name of the file. `cargo bench --bench dns_answer`.

use std::net::Ipv4Addr;
use std::time::Duration;

use divan::Bencher;
use labgate::config::{Config, Source, check};
use labgate::desired::names::fixed;
use labgate::dns::upstream::{Scrubbed, scrub};
use labgate::dns::wire::{Incoming, Key, WireName, read_query};
use labgate::dns::{Answer, Asker, Cache, Hosts, LocalNames, Zones, answer};
use labgate::model::DomainName;

fn main() {
    divan::main();
}

fn config() -> Config {
    let text = "[network.lan]\ninterface = \"lan0\"\naddress = \"192.168.1.1/24\"\n\
        [host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\n";
    let checked = check(&[Source { name: "labgate.toml".into(), text: text.into() }]);
    checked.config.expect("the configuration of the benchmark is right")
}

fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = WireName::new(&DomainName::parse(name).expect("a name"));
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

/// A house with a cache of `names` answers.
struct House {
    names: LocalNames,
    zones: Zones,
    cache: Cache,
}

fn house(names: usize) -> House {
    let config = config();
    let mut local = LocalNames::new(fixed(&config, &Hosts::default()));
    local
        .claim(Ipv4Addr::new(192, 168, 1, 100), WireName::new(&DomainName::parse("laptop.home.arpa").expect("a name")));
    let mut cache = Cache::new(names.max(1), Duration::ZERO, 1);
    for number in 0..names {
        let asked = question(&format!("h{number:07}.pool.example.net"));
        let mut answer = asked.clone();
        (answer[2], answer[7]) = (0x81, 1);
        answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x01");
        if let Scrubbed::Good(entry) = scrub(&key(&asked), &answer, None) {
            cache.insert(entry, Duration::ZERO);
        }
    }
    House { names: local, zones: Zones::new(&config), cache }
}

fn key(message: &[u8]) -> Key {
    match read_query(message) {
        Incoming::Query(query) => query.key,
        other => panic!("{other:?}"),
    }
}

fn ask(house: &mut House, message: &[u8], out: &mut Vec<u8>) {
    let Incoming::Query(query) = read_query(message) else { panic!("the question is right") };
    let asker = Asker { network: Some(0), limit: query.udp_limit() };
    let cache = &mut house.cache;
    let decided = answer(&query, &asker, &house.names, &house.zones, |key| cache.get(key, Duration::ZERO), out);
    assert!(matches!(decided, Answer::Ready(_)));
}

#[divan::bench(args = [100, 10_000, 100_000])]
fn cached(bencher: Bencher<'_, '_>, names: usize) {
    let mut house = house(names);
    let questions: Vec<_> = (0..names).map(|number| question(&format!("h{number:07}.pool.example.net"))).collect();
    let mut out = Vec::with_capacity(1500);
    let mut next = 0;
    bencher.bench_local(|| {
        // A stride that visits all names in an order no prefetcher guesses.
        next = (next + 7919) % names;
        ask(&mut house, &questions[next], &mut out);
    });
}

#[divan::bench(args = ["nas.home.arpa", "nas", "laptop.home.arpa", "gateway.home.arpa", "nobody.home.arpa", "10.1.168.192.in-addr.arpa"])]
fn local(bencher: Bencher<'_, '_>, name: &str) {
    let mut house = house(0);
    let message = question(name);
    let mut out = Vec::with_capacity(1500);
    bencher.bench_local(|| ask(&mut house, &message, &mut out));
}

#[divan::bench]
fn scrub_an_answer(bencher: Bencher<'_, '_>) {
    let asked = question("www.example.net");
    let key = key(&asked);
    let mut answer = asked.clone();
    (answer[2], answer[7]) = (0x81, 2);
    answer.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x0e\x10\x00\x07\x04edge\xc0\x10");
    answer.extend_from_slice(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x01");
    bencher.bench_local(|| scrub(&key, &answer, Some(&[])));
}

#[divan::bench]
fn hosts_file_of_100_000_lines(bencher: Bencher<'_, '_>) {
    let text: String = (0..100_000u32)
        .map(|number| format!("{} host{number:06}.lab.example.net\n", Ipv4Addr::from(0x0a00_0000 + number)))
        .collect();
    bencher.bench_local(|| labgate::dns::hosts::parse(text.as_bytes()));
}
