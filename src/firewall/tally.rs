//! What is counted together, and what keeps its count when the table around it changes.
//!
//! A rule is a union of pieces `from × to × service`. Each has a tally, named by its meaning and not by its line or the address a host
//! has at the moment: an edit elsewhere in the file, a lease that moves and a reboot leave the name as it was.

use super::describe;
use super::policy::{End, Policy, Rule, Verdict};
use super::services::{Piece, Protocol};
use crate::config::Transport;

/// A tally: the counters of all elements that carry it add up to one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Which rule or forward it belongs to; `None` where its packets are counted for one already.
    pub owner: Option<Owner>,
    /// `allow web -> db tcp/5432`, `forward tcp/443 -> nas`.
    pub name: Box<str>,
}

/// What a tally belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// An index of [`Policy::rules`].
    Rule(usize),
    /// An index of [`Policy::forwards`].
    Forward(usize),
}

impl Tally {
    /// The tally of one piece of the rule `index`.
    pub(super) fn of_rule(policy: &Policy, index: usize, from: End, to: End, piece: Piece) -> Tally {
        let name = rule_piece(policy, &policy.rules[index], from, to, piece).into();
        Tally { owner: Some(Owner::Rule(index)), name }
    }

    /// The tally of the forward `index` for one transport protocol.
    pub(super) fn of_forward(policy: &Policy, index: usize, transport: Transport) -> Tally {
        let name = forward_piece(policy, index, transport).into();
        Tally { owner: Some(Owner::Forward(index)), name }
    }

    /// The same where the forward ends: it sees the forward's packets once more.
    pub(super) fn of_forward_target(policy: &Policy, index: usize, transport: Transport) -> Tally {
        let name = format!("target of {}", forward_piece(policy, index, transport)).into();
        Tally { owner: None, name }
    }
}

/// The tally's name for one piece of a rule.
pub(super) fn rule_piece(policy: &Policy, rule: &Rule, from: End, to: End, piece: Piece) -> String {
    let verdict = if rule.verdict == Verdict::Allow { "allow" } else { "deny" };
    let (from, to, service) = (policy.end_name(from), policy.end_name(to), service_words(piece));
    let space = if service.is_empty() { "" } else { " " };
    format!("{verdict} {from} -> {to}{space}{service}")
}

/// The tally's name for one transport protocol of a forward.
pub(super) fn forward_piece(policy: &Policy, index: usize, transport: Transport) -> String {
    let forward = &policy.forwards[index];
    let (name, ports) = (describe::transport_name(transport), describe::range(forward.ports));
    let port = forward.target_port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("forward {name}/{ports} -> {}{port}", policy.hosts[forward.host].name)
}

/// `tcp/443`, `icmp`; empty for whatever it is.
pub(super) fn service_words(piece: Piece) -> String {
    match piece {
        Piece::Any => String::new(),
        Piece::Protocol(Protocol::Tcp) => "tcp".to_owned(),
        Piece::Protocol(Protocol::Udp) => "udp".to_owned(),
        Piece::Protocol(Protocol::Icmp) => "icmp".to_owned(),
        Piece::Ports(transport, ports) => {
            format!("{}/{}", describe::transport_name(transport), describe::range(ports))
        }
        Piece::Other => "other protocols".to_owned(),
    }
}

/// What an element's comment says after the place in the file: `web -> db`. The place ends in the first `:LINE` before a space.
pub(super) fn comment_words(comment: &str) -> &str {
    comment
        .match_indices(' ')
        .find(|(space, _)| {
            let line = comment[..*space].rsplit(':').next().unwrap_or_default();
            line.len() < *space && !line.is_empty() && line.bytes().all(|octet| octet.is_ascii_digit())
        })
        .map_or(comment, |(space, _)| &comment[space + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_after_the_line() {
        assert_eq!(comment_words("labgate.toml:36 web -> db"), "web -> db");
        assert_eq!(comment_words("a:b c.toml:7 nas"), "nas");
        assert_eq!(comment_words("own source"), "own source");
        assert_eq!(comment_words("7 own"), "7 own");
    }
}
