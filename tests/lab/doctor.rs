//! `labgate doctor`: each fault is made in the virtual home, and the doctor names exactly it.

use std::process::{Child, Stdio};

use labgate::cli::lab::home::Addressing;
use labgate::cli::lab::{HostSpec, Lab, Outcome, verb};
use serde_json::Value;

use crate::support::{LABGATE, eventually, home, options, skip, start, web1};

fn small_lab() -> Option<Lab> {
    start(options().home(home([HostSpec::client("laptop", "lan", "52:54:00:00:01:20"), web1()])))
}

/// A program in the gateway's namespace that ends with the test.
struct Running(Child);

impl Running {
    fn start(lab: &Lab, machine: &str, words: &[&str]) -> Self {
        let mut command = lab.host(machine).expect("a machine").command(words[0]);
        Running(command.args(&words[1..]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect(words[0]))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn doctor(lab: &Lab) -> Value {
    lab.ask(&["doctor"]).expect("doctor")
}

/// The names of the checks that failed.
fn failed(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().filter(|check| check["verdict"] == "bad").filter_map(|check| check["name"].as_str()).collect()
}

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name} in {document}"))
}

/// Waits until the chain names this check first, and gives the document: the daemon too may need a moment to notice a fault.
#[track_caller]
fn first_is(lab: &Lab, name: &str) -> Value {
    let mut document = Value::Null;
    eventually(&format!("doctor names {name}"), 20, || {
        document = doctor(lab);
        document["first"] == name
    });
    assert_eq!(document["state"], "degraded");
    document
}

/// Exactly one check fails, its evidence and its fix say these words.
#[track_caller]
fn only(lab: &Lab, name: &str, evidence: &str, fix: &str) {
    let document = first_is(lab, name);
    assert_eq!(failed(&document), [name], "{document:#}");
    let found = check(&document, name);
    assert!(found["evidence"].to_string().contains(evidence), "{evidence:?} is not in {found:#}");
    assert!(found["fix"].to_string().contains(fix), "{fix:?} is not in {found:#}");
}

#[track_caller]
fn is_good(lab: &Lab) {
    let mut document = Value::Null;
    eventually("doctor finds nothing", 20, || {
        document = doctor(lab);
        document["state"] == "good"
    });
    assert_eq!(document["first"], Value::Null, "{document:#}");
}

#[test]
fn a_good_home_is_good_and_the_text_says_so() {
    let Some(lab) = small_lab() else { return };
    is_good(&lab);
    let before = lab.ask(&["leases"]).expect("leases");
    let output = verb(&lab, &["doctor"]).expect("doctor").output().expect("doctor");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("ok   interface lan: eth1 is up and has 192.168.1.1/24"), "{text}");
    assert!(!text.contains("BAD"), "{text}");
    assert_eq!(lab.ask(&["leases"]).expect("leases").as_array().map(Vec::len), before.as_array().map(Vec::len));
}

#[test]
fn an_interface_that_is_gone_comes_before_what_follows_from_it() {
    let Some(lab) = small_lab() else { return };
    let router = lab.router().expect("the gateway");
    router.run(&["ip", "link", "set", "eth2", "down"]).expect("down");
    let document = first_is(&lab, "interface iot");
    assert!(check(&document, "interface iot")["fix"].to_string().contains("ip link set eth2 up"), "{document:#}");
    router.run(&["ip", "link", "set", "eth2", "up"]).expect("up");
    is_good(&lab);
    lab.switch().expect("the switch").run(&["ip", "link", "del", "gw-lan"]).expect("the cable is pulled");
    let document = first_is(&lab, "interface lan");
    let checks = document["checks"].as_array().expect("checks");
    let at = |name: &str| checks.iter().position(|check| check["name"] == name).expect("a check");
    assert!(at("interface lan") < at("status network lan"), "the symptom stands behind its cause");
    let output = verb(&lab, &["doctor"]).expect("doctor").output().expect("doctor");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("evidence: there is no interface eth1"), "{text}");
    assert!(text.trim_end().lines().last().is_some_and(|line| line.ends_with("interface lan")), "{text}");
}

#[test]
fn foreign_chains_that_refuse_are_named_until_they_let_pass() {
    let Some(lab) = small_lab() else { return };
    let (router, laptop) = (lab.router().expect("the gateway"), lab.host("laptop").expect("laptop"));
    let reaches = || laptop.connect("198.51.100.80:80").expect("an attempt").outcome == Outcome::Connected;
    router
        .run(&["nft", "add table inet filter { chain forward { type filter hook forward priority 5; policy drop; iifname docker0 accept; }; }"])
        .expect("a foreign table");
    assert!(!reaches(), "the foreign chain has its veto");
    only(
        &lab,
        "other firewalls",
        "table inet filter, chain forward (priority 5), policy drop",
        "accept these interfaces",
    );
    router
        .run(&["nft", "insert rule inet filter forward iifname { eth0, eth1, eth2, eth3, eth4 } accept"])
        .expect("the fix");
    assert!(reaches());
    is_good(&lab);
    router
        .run(&["nft", "insert rule inet filter forward ct state new iifname eth1 oifname eth0 tcp dport 1-1000 reject"])
        .expect("a rule");
    assert!(!reaches());
    only(&lab, "other firewalls", "iifname \\\"eth1\\\" oifname \\\"eth0\\\" tcp dport 1-1000 reject", "nftables");
    router.run(&["nft", "delete table inet filter"]).expect("it goes");
    router
        .run(&["nft", "add table ip x { chain p { type nat hook prerouting priority -101; iifname eth1 udp dport 53 redirect to :5353; }; }"])
        .expect("a foreign translation");
    only(&lab, "other translations", "redirect to :5353", "take the redirection of udp/53 out");
    router.run(&["nft", "delete table ip x"]).expect("it goes");
    router.run(&["nft", "insert rule inet labgate forward drop"]).expect("a foreign hand in our table");
    only(&lab, "own table", "chain forward", "nft delete table inet labgate");
    router.run(&["nft", "delete table inet labgate"]).expect("the fix");
    is_good(&lab);
}

