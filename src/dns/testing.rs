//! What the tests of this room and of its neighbours share: a small home, and a second parser to read what is written.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use crate::config::{Config, Dns, Firewall, Gateway, Host, Log, Network, NetworkInterface, Place, Stretch};
use crate::model::DomainName;

pub(crate) fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

pub(crate) fn place() -> Place {
    Place { file: "labgate.toml".into(), line: 1, stretch: Stretch::default() }
}

pub(crate) fn network(label: &str, address: &str, domain: &str) -> Network {
    Network {
        name: label.into(),
        interface: NetworkInterface::Plain(label.into()),
        address: address.parse().unwrap(),
        dhcp: None,
        internet: true,
        admin: true,
        domain: name(domain),
        place: place(),
    }
}

pub(crate) fn host(label: &str, ip: Option<Ipv4Addr>, network: Option<usize>, last: u8) -> Host {
    Host {
        name: label.into(),
        macs: vec![crate::model::MacAddr([2, 0, 0, 0, 0, last])],
        client_id: None,
        ip,
        aliases: Vec::new(),
        network,
        place: place(),
    }
}

/// Two networks: lan with the local domain, iot with one of its own.
pub(crate) fn config() -> Config {
    Config {
        gateway: Gateway { name: name("gateway"), domain: name("home.arpa") },
        wan: None,
        networks: vec![
            network("lan", "192.168.1.1/24", "home.arpa"),
            network("iot", "192.168.20.1/24", "iot.home.arpa"),
        ],
        hosts: vec![host("nas", Some(Ipv4Addr::new(192, 168, 1, 10)), Some(0), 10), host("tv", None, None, 11)],
        groups: Vec::new(),
        outside_names: Vec::new(),
        dns: Dns {
            upstreams: Vec::new(),
            forward: Vec::new(),
            hosts_files: Vec::new(),
            records: Vec::new(),
            rebind_protection: true,
            cache_size: 1000,
            cache_stale: std::time::Duration::from_secs(3600),
        },
        firewall: Firewall::default(),
        forwards: Vec::new(),
        log: Log { level: "info".into() },
    }
}

/// A question as a client sends it.
pub(crate) fn question(name: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut query = Query::query(Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap(), rtype);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1400);
        message.edns = Some(edns);
    }
    message.to_vec().unwrap()
}

/// Reads an answer with the second parser.
pub(crate) fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).unwrap()
}

/// RDATA of the answer section in presentation form.
pub(crate) fn answers(bytes: &[u8]) -> Vec<String> {
    read(bytes).answers.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect()
}

pub(crate) fn arc<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
