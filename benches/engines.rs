//! What the pure engines cost without any socket: `cargo bench`. The side-by-side figures are in `bench/`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use divan::{Bencher, black_box};
use labgate::config::{Config, Source, check};
use labgate::desired;
use labgate::dhcp::{Output, Received, Server};
use labgate::dns::outside::Resolved;
use labgate::dns::upstream::{Scrubbed, scrub};
use labgate::dns::wire::{Incoming, Query, read_query};
use labgate::dns::{self, Cache, FixedNames, Hosts, LocalNames, Zones};
use labgate::firewall::{HostAddresses, Policy};
use labgate::model::{Bindings, Now};

fn main() {
    divan::main();
}

const NOW: Now = Now { instant: Duration::from_secs(1000), unix: 1_800_000_000 };

/// One network, and as many hosts and rules as wanted.
fn file(hosts: usize, rules: usize) -> String {
    let mut text = String::from(
        "[wan]\ninterface = \"wan\"\n[network.lan]\ninterface = \"lan\"\naddress = \"10.77.0.1/16\"\nadmin = true\n\
         dhcp = { pool = \"10.77.128.0-10.77.254.254\", lease-time = \"1h\" }\n[host]\n",
    );
    for host in 0..hosts {
        let (high, low) = (host / 250, 1 + host % 250);
        text += &format!(
            "h{host} = {{ mac = \"02:00:00:00:{high:02x}:{low:02x}\", ip = \"10.77.{}.{low}\" }}\n",
            10 + high
        );
    }
    text += "[firewall]\nallow = [\n";
    for rule in 0..rules {
        let (from, port) = (rule % hosts, 1000 + rule);
        text += &format!("{{ from = \"h{from}\", to = \"internet\", port = \"tcp/{port}\" }},\n");
    }
    text + "]\n"
}

fn sources(hosts: usize, rules: usize) -> [Source; 1] {
    [Source { name: "labgate.toml".into(), text: file(hosts, rules).into_bytes() }]
}

fn config(hosts: usize, rules: usize) -> Config {
    let checked = check(&sources(hosts, rules));
    checked.config.unwrap_or_else(|| panic!("{:?}", checked.report))
}

const SIZES: [(usize, usize); 3] = [(4, 2), (500, 1000), (5000, 10_000)];

#[divan::bench(args = SIZES)]
fn check_file(bencher: Bencher<'_, '_>, (hosts, rules): (usize, usize)) {
    let sources = sources(hosts, rules);
    bencher.bench_local(|| check(black_box(&sources)).config.is_some());
}

#[divan::bench(args = SIZES)]
fn compile_firewall(bencher: Bencher<'_, '_>, (hosts, rules): (usize, usize)) {
    let config = config(hosts, rules);
    let addresses: HostAddresses = desired::host_addresses(&config, &Bindings::default(), &Resolved::default());
    bencher.bench_local(|| {
        let policy = Policy::compile(black_box(&config));
        desired::ruleset(&policy).text(&desired::elements(&policy, &addresses)).len()
    });
}

/// A question for the A record of `name`, and the answer an upstream gives.
fn exchange(name: &str) -> (Vec<u8>, Vec<u8>) {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let mut answer = question.clone();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4, 198, 51, 100, 7]);
    (question, answer)
}

