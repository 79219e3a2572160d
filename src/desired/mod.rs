//! Floor 3: config + bindings + hosts → names, ruleset, set elements, and what the network should look like.

pub mod network;
mod hosts;
mod ruleset;
mod elements;
mod hosts;
pub mod names;
pub mod network;
mod ruleset;

pub use elements::{elements, elements_after};
pub use hosts::host_addresses;
pub use ruleset::ruleset;
