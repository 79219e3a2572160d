//! The rules of names.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::{NameEvent, Refused, fixed, publish, rebuild};
use crate::config::{Config, Record, RecordData};
use crate::dns::hosts::parse;
use crate::dns::testing::{config, name, place};
use crate::dns::wire::WireName;
use crate::dns::{Hosts, LocalNames, Source};
use crate::model::{Binding, Bindings, ClientKey, MacAddr};

fn wire(text: &str) -> WireName {
    WireName::new(&name(text))
}

fn lan(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn iot(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 20, last)
}

fn binding(address: Ipv4Addr, last: u8, host_name: &str) -> Arc<Binding> {
    let mac = MacAddr([2, 0, 0, 0, 0, last]);
    Arc::new(Binding {
        address,
        client: ClientKey::from_hardware(1, &mac.0),
        mac: Some(mac),
        network: if address.octets()[2] == 1 { "lan".into() } else { "iot".into() },
        host_name: (!host_name.is_empty()).then(|| host_name.into()),
        expires: Some(Duration::from_secs(100)),
        expires_unix: Some(100),
        acknowledged_unix: u64::from(last),
    })
}

/// A house with leases that come and go.
struct House {
    config: Config,
    names: LocalNames,
    bindings: Bindings,
}

impl House {
    fn new(hosts: &[u8]) -> Self {
        let config = config();
        let names = LocalNames::new(fixed(&config, &parse(hosts).0));
        House { config, names, bindings: Bindings::new() }
    }

    fn change(&mut self, act: impl FnOnce(&mut Bindings)) -> Vec<NameEvent> {
        let older = self.bindings.clone();
        act(&mut self.bindings);
        let (names, events) = publish(&self.names, &self.config, &older, &self.bindings);
        self.names = names;
        events
    }

    fn grant(&mut self, address: Ipv4Addr, last: u8, host_name: &str) -> Vec<NameEvent> {
        self.change(|bindings| drop(bindings.insert(address, binding(address, last, host_name))))
    }

    fn end(&mut self, address: Ipv4Addr) -> Vec<NameEvent> {
        self.change(|bindings| drop(bindings.remove(&address)))
    }

    fn lease(&self, full: &str) -> Option<Ipv4Addr> {
        self.names.find(wire(full).as_bytes()).and_then(|local| local.lease)
    }

    fn reverse(&self, address: Ipv4Addr) -> Vec<String> {
        let mut found = Vec::new();
        self.names.find_reverse(address.into(), |name| found.push(WireName::from_wire(name).to_string()));
        found
    }
}

#[test]
fn a_lease_is_a_name_in_the_domain_of_its_network_until_it_ends() {
    let mut house = House::new(b"");
    let events = house.grant(lan(100), 50, "laptop");
    assert_eq!(events[0].to_string(), "laptop.home.arpa is 192.168.1.100");
    assert_eq!(
        (house.lease("laptop.home.arpa"), house.reverse(lan(100))),
        (Some(lan(100)), vec!["laptop.home.arpa".to_owned()])
    );
    house.grant(iot(100), 51, "bulb");
    assert_eq!((house.lease("bulb.iot.home.arpa"), house.lease("bulb.home.arpa")), (Some(iot(100)), None));
    // A renewal changes nothing and says nothing.
    let renewed = house.change(|bindings| {
        let mut again = (*binding(lan(100), 50, "laptop")).clone();
        again.expires = Some(Duration::from_secs(999));
        bindings.insert(lan(100), Arc::new(again));
    });
    assert!(renewed.is_empty());
    // A client that calls itself otherwise is called otherwise.
    house.grant(lan(100), 50, "notebook");
    assert_eq!((house.lease("laptop.home.arpa"), house.lease("notebook.home.arpa")), (None, Some(lan(100))));
    assert_eq!(
        house.end(lan(100))[0].to_string(),
        "notebook.home.arpa is no longer 192.168.1.100: the lease has ended"
    );
    assert!(house.lease("notebook.home.arpa").is_none() && house.reverse(lan(100)).is_empty());
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let mut house = House::new(b"192.168.1.77 scanner cam.iot.home.arpa\n");
    let cases = [
        ("wpad", Refused::Reserved),
        ("isatap", Refused::Reserved),
        ("localhost", Refused::Reserved),
        ("local", Refused::Reserved),
        ("broadcasthost", Refused::Reserved),
        ("gateway", Refused::Taken),
        ("nas", Refused::Taken),
        ("tv", Refused::Taken),
        ("scanner", Refused::Taken),
        ("cam", Refused::Taken),
        ("-x", Refused::NoLabel),
        ("a.b", Refused::NoLabel),
        ("_dmarc", Refused::NoLabel),
        ("*", Refused::NoLabel),
    ];
    for (address, network) in [(lan(100), "lan"), (iot(100), "iot")] {
        for (label, reason) in cases {
            let events = house.grant(address, 60, label);
            assert_eq!(events, [NameEvent::Refused { label: label.into(), address, reason }], "{network}");
            house.end(address);
        }
    }
    assert!(house.names.lease_names().next().is_none());
}

