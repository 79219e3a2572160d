//! Floor 2: the DNS decision. Pure: octets and snapshots come in, octets go out.
//!
//! - [`wire`]: the message format, without allocation on the way of a cached answer.
//! - [`LocalNames`]: what is answered here, a fixed part ([`FixedNames`], [`Hosts`]) and a part that follows the leases.
//! - [`Zones`]: which suffix decides about a name.
//! - [`answer()`]: the decision, one order with its reasons. It writes the answer, or says who has to be asked.
//! - [`Cache`]: answers of upstreams in wire form ([`Entry`]).
//! - [`outside`]: names of the outside that rules mention, and which addresses they have.
//! - [`upstream`]: which server is asked, what of its answer is believed, and what of it is passed on.

pub mod wire;
pub mod hosts;
mod names;
mod zones;
mod entry;
pub mod cache;
mod answer;
pub mod upstream;
pub mod outside;

#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, Ask, Asker, Reason, Route, answer};
pub use cache::Cache;
pub use entry::Entry;
pub use hosts::Hosts;
pub use names::{Claimed, Data, FixedNames, Follower, Local, LocalNames, Source};
pub use zones::{ForwardZone, Kind, Special, Zones};
