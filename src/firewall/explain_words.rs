//! Turns the way of a packet into words.

use std::net::IpAddr;

use super::describe::{range, transport_name};
use super::evaluate::{is_at, pairs};
use super::explain::{Explanation, Phase, place};
use super::packet::{Decision, Fate, Packet, Side, Surroundings, Trace};
use super::policy::{End, Origin, Policy, Rule, Verdict};
use super::query::{Party, Query};
use super::services::{Piece, Protocol};

/// So many passing ports are named where not all of them pass.
const NAMED: usize = 6;

pub(super) struct Words<'a> {
    pub policy: &'a Policy,
    pub around: &'a Surroundings,
    pub query: &'a Query,
}

impl Words<'_> {
    /// `asked` is the destination of the question, `some` the ports that pass where not all of those asked for do.
    pub fn explanation(
        &self,
        packet: &Packet,
        asked: IpAddr,
        trace: &Trace<'_>,
        some: Option<Vec<u16>>,
    ) -> Explanation {
        let allowed = trace.fate == Fate::Accept;
        let mut explanation = self.frame(allowed, self.phases(packet, trace));
        explanation.source = self.party(self.query.from, packet.source, &self.query.from_text);
        explanation.destination = self.party(self.query.to, asked, &self.query.to_text);
        explanation.place = place(&trace.decision);
        let (verdict, answer) = match trace.fate {
            Fate::Accept => ("accept", None),
            Fate::Drop => ("drop", None),
            Fate::Reset => ("reject", Some("tcp-reset")),
            Fate::Prohibited => ("reject", Some("admin-prohibited")),
            Fate::Unroutable => ("reject", Some("no-route")),
        };
        explanation.verdict = verdict.to_owned();
        explanation.answer = answer.map(str::to_owned);
        if !allowed {
            let some = some.filter(|ports| !ports.is_empty());
            explanation.reason = Some(match some {
                Some(ports) => format!("not every port: {}", self.passing(&ports)),
                None => self.denial(packet, trace),
            });
            let silent = matches!(trace.decision, Decision::Nothing | Decision::Ipv6Closed);
            explanation.suggestion = silent.then(|| self.suggestion());
        }
        explanation
    }

    /// There is no such packet.
    pub fn nowhere(&self, why: String) -> Explanation {
        let mut explanation = self.frame(false, Vec::new());
        explanation.reason = Some(why);
        explanation
    }

    fn frame(&self, allowed: bool, phases: Vec<Phase>) -> Explanation {
        Explanation {
            from: self.query.from_text.clone(),
            to: self.query.to_text.clone(),
            source: self.query.from_text.clone(),
            destination: self.query.to_text.clone(),
            protocol: protocol_name(self.query.protocol).to_owned(),
            port: self.query.port,
            allowed,
            verdict: "drop".to_owned(),
            answer: None,
            place: None,
            reason: None,
            suggestion: None,
            phases,
        }
    }

    fn passing(&self, ports: &[u16]) -> String {
        let protocol = protocol_name(self.query.protocol);
        let named: Vec<String> = ports.iter().take(NAMED).map(|port| format!("{protocol}/{port}")).collect();
        let more = if ports.len() > NAMED { " and others" } else { "" };
        format!("{}{more} would pass; name a port to see which line decides", named.join(", "))
    }

    fn party(&self, party: Party, address: IpAddr, text: &str) -> String {
        let network = match self.around.side_of(self.policy, address) {
            Some(Side::Network(index)) => format!(", network {}", self.policy.networks[index].name),
            _ => String::new(),
        };
        match party {
            Party::Host(_) => format!("{text} ({address}{network})"),
            Party::Address(_) if text.parse::<IpAddr>().is_err() => format!("{text} ({address}{network})"),
            Party::Network(_) | Party::Internet | Party::Name(_) => format!("{text} (e.g. {address})"),
            Party::Address(_) => match self.host_at(address) {
                Some(name) => format!("{text} ({name}{network})"),
                None if network.is_empty() => text.to_owned(),
                None => format!("{text} ({})", &network[2..]),
            },
            Party::Router | Party::Address6(_) => text.to_owned(),
        }
    }

    fn host_at(&self, address: IpAddr) -> Option<&str> {
        let IpAddr::V4(address) = address else { return None };
        self.around.hosts.host_at(address).map(|host| &*self.policy.hosts[host].name)
    }

    fn phases(&self, packet: &Packet, trace: &Trace<'_>) -> Vec<Phase> {
        let phase = |name: &str, words: String, place: Option<String>, outcome: &str| Phase {
            name: name.to_owned(),
            words,
            place,
            packets: None,
            outcome: outcome.to_owned(),
        };
        let allowed = trace.fate == Fate::Accept;
        let (arrival, arrived) = self.arrival(packet, trace);
        let (nat, nat_place, nat_outcome) = self.nat(trace);
        let (route, routed) = self.route(trace);
        let outcome = if allowed { "ALLOW" } else { "DENY" };
        let mut phases = vec![
            phase("in", arrival, None, arrived),
            phase("nat", nat, nat_place, nat_outcome),
            phase("route", route, None, routed),
            phase("policy", self.decision(packet, trace), place(&trace.decision), outcome),
        ];
        if allowed {
            phases.push(phase("out", self.departure(trace), None, ""));
        }
        phases
    }

    fn arrival(&self, packet: &Packet, trace: &Trace<'_>) -> (String, &'static str) {
        let interface = match packet.arrives {
            Side::Network(index) => &self.policy.networks[index].interface,
            Side::Router => return ("made by the router itself".to_owned(), "-"),
            Side::Internet => match &self.policy.uplink {
                Some(uplink) => &uplink.interface,
                None => return ("there is no uplink it could come from".to_owned(), "-"),
            },
        };
        if trace.decision == Decision::Spoofed {
            return (format!("{interface}, where this source does not belong"), "DENY");
        }
        match packet.arrives {
            Side::Network(index) => {
                (format!("{interface}, source belongs to {}", self.policy.networks[index].name), "ok")
            }
            _ => (format!("{interface}, source is none of our networks"), "ok"),
        }
    }

    fn nat(&self, trace: &Trace<'_>) -> (String, Option<String>, &'static str) {
        let Some(forward) = trace.forward.or(trace.closed_forward) else {
            return ("no port-forward matches".to_owned(), None, "-");
        };
        let transports: Vec<&str> = forward.transports.iter().map(|transport| transport_name(*transport)).collect();
        let outside = format!("{}/{}", transports.join("+"), range(forward.ports));
        let place = Some(forward.place.to_string());
        if trace.forward.is_none() {
            return (format!("port-forward {outside} is for other sources"), place, "-");
        }
        let host = &self.policy.hosts[forward.host].name;
        let port = trace.content.destination_port().map_or_else(String::new, |port| format!(":{port}"));
        (format!("port-forward {outside} to {host} {}{port}", trace.destination), place, "ok")
    }

    fn route(&self, trace: &Trace<'_>) -> (String, &'static str) {
        match trace.leaves {
            Some(Side::Network(index)) => {
                let network = &self.policy.networks[index];
                (format!("{} is directly on {}", network.subnet, network.interface), "ok")
            }
            Some(Side::Router) => ("ends at the router itself".to_owned(), "ok"),
            Some(Side::Internet) => {
                let uplink = self.policy.uplink.as_ref().map_or("", |uplink| &uplink.interface);
                (format!("by the uplink {uplink}"), "ok")
            }
            None => (self.no_route().to_owned(), "-"),
        }
    }

    fn no_route(&self) -> &'static str {
        if self.policy.uplink.is_none() { "there is no uplink" } else { "no route leads there" }
    }

    fn departure(&self, trace: &Trace<'_>) -> String {
        let masqueraded = match trace.leaves {
            Some(Side::Internet) if trace.masqueraded => ", with the uplink's address as source",
            _ if trace.masqueraded => ", with the router's address as source",
            _ => "",
        };
        match trace.leaves {
            Some(Side::Network(index)) => format!("{}{masqueraded}", self.policy.networks[index].interface),
            Some(Side::Internet) => {
                let interface = self.policy.uplink.as_ref().map_or("", |uplink| &uplink.interface);
                format!("{interface}{masqueraded}")
            }
            _ => "delivered to the router".to_owned(),
        }
    }

    fn decision(&self, packet: &Packet, trace: &Trace<'_>) -> String {
        match &trace.decision {
            Decision::Established => "it belongs to a connection that was allowed".to_owned(),
            Decision::Inside if packet.arrives == Side::Router => "the router speaks with itself".to_owned(),
            Decision::Inside => "inside one network nothing is filtered".to_owned(),
            Decision::Invalid => "it fits no connection".to_owned(),
            Decision::Spoofed => "its source cannot be where it comes from".to_owned(),
            Decision::NoRoute => self.no_route().to_owned(),
            Decision::Output => "the router's own packets are free".to_owned(),
            Decision::Dhcp => "every network with DHCP reaches the server".to_owned(),
            Decision::DhcpClient => "an answer to the DHCP client of the uplink".to_owned(),
            Decision::Ipv6Control => "IPv6 cannot live without it".to_owned(),
            Decision::Ping => "own networks may ping the router".to_owned(),
            Decision::Forward(forward) => {
                format!("the forward to {} opens this port", self.policy.hosts[forward.host].name)
            }
            Decision::Rule(rule) => self.rule(rule),
            Decision::Ipv6Closed => "IPv6 is closed: no rule names an IPv6 address".to_owned(),
            Decision::Nothing => {
                format!(
                    "no rule allows {} -> {}",
                    self.side(packet.arrives),
                    trace.leaves.map_or("?", |to| self.side(to))
                )
            }
        }
    }

    fn side(&self, side: Side) -> &str {
        match side {
            Side::Network(index) => &self.policy.networks[index].name,
            Side::Internet => "internet",
            Side::Router => "router",
        }
    }

    fn rule(&self, rule: &Rule) -> String {
        let list = |ends: &[End]| {
            let shown: Vec<String> = ends.iter().map(|end| self.policy.end_name(*end).to_string()).collect();
            shown.join(", ")
        };
        let verb = if rule.verdict == Verdict::Deny { "deny " } else { "" };
        let mut words = format!("{verb}{} -> {}", list(&rule.from), list(&rule.to));
        let pieces: Vec<String> = rule.services.pieces().iter().filter_map(piece).collect();
        match rule.origin {
            Origin::File if pieces.is_empty() => {}
            Origin::File | Origin::Dns => words = format!("{words} {}", pieces.join(", ")),
            Origin::Internet => words.push_str(" (internet = true)"),
            Origin::Admin => words = format!("{words} {} (admin = true)", pieces.join(", ")),
        }
        words
    }

    fn denial(&self, packet: &Packet, trace: &Trace<'_>) -> String {
        let words = self.decision(packet, trace);
        match &trace.decision {
            Decision::Rule(rule) => format!("{} says {}", rule.place, self.rule(rule)),
            Decision::Nothing => {
                if let Some(forward) = trace.closed_forward {
                    return format!("the forward of {} is for other sources", forward.place);
                }
                match self.nearest(packet, trace) {
                    Some((rule, how)) => format!("{words}; the nearest is {} ({}, {how})", rule.place, self.rule(rule)),
                    None => words,
                }
            }
            _ => words,
        }
    }

    /// The rule of the file that comes closest to allowing the packet, and what it lacks.
    fn nearest(&self, packet: &Packet, trace: &Trace<'_>) -> Option<(&Rule, &'static str)> {
        let written =
            || self.policy.rules.iter().filter(|rule| rule.verdict == Verdict::Allow && rule.origin == Origin::File);
        let source = (packet.arrives, packet.source);
        let target = (trace.leaves?, trace.destination);
        let is = |end: End, peer: (Side, IpAddr)| is_at(self.around, end, peer.0, peer.1);
        let near =
            |from, to| written().find(|rule| pairs(rule).any(|(source, target)| is(source, from) && is(target, to)));
        let to_it = || written().find(|rule| rule.to.iter().any(|end| is(*end, target)));
        near(source, target)
            .map(|rule| (rule, "other ports"))
            .or_else(|| near(target, source).map(|rule| (rule, "other direction")))
            .or_else(|| to_it().map(|rule| (rule, "other source")))
    }

    fn suggestion(&self) -> String {
        let port = match (self.query.protocol, self.query.port) {
            (protocol, Some(port)) => format!("{}/{port}", protocol_name(protocol)),
            (protocol, None) => protocol_name(protocol).to_owned(),
        };
        let name = |party: Party, text: &str| match party {
            Party::Host(host) => self.policy.hosts[host].name.to_string(),
            Party::Router => "router".to_owned(),
            _ => text.to_owned(),
        };
        let from = name(self.query.from, &self.query.from_text);
        let to = name(self.query.to, &self.query.to_text);
        format!("{{ from = \"{from}\", to = \"{to}\", port = \"{port}\" }}")
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

fn piece(piece: &Piece) -> Option<String> {
    match piece {
        Piece::Any => None,
        Piece::Protocol(protocol) => Some(protocol_name(*protocol).to_owned()),
        Piece::Ports(transport, ports) => Some(format!("{}/{}", transport_name(*transport), range(*ports))),
        Piece::Other => Some("other protocols".to_owned()),
    }
}
