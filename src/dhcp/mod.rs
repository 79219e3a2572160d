//! Floor dhcp.
