//! A TCP transfer that goes on until it is told to stop and counts every byte: what a change of the gateway must not hurt.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const CHUNK: usize = 16 * 1024;

/// Sends numbered bytes to an echo port and compares what comes back, until standard input ends; says `moving` once it runs and
/// `whole BYTES, longest gap MS ms` at the end.
pub fn run(target: &str) -> Result<()> {
    let mut stream = TcpStream::connect(target).with_context(|| format!("cannot connect to {target}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    let mut back = BufReader::with_capacity(CHUNK, stream.try_clone()?);
    back.read_line(&mut String::new())?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        told.store(true, Ordering::Relaxed);
    });
    let (mut moved, mut longest) = (0_u64, Duration::ZERO);
    let (mut sent, mut got) = (vec![0; CHUNK], vec![0; CHUNK]);
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        for (chunk, number) in sent.chunks_exact_mut(8).zip(moved..) {
            chunk.copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        }
        stream.write_all(&sent)?;
        back.read_exact(&mut got).with_context(|| format!("the transfer broke after {moved} bytes"))?;
        if sent != got {
            bail!("other bytes came back than were sent, after {moved} bytes");
        }
        if moved == 0 {
            println!("moving");
        }
        moved += CHUNK as u64;
        longest = longest.max(start.elapsed());
    }
    println!("whole {moved} bytes, longest gap {} ms", longest.as_millis());
    Ok(())
}
