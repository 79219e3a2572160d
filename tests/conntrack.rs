//! The kernel's connection tracking, read and changed in a namespace of the test.

#[path = "common/netns.rs"]
#[allow(dead_code)]
mod netns;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use labgate::linux::conntrack::{delete, flows};
use labgate::linux::nfnetlink::Channel;
use labgate::model::{Flow, Ports, TCP, UDP};
use netns::{in_namespace, sh};

/// Tracks everything; what is sent to UDP port 7000 arrives at 7001.
const TRACKING: &str = "nft -f - <<END
table inet t {
    chain in { type filter hook input priority 0; ct state new counter; }
    chain nat { type nat hook output priority -100; udp dport 7000 dnat ip to 127.0.0.1:7001; }
}
END";

fn udp(to: &str) -> SocketAddr {
    let to: SocketAddr = to.parse().expect("an address");
    let any: SocketAddr = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }.parse().expect("an address");
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.send_to(b"x", to).expect("a packet");
    socket.local_addr().expect("its address")
}

fn to_port(flows: &[Flow], protocol: u8, port: u16) -> Vec<Flow> {
    let matches = |flow: &&Flow| {
        flow.original.protocol == protocol
            && matches!(flow.original.ports, Ports::Of { destination, .. } if destination == port)
    };
    flows.iter().filter(matches).copied().collect()
}

#[test]
fn every_kind_of_entry_is_read_and_one_is_ended_alone() {
    in_namespace(|| {
        sh(TRACKING);
        let mut channel = Channel::open().expect("a channel");
        let from = udp("127.0.0.1:5000");
        let from6 = udp("[::1]:5000");
        udp("127.0.0.1:7000");
        sh("ping -c 1 -W 1 127.0.0.1; ping -6 -c 1 -W 1 ::1");
        let all = flows(&mut channel).expect("a dump");
        let found = to_port(&all, UDP, 5000);
        assert_eq!(found.len(), 2, "{all:?}");
        let [four, six] = [IpAddr::V4(Ipv4Addr::LOCALHOST), "::1".parse().unwrap()]
            .map(|address| *found.iter().find(|flow| flow.original.source == address).expect("its entry"));
        assert_eq!(four.original.ports, Ports::Of { source: from.port(), destination: 5000 });
        assert_eq!(six.reply.ports, Ports::Of { source: 5000, destination: from6.port() });
        assert!(!four.expected && !four.picked_up && four.zone == 0);
        let translated = to_port(&all, UDP, 7000)[0];
        assert!(matches!(translated.reply.ports, Ports::Of { source: 7001, .. }), "{translated:?}");
        let echoes: Vec<&Flow> = all.iter().filter(|flow| matches!(flow.original.ports, Ports::Icmp { .. })).collect();
        let kinds: Vec<u8> = echoes
            .iter()
            .map(|flow| if let Ports::Icmp { kind, .. } = flow.original.ports { kind } else { 0 })
            .collect();
        assert!(kinds.contains(&8) && kinds.contains(&128), "{echoes:?}");

        let ended: Vec<Flow> = [&four, &six, echoes[0], echoes[1], &translated].into_iter().copied().collect();
        assert_eq!(delete(&mut channel, &ended).expect("a delete"), ended.len());
        let left = flows(&mut channel).expect("a dump");
        assert!(ended.iter().all(|flow| !left.contains(flow)), "{left:?}");
        assert_eq!(left.len(), all.len() - ended.len());
        assert_eq!(delete(&mut channel, &ended).expect("what is gone is as wished"), 0);
    });
}

#[test]
fn a_newer_entry_of_the_same_tuple_is_left_alone() {
    in_namespace(|| {
        sh(TRACKING);
        let mut channel = Channel::open().expect("a channel");
        let socket = UdpSocket::bind("127.0.0.1:6001").expect("a socket");
        let mut entry = || {
            socket.send_to(b"x", "127.0.0.1:6000").expect("a packet");
            to_port(&flows(&mut channel).expect("a dump"), UDP, 6000)[0]
        };
        let old = entry();
        assert_eq!(entry(), old);
        let mut other = Channel::open().expect("a channel");
        assert_eq!(delete(&mut other, &[old]).expect("a delete"), 1);
        // The kernel makes an identifier of the entry's place in memory, which the next one may get again.
        let new = entry();
        let stale = Flow { id: new.id ^ 1, ..new };
        assert_eq!(delete(&mut other, &[stale]).expect("a delete"), 0);
        assert_eq!(entry(), new);
    });
}

#[test]
fn tcp_is_known_from_its_opening_to_its_end_and_from_its_middle() {
    in_namespace(|| {
        sh(TRACKING);
        let mut channel = Channel::open().expect("a channel");
        let listener = TcpListener::bind("127.0.0.1:6000").expect("a listener");
        let mut client = TcpStream::connect("127.0.0.1:6000").expect("a connection");
        let (mut server, _) = listener.accept().expect("a connection");
        let mut one = || to_port(&flows(&mut channel).expect("a dump"), TCP, 6000);
        let opened = one()[0];
        assert!(!opened.picked_up && !opened.ended, "{opened:?}");
        let mut other = Channel::open().expect("a channel");
        assert_eq!(delete(&mut other, &[opened]).expect("a delete"), 1);
        client.write_all(b"x").expect("a byte");
        server.read_exact(&mut [0]).expect("a byte");
        assert!(one()[0].picked_up, "{:?}", one());
        drop(client);
        server.read_to_end(&mut Vec::new()).expect("the end");
        drop(server);
        let closed = || one()[0].ended;
        assert!(std::iter::repeat_with(closed).take(100_000).any(|closed| closed), "{:?}", flows(&mut other));
    });
}

#[test]
fn a_large_table_is_read_whole() {
    in_namespace(|| {
        sh(TRACKING);
        let sockets: u16 = if std::env::var_os("LABGATE_NIGHTLY").is_some() { 50 } else { 5 };
        let ports = 10_001..12_001;
        for index in 0..sockets {
            let socket = UdpSocket::bind(("127.0.0.2", 20_000 + index)).expect("a socket");
            for port in ports.clone() {
                // The answer that nobody listens there comes as an error of a later call.
                while socket.send_to(b"x", ("127.0.0.1", port)).is_err() {}
            }
        }
        let mut channel = Channel::open().expect("a channel");
        let start = std::time::Instant::now();
        let all = flows(&mut channel).expect("a dump");
        eprintln!("{} entries read in {:?}", all.len(), start.elapsed());
        let count = usize::from(sockets) * ports.len();
        assert_eq!(all.len(), count);
        let half: Vec<Flow> = all.iter().step_by(2).copied().collect();
        let start = std::time::Instant::now();
        assert_eq!(delete(&mut channel, &half).expect("a delete"), half.len());
        eprintln!("{} entries ended in {:?}", half.len(), start.elapsed());
        assert_eq!(flows(&mut channel).expect("a dump").len(), count - half.len());
    });
}
