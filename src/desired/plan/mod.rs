//! What a change of the file means, in effects: networks, hosts, forwards, names, flows opened and closed, ways in for those who administer.

mod reachability;
mod tables;
mod text;
mod ways_in;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::firewall::{HostAddresses, Policy};
use crate::model::{Bindings, Now};

pub use ways_in::Session;

/// One side of a comparison: a configuration with what is known of the world around it.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its policy.
    pub policy: &'a Policy,
    /// Where its hosts are now.
    pub hosts: &'a HostAddresses,
    /// Addresses of the uplink.
    pub uplink: &'a [Ipv4Addr],
}

/// What a change does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The name of the file.
    pub file: String,
    /// When what runs was applied, on the wall clock; `None` where nothing runs.
    pub applied_unix: Option<u64>,
    /// The effects, in the order in which a person wants them.
    pub effects: Vec<Effect>,
    /// Running connections that would be cut.
    pub cut: Vec<String>,
    /// What of the ways in to the router stays or goes, each a sentence.
    pub ways_in: Vec<String>,
    /// Why the change would be refused without force: nobody could administer the router.
    pub lock_out: Option<String>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effect {
    /// What changes: `network db`, `host nas`, `reachability`.
    pub subject: String,
    /// Whether something comes, goes or becomes another.
    pub sign: Sign,
    /// What it becomes.
    pub words: String,
    /// What was, and what follows from it; may be empty.
    pub note: String,
}

/// Whether something comes, goes or becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// It comes.
    #[serde(rename = "+")]
    More,
    /// It goes.
    #[serde(rename = "-")]
    Less,
    /// It becomes another.
    #[serde(rename = "~")]
    Other,
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.cut.is_empty()
    }
}

/// Compares what runs with what would run. `bindings` are the live leases, `session` is whoever asks.
pub fn plan(old: &Standing<'_>, new: &Standing<'_>, bindings: &Bindings, session: Option<Session>, now: Now) -> Plan {
    let mut plan = Plan::default();
    if old.config == new.config {
        return plan;
    }
    plan.effects = tables::effects(old, new, bindings, now);
    plan.effects.extend(reachability::effects(old, new));
    (plan.ways_in, plan.lock_out) = ways_in::ways_in(old, new, session);
    plan
}
