//! What must hold for every input, whoever sent it. Shared by the coverage-guided targets (`fuzz_targets/`, nightly) and by
//! `tests/fuzz.rs`, which runs corpus and mutations on any toolchain.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::Duration;

use labgate::config::{self, Config, Source};
use labgate::desired;
use labgate::dhcp::{MessageType, Output, Received, Reply, Server};
use labgate::dns::upstream::{Believed, Request, Scrubbed, is_private, scrub};
use labgate::dns::wire::{Incoming, Key, Message, read_query, rtype, write_refusal};
use labgate::dns::{Answer, Asker, Hosts, LocalNames, Zones, answer, hosts};
use labgate::model::Now;

/// A target: takes octets and panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by name; its corpus is the folder of that name.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config_file),
    ("dhcp", dhcp_message),
    ("dns", dns_query),
    ("upstream", upstream_answer),
    ("hosts", hosts_file),
];

const NOW: Now = Now { instant: Duration::from_secs(1000), unix: 1_800_000_000 };
const MOST_OUTPUTS: usize = 64;

/// A file never makes the check fail otherwise than by saying why, and what it accepts every engine can take.
pub fn config_file(data: &[u8]) {
    let checked = config::check(&[Source { name: "labgate.toml".into(), text: data.to_vec() }]);
    let shown = checked.report.render(false);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "control characters reach the terminal: {shown:?}");
    match checked.config {
        None => assert!(checked.report.errors > 0, "refused without a reason"),
        Some(config) => {
            assert_eq!(checked.report.errors, 0, "accepted in spite of:\n{shown}");
            drop(Server::new(&config, Vec::new(), 7, NOW));
        }
    }
}

/// A datagram gets at most a well-formed reply, and afterwards an ordinary client is served.
pub fn dhcp_message(data: &[u8]) {
    let mut server = Server::new(home(), Vec::new(), 7, NOW);
    for reply in deliver(&mut server, data) {
        assert_eq!(reply.bytes[0], 2, "a reply is a BOOTREPLY");
        assert!((300..=data.len().max(1500)).contains(&reply.bytes.len()), "{} octets", reply.bytes.len());
        assert_eq!(reply.bytes[4..8], data[4..8], "the transaction is the client's");
    }
    for binding in server.bindings() {
        let network = &home().networks[0].address;
        assert!(network.contains(&binding.address) && binding.address != network.addr(), "leased {}", binding.address);
    }
    let offers = deliver(&mut server, &discover([0x52, 0x54, 0, 0, 1, 0x99]));
    let offered = offers.iter().any(|reply| reply.kind == MessageType::Offer);
    assert!(offered, "an ordinary client is not served any more");
}

fn deliver(server: &mut Server, bytes: &[u8]) -> Vec<Reply> {
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    server.handle_message(Received { network: 0, source, bytes }, NOW);
    let mut replies = Vec::new();
    for count in 0.. {
        assert!(count < MOST_OUTPUTS, "no end of outputs");
        match server.poll_output() {
            None => break,
            Some(Output::Reply(reply)) => replies.push(reply),
            Some(Output::Grant(grant)) => replies.push(grant.ack),
            Some(_) => {}
        }
    }
    replies
}

/// A DHCPDISCOVER as busybox sends it.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&[9, 8, 7, 6]);
    bytes[28..34].copy_from_slice(&mac);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(&[53, 1, 1, 55, 4, 1, 3, 6, 15, 255]);
    bytes
}

/// A message at port 53 gets nothing, or one answer that belongs to it, is well-formed and no longer than the client takes.
pub fn dns_query(data: &[u8]) {
    let mut out = Vec::new();
    let limit = match read_query(data) {
        Incoming::Ignore => return,
        Incoming::Refuse(refusal) => {
            write_refusal(&refusal, &mut out);
            assert!(out.len() <= data.len() + 11, "a refusal is no amplifier");
            None
        }
        Incoming::Query(query) => {
            let asker = Asker { network: Some(0), limit: query.udp_limit() };
            let (names, zones) = names();
            match answer(&query, &asker, names, zones, |_| None, &mut out) {
                Answer::Ask(ask) => return assert!(!ask.key.name().is_empty()),
                Answer::Ready(_) => {}
            }
            assert_eq!(out.get(12..query.head_len()), data.get(12..query.head_len()), "the question as it came");
            Some(asker.limit)
        }
    };
    if let Some(limit) = limit {
        assert!(out.len() <= limit, "{} octets for a client that takes {limit}", out.len());
        assert!(Message::read(&out).is_some(), "the answer is well-formed");
    }
    assert_eq!(out[..2], data[..2], "the identifier is the client's");
    assert_ne!(out[2] & 0x80, 0, "an answer has QR");
}

/// What an upstream says is passed on well-formed and without private addresses, or not at all.
pub fn upstream_answer(data: &[u8]) {
    let qtype = data.len().checked_sub(4).map_or(rtype::A, |_| if data[0] & 1 == 0 { rtype::A } else { rtype::AAAA });
    let key = Key::new(b"\x03www\x07example\x03net\x00", qtype, false, false).expect("a name that fits");
    let request = Request::new(&key, 0x1234, &[0; 32]);
    if request.believes(data) == Believed::Yes {
        assert_ne!(data[2] & 0x80, 0, "a question is no answer");
    }
    let Scrubbed::Good(entry) = scrub(&key, data, Some(&[Ipv4Addr::new(203, 0, 113, 5)])) else { return };
    let Incoming::Query(query) = read_query(request.as_bytes()) else { panic!("our own question is a question") };
    let mut out = Vec::new();
    entry.write(&query, 0, None, 65_535, &mut out);
    let message = Message::read(&out).expect("what is passed on is well-formed");
    for record in &message.records {
        let address = match (record.rtype, message.rdata(record)) {
            (rtype::A, &[a, b, c, d]) => IpAddr::from([a, b, c, d]),
            (rtype::AAAA, octets) if octets.len() == 16 => {
                IpAddr::from(<[u8; 16]>::try_from(octets).expect("sixteen octets"))
            }
            _ => continue,
        };
        assert!(!is_private(address, &[]), "{address} came from outside");
    }
}

/// A hosts file, however broken, gives names that can be looked up.
pub fn hosts_file(data: &[u8]) {
    let (hosts, _skipped) = hosts::parse(data);
    drop(LocalNames::new(desired::names::fixed(home(), &hosts)));
}

fn names() -> &'static (LocalNames, Zones) {
    static NAMES: OnceLock<(LocalNames, Zones)> = OnceLock::new();
    NAMES.get_or_init(|| (LocalNames::new(desired::names::fixed(home(), &Hosts::default())), Zones::new(home())))
}

fn home() -> &'static Config {
    static HOME: OnceLock<Config> = OnceLock::new();
    HOME.get_or_init(|| {
        let text = include_bytes!("../config/examples/home.toml").to_vec();
        let checked = config::check(&[Source { name: "labgate.toml".into(), text }]);
        checked.config.expect("the example of a home is a right file")
    })
}
