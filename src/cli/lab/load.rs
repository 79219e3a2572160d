//! Many DHCP clients in one process: the load under which leases must stay whole. It speaks RFC 2131 with an encoder of its own, so that
//! it judges the server's, and remembers every acknowledged lease: one that comes to a second client, or is refused later, is told.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// How long until an unanswered message is sent again.
const AGAIN: Duration = Duration::from_millis(700);

/// How many clients talk at once.
const WINDOW: usize = 16;

/// A DHCP message as far as these clients look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Offer { server: Ipv4Addr },
    Ack,
    Nak,
}

#[derive(Clone, Copy, Debug)]
enum Saying {
    Discover,
    Select { address: Ipv4Addr, server: Ipv4Addr },
    Reboot { address: Ipv4Addr },
}

struct Talk {
    saying: Saying,
    sent: Instant,
}

/// What the clients are to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Rest,
    /// New leases until this many are held.
    Get(usize),
    /// Every held lease is asked for again, as after a reboot of the client.
    Confirm,
    /// New leases and reboots in turn, until told otherwise.
    Churn,
}

struct Load {
    socket: UdpSocket,
    task: Task,
    talks: HashMap<u32, Talk>,
    leases: BTreeMap<u32, Ipv4Addr>,
    holders: HashMap<Ipv4Addr, u32>,
    unconfirmed: Vec<u32>,
    next: u32,
    turn: u64,
    acks: u64,
    violations: u64,
}

/// Reads tasks from standard input (`get N`, `confirm`, `churn`, `rest`), one a line, and tells each `done` and each violation on
/// standard output. Ends with the input.
pub fn run(interface: &str) -> Result<()> {
    let (sender, tasks) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut load = Load {
        socket: open(interface)?,
        task: Task::Rest,
        talks: HashMap::new(),
        leases: BTreeMap::new(),
        holders: HashMap::new(),
        unconfirmed: Vec::new(),
        next: 0,
        turn: 0,
        acks: 0,
        violations: 0,
    };
    tell("ready")?;
    load.serve(&tasks)
}

fn open(interface: &str) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.set_recv_buffer_size(1 << 20)?;
    socket.bind_device(Some(interface.as_bytes())).with_context(|| format!("interface {interface}"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket.into())
}

fn tell(words: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{words}")?;
    out.flush()
}

