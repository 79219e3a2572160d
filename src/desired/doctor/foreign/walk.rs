//! A witness packet's way through the base chains of others. A condition that cannot be judged here leaves both ways open.

use std::fmt;

use super::chains::{Action, Chain, Condition, Hook, Rule, What};
use super::packets::Packet;

/// The kernel follows at most 16 jumps (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// What became of a packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Passage<'a> {
    /// What refuses it, or may.
    pub refusal: Option<Ruling<'a>>,
    /// Whether the refusal is sure.
    pub certain: bool,
    /// What surely changes its destination.
    pub translation: Option<Ruling<'a>>,
}

/// A rule, or the policy of a chain, that decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling<'a> {
    /// The base chain that the packet came into.
    pub base: &'a Chain,
    /// The chain that decided.
    pub chain: &'a Chain,
    /// Its rule; `None`: its policy.
    pub rule: Option<&'a Rule>,
}

impl fmt::Display for Ruling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        if self.chain.name != self.base.name {
            write!(f, ", chain {}", self.chain.name)?;
        }
        match self.rule {
            Some(rule) => write!(f, ", rule `{}`", rule.text),
            None => f.write_str(", policy drop"),
        }
    }
}

/// Sends a packet through every foreign base chain at its hooks, in their order.
pub(super) fn through<'a>(chains: &'a [Chain], packet: &Packet) -> Passage<'a> {
    let mut bases: Vec<&Chain> = chains.iter().filter(|chain| !chain.is_ours() && chain.base.is_some()).collect();
    bases.sort_by_key(|chain| chain.base.map(|base| (base.hook, base.priority)));
    let mut passage = Passage::default();
    for chain in bases {
        let Some(base) = chain.base.filter(|base| packet.hooks.contains(&base.hook)) else { continue };
        let mut walk =
            Walk { chains, base: chain, hook: base.hook, packet, accepts: false, drops: None, redirect: None };
        if walk.follow(chain, 0, true) {
            if base.drops {
                walk.drops.get_or_insert(Ruling { base: chain, chain, rule: None });
            } else {
                walk.accepts = true;
            }
        }
        if base.nat && passage.translation.is_none() {
            passage.translation = walk.redirect;
        }
        let certain = walk.drops.is_some() && !walk.accepts;
        // The first sure refusal is what is told; a possible one only where none is sure.
        if certain && !passage.certain || passage.refusal.is_none() {
            passage.refusal = walk.drops.or(passage.refusal);
            passage.certain |= certain;
        }
    }
    passage
}

struct Walk<'a, 'b> {
    chains: &'a [Chain],
    base: &'a Chain,
    hook: Hook,
    packet: &'b Packet,
    /// Some way ends in acceptance.
    accepts: bool,
    /// The first way that ends in refusal.
    drops: Option<Ruling<'a>>,
    /// What surely changes the destination.
    redirect: Option<Ruling<'a>>,
}

impl<'a> Walk<'a, '_> {
    /// Whether some way leads out of the end of this chain. `sure` says that the packet surely comes here.
    fn follow(&mut self, chain: &'a Chain, depth: usize, sure: bool) -> bool {
        let mut returns = false;
        for rule in &chain.rules {
            let Some(matches) = self.matches(rule) else {
                continue;
            };
            let sure = sure && matches && !returns;
            let ends = match &rule.action {
                Action::Pass => false,
                Action::Accept => {
                    self.accepts = true;
                    true
                }
                Action::Drop => {
                    self.drops.get_or_insert(Ruling { base: self.base, chain, rule: Some(rule) });
                    true
                }
                Action::Redirect => {
                    if sure {
                        self.redirect.get_or_insert(Ruling { base: self.base, chain, rule: Some(rule) });
                    }
                    self.accepts = true;
                    true
                }
                Action::Return => {
                    returns = true;
                    true
                }
                Action::Jump(name) => !self.enter(name, depth, sure),
                Action::Goto(name) => {
                    returns |= self.enter(name, depth, sure);
                    true
                }
            };
            if ends && matches {
                return returns;
            }
        }
        true
    }

    /// A chain that is not there, or stands deeper than the kernel goes, decides nothing.
    fn enter(&mut self, name: &str, depth: usize, sure: bool) -> bool {
        let same =
            |chain: &&Chain| chain.family == self.base.family && chain.table == self.base.table && chain.name == name;
        match self.chains.iter().find(same) {
            Some(chain) if depth < DEEPEST => self.follow(chain, depth + 1, sure),
            _ => true,
        }
    }

    /// `Some(true)`: surely, `Some(false)`: perhaps, `None`: surely not.
    fn matches(&self, rule: &Rule) -> Option<bool> {
        let mut sure = true;
        for condition in &rule.conditions {
            match self.holds(condition) {
                Some(true) => {}
                Some(false) => return None,
                None => sure = false,
            }
        }
        Some(sure)
    }

    /// `None` where only the kernel can tell.
    fn holds(&self, condition: &Condition) -> Option<bool> {
        let packet = self.packet;
        let name = |names: &[String], link: Option<&str>| {
            let link = link?;
            Some(names.iter().any(|name| name.strip_suffix('*').map_or(*name == link, |begin| link.starts_with(begin))))
        };
        let port =
            |ranges: &[(u16, u16)], port: u16| ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
        let plain = match &condition.what {
            What::Input(names) => {
                name(names, if self.hook == Hook::Output { Some("") } else { packet.input.as_deref() })?
            }
            // Before the route is known there is no outgoing interface, and the comparison fails.
            What::Output(names) => match self.hook {
                Hook::Prerouting | Hook::Input => return Some(false),
                _ => name(names, packet.output.as_deref())?,
            },
            What::Source(nets) => nets.iter().any(|net| net.contains(&packet.source)),
            What::Destination(nets) => match self.hook {
                Hook::Prerouting if packet.local && packet.destination.is_unspecified() => return None,
                _ => nets.iter().any(|net| net.contains(&packet.destination)),
            },
            What::Protocol(numbers) => numbers.contains(&packet.protocol),
            What::Port(ranges) => port(ranges, packet.port),
            What::SourcePort(ranges) => port(ranges, packet.source_port),
            What::State(words) => words.iter().any(|word| word == packet.state()),
            What::LocalDestination => packet.local,
            What::Ipv6 => return Some(condition.not),
            What::Opaque => return None,
        };
        Some(plain != condition.not)
    }
}
