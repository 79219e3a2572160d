//! DNS over TCP (RFC 7766): pipelined questions, answers as they come, idle connections closed, and always room for a new client.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Handled};
use super::udp::Scope;
use crate::daemon::forwarder::{Forwarder, Reply, Waiter};
use crate::dns::Asker;
use crate::linux::clock;

/// Connections, together and from one address. A new one beyond that closes the one that was idle longest, of the same client if it has
/// its fill.
const MOST: usize = 600;
const MOST_PER_CLIENT: usize = 100;
/// How long a connection may be idle, and how long its client may take to accept an answer.
const IDLE: Duration = Duration::from_secs(8);
const WRITE: Duration = Duration::from_secs(5);
/// Questions of one connection that wait for upstreams.
const MOST_WAITING: usize = 64;
const LARGEST: usize = 65_535;

/// The connections that are open.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, Connection>,
}

struct Connection {
    client: Ipv4Addr,
    active: Instant,
    close: CancellationToken,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room and takes a new connection in.
    fn enter(self: &Arc<Self>, client: Ipv4Addr, close: CancellationToken) -> Entered {
        let mut open = self.lock();
        let of_client = open.by_number.values().filter(|other| other.client == client).count();
        if of_client >= MOST_PER_CLIENT || open.by_number.len() >= MOST {
            let candidates =
                open.by_number.iter().filter(|(_, other)| of_client < MOST_PER_CLIENT || other.client == client);
            let oldest = candidates.min_by_key(|(_, other)| other.active).map(|(&number, _)| number);
            if let Some(connection) = oldest.and_then(|number| open.by_number.remove(&number)) {
                connection.close.cancel();
            }
        }
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, Connection { client, active: Instant::now(), close });
        Entered { connections: self.clone(), number }
    }
}

/// A connection's place in the table; gives it back when dropped.
struct Entered {
    connections: Arc<Connections>,
    number: u64,
}

impl Entered {
    fn is_active(&self) {
        if let Some(connection) = self.connections.lock().by_number.get_mut(&self.number) {
            connection.active = Instant::now();
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
    }
}

/// What a listener's connections share.
pub(super) struct Server {
    pub engine: Arc<Engine>,
    pub forwarder: Arc<Forwarder>,
    pub connections: Arc<Connections>,
    pub scope: Arc<ArcSwap<Scope>>,
}

impl Server {
    /// Accepts connections until `token` ends.
    pub(super) async fn accept(self, listener: TcpListener, token: CancellationToken) {
        let server = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = token.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, SocketAddr::V4(peer))) = accepted else {
                // No descriptor is left: connections that end give theirs back.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            if !server.scope.load().subnet.contains(peer.ip()) {
                continue;
            }
            let close = token.child_token();
            let entered = server.connections.enter(*peer.ip(), close.clone());
            let server = server.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = close.cancelled() => {}
                    _ = server.serve(stream, *peer.ip(), &entered) => {}
                }
            });
        }
    }

    async fn serve(&self, mut stream: TcpStream, client: Ipv4Addr, entered: &Entered) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (sender, mut late) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
        let (mut waiting, mut ended) = (0, false);
        let (mut input, mut output) = (Vec::with_capacity(512), Vec::new());
        let mut idle = Instant::now() + IDLE;
        loop {
            tokio::select! {
                Some(answer) = late.recv() => {
                    waiting -= 1;
                    frame(&answer, &mut output);
                    while let Ok(answer) = late.try_recv() {
                        waiting -= 1;
                        frame(&answer, &mut output);
                    }
                }
                // A client with its fill of open questions is read again when some are answered.
                read = stream.read_buf(&mut input), if waiting < MOST_WAITING && !ended => ended = read? == 0,
                () = sleep_until(idle) => return Ok(()),
            }
            let asked = self.take_all(&mut input, client, &sender, &mut waiting, &mut output);
            if !output.is_empty() {
                timeout(WRITE, stream.write_all(&output)).await??;
                output.clear();
            }
            if ended && waiting == 0 {
                return Ok(());
            }
            // A byte now and then is no activity; whole questions are.
            if asked {
                idle = Instant::now() + IDLE;
                entered.is_active();
            }
        }
    }

    /// Answers every whole message in `input`; whether there was one.
    fn take_all(
        &self,
        input: &mut Vec<u8>,
        client: Ipv4Addr,
        sender: &mpsc::Sender<Vec<u8>>,
        waiting: &mut usize,
        output: &mut Vec<u8>,
    ) -> bool {
        let names = self.engine.pictures.names.load();
        let settings = self.engine.settings.load();
        let scope = **self.scope.load();
        let now = clock::now().instant;
        let mut out = Vec::with_capacity(512);
        let mut position = 0;
        while *waiting < MOST_WAITING {
            let Some(&[high, low]) = input.get(position..position + 2) else { break };
            let start = position + 2;
            let Some(message) = input.get(start..start + usize::from(u16::from_be_bytes([high, low]))) else { break };
            position = start + message.len();
            out.clear();
            let place = (&**names, &**settings, now);
            match self.engine.handle(message, scope.network, Some(LARGEST), place, &mut out) {
                Handled::Done => frame(&out, output),
                Handled::Miss(ask) => {
                    *waiting += 1;
                    let asker = Asker { network: Some(scope.network), limit: LARGEST };
                    let reply = Reply::Tcp(sender.clone());
                    self.forwarder.ask(ask, Waiter { message: message.into(), asker, client, reply }, settings.clone());
                }
            }
        }
        input.drain(..position);
        position > 0
    }
}

fn frame(answer: &[u8], output: &mut Vec<u8>) {
    if !answer.is_empty() {
        output.extend_from_slice(&(answer.len() as u16).to_be_bytes());
        output.extend_from_slice(answer);
    }
}
