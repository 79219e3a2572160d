//! What the exact model costs on a large file: 12 networks, 1,000 hosts, 10,000 rules, 500 expectations. `bench/check_bench.py` times the
//! verbs themselves, whole processes.

use divan::{Bencher, black_box};
use labgate::config::{Config, Source, check};
use labgate::desired;
use labgate::desired::plan::{Standing, plan};
use labgate::firewall::reach::{Diagrams, Reach, Space};
use labgate::firewall::{Policy, review};
use labgate::model::{Bindings, Now};

fn main() {
    divan::main();
}

const NETWORKS: usize = 12;
const HOSTS: usize = 1000;

/// A steady mixture of rules between hosts, networks and the internet; `shift` moves the ports of every hundredth.
fn site(rules: usize, expectations: usize, shift: usize) -> Config {
    let mut text = String::from("[wan]\ninterface = \"eth0\"\n");
    for net in 0..NETWORKS {
        let admin = net == 0;
        text += &format!("[network.n{net}]\ninterface = \"e{net}\"\naddress = \"10.{net}.0.1/16\"\nadmin = {admin}\n");
    }
    text += "[host]\n";
    for host in 0..HOSTS {
        let (net, low) = (host % NETWORKS, host / NETWORKS);
        text += &format!("h{host} = {{ mac = \"02:00:00:00:{:02x}:{:02x}\"", host / 256, host % 256);
        text += &if host % 10 == 0 { " }\n".to_owned() } else { format!(", ip = \"10.{net}.1.{low}\" }}\n") };
    }
    text += "[firewall]\nallow = [\n";
    for rule in 0..rules {
        let (from, to) = (rule * 7 % HOSTS, (rule * 13 + 5 + rule / HOSTS) % HOSTS);
        let to = if from % NETWORKS == to % NETWORKS { (to + 1) % HOSTS } else { to };
        let port = 1000 + rule + if rule % 100 == 0 { shift } else { 0 };
        text += &match rule % 10 {
            0 => format!("{{ from = \"n{}\", to = \"h{to}\", port = \"tcp/{port}\" }},\n", (to + 1) % NETWORKS),
            1 => format!("{{ from = \"h{from}\", to = \"h{to}\", port = \"udp/{port}-{}\" }},\n", port + 50),
            2 => format!("{{ from = \"h{from}\", to = \"h{to}\", port = \"tcp\", except = \"tcp/22\" }},\n"),
            _ => format!("{{ from = \"h{from}\", to = \"h{to}\", port = \"tcp/{port}\" }},\n"),
        };
    }
    text += "]\nexpect = [\n";
    for number in 0..expectations {
        let (from, to) = (number % NETWORKS, (number + 1) % NETWORKS);
        text += &format!(
            "{{ from = \"n{from}\", to = \"n{to}\", port = \"udp/{}\", result = \"deny\" }},\n",
            40_000 + number
        );
    }
    text += "]\n";
    let checked = check(&[Source { name: "labgate.toml".into(), text: text.into() }]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn sets_of_packets(bencher: Bencher<'_, '_>, rules: usize) {
    let config = site(rules, 0, 0);
    let policy = Policy::compile(&config);
    bencher.bench_local(|| {
        let mut all = Diagrams::default();
        let space = Space::new(black_box(&policy), None, &[], &mut Vec::new(), &[]);
        Reach::new(&mut all, space).allowed
    });
}

#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn proofs_and_lint(bencher: Bencher<'_, '_>, rules: usize) {
    let config = site(rules, rules / 20, 0);
    let policy = Policy::compile(&config);
    bencher.bench_local(|| review(black_box(&config), &policy).len());
}

#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn a_plan(bencher: Bencher<'_, '_>, rules: usize) {
    let sides = [site(rules, 0, 0), site(rules, 0, 20_000)].map(|config| {
        let policy = Policy::compile(&config);
        let hosts = desired::host_addresses(&config, &Bindings::default(), &Default::default());
        (config, policy, hosts)
    });
    let [old, new] = [0, 1].map(|side| Standing {
        config: &sides[side].0,
        policy: &sides[side].1,
        hosts: &sides[side].2,
        uplink: &[],
    });
    let now = Now { instant: Default::default(), unix: 1_800_000_000 };
    bencher.bench_local(|| plan(black_box(&old), &new, &Bindings::default(), None, now).effects.len());
}
