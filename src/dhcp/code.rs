//! Numbers of the protocol: option codes (RFC 2132 and later) and message types.

/// Subnet mask.
pub const SUBNET_MASK: u8 = 1;
/// Routers.
pub const ROUTER: u8 = 3;
/// Domain name servers.
pub const DNS_SERVER: u8 = 6;
/// Host name.
pub const HOST_NAME: u8 = 12;
/// Domain name.
pub const DOMAIN_NAME: u8 = 15;
/// Interface MTU.
pub const INTERFACE_MTU: u8 = 26;
/// Broadcast address.
pub const BROADCAST: u8 = 28;
/// Requested IP address.
pub const REQUESTED_ADDRESS: u8 = 50;
/// IP address lease time.
pub const LEASE_TIME: u8 = 51;
/// Option overload.
pub const OVERLOAD: u8 = 52;
/// DHCP message type.
pub const MESSAGE_TYPE: u8 = 53;
/// Server identifier.
pub const SERVER_IDENTIFIER: u8 = 54;
/// Parameter request list.
pub const PARAMETER_REQUEST_LIST: u8 = 55;
/// Message.
pub const MESSAGE: u8 = 56;
/// Maximum DHCP message size.
pub const MAXIMUM_SIZE: u8 = 57;
/// Renewal time T1.
pub const RENEWAL_TIME: u8 = 58;
/// Rebinding time T2.
pub const REBINDING_TIME: u8 = 59;
/// Client identifier.
pub const CLIENT_IDENTIFIER: u8 = 61;
/// TFTP server name.
pub const TFTP_SERVER_NAME: u8 = 66;
/// Boot file name.
pub const BOOT_FILE: u8 = 67;
/// Client FQDN (RFC 4702).
pub const CLIENT_FQDN: u8 = 81;
/// Relay agent information (RFC 3046).
pub const RELAY_AGENT_INFORMATION: u8 = 82;
/// IPv6-only preferred (RFC 8925): sent only to those who ask.
pub const IPV6_ONLY_PREFERRED: u8 = 108;
/// Domain search (RFC 3397).
pub const DOMAIN_SEARCH: u8 = 119;

/// What a DHCP message is for (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageType {
    /// A client looks for servers.
    Discover,
    /// A server offers an address.
    Offer,
    /// A client takes an offer, verifies or extends its lease.
    Request,
    /// A client found the address in use.
    Decline,
    /// A server grants.
    Ack,
    /// A server refuses: the client starts over.
    Nak,
    /// A client gives its address back.
    Release,
    /// A client with an address of its own asks for parameters.
    Inform,
}

impl MessageType {
    /// The type with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        use MessageType::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
        [Discover, Offer, Request, Decline, Ack, Nak, Release, Inform].get(usize::from(code).wrapping_sub(1)).copied()
    }

    /// Its number.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }

    /// The RFC's name.
    pub fn name(self) -> &'static str {
        match self {
            MessageType::Discover => "DHCPDISCOVER",
            MessageType::Offer => "DHCPOFFER",
            MessageType::Request => "DHCPREQUEST",
            MessageType::Decline => "DHCPDECLINE",
            MessageType::Ack => "DHCPACK",
            MessageType::Nak => "DHCPNAK",
            MessageType::Release => "DHCPRELEASE",
            MessageType::Inform => "DHCPINFORM",
        }
    }
}
