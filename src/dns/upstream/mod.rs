//! The pure half of forwarding: what is sent, which server is asked, what of an answer is believed, and what of it is passed on.

mod request;
mod scrub;
mod select;

pub use request::{Believed, Request};
pub use scrub::{Rebind, Scrubbed, is_private, scrub};
pub use select::{Plan, Servers};
