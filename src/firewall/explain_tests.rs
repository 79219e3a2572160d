//! What the policy answers, packet by packet.

use std::net::Ipv4Addr;

use super::testing::{config, forward, host, network, rule, tcp};
use super::{Explanation, HostAddresses, Policy, Query, SetElements, Surroundings, explain};
use crate::config::{Config, Endpoint, PortRange, Service};

/// The home of the manual: lan, iot, web, db; web may ask db, lan reaches iot and web.
fn home() -> Config {
    let mut config = config();
    config.networks.push(network("web", "eth1.30", "192.168.30.1/24"));
    config.networks.push(network("db", "eth1.40", "192.168.40.1/24"));
    config.networks[3].internet = false;
    config.hosts = vec![
        host("nas", Some([192, 168, 1, 10])),
        host("web1", Some([192, 168, 30, 10])),
        host("db1", Some([192, 168, 40, 10])),
        host("laptop", None),
    ];
    let network = Endpoint::Network;
    config.firewall.allow = vec![
        rule(&[network(0)], &[network(1), network(2)], &[], 35),
        rule(&[network(2)], &[network(3)], &[tcp(5432)], 36),
    ];
    config.forwards = vec![forward(443, 0, 40)];
    config
}

fn ask(config: &Config, from: &str, to: &str, protocol: &str) -> Explanation {
    let reserved: Vec<Option<Ipv4Addr>> = config.hosts.iter().map(|host| host.ip).collect();
    let hosts = HostAddresses::new(&reserved, &vec![None; reserved.len()]);
    let around = Surroundings { hosts, ..Surroundings::default() };
    explain(&Policy::compile(config), &around, &Query::parse(config, |_| None, (from, to), protocol).unwrap())
}

fn decided(config: &Config, from: &str, to: &str, protocol: &str) -> (bool, String, Option<String>) {
    let explanation = ask(config, from, to, protocol);
    (explanation.allowed, explanation.verdict, explanation.place)
}

#[test]
fn the_allowed_way_is_told_phase_by_phase() {
    let text = ask(&home(), "web1", "db1:5432", "tcp").to_string();
    let expected = "\
web1 (192.168.30.10, network web) -> db1 (192.168.40.10, network db)  tcp 5432
  1 in      eth1.30, source belongs to web                                    ok
  2 nat     no port-forward matches                                           -
  3 route   192.168.40.0/24 is directly on eth1.40                            ok
  4 policy  web -> db tcp/5432                             labgate.toml:36    ALLOW
  5 out     eth1.40
  replies   established, accepted
";
    let squeezed = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(squeezed(&text), squeezed(expected), "{text}");
}

#[test]
fn counters_stand_beside_the_line() {
    let counters = [("labgate.toml:36".to_owned(), (8412, 1))].into();
    let text = ask(&home(), "web1", "db1:5432", "tcp").with_counters(&counters).to_string();
    assert!(text.contains("labgate.toml:36  8,412 packets  ALLOW\n"), "{text}");
}

#[test]
fn a_denial_names_the_nearest_rule_and_the_one_to_write() {
    let text = ask(&home(), "iot", "nas:443", "tcp").to_string();
    assert!(
        text.starts_with("iot -> nas:443   DENY   no rule allows iot -> lan; the nearest is labgate.toml:35"),
        "{text}"
    );
    assert!(text.contains("other direction)"), "{text}");
    assert!(text.contains("to allow:  { from = \"iot\", to = \"nas\", port = \"tcp/443\" }"), "{text}");
    let text = ask(&home(), "web", "db1:22", "tcp").to_string();
    assert!(text.contains("labgate.toml:36 (web -> db tcp/5432, other ports)"), "{text}");
}

#[test]
fn with_little_written() {
    let home = home();
    let yes = |from, to, protocol| assert!(decided(&home, from, to, protocol).0, "{from} -> {to} {protocol}");
    let no = |from, to, protocol, verdict: &str| {
        let (allowed, said, _) = decided(&home, from, to, protocol);
        assert!(!allowed && said == verdict, "{from} -> {to} {protocol}: {said}");
    };
    yes("lan", "internet:443", "tcp");
    yes("iot", "203.0.113.80:123", "udp");
    yes("iot", "router:53", "udp");
    yes("iot", "router", "icmp");
    yes("iot", "router:67", "udp");
    yes("lan", "router:22", "tcp");
    yes("lan", "nas:445", "tcp");
    yes("router", "internet:443", "tcp");
    yes("lan", "iot", "icmp");
    no("iot", "router:22", "tcp", "reject");
    no("db", "internet:443", "tcp", "reject");
    no("internet", "router:22", "tcp", "drop");
    no("internet", "router", "icmp", "drop");
    no("internet", "web1:80", "tcp", "drop");
    no("iot", "nas", "tcp", "reject");
    no("2001:db8::1", "router:22", "tcp", "drop");
}

