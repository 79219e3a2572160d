//! The world of a scenario: a server, a disk, clocks, clients.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Config, Source};
use labgate::dhcp::{Dropped, Ended, Event, Output, Received, Reply, Server};
use labgate::model::{Binding, MacAddr, Now};

use crate::lines::{Line, address, duration, hexadecimal, number};
use crate::packet::{Packet, Read};

/// 2026-01-01.
const BEGIN: u64 = 1_767_225_600;

#[derive(Clone, Default)]
pub struct Client {
    pub mac: [u8; 6],
    keys: HashMap<String, String>,
    address: Option<Ipv4Addr>,
    offered: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

/// Runs a scenario.
///
/// # Errors
/// The line and what is wrong there.
pub fn run(text: &str) -> Result<(), String> {
    let mut world = World::default();
    let mut lines = text.lines().enumerate();
    while let Some((index, raw)) = lines.next() {
        let line = raw.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let result = if line == "config" {
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "end").collect();
            world.configure(&block.join("\n"))
        } else {
            world.step(line)
        };
        result.map_err(|words| format!("{}: {line}\n      {words}", index + 1))?;
    }
    world.nothing_left()
}

pub struct World {
    pub config: Option<Arc<Config>>,
    pub server: Option<Server>,
    pub now: Now,
    pub disk: BTreeMap<Ipv4Addr, Binding>,
    pub disk_works: bool,
    pub shown: BTreeMap<Ipv4Addr, Arc<Binding>>,
    pub clients: HashMap<String, Client>,
    pub variables: HashMap<String, Ipv4Addr>,
    pub replies: VecDeque<Reply>,
    pub probes: Vec<Ipv4Addr>,
    pub events: Vec<Event>,
    pub ended: Vec<Ended>,
    pub dropped: Vec<Dropped>,
    pub granted: usize,
    pub speaker: String,
}

impl Default for World {
    fn default() -> Self {
        World {
            config: None,
            server: None,
            now: Now { instant: Duration::from_secs(1000), unix: BEGIN },
            disk: BTreeMap::new(),
            disk_works: true,
            shown: BTreeMap::new(),
            clients: HashMap::new(),
            variables: HashMap::new(),
            replies: VecDeque::new(),
            probes: Vec::new(),
            events: Vec::new(),
            ended: Vec::new(),
            dropped: Vec::new(),
            granted: 0,
            speaker: String::new(),
        }
    }
}

impl World {
    fn configure(&mut self, text: &str) -> Result<(), String> {
        let checked = config::check(&[Source { name: "labgate.toml".into(), text: text.as_bytes().to_vec() }]);
        let config = Arc::new(checked.config.ok_or_else(|| checked.report.render(false))?);
        match &mut self.server {
            Some(server) => server.apply(&config, self.now),
            None => self.server = Some(Server::new(&config, Vec::new(), 7, self.now)),
        }
        self.config = Some(config);
        self.drain()
    }

    pub fn server(&mut self) -> Result<&mut Server, String> {
        self.server.as_mut().ok_or_else(|| "a scenario begins with its config".into())
    }

    pub fn nothing_left(&self) -> Result<(), String> {
        match self.replies.front() {
            Some(reply) => {
                Err(format!("nobody expected this {} {:?}", reply.kind.name(), Read::of(&reply.bytes).yiaddr))
            }
            None => Ok(()),
        }
    }

    /// What the shell does: the disk first, then what is shown, then the acknowledgement.
    fn drain(&mut self) -> Result<(), String> {
        while let Some(output) = self.server()?.poll_output() {
            match output {
                Output::Reply(reply) => self.replies.push_back(reply),
                Output::Grant(grant) => {
                    let held =
                        self.shown.get(&grant.binding.address).is_some_and(|held| held.client == grant.binding.client);
                    if !self.disk_works && !held && !grant.reserved {
                        let now = self.now;
                        self.server()?.handle_uncommitted(&grant.binding, now);
                        continue;
                    }
                    self.write(&grant.binding);
                    self.granted += 1;
                    if grant.moves {
                        let now = self.now;
                        self.server()?.handle_committed(&grant.binding, now);
                    }
                    self.shown.insert(grant.binding.address, grant.binding);
                    self.replies.push_back(grant.ack);
                }
                Output::Ended(ended) => {
                    self.write(&ended.binding);
                    self.shown.remove(&ended.binding.address);
                    self.ended.push(ended);
                }
                Output::Updated(bindings) => {
                    for binding in bindings {
                        self.write(&binding);
                        if self.shown.contains_key(&binding.address) {
                            self.shown.insert(binding.address, binding);
                        }
                    }
                }
                Output::Forgotten(addresses) => addresses.iter().for_each(|address| drop(self.disk.remove(address))),
                Output::Probe { address, .. } => self.probes.push(address),
                Output::Event(event) => self.events.push(event),
            }
        }
        Ok(())
    }

