//! The one task that changes nft: waits for any change, computes what should be, applies the difference, records it.
//!
//! A configuration change replaces the table, members included, in one transaction. A lease change touches only set elements.
//! Somebody may flush our table: the kernel is asked again at every nft event and every minute.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pictures::{Applied, Pictures};
use crate::config::Config;
use crate::desired;
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
    let mut events = nft_events::Events::open()?;
    let mut kernel = Kernel::standing(&pictures);
    loop {
        let wish = (config.borrow_and_update().clone(), bindings.borrow_and_update().clone());
        let patience = match kernel.follow(&pictures, wish.0, wish.1).await {
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
    let config = pictures.config.borrow().clone();
    let bindings = pictures.bindings.borrow().clone();
    Kernel::default().follow(pictures, config, bindings).await
}

/// What this task believes the kernel has.
#[derive(Default)]
struct Kernel {
    policy: Option<(Arc<Config>, Policy)>,
    bindings: Bindings,
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
            hosts: desired::host_addresses(&config, &applied.bindings),
            policy: Some((config.clone(), Policy::compile(&config))),
            bindings: applied.bindings.clone(),
            elements: applied.elements.clone(),
            channel: None,
        }
    }

    /// Makes the kernel follow the wish by the smallest change.
    async fn follow(&mut self, pictures: &Pictures, config: Arc<Config>, bindings: Bindings) -> anyhow::Result<()> {
        let Some((_, policy)) = self.policy.as_ref().filter(|(now, _)| Arc::ptr_eq(now, &config)) else {
            return self.replace(pictures, config, bindings).await;
        };
        if !desired::hosts_moved(&config, &self.bindings, &bindings) {
            self.bindings = bindings;
            return Ok(());
        }
        let hosts = desired::host_addresses(&config, &bindings);
        let elements = desired::elements_after(policy, &self.elements, &self.hosts, &hosts);
        let changes = SetElements::difference(&self.elements, &elements);
        if let Err(error) = self.change(&changes) {
            tracing::warn!("set elements could not be changed alone, replacing the table: {error:#}");
            return self.replace(pictures, config, bindings).await;
        }
        tracing::debug!(changes = changes.len(), "set elements follow the leases");
        (self.bindings, self.hosts, self.elements) = (bindings, hosts, Arc::new(elements));
        pictures.applied.send_modify(|applied| {
            (applied.elements, applied.bindings) = (self.elements.clone(), self.bindings.clone());
        });
        Ok(())
    }

    fn change(&mut self, changes: &[ElementChange]) -> anyhow::Result<()> {
        if self.channel.is_none() {
            self.channel = Some(Elements::open()?);
        }
        let changed = self.channel.as_mut().expect("opened above").change(changes);
        if changed.is_err() {
            self.channel = None;
        }
        changed
    }

    /// What the elements of the standing table have counted, to go on in the next one. A table without counters is better than none.
    fn counters() -> Counters {
        let counters = Elements::open().and_then(|mut channel| channel.counters());
        counters.inspect_err(|error| tracing::debug!("counters begin at zero: {error:#}")).unwrap_or_default()
    }

    async fn replace(&mut self, pictures: &Pictures, config: Arc<Config>, bindings: Bindings) -> anyhow::Result<()> {
        let policy = Policy::compile(&config);
        let hosts = desired::host_addresses(&config, &bindings);
        let elements = Arc::new(desired::elements(&policy, &hosts));
        let text = desired::ruleset(&policy).text_with(&elements, &Self::counters(), &[]);
        if let Err(error) = nft::apply(&text).await {
            let refused = Some((config, format!("error: {error:#}")));
            pictures.applied.send_modify(|applied| applied.refused = refused);
            return Err(error);
        }
        pictures.applied.send_replace(Applied {
            config: Some(config.clone()),
            refused: None,
            replaced_unix: clock::now().unix,
            elements: elements.clone(),
            bindings: bindings.clone(),
        });
        pictures.report("firewall", true, "the table inet labgate stands as the file says");
        (self.policy, self.bindings, self.hosts, self.elements) = (Some((config, policy)), bindings, hosts, elements);
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
