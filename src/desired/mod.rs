//! Floor desired.

mod hosts;
mod ruleset;
mod elements;

pub use elements::{elements, elements_after};
pub use hosts::host_addresses;
pub use ruleset::ruleset;
