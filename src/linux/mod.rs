//! Floor 4: effects. Sockets, netlink, nft, files, the clock, systemd. No decisions.

pub mod clock;
pub mod dns_socket;
pub mod hosts_files;
pub mod links;
