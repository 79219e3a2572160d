//! `labgate doctor`: what was seen of the machine ([`Facts`]) → a chain of findings, in an order in which the first bad one is the likely
//! cause of the bad ones after it. What could not be looked at is a finding too, and hides no other one.
//!
//! | File | What |
//! |---|---|
//! | `facts` | what floor 4 reads |
//! | `machine` | file, daemon, clock, connection tracking, bridge filter |
//! | `links` | interfaces, addresses, routes, forwarding, packet sizes |
//! | `table` | our own table |
//! | `foreign` | the chains of others: would they refuse or translate what the file permits |
//! | `services` | who holds the ports, other DHCP servers, upstreams |

mod facts;
pub mod foreign;
mod links;
mod machine;
mod services;
mod table;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::config::Config;

pub use facts::{Daemon, Facts, Holder, Look, Offered, Process, Transport};
pub use machine::settings;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It hinders the gateway.
    Bad,
    /// It could not be looked at, or what was seen does not tell.
    Unknown,
}

/// One check of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Which check: stable, for scripts (`interface lan`, `port 53`).
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What to do about it; empty where nothing is to be done.
    pub fix: Vec<String>,
}

impl Finding {
    fn good(name: impl Into<String>, seen: impl Into<String>) -> Self {
        Finding { name: name.into(), verdict: Verdict::Good, evidence: vec![seen.into()], fix: Vec::new() }
    }

    fn bad(name: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding { name: name.into(), verdict: Verdict::Bad, evidence: vec![seen.into()], fix: vec![fix.into()] }
    }

    fn unknown(name: impl Into<String>, seen: impl Into<String>) -> Self {
        Finding { name: name.into(), verdict: Verdict::Unknown, evidence: vec![seen.into()], fix: Vec::new() }
    }

    /// Good where nothing bad was found, else bad with all of it.
    fn of(name: impl Into<String>, seen: impl Into<String>, bad: Vec<(String, String)>) -> Self {
        if bad.is_empty() {
            return Finding::good(name, seen);
        }
        let (evidence, mut fix): (Vec<String>, Vec<String>) = bad.into_iter().unzip();
        fix.dedup();
        Finding { name: name.into(), verdict: Verdict::Bad, evidence, fix }
    }

    fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

/// The whole chain. Where the file cannot be used, only what needs none is judged.
pub fn judge(config: Option<&Config>, facts: &Facts) -> Vec<Finding> {
    let mut chain = vec![machine::configuration(facts), machine::daemon(facts), machine::clock(facts)];
    if let Some(config) = config {
        chain.extend(links::interfaces(config, facts));
        chain.extend(links::default_route(config, facts));
        chain.push(links::forwarding(config, facts));
        chain.push(table::own_table(config, facts));
        chain.push(foreign::vetoes(config, facts));
        chain.push(foreign::translations(config, facts));
        chain.extend(machine::bridge_filter(config, facts));
        chain.extend(links::reverse_path(config, facts));
    }
    chain.extend(machine::connection_tracking(facts));
    if let Some(config) = config {
        chain.extend(services::ports(config, facts));
        chain.extend(services::other_servers(config, facts));
        chain.extend(links::packet_sizes(config, facts));
        chain.extend(services::upstreams(facts));
    }
    // What the daemon's parts say of themselves is mostly a consequence of what stands above.
    chain.extend(machine::health(facts));
    chain
}
