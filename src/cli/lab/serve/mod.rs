//! What the machines of a lab serve: a DNS upstream, web servers, echo ports. One hidden process per service; it says `ready` once it
//! listens and lives until the lab ends.

pub mod dns;
mod wire;
pub mod zone;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::home::{PROVIDER, PUBLIC, UPSTREAM};

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
    accept(port, name, |stream, words| {
        (&stream).write_all(words.as_bytes())?;
        io::copy(&mut &stream, &mut &stream).map(drop)
    })
}

/// The DNS upstream; every question is written to `log` before it is answered.
pub fn dns(address: Ipv4Addr, log: &Path) -> Result<()> {
    let server = dns::Server::bind(address, log)?;
    ready()?;
    server.serve()
}

/// The provider's DHCP server: busybox's, so that labgate's own client is judged by a stranger's. This process becomes it.
pub fn provider(interface: &str) -> Result<()> {
    let file = format!(
        "start {PUBLIC}\nend {PUBLIC}\ninterface {interface}\nlease_file /run/udhcpd.leases\npidfile /run/udhcpd.pid\n\
         option subnet 255.255.255.0\noption router {PROVIDER}\noption dns {UPSTREAM}\noption lease 600\n"
    );
    fs::write("/run/udhcpd.leases", "")?;
    fs::write("/run/udhcpd.conf", file)?;
    ready()?;
    let mut server = Command::new("busybox");
    server.args(["udhcpd", "-f", "-I", &PROVIDER.to_string(), "/run/udhcpd.conf"]);
    Err(server.stdout(Stdio::null()).stderr(Stdio::null()).exec()).context("cannot run busybox (package busybox)")
}

fn accept(port: u16, name: &str, serve: fn(TcpStream, &str) -> io::Result<()>) -> Result<()> {
    // One socket for both families, where the kernel has both.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        .with_context(|| format!("port {port}"))?;
    ready()?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(peer) = stream.peer_addr() else { continue };
        let words = format!("{name}: you are {}\n", peer.ip().to_canonical());
        std::thread::spawn(move || serve(stream, &words));
    }
    Ok(())
}

fn ready() -> Result<()> {
    let mut out = io::stdout();
    out.write_all(b"ready\n")?;
    Ok(out.flush()?)
}
