//! Floor 3: config + bindings + hosts → names, ruleset, set elements, and what the network should look like.

pub mod doctor;
pub mod network;
pub mod plan;
mod lock_out;
mod hosts;
mod ruleset;
mod elements;
mod surroundings;
mod devices;
pub mod flows;
pub mod refusals;
mod check;
pub mod names;
pub mod revision;

pub use check::check;
pub use devices::Devices;
pub use elements::{elements, elements_after};
pub use hosts::{host_addresses, hosts_moved, names_moved};
pub use lock_out::{LockOut, lock_out};
pub use ruleset::ruleset;
pub use surroundings::surroundings;
