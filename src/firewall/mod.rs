//! Floor 2: the policy of the firewall, and the one nftables table that carries it out.
//!
//! ```text
//! Config ─► Policy (networks, hosts, rules, forwards, each with its place in the file)
//!             ├─► ruleset   → Ruleset → text for `nft -f -`   (chains and sets: from the configuration alone)
//!             ├─► following sets + HostAddresses → SetElements  (members that follow leases)
//!             └─► explain   (one packet) → the phases, the verdict, the deciding line
//! ```
//!
//! Input is a [`crate::config::Config`], output are plain values; nothing here runs nft. What the policy means stands in
//! [`Policy`]; what a packet costs is decided by `permissions`: rules become set elements, never rules.

mod services;
mod hosts;
mod policy;
mod tally;
mod ruleset;
mod disjoint;
mod permissions;
mod nat;
mod tell;
mod compile;
mod forward;
mod wire;
mod text;
mod replacement;
mod closed;
mod describe;
mod usage;
mod usage_hints;
mod packet;
mod evaluate;
pub mod reach;
mod expect;
mod lint;
mod review;
mod query;
mod explain;
mod explain_words;
mod explain_text;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod usage_tests;

pub use closed::closed_ruleset;
pub use describe::{describe_forward, describe_implied, describe_rule};
pub use explain::{Explanation, Phase, explain, refusal};
pub use hosts::HostAddresses;
pub use packet::{Content, Decision, Fate, Packet, Side, State, Surroundings, Trace};
pub use policy::{End, EndName, Forward, Host, Network, Origin, Policy, Rule, Uplink, Verdict};
pub use query::{Party, Query, QueryError};
pub use replacement::{Replacement, Table};
pub use review::review;
pub use ruleset::{
    CUT, CUT_IPV6, Chain, Counter, Counters, Data, DataType, Element, ElementChange, Field, FieldType, Key, LOG_GROUP,
    Passing, Ruleset, Set, SetElements, TABLE,
};
pub use services::{ALL_PORTS, Piece, PortSet, Protocol, Services};
pub use tally::{Owner, Tally};
pub use usage::{Reading, Standing, Usage};
pub use usage_hints::Used;

pub(crate) use disjoint::disjoint;
pub(crate) use ruleset::Members;
pub(crate) use text::plain_comment;
pub(crate) use wire::{connection, connection_end, data as wire_data, lower as wire_lower, upper as wire_upper};
