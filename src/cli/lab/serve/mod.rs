//! What the machines of a lab serve: a DNS upstream, web servers, echo ports. One hidden process per service; it says `ready` once it
//! listens and lives until the lab ends.

pub mod dns;
mod wire;
pub mod zone;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, Result};

/// A web server that says its name and the peer's address to whoever asks for whatever.
pub fn web(name: &str, port: u16) -> Result<()> {
    accept(port, name, |mut stream, words| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        let length = words.len();
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{words}")
    })
}

/// A TCP port that greets with its name and the peer's address and then echoes every byte.
pub fn echo(name: &str, port: u16) -> Result<()> {
    accept(port, name, |mut stream, words| {
        stream.write_all(words.as_bytes())?;
        let mut back = stream.try_clone()?;
        io::copy(&mut stream, &mut back).map(drop)
    })
}

/// The DNS upstream; every question is written to `log` before it is answered.
pub fn dns(address: Ipv4Addr, log: &Path) -> Result<()> {
    let server = dns::Server::bind(address, log)?;
    ready()?;
    server.serve()
}

fn accept(port: u16, name: &str, serve: fn(TcpStream, &str) -> io::Result<()>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| format!("port {port}"))?;
    ready()?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(peer) = stream.peer_addr() else { continue };
        let words = format!("{name}: you are {}\n", peer.ip());
        std::thread::spawn(move || serve(stream, &words));
    }
    Ok(())
}

fn ready() -> Result<()> {
    let mut out = io::stdout();
    out.write_all(b"ready\n")?;
    Ok(out.flush()?)
}