#[test]
fn forwards_open_their_own_hole() {
    let mut home = home();
    let through = ask(&home, "internet", "router:443", "tcp");
    assert!(through.allowed && through.place.as_deref() == Some("labgate.toml:40"), "{through:?}");
    assert_eq!(through.phases[1].words, "port-forward tcp/443 to nas 192.168.1.10:443");
    assert!(ask(&home, "internet", "nas:443", "tcp").allowed);
    assert!(!ask(&home, "internet", "nas:22", "tcp").allowed);
    assert!(!ask(&home, "internet", "router:443", "udp").allowed);
    home.forwards[0].from = vec!["198.51.100.0/24".parse().unwrap()];
    assert!(!ask(&home, "internet", "router:443", "tcp").allowed);
    assert!(ask(&home, "198.51.100.7", "router:443", "tcp").allowed);
    home.firewall.deny = vec![rule(&[Endpoint::Internet], &[Endpoint::Host(0)], &[], 50)];
    let denied = ask(&home, "198.51.100.7", "router:443", "tcp");
    assert_eq!(denied.place.as_deref(), Some("labgate.toml:50"));
}

#[test]
fn deny_beats_allow_and_except_takes_out() {
    let mut home = home();
    home.firewall.deny = vec![rule(&[Endpoint::Network(0)], &[Endpoint::Network(1)], &[tcp(23)], 50)];
    home.firewall.allow[0].except = vec![Service::Tcp(PortRange { first: 1000, last: 2000 }), Service::Icmp];
    assert!(ask(&home, "lan", "iot:80", "tcp").allowed);
    assert!(ask(&home, "lan", "iot:1500", "udp").allowed);
    let denied = ask(&home, "lan", "iot:23", "tcp");
    assert_eq!((denied.allowed, denied.place.as_deref()), (false, Some("labgate.toml:50")));
    assert_eq!(denied.suggestion, None);
    assert!(!ask(&home, "lan", "iot:1500", "tcp").allowed);
    assert!(!ask(&home, "lan", "iot", "icmp").allowed);
    assert!(!ask(&home, "lan", "iot", "tcp").allowed, "not every port of it");
}

#[test]
fn a_host_without_an_address_is_nowhere() {
    let mut home = home();
    home.firewall.allow.push(rule(&[Endpoint::Host(3)], &[Endpoint::Host(2)], &[], 37));
    let explanation = ask(&home, "laptop", "db1:22", "tcp");
    assert!(!explanation.allowed);
    assert!(explanation.to_string().contains("laptop has no address now"), "{explanation}");
}

#[test]
fn without_uplink_there_is_no_internet() {
    let mut home = home();
    home.wan = None;
    let explanation = ask(&home, "lan", "internet:443", "tcp");
    assert!(!explanation.allowed && explanation.reason.as_deref() == Some("there is no uplink"), "{explanation:?}");
}

#[test]
fn what_is_denied_between_networks_is_denied_to_ipv6_too() {
    let mut home = home();
    let world = Endpoint::Cidr("2001:db8::/32".parse().unwrap());
    home.firewall.allow.push(rule(&[Endpoint::Network(0)], &[world], &[], 37));
    home.firewall.deny = vec![rule(&[Endpoint::Network(0)], &[Endpoint::Internet], &[tcp(25), Service::Icmp], 50)];
    assert!(ask(&home, "lan", "[2001:db8::1]:443", "tcp").allowed);
    assert!(!ask(&home, "lan", "[2001:db8::1]:25", "tcp").allowed);
    assert!(!ask(&home, "lan", "2001:db8::1", "icmp").allowed);
    let text = Policy::compile(&home).ruleset().text(&SetElements::default());
    assert!(text.contains("\"eth1\" . \"eth0\" . 58 comment"), "{text}");
    let chain = text.split("chain forward_ipv6").nth(1).unwrap();
    assert!(chain.find("@deny_net_net_protocol").unwrap() < chain.find("@allow6_net_host_range").unwrap(), "{text}");
}

#[test]
fn an_address_of_the_router_is_the_router() {
    let mut home = home();
    let literal = Endpoint::Cidr("192.168.1.1/32".parse().unwrap());
    home.firewall.allow = vec![rule(&[Endpoint::Network(1)], &[literal], &[tcp(8080)], 37)];
    assert_eq!(ask(&home, "iot", "192.168.20.1:8080", "tcp").place.as_deref(), Some("labgate.toml:37"));
}
