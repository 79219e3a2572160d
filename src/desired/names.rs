//! Config + hosts files + bindings → [`crate::dns::LocalNames`]: what is answered here.
//!
//! A configured host always goes by its configured name, at home or not. Any other client may have the name it sends, where that is a host
//! label and nobody else's: not the file's, not a hosts file's, not one that software asks for by itself ([`RESERVED`]). Of two clients with
//! one name the first keeps it until its lease ends; then it passes to the one that waited longest.

mod fixed;
mod publish;

pub use fixed::fixed;
pub use publish::{NameEvent, Refused, publish, publish_changes, rebuild};

/// Labels that no client may have: software asks for them and trusts who answers, or they mean something else everywhere.
pub const RESERVED: [&str; 5] = ["wpad", "localhost", "isatap", "local", "broadcasthost"];

#[cfg(test)]
mod tests;
