//! A router in a network namespace and everything around it in a second one: what is injected into every cable, and what comes out where.
//!
//! The router's links do no neighbour discovery (`arp off`), so it sends to every address at once. Everything runs on one processor, where a
//! veth's queue is first in, first out: when a frame of ours that was sent after all others has gone to the router and back, whatever they
//! caused has been seen.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use labgate::config;
use labgate::desired;
use labgate::firewall::{Counters, HostAddresses, Policy, Replacement};
use labgate::linux::nft;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{LinkAddr, SockProtocol, bind};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use super::case::{Home, host6, prefix6, provider};
use super::frames::{Seen, parse, parse_body};
use super::netns::{Peer, sh};

/// The type of the frames that tell that everything before them is through (local experiments, IEEE 802).
const SENTINEL: u16 = 0x88b5;
/// How often a sentinel goes to the router and back: once more than the longest chain of packets that cause one another.
const ROUNDS: usize = 4;
/// Packets between two sentinels: fewer than the kernel queues for a processor or a socket.
const CHUNK: usize = 24;
/// Protocols whose delivery to the router itself is watched.
const WATCHED: [u8; 6] = [1, 6, 17, 47, 50, 58];
const FRAME: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(10);

/// A packet to inject: its fragments, from their IP headers on.
pub struct Injection {
    /// The cable; `None`: from a socket of the router.
    pub arrives: Option<usize>,
    pub destination: IpAddr,
    pub octets: Vec<Vec<u8>>,
}

/// A packet that came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The cable; `None`: it was delivered to the router itself.
    pub at: Option<usize>,
    pub seen: Seen,
}

/// The router, its table loaded, and the ends of its cables.
pub struct Lab {
    _gateway: Peer,
    _wire: Peer,
    cables: Vec<Cable>,
    delivered: Vec<(u8, bool, UdpSocket)>,
    send4: UdpSocket,
    send6: UdpSocket,
    /// The number of the last sentinel.
    sentinel: Cell<u32>,
}

struct Cable {
    number: usize,
    /// The far end: sends and sees every frame.
    far: UdpSocket,
    /// The router's end: sentinels only.
    near: UdpSocket,
}

impl Lab {
    /// Builds the namespaces and loads the table. The caller runs on the processor that everything happens on, see [`one_processor`].
    pub fn new(home: &Home) -> Lab {
        let (gateway, wire) = (Peer::new(), Peer::new());
        let numbers: Vec<usize> = home.interfaces().map(|(number, _)| number).collect();
        wire.inside(|| sh("for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done"));
        let near = gateway.inside(|| {
            let settings = script(home, &wire.handle());
            sh(&format!("ip -batch - <<'END'\n{}END\n{}", settings.links, settings.sysctls));
            load(home);
            numbers.iter().map(|number| frames(&format!("eth{number}"), SENTINEL)).collect::<Vec<_>>()
        });
        let far = wire.inside(|| {
            let all = u16::from_be(SockProtocol::EthAll as i32 as u16);
            let open = |number| {
                let name = format!("far{number}");
                sh(&format!("ip link set {name} up"));
                frames(&name, all)
            };
            numbers.iter().map(open).collect::<Vec<_>>()
        });
        let (delivered, send4, send6) = gateway.inside(|| {
            let mut delivered = Vec::new();
            for protocol in WATCHED {
                for (domain, foreign) in [(Domain::IPV4, 58), (Domain::IPV6, 1)] {
                    if protocol != foreign {
                        delivered.push((protocol, domain == Domain::IPV6, raw(domain, protocol.into())));
                    }
                }
            }
            (delivered, raw(Domain::IPV4, 255), raw(Domain::IPV6, 255))
        });
        let cables = numbers.into_iter().zip(far).zip(near);
        let cables = cables.map(|((number, far), near)| Cable { number, far, near }).collect();
        let lab = Lab { _gateway: gateway, _wire: wire, cables, delivered, send4, send6, sentinel: Cell::new(0) };
        lab.await_links();
        lab
    }

    /// Injects packets in their order; everything that came out until they were through.
    pub fn send(&self, packets: &[Injection]) -> Vec<Observation> {
        let mut observed = Vec::new();
        for chunk in packets.chunks(CHUNK) {
            for packet in chunk {
                packet.octets.iter().for_each(|octets| self.inject(packet, octets));
            }
            for _ in 0..ROUNDS {
                self.sentinels(&mut observed);
            }
            self.delivered(&mut observed);
        }
        observed
    }