#[test]
fn forwarding_packet_sizes_and_routes_are_looked_at() {
    let Some(lab) = small_lab() else { return };
    let router = lab.router().expect("the gateway");
    router.run(&["sysctl", "-qw", "net.ipv4.conf.eth1.forwarding=0"]).expect("the setting");
    only(&lab, "forwarding", "off on eth1 alone", "net.ipv4.conf.eth1.forwarding=1");
    router.run(&["sysctl", "-qw", "net.ipv4.conf.eth1.forwarding=1"]).expect("the fix");
    router.run(&["ip", "link", "set", "eth1", "mtu", "1400"]).expect("a size");
    only(&lab, "packet size", "eth1 takes 1400 octets", "ip link set eth1 mtu 1500");
    router.run(&["ip", "link", "set", "eth1", "mtu", "1500"]).expect("the fix");
    is_good(&lab);
    router.run(&["ip", "route", "del", "default"]).expect("no route");
    let document = first_is(&lab, "default route");
    assert!(failed(&document).contains(&"upstreams"), "{document:#}");
}

#[test]
fn a_second_dhcp_server_is_found_and_takes_nothing_from_us() {
    if !crate::support::possible() {
        return;
    }
    let mut rogue = HostSpec::client("rogue", "lan", "52:54:00:00:01:66");
    rogue.addressing = Addressing::Fixed(vec![("eth0".to_owned(), "192.168.1.66/24".to_owned())], None);
    let Some(lab) = start(options().home(home([rogue]))) else { return };
    is_good(&lab);
    let dnsmasq = [
        "dnsmasq",
        "--no-daemon", // and stay who you are: a user namespace has no group to change to
        "--port=0",
        "--conf-file=/dev/null",
        "--interface=eth0",
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--dhcp-range=192.168.1.70,192.168.1.79,1h",
        "--dhcp-leasefile=/dev/null",
        "--no-ping",
        "--pid-file=",
    ];
    let running = Running::start(&lab, "rogue", &dnsmasq);
    only(&lab, "dhcp server lan", "192.168.1.66 offered 192.168.1.7", "switch DHCP off on 192.168.1.66");
    drop(running);
    is_good(&lab);
    assert_eq!(lab.ask(&["leases"]).expect("leases").as_array().map(Vec::len), Some(0));
}

#[test]
fn who_holds_a_port_before_us_is_named() {
    let Some(mut lab) = small_lab() else { return };
    lab.gateway().expect("the gateway").terminate().expect("its end");
    assert_eq!(failed(&doctor(&lab)), ["daemon"], "without a gateway that is what is wrong");
    let dnsmasq = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--pid-file="];
    let dns = Running::start(&lab, "gateway", &dnsmasq);
    eventually("port 53 is told", 10, || failed(&doctor(&lab)).contains(&"port 53"));
    let document = doctor(&lab);
    assert_eq!(failed(&document), ["daemon", "port 53"], "{document:#}");
    let told = check(&document, "port 53").to_string();
    assert!(
        told.contains("udp/53 on every address is held by dnsmasq (pid ") && told.contains("bind-interfaces"),
        "{told}"
    );
    let mut second = lab.spawn_gateway().expect("a gateway beside it");
    eventually("the gateway runs and the port is still theirs", 20, || {
        let document = doctor(&lab);
        check(&document, "daemon")["verdict"] == "good" && document["first"] == "port 53"
    });
    drop(dns);
    is_good(&lab);
    // Both hear the broadcasts of that network.
    let dhcp = [
        &dnsmasq[..],
        &[
            "--port=0",
            "--bind-interfaces",
            "--interface=eth3",
            "--dhcp-range=192.168.30.50,192.168.30.60",
            "--dhcp-leasefile=/dev/null",
        ],
    ];
    let _dhcp = Running::start(&lab, "gateway", &dhcp.concat());
    only(&lab, "port 67", "is held by dnsmasq", "no-dhcp-interface=eth1");
    second.kill().expect("its end");
}

#[test]
fn without_root_what_cannot_be_seen_is_said_and_hides_nothing() {
    let Some(lab) = small_lab() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can become somebody else");
    }
    let work = lab.work().display().to_string();
    let folder = |name: &str| format!("{work}/{name}");
    let (config, state, run) = (folder("etc/labgate.toml"), folder("state"), folder("run"));
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        LABGATE,
        "doctor",
        "--json",
        "--config",
        &config,
        "--state-dir",
        &state,
        "--runtime-dir",
        &run,
    ];
    let output = lab.router().expect("the gateway").output(&words).expect("doctor");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    for name in ["daemon", "own table", "other firewalls", "dhcp server lan"] {
        let found = check(&document, name);
        assert_eq!(found["verdict"], "unknown", "{found}");
        assert!(found["evidence"].to_string().contains("run as root"), "{found}");
    }
    for name in ["interface lan", "forwarding", "upstreams"] {
        assert_eq!(check(&document, name)["verdict"], "good", "{document:#}");
    }
}