    fn write(&mut self, binding: &Arc<Binding>) {
        if self.disk_works {
            let row = Binding { expires: None, ..Binding::clone(binding) };
            self.disk.insert(binding.address, row);
        }
    }

    fn step(&mut self, text: &str) -> Result<(), String> {
        let line = Line::read(text);
        if line.words[0] == "->" {
            return self.expect(&line);
        }
        match line.words[0] {
            "lease" | "no" | "leases" | "host-name" | "remaining" | "probe" | "event" | "ended" | "granted" => {
                return self.look(&line);
            }
            _ => {}
        }
        self.nothing_left()?;
        self.probes.clear();
        self.events.clear();
        self.ended.clear();
        match line.words[0] {
            "client" => {
                let keys = line.keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
                let mac: MacAddr = line.keys.get("mac").ok_or("a client has a MAC")?.parse()?;
                self.clients.insert(line.word(1)?.to_owned(), Client { mac: mac.0, keys, ..Client::default() });
                Ok(())
            }
            "+" => self.pass(duration(line.word(1)?)?),
            "clock" => {
                let by = duration(line.word(2)?)?.as_secs();
                self.now.unix = if line.word(1)? == "+" { self.now.unix + by } else { self.now.unix - by };
                let now = self.now;
                self.server()?.handle_timeout(now);
                self.drain()
            }
            "restart" => self.restart(line.keys.get("clock").copied()),
            "store" => {
                self.disk_works = line.word(1)? == "works";
                Ok(())
            }
            "conflict" => {
                let (address, mac) = (self.value(line.word(1)?)?, line.word(2)?.parse()?);
                let now = self.now;
                self.server()?.handle_conflict(address, mac, now);
                self.drain()
            }
            "raw" => {
                let bytes = hexadecimal(line.word(1)?)?;
                self.receive(line.keys.get("on").copied(), Ipv4Addr::UNSPECIFIED, &bytes)
            }
            "flood" => self.flood(number(line.word(1)?)?, line.keys.get("on").copied()),
            name => self.speak(name, &line),
        }
    }

    fn pass(&mut self, by: Duration) -> Result<(), String> {
        let until = self.now.instant + by;
        let begin = self.now;
        while let Some(at) = self.server()?.poll_timeout().filter(|at| *at <= until) {
            let at = at.max(self.now.instant);
            self.now = begin.after(at - begin.instant);
            let now = self.now;
            self.server()?.handle_timeout(now);
            self.drain()?;
        }
        self.now = begin.after(by);
        Ok(())
    }

    fn restart(&mut self, clock: Option<&str>) -> Result<(), String> {
        self.now.instant = Duration::from_secs(20);
        if let Some(clock) = clock {
            self.now.unix = number(clock)?;
        }
        let stored = self.disk.values().cloned().collect();
        let config = self.config.clone().ok_or("no config")?;
        let server = Server::new(&config, stored, 8, self.now);
        self.shown = server.bindings().map(|binding| (binding.address, binding.clone())).collect();
        self.server = Some(server);
        self.drain()
    }

    fn receive(&mut self, on: Option<&str>, source: Ipv4Addr, bytes: &[u8]) -> Result<(), String> {
        let networks = &self.config.as_ref().ok_or("no config")?.networks;
        let network = match on {
            Some(name) => networks.iter().position(|network| *network.name == *name).ok_or("no such network")?,
            None => 0,
        };
        let before = self.server()?.counters().clone();
        let now = self.now;
        let source = SocketAddrV4::new(source, 68);
        self.server()?.handle_message(Received { network, source, bytes }, now);
        let after = self.server()?.counters().clone();
        self.dropped =
            Dropped::ALL.iter().copied().filter(|reason| after.dropped(*reason) > before.dropped(*reason)).collect();
        self.drain()
    }

    fn flood(&mut self, count: u32, on: Option<&str>) -> Result<(), String> {
        self.granted = 0;
        for index in 0..count {
            let [a, b, c, d] =
                (self.now.instant.as_millis() as u32).wrapping_mul(7919).wrapping_add(index).to_be_bytes();
            let mac = [0x00, 0x16, a, b, c, d];
            self.receive(on, Ipv4Addr::UNSPECIFIED, &Packet::kind(mac, 1).bytes())?;
            if let Some(offer) = self.replies.pop_front() {
                let offer = Read::of(&offer.bytes);
                let server = offer.option(54).unwrap_or_default().to_vec();
                let request = Packet::kind(mac, 3).option(50, &offer.yiaddr).option(54, &server);
                self.receive(on, Ipv4Addr::UNSPECIFIED, &request.bytes())?;
                self.replies.clear();
            }
        }
        Ok(())
    }

    pub fn value(&mut self, word: &str) -> Result<Ipv4Addr, String> {
        match word.strip_prefix('$') {
            Some(name) => self.variables.get(name).copied().ok_or_else(|| format!("{word} is not bound")),
            None => address(word),
        }
    }