    fn inject(&self, packet: &Injection, octets: &[u8]) {
        let Some(number) = packet.arrives else { return self.originate(packet.destination, octets) };
        let cable = self.cables.iter().find(|cable| cable.number == number).expect("a cable of this home");
        let kind: u16 = if packet.destination.is_ipv4() { 0x0800 } else { 0x86dd };
        let frame = [&mac(number)[..], &[2, 0xff, 0, 0, 0, 1], &kind.to_be_bytes(), octets].concat();
        cable.far.send(&frame).expect("a frame goes into the cable");
    }

    /// Sends from the router itself. That a filter refuses it, or no route is there, is an answer like any other.
    fn originate(&self, destination: IpAddr, octets: &[u8]) {
        let socket = if destination.is_ipv4() { &self.send4 } else { &self.send6 };
        let refused = [ErrorKind::PermissionDenied, ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable];
        match socket.send_to(octets, (destination, 0)) {
            Err(error) if !refused.contains(&error.kind()) => panic!("the router sends to {destination}: {error}"),
            _ => {}
        }
    }

    /// Waits until every cable carries frames both ways: a link takes its own time to come up.
    fn await_links(&self) {
        let deadline = Instant::now() + PATIENCE;
        for cable in &self.cables {
            for (from, to) in [(&cable.near, &cable.far), (&cable.far, &cable.near)] {
                to.set_read_timeout(Some(Duration::from_millis(20))).expect("a short limit of patience");
                loop {
                    let number = self.next_sentinel();
                    from.send(&sentinel(cable.number, number)).expect("a sentinel leaves");
                    if receive(to, number, |_| ()).is_ok() {
                        break;
                    }
                    assert!(Instant::now() < deadline, "eth{} does not come up", cable.number);
                }
                to.set_read_timeout(Some(PATIENCE)).expect("a limit of patience");
            }
        }
    }

    fn next_sentinel(&self) -> u32 {
        self.sentinel.set(self.sentinel.get() + 1);
        self.sentinel.get()
    }

    /// One round: a frame from every far end to the router, then one back, and all that came before it.
    fn sentinels(&self, observed: &mut Vec<Observation>) {
        let number = self.next_sentinel();
        for cable in &self.cables {
            cable.far.send(&sentinel(cable.number, number)).expect("a sentinel leaves");
            receive(&cable.near, number, |_| ()).expect("a sentinel comes to the router");
        }
        for cable in &self.cables {
            cable.near.send(&sentinel(cable.number, number)).expect("a sentinel goes back");
        }
        for cable in &self.cables {
            let keep = |packet: &[u8]| {
                let seen = parse(packet).filter(|seen| seen.tag.is_some());
                observed.extend(seen.map(|seen| Observation { at: Some(cable.number), seen }));
            };
            receive(&cable.far, number, keep).expect("a sentinel comes back");
        }
    }

    /// What the raw sockets of the router hold: they are behind the input chain.
    fn delivered(&self, observed: &mut Vec<Observation>) {
        let mut buffer = [0; FRAME];
        for (protocol, ipv6, socket) in &self.delivered {
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let octets = &buffer[..length];
                // Over IPv6 such a socket hands out no header; the destination stays unknown.
                let unknown = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                let seen =
                    if *ipv6 { parse_body(from.ip(), unknown, *protocol, octets, octets) } else { parse(octets) };
                let tagged = seen.filter(|seen| seen.tag.is_some());
                observed.extend(tagged.map(|seen| Observation { at: None, seen }));
            }
        }
    }
}

