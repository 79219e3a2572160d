//! What happens to routers: cables out, foreign hands in the packet filter, signals, a second start.

use std::time::Duration;

use labgate::cli::lab::{Client, Lab, Outcome, PATIENCE, verb};
use nix::sys::signal::Signal;

use crate::support::{built_in_with, dig, eventually, home, options, start, web1};

fn small_lab() -> Option<Lab> {
    let laptop = labgate::cli::lab::HostSpec::client("laptop", "lan", "52:54:00:00:01:20");
    start(options().home(home([laptop, web1()])))
}

fn table(lab: &Lab) -> Option<String> {
    lab.router().expect("the gateway").run(&["nft", "-s", "list", "table", "inet", "labgate"]).ok()
}

/// Pulls the gateway's cable out of a segment: the interface is gone.
fn unplug(lab: &Lab, segment: &str) {
    lab.switch()
        .expect("the switch")
        .run(&["ip", "link", "del", &format!("gw-{segment}")])
        .expect("the cable is pulled");
}

/// Puts a new one in: the same name, another index.
fn plug(lab: &Lab, segment: &str, port: &str) {
    let gateway = lab.router().expect("the gateway").net_path();
    let (cable, gateway) = (format!("gw-{segment}"), gateway.to_string_lossy().into_owned());
    let switch = lab.switch().expect("the switch");
    switch
        .run(&["ip", "link", "add", &cable, "type", "veth", "peer", "name", port, "netns", &gateway])
        .expect("a cable");
    switch.run(&["ip", "link", "set", &cable, "master", segment, "up"]).expect("plugged in");
}

