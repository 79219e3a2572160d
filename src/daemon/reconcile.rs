//! The one task that changes nft: waits for any change, computes what should be, applies the difference, records it.
//!
//! A configuration change replaces the table, members included, in one transaction. A lease or an outside name that moves touches only set elements.
//! Somebody may flush our table: the kernel is asked again at every nft event and every minute.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pictures::{Applied, Pictures};
use crate::config::Config;
use crate::desired;
use crate::dns::outside::Resolved;
use crate::firewall::{Counters, ElementChange, HostAddresses, Policy, SetElements};
use crate::linux::nft_elements::Elements;
use crate::linux::{clock, nft, nft_events};
use crate::model::Bindings;

/// How often the kernel is asked whether our table still stands, besides at every event.
const RECHECK: Duration = Duration::from_secs(60);
/// How long to wait after the kernel refused, before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the kernel's table as the pictures say, until the token ends. The table stays when this ends.
///
/// # Errors
/// Where the kernel's event socket cannot be opened.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let mut config = pictures.config.subscribe();
    let mut bindings = pictures.bindings.subscribe();
    let mut resolved = pictures.resolved.subscribe();
    let mut events = nft_events::Events::open()?;
    let mut kernel = Kernel::standing(&pictures);
    loop {
        let wish = Wish {
            config: config.borrow_and_update().clone(),
            bindings: bindings.borrow_and_update().clone(),
            resolved: resolved.borrow_and_update().clone(),
        };
        let patience = match kernel.follow(&pictures, wish).await {
            Ok(()) => RECHECK,
            Err(error) => {
                pictures.report(
                    "firewall",
                    false,
                    format!("the kernel refused the table, the old one stands: {error:#}"),
                );
                tracing::error!("the kernel refused the table, the old one stands: {error:#}");
                RETRY
            }
        };
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            _ = config.changed() => {}
            _ = bindings.changed() => {}
            _ = resolved.changed() => {}
            _ = events.next() => kernel.check_presence().await,
            () = tokio::time::sleep(patience) => kernel.check_presence().await,
        }
    }
}

/// Applies the whole table once, before anything else runs: the box is closed from here on.
///
/// # Errors
/// What the kernel says of the table.
pub async fn first_pass(pictures: &Pictures) -> anyhow::Result<()> {
    let wish = Wish {
        config: pictures.config.borrow().clone(),
        bindings: pictures.bindings.borrow().clone(),
        resolved: pictures.resolved.borrow().clone(),
    };
    Kernel::default().follow(pictures, wish).await
}

/// The pictures that the table is made from.
struct Wish {
    config: Arc<Config>,
    bindings: Bindings,
    resolved: Arc<Resolved>,
}

impl Wish {
    fn hosts(&self) -> HostAddresses {
        desired::host_addresses(&self.config, &self.bindings, &self.resolved)
    }
}

/// What this task believes the kernel has.
#[derive(Default)]
struct Kernel {
    policy: Option<(Arc<Config>, Policy)>,
    bindings: Bindings,
    resolved: Arc<Resolved>,
    hosts: HostAddresses,
    elements: Arc<SetElements>,
    /// Kept open: a lease change is a matter of microseconds.
    channel: Option<Elements>,
}

impl Kernel {
    /// What the first pass, or this task before it was started again, has recorded.
    fn standing(pictures: &Pictures) -> Self {
        let applied = pictures.applied.borrow();
        let Some(config) = applied.config.clone() else { return Kernel::default() };
        Kernel {
            hosts: desired::host_addresses(&config, &applied.bindings, &applied.resolved),
            policy: Some((config.clone(), Policy::compile(&config))),
            bindings: applied.bindings.clone(),
            resolved: applied.resolved.clone(),
            elements: applied.elements.clone(),
            channel: None,
        }
    }

    /// Makes the kernel follow the wish by the smallest change.
    async fn follow(&mut self, pictures: &Pictures, wish: Wish) -> anyhow::Result<()> {
        let Some((_, policy)) = self.policy.as_ref().filter(|(now, _)| Arc::ptr_eq(now, &wish.config)) else {
            return self.replace(pictures, wish).await;
        };
        if !desired::hosts_moved(&wish.config, &self.bindings, &wish.bindings)
            && !desired::names_moved(&wish.config, &self.resolved, &wish.resolved)
        {
            (self.bindings, self.resolved) = (wish.bindings, wish.resolved);
            return Ok(());
        }
        let hosts = wish.hosts();
        let elements = desired::elements_after(policy, &self.elements, &self.hosts, &hosts);
        let mut changes = SetElements::difference(&self.elements, &elements);
        let mut meter = pictures.meter.lock().await;
        meter.begin(&mut changes);
        match self.change(&changes) {
            Ok(last) => meter.followed(&changes, &last),
            Err(error) => {
                drop(meter);
                tracing::warn!("set elements could not be changed alone, replacing the table: {error:#}");
                return self.replace(pictures, wish).await;
            }
        }
        drop(meter);
        tracing::debug!(changes = changes.len(), "set elements follow leases and names");
        (self.bindings, self.resolved) = (wish.bindings, wish.resolved);
        (self.hosts, self.elements) = (hosts, Arc::new(elements));
        pictures.applied.send_modify(|applied| {
            (applied.elements, applied.bindings) = (self.elements.clone(), self.bindings.clone());
            applied.resolved = self.resolved.clone();
        });
        Ok(())
    }

    /// Tells what the elements that went had counted.
    fn change(&mut self, changes: &[ElementChange]) -> anyhow::Result<Counters> {
        if self.channel.is_none() {
            self.channel = Some(Elements::open()?);
        }
        let changed = self.channel.as_mut().expect("opened above").change(changes);
        if changed.is_err() {
            self.channel = None;
        }
        changed
    }

    async fn replace(&mut self, pictures: &Pictures, wish: Wish) -> anyhow::Result<()> {
        let hosts = wish.hosts();
        let Wish { config, bindings, resolved } = wish;
        let policy = Policy::compile(&config);
        let elements = Arc::new(desired::elements(&policy, &hosts));
        let ruleset = desired::ruleset(&policy);
        let mut meter = pictures.meter.lock().await;
        let planned = meter.plan(&policy, &elements);
        let text = ruleset.text_with(&elements, &planned.counters());
        if let Err(error) = nft::apply(&text).await {
            let refused = Some((config, format!("error: {error:#}")));
            pictures.applied.send_modify(|applied| applied.refused = refused);
            return Err(error);
        }
        meter.replaced(&policy, planned);
        drop(meter);
        pictures.applied.send_replace(Applied {
            config: Some(config.clone()),
            refused: None,
            replaced_unix: clock::now().unix,
            elements: elements.clone(),
            bindings: bindings.clone(),
            resolved: resolved.clone(),
        });
        pictures.report("firewall", true, "the table inet labgate stands as the file says");
        (self.policy, self.hosts, self.elements) = (Some((config, policy)), hosts, elements);
        (self.bindings, self.resolved) = (bindings, resolved);
        Ok(())
    }

    /// Forgets what the kernel had where our table is gone, so that the next pass puts it back whole.
    async fn check_presence(&mut self) {
        match nft::table_present().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("somebody removed the table inet labgate; putting it back");
                *self = Kernel::default();
            }
            Err(error) => tracing::warn!("cannot ask the kernel for our table: {error:#}"),
        }
    }
}
