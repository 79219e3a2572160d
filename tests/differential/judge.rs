//! What the model says of a packet, against what was seen of it.

use std::net::IpAddr;

use labgate::firewall::{self as model, Fate, Side, State, Trace};

use super::case::Home;
use super::frames::{Seen, is_error};
use super::packets::{ACK, Content, FIN, Form, Packet, RST, SYN, URG};
use super::wire::Observation;

/// ICMP errors, by whether they are of IPv6, type and code.
const PROHIBITED: [(bool, u8, u8); 2] = [(false, 3, 13), (true, 1, 1)];
const UNROUTABLE: [(bool, u8, u8); 3] = [(false, 3, 0), (false, 3, 1), (true, 1, 0)];

/// What should be seen of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// Nothing at all.
    Nothing,
    /// It comes out of a cable.
    Leaves(usize, Header),
    /// It reaches the router itself, which must answer where that is said.
    Delivered(Header, bool),
    /// Its sender gets a TCP reset.
    Reset,
    /// Its sender gets "administratively prohibited".
    Prohibited,
    /// There is no route: its sender may hear that, and nothing else.
    Unroutable,
}

/// What a packet says of itself where it comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub content: Content,
}

/// The model's view of a packet; `None` where the home has no such interface.
pub fn model_packet(home: &Home, packet: &Packet, state: State) -> Option<model::Packet> {
    let content = match packet.content {
        Content::Tcp { from, to, .. } => model::Content::Tcp { source_port: from, destination_port: to },
        Content::Udp { from, to } => model::Content::Udp { source_port: from, destination_port: to },
        Content::Icmp { kind, code, .. } => model::Content::Icmp { kind, code },
        Content::Other(number) => model::Content::Other(number),
    };
    let arrives = home.side(packet.arrives)?;
    Some(model::Packet { arrives, source: packet.source, destination: packet.destination, content, state })
}

/// What connection tracking says of the first packet of a flow (`nf_conntrack_proto_*.c`, with `nf_conntrack_tcp_loose` and
/// `nf_conntrack_checksum` on, as they are by default).
pub fn first_state(packet: &Packet) -> State {
    let opens = match packet.content {
        Content::Tcp { flags, .. } => match flags & (FIN | SYN | RST | ACK | URG) {
            SYN => true,
            // In the middle of a connection that was there before the router was.
            bits => bits & !URG == ACK,
        },
        Content::Icmp { kind, .. } if packet.source.is_ipv4() => matches!(kind, 8 | 13 | 15 | 17),
        Content::Icmp { kind, .. } => matches!(kind, 128 | 139) || is_untracked(packet),
        Content::Udp { .. } | Content::Other(_) => true,
    };
    if opens && packet.form != Form::Damaged { State::New } else { State::Invalid }
}

/// Whether a kernel sends no error about a packet: one that is an error itself, or of an unknown ICMP type.
fn is_never_reported(packet: &Packet) -> bool {
    match packet.content {
        Content::Icmp { kind, .. } => is_error(packet.source, kind) || packet.source.is_ipv4() && kind > 18,
        _ => false,
    }
}

/// Whether connection tracking leaves a packet alone: neighbour discovery and multicast listeners.
fn is_untracked(packet: &Packet) -> bool {
    matches!(packet.content, Content::Icmp { kind: 130..=136 | 143, .. } if packet.source.is_ipv6())
}

/// Whether the router's own packets may carry a report to a sender. A report about a packet that is not tracked is related to nothing, so a
/// rule that denies what the router sends denies it too.
fn may_report(home: &Home, packet: &Packet) -> bool {
    let report = model::Packet {
        arrives: Side::Router,
        source: packet.destination,
        destination: packet.source,
        content: model::Content::Icmp { kind: 1, code: 1 },
        state: State::New,
    };
    home.policy.evaluate(&home.around, &report).fate == Fate::Accept
}

/// What the model expects.
pub fn expectation(home: &Home, packet: &Packet, trace: &Trace<'_>) -> Expectation {
    let unanswerable = home.is_everybody(packet.destination) || is_never_reported(packet);
    let anycast = home.is_anycast(packet.destination);
    match trace.fate {
        Fate::Accept => {
            let content = match (packet.content, trace.content.destination_port()) {
                (Content::Tcp { from, flags, .. }, Some(to)) => Content::Tcp { from, to, flags },
                (Content::Udp { from, .. }, Some(to)) => Content::Udp { from, to },
                (content, _) => content,
            };
            let header = Header { source: trace.source, destination: trace.destination, content };
            match trace.leaves.and_then(|side| home.interface(side)) {
                Some(number) => Expectation::Leaves(number, header),
                None => Expectation::Delivered(header, !unanswerable && !anycast && must_answer(packet)),
            }
        }
        Fate::Drop => Expectation::Nothing,
        Fate::Reset | Fate::Prohibited if unanswerable => Expectation::Nothing,
        Fate::Prohibited if is_untracked(packet) && !may_report(home, packet) => Expectation::Nothing,
        Fate::Reset => Expectation::Reset,
        Fate::Prohibited => Expectation::Prohibited,
        Fate::Unroutable => Expectation::Unroutable,
    }
}

