//! Floor 3: config + bindings + hosts → names, ruleset, set elements, and what the network should look like.

pub mod network;
mod hosts;
mod ruleset;
mod elements;
mod surroundings;
mod devices;
pub mod flows;
pub mod refusals;
pub mod names;

pub use devices::Devices;
pub use elements::{elements, elements_after};
pub use hosts::{host_addresses, hosts_moved};
pub use ruleset::ruleset;
pub use surroundings::surroundings;
