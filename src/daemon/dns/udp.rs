//! A worker: one thread, one socket, batches.

use std::net::{SocketAddrV4, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::engine::{Engine, Handled};
use crate::daemon::forwarder::{Forwarder, Reply, Waiter};
use crate::dns::Asker;
use crate::dns::wire::{Incoming, read_query};
use crate::linux::clock;
use crate::linux::dns_socket::{self, Batch};

/// Which clients a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// Index of the network in the running configuration.
    pub network: usize,
    /// Only these are answered.
    pub subnet: ipnet::Ipv4Net,
}

/// A running worker.
pub(super) struct Worker {
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Starts a worker on `socket`.
    pub(super) fn start(
        name: &str,
        socket: UdpSocket,
        scope: Arc<ArcSwap<Scope>>,
        engine: Arc<Engine>,
        forwarder: Arc<Forwarder>,
    ) -> std::io::Result<Self> {
        let socket = Arc::new(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { socket: socket.clone(), stop: stop.clone(), scope, engine, forwarder };
        thread::Builder::new().name(format!("dns {name}")).spawn(move || work.run())?;
        Ok(Worker { socket, stop })
    }

    /// Ends the worker; its socket closes with it.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        dns_socket::wake(&self.socket);
    }
}

struct Work {
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    scope: Arc<ArcSwap<Scope>>,
    engine: Arc<Engine>,
    forwarder: Arc<Forwarder>,
}

impl Work {
    /// A panic, which would be a fault of ours, costs the batch and not the service.
    fn run(self) {
        while catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            tracing::error!("a DNS worker met a fault and goes on");
        }
    }

    fn serve(&self) {
        let mut batch = Batch::default();
        loop {
            let received = batch.receive(&self.socket);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            match received {
                Ok(_) => self.answer(&mut batch),
                // Such as: the interface went down. The next datagram may come all the same; until then no busy loop.
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn answer(&self, batch: &mut Batch) {
        let names = self.engine.pictures.names.load();
        let settings = self.engine.settings.load();
        let scope = **self.scope.load();
        let now = clock::now().instant;
        batch.answer(&self.socket, |from, message, out| {
            if !scope.subnet.contains(from.ip()) || from.port() == 0 {
                return;
            }
            let place = (&**names, &**settings, now);
            if let Handled::Miss(ask) = self.engine.handle(message, scope.network, None, place, out) {
                self.miss(from, message, scope, ask, &settings);
            }
        });
    }

    #[cold]
    fn miss(
        &self,
        from: SocketAddrV4,
        message: &[u8],
        scope: Scope,
        ask: crate::dns::Ask,
        settings: &Arc<crate::daemon::forwarder::Settings>,
    ) {
        let Incoming::Query(query) = read_query(message) else { return };
        let waiter = Waiter {
            message: message.into(),
            asker: Asker { network: Some(scope.network), limit: query.udp_limit() },
            client: *from.ip(),
            reply: Reply::Udp(self.socket.clone(), from),
        };
        self.forwarder.ask(ask, waiter, settings.clone());
    }
}
