//! The order of the decision.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::*;
use crate::config::{Config, Transport, Upstream};
use crate::dns::entry::{Body, Entry};
use crate::dns::hosts::parse;
use crate::dns::names::FixedNames;
use crate::dns::testing::{answers, config, name, question, read};
use crate::dns::wire::{Incoming, read_query};

struct House {
    names: LocalNames,
    zones: Zones,
}

fn wire(full: &str) -> WireName {
    WireName::new(&name(full))
}

fn records() -> Vec<(&'static str, Data)> {
    let nas = Data::A(Ipv4Addr::new(192, 168, 1, 10));
    let alias = |target| Data::Alias(wire(target));
    vec![
        ("gateway.home.arpa", Data::Router),
        ("gateway.iot.home.arpa", Data::Router),
        ("nas.home.arpa", nas.clone()),
        ("cloud.home.arpa", nas.clone()),
        ("tv.home.arpa", Data::Follow { host: "tv".into(), domain: None }),
        ("web.home.arpa", alias("nas.home.arpa")),
        ("out.home.arpa", alias("www.example.net")),
        ("dead.home.arpa", alias("nobody.home.arpa")),
        ("loop.home.arpa", alias("pool.home.arpa")),
        ("pool.home.arpa", alias("loop.home.arpa")),
        ("*.apps.home.arpa", nas),
        ("override.example.com", Data::A(Ipv4Addr::new(192, 168, 1, 9))),
        ("txt.home.arpa", Data::Txt(b"\x03v=1"[..].into())),
        ("_ldap._tcp.home.arpa", Data::Srv([1, 2, 389], wire("nas.home.arpa"))),
    ]
}

fn house(change: impl FnOnce(&mut Config)) -> House {
    let mut config = config();
    let server = Upstream { transport: Transport::Udp, server: "10.0.0.53:53".parse().unwrap() };
    config.dns.forward = vec![
        (name("corp.example"), vec![server.clone()]),
        (name("10.in-addr.arpa"), vec![server.clone()]),
        (name("lab.internal"), vec![server]),
    ];
    change(&mut config);
    let hosts = b"192.168.1.77 scanner printer.test\n2001:db8::7 scanner\n127.0.0.9 localhost\n";
    let networks = config.networks.iter().map(|network| (WireName::new(&network.domain), network.router())).collect();
    let domain = WireName::new(&config.gateway.domain);
    let mut fixed = FixedNames::new(domain, wire("gateway.home.arpa"), networks, parse(hosts).0);
    for (full, data) in records() {
        fixed.add(&wire(full), data);
    }
    fixed.add(&wire("iot.home.arpa"), Data::Mx(10, wire("mail.home.arpa")));
    for (address, full) in [("192.168.1.10", "nas.home.arpa"), ("192.168.20.1", "gateway.iot.home.arpa")] {
        fixed.add_reverse(address.parse().unwrap(), &wire(full));
    }
    let mut names = LocalNames::new(fixed);
    names.claim(Ipv4Addr::new(192, 168, 1, 100), wire("laptop.home.arpa"));
    names.claim(Ipv4Addr::new(192, 168, 20, 100), wire("bulb.iot.home.arpa"));
    House { names, zones: Zones::new(&config) }
}

impl House {
    fn decide(&self, full: &str, rtype: RecordType, network: usize) -> (Answer, Vec<u8>) {
        let message = question(full, rtype, true);
        let Incoming::Query(query) = read_query(&message) else { panic!() };
        let mut out = Vec::new();
        let asker = Asker { network: Some(network), limit: 1232 };
        let answer = answer(&query, &asker, &self.names, &self.zones, |_| None, &mut out);
        (answer, out)
    }

    fn ready(&self, full: &str, rtype: RecordType) -> (Reason, ResponseCode, Vec<String>) {
        match self.decide(full, rtype, 0) {
            (Answer::Ready(reason), out) => {
                let message = read(&out);
                let negative = message.answers.is_empty();
                assert!(!negative || message.authorities.len() == 1, "{full}: a negative answer has its SOA");
                (reason, message.metadata.response_code, answers(&out))
            }
            (Answer::Ask(_), _) => panic!("{full} is forwarded"),
        }
    }

    fn records(&self, full: &str, rtype: RecordType) -> Vec<String> {
        self.ready(full, rtype).2
    }

    fn route(&self, full: &str, rtype: RecordType) -> Option<Route> {
        match self.decide(full, rtype, 0).0 {
            Answer::Ask(ask) => Some(ask.route),
            Answer::Ready(_) => None,
        }
    }
}

