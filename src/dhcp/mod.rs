//! Floor 2: the DHCPv4 server engine, and the client engine of the uplink.

pub mod client;