#[test]
fn a_duplicate_waits_for_its_turn() {
    let mut house = House::new(b"");
    house.grant(lan(100), 50, "phone");
    let events = house.grant(lan(101), 40, "phone");
    assert_eq!(
        events[0].to_string(),
        "the client at 192.168.1.101 may not be called \"phone\": 192.168.1.100 has that name, it passes on when its lease ends"
    );
    assert_eq!((house.lease("phone.home.arpa"), house.reverse(lan(101))), (Some(lan(100)), vec![]));
    // The same label in another domain is another name.
    house.grant(iot(100), 52, "phone");
    assert_eq!(house.lease("phone.iot.home.arpa"), Some(iot(100)));
    // New hosts files: the holder stays the holder, and nothing is told that was known.
    let (names, events) =
        rebuild(&house.names, fixed(&house.config, &Hosts::default()), &house.config, &house.bindings);
    house.names = names;
    assert_eq!(house.lease("phone.home.arpa"), Some(lan(100)));
    assert!(!events.iter().any(|event| matches!(event, NameEvent::Published { .. })), "{events:?}");
    assert_eq!(
        house.end(lan(100))[0].to_string(),
        "phone.home.arpa moved from 192.168.1.100 to 192.168.1.101, which waited for it"
    );
    assert_eq!(
        (house.lease("phone.home.arpa"), house.reverse(lan(101))),
        (Some(lan(101)), vec!["phone.home.arpa".to_owned()])
    );
}

#[test]
fn a_configured_host_goes_by_its_configured_name() {
    let mut house = House::new(b"");
    // With a fixed address its name answers without any lease, and a lease there changes nothing.
    let source = |house: &House, full: &str| house.names.find(wire(full).as_bytes()).map(|local| local.source);
    assert_eq!(source(&house, "nas.home.arpa"), Some(Source::Config));
    assert!(house.grant(lan(10), 10, "DiskStation").is_empty());
    assert_eq!(house.reverse(lan(10)), ["nas.home.arpa"]);
    // Elsewhere it has a reverse name only.
    house.grant(iot(30), 10, "nas");
    assert_eq!(house.reverse(iot(30)), ["nas.iot.home.arpa"]);
    assert!(house.lease("nas.iot.home.arpa").is_none());
    house.end(iot(30));
    assert!(house.reverse(iot(30)).is_empty());
    // Without a fixed address it follows its lease.
    assert!(house.names.followers("tv").is_empty());
    let events = house.grant(iot(40), 11, "LG-webOS");
    assert_eq!(events[0].to_string(), "tv.iot.home.arpa is 192.168.20.40");
    assert_eq!(house.names.followers("tv")[0].address, iot(40));
    assert_eq!(
        (house.reverse(iot(40)), house.lease("lg-webos.iot.home.arpa")),
        (vec!["tv.iot.home.arpa".to_owned()], None)
    );
    house.end(iot(40));
    assert!(house.names.followers("tv").is_empty() && house.reverse(iot(40)).is_empty());
}

#[test]
fn the_outcome_does_not_hang_on_the_order_of_the_map() {
    for seed in 0..20u8 {
        let mut house = House::new(b"");
        house.change(|bindings| {
            for last in 0..30u8 {
                let address = lan(100 + (last.wrapping_mul(7).wrapping_add(seed)) % 30);
                bindings.insert(address, binding(address, 200 - address.octets()[3], "twin"));
            }
        });
        assert_eq!(house.lease("twin.home.arpa"), Some(lan(129)), "the one that was acknowledged first");
    }
}

#[test]
fn aliases_and_records_stand_where_they_should() {
    let mut config = config();
    config.hosts[0].aliases = vec![name("cloud"), name("git.example.com"), name("media.home.arpa")];
    let record = |full: &str, data| Record { name: name(full), data, place: place() };
    config.dns.records = vec![
        record("grafana.home.arpa", RecordData::Host(0)),
        record("*.apps.home.arpa", RecordData::Host(1)),
        record("note.home.arpa", RecordData::Txt(vec!["x".repeat(300), String::new()])),
    ];
    let names = LocalNames::new(fixed(&config, &Hosts::default()));
    let has = |full: &str| names.find(wire(full).as_bytes()).is_some();
    for full in [
        "cloud.home.arpa",
        "git.example.com",
        "git.example.com.home.arpa",
        "media.home.arpa",
        "grafana.home.arpa",
        "x.apps.home.arpa",
    ] {
        assert!(has(full), "{full}");
    }
    for full in ["media.home.arpa.home.arpa", "cloud", "cloud.iot.home.arpa", "example.com"] {
        assert!(!has(full), "{full}");
    }
    for full in ["tv.home.arpa", "tv.iot.home.arpa", "gateway.home.arpa", "gateway.iot.home.arpa"] {
        assert!(has(full), "{full}");
    }
    let note = names.find(wire("note.home.arpa").as_bytes()).unwrap();
    assert!(
        matches!(&note.data[0], crate::dns::Data::Txt(rdata) if rdata.len() == 256 + 46 + 1 && rdata[0] == 255 && rdata[256] == 45)
    );
}
