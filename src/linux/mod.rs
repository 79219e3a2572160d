//! Floor 4: effects. Sockets, netlink, nft, files, the clock, systemd. No decisions.

pub mod clock;
pub mod config_files;
pub mod links;
pub mod neighbours;
pub mod netlink;
pub mod network;
pub mod network_record;
pub mod nft_events;
pub mod resolv_conf;
pub mod sysctl;
pub mod uplink_lease;
pub mod uplink_socket;
pub mod vendors;
pub mod watch;