    fn speak(&mut self, name: &str, line: &Line<'_>) -> Result<(), String> {
        let client = self.clients.get(name).cloned().ok_or_else(|| format!("no client `{name}`"))?;
        let mut keys = client.keys.clone();
        keys.extend(line.keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.speaker = name.to_owned();
        let kinds = ["discover", "-", "request", "decline", "-", "-", "release", "inform"];
        let what = line.word(1)?;
        if what == "dora" {
            self.send(&client, &keys, 1, None, None)?;
            self.take_offer()?;
            let client = self.clients[name].clone();
            self.send(&client, &keys, 3, None, client.offered.map(|offered| (offered, client.server)))?;
            let ack = self.replies.pop_front().ok_or_else(|| format!("no DHCPACK: {:?}", self.dropped))?;
            return self.take_ack(&ack);
        }
        let named = line.words.get(2).map(|word| self.value(word)).transpose()?;
        match what {
            "request" => {
                let offered = client.offered.ok_or("no offer was seen")?;
                self.send(&client, &keys, 3, None, Some((named.unwrap_or(offered), client.server)))
            }
            "reboot" => self.send(&client, &keys, 3, None, Some((named.ok_or("an address")?, None))),
            "renew" | "rebind" => {
                let own = named.or(client.address).ok_or("the client has no address")?;
                self.send(&client, &keys, 3, Some(own), None)
            }
            "decline" => {
                let own = named.or(client.address).ok_or("the client has no address")?;
                self.send(&client, &keys, 4, None, Some((own, client.server)))
            }
            "release" => {
                let own = named.or(client.address).ok_or("the client has no address")?;
                self.send(&client, &keys, 7, Some(own), None)
            }
            "inform" => self.send(&client, &keys, 8, named, None),
            other => {
                let kind = kinds.iter().position(|kind| *kind == other).ok_or_else(|| format!("no event `{other}`"))?;
                self.send(&client, &keys, kind as u8 + 1, None, None)
            }
        }
    }

    fn send(
        &mut self,
        client: &Client,
        keys: &HashMap<String, String>,
        kind: u8,
        ciaddr: Option<Ipv4Addr>,
        wanted: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
    ) -> Result<(), String> {
        let mut packet = Packet::kind(client.mac, kind);
        let mut source = ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        if let Some(ciaddr) = ciaddr {
            packet = packet.ciaddr(ciaddr.octets());
        }
        if let Some((address, server)) = wanted {
            packet = packet.option(50, &address.octets());
            if let Some(server) = server.filter(|_| !keys.contains_key("server")) {
                packet = packet.option(54, &server.octets());
            }
        }
        for (key, value) in keys {
            packet = match key.as_str() {
                "id" => packet.option(61, &hexadecimal(value)?),
                "name" => packet.option(12, value.as_bytes()),
                "ask" => packet.option(50, &self.value(value)?.octets()),
                "lease" => packet.option(51, &number::<u32>(value)?.to_be_bytes()),
                "server" => packet.option(54, &self.value(value)?.octets()),
                "prl" => packet.option(55, &value.split(',').map(number).collect::<Result<Vec<u8>, _>>()?),
                "size" => packet.option(57, &number::<u16>(value)?.to_be_bytes()),
                "flags" => packet.flags(u16::from_str_radix(value, 16).map_err(|_| "flags")?),
                "ciaddr" => packet.ciaddr(self.value(value)?.octets()),
                "relay" => {
                    source = self.value(value)?;
                    packet.giaddr(source.octets())
                }
                "from" | "on" | "mac" => packet,
                other => match other.strip_prefix('o').map(number::<u8>) {
                    Some(Ok(code)) => packet.option(code, &hexadecimal(value)?),
                    _ => return Err(format!("no key `{other}`")),
                },
            };
        }
        if let Some(from) = keys.get("from") {
            source = self.value(from)?;
        }
        self.receive(keys.get("on").map(String::as_str), source, &packet.bytes())
    }

    pub fn take_offer(&mut self) -> Result<Read, String> {
        let reply = self.replies.pop_front().ok_or_else(|| format!("no answer: {:?}", self.dropped))?;
        let read = Read::of(&reply.bytes);
        if let Some(client) = self.clients.get_mut(&self.speaker).filter(|_| read.kind == 2) {
            client.offered = Some(read.yiaddr.into());
            client.server = read.option(54).and_then(|data| <[u8; 4]>::try_from(data).ok()).map(Into::into);
        }
        Ok(read)
    }

    pub fn take_ack(&mut self, reply: &Reply) -> Result<(), String> {
        let read = Read::of(&reply.bytes);
        if read.kind != 5 {
            return Err(format!("{} instead of a DHCPACK", reply.kind.name()));
        }
        if let Some(client) = self.clients.get_mut(&self.speaker).filter(|_| read.yiaddr != [0; 4]) {
            client.address = Some(read.yiaddr.into());
            client.server = read.option(54).and_then(|data| <[u8; 4]>::try_from(data).ok()).map(Into::into);
        }
        Ok(())
    }
}
