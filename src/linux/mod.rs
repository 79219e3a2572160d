//! Floor 4: effects. Sockets, netlink, nft, files, the clock, systemd. No decisions.

pub mod arp;
pub mod clock;
pub mod dhcp_socket;
pub mod lease_store;
pub mod config_files;
pub mod conntrack;
pub mod neighbours;
pub mod netlink;
pub mod network;
pub mod network_record;
pub mod nfnetlink;
pub mod nflog;
pub mod nft;
pub mod nft_elements;
pub mod nft_events;
pub mod nft_netlink;
pub mod resolv_conf;
pub mod resolved_names;
pub mod sysctl;
pub mod uplink_lease;
pub mod uplink_socket;
pub mod vendors;
pub mod watch;
pub mod dns_socket;
pub mod hosts_files;