#[test]
fn an_interface_that_goes_and_comes_back_serves_again() {
    let Some(mut lab) = small_lab() else { return };
    let from = lab.log().len();
    unplug(&lab, "lan");
    let told = |words: &str| lab.log().wait(from, PATIENCE, |line| line.contains(words)).is_some();
    assert!(told("WARN network lan: eth1 is not there"), "the log tells it: {:#?}", lab.log().all());
    eventually("status tells the missing interface", 10, || {
        let status = lab.ask(&["status"]).expect("status");
        status["state"] == "degraded" && status["subsystems"].to_string().contains("eth1")
    });
    let web1 = lab.host("web1").expect("web1");
    assert_eq!(dig(&web1, &["@192.168.30.1", "nas.home.arpa"]), "192.168.1.10", "the other networks do not notice");
    plug(&lab, "lan", "eth1");
    assert!(told("INFO network lan: eth1 has 192.168.1.1/24"), "and its return: {:#?}", lab.log().all());
    let address = lab.client("laptop").expect("a client").renew(PATIENCE).expect("the lease again");
    let laptop = lab.host("laptop").expect("laptop");
    eventually("DNS on the new interface", 10, || {
        laptop
            .run(&["dig", "+short", "+tries=1", "+time=1", "@192.168.1.1", "laptop.home.arpa"])
            .is_ok_and(|text| text.trim() == address.to_string())
    });
    eventually("status is good again", 10, || lab.ask(&["status"]).expect("status")["state"] == "good");
    assert_eq!(laptop.connect("www.example.com:80").expect("an attempt").outcome, Outcome::Connected);
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_waited_for() {
    let config = built_in_with("interface = \"eth4\"", "interface = \"eth9\"");
    let laptop = labgate::cli::lab::HostSpec::client("laptop", "lan", "52:54:00:00:01:20");
    let db1 = labgate::cli::lab::HostSpec::client("db1", "db", "52:54:00:00:40:10").silent();
    let Some(lab) = start(options().config(config).home(home([laptop, db1]))) else { return };
    let status = lab.ask(&["status"]).expect("status");
    assert!(status["subsystems"].to_string().contains("eth9"), "{status}");
    lab.router().expect("the gateway").run(&["ip", "link", "set", "eth4", "name", "eth9"]).expect("it appears");
    let db1 = lab.host("db1").expect("db1");
    let mut client = Client::start(&db1).expect("a client");
    assert_eq!(client.bound(PATIENCE).expect("a lease").to_string(), "192.168.40.10");
}

#[test]
fn a_foreign_flush_is_put_right_and_foreign_tables_are_left_alone() {
    let Some(lab) = small_lab() else { return };
    let router = lab.router().expect("the gateway");
    let foreign = "add table ip foreign; add chain ip foreign c { type filter hook forward priority 10; }; add rule ip foreign c counter accept";
    let whole = table(&lab).expect("our table");
    router.run(&["nft", "flush", "ruleset"]).expect("the flush");
    router.run(&["nft", foreign]).expect("another's table");
    eventually("our table is back", 10, || table(&lab).is_some_and(|text| text == whole));
    let laptop = lab.host("laptop").expect("laptop");
    eventually("the way out is back", 10, || {
        laptop.connect("198.51.100.80:80").is_ok_and(|tried| tried.outcome == Outcome::Connected)
    });
    let before = router.run(&["nft", "-s", "list", "table", "ip", "foreign"]).expect("another's table");
    lab.edit(&built_in_with("admin     = true", "admin     = true\ndomain = \"changed.example.net\""))
        .expect("an edit");
    eventually("the edit is applied", 10, || {
        dig(&laptop, &["@192.168.1.1", "nas.changed.example.net"]) == "192.168.1.10"
    });
    assert_eq!(router.run(&["nft", "-s", "list", "table", "ip", "foreign"]).expect("another's table"), before);
}

#[test]
fn sigterm_leaves_the_ruleset_and_teardown_takes_everything_away() {
    let Some(mut lab) = small_lab() else { return };
    let whole = table(&lab).expect("our table");
    let status = lab.gateway().expect("the gateway").terminate().expect("its end");
    assert!(status.success(), "{status}");
    assert_eq!(table(&lab).as_deref(), Some(whole.as_str()), "the ruleset stays");
    let laptop = lab.host("laptop").expect("laptop");
    assert_eq!(laptop.connect("198.51.100.80:80").expect("an attempt").outcome, Outcome::Connected, "and routes on");
    let output = verb(&lab, &["teardown"]).expect("teardown").output().expect("teardown");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(table(&lab), None, "teardown leaves a table");
    let router = lab.router().expect("the gateway");
    let addresses = router.run(&["ip", "-4", "-o", "addr"]).expect("addresses");
    assert!(!addresses.contains("192.168.") && addresses.contains("203.0.113.2"), "{addresses}");
    assert_eq!(router.run(&["cat", "/proc/sys/net/ipv4/ip_forward"]).expect("a setting").trim(), "0");
}

#[test]
fn a_second_gateway_refuses_to_start() {
    let Some(mut lab) = small_lab() else { return };
    let mut second = lab.spawn_gateway().expect("a second one");
    let status = second.ended(Duration::from_secs(10)).expect("its end");
    assert!(!status.success());
    let words = second.lines.all().join("\n");
    assert!(words.contains("already running"), "{words}");
    assert_eq!(lab.ask(&["status"]).expect("status")["state"], "good");
    lab.gateway().expect("the gateway").signal(Signal::SIGTERM).expect("SIGTERM");
}

#[test]
fn the_lease_is_kept_over_a_clean_restart() {
    let Some(mut lab) = small_lab() else { return };
    let address = lab.host("laptop").expect("laptop").address().expect("its address");
    lab.gateway().expect("the gateway").terminate().expect("its end");
    lab.start_gateway().expect("a new start");
    let web1 = lab.host("web1").expect("web1");
    eventually("the name answers without a new lease", 10, || {
        web1.run(&["dig", "+short", "+tries=1", "+time=1", "@192.168.30.1", "laptop.home.arpa"])
            .is_ok_and(|text| text.trim() == address.to_string())
    });
    assert_eq!(lab.client("laptop").expect("a client").renew(PATIENCE).expect("a renewal"), address);
}

#[test]
fn ready_means_that_every_network_is_served() {
    let Some(lab) = small_lab() else { return };
    let log = lab.log().all();
    let place = |words: &str| log.iter().position(|line| line.contains(words));
    let ready = place(" is ready").expect("it is ready");
    for network in ["lan", "iot", "web", "db"] {
        assert!(place(&format!("dns: answers {network} ")).is_some_and(|line| line < ready), "{network}: {log:#?}");
    }
    let health = lab.ask(&["status"]).expect("status")["subsystems"].clone();
    for row in ["dhcp lan", "dhcp iot", "dhcp web", "dhcp db", "dns", "firewall"] {
        assert_eq!(health[row]["good"], true, "{row}: {health}");
    }
}
