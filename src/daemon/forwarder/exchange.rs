//! One question and its upstreams: attempts over UDP, TCP where the answer does not fit, the next server where one is slow or fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::Group;
use crate::config::{Transport, Upstream};
use crate::dns::Entry;
use crate::dns::cache::FAILURE;
use crate::dns::upstream::{Believed, Plan, Rebind, Request, Scrubbed, scrub};
use crate::dns::wire::{ExtendedError, Key, rcode};
use crate::linux::{clock, dns_socket};

/// Attempts per question.
const MOST_ATTEMPTS: usize = 5;
/// The time for a question when every server has failed lately: it only finds out whether one is back.
const HOPELESS: Duration = Duration::from_millis(1200);
/// How long the true answer may follow one whose letters have another case, before the question goes over TCP.
const CASE_PATIENCE: Duration = Duration::from_millis(200);
/// That many wrong datagrams are an attack: the question goes over TCP.
const MOST_WRONG: usize = 64;
/// The largest datagram that is read; servers were told less.
const DATAGRAM: usize = 4096;
const TCP_CONNECT: Duration = Duration::from_millis(1500);

/// How an attempt ended.
enum Ended {
    Good(Entry),
    /// The server said that it cannot.
    Refused(u16),
    /// No other server will say better.
    AliasChain,
    /// It could not be asked.
    Unreachable,
}

/// An answer that says only that there is none.
pub(super) fn failure(key: &Key, error: ExtendedError) -> Entry {
    Entry::failure(key, rcode::SERVFAIL, FAILURE, error)
}

/// Asks the servers of `group` until one answers, or `budget` is over.
pub(super) async fn resolve(group: &Arc<Group>, key: &Key, rebind: Rebind<'_>, budget: Duration) -> Entry {
    let started = Instant::now();
    let (Plan { order, probe }, hopeless) =
        group.with(|servers| (servers.plan(clock::now().instant), servers.all_fail()));
    let (budget, most) = if hopeless { (budget.min(HOPELESS), order.len()) } else { (budget, MOST_ATTEMPTS) };
    let most = most.min(MOST_ATTEMPTS);
    let Some(&first) = order.first() else { return failure(key, ExtendedError::NO_UPSTREAM) };
    let mut attempts = FuturesUnordered::new();
    attempts.push(attempt(group, first, key, rebind));
    if let Some(probe) = probe {
        attempts.push(attempt(group, probe, key, rebind));
    }
    let (mut sent, mut latest) = (1, first);
    let hedge = sleep(group.with(|servers| servers.wait(first)));
    tokio::pin!(hedge);
    let end = sleep_until(started + budget);
    tokio::pin!(end);
    let mut refused = false;
    loop {
        tokio::select! {
            Some((index, ended, round_trip)) = attempts.next() => match ended {
                Ended::Good(entry) => {
                    group.with(|servers| servers.answered(index, round_trip));
                    return entry;
                }
                Ended::AliasChain => return failure(key, ExtendedError::ALIAS_CHAIN),
                Ended::Refused(_) | Ended::Unreachable => {
                    refused |= matches!(ended, Ended::Refused(_));
                    group.with(|servers| servers.failed(index, clock::now().instant));
                }
            },
            () = &mut hedge, if sent < most => {
                group.with(|servers| servers.failed(latest, clock::now().instant));
            }
            () = &mut end => return failure(key, ExtendedError::NO_REACHABLE_AUTHORITY),
        }
        // A server that said no is not asked again; one that was silent is.
        let again = if refused { order.len() } else { most };
        if sent < again.min(most) {
            latest = order[sent % order.len()];
            attempts.push(attempt(group, latest, key, rebind));
            sent += 1;
            hedge.as_mut().reset(Instant::now() + group.with(|servers| servers.wait(latest)));
        } else if attempts.is_empty() {
            return failure(key, ExtendedError::NETWORK_ERROR);
        } else {
            hedge.as_mut().reset(started + 2 * budget);
        }
    }
}

async fn attempt(group: &Arc<Group>, index: usize, key: &Key, rebind: Rebind<'_>) -> (usize, Ended, Duration) {
    let started = Instant::now();
    let Some((upstream, mixed)) = group.with(|servers| Some((servers.get(index)?.clone(), servers.keeps_case(index))))
    else {
        return (index, Ended::Unreachable, Duration::ZERO);
    };
    let ended = match upstream.transport {
        Transport::Tcp => over_tcp(&upstream, key, rebind).await,
        Transport::Udp => match over_udp(group, index, &upstream, key, mixed, rebind).await {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => over_tcp(&upstream, key, rebind).await,
            Err(error) => Err(error),
        },
    };
    (index, ended.unwrap_or(Ended::Unreachable), started.elapsed())
}

