//! The DNS upstream of the lab, over UDP and TCP.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::wire::Question;
use super::zone;

/// Sockets that are bound but not served yet.
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    log: Arc<File>,
    /// What the zone is told to say, read anew for every question.
    told: Arc<PathBuf>,
}

impl Server {
    /// Binds port 53 of an address and opens the log of questions.
    pub fn bind(address: Ipv4Addr, log: &Path) -> Result<Self> {
        let udp = UdpSocket::bind((address, 53)).context("UDP port 53")?;
        let tcp = TcpListener::bind((address, 53)).context("TCP port 53")?;
        let told = Arc::new(log.with_file_name("zone"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Ok(Server { udp, tcp, log: Arc::new(log), told })
    }

    /// Answers for ever.
    pub fn serve(self) -> Result<()> {
        let (tcp, log, told) = (self.tcp, Arc::clone(&self.log), Arc::clone(&self.told));
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let (log, told) = (Arc::clone(&log), Arc::clone(&told));
                std::thread::spawn(move || stream_of_questions(stream, &log, &told));
            }
        });
        let mut message = [0; 4096];
        loop {
            let (length, peer) = self.udp.recv_from(&mut message)?;
            if let Some(answer) = answer(&message[..length], true, &self.log, &self.told) {
                let _ = self.udp.send_to(&answer, peer);
            }
        }
    }
}

fn stream_of_questions(mut stream: TcpStream, log: &File, told: &Path) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        let Some(answer) = answer(&message, false, log, told) else { return Ok(()) };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
    }
}

fn answer(message: &[u8], udp: bool, mut log: &File, told: &Path) -> Option<Vec<u8>> {
    let question = Question::parse(message)?;
    let transport = if udp { "udp" } else { "tcp" };
    let line = format!("{} {} {transport}\n", question.name, question.kind);
    log.write_all(line.as_bytes()).ok()?;
    let told = std::fs::read_to_string(told).unwrap_or_default();
    let answer = zone::told(&told, &question.name, question.kind);
    Some(question.answer(&answer.unwrap_or_else(|| zone::look_up(&question.name, question.kind)), udp))
}
