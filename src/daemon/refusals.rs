//! Tells in the log which packets of own networks the table refused, and why.
//!
//! The table itself bounds what comes: a few packets a minute from each source, and a few a second from all together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::pictures::Pictures;
use crate::config::Config;
use crate::desired::refusals::{Refused, line};
use crate::desired::{self, Devices};
use crate::firewall::{LOG_GROUP, Policy, Side};
use crate::linux::nflog::{Listener, Logged};
use crate::model::Links;

/// Until the group is asked for again.
const RETRY: Duration = Duration::from_secs(60);
/// How often lost packets are told of.
const LOST: Duration = Duration::from_secs(60);

/// Listens until the token ends.
///
/// # Errors
/// Where the socket dies.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let mut listener = loop {
        match Listener::open(LOG_GROUP) {
            Ok(listener) => break listener,
            // Nothing that protects is missing, so this is no fault.
            Err(error) => pictures.report(
                "refusals",
                true,
                format!("refused packets are counted, but not in the log: no NFLOG group {LOG_GROUP} here ({error})"),
            ),
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(RETRY) => {}
        }
    };
    pictures.report("refusals", true, "refused packets of own networks are in the log, a few for each source");
    let mut teller = Teller { config: None, missed: 0, told: Instant::now() };
    loop {
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            packets = listener.next() => packets?.iter().for_each(|packet| teller.tell(&pictures, packet)),
        }
    }
}

struct Teller {
    /// What was compiled last.
    config: Option<(Arc<Config>, Policy)>,
    missed: u64,
    told: Instant,
}

impl Teller {
    fn tell(&mut self, pictures: &Pictures, logged: &Logged) {
        self.missed += u64::from(logged.missed);
        if self.missed > 0 && self.told.elapsed() > LOST {
            tracing::info!("{} refused packets came too fast to be told of", self.missed);
            (self.missed, self.told) = (0, Instant::now());
        }
        let (config, bindings, resolved) = {
            let applied = pictures.applied.borrow();
            let config = applied.config.clone().unwrap_or_else(|| pictures.config.borrow().clone());
            (config, applied.bindings.clone(), applied.resolved.clone())
        };
        if !self.config.as_ref().is_some_and(|(now, _)| Arc::ptr_eq(now, &config)) {
            self.config = Some((config.clone(), Policy::compile(&config)));
        }
        let policy = &self.config.as_ref().expect("set above").1;
        let links = pictures.links.borrow().clone();
        let Some(arrives) = side(policy, &links, logged.arrives) else { return };
        let hosts = desired::host_addresses(&config, &bindings, &resolved);
        let around = desired::surroundings(policy, &hosts, &links);
        // The picture of the leases wakes for changes only; the names of the newest are in it all the same.
        let bindings = pictures.bindings.borrow().clone();
        let devices = Devices { policy, around: &around, bindings: &bindings };
        let refused = Refused { arrives, hardware: logged.hardware, tuple: logged.tuple };
        tracing::info!("{}", line(&devices, &refused));
    }
}

fn side(policy: &Policy, links: &Links, index: Option<u32>) -> Option<Side> {
    let Some(index) = index else { return Some(Side::Router) };
    let (name, _) = links.by_name.iter().find(|(_, link)| link.index == index)?;
    policy.network_of_interface(name).map(Side::Network)
}
