//! The DHCP task: owns the server, its sockets and the lease store.
//!
//! The order of a grant: the lease is on the disk; its name and the lease are published; the acknowledgement leaves. While one group of leases
//! is written, the next gathers.

mod interfaces;
mod journal;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::interfaces::{Interfaces, Readable};
use self::journal::{Effect, Journal};
use self::tell::Teller;
use crate::config::Config;
use crate::daemon::Pictures;
use crate::desired::names;
use crate::dhcp::message::LONGEST;
use crate::dhcp::{Output, Received, Server};
use crate::linux::clock;
use crate::linux::lease_store::{self, LeaseStore};
use crate::model::{Bindings, Now};

/// Datagrams handled before the other things of the task get their turn.
const DRAIN: usize = 128;
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Serves all networks until the token is cancelled.
///
/// # Errors
/// Where the lease store is of a newer version, so that serving would forget leases.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let mut task = Task::open(pictures)?;
    task.live(&token).await;
    task.end().await;
    Ok(())
}

/// Reads the leases before anything serves, where a host of the file follows its lease: the first table must know such hosts, or a start
/// would take their permissions away until the task has read the leases. They count as known only then.
pub fn foretell(pictures: &Pictures) {
    let config = pictures.config.borrow().clone();
    if config.hosts.iter().all(|host| host.ip.is_some()) {
        return;
    }
    let server = Server::new(&config, lease_store::peek(&pictures.paths.state), 0, clock::now());
    pictures.bindings.send_if_modified(|shown| {
        for binding in server.bindings() {
            shown.insert(binding.address, binding.clone());
        }
        false
    });
}

struct Task {
    pictures: Arc<Pictures>,
    config: Arc<Config>,
    server: Server,
    journal: Journal,
    interfaces: Interfaces,
    bindings: Bindings,
    teller: Teller,
    /// When to try again to open sockets and to write what is owed.
    retry: Option<Duration>,
    buffer: Vec<u8>,
}

impl Task {
    fn open(pictures: Arc<Pictures>) -> anyhow::Result<Self> {
        let now = clock::now();
        let opened = LeaseStore::open(&pictures.paths.state, now.unix).inspect_err(|error| {
            pictures.report("dhcp", false, error.to_string());
        })?;
        for note in &opened.notes {
            tracing::error!("dhcp: {note}");
        }
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let config = pictures.config.borrow().clone();
        let server = Server::new(&config, opened.bindings, u64::from_ne_bytes(seed), now);
        let mut task = Task {
            pictures,
            config,
            server,
            journal: Journal::new(opened.store),
            interfaces: Interfaces::new(),
            bindings: Bindings::new(),
            teller: Teller::default(),
            retry: None,
            buffer: vec![0; LONGEST + 1],
        };
        let mut restored = Bindings::new();
        for binding in task.server.bindings() {
            restored.insert(binding.address, binding.clone());
        }
        tracing::info!("dhcp: {} leases are live", restored.len());
        task.publish(restored, now);
        task.tell_health(None);
        task.take_outputs(now);
        Ok(task)
    }

