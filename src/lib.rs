//! labgate: the brain of a home-lab router box.
//!
//! The modules below are in reading order, and imports go down the list only
//! (`tests/house.rs` holds that). Floors 0 to 3 are pure: no clock, no socket,
//! no file, no lock, no `async`.
//!
//! | Floor | Module | What it is |
//! |---|---|---|
//! | 0 | [`model`] | the words of the house: addresses, names, bindings, time |
//! | 1 | [`config`] | the text of the file → [`config::Config`], or every problem of it |
//! | 2 | [`dhcp`] | the DHCPv4 server engine and the uplink's client engine |
//! | 2 | [`dns`] | the DNS decision: wire format, cache, local names, order of answers |
//! | 2 | [`firewall`] | the policy model and its compile to one nftables table |
//! | 3 | [`desired`] | config + bindings + hosts → names, ruleset, set elements |
//! | 4 | [`linux`] | effects: sockets, netlink, nft, files, clock, systemd |
//! | 5 | [`daemon`] | who owns what and who runs when; the control socket |
//! | 6 | [`cli`] | the verbs, and the virtual lab |
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod model;
#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod config;
#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod dhcp;
#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod dns;
#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod firewall;
#[warn(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod desired;
pub mod linux;
pub mod daemon;
pub mod cli;
