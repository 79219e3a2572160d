//! The server against a naive reference and against the traffic of others.
//!
//! By seed, clients do whatever clients do, honestly or not, while time passes, the disk fails and the server is started again. After every step
//! the acknowledgements that left are held against a plain list: never two clients on one address, and no lease that was acknowledged is
//! ever forgotten or given to another before its end.

#[path = "../src/dhcp/testing.rs"]
mod packet;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Config, Source};
use labgate::dhcp::{MessageType, Output, Received, Reply, Server};
use labgate::model::{Binding, MacAddr, Now};
use packet::{Packet, Read};

const CONFIGS: [&str; 3] = [
    r#"
[network.lan]
interface = "eth1"
address = "192.168.1.1/24"
dhcp = { pool = "192.168.1.100-192.168.1.107", lease-time = "1h" }
[host]
nas = { mac = ["52:54:00:00:00:00", "52:54:00:00:00:01"], ip = "192.168.1.102" }
tv = { mac = "52:54:00:00:00:02", ip = "192.168.1.50" }
"#,
    r#"
[network.lan]
interface = "eth1"
address = "192.168.1.1/24"
dhcp = { pool = "192.168.1.100-192.168.1.105", lease-time = "30m", private-mac = { pool = "192.168.1.200-192.168.1.201", lease-time = "10m" } }
[host]
tv = { mac = "52:54:00:00:00:02", ip = "192.168.1.101" }
"#,
    r#"
[network.home]
interface = "eth1"
address = "192.168.1.1/24"
dhcp = { pool = "192.168.1.104-192.168.1.120", lease-time = "2h" }
"#,
];

fn parsed(text: &str) -> Arc<Config> {
    let checked = config::check(&[Source { name: "labgate.toml".into(), text: text.as_bytes().to_vec() }]);
    Arc::new(checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false))))
}

/// SplitMix64: a failing seed fails on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What was promised to whom: the reference.
#[derive(Clone, Debug)]
struct Promise {
    mac: [u8; 6],
    identifier: Option<u8>,
    until: Duration,
}

/// What names a client: the identifier where it sends one, else its MAC.
fn key(mac: [u8; 6], identifier: Option<u8>) -> (Option<[u8; 6]>, Option<u8>) {
    (identifier.is_none().then_some(mac), identifier)
}

struct World {
    config: Arc<Config>,
    server: Server,
    now: Now,
    disk: BTreeMap<Ipv4Addr, Binding>,
    shown: HashMap<Ipv4Addr, Arc<Binding>>,
    promises: BTreeMap<Ipv4Addr, Promise>,
    disk_works: bool,
    owed: Vec<Ipv4Addr>,
    acknowledged: usize,
}