    async fn live(&mut self, token: &CancellationToken) {
        let mut configs = self.pictures.config.subscribe();
        let mut links = self.pictures.links.subscribe();
        configs.mark_changed();
        loop {
            let timers = [self.server.poll_timeout(), self.retry].into_iter().flatten().min();
            let timer = timers.map(clock::deadline);
            let full = self.journal.is_full();
            // The body of a branch runs after all futures are dropped, so each may borrow what it waits for.
            tokio::select! {
                () = token.cancelled() => return,
                changed = configs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let config = configs.borrow_and_update().clone();
                    self.apply(config);
                }
                Ok(()) = links.changed() => {
                    links.mark_unchanged();
                    self.follow_interfaces();
                }
                (effects, result) = self.journal.settled() => self.settle(effects, result),
                readable = std::future::poll_fn(|context| self.interfaces.poll_readable(context, !full)) => match readable {
                    Readable::Datagrams(place) => self.drain(place),
                    Readable::Answers => self.take_answers(),
                },
                () = sleep_until(timer) => self.take_timers(),
            }
            self.journal.commit();
        }
    }

    /// What was granted is acknowledged, and the disk has it.
    async fn end(&mut self) {
        self.journal.commit();
        while !self.journal.is_idle() {
            let (effects, result) = self.journal.settled().await;
            self.settle(effects, result);
            self.journal.commit();
        }
    }

    fn apply(&mut self, config: Arc<Config>) {
        let now = clock::now();
        if !Arc::ptr_eq(&config, &self.config) {
            self.server.apply(&config, now);
            self.config = config;
            self.take_outputs(now);
        }
        self.follow_interfaces();
    }

    fn follow_interfaces(&mut self) {
        let complete = self.interfaces.follow(&self.config, &self.pictures);
        self.retry = (!complete || self.journal.owes()).then(|| clock::now().instant + RETRY);
    }

    fn drain(&mut self, place: usize) {
        let now = clock::now();
        for _ in 0..DRAIN {
            let Some((length, network, source)) = self.interfaces.receive(place, &mut self.buffer) else { break };
            let bytes = &self.buffer[..length];
            self.server.handle_message(Received { network, source, bytes }, now);
            self.take_outputs(now);
        }
    }

    fn take_answers(&mut self) {
        let now = clock::now();
        while let Some((address, mac)) = self.interfaces.answered(now) {
            self.server.handle_conflict(address, mac, now);
            self.take_outputs(now);
        }
    }

    fn take_timers(&mut self) {
        let now = clock::now();
        self.server.handle_timeout(now);
        self.take_outputs(now);
        if self.retry.is_some_and(|at| at <= now.instant) {
            self.journal.retry();
            self.follow_interfaces();
        }
    }

    fn take_outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Reply(reply) => self.interfaces.send(&reply),
                Output::Grant(grant) => self.journal.push(Effect::Grant(grant)),
                Output::Ended(ended) => self.journal.push(Effect::Ended(ended)),
                Output::Updated(bindings) => self.journal.push(Effect::Updated(bindings)),
                Output::Forgotten(addresses) => self.journal.push(Effect::Forgotten(addresses)),
                Output::Probe { network, address } => self.interfaces.probe(network, address, now),
                Output::Event(event) => self.teller.event(&event, now),
            }
        }
    }

    /// A group of effects has reached the disk, or could not.
    fn settle(&mut self, mut effects: Vec<Effect>, result: Result<(), String>) {
        let now = clock::now();
        if let Err(reason) = &result {
            self.teller.warn("store", &format!("dhcp: leases cannot be written: {reason}"), now);
            effects.retain(|effect| self.goes_on_from_memory(effect, now));
            self.retry = Some(now.instant + RETRY);
        }
        self.tell_health(result.err());
        let mut newer = self.bindings.clone();
        let mut renewals_only = true;
        for effect in &effects {
            match effect {
                Effect::Grant(grant) => {
                    let old = newer.insert(grant.binding.address, grant.binding.clone());
                    let renewed = old.is_some_and(|old| {
                        old.client == grant.binding.client
                            && old.host_name == grant.binding.host_name
                            && old.network == grant.binding.network
                    });
                    renewals_only &= renewed;
                    let what = if renewed { "renewed by" } else { "leased to" };
                    self.teller.lease(what, &grant.binding, now);
                }
                Effect::Ended(ended) => {
                    renewals_only = false;
                    if newer.get(&ended.binding.address).is_some_and(|held| held.client == ended.binding.client) {
                        newer.remove(&ended.binding.address);
                    }
                    self.teller.ended(ended, now);
                }
                Effect::Forgotten(_) => {}
                Effect::Updated(bindings) => {
                    renewals_only = false;
                    for binding in bindings {
                        if newer.get(&binding.address).is_some_and(|held| held.client == binding.client) {
                            newer.insert(binding.address, binding.clone());
                        }
                    }
                }
            }
        }
        if renewals_only {
            // Only times have changed: the picture is current, but nobody has to wake for it.
            self.pictures.bindings.send_if_modified(|shown| {
                shown.clone_from(&newer);
                false
            });
            self.bindings = newer;
        } else {
            self.publish(newer, now);
        }
        for effect in effects {
            if let Effect::Grant(grant) = effect {
                self.interfaces.send(&grant.ack);
                if grant.moves {
                    self.server.handle_committed(&grant.binding, now);
                    self.take_outputs(now);
                }
            }
        }
    }

    /// Whether an effect holds although the disk did not take it: a lease that a restart would find again (an older row of the same client, or a
    /// reservation), and the end of a lease. A new client waits: what it is told must not be forgotten.
    fn goes_on_from_memory(&mut self, effect: &Effect, now: Now) -> bool {
        if let Effect::Grant(grant) = effect {
            let held =
                self.bindings.get(&grant.binding.address).is_some_and(|held| held.client == grant.binding.client);
            if !held && !grant.reserved {
                self.server.handle_uncommitted(&grant.binding, now);
                return false;
            }
        }
        self.journal.owe(effect.rows());
        true
    }

    /// Publishes names and leases together: a reload that makes all names anew in between would else miss the newest.
    fn publish(&mut self, newer: Bindings, now: Now) {
        let (config, older) = (&self.config, &self.bindings);
        let events = self.pictures.update_names(|names| {
            self.pictures.bindings.send_replace(newer.clone());
            names::publish(names, config, older, &newer)
        });
        events.iter().for_each(|event| self.teller.name(event, now));
        self.bindings = newer;
    }

    fn tell_health(&self, failure: Option<String>) {
        match failure {
            None => self.pictures.report("dhcp", true, "leases are written before they are acknowledged"),
            Some(reason) => self.pictures.report(
                "dhcp",
                false,
                format!("leases cannot be written ({reason}); known clients go on from memory, new ones wait: free the disk of the state folder"),
            ),
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::firewall::testing::{config, host};
    use crate::linux::lease_store::Row;
    use crate::model::{Binding, ClientKey};

    #[tokio::test]
    async fn the_first_table_knows_where_hosts_were_without_calling_the_leases_known() {
        let state = tempfile::tempdir().unwrap();
        let mut config = config();
        config.hosts = vec![host("phone", None)];
        config.hosts[0].macs = vec!["02:00:00:00:00:07".parse().unwrap()];
        config.networks[0].dhcp.as_mut().unwrap().pools =
            vec!["192.168.1.100".parse().unwrap()..="192.168.1.249".parse().unwrap()];
        let now = clock::now();
        let lease = Binding {
            address: "192.168.1.107".parse().unwrap(),
            client: ClientKey::from_hardware(1, &[2, 0, 0, 0, 0, 7]),
            mac: Some("02:00:00:00:00:07".parse().unwrap()),
            network: "lan".into(),
            host_name: None,
            expires: None,
            expires_unix: Some(now.unix + 3600),
            acknowledged_unix: now.unix,
        };
        let store = LeaseStore::open(state.path(), now.unix).unwrap().store;
        store.commit(vec![Row::Put(Arc::new(lease))]).await.unwrap().unwrap();
        drop(store);
        let paths = Paths { config: "labgate.toml".into(), state: state.path().into(), runtime: state.path().into() };
        let pictures = Pictures::new(paths, Arc::new(config));
        foretell(&pictures);
        let known = pictures.bindings.borrow().clone();
        assert!(known.get(&"192.168.1.107".parse().unwrap()).is_some(), "{} leases", known.len());
        assert!(!pictures.leases_are_known());
    }
}
