//! Leases over restarts and over a wall clock that lies.
//!
//! Timers run on the clock that does not jump. The store holds times of the wall clock, and a router without a battery boots in 1970. So:
//! - A clock behind the newest time of the store is wrong: that newest time stands in for now, and no lease lasts longer than it was given.
//! - A lease stamped by a clock that was not set (before 2023) and read under one that is, or the other way round, gets its whole time again.
//! - When the wall clock jumps, what is stored and shown is told anew from the clock that did not.
//!
//! So nobody expires because of a jump, and nobody becomes immortal.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::output::{Event, Output};
use super::server::Server;
use super::table::{Offer, Slot};
use crate::model::{Binding, Now, UnixSeconds};

/// No clock that is set shows less: 2023-11-14.
const SET: UnixSeconds = 1_700_000_000;
/// Slewing and rounding stay under this.
const JUMP_SECONDS: i64 = 3;

impl Server {
    pub(super) fn restore(&mut self, stored: Vec<Binding>, now: Now) {
        let newest = stored.iter().map(|binding| binding.acknowledged_unix).max().unwrap_or(0);
        let reference = now.unix.max(newest);
        let mut told_wrong = now.unix < newest;
        let (mut live, mut over) = (Vec::new(), Vec::new());
        for mut binding in stored {
            let Some(ends) = binding.expires_unix else {
                live.push(binding);
                continue;
            };
            let whole = ends.saturating_sub(binding.acknowledged_unix);
            let same_era = (binding.acknowledged_unix < SET) == (reference < SET);
            told_wrong |= !same_era && whole > 0;
            let left = if same_era { ends.saturating_sub(reference).min(whole) } else { whole };
            if left > 0 {
                binding.expires = Some(now.instant + Duration::from_secs(left));
                live.push(binding);
            } else {
                over.push(binding);
            }
        }
        self.restore_live(live);
        self.restore_over(over);
        if told_wrong {
            self.tell_times_anew(now);
        }
        self.rename_networks();
    }

    /// Leases that last. A client that moved holds its newest address only; of two in one second it may hold either.
    fn restore_live(&mut self, mut live: Vec<Binding>) {
        live.sort_by_key(|binding| Reverse(binding.acknowledged_unix));
        let mut newest_of = HashMap::new();
        for binding in live {
            let address = u32::from(binding.address);
            let network = self.plan.scope_of(address).map(|scope| scope.network);
            let newest = *newest_of.entry((network, binding.client.clone())).or_insert(binding.acknowledged_unix);
            if binding.acknowledged_unix == newest || network.is_none() {
                self.table.set(address, Some(Slot::Live(Arc::new(binding))));
            } else {
                self.table.forgotten.push(binding.address);
            }
        }
    }

    /// Leases that are over: remembered where their client has no other. They keep their order, however short the machine has been up.
    fn restore_over(&mut self, mut over: Vec<Binding>) {
        over.sort_by_key(|binding| (binding.expires_unix, binding.address));
        for (place, mut binding) in over.into_iter().enumerate().rev() {
            let address = u32::from(binding.address);
            let scope = self.plan.scope_of(address);
            let has_newer = scope.is_some_and(|scope| self.table.of_client(&binding.client, &scope.prefix).is_some());
            if has_newer {
                self.table.forgotten.push(binding.address);
            } else {
                binding.expires = Some(Duration::from_nanos(place as u64));
                self.table.set(address, Some(Slot::Past(Arc::new(binding))));
            }
        }
    }

    /// Looks whether the wall clock went another way than the one that does not jump.
    pub(super) fn observe(&mut self, now: Now) {
        let wall = now.unix as i64 - self.last.unix as i64;
        let real = now.instant.as_millis() as i64 - self.last.instant.as_millis() as i64;
        let seconds = wall - real / 1000;
        if seconds.abs() >= JUMP_SECONDS {
            self.outputs.push_back(Output::Event(Event::ClockJumped { seconds }));
            self.tell_times_anew(now);
            self.last = now;
        } else if now.instant.saturating_sub(self.last.instant) >= Duration::from_secs(1) {
            self.last = now;
        }
    }

    fn tell_times_anew(&mut self, now: Now) {
        let mut told = Vec::new();
        let live: Vec<Arc<Binding>> = self.table.bindings().cloned().collect();
        for binding in live {
            let (Some(expires), Some(ends)) = (binding.expires, binding.expires_unix) else { continue };
            let whole = ends.saturating_sub(binding.acknowledged_unix);
            let ends = now.unix + expires.saturating_sub(now.instant).as_secs();
            let binding = Binding {
                expires_unix: Some(ends),
                acknowledged_unix: ends.saturating_sub(whole),
                ..Binding::clone(&binding)
            };
            let binding = Arc::new(binding);
            self.table.set(binding.address.into(), Some(Slot::Live(binding.clone())));
            told.push(binding);
        }
        let past: Vec<(Slot, Arc<Binding>)> =
            self.table.past_slots().map(|(slot, binding)| (slot.clone(), binding.clone())).collect();
        for (slot, binding) in past {
            let ends = binding.expires_unix.unwrap_or(now.unix).min(now.unix);
            if binding.acknowledged_unix <= ends && binding.expires_unix == Some(ends) {
                continue;
            }
            let acknowledged_unix = binding.acknowledged_unix.min(ends);
            let binding = Arc::new(Binding { expires_unix: Some(ends), acknowledged_unix, ..Binding::clone(&binding) });
            let slot = match slot {
                Slot::Offered(offer) => Slot::Offered(Box::new(Offer { former: Some(binding.clone()), ..*offer })),
                _ => Slot::Past(binding.clone()),
            };
            self.table.set(binding.address.into(), Some(slot));
            told.push(binding);
        }
        if !told.is_empty() {
            self.outputs.push_back(Output::Updated(told));
        }
    }

    /// Gives each live lease the name that its network has now.
    pub(super) fn rename_networks(&mut self) {
        let plan = Arc::clone(&self.plan);
        let renamed: Vec<Arc<Binding>> = self
            .table
            .bindings()
            .filter_map(|binding| {
                let name = &plan.scope_of(binding.address.into())?.name;
                (*name != binding.network)
                    .then(|| Arc::new(Binding { network: name.clone(), ..Binding::clone(binding) }))
            })
            .collect();
        for binding in &renamed {
            self.table.set(binding.address.into(), Some(Slot::Live(binding.clone())));
        }
        if !renamed.is_empty() {
            self.outputs.push_back(Output::Updated(renamed));
        }
    }
}
