//! New TCP connections, one after another: what a change of the gateway must neither refuse nor let in.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

/// Less than the second after which the kernel sends a lost SYN again.
const PATIENCE: Duration = Duration::from_millis(700);
/// Between two: slow enough that connection tracking has forgotten a connection before its port comes again.
const PAUSE: Duration = Duration::from_micros(500);

/// Knocks at `target` until standard input ends; says `knocking` after the first time, and at the end `in N, out N` with the latest reason.
pub fn run(target: SocketAddr) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        told.store(true, Ordering::Relaxed);
    });
    let (mut inside, mut outside, mut latest) = (0_u64, 0_u64, String::new());
    while !stop.load(Ordering::Relaxed) {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            // Closed by a reset: a port that waits could not be used again for a minute.
            Ok(stream) => {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).context("cannot reset a connection")?;
                inside += 1;
            }
            Err(error) => {
                outside += 1;
                latest = format!(": {error}");
            }
        }
        if inside + outside == 1 {
            println!("knocking");
        }
        std::thread::sleep(PAUSE);
    }
    println!("in {inside}, out {outside}{latest}");
    Ok(())
}