#[test]
fn local_names_answer_every_type_they_have() {
    let house = house(|_| ());
    use RecordType as T;
    for full in ["nas.home.arpa", "NAS.Home.ARPA", "nas", "cloud", "cloud.home.arpa", "x.y.apps.home.arpa"] {
        assert_eq!(house.records(full, T::A), ["A 192.168.1.10"], "{full}");
    }
    assert_eq!(house.records("laptop", T::A), ["A 192.168.1.100"]);
    assert_eq!(house.records("bulb", T::A), ["A 192.168.20.100"], "a bare name of another network");
    assert_eq!(house.records("web.home.arpa", T::A), ["CNAME nas.home.arpa.", "A 192.168.1.10"]);
    assert_eq!(house.records("web.home.arpa", T::CNAME), ["CNAME nas.home.arpa."]);
    assert_eq!(house.records("scanner", T::AAAA), ["AAAA 2001:db8::7"]);
    assert_eq!(house.records("scanner.home.arpa", T::A), ["A 192.168.1.77"]);
    assert_eq!(
        house.records("printer.test", T::A),
        ["A 192.168.1.77"],
        "the file of the person comes before the RFC's never"
    );
    assert_eq!(house.records("txt.home.arpa", T::TXT), ["TXT v=1"]);
    assert_eq!(house.records("iot.home.arpa", T::MX), ["MX 10 mail.home.arpa."]);
    assert_eq!(house.records("_ldap._tcp.home.arpa", T::SRV), ["SRV 1 2 389 nas.home.arpa."]);
    assert_eq!(house.records("override.example.com", T::A), ["A 192.168.1.9"]);
    assert_eq!(house.records("nas.home.arpa", T::ANY), ["HINFO RFC8482 "]);
    assert_eq!(house.records("10.1.168.192.in-addr.arpa", T::PTR), ["PTR nas.home.arpa."]);
    assert_eq!(house.records("100.1.168.192.in-addr.arpa", T::PTR), ["PTR laptop.home.arpa."]);
    assert_eq!(house.records("77.1.168.192.in-addr.arpa", T::PTR), ["PTR scanner.", "PTR printer.test."]);
}

#[test]
fn the_router_answers_with_its_address_on_the_askers_network() {
    let house = house(|_| ());
    for full in ["gateway.home.arpa", "gateway", "gateway.iot.home.arpa"] {
        let at = |network| answers(&house.decide(full, RecordType::A, network).1);
        assert_eq!((at(0), at(1)), (vec!["A 192.168.1.1".to_owned()], vec!["A 192.168.20.1".to_owned()]), "{full}");
    }
    assert_eq!(house.records("1.20.168.192.in-addr.arpa", RecordType::PTR), ["PTR gateway.iot.home.arpa."]);
}

