//! Golden rulesets: the file in, what the kernel lists out. `UPDATE=1` rewrites what is expected.
//!
//! `tests/rulesets/NAME.toml` may end in lines `# lease HOST ADDRESS`: then that host holds this lease; and in lines
//! `# name NAME ADDRESS…`: then that outside name has these addresses.

#[allow(dead_code)]
mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Config};
use labgate::desired;
use labgate::dns::outside::{Heard, Resolution, Resolved};
use labgate::firewall::{Policy, SetElements};
use labgate::model::{Binding, Bindings, ClientKey, DomainName, Now};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets")
}

fn leases(config: &Config, text: &str) -> Bindings {
    let mut bindings = Bindings::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# lease ")) {
        let (host, address) = line.split_once(' ').expect("`# lease HOST ADDRESS`");
        let host = config.hosts.iter().find(|known| &*known.name == host).expect("a lease names a host");
        let address: Ipv4Addr = address.parse().expect("a lease has an address");
        let binding = Binding {
            address,
            client: ClientKey::from_hardware(1, b"x"),
            mac: host.macs.first().copied(),
            network: "lan".into(),
            host_name: None,
            expires: None,
            expires_unix: None,
            acknowledged_unix: 0,
        };
        bindings.insert(address, Arc::new(binding));
    }
    bindings
}

fn resolved(text: &str) -> Resolved {
    let mut resolved = Resolved::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("# name ")) {
        let (name, addresses) = line.split_once(' ').expect("`# name NAME ADDRESS…`");
        let addresses = addresses.split(' ').map(|address| (address.parse().expect("an IPv4 address"), 60)).collect();
        let now = Now { instant: Duration::ZERO, unix: 0 };
        let known = Resolution::default().after(&Heard::Addresses(addresses, 60), now);
        resolved.set(DomainName::parse(name).expect("a name"), known);
    }
    resolved
}

fn transaction(text: &str) -> String {
    let config = common::configuration(text);
    let policy = Policy::compile(&config);
    let hosts = desired::host_addresses(&config, &leases(&config, text), &resolved(text));
    desired::ruleset(&policy).text(&desired::elements(&policy, &hosts))
}

#[test]
fn the_kernel_lists_what_is_expected() {
    let mut wrong = Vec::new();
    let mut names: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    names.sort();
    assert!(names.len() >= 8, "the golden files are not where they were");
    for file in names {
        let text = transaction(&fs::read_to_string(&file).unwrap());
        // Twice: the second time there is a table to replace.
        let script =
            "file=$(mktemp); trap 'rm -f $file' EXIT; cat >$file; nft -f $file && nft -f $file && nft list ruleset";
        let Some(output) = common::in_namespace(script, &text) else { return };
        let listed = String::from_utf8_lossy(&output.stdout);
        let golden = file.with_extension("nft");
        if !output.status.success() {
            wrong.push(format!("{}: {}\n{text}", file.display(), String::from_utf8_lossy(&output.stderr)));
        } else if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &*listed).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != listed {
            wrong.push(format!("{} differs:\n{listed}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_kernel_without_a_log_gets_the_same_table_without_it() {
    let config = common::configuration(&fs::read_to_string(folder().join("home.toml")).unwrap());
    let ruleset = desired::ruleset(&Policy::compile(&config)).without_log();
    let text = ruleset.text(&SetElements::default());
    let Some(output) = common::in_namespace("nft -f - && nft list ruleset", &text) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8_lossy(&output.stdout);
    let golden = fs::read_to_string(folder().join("home.nft")).unwrap();
    let kept: Vec<&str> = golden.lines().filter(|line| !line.contains(" log group ")).collect();
    let kept: Vec<&str> = kept.into_iter().filter(|line| !line.contains("meta pkttype")).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), kept);
}

#[test]
fn the_closed_table_is_closed() {
    let home = common::configuration(&fs::read_to_string(folder().join("home.toml")).unwrap());
    for (name, config) in [("closed-without-a-file.nft", None), ("closed-home.nft", Some(&home))] {
        let text = labgate::firewall::closed_ruleset(config);
        let Some(output) = common::in_namespace("nft -f - && nft list ruleset", &text) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (golden, listed) = (folder().join(name), String::from_utf8_lossy(&output.stdout));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &*listed).unwrap();
        }
        assert_eq!(fs::read_to_string(&golden).unwrap_or_default(), listed);
    }
}

#[test]
fn nothing_in_the_file_becomes_syntax() {
    let mut config = common::configuration(
        "[wan]\ninterface = \"eth0\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n",
    );
    config.networks[0].name = "x\" : drop } } flush ruleset #\n".into();
    config.networks[0].interface = config::NetworkInterface::Plain("e\" . \"*".into());
    let text = desired::ruleset(&Policy::compile(&config)).text(&SetElements::default());
    assert!(!text.contains("flush ruleset #\n") && !text.contains("\"e\""), "{text}");
    let Some(output) = common::in_namespace("nft -f - && nft list ruleset", &text) else { return };
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(listed.matches("policy drop").count(), 2, "{listed}");
}

#[test]
fn ten_thousand_rules_load() {
    use std::fmt::Write as _;
    let mut text = String::from(
        "[wan]\ninterface = \"eth0\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"10.0.0.1/16\"\nadmin = true\n[network.iot]\ninterface = \"eth2\"\naddress = \"10.1.0.1/16\"\n[firewall]\nallow = [\n",
    );
    // In a user namespace nft may not enlarge its socket's buffer, and a transaction has to fit into 200 kB.
    let rules = if common::unshare().is_some_and(|way| way.contains(&"-Urn")) { 1000 } else { 10_000 };
    for index in 0..rules {
        let (high, low) = (index / 250, index % 250 + 2);
        let port = match index % 3 {
            0 => format!("tcp/{}", 1000 + index % 5000),
            1 => format!("udp/{}-{}", 1000 + index % 500, 2000 + index),
            _ => "tcp".to_owned(),
        };
        writeln!(text, "  {{ from = \"10.0.{high}.{low}\", to = \"10.1.{high}.{low}\", port = \"{port}\" }},").unwrap();
    }
    text.push_str("]\n");
    let Some(output) = common::in_namespace("nft -f - && nft list ruleset | grep -c labgate.toml", &transaction(&text))
    else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count: usize = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    assert!(count > rules as usize, "{count} elements");
}
