//! What `labgate doctor` looks at: the machine as plain values, one small reader for each kind. Judged by `desired::doctor`.

mod chains;
mod dhcp_servers;
mod iptables;
mod sockets;
mod upstreams;

pub use chains::read as chains;
pub use dhcp_servers::{ask as dhcp_servers, first as first_dhcp_server};
pub use sockets::holders;
pub use upstreams::ask as upstreams;
