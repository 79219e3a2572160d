//! The options of a reply, in order of importance, and where the reply goes.

use std::net::Ipv4Addr;

use super::code::{self, MessageType};
use super::reply::{self, Destination, Fields, Reply};
use super::scope::{self, LeaseTime, Scope};
use super::server::Client;

/// What a reply tells.
pub(super) struct Given<'a> {
    /// `None` in the answer to an INFORM.
    pub address: Option<Ipv4Addr>,
    pub lease: Option<LeaseTime>,
    /// The client's own name, cleaned.
    pub name: Option<&'a str>,
    /// The name of its `[host]` entry.
    pub host: Option<&'a str>,
}

fn destination(client: &Client<'_>, address: Option<Ipv4Addr>) -> Destination {
    let message = client.message;
    if client.relayed {
        return Destination::Relay(message.giaddr);
    }
    if !message.ciaddr.is_unspecified() {
        return Destination::Unicast(message.ciaddr);
    }
    match (client.mac, address) {
        (Some(mac), Some(address)) if !message.wants_broadcast() => Destination::Hardware(mac, address),
        _ => Destination::Broadcast,
    }
}

/// Codes a parameter request list may name twice or more; each is sent once.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    fn first_time(&mut self, code: u8) -> bool {
        let (word, bit) = (usize::from(code / 64), 1 << (code % 64));
        let first = self.0[word] & bit == 0;
        self.0[word] |= bit;
        first
    }
}

/// An OFFER or ACK.
pub(super) fn answer(kind: MessageType, scope: &Scope, client: &Client<'_>, given: &Given<'_>) -> Reply {
    let message = client.message;
    let server = scope.router.octets();
    let identifier = message.client_identifier();
    let seconds = given.lease.map(scope::lease_seconds);
    let [lease, t1, t2] = match seconds {
        Some(u32::MAX) => [u32::MAX; 3],
        Some(seconds) => [seconds, seconds / 2, (u64::from(seconds) * 7 / 8) as u32],
        None => [0; 3],
    }
    .map(u32::to_be_bytes);
    let fqdn = client.fqdn.as_ref().map(|fqdn| fqdn.answer(given.name, &scope.domain));
    let requested = message.option(code::PARAMETER_REQUEST_LIST);

    let mut seen = Seen::default();
    let mut options: Vec<(u8, &[u8])> = Vec::with_capacity(20);
    let mut add = |code: u8, data| {
        if seen.first_time(code) {
            options.push((code, data));
        }
    };
    let own = |code: u8| scope.options.iter().find(|option| option.code == code).map(|option| &option.data[..]);
    add(code::SERVER_IDENTIFIER, &server[..]);
    if seconds.is_some() {
        add(code::LEASE_TIME, &lease);
        add(code::RENEWAL_TIME, own(code::RENEWAL_TIME).unwrap_or(&t1));
        add(code::REBINDING_TIME, own(code::REBINDING_TIME).unwrap_or(&t2));
    }
    // RFC 6842: a client that shares its hardware address finds its answers by this.
    if let Some(identifier) = &identifier {
        add(code::CLIENT_IDENTIFIER, identifier);
    }
    if let Some(data) = own(code::SUBNET_MASK) {
        add(code::SUBNET_MASK, data);
    }
    if let Some(fqdn) = &fqdn {
        add(code::CLIENT_FQDN, fqdn);
    }
    for asked in requested.as_deref().unwrap_or_default() {
        let host_name = given.host.filter(|_| *asked == code::HOST_NAME).map(str::as_bytes);
        // Of a lease, an INFORM learns nothing.
        let times = matches!(*asked, code::RENEWAL_TIME | code::REBINDING_TIME);
        if let Some(data) = own(*asked).filter(|_| !times).or(host_name) {
            add(*asked, data);
        }
    }
    for option in &scope.options {
        let unasked = requested.is_none() || option.explicit;
        let times = matches!(option.code, code::RENEWAL_TIME | code::REBINDING_TIME);
        if unasked && !times && option.code != code::IPV6_ONLY_PREFERRED {
            add(option.code, &option.data);
        }
    }
    let fields = Fields {
        ciaddr: if kind == MessageType::Ack { message.ciaddr.into() } else { 0 },
        yiaddr: given.address.map_or(0, u32::from),
        siaddr: scope.siaddr,
        boot_file: &scope.boot_file,
    };
    let bytes = reply::encode(kind, message, &fields, &options);
    Reply { network: scope.network, destination: destination(client, given.address), kind, bytes }
}

/// A NAK. It goes to everybody: the client may have no address it could be reached under.
pub(super) fn refusal(scope: &Scope, client: &Client<'_>, words: &str) -> Reply {
    let server = scope.router.octets();
    let identifier = client.message.client_identifier();
    let mut options: Vec<(u8, &[u8])> = vec![(code::SERVER_IDENTIFIER, &server), (code::MESSAGE, words.as_bytes())];
    if let Some(identifier) = &identifier {
        options.push((code::CLIENT_IDENTIFIER, identifier));
    }
    let mut bytes = reply::encode(MessageType::Nak, client.message, &Fields::default(), &options);
    let destination = if client.relayed {
        // RFC 2131 §4.3.2: the relay is to broadcast it.
        bytes[10] |= 0x80;
        Destination::Relay(client.message.giaddr)
    } else {
        Destination::Broadcast
    };
    Reply { network: scope.network, destination, kind: MessageType::Nak, bytes }
}
