//! What a client holds: the binding of RFC 2131, and the picture of all of them.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::{MacAddr, SharedMap, UnixSeconds};

/// What names a DHCP client (RFC 2131 §4.2): the client identifier (option 61) where it sends one, else hardware type and address.
/// The first octet tells: 0 and the identifier's octets, or 1 and the hardware type and address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(Arc<[u8]>);

impl ClientKey {
    /// The key of a client that sends a client identifier.
    pub fn from_identifier(identifier: &[u8]) -> Self {
        ClientKey([&[0], identifier].concat().into())
    }

    /// The key of a client that does not.
    pub fn from_hardware(hardware_type: u8, address: &[u8]) -> Self {
        ClientKey([&[1, hardware_type], address].concat().into())
    }

    /// The octets as they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as it was stored.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        ClientKey(bytes.into())
    }

    /// The client identifier, where the client sends one.
    pub fn identifier(&self) -> Option<&[u8]> {
        (self.0.first() == Some(&0)).then(|| &self.0[1..])
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// An acknowledged lease: client ↔ address, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The address that is leased.
    pub address: Ipv4Addr,
    /// Who holds it.
    pub client: ClientKey,
    /// `chaddr` of the last message; `None` for hardware that is not Ethernet.
    pub mac: Option<MacAddr>,
    /// Name of the network (`network.NAME`) the lease belongs to.
    pub network: Arc<str>,
    /// The host name the client sent (options 12 and 81), cleaned to one lower-case LDH label, whether or not it may be published.
    pub host_name: Option<Arc<str>>,
    /// When the lease ends, on the clock of the engine ([`super::Now::instant`]); `None` for a lease without end.
    pub expires: Option<Duration>,
    /// The same on the wall clock, for what is stored and shown. `None` for a lease without end.
    pub expires_unix: Option<UnixSeconds>,
    /// When it was last acknowledged, on the wall clock.
    pub acknowledged_unix: UnixSeconds,
}

/// The picture of all live leases, by address. One writer: the DHCP task.
pub type Bindings = SharedMap<Ipv4Addr, Arc<Binding>>;
