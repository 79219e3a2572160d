//! Asks each upstream one question.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::config::{Transport, Upstream};
use crate::desired::doctor::Look;
use crate::dns::upstream::{Believed, Request};
use crate::dns::wire::{Key, rcode, rtype};
use crate::linux::dns_socket;

/// Asks all of them at once for the servers of the root, which every resolver knows. An answer of any content counts, a refusal does not.
pub async fn ask(upstreams: &[Upstream], patience: Duration) -> Vec<(SocketAddr, Look<()>)> {
    let one = async |upstream: &Upstream| {
        let answer = match timeout(patience, exchange(upstream)).await {
            Ok(answer) => answer.map_err(|error| format!("{error:#}")),
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        };
        (upstream.server, answer)
    };
    futures_util::future::join_all(upstreams.iter().map(one)).await
}

async fn exchange(upstream: &Upstream) -> anyhow::Result<()> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("{error}"))?;
    let key = Key::new(&[0], rtype::NS, false, false).expect("the root's name is short");
    let request = Request::new(&key, u16::from_ne_bytes(random), &[0; 32]);
    let answer = match upstream.transport {
        Transport::Udp => over_udp(upstream.server, &request).await?,
        Transport::Tcp => over_tcp(upstream.server, &request).await?,
    };
    let code = u16::from(answer[3] & 0xf);
    anyhow::ensure!([rcode::NOERROR, rcode::NXDOMAIN].contains(&code), "it answers with an error, rcode {code}");
    Ok(())
}

async fn over_udp(server: SocketAddr, request: &Request) -> anyhow::Result<Vec<u8>> {
    let socket = UdpSocket::from_std(dns_socket::upstream(server, 0)?)?;
    socket.send(request.as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if request.believes(&buffer[..length]) != Believed::No {
            return Ok(buffer[..length].to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &Request) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.as_bytes().len())?;
    stream.write_all(&[&length.to_be_bytes(), request.as_bytes()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    anyhow::ensure!(request.believes(&answer) != Believed::No, "its answer does not fit the question");
    Ok(answer)
}