#[derive(Clone, Copy)]
struct Client {
    mac: [u8; 6],
    identifier: Option<u8>,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = parsed(CONFIGS[0]);
        let now = Now { instant: Duration::from_secs(100), unix: 1_767_225_600 };
        World {
            server: Server::new(&config, Vec::new(), seed, now),
            config,
            now,
            disk: BTreeMap::new(),
            shown: HashMap::new(),
            promises: BTreeMap::new(),
            disk_works: true,
            owed: Vec::new(),
            acknowledged: 0,
        }
    }

    fn pass(&mut self, by: Duration) {
        let begin = self.now;
        let until = begin.instant + by;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= until) {
            self.now = begin.after(at.saturating_sub(begin.instant));
            self.server.handle_timeout(self.now);
            self.drain(None);
        }
        self.now = begin.after(by);
        let instant = self.now.instant;
        self.promises.retain(|_, promise| promise.until > instant);
    }

    fn drain(&mut self, client: Option<Client>) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Reply(reply) => replies.push(reply),
                Output::Grant(grant) => {
                    let binding = &grant.binding;
                    let held = self.shown.get(&binding.address).is_some_and(|held| held.client == binding.client);
                    if !self.disk_works && !held && !grant.reserved {
                        self.server.handle_uncommitted(binding, self.now);
                        continue;
                    }
                    self.write(binding);
                    self.promise(binding, client.expect("a grant answers a client"));
                    self.shown.insert(binding.address, binding.clone());
                    if grant.moves {
                        self.server.handle_committed(binding, self.now);
                    }
                    replies.push(grant.ack);
                }
                Output::Ended(ended) => {
                    self.write(&ended.binding);
                    self.shown.remove(&ended.binding.address);
                }
                Output::Updated(bindings) => bindings.iter().for_each(|binding| self.write(binding)),
                Output::Forgotten(addresses) if self.disk_works => {
                    addresses.iter().for_each(|address| drop(self.disk.remove(address)));
                }
                Output::Forgotten(addresses) => self.owed.extend(addresses),
                Output::Probe { .. } | Output::Event(_) => {}
            }
        }
        replies
    }

    fn write(&mut self, binding: &Arc<Binding>) {
        if self.disk_works {
            self.disk.insert(binding.address, Binding { expires: None, ..Binding::clone(binding) });
        }
    }

    fn promise(&mut self, binding: &Arc<Binding>, client: Client) {
        let until = binding.expires.expect("no lease here is without end");
        if let Some(older) = self.promises.get(&binding.address) {
            // A reservation may pass between the identifiers of one device, and between the cards of one host once one is silent.
            let same_device =
                older.mac == client.mac || (older.identifier.is_some() && older.identifier == client.identifier);
            let host = |mac: [u8; 6]| self.config.hosts.iter().position(|host| host.macs.contains(&MacAddr(mac)));
            let same_host = host(older.mac).is_some() && host(older.mac) == host(client.mac);
            assert!(
                same_device || same_host,
                "{} was promised to {older:?}, and given to {:?}",
                binding.address,
                client.mac
            );
        }
        // A client that takes another address leaves the one it had.
        self.promises.retain(|_, promise| key(promise.mac, promise.identifier) != key(client.mac, client.identifier));
        self.promises.insert(binding.address, Promise { mac: client.mac, identifier: client.identifier, until });
        self.acknowledged += 1;
    }

    fn receive(&mut self, client: Client, packet: Packet, network: usize) -> Option<Read> {
        let packet = match client.identifier {
            Some(identifier) => packet.option(61, &[0xff, identifier]),
            None => packet,
        };
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        self.server.handle_message(Received { network, source, bytes: &packet.bytes() }, self.now);
        let replies = self.drain(Some(client));
        assert!(replies.len() <= 1, "one answer to one message");
        replies.first().map(|reply| Read::of(&reply.bytes))
    }

    fn restart(&mut self, dice: &mut Dice) {
        // The time the machine was off, or a wall clock that begins in 1970; the promises go on by real time.
        let off = Duration::from_secs(dice.roll(4000));
        let before = self.now.instant;
        self.now.instant = Duration::from_secs(30);
        let lost = dice.roll(3) == 0;
        self.now.unix = if lost { 40 + dice.roll(50) } else { self.now.unix + off.as_secs() };
        for promise in self.promises.values_mut() {
            let left = promise.until.saturating_sub(before).saturating_sub(off);
            promise.until = self.now.instant + left;
        }
        let instant = self.now.instant;
        self.promises.retain(|_, promise| promise.until > instant);
        self.server = Server::new(&self.config, self.disk.values().cloned().collect(), dice.roll(u64::MAX), self.now);
        self.shown = self.server.bindings().map(|binding| (binding.address, binding.clone())).collect();
        self.disk_works = true;
        self.drain(None);
        if lost {
            self.now.unix = 1_767_225_600 + dice.roll(10_000_000);
            self.server.handle_timeout(self.now);
            self.drain(None);
        }
    }

    /// Every promise stands in the server, and nobody else holds its address.
    fn check(&self) {
        let live: HashMap<Ipv4Addr, &Arc<Binding>> =
            self.server.bindings().map(|binding| (binding.address, binding)).collect();
        assert_eq!(live.len(), self.server.live());
        for (address, promise) in &self.promises {
            let binding =
                live.get(address).unwrap_or_else(|| panic!("{address}, promised to {promise:?}, was forgotten"));
            assert_eq!(binding.mac, Some(MacAddr(promise.mac)), "{address}");
            let expires = binding.expires.expect("no lease here is without end");
            assert!(expires + Duration::from_secs(2) >= promise.until, "{address}: {expires:?} is before {promise:?}");
        }
    }
}

fn act(world: &mut World, dice: &mut Dice) {
    let number = dice.roll(14) as u8;
    let local = number > 11;
    let client = Client {
        mac: [if local { 0x02 } else { 0x52 }, 0x54, 0, 0, 0, number % 12],
        identifier: (dice.roll(3) == 0).then(|| dice.roll(3) as u8),
    };
    let any =
        Ipv4Addr::new(192, 168, 1, [50, 100, 101, 102, 103, 104, 105, 107, 110, 200, 201, 7][dice.roll(12) as usize]);
    let own =
        world.promises.iter().find(|(_, held)| key(held.mac, held.identifier) == key(client.mac, client.identifier));
    let own = own.map_or(any, |(address, _)| *address);
    match dice.roll(24) {
        0..=8 => {
            let Some(offer) = world.receive(client, Packet::kind(client.mac, 1), 0) else { return };
            if dice.roll(6) == 0 {
                world.pass(Duration::from_secs(dice.roll(50)));
            }
            let request = Packet::kind(client.mac, 3).option(50, &offer.yiaddr).option(54, &[192, 168, 1, 1]);
            world.receive(client, request, 0);
        }
        9 => drop(world.receive(client, Packet::kind(client.mac, 1).option(50, &any.octets()), 0)),
        10..=12 => drop(world.receive(client, Packet::kind(client.mac, 3).ciaddr(own.octets()), 0)),
        13 => drop(world.receive(client, Packet::kind(client.mac, 3).ciaddr(any.octets()), 0)),
        14 => drop(world.receive(client, Packet::kind(client.mac, 3).option(50, &any.octets()), 0)),
        15 => give_back(world, client, own, 7),
        16 => give_back(world, client, any, dice.roll(2) as u8 * 3 + 4),
        17 => {
            world.server.handle_conflict(any, MacAddr([0x52, 0x54, 0, 0, 0, dice.roll(12) as u8]), world.now);
            world.drain(None);
        }
        18..=20 => world.pass(Duration::from_secs(dice.roll(1500))),
        21 => world.restart(dice),
        22 => {
            // Only while the disk works, so that what it does not know is not lost with a restart.
            world.config = parsed(CONFIGS[dice.roll(3) as usize]);
            world.server.apply(&world.config, world.now);
            world.drain(None);
        }
        _ => {
            world.disk_works = false;
            let _ = world.receive(client, Packet::kind(client.mac, 3).option(50, &any.octets()), 0);
            world.disk_works = true;
            rewrite(world);
        }
    }
}

