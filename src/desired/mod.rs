//! Floor 3: config + bindings + hosts → names, ruleset, set elements, and what the network should look like.

pub mod network;
mod hosts;
mod ruleset;
mod elements;
pub mod names;
pub mod revision;
mod lock_out;

pub use elements::{elements, elements_after};
pub use hosts::{host_addresses, hosts_moved};
pub use lock_out::{LockOut, lock_out};
pub use ruleset::ruleset;