fn query(bytes: &[u8]) -> Query<'_> {
    match read_query(bytes) {
        Incoming::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

#[divan::bench(args = [100, 10_000, 100_000])]
fn answer_from_cache(bencher: Bencher<'_, '_>, names: usize) {
    let config = config(4, 2);
    let (zones, local) = (Zones::new(&config), local_names(&config));
    let mut cache = Cache::new(2 * names, Duration::ZERO, 1);
    let questions: Vec<Vec<u8>> = (0..names)
        .map(|index| {
            let (question, answer) = exchange(&format!("h{:07}.pool.example.net", index * 7919 % names));
            match scrub(&query(&question).key, &answer, Some(&[])) {
                Scrubbed::Good(entry) => cache.insert(entry, NOW.instant),
                other => panic!("{other:?}"),
            }
            question
        })
        .collect();
    let asker = dns::Asker { network: Some(0), limit: 512 };
    let (mut turn, mut out) = (0, Vec::with_capacity(512));
    bencher.bench_local(|| {
        turn = (turn + 1) % names;
        out.clear();
        let query = query(&questions[turn]);
        let answer = dns::answer(&query, &asker, &local, &zones, |key| cache.get(key, NOW.instant), &mut out);
        assert!(matches!(answer, dns::Answer::Ready(dns::Reason::Cache)));
    });
}

fn local_names(config: &Config) -> LocalNames {
    let fixed: FixedNames = desired::names::fixed(config, &Hosts::default());
    LocalNames::new(fixed)
}

#[divan::bench(args = [4, 5000])]
fn answer_a_local_name(bencher: Bencher<'_, '_>, hosts: usize) {
    let config = config(hosts, 2);
    let (zones, local) = (Zones::new(&config), local_names(&config));
    let (question, _) = exchange(&format!("h{}.home.arpa", hosts - 1));
    let asker = dns::Asker { network: Some(0), limit: 512 };
    let mut out = Vec::with_capacity(512);
    bencher.bench_local(|| {
        out.clear();
        let answer = dns::answer(&query(black_box(&question)), &asker, &local, &zones, |_| None, &mut out);
        assert!(matches!(answer, dns::Answer::Ready(dns::Reason::Local(_))));
    });
}

/// A client's message, by way of its number; `address` for a renewal.
fn message(client: u32, kind: u8, address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[12..16].copy_from_slice(&address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    bytes[28..30].copy_from_slice(&[2, 0x67]);
    bytes[30..34].copy_from_slice(&client.to_be_bytes());
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(&[53, 1, kind, 55, 4, 1, 3, 6, 15, 255]);
    bytes.resize(300, 0);
    bytes
}

/// Gives a message to the server and returns the address of the reply.
fn deliver(server: &mut Server, bytes: &[u8], source: Ipv4Addr) -> Option<Ipv4Addr> {
    let source = SocketAddrV4::new(source, 68);
    server.handle_message(Received { network: 0, source, bytes }, NOW);
    let mut given = None;
    while let Some(output) = server.poll_output() {
        match output {
            Output::Reply(reply) => given = yiaddr(&reply.bytes),
            Output::Grant(grant) => given = Some(grant.binding.address),
            _ => {}
        }
    }
    given
}

fn yiaddr(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(16..20)?).ok()?))
}

/// A client without an address: DISCOVER, then a REQUEST for what was offered, as if rebooted.
fn lease(server: &mut Server, client: u32) -> Ipv4Addr {
    let offered = deliver(server, &message(client, 1, None), Ipv4Addr::UNSPECIFIED).expect("an offer");
    deliver(server, &message(client, 3, Some(offered)), offered).expect("a lease")
}

#[divan::bench(args = [250, 4000, 30_000], sample_count = 10, sample_size = 1)]
fn lease_to_all_new_clients(bencher: Bencher<'_, '_>, clients: u32) {
    let config = config(4, 2);
    bencher.with_inputs(|| Server::new(&config, Vec::new(), 1, NOW)).bench_local_values(|mut server| {
        (0..clients).for_each(|client| {
            lease(&mut server, client);
        });
        server
    });
}

#[divan::bench(args = [250, 30_000])]
fn renew(bencher: Bencher<'_, '_>, clients: u32) {
    let mut server = Server::new(&config(4, 2), Vec::new(), 1, NOW);
    let renewals: Vec<(Vec<u8>, Ipv4Addr)> = (0..clients)
        .map(|client| {
            let address = lease(&mut server, client);
            (message(client, 3, Some(address)), address)
        })
        .collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 7919) % renewals.len();
        let (bytes, address) = &renewals[turn];
        assert_eq!(deliver(&mut server, bytes, *address), Some(*address));
    });
}
