//! Floor 5: who owns what, and who runs when.

pub mod network;
pub mod pictures;
pub mod uplink;
#[cfg(any())]
pub mod control;
#[cfg(any())]
mod last_good;
#[cfg(any())]
pub mod logging;
#[cfg(any())]
mod reconcile;
#[cfg(any())]
pub mod reload;
#[cfg(any())]
mod run;
#[cfg(any())]
pub mod views;

pub use pictures::{Paths, Pictures};
