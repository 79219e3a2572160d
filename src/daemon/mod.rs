//! Floor 5: who owns what, and who runs when.

pub mod dhcp;
pub mod network;
pub mod pictures;
pub mod dns;
pub mod forwarder;
pub mod uplink;
pub mod control;
mod cut;
pub mod logging;

mod plan;
mod reconcile;
mod refusals;
mod usage;
pub mod change;
pub mod pending;
pub mod prepare;
pub mod standing;
pub mod revisions;
mod run;
mod start;
pub mod counted;
pub mod views;

pub use pictures::{Paths, Pictures};
pub use run::{is_running, run};
