//! Many TCP connections at once, each with bytes under way all the time: who loses one, or is cut, is told.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};

const CHUNK: usize = 256;
/// How long a byte may take: longer than any pause of the gateway, so that it was lost or kept back.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to an echo port.
struct Held {
    label: String,
    stream: TcpStream,
    /// Tells the bytes of one connection from those of another.
    number: u64,
    moved: u64,
}

#[derive(Default)]
struct Hold {
    held: Vec<Held>,
    alive: BTreeMap<String, usize>,
    opened: u64,
    broken: usize,
}

/// Reads tasks from standard input, one a line, until it ends:
///
/// - `open LABEL SOURCE TARGET COUNT` opens connections, from any address where SOURCE is `-`, and says `opened LABEL COUNT`;
/// - `round` sends and hears bytes on each connection once more and says `round LABEL=ALIVE …; N broken`. A connection that was reset is
///   no longer alive; one with a wrong byte, or without an answer, is broken.
pub fn run() -> Result<()> {
    let (sender, tasks) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut hold = Hold::default();
    loop {
        // The loop turns as fast as bytes come back, and rests where there are none to wait for.
        let rest = if hold.held.is_empty() { Duration::from_millis(20) } else { Duration::ZERO };
        let Some(task) = next(&tasks, rest) else { return Ok(()) };
        if let Some(words) = task.as_deref().and_then(|task| task.strip_prefix("open ")) {
            hold.open(words)?;
        }
        hold.round();
        if task.as_deref() == Some("round") {
            hold.report()?;
        }
    }
}

/// The next task; `None` at the end of all tasks, `Some(None)` where there is none now.
fn next(tasks: &Receiver<String>, rest: Duration) -> Option<Option<String>> {
    match tasks.recv_timeout(rest) {
        Ok(task) => Some(Some(task)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

impl Hold {
    fn open(&mut self, words: &str) -> Result<()> {
        let words: Vec<&str> = words.split(' ').collect();
        let [label, source, target, count] = words[..] else { bail!("open LABEL SOURCE TARGET COUNT") };
        let target: SocketAddr = target.parse().context("the target")?;
        let count: usize = count.parse().context("the count")?;
        for _ in 0..count {
            let stream = connect(source, target).with_context(|| format!("{source} -> {target}"))?;
            self.opened += 1;
            self.held.push(Held { label: label.to_owned(), stream, number: self.opened, moved: 0 });
        }
        *self.alive.entry(label.to_owned()).or_default() += count;
        tell(&format!("opened {label} {count}"))
    }

    /// One chunk on every connection: all are sent before the first is heard.
    fn round(&mut self) {
        let sent: Vec<io::Result<()>> = self.held.iter_mut().map(|held| held.stream.write_all(&held.chunk())).collect();
        let mut kept = Vec::with_capacity(self.held.len());
        for (mut held, sent) in std::mem::take(&mut self.held).into_iter().zip(sent) {
            match sent.and_then(|()| held.hear()) {
                Ok(()) => kept.push(held),
                Err(error) => {
                    *self.alive.entry(held.label.clone()).or_default() -= 1;
                    let reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
                    if !reset {
                        self.broken += 1;
                        let _ = tell(&format!("broken {}: {error}", held.label));
                    }
                }
            }
        }
        self.held = kept;
    }

    fn report(&self) -> Result<()> {
        let alive: Vec<String> = self.alive.iter().map(|(label, count)| format!("{label}={count}")).collect();
        tell(&format!("round {}; {} broken", alive.join(" "), self.broken))
    }
}

impl Held {
    fn chunk(&self) -> [u8; CHUNK] {
        let mut chunk = [0; CHUNK];
        for (octets, at) in chunk.chunks_exact_mut(8).zip(self.moved..) {
            let word = (self.number << 40 | at).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            octets.copy_from_slice(&word.to_le_bytes());
        }
        chunk
    }

    fn hear(&mut self) -> io::Result<()> {
        let mut heard = [0; CHUNK];
        self.stream.read_exact(&mut heard)?;
        if heard != self.chunk() {
            return Err(io::Error::other(format!("other bytes came back after {}", self.moved)));
        }
        self.moved += CHUNK as u64;
        Ok(())
    }
}

fn connect(source: &str, target: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if source != "-" {
        let source: IpAddr = source.parse().context("the source")?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&target.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    // The greeting of the echo port.
    let mut octet = [0];
    while octet != *b"\n" {
        stream.read_exact(&mut octet)?;
    }
    Ok(stream)
}

fn tell(words: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{words}")?;
    Ok(out.flush()?)
}
