//! One attempt to open a TCP connection, told as the person at the keyboard sees it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long silence lasts until it counts as silence.
const SILENCE: Duration = Duration::from_millis(1500);

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The connection was opened.
    Connected,
    /// Refused at once: a reset, or an ICMP message.
    Refused,
    /// Nothing came back.
    Silent,
    /// The name has no address.
    NoName,
}

/// One attempt to connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// How it went.
    pub outcome: Outcome,
    /// The address that was tried last.
    pub address: Option<SocketAddr>,
    /// From the first packet to the outcome.
    pub milliseconds: u64,
    /// What the server said, or the system's error.
    pub text: String,
}

impl Attempt {
    /// Resolves `HOST:PORT`, connects, asks for `/`, and reads the answer to its end.
    pub fn make(target: &str) -> Self {
        let addresses: Vec<SocketAddr> = match target.to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(error) => return Attempt::new(Outcome::NoName, None, Duration::ZERO, error.to_string()),
        };
        let mut last = Attempt::new(Outcome::NoName, None, Duration::ZERO, "no address".to_owned());
        for address in addresses {
            last = Attempt::at(address);
            if last.outcome == Outcome::Connected {
                break;
            }
        }
        last
    }

    fn at(address: SocketAddr) -> Self {
        let start = Instant::now();
        let stream = TcpStream::connect_timeout(&address, SILENCE);
        let took = start.elapsed();
        match stream {
            Ok(stream) => {
                let text = greeting(stream).unwrap_or_else(|error| error.to_string());
                Attempt::new(Outcome::Connected, Some(address), took, text)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Attempt::new(Outcome::Silent, Some(address), took, error.to_string())
            }
            Err(error) => Attempt::new(Outcome::Refused, Some(address), took, error.to_string()),
        }
    }

    fn new(outcome: Outcome, address: Option<SocketAddr>, took: Duration, text: String) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Attempt { outcome, address, milliseconds, text }
    }
}

/// Asks as a web client does; servers that greet first may greet first.
fn greeting(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let body = text.split_once("\r\n\r\n").filter(|_| text.starts_with("HTTP/"));
    let first = body.map_or(text.as_str(), |(_, body)| body);
    Ok(first.lines().next().unwrap_or_default().to_owned())
}
