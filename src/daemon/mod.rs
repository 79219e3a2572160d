//! Floor 5: who owns what, and who runs when.

pub mod network;
pub mod pictures;
