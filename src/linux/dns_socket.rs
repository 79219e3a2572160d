//! The sockets of the DNS server: one per address of the router, tied to its interface, and what receives and sends in batches.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams per system call.
pub const BATCH: usize = 32;
/// The longest question that is read; longer ones are cut, so malformed.
const LONGEST: usize = 4096;
const RECEIVE_BUFFER: usize = 4 << 20;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The router's address on a network; it need not be there yet.
    pub address: SocketAddrV4,
    /// The interface that questions have to come from; `None`: any.
    pub interface: Option<std::sync::Arc<str>>,
}

fn open(place: &Place, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_freebind_v4(true)?;
    if let Some(interface) = &place.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&SocketAddr::V4(place.address).into())?;
    Ok(socket)
}

/// A UDP socket; several may share one place and divide the clients among them.
///
/// # Errors
/// Where the interface is absent, or another program has the port.
pub fn udp(place: &Place) -> std::io::Result<UdpSocket> {
    let socket = open(place, Type::DGRAM, Protocol::UDP)?;
    // Less than asked for is granted to the unprivileged; no reason to fail.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket.into())
}

/// A TCP socket that listens.
///
/// # Errors
/// Where the interface is absent, or another program has the port.
pub fn tcp(place: &Place) -> std::io::Result<std::net::TcpListener> {
    let socket = open(place, Type::STREAM, Protocol::TCP)?;
    socket.listen(256)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket for one question to an upstream: `port` is tried, and the kernel's choice where that is taken. Connected, so that the kernel
/// lets only that server's datagrams in.
///
/// # Errors
/// Where there is no route, or no descriptor is left.
pub fn upstream(server: SocketAddr, port: u16) -> std::io::Result<UdpSocket> {
    let any = |port| match server {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], port)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], port)),
    };
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.bind(&any(port).into()).or_else(|_| socket.bind(&any(0).into()))?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Lets this process open as many descriptors as it may; gives how many that is. Every question to an upstream takes one for a moment.
pub fn raise_descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(65_536).max(soft);
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Wakes a thread that waits in [`Batch::receive`] on this socket; it then receives no octets.
pub fn wake(socket: &UdpSocket) {
    // An unconnected socket answers ENOTCONN, and wakes its readers all the same.
    let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
}

/// Sends one datagram without waiting. Where the buffer is full it is lost, as any datagram may be.
pub fn send(socket: &UdpSocket, to: SocketAddrV4, bytes: &[u8]) {
    let _ = sendto(socket.as_raw_fd(), bytes, &SockaddrIn::from(to), MsgFlags::MSG_DONTWAIT);
}

/// Buffers for receiving and answering datagrams in batches.
pub struct Batch {
    received: MultiHeaders<SockaddrIn>,
    sent: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; LONGEST]>,
    arrived: Vec<(SocketAddrV4, usize)>,
    answers: Vec<Vec<u8>>,
    /// Whom the answers are for, one per arrived datagram; `None`: no answer.
    to: Vec<Option<SockaddrIn>>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; LONGEST]; BATCH],
            arrived: Vec::with_capacity(BATCH),
            answers: std::iter::repeat_with(|| Vec::with_capacity(1500)).take(BATCH).collect(),
            to: Vec::with_capacity(BATCH),
        }
    }
}

impl Batch {
    /// Waits for at least one datagram and takes what is there. Gives how many there are; after [`wake`] they have no octets.
    ///
    /// # Errors
    /// What the kernel says, such as that the interface is gone.
    pub fn receive(&mut self, socket: &UdpSocket) -> std::io::Result<usize> {
        self.arrived.clear();
        let mut slices = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect::<Slices<_>>();
        let flags = MsgFlags::MSG_WAITFORONE;
        let messages =
            match recvmmsg(socket.as_raw_fd(), &mut self.received, slices.0.iter_mut().flatten(), flags, None) {
                Ok(messages) => messages,
                Err(Errno::EINTR) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
        for message in messages {
            let from = message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from);
            self.arrived.push((from, message.bytes));
        }
        Ok(self.arrived.len())
    }

    /// Lets `answer` see each datagram and write its answer; an answer of no octets is not sent. Then sends all answers.
    pub fn answer(&mut self, socket: &UdpSocket, mut answer: impl FnMut(SocketAddrV4, &[u8], &mut Vec<u8>)) {
        let mut count = 0;
        self.to.clear();
        for (index, &(from, length)) in self.arrived.iter().enumerate() {
            let out = &mut self.answers[count];
            out.clear();
            answer(from, self.buffers[index].get(..length).unwrap_or_default(), out);
            if !out.is_empty() {
                self.to.push(Some(SockaddrIn::from(from)));
                count += 1;
            }
        }
        let mut first = 0;
        while first < count {
            let slices = self.answers[first..count].iter().map(|answer| [IoSlice::new(answer)]).collect::<Slices<_>>();
            let none: [ControlMessage<'_>; 0] = [];
            let to = &self.to[first..count];
            match sendmmsg(socket.as_raw_fd(), &mut self.sent, slices.0.iter().flatten(), to, none, MsgFlags::empty()) {
                Ok(results) => first += results.count().max(1),
                // This one cannot be sent, such as to a client that is gone; the others can.
                Err(_) => first += 1,
            }
        }
    }
}

/// As many slices as a batch has, on the stack.
struct Slices<T>([Option<T>; BATCH]);

impl<T> FromIterator<T> for Slices<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut iter = iter.into_iter();
        Slices(std::array::from_fn(|_| iter.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_batches_and_wakes() {
        let place = Place { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: None };
        let server = udp(&place).unwrap();
        let clients: Vec<_> = (0..40).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (index, client) in clients.iter().enumerate() {
            client.send_to(&[index as u8, 7], server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::default();
        let mut left = clients.len();
        while left > 0 {
            left -= batch.receive(&server).unwrap();
            batch.answer(&server, |_, bytes, out| {
                // Every third is not answered.
                if bytes[0] % 3 != 0 {
                    out.extend_from_slice(&[bytes, &[1]].concat());
                }
            });
        }
        for (index, client) in clients.iter().enumerate().filter(|(index, _)| index % 3 != 0) {
            let mut bytes = [0; 10];
            let (length, _) = client.recv_from(&mut bytes).unwrap();
            assert_eq!(bytes[..length], [index as u8, 7, 1]);
        }
        // What a woken reader gets has no octets; it looks at its own sign that the end has come.
        wake(&server);
        let _ = batch.receive(&server);
        batch.answer(&server, |_, bytes, _| assert!(bytes.is_empty()));
    }
}
