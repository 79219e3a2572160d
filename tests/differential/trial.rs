//! One case through the kernel: every packet, then the connections that the accepted ones opened.

use std::collections::HashMap;
use std::net::IpAddr;

use labgate::firewall::{Fate, State};

use super::case::{Case, Home};
use super::frames::{Outgoing, Seen, Sequence, build};
use super::judge::{Expectation, Header, disagreement, expectation, first_state, model_packet};
use super::packets::{ACK, Content, Form, Packet, SYN};
use super::wire::{Injection, Lab, Observation, somebody};

/// What came of a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Packets sent.
    pub packets: usize,
    /// How many there were of each kind of fate, for the statistics.
    pub fates: HashMap<&'static str, usize>,
    /// The number of the packet of the case, and how model and kernel differ.
    pub disagreements: Vec<(usize, String)>,
}

/// Something sent, and what the model expects of it.
struct Sent {
    /// The packet of the case that it belongs to.
    index: usize,
    packet: Packet,
    tag: u16,
    expected: Expectation,
}

/// A connection that a packet has opened through the router.
struct Connection {
    index: usize,
    opening: Packet,
    /// The opening packet as it left.
    left: Seen,
    at: usize,
    sequence: Sequence,
    answer: Option<Sequence>,
}

struct Trial<'a> {
    home: &'a Home,
    lab: Lab,
    tag: u16,
    outcome: Outcome,
}

/// Tries a case; `None` where its configuration is refused, or lacks an interface that a packet needs.
pub fn run(case: &Case) -> Option<Outcome> {
    let home = case.home()?;
    let mut trial = Trial { home: &home, lab: Lab::new(&home), tag: 0, outcome: Outcome::default() };
    let mut connections = trial.openings(&case.packets)?;
    trial.answers(&mut connections)?;
    trial.further(&connections)?;
    trial.errors(&connections);
    Some(trial.outcome)
}

