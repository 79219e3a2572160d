//! Floor firewall.
