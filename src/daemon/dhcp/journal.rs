//! Effects that wait for the disk: grants, ends and changes of leases, in order, several to a commit.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::dhcp::{EndReason, Ended, Grant};
use crate::linux::lease_store::{LeaseStore, Row};
use crate::model::Binding;

/// Commits under way. Whatever comes meanwhile shares the next: few and large commits cost the least.
const COMMITS: usize = 1;
/// With more effects than this waiting, no more datagrams are read: the kernel's queue holds them, or drops them.
const WAITING: usize = 2048;

/// One effect on leases.
#[derive(Debug)]
pub(super) enum Effect {
    Grant(Grant),
    Ended(Ended),
    Updated(Vec<Arc<Binding>>),
    Forgotten(Vec<Ipv4Addr>),
}

struct Flight {
    effects: Vec<Effect>,
    owed: Vec<Row>,
    done: oneshot::Receiver<Result<(), String>>,
}

/// The way of effects to the disk.
pub(super) struct Journal {
    store: LeaseStore,
    waiting: Vec<Effect>,
    flights: VecDeque<Flight>,
    /// Leases the disk does not know yet although they are in effect: told from memory while it could not be written.
    owed: HashMap<Ipv4Addr, Row>,
}

impl Journal {
    pub fn new(store: LeaseStore) -> Self {
        Journal { store, waiting: Vec::new(), flights: VecDeque::new(), owed: HashMap::new() }
    }

    pub fn push(&mut self, effect: Effect) {
        self.waiting.push(effect);
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    /// Whether something waits for the disk, or is on its way to it.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flights.is_empty()
    }

    /// Whether leases are in effect that the disk does not know.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Begins a commit of all that waits, where one may begin.
    pub fn commit(&mut self) {
        if !self.waiting.is_empty() && self.flights.len() < COMMITS {
            self.begin();
        }
    }

    /// Tries again to write what is owed.
    pub fn retry(&mut self) {
        if self.flights.is_empty() && !self.owed.is_empty() {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let effects = std::mem::take(&mut self.waiting);
        let owed: Vec<Row> = self.owed.drain().map(|(_, row)| row).collect();
        let rows = owed.iter().cloned().chain(effects.iter().flat_map(Effect::rows)).collect();
        let done = self.store.commit(rows);
        self.flights.push_back(Flight { effects, owed, done });
    }

    /// Waits for the commit that began first. May be dropped and called again.
    pub async fn settled(&mut self) -> (Vec<Effect>, Result<(), String>) {
        let Some(flight) = self.flights.front_mut() else { return std::future::pending().await };
        let result = (&mut flight.done).await.unwrap_or_else(|_| Err("the thread that writes leases is gone".into()));
        let flight = self.flights.pop_front().unwrap_or_else(|| unreachable!("the front was just looked at"));
        if result.is_err() {
            for row in flight.owed {
                self.owed.entry(row.address()).or_insert(row);
            }
        } else {
            // A commit that began before this one may have failed and left older rows of the same addresses.
            for row in flight.effects.iter().flat_map(Effect::rows) {
                self.owed.remove(&row.address());
            }
        }
        (flight.effects, result)
    }

    /// Leases that are in effect although the disk could not take them.
    pub fn owe(&mut self, rows: Vec<Row>) {
        self.owed.extend(rows.into_iter().map(|row| (row.address(), row)));
    }
}

impl Effect {
    /// What the disk is to know.
    pub fn rows(&self) -> Vec<Row> {
        let put = |binding: &Arc<Binding>| Row::Put(binding.clone());
        match self {
            Effect::Grant(grant) => vec![put(&grant.binding)],
            // The disk knows since the grant when the lease ends.
            Effect::Ended(Ended { reason: EndReason::Expired, .. }) => Vec::new(),
            Effect::Ended(ended) => vec![put(&ended.binding)],
            Effect::Updated(bindings) => bindings.iter().map(put).collect(),
            Effect::Forgotten(addresses) => addresses.iter().copied().map(Row::Delete).collect(),
        }
    }
}