#[test]
fn what_is_ours_and_unknown_does_not_exist() {
    let house = house(|_| ());
    let (reason, code, _) = house.ready("nobody.home.arpa", RecordType::A);
    assert_eq!((reason, code), (Reason::OwnDomain, ResponseCode::NXDomain));
    let (reason, code, records) = house.ready("nas.home.arpa", RecordType::AAAA);
    assert_eq!((reason, code, records.len()), (Reason::Local(Source::Config), ResponseCode::NoError, 0));
    assert_eq!(house.ready("apps.home.arpa", RecordType::A).1, ResponseCode::NXDomain);
    assert_eq!(house.ready("_tcp.home.arpa", RecordType::A).1, ResponseCode::NoError, "names below it exist");
    assert_eq!(house.ready("tv.home.arpa", RecordType::A).1, ResponseCode::NoError, "a host that has no lease now");
    let (reason, code, _) = house.ready("200.1.168.192.in-addr.arpa", RecordType::PTR);
    assert_eq!((reason, code), (Reason::Reverse, ResponseCode::NXDomain));
    assert_eq!(house.records("home.arpa", RecordType::NS), ["NS gateway.home.arpa."]);
    assert_eq!(house.records("home.arpa", RecordType::SOA).len(), 1);
    assert_eq!(
        house.records("iot.home.arpa", RecordType::NS),
        ["NS gateway.home.arpa."],
        "also beside a record of the file"
    );
    let dead = house.decide("dead.home.arpa", RecordType::A, 0).1;
    assert_eq!(read(&dead).metadata.response_code, ResponseCode::NXDomain);
    let looping = house.decide("loop.home.arpa", RecordType::A, 0);
    assert_eq!(looping.0, Answer::Ready(Reason::AliasLoop));
    assert_eq!(read(&looping.1).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn special_names_never_leak() {
    let house = house(|_| ());
    for full in [
        "printer.local",
        "x.onion",
        "y.invalid",
        "z.test",
        "a.internal",
        "b.alt",
        "_dns.resolver.arpa",
        "wpad",
        "com",
        "1.2.3.172.16.172.in-addr.arpa",
        "1.1.16.172.in-addr.arpa",
        "9.9.169.254.in-addr.arpa",
        "1.1.254.169.in-addr.arpa",
        "1.1.64.100.in-addr.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
    ] {
        if full.starts_with("9.9.") {
            assert!(house.route(full, RecordType::PTR).is_some(), "{full} is nobody's");
            continue;
        }
        let (reason, code, _) = house.ready(full, RecordType::A);
        assert!(matches!(reason, Reason::Special(_)), "{full}: {reason:?}");
        assert_eq!(code, ResponseCode::NXDomain, "{full}");
    }
    assert_eq!(house.records("localhost", RecordType::A), ["A 127.0.0.1"]);
    assert_eq!(house.records("a.localhost", RecordType::AAAA), ["AAAA ::1"]);
    assert_eq!(house.records("1.0.0.127.in-addr.arpa", RecordType::PTR), ["PTR localhost."]);
    assert_eq!(house.ready("localhost", RecordType::MX).1, ResponseCode::NoError);
    let elsewhere = super::tests::house(|config| config.gateway.domain = name("lan.example"));
    assert!(elsewhere.route("lan.example.net", RecordType::A).is_some());
}

#[test]
fn the_rest_is_forwarded_to_whom_it_belongs() {
    let house = house(|_| ());
    let upstream = Some(Route::Upstream);
    assert_eq!(house.route("www.example.net", RecordType::A), upstream);
    assert_eq!(house.route("www.corp.example", RecordType::A), Some(Route::Forward(0)));
    assert_eq!(house.route("1.2.3.10.in-addr.arpa", RecordType::PTR), Some(Route::Forward(1)));
    assert_eq!(house.route("x.lab.internal", RecordType::A), Some(Route::Forward(2)));
    assert_eq!(house.route("8.8.8.8.in-addr.arpa", RecordType::PTR), upstream);
    assert_eq!(house.route("com", RecordType::DS), upstream);
    assert_eq!(house.route(".", RecordType::DNSKEY), upstream);
    assert_eq!(house.route("home.arpa", RecordType::DS), upstream);
    assert_eq!(house.route("x.home.arpa", RecordType::DS), None);
}

#[test]
fn without_recursion_only_local_names_are_answered() {
    let house = house(|_| ());
    let mut message = question("www.example.net", RecordType::A, true);
    message[2] &= 0xfe;
    let Incoming::Query(query) = read_query(&message) else { panic!() };
    let mut out = Vec::new();
    let asker = Asker { network: Some(0), limit: 1232 };
    let decided =
        answer(&query, &asker, &house.names, &house.zones, |_| panic!("the cache tells what others asked"), &mut out);
    assert_eq!(decided, Answer::Ready(Reason::NotRecursive));
    assert_eq!(read(&out).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn an_alias_that_leads_outside_is_joined_with_the_cache() {
    let house = house(|_| ());
    let target = wire("www.example.net");
    let key = Key::new(target.as_bytes(), rtype::A, false, false).unwrap();
    let message = question("out.home.arpa", RecordType::A, true);
    let Incoming::Query(query) = read_query(&message) else { panic!() };
    let mut out = Vec::new();
    let asker = Asker { network: Some(0), limit: 1232 };
    let first = answer(&query, &asker, &house.names, &house.zones, |_| None, &mut out);
    assert_eq!(first, Answer::Ask(Ask { key, route: Route::Upstream, stale: false }));
    // An entry as it comes from scrubbing: a pointer to the question, a TTL at offset 6 of the record.
    let mut head = vec![0; 12];
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(&[0, 1, 0, 1]);
    let length = head.len();
    let body = [&head[..], b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x07"].concat();
    let entry = {
        let places = [(length + 6) as u16];
        let body = Body { message: &body, head_len: length, ttl_places: &places, counts: [1, 0, 0] };
        Entry::new(&key, &body, 0, 300, None)
    };
    let hit =
        |asked: &Key| (*asked == key).then(|| Hit { entry: entry.clone(), age: 100, freshness: Freshness::Fresh });
    let second = answer(&query, &asker, &house.names, &house.zones, hit, &mut out);
    assert_eq!(second, Answer::Ready(Reason::Local(Source::Config)));
    assert_eq!(answers(&out), ["CNAME www.example.net.", "A 192.0.2.7"]);
    assert_eq!(read(&out).answers[1].ttl, 200);
}