/// The shell writes what it owes as soon as the disk works again.
fn rewrite(world: &mut World) {
    for address in std::mem::take(&mut world.owed) {
        world.disk.remove(&address);
    }
    let rows: Vec<Arc<Binding>> = world.shown.values().cloned().collect();
    rows.iter().for_each(|binding| world.write(binding));
}

/// RELEASE or DECLINE; the promise ends where the client held the address.
fn give_back(world: &mut World, client: Client, address: Ipv4Addr, kind: u8) {
    let packet = Packet::kind(client.mac, kind);
    let packet = if kind == 7 { packet.ciaddr(address.octets()) } else { packet.option(50, &address.octets()) };
    let held = world.promises.get(&address);
    let held = held.is_some_and(|held| key(held.mac, held.identifier) == key(client.mac, client.identifier));
    world.receive(client, packet, 0);
    if held {
        world.promises.remove(&address);
    }
}

#[test]
fn no_promise_is_broken_whatever_clients_do() {
    let seeds = std::env::var("LABGATE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let mut acknowledged = 0;
    for seed in 0..seeds {
        let failed = std::panic::catch_unwind(|| {
            let (mut world, mut dice) = (World::new(seed), Dice(seed));
            for _ in 0..400 {
                act(&mut world, &mut dice);
                world.check();
            }
            world.acknowledged
        });
        acknowledged += failed.unwrap_or_else(|_| panic!("seed {seed} failed"));
    }
    assert!(acknowledged > seeds as usize * 50, "only {acknowledged} leases: the clients did nothing");
}

fn serve(server: &mut Server, bytes: &[u8], now: Now) -> usize {
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    server.handle_message(Received { network: 0, source, bytes }, now);
    let mut answers = 0;
    while let Some(output) = server.poll_output() {
        let reply = match output {
            Output::Reply(reply) => reply,
            Output::Grant(grant) => grant.ack,
            _ => continue,
        };
        assert!((300..=1472).contains(&reply.bytes.len()));
        assert!(matches!(reply.kind, MessageType::Offer | MessageType::Ack | MessageType::Nak));
        answers += 1;
    }
    answers
}

/// Payloads to UDP port 67 anywhere in a capture, found by their shape: no reader of capture formats is needed.
fn requests_in(capture: &[u8]) -> Vec<&[u8]> {
    let magic = [99, 130, 83, 99];
    let places = (236..capture.len().saturating_sub(4)).filter(|at| capture[*at..*at + 4] == magic);
    places.map(|at| &capture[at - 236..(at + 312).min(capture.len())]).filter(|message| message[0] == 1).collect()
}

#[test]
fn captures_and_seeds_of_others_are_survived() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("LABGATE_DATA").map_or(beside, Into::into);
    let mut fed = 0;
    for folder in ["dhcp-pcap", "fuzz-seeds/fuzz-dhcp-server", "fuzz-seeds/fuzz-dhcp-server-relay"] {
        let Ok(files) = fs::read_dir(data.join(folder)) else {
            eprintln!("skipped: {} is not beside the checkout", data.join(folder).display());
            continue;
        };
        let now = Now { instant: Duration::from_secs(100), unix: 1_767_225_600 };
        let mut server = Server::new(&parsed(CONFIGS[0]), Vec::new(), 1, now);
        let mut answers = 0;
        for file in files {
            let bytes = fs::read(file.expect("a folder can be read").path()).expect("a file can be read");
            let messages = if folder == "dhcp-pcap" { requests_in(&bytes) } else { vec![&bytes[..]] };
            for message in messages {
                answers += serve(&mut server, message, now);
                // Cut anywhere, and with any octet changed, it is survived too.
                for at in (0..message.len()).step_by(7) {
                    serve(&mut server, &message[..at], now);
                    let mut changed = message.to_vec();
                    changed[at] ^= 0xff;
                    serve(&mut server, &changed, now);
                    fed += 2;
                }
            }
        }
        if folder == "dhcp-pcap" {
            assert!(answers > 0, "ordinary clients of the captures are answered");
        }
        let honest = Packet::kind(packet::CLIENT_MAC, 3).option(50, &[192, 168, 1, 50]).bytes();
        assert_eq!(serve(&mut server, &honest, now), 1, "and the next client is served");
    }
    println!("{fed} messages");
}
