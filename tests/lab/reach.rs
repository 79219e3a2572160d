//! Who reaches whom: the file of the manual, tried with real connections in one home.

use labgate::cli::lab::home::PUBLIC;
use labgate::cli::lab::{Attempt, Lab, Outcome};

use crate::support::{dig, options, start};

#[track_caller]
fn attempt(lab: &Lab, from: &str, to: &str) -> Attempt {
    let host = lab.host(from).expect("the machine");
    host.connect(to).unwrap_or_else(|error| panic!("{from} -> {to}: {error:#}"))
}

#[track_caller]
fn connects(lab: &Lab, from: &str, to: &str, answer: &str) {
    let tried = attempt(lab, from, to);
    assert_eq!(tried.outcome, Outcome::Connected, "{from} -> {to}: {tried:?}");
    assert!(tried.text.starts_with(answer), "{from} -> {to}: {tried:?}, not {answer:?}");
}

#[track_caller]
fn refused_fast(lab: &Lab, from: &str, to: &str) {
    let tried = attempt(lab, from, to);
    assert_eq!(tried.outcome, Outcome::Refused, "{from} -> {to}: {tried:?}");
    assert!(tried.milliseconds < 500, "{from} -> {to}: {tried:?}");
}

#[track_caller]
fn silent(lab: &Lab, from: &str, to: &str) {
    let tried = attempt(lab, from, to);
    assert_eq!(tried.outcome, Outcome::Silent, "{from} -> {to}: {tried:?}");
}

/// How many pings reached a machine, as its own packet filter counted.
fn arrived(lab: &Lab, host: &str) -> u64 {
    let listed = lab.host(host).expect("the machine").run(&["nft", "-j", "list", "counters"]).expect("counters");
    let document: serde_json::Value = serde_json::from_str(&listed).expect("JSON of nft");
    let counters = document["nftables"].as_array().expect("a list");
    counters.iter().find_map(|object| object["counter"]["packets"].as_u64()).expect("a counter")
}

fn count_arrivals(lab: &Lab, host: &str) {
    let rules = "add table inet seen; add counter inet seen arrived; \
        add chain inet seen in { type filter hook input priority -300; }; \
        add rule inet seen in icmp type echo-request counter name arrived; \
        add rule inet seen in icmpv6 type echo-request counter name arrived";
    lab.host(host).expect("the machine").run(&["nft", rules]).expect("nft counts");
}

#[test]
fn each_network_reaches_exactly_what_the_file_gives_it() {
    let Some(lab) = start(options()) else { return };
    // Out, and seen there as the router.
    for from in ["laptop", "cam", "web1", "nas"] {
        connects(&lab, from, "www.example.com:80", &format!("internet: you are {PUBLIC}"));
    }
    refused_fast(&lab, "db1", "198.51.100.80:80");
    // Between networks.
    connects(&lab, "laptop", "web1:80", "web1: you are 192.168.1.");
    connects(&lab, "web1", "db1:5432", "db1: you are 192.168.30.10");
    refused_fast(&lab, "web1", "db1:22");
    refused_fast(&lab, "cam", "nas:443");
    refused_fast(&lab, "web1", "nas:443");
    refused_fast(&lab, "laptop", "db1:5432");
    refused_fast(&lab, "db1", "web1:80");
    // Within one network.
    connects(&lab, "laptop", "nas:443", "nas: you are 192.168.1.");
}

#[test]
fn a_forward_is_found_from_outside_and_from_every_network_that_may_go_out() {
    let Some(lab) = start(options()) else { return };
    let public = format!("{PUBLIC}:443");
    connects(&lab, "internet", &public, "nas: you are 203.0.113.1");
    connects(&lab, "laptop", &public, "nas: you are ");
    connects(&lab, "cam", &public, "nas: you are ");
    connects(&lab, "nas", &public, "nas: you are ");
    silent(&lab, "internet", &format!("{PUBLIC}:444"));
    // The forward is no way around: the same port of the gateway's inner address is the gateway's.
    refused_fast(&lab, "laptop", "192.168.1.1:443");
}

#[test]
fn nothing_comes_in_from_the_internet_uninvited() {
    let Some(lab) = start(options()) else { return };
    for port in [22, 53, 67, 80, 9100] {
        silent(&lab, "internet", &format!("{PUBLIC}:{port}"));
    }
    let internet = lab.host("internet").expect("internet");
    let words = ["dig", "+tries=1", "+time=1", "@203.0.113.2", "nas.home.arpa"];
    assert!(!internet.output(&words).expect("dig").status.success(), "the gateway answered DNS to the internet");
    // Inner addresses, sent to the gateway by a neighbour on the uplink.
    internet.run(&["ip", "route", "add", "192.168.0.0/16", "via", "203.0.113.2"]).expect("a route");
    silent(&lab, "internet", "192.168.1.10:443");
    silent(&lab, "internet", "192.168.30.10:80");
    silent(&lab, "internet", "192.168.1.1:53");
    assert_eq!(dig(&lab.host("laptop").expect("laptop"), &["@192.168.1.1", "nas.home.arpa"]), "192.168.1.10");
}

#[test]
fn a_forged_source_address_gets_nowhere() {
    let Some(lab) = start(options()) else { return };
    count_arrivals(&lab, "web1");
    let laptop = lab.host("laptop").expect("laptop");
    let own = laptop.address().expect("its address").to_string();
    let send = |source: &str| {
        laptop.output(&["ping", "-c", "1", "-W", "1", "-I", source, "192.168.30.10"]).expect("ping");
    };
    send(&own);
    assert_eq!(arrived(&lab, "web1"), 1, "the honest packet arrives");
    for forged in ["192.168.20.77", "10.1.2.3", "192.168.40.10", "203.0.113.9"] {
        laptop.run(&["ip", "addr", "add", &format!("{forged}/32"), "dev", "lo"]).expect("an address to forge with");
        send(forged);
    }
    assert_eq!(arrived(&lab, "web1"), 1, "a forged packet arrived");
    send(&own);
    assert_eq!(arrived(&lab, "web1"), 2, "and honest packets still do");
}

#[test]
fn ipv6_is_no_way_between_networks() {
    let Some(lab) = start(options()) else { return };
    let router = lab.router().expect("the gateway");
    if router.run(&["sysctl", "-w", "net.ipv6.conf.all.forwarding=1"]).is_err() {
        return crate::support::skip("this kernel has no IPv6");
    }
    for (host, interface, net) in [("laptop", "eth1", "fd00:1"), ("web1", "eth3", "fd00:3")] {
        router
            .run(&["ip", "addr", "add", &format!("{net}::1/64"), "dev", interface, "nodad"])
            .expect("the router's address");
        let host = lab.host(host).expect("the machine");
        host.run(&["ip", "addr", "add", &format!("{net}::2/64"), "dev", "eth0", "nodad"]).expect("an address");
        host.run(&["ip", "route", "add", "default", "via", &format!("{net}::1")]).expect("a route");
    }
    count_arrivals(&lab, "web1");
    let laptop = lab.host("laptop").expect("laptop");
    laptop
        .run(&["ping", "-6", "-c", "1", "-W", "2", "fd00:1::1"])
        .expect("neighbour discovery and ping of the router work");
    let through = laptop.output(&["ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", "fd00:3::2"]).expect("ping");
    assert!(!through.status.success(), "IPv6 leaked: {}", String::from_utf8_lossy(&through.stdout));
    assert_eq!(arrived(&lab, "web1"), 0);
}