impl Trial<'_> {
    fn next_tag(&mut self) -> u16 {
        self.tag += 1;
        self.tag
    }

    /// Sends the packets of the case, and finds the connections that they open.
    fn openings(&mut self, packets: &[Packet]) -> Option<Vec<Connection>> {
        let mut sent = Vec::new();
        let mut injections = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            let tag = self.next_tag();
            let expected = self.expect(packet, first_state(packet))?;
            injections.push(injection(packet, tag, Sequence::of_tag(tag)));
            sent.push(Sent { index, packet: packet.clone(), tag, expected });
        }
        let observed = self.judge(&sent, &injections);
        let mut connections = Vec::new();
        for Sent { index, packet, tag, expected } in sent {
            let Expectation::Leaves(at, _) = expected else { continue };
            let echo = matches!(packet.content, Content::Icmp { kind: 8 | 128, .. });
            let talks = echo || !matches!(packet.content, Content::Icmp { .. });
            // Who opens with the address of another gets no answer.
            let reachable =
                self.home.around.side_of(&self.home.policy, packet.source) == self.home.side(packet.arrives);
            if first_state(&packet) != State::New || !talks || !reachable || packet.form != Form::Whole {
                continue;
            }
            let left = observed.iter().find(|seen| seen.at == Some(at) && seen.seen.tag == Some(tag));
            let Some(left) = left.map(|observation| observation.seen.clone()) else { continue };
            connections.push(Connection {
                index,
                opening: packet,
                left,
                at,
                sequence: Sequence::of_tag(tag),
                answer: None,
            });
        }
        Some(connections)
    }

    /// The far end of each connection answers: that passes, and looks as if the address had answered that was asked.
    fn answers(&mut self, connections: &mut [Connection]) -> Option<()> {
        let mut sent = Vec::new();
        let mut injections = Vec::new();
        for connection in connections {
            let tag = self.next_tag();
            let opened = connection.opening.content;
            let (content, back) = match opened {
                Content::Icmp { kind, code, id } => {
                    let echo = Content::Icmp { kind: if kind == 8 { 0 } else { 129 }, code, id };
                    (echo, echo)
                }
                content => {
                    let answer = if is_syn(content) { SYN | ACK } else { ACK };
                    (with_flags(connection.left.content.reversed(), answer), with_flags(content.reversed(), answer))
                }
            };
            let sequence =
                Sequence { number: u32::from(tag) << 16, acknowledged: connection.sequence.after(is_syn(opened)) };
            connection.answer = Some(sequence);
            let packet = Packet {
                arrives: Some(connection.at),
                source: connection.left.destination,
                destination: connection.left.source,
                content,
                form: Form::Whole,
            };
            self.passes(&packet, State::Established, connection.index)?;
            injections.push(injection(&packet, tag, sequence));
            sent.push(Sent {
                index: connection.index,
                packet,
                tag,
                expected: back_to(&connection.opening, connection.opening.destination, back),
            });
        }
        self.judge(&sent, &injections);
        Some(())
    }

    /// Who opened each connection says something more: it goes the same way.
    fn further(&mut self, connections: &[Connection]) -> Option<()> {
        let mut sent = Vec::new();
        let mut injections = Vec::new();
        for connection in connections {
            let tag = self.next_tag();
            let syn = is_syn(connection.opening.content);
            let packet = Packet { content: with_flags(connection.opening.content, ACK), ..connection.opening.clone() };
            let answer = connection.answer.expect("every connection has been answered");
            let sequence = Sequence { number: connection.sequence.after(syn), acknowledged: answer.after(syn) };
            let content = with_flags(connection.left.content, ACK);
            let (source, destination) = (connection.left.source, connection.left.destination);
            let expected = Expectation::Leaves(connection.at, Header { source, destination, content });
            self.passes(&packet, State::Established, connection.index)?;
            injections.push(injection(&packet, tag, sequence));
            sent.push(Sent { index: connection.index, packet, tag, expected });
        }
        self.judge(&sent, &injections);
        Some(())
    }

    /// A router on the way, or the far end, reports an error about each connection: it reaches who opened it, and is about what that one sent.
    fn errors(&mut self, connections: &[Connection]) {
        let mut sent = Vec::new();
        let mut injections = Vec::new();
        for connection in connections {
            let tag = self.next_tag();
            let (left, opening) = (&connection.left, &connection.opening);
            let ipv6 = left.source.is_ipv6();
            let outside = connection.at == 0 && connection.index % 2 == 0;
            let source = if outside { somebody(ipv6) } else { left.destination };
            let (kind, code) = if ipv6 {
                (1, 4)
            } else if outside {
                (11, 0)
            } else {
                (3, 3)
            };
            let content = Content::Icmp { kind, code, id: 0 };
            let packet =
                Packet { arrives: Some(connection.at), source, destination: left.source, content, form: Form::Whole };
            let about = octets(left.source, left.destination, left.content, tag, connection.sequence, None);
            injections.push(Injection {
                arrives: packet.arrives,
                destination: packet.destination,
                octets: vec![octets(source, left.source, content, tag, connection.sequence, Some(&about))],
            });
            // Where the destination was translated, an error looks as if it came from the address that was asked.
            let translated = left.destination != opening.destination;
            let expected = back_to(opening, if translated { opening.destination } else { source }, content);
            sent.push(Sent { index: connection.index, packet, tag, expected });
        }
        let observed = self.judge(&sent, &injections);
        for Sent { index, tag, packet, .. } in sent {
            let connection = connections.iter().find(|connection| connection.index == index).expect("its connection");
            let about =
                observed.iter().find(|seen| seen.seen.tag == Some(tag)).and_then(|seen| seen.seen.about.as_deref());
            let opening = &connection.opening;
            let wrong = about.is_some_and(|about| {
                (about.source, about.destination, about.content)
                    != (opening.source, opening.destination, opening.content)
            });
            if wrong {
                self.outcome
                    .disagreements
                    .push((index, format!("{packet}\n    the error is not about {opening}, but {about:?}")));
            }
        }
    }

    fn expect(&mut self, packet: &Packet, state: State) -> Option<Expectation> {
        let asked = model_packet(self.home, packet, state)?;
        let trace = self.home.policy.evaluate(&self.home.around, &asked);
        let fate = match trace.fate {
            Fate::Accept if trace.forward.is_some() && trace.masqueraded => "accepted through a port forward, hairpin",
            Fate::Accept if trace.forward.is_some() => "accepted through a port forward",
            Fate::Accept if trace.masqueraded => "accepted and masqueraded",
            Fate::Accept => "accepted",
            Fate::Drop => "dropped",
            Fate::Reset => "reset",
            Fate::Prohibited => "prohibited",
            Fate::Unroutable => "without a route",
        };
        *self.outcome.fates.entry(fate).or_default() += 1;
        Some(expectation(self.home, packet, &trace))
    }

    /// The model lets packets of a connection pass whatever the rules say.
    fn passes(&mut self, packet: &Packet, state: State, index: usize) -> Option<()> {
        let asked = model_packet(self.home, packet, state)?;
        let trace = self.home.policy.evaluate(&self.home.around, &asked);
        if trace.fate != Fate::Accept {
            self.outcome
                .disagreements
                .push((index, format!("{packet}\n    of a connection: the model says {:?}", trace.fate)));
        }
        Some(())
    }

    fn judge(&mut self, sent: &[Sent], injections: &[Injection]) -> Vec<Observation> {
        let observed = self.lab.send(injections);
        self.outcome.packets += sent.len();
        for one in sent {
            let seen: Vec<&Observation> =
                observed.iter().filter(|observation| observation.seen.tag == Some(one.tag)).collect();
            if let Some(words) = disagreement(&one.packet, &one.expected, &seen) {
                self.outcome.disagreements.push((one.index, words));
            }
        }
        observed
    }
}

/// Something comes back to who opened a connection.
fn back_to(opening: &Packet, source: IpAddr, content: Content) -> Expectation {
    let header = Header { source, destination: opening.source, content };
    match opening.arrives {
        Some(number) => Expectation::Leaves(number, header),
        None => Expectation::Delivered(header, false),
    }
}

fn is_syn(content: Content) -> bool {
    matches!(content, Content::Tcp { flags, .. } if flags & SYN != 0)
}

fn with_flags(content: Content, flags: u8) -> Content {
    match content {
        Content::Tcp { from, to, .. } => Content::Tcp { from, to, flags },
        other => other,
    }
}

fn injection(packet: &Packet, tag: u16, sequence: Sequence) -> Injection {
    let Packet { source, destination, content, form, .. } = *packet;
    let octets = build(&Outgoing { source, destination, content, form, tag, sequence, quoted: None });
    Injection { arrives: packet.arrives, destination, octets }
}

fn octets(
    source: IpAddr,
    destination: IpAddr,
    content: Content,
    tag: u16,
    sequence: Sequence,
    quoted: Option<&[u8]>,
) -> Vec<u8> {
    build(&Outgoing { source, destination, content, form: Form::Whole, tag, sequence, quoted }).remove(0)
}
