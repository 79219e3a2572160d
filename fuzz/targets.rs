//! What must hold for every input, whoever sent it. Shared by the coverage-guided targets (`fuzz_targets/`, nightly) and by
//! `tests/fuzz.rs`, which runs corpus and mutations on any toolchain.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::Duration;

use labgate::config::{self, Config, Source};
use labgate::dhcp::{MessageType, Output, Received, Reply, Server};
use labgate::model::Now;

/// A target: takes octets and panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by name; its corpus is the folder of that name.
pub const TARGETS: &[(&str, Target)] = &[("config", config_file), ("dhcp", dhcp_message)];

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

fn home() -> &'static Config {
    static HOME: OnceLock<Config> = OnceLock::new();
    HOME.get_or_init(|| {
        let text = include_bytes!("../config/examples/home.toml").to_vec();
        let checked = config::check(&[Source { name: "labgate.toml".into(), text }]);
        checked.config.expect("the example of a home is a right file")
    })
}