/// What a forger has to guess, fresh for each attempt.
struct Secrets {
    id: u16,
    port: u16,
    case: [u8; 32],
}

fn secrets(mixed: bool) -> io::Result<Secrets> {
    let mut bytes = [0; 36];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let [a, b, c, d, case @ ..] = bytes;
    // The ports below 10,000 are left to services that may want one later.
    let port = 10_000 + u16::from_be_bytes([c, d]) % (u16::MAX - 10_000);
    Ok(Secrets { id: u16::from_be_bytes([a, b]), port, case: if mixed { case } else { [0; 32] } })
}

/// `None`: ask over TCP.
async fn over_udp(
    group: &Arc<Group>,
    index: usize,
    upstream: &Upstream,
    key: &Key,
    mixed: bool,
    rebind: Rebind<'_>,
) -> io::Result<Option<Ended>> {
    let mut edns = true;
    loop {
        let Secrets { id, port, case } = secrets(mixed)?;
        let mut request = Request::new(key, id, &case);
        if !edns {
            request = request.without_edns();
        }
        let socket = dns_socket::upstream(upstream.server, port)?;
        // Sent before the socket is registered: one event less for the loop.
        socket.send(request.as_bytes())?;
        let socket = UdpSocket::from_std(socket)?;
        match listen(group, index, &socket, &request, key, rebind).await? {
            Some(Ended::Refused(rcode::FORMERR | rcode::NOTIMP)) if edns => edns = false,
            ended => return Ok(ended),
        }
    }
}

async fn listen(
    group: &Arc<Group>,
    index: usize,
    socket: &UdpSocket,
    request: &Request,
    key: &Key,
    rebind: Rebind<'_>,
) -> io::Result<Option<Ended>> {
    let mut wrong = 0;
    let mut patience = None;
    loop {
        match patience {
            None => socket.readable().await?,
            Some(until) => match timeout_at(until, socket.readable()).await {
                Ok(ready) => ready?,
                Err(_) => return Ok(None),
            },
        }
        match take(socket, request, key, rebind)? {
            Taken::Nothing => {}
            Taken::Answer(Scrubbed::Good(entry)) => return Ok(Some(Ended::Good(entry))),
            Taken::Answer(Scrubbed::Truncated) => return Ok(None),
            Taken::Answer(Scrubbed::Failed { rcode }) => return Ok(Some(Ended::Refused(rcode))),
            Taken::Answer(Scrubbed::AliasChain) => return Ok(Some(Ended::AliasChain)),
            Taken::OtherCase => {
                if patience.is_none() {
                    group.with(|servers| servers.changed_case(index));
                    patience = Some(Instant::now() + CASE_PATIENCE);
                }
            }
            Taken::Answer(Scrubbed::Malformed) | Taken::Wrong => {
                wrong += 1;
                if wrong >= MOST_WRONG {
                    return Ok(None);
                }
            }
        }
    }
}

enum Taken {
    Nothing,
    Wrong,
    OtherCase,
    Answer(Scrubbed),
}

/// Takes one datagram, if there is one. Not `async`: the buffer stays on the stack instead of in every waiting task.
fn take(socket: &UdpSocket, request: &Request, key: &Key, rebind: Rebind<'_>) -> io::Result<Taken> {
    let mut buffer = [0; DATAGRAM];
    let length = match socket.try_recv(&mut buffer) {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Nothing),
        Err(error) => return Err(error),
    };
    let answer = &buffer[..length];
    Ok(match request.believes(answer) {
        Believed::Yes => Taken::Answer(scrub(key, answer, rebind)),
        Believed::OtherCase => Taken::OtherCase,
        Believed::No => Taken::Wrong,
    })
}

async fn over_tcp(upstream: &Upstream, key: &Key, rebind: Rebind<'_>) -> io::Result<Ended> {
    let Secrets { id, case, .. } = secrets(false)?;
    let request = Request::new(key, id, &case);
    let mut stream = timeout(TCP_CONNECT, TcpStream::connect(upstream.server)).await??;
    stream.set_nodelay(true)?;
    let length = (request.as_bytes().len() as u16).to_be_bytes();
    stream.write_all(&[&length[..], request.as_bytes()].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    // Nobody else can write into this connection, so the case of the letters proves nothing more.
    if request.believes(&answer) == Believed::No {
        return Err(io::Error::other("the answer is not for this question"));
    }
    Ok(match scrub(key, &answer, rebind) {
        Scrubbed::Good(entry) => Ended::Good(entry),
        Scrubbed::Failed { rcode } => Ended::Refused(rcode),
        Scrubbed::AliasChain => Ended::AliasChain,
        Scrubbed::Truncated | Scrubbed::Malformed => Ended::Unreachable,
    })
}