/// Compares; in words, where they differ. `seen` is everything that bears the packet's tag.
pub fn disagreement(packet: &Packet, expected: &Expectation, seen: &[&Observation]) -> Option<String> {
    let agreed = match expected {
        Expectation::Nothing => seen.is_empty(),
        Expectation::Leaves(number, header) => matches!(seen, [one] if is_at(one, Some(*number), header)),
        Expectation::Delivered(header, must_answer) => {
            let (delivered, others): (Vec<&Observation>, Vec<&Observation>) =
                seen.iter().copied().partition(|observation| is_at(observation, None, header));
            let all_answer = others.iter().all(|observation| is_answer(packet, observation));
            delivered.len() == 1 && all_answer && !(*must_answer && others.is_empty())
        }
        Expectation::Reset => matches!(seen, [one] if is_reset(packet, one)),
        Expectation::Prohibited => {
            matches!(seen, [one] if to_sender(packet, one) && is_report(packet, one, &PROHIBITED))
        }
        // Nobody has asked yet whether the sender is where it says.
        Expectation::Unroutable => seen.iter().all(|one| is_report(packet, one, &UNROUTABLE)),
    };
    (!agreed).then(|| {
        let seen: Vec<String> = seen.iter().map(|observation| describe(observation)).collect();
        format!(
            "{packet}\n    the model: {expected:?}\n    the kernel: {}",
            if seen.is_empty() { "nothing".to_owned() } else { seen.join("; ") }
        )
    })
}

fn is_at(observation: &Observation, at: Option<usize>, header: &Header) -> bool {
    let seen = &observation.seen;
    // A raw IPv6 socket does not tell the destination.
    let unknown = at.is_none() && seen.destination.is_unspecified();
    let destination = seen.destination == header.destination || unknown;
    observation.at == at && destination && (seen.source, seen.content) == (header.source, header.content)
}

/// A TCP reset from the address that the sender meant.
fn is_reset(packet: &Packet, observation: &Observation) -> bool {
    let Content::Tcp { from, to, flags } = observation.seen.content else { return false };
    let back = to_sender(packet, observation) && observation.seen.source == packet.destination;
    back && flags & RST != 0 && packet.content.reversed() == Content::Tcp { from, to, flags: flags_of(packet.content) }
}

fn flags_of(content: Content) -> u8 {
    if let Content::Tcp { flags, .. } = content { flags } else { 0 }
}

/// An ICMP error of one of some kinds, about the packet as it was sent.
fn is_report(packet: &Packet, observation: &Observation, kinds: &[(bool, u8, u8)]) -> bool {
    let Content::Icmp { kind, code, .. } = observation.seen.content else { return false };
    let about = observation.seen.about.as_deref();
    kinds.contains(&(packet.source.is_ipv6(), kind, code)) && about.is_some_and(|about| is_same(packet, about))
}

fn is_same(packet: &Packet, about: &Seen) -> bool {
    (about.source, about.destination, about.content) == (packet.source, packet.destination, packet.content)
}

fn to_sender(packet: &Packet, observation: &Observation) -> bool {
    let unknown = observation.at.is_none() && observation.seen.destination.is_unspecified();
    observation.at == packet.arrives && (observation.seen.destination == packet.source || unknown)
}

/// Whether the router itself answered a packet that reached it: a reset, an echo, "port unreachable", an advertisement. It goes to where the
/// source is: an answer to the DHCP client is let in from anywhere, because a provider's server may have an address of an own network.
fn is_answer(packet: &Packet, observation: &Observation) -> bool {
    let seen = &observation.seen;
    let report = seen.about.as_deref().is_some_and(|about| is_same(packet, about));
    let back = match seen.content {
        Content::Icmp { kind, .. } => report || matches!(kind, 0 | 14 | 129 | 136) && !is_error(seen.source, kind),
        content => is_reset(packet, observation) || content.reversed() == packet.content,
    };
    let unknown = observation.at.is_none() && seen.destination.is_unspecified();
    back && (seen.destination == packet.source || unknown)
}

/// Whether a kernel without any server must answer a packet that reached it.
fn must_answer(packet: &Packet) -> bool {
    if packet.source.is_unspecified() {
        return false;
    }
    match packet.content {
        Content::Tcp { flags, .. } => flags & RST == 0 && first_state(packet) == State::New,
        Content::Icmp { kind, .. } => kind == if packet.source.is_ipv4() { 8 } else { 128 },
        _ => false,
    }
}

fn describe(observation: &Observation) -> String {
    let place = observation.at.map_or_else(|| "router".to_owned(), |number| format!("eth{number}"));
    let seen = &observation.seen;
    let about = seen
        .about
        .as_ref()
        .map_or_else(String::new, |about| format!(" about {} > {} {}", about.source, about.destination, about.content));
    format!("{place} {} > {} {}{about}", seen.source, seen.destination, seen.content)
}
