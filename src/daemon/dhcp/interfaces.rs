//! The sockets of the DHCP task: one per served network, re-opened as interfaces come and go.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::config::Config;
use crate::daemon::Pictures;
use crate::dhcp::{Destination, Reply};
use crate::linux::dhcp_socket::{ArpSocket, DhcpSocket, Frames, Port};
use crate::model::{MacAddr, Now};

/// A probe that nobody answered within this time will not be answered.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// Probes under way at once. Under a flood of new clients the others go without: the flood is no home.
const PROBES: usize = 64;

struct Interface {
    network: usize,
    name: Arc<str>,
    router: Ipv4Addr,
    port: Port,
    socket: DhcpSocket,
}

/// What can be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readable {
    /// Datagrams of the interface in this place.
    Datagrams(usize),
    /// Frames of ARP.
    Answers,
}

/// All sockets.
pub(super) struct Interfaces {
    open: Vec<Interface>,
    /// Whose turn it is to be looked at first, so that a busy network does not starve the others.
    turn: usize,
    frames: Option<Frames>,
    arp: Option<ArpSocket>,
    probes: HashMap<Ipv4Addr, Duration>,
}

impl Interfaces {
    pub fn new() -> Self {
        Interfaces {
            open: Vec::new(),
            turn: 0,
            frames: Frames::open().inspect_err(|error| tell_missing("unicast replies", error)).ok(),
            arp: ArpSocket::open().inspect_err(|error| tell_missing("conflict probes", error)).ok(),
            probes: HashMap::new(),
        }
    }

    /// Opens what is to be served, closes what is not; whether every served network has its socket.
    pub fn follow(&mut self, config: &Config, pictures: &Pictures) -> bool {
        let mut before = std::mem::take(&mut self.open);
        let mut complete = true;
        let mut rows = Vec::new();
        for (network, settings) in config.networks.iter().enumerate().filter(|(_, settings)| settings.dhcp.is_some()) {
            let row = format!("dhcp {}", settings.name);
            let (link, router) = (settings.link(), settings.router());
            let Some(port) = Port::find(link) else {
                complete = false;
                pictures.report(&row, false, format!("waits for the interface {link}"));
                rows.push(row);
                continue;
            };
            let kept =
                before.iter().position(|old| old.socket.interface() == &**link && old.port.index() == port.index());
            let socket = match kept {
                Some(index) => Ok(before.swap_remove(index).socket),
                None => DhcpSocket::open(link),
            };
            match socket {
                Ok(socket) => {
                    let name = settings.name.clone();
                    self.open.push(Interface { network, name, router, port, socket });
                    pictures.report(&row, true, format!("serves {} on {link}", settings.address.trunc()));
                }
                Err(error) => {
                    complete = false;
                    pictures.report(&row, false, format!("port 67 cannot be opened on {link}: {error}"));
                }
            }
            rows.push(row);
        }
        let stale: Vec<String> = pictures
            .health
            .borrow()
            .keys()
            .filter(|row| row.starts_with("dhcp ") && !rows.contains(row))
            .cloned()
            .collect();
        stale.iter().for_each(|row| pictures.forget_report(row));
        complete
    }

    /// Ready when something waits; datagrams only where they are wanted.
    pub fn poll_readable(&mut self, context: &mut Context<'_>, datagrams: bool) -> Poll<Readable> {
        if self.arp.as_ref().is_some_and(|arp| arp.poll_readable(context).is_ready()) {
            return Poll::Ready(Readable::Answers);
        }
        for step in 0..if datagrams { self.open.len() } else { 0 } {
            let place = (self.turn + step) % self.open.len();
            if self.open[place].socket.poll_readable(context).is_ready() {
                self.turn = place + 1;
                return Poll::Ready(Readable::Datagrams(place));
            }
        }
        Poll::Pending
    }

    /// The next datagram of an interface: its length, the network, the sender.
    pub fn receive(&self, place: usize, buffer: &mut [u8]) -> Option<(usize, usize, SocketAddrV4)> {
        let interface = self.open.get(place)?;
        match interface.socket.receive(buffer) {
            Ok(received) => received.map(|(length, source)| (length, interface.network, source)),
            Err(error) => {
                // A link that went down says so once; what follows is told by netlink.
                tracing::debug!("dhcp {}: {error}", interface.name);
                None
            }
        }
    }

    /// Sends a reply by the best way there is.
    pub fn send(&self, reply: &Reply) {
        let Some(interface) = self.open.iter().find(|interface| interface.network == reply.network) else { return };
        let framed = match (reply.destination, &self.frames) {
            (Destination::Hardware(mac, address), Some(frames)) => {
                frames.send(&interface.port, interface.router, (mac, address), &reply.bytes).is_ok()
            }
            _ => false,
        };
        if !framed && let Err(error) = interface.socket.send(reply.destination, &reply.bytes, interface.router) {
            tracing::debug!("dhcp {}: {} not sent: {error}", interface.name, reply.kind.name());
        }
    }

    /// Asks by ARP who uses an address.
    pub fn probe(&mut self, network: usize, address: Ipv4Addr, now: Now) {
        if self.probes.len() >= PROBES {
            self.probes.retain(|_, until| now.instant < *until);
        }
        let interface = self.open.iter().find(|interface| interface.network == network);
        let (Some(arp), Some(interface)) = (&self.arp, interface) else { return };
        if self.probes.len() < PROBES && arp.probe(&interface.port, address).is_ok() {
            self.probes.insert(address, now.instant + PROBE_TIME);
        }
    }

    /// Who answered for an address that was probed.
    pub fn answered(&mut self, now: Now) -> Option<(Ipv4Addr, MacAddr)> {
        let arp = self.arp.as_ref()?;
        while let Some((address, mac)) = arp.receive() {
            if self.probes.remove(&address).is_some_and(|until| now.instant < until) {
                return Some((address, mac));
            }
        }
        None
    }
}

fn tell_missing(what: &str, error: &std::io::Error) {
    tracing::warn!("dhcp: no {what} ({error}); CAP_NET_RAW is missing");
}
