//! Wakes when anybody changes nftables.

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_NETFILTER};

/// Multicast group of nftables changes (`NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h).
const GROUP: u32 = 7;

/// A subscription to nftables changes of this network namespace.
pub struct Events(TokioSocket);

impl Events {
    /// Subscribes.
    ///
    /// # Errors
    /// What the kernel says of the socket.
    pub fn open() -> anyhow::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_mut().add_membership(GROUP)?;
        Ok(Events(socket))
    }

    /// Waits for a change. Which one it was does not matter: the caller looks at the kernel. An overrun counts as a change.
    /// Dropping the future loses nothing but the wake.
    pub async fn next(&mut self) {
        let mut buffer = bytes::BytesMut::with_capacity(16 * 1024);
        let _ = self.0.recv(&mut buffer).await;
    }
}
