//! Chains of the packet filter, read so far as a walk needs them.

use std::fmt;

use ipnet::Ipv4Net;

use crate::firewall::TABLE;

/// Where a base chain stands in a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before the route is known.
    Prerouting,
    /// To this machine.
    Input,
    /// Through this machine.
    Forward,
    /// From this machine.
    Output,
    /// Behind the routing decision.
    Postrouting,
}

impl Hook {
    /// The hook of nft's name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "prerouting" => Hook::Prerouting,
            "input" => Hook::Input,
            "forward" => Hook::Forward,
            "output" => Hook::Output,
            "postrouting" => Hook::Postrouting,
            _ => return None,
        })
    }
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Where it stands.
    pub hook: Hook,
    /// Whether it translates and does not filter.
    pub nat: bool,
    /// Lower ones come first.
    pub priority: i32,
    /// Whether it refuses what none of its rules decides.
    pub drops: bool,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `ip`, `inet`; `legacy` for a table of the old iptables, which `nft` does not see.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where packets come into it by themselves.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// Whether it belongs to labgate's own table.
    pub fn is_ours(&self) -> bool {
        self.family == "inet" && self.table == TABLE
    }
}

/// A rule: all conditions hold → the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a packet has to be.
    pub conditions: Vec<Condition>,
    /// What then happens.
    pub action: Action,
    /// The rule for a reader, as its tool writes it.
    pub text: String,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is compared.
    pub what: What,
    /// Whether it must differ.
    pub not: bool,
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The interface it comes from; a name that ends in `*` stands for all that begin so.
    Input(Vec<String>),
    /// The interface it goes to.
    Output(Vec<String>),
    /// Its source.
    Source(Vec<Ipv4Net>),
    /// Its destination.
    Destination(Vec<Ipv4Net>),
    /// Its protocol, by number.
    Protocol(Vec<u8>),
    /// Its destination port, ranges.
    Port(Vec<(u16, u16)>),
    /// Its source port, ranges.
    SourcePort(Vec<(u16, u16)>),
    /// Its connection's state, in nft's words.
    State(Vec<String>),
    /// That its destination is this machine.
    LocalDestination,
    /// That it is IPv6: no witness is.
    Ipv6,
    /// What only the kernel can judge.
    Opaque,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ends this base chain, the packet goes on.
    Accept,
    /// Ends the packet, silently or with a word to its sender.
    Drop,
    /// Ends this chain.
    Return,
    /// Goes through another chain and comes back.
    Jump(String),
    /// Goes through another chain and does not come back.
    Goto(String),
    /// Changes the destination.
    Redirect,
    /// Nothing that matters here: counts, logs, marks, changes the source.
    Pass,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}, chain {}", self.family, self.table, self.name)?;
        match self.base {
            Some(base) => write!(f, " (priority {})", base.priority),
            None => Ok(()),
        }
    }
}