impl Load {
    fn serve(&mut self, tasks: &Receiver<String>) -> Result<()> {
        let mut message = [0; 2048];
        loop {
            match tasks.try_recv() {
                Ok(line) => self.begin(&line)?,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            self.talk_more();
            if let Ok(length) = self.socket.recv(&mut message)
                && let Some((client, address, heard)) = parse(&message[..length])
            {
                self.hear(client, address, heard)?;
            }
            self.say_again();
            self.finish()?;
        }
    }

    fn begin(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split(' ');
        self.talks.clear();
        self.task = match (words.next(), words.next().and_then(|count| count.parse().ok())) {
            (Some("get"), Some(count)) => Task::Get(count),
            (Some("confirm"), _) => {
                self.unconfirmed = self.leases.keys().copied().collect();
                Task::Confirm
            }
            (Some("churn"), _) => Task::Churn,
            _ => Task::Rest,
        };
        if self.task == Task::Rest {
            self.report()?;
        }
        Ok(())
    }

    /// Opens conversations until enough go on at once.
    fn talk_more(&mut self) {
        while self.talks.len() < WINDOW {
            let fresh = match self.task {
                Task::Rest => return,
                Task::Get(count) => self.leases.len() + self.fresh_talks() < count,
                Task::Confirm => false,
                Task::Churn => self.turn.is_multiple_of(3) || self.leases.is_empty(),
            };
            if fresh {
                self.turn += 1;
                self.next += 1;
                self.say(self.next, Saying::Discover);
                continue;
            }
            let Some(client) = self.known_client() else { return };
            let Some(&address) = self.leases.get(&client) else { return };
            self.say(client, Saying::Reboot { address });
        }
    }

    fn fresh_talks(&self) -> usize {
        self.talks.keys().filter(|client| !self.leases.contains_key(client)).count()
    }

    fn known_client(&mut self) -> Option<u32> {
        match self.task {
            Task::Confirm => {
                let at = self.unconfirmed.iter().position(|client| !self.talks.contains_key(client))?;
                Some(self.unconfirmed[at])
            }
            Task::Churn => {
                self.turn += 1;
                let at = usize::try_from(self.turn.wrapping_mul(0x9E37_79B9) >> 3).unwrap_or(0) % self.leases.len();
                let client = *self.leases.keys().nth(at)?;
                (!self.talks.contains_key(&client)).then_some(client)
            }
            Task::Rest | Task::Get(_) => None,
        }
    }

    fn say(&mut self, client: u32, saying: Saying) {
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        // A full queue or a cable that is out is like a lost packet: the time-out says it again.
        let _ = self.socket.send_to(&encode(client, saying), to);
        self.talks.insert(client, Talk { saying, sent: Instant::now() });
    }

    fn say_again(&mut self) {
        let late: Vec<(u32, Saying)> = self
            .talks
            .iter()
            .filter(|(_, talk)| talk.sent.elapsed() > AGAIN)
            .map(|(client, talk)| (*client, talk.saying))
            .collect();
        for (client, saying) in late {
            // An offer dies with the server that made it: start over.
            let saying = if matches!(saying, Saying::Select { .. }) { Saying::Discover } else { saying };
            self.say(client, saying);
        }
    }

    fn hear(&mut self, client: u32, address: Ipv4Addr, heard: Heard) -> io::Result<()> {
        let Some(talk) = self.talks.get(&client) else { return Ok(()) };
        match (talk.saying, heard) {
            (Saying::Discover, Heard::Offer { server }) => self.say(client, Saying::Select { address, server }),
            (Saying::Select { .. } | Saying::Reboot { .. }, Heard::Ack) => self.acknowledged(client, address)?,
            (Saying::Select { .. }, Heard::Nak) => self.say(client, Saying::Discover),
            (Saying::Reboot { address }, Heard::Nak) => {
                self.violate(&format!("client {client} was refused its acknowledged lease {address}"))?;
                self.talks.remove(&client);
                self.unconfirmed.retain(|other| *other != client);
            }
            _ => {}
        }
        Ok(())
    }

    fn acknowledged(&mut self, client: u32, address: Ipv4Addr) -> io::Result<()> {
        self.acks += 1;
        self.talks.remove(&client);
        self.unconfirmed.retain(|other| *other != client);
        if let Some(older) = self.leases.insert(client, address)
            && older != address
        {
            self.violate(&format!("client {client} had {older} and was given {address}"))?;
        }
        if let Some(other) = self.holders.insert(address, client)
            && other != client
        {
            self.violate(&format!("{address} of client {other} was given to client {client}"))?;
        }
        if self.acks.is_multiple_of(50) {
            tell(&format!("acks {}", self.acks))?;
        }
        Ok(())
    }

    fn violate(&mut self, words: &str) -> io::Result<()> {
        self.violations += 1;
        tell(&format!("violation: {words}"))
    }

    fn finish(&mut self) -> io::Result<()> {
        let done = match self.task {
            Task::Get(count) => self.leases.len() >= count,
            Task::Confirm => self.unconfirmed.is_empty(),
            Task::Rest | Task::Churn => false,
        };
        if done {
            self.task = Task::Rest;
            self.report()?;
        }
        Ok(())
    }

    fn report(&self) -> io::Result<()> {
        tell(&format!("done: {} leases, {} acks, {} violations", self.leases.len(), self.acks, self.violations))
    }
}

/// A message of one client. Its number is the transaction identifier and the end of its hardware address.
fn encode(client: u32, saying: Saying) -> Vec<u8> {
    let mut out = vec![0; 236];
    out[..4].copy_from_slice(&[1, 1, 6, 0]);
    out[4..8].copy_from_slice(&client.to_be_bytes());
    out[10] = 0x80; // Replies by broadcast: the clients have no address of their own.
    out[28..30].copy_from_slice(&[0x02, 0x4c]);
    out[30..34].copy_from_slice(&client.to_be_bytes());
    out.extend([99, 130, 83, 99]);
    let (kind, address, server) = match saying {
        Saying::Discover => (1, None, None),
        Saying::Select { address, server } => (3, Some(address), Some(server)),
        Saying::Reboot { address } => (3, Some(address), None),
    };
    out.extend([53, 1, kind]);
    for (code, value) in [(50, address), (54, server)] {
        if let Some(value) = value {
            out.extend([code, 4]);
            out.extend(value.octets());
        }
    }
    out.extend([55, 3, 1, 3, 6, 255]);
    out.resize(300, 0);
    out
}

fn parse(message: &[u8]) -> Option<(u32, Ipv4Addr, Heard)> {
    if message.first() != Some(&2) || message.get(236..240)? != [99, 130, 83, 99] {
        return None;
    }
    let client = u32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(message.get(16..20)?).ok()?);
    let (mut kind, mut server) = (0, Ipv4Addr::UNSPECIFIED);
    let mut rest = &message[240..];
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            _ => {
                let (&length, tail) = tail.split_first()?;
                let value = tail.get(..usize::from(length))?;
                match (code, value) {
                    (53, [value]) => kind = *value,
                    (54, value) => server = Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?),
                    _ => {}
                }
                rest = &tail[usize::from(length)..];
            }
        }
    }
    let heard = match kind {
        2 => Heard::Offer { server },
        5 => Heard::Ack,
        6 => Heard::Nak,
        _ => return None,
    };
    Some((client, address, heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_understood_and_a_request_is_not_an_answer() {
        let mut offer = encode(7, Saying::Discover);
        assert_eq!(parse(&offer), None);
        offer[0] = 2;
        offer[16..20].copy_from_slice(&[10, 0, 0, 9]);
        offer.truncate(240);
        offer.extend([53, 1, 2, 54, 4, 10, 0, 0, 1, 255]);
        let server = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(parse(&offer), Some((7, Ipv4Addr::new(10, 0, 0, 9), Heard::Offer { server })));
        assert_eq!(parse(&offer[..247]), None);
    }
}
