//! Floor 5: who owns what, and who runs when.

pub mod pictures;
pub mod dns;
pub mod forwarder;
