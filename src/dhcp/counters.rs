//! What came in, what went out, and why the rest was dropped.

use super::code::MessageType;

macro_rules! reasons {
    ($($(#[doc = $doc:expr])+ $variant:ident = $name:expr,)+) => {
        /// Why a message got no answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Dropped { $($(#[doc = $doc])+ $variant,)+ }

        impl Dropped {
            /// All reasons.
            pub const ALL: &'static [Dropped] = &[$(Dropped::$variant),+];

            /// A short name, for counters and scenarios.
            pub fn name(self) -> &'static str {
                match self { $(Dropped::$variant => $name),+ }
            }
        }
    };
}

reasons! {
    /// Under 240 octets.
    TooShort = "too-short",
    /// Longer than a client may send.
    TooLong = "too-long",
    /// `op` is not BOOTREQUEST.
    NotARequest = "not-a-request",
    /// No magic cookie.
    NoMagicCookie = "no-magic-cookie",
    /// `htype`, `hlen` or `chaddr` name no device.
    HardwareAddress = "hardware-address",
    /// BOOTP: no message type. BOOTP clients are not served.
    Bootp = "bootp",
    /// A message type that is none of RFC 2131's.
    UnknownType = "unknown-type",
    /// A server's message sent to a server.
    ServerMessage = "server-message",
    /// The network is not served.
    NotServed = "not-served",
    /// A relay agent that is none: `giaddr` is outside the network the message came from, is our own, or is not its sender.
    Relay = "relay",
    /// The client took the offer of another server.
    OtherServer = "other-server",
    /// The network serves known hosts only.
    UnknownClient = "unknown-client",
    /// No address is free.
    PoolExhausted = "pool-exhausted",
    /// The pool is nearly used up, and too many new clients ask.
    NewClientLimit = "new-client-limit",
    /// Another card of the same host holds the reserved address; it is being asked whether it still uses it.
    ReservationContested = "reservation-contested",
    /// A REQUEST that names no address, or one in two places that differ.
    NoAddress = "no-address",
    /// A DECLINE or RELEASE of an address the sender does not hold.
    NotTheHolder = "not-the-holder",
    /// An INFORM from outside the network.
    WrongNetwork = "wrong-network",
    /// The store cannot be written, and the client is new.
    NotDurable = "not-durable",
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    received: [u64; 8],
    sent: [u64; 8],
    dropped: [u64; Dropped::ALL.len()],
}

impl Counters {
    pub(super) fn count_received(&mut self, kind: MessageType) {
        self.received[kind as usize] += 1;
    }

    pub(super) fn count_sent(&mut self, kind: MessageType) {
        self.sent[kind as usize] += 1;
    }

    pub(super) fn count_dropped(&mut self, reason: Dropped) {
        self.dropped[reason as usize] += 1;
    }

    /// How many messages of a type came in.
    pub fn received(&self, kind: MessageType) -> u64 {
        self.received[kind as usize]
    }

    /// How many messages of a type went out.
    pub fn sent(&self, kind: MessageType) -> u64 {
        self.sent[kind as usize]
    }

    /// How many messages got no answer for a reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }
}
