//! `labgate rules` and `labgate forwards` as documents: each rule and forward with what the book says of its use.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::firewall::{self, HostAddresses, Origin, Policy, Usage, Used};
use crate::model::{Now, UnixSeconds};

/// One row of `labgate rules` or `labgate forwards`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counted {
    /// `labgate.toml:36`.
    pub place: String,
    /// The rule or forward in words.
    pub what: String,
    /// Packets of new connections it decided, carried on over edits, restarts and reboots.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// When it decided one last, to half a minute; `None`: never since it is counted.
    pub last_hit_unix: Option<UnixSeconds>,
    /// Since when all of it is counted; `None` where earlier rules leave nothing to it.
    pub counted_since_unix: Option<UnixSeconds>,
    /// Parts of a rule that nothing used in the last 30 days, or since they are counted where that is shorter.
    pub unused: Vec<String>,
    /// Hints for the person, in sentences.
    pub hints: Vec<String>,
    /// Whether it holds with nothing written, as that every network may ask the DNS.
    pub implied: bool,
}

/// The written rules, permissions first; with `all` also those that hold with nothing written.
pub fn rules(config: &Config, policy: &Policy, usage: &Usage, all: bool, now: Now) -> Vec<Counted> {
    let mut used = usage.of_rules(policy, now);
    let written = policy.rules.iter().position(|rule| rule.origin == Origin::File).unwrap_or(policy.rules.len());
    let mut allowed = used.split_off(written);
    // The policy has denials first, as they count first.
    let denied: Vec<Used> = allowed.drain(..config.firewall.deny.len()).collect();
    let mut rows = Vec::new();
    for (verb, rules, used) in [("allow", &config.firewall.allow, allowed), ("deny", &config.firewall.deny, denied)] {
        for (rule, used) in rules.iter().zip(used) {
            let what = format!("{verb} {}", firewall::describe_rule(config, rule));
            rows.push(row(rule.place.to_string(), what, used, false));
        }
    }
    if all {
        let implied = policy.rules.iter().zip(used);
        rows.extend(
            implied
                .map(|(rule, used)| row(rule.place.to_string(), firewall::describe_implied(policy, rule), used, true)),
        );
    }
    rows
}

/// The port forwards.
pub fn forwards(config: &Config, policy: &Policy, addresses: &HostAddresses, usage: &Usage, now: Now) -> Vec<Counted> {
    let used = usage.of_forwards(policy, now);
    let rows = config.forwards.iter().zip(used);
    rows.map(|(forward, used)| {
        let what = firewall::describe_forward(config, addresses, forward);
        row(forward.place.to_string(), what, used, false)
    })
    .collect()
}

/// Packets and octets by the place in the file.
pub fn by_place(policy: &Policy, usage: &Usage, now: Now) -> HashMap<String, (u64, u64)> {
    let rules = policy.rules.iter().map(|rule| &rule.place).zip(usage.of_rules(policy, now));
    let forwards = policy.forwards.iter().map(|forward| &forward.place).zip(usage.of_forwards(policy, now));
    let mut sums: HashMap<String, (u64, u64)> = HashMap::new();
    for (place, used) in rules.chain(forwards) {
        let sum = sums.entry(place.to_string()).or_default();
        *sum = (sum.0 + used.total.packets, sum.1 + used.total.bytes);
    }
    sums
}

fn row(place: String, what: String, used: Used, implied: bool) -> Counted {
    Counted {
        place,
        what,
        packets: used.total.packets,
        bytes: used.total.bytes,
        last_hit_unix: used.last_hit_unix,
        counted_since_unix: used.counted_since_unix,
        unused: used.unused,
        hints: used.hints,
        implied,
    }
}
