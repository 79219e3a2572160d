//! Asks a network who gives out addresses. Nothing is taken: a DISCOVER, and no REQUEST for what is offered.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::desired::doctor::Offered;
use crate::dhcp::client::{Offer, Probe};
use crate::linux::uplink_socket::UplinkSocket;

/// Between two questions: one may be lost.
const AGAIN: Duration = Duration::from_millis(400);

/// Every server that offers an address on an interface within `patience`. Our own does not hear the question: it leaves by the interface.
///
/// # Errors
/// What the kernel says of the sockets, mostly that the right is missing (`CAP_NET_RAW`).
pub async fn ask(interface: &str, patience: Duration) -> io::Result<Vec<Offered>> {
    converse(interface, patience, |_| false).await
}

/// The first server that offers an address on an interface within `patience`.
///
/// # Errors
/// As [`ask`].
pub async fn first(interface: &str, patience: Duration) -> io::Result<Option<Offered>> {
    Ok(converse(interface, patience, |_| true).await?.into_iter().next())
}

async fn converse(interface: &str, patience: Duration, enough: impl Fn(&Offered) -> bool) -> io::Result<Vec<Offered>> {
    let socket = UplinkSocket::open(interface)?;
    let mut id = [0; 4];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let probe = Probe::new(socket.mac(), u32::from_ne_bytes(id));
    let mut found: Vec<Offered> = Vec::new();
    let deadline = Instant::now() + patience;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {
                probe_send(&socket, &probe).await?;
                next += AGAIN;
            }
            received = timeout_at(deadline, socket.receive()) => {
                let Ok(received) = received else { return Ok(found) };
                if let Some(Offer { server, address }) = probe.offer(&received?) {
                    let offered = Offered { server, address };
                    if !found.iter().any(|known| known.server == server) {
                        found.push(offered.clone());
                    }
                    if enough(&offered) {
                        return Ok(found);
                    }
                }
            }
        }
    }
}

async fn probe_send(socket: &UplinkSocket, probe: &Probe) -> io::Result<()> {
    socket.send(probe.message(), std::net::Ipv4Addr::UNSPECIFIED, std::net::Ipv4Addr::BROADCAST).await
}