/// Keeps this thread, and all it starts from now on, on one processor.
pub fn one_processor() {
    let me = Pid::from_raw(0);
    let allowed = sched_getaffinity(me).expect("the processors of this thread");
    let first = (0..CpuSet::count()).find(|number| allowed.is_set(*number).unwrap_or(false)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(first).expect("a processor's number");
    sched_setaffinity(me, &one).expect("one processor");
}

struct Script {
    links: String,
    sysctls: String,
}

/// Links, addresses, routes and settings as `desired::network` asks for them; and no limit on how often the kernel reports an error.
fn script(home: &Home, wire: &str) -> Script {
    let mut links = String::new();
    let mut sysctls = String::from(
        "cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding; echo 0 > ipv4/icmp_ratemask
         echo > ipv6/icmp/ratemask; echo 0 > ipv4/conf/all/send_redirects; echo 0 > ipv4/conf/all/rp_filter\n",
    );
    for (number, _) in home.interfaces() {
        let mac = mac(number).map(|octet| format!("{octet:02x}")).join(":");
        links += &format!("link add eth{number} address {mac} type veth peer name far{number} netns {wire}\n");
        links +=
            &format!("link set eth{number} arp off up\naddress add {}/64 dev eth{number} nodad\n", host6(number, 1));
        let strict = if number == 0 { 0 } else { 1 };
        sysctls += &format!(
            "echo {strict} > ipv4/conf/eth{number}/rp_filter; echo 0 > ipv4/conf/eth{number}/send_redirects\n"
        );
    }
    for network in &home.policy.networks {
        let (address, length) = (network.router, network.subnet.prefix_len());
        links += &format!("address add {address}/{length} brd + dev {}\n", network.interface);
    }
    for net in &home.around.uplink {
        links += &format!("address add {net} brd + dev eth0\n");
    }
    if let Some(gateway) = provider(&home.around.uplink) {
        links += &format!("route add default via {gateway} dev eth0\n");
        links += &format!("route add ::/0 via {} dev eth0\n", host6(0, 2));
    }
    debug_assert!(home.interfaces().all(|(number, _)| prefix6(number).contains(&host6(number, 1))));
    Script { links, sysctls }
}

/// The table of another home, turned into that of this one: most tables come to stand so.
fn load(home: &Home) {
    let sources = [config::Source { name: "shapes.toml".into(), text: include_str!("../rulesets/shapes.toml").into() }];
    let before = Policy::compile(&config::check(&sources).config.expect("a golden file"));
    let before_elements = desired::elements(&before, &HostAddresses::default());
    let (before, now) = (desired::ruleset(&before), desired::ruleset(&home.policy));
    let elements = desired::elements(&home.policy, &home.around.hosts);
    let replacement = Replacement::new((&before, &before_elements), (&now, &elements));
    let none = Counters::new();
    let texts = [Some(before.text(&before_elements)), replacement.first(&none), Some(replacement.text(&none))];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for text in texts.into_iter().flatten() {
        if let Err(error) = runtime.block_on(nft::apply(&text)) {
            panic!("{error:#}\n{text}");
        }
    }
}

fn sentinel(cable: usize, number: u32) -> Vec<u8> {
    [&mac(cable)[..], &[2, 0xff, 0, 0, 0, 1], &SENTINEL.to_be_bytes(), &number.to_be_bytes(), &[0; 42]].concat()
}

/// Receives until a sentinel comes, and hands over the IP packets before it.
fn receive(from: &UdpSocket, number: u32, mut keep: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = [0; FRAME];
    loop {
        let length = from.recv(&mut buffer)?;
        let (header, packet) = buffer[..length].split_at(14);
        match u16::from_be_bytes([header[12], header[13]]) {
            SENTINEL if packet[..4] == number.to_be_bytes() => return Ok(()),
            0x0800 | 0x86dd => keep(packet),
            _ => {}
        }
    }
}

/// The hardware address of the router on a cable.
fn mac(number: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, number as u8]
}

/// A socket for the frames of one type on a link, here.
fn frames(link: &str, kind: u16) -> UdpSocket {
    let protocol = Protocol::from(i32::from(kind.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec(), Some(protocol)).expect("a packet socket");
    let mut addresses = nix::ifaddrs::getifaddrs().expect("the links here");
    let found = addresses.find(|address| address.interface_name == link && as_link(address).is_some());
    bind(socket.as_raw_fd(), as_link(&found.expect("the link")).expect("its address")).expect("bound to the link");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit of patience");
    UdpSocket::from(socket)
}

fn as_link(address: &nix::ifaddrs::InterfaceAddress) -> Option<&LinkAddr> {
    address.address.as_ref()?.as_link_addr()
}

/// A raw socket; 255 is for sending alone, with headers of our own.
fn raw(domain: Domain, protocol: i32) -> UdpSocket {
    let socket = Socket::new(domain, Type::RAW.cloexec(), Some(Protocol::from(protocol))).expect("a raw socket");
    socket.set_nonblocking(true).expect("a socket that does not wait");
    UdpSocket::from(socket)
}

/// An address that no case uses, for errors from a router on the way.
pub fn somebody(ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 0x77).into() } else { Ipv4Addr::new(9, 9, 9, 9).into() }
}
