//! The one task that changes nft: waits for any change, computes what should be, applies the difference, records it.
//!
//! A configuration change turns the table that stands into the next one in one transaction that touches what differs; where none stands as it
//! was left, the table is made whole. A lease or an outside name that moves touches only set elements.
//! Somebody may flush our table: the kernel is asked again at every nft event and every minute. After each change that may take a permission
//! away, the connections that lost theirs are cut. An outside name that moves to other addresses takes nothing away from those that are open.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::cut::{self, Case, Law};
use super::pictures::{Applied, Pictures};
use super::usage::Meter;
use crate::config::Config;
use crate::desired;
use crate::dns::outside::Resolved;
use crate::firewall::{
    Counters, Element, ElementChange, HostAddresses, Policy, Replacement, Ruleset, SetElements, Standing, Table,
};
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

/// The table of a policy, as this kernel takes it.
pub(super) async fn ruleset(policy: &Policy) -> Ruleset {
    static LOGS: OnceCell<bool> = OnceCell::const_new();
    // Where nft itself fails, the table will tell why.
    let logs = *LOGS.get_or_init(async || nft::can_log().await.unwrap_or(true)).await;
    let ruleset = desired::ruleset(policy);
    if logs { ruleset } else { ruleset.without_log() }
}

/// What this task believes the kernel has.
#[derive(Default)]
struct Kernel {
    policy: Option<(Arc<Config>, Arc<Policy>)>,
    bindings: Bindings,
    resolved: Arc<Resolved>,
    hosts: Arc<HostAddresses>,
    ruleset: Arc<Ruleset>,
    elements: Arc<SetElements>,
    /// Kept open: a lease change is a matter of microseconds.
    channel: Option<Elements>,
    /// Whether the open connections have been judged by this policy, or by the one before.
    judged: bool,
}

impl Kernel {
    /// What the first pass, or this task before it was started again, has recorded.
    fn standing(pictures: &Pictures) -> Self {
        let applied = pictures.applied.borrow();
        let Some(config) = applied.config.clone() else { return Kernel::default() };
        Kernel {
            hosts: Arc::new(desired::host_addresses(&config, &applied.bindings, &applied.resolved)),
            policy: Some((config.clone(), Arc::new(Policy::compile(&config)))),
            bindings: applied.bindings.clone(),
            resolved: applied.resolved.clone(),
            ruleset: applied.ruleset.clone(),
            elements: applied.elements.clone(),
            channel: None,
            judged: false,
        }
    }

    /// Makes the kernel follow the wish, and judges the connections that were open at the start as soon as the leases are known.
    ///
    /// The first judgement is by the new policy alone: what was in effect before the start is not known for sure, the file may have changed
    /// meanwhile. That is safe once the addresses of all hosts are known, for a connection that the standing policy refuses was allowed by
    /// another one. Before that every host without a fixed address would lose its connections; so the first table cuts nothing.
    async fn follow(&mut self, pictures: &Pictures, wish: Wish) -> anyhow::Result<()> {
        self.make_follow(pictures, wish).await?;
        if !self.judged {
            self.judge(pictures, None, None).await;
        }
        Ok(())
    }

    /// Cuts the connections that the standing policy refuses and the one before allowed; only those with an end at `moved`, where that is given.
    async fn judge(&mut self, pictures: &Pictures, before: Option<Law>, moved: Option<HashSet<IpAddr>>) {
        let Some(now) = self.law().filter(|_| pictures.leases_are_known()) else { return };
        self.judged = true;
        let links = pictures.links.borrow().clone();
        cut::cut(Case { now, before, moved, links, bindings: self.bindings.clone() }).await;
    }

    fn law(&self) -> Option<Law> {
        let (_, policy) = self.policy.as_ref()?;
        Some(Law { policy: policy.clone(), hosts: self.hosts.clone() })
    }

    /// Makes the kernel follow the wish by the smallest change.
    async fn make_follow(&mut self, pictures: &Pictures, wish: Wish) -> anyhow::Result<()> {
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
                tracing::warn!("set elements could not be changed alone, the table is made anew: {error:#}");
                // Some of them may have changed: what stands is not known any more.
                self.policy = None;
                return self.replace(pictures, wish).await;
            }
        }
        drop(meter);
        tracing::debug!(changes = changes.len(), "set elements follow leases and names");
        let before = self.law();
        let moved = desired::flows::moved(&self.hosts, &hosts);
        (self.bindings, self.resolved) = (wish.bindings, wish.resolved);
        (self.hosts, self.elements) = (Arc::new(hosts), Arc::new(elements));
        pictures.applied.send_modify(|applied| {
            (applied.elements, applied.bindings) = (self.elements.clone(), self.bindings.clone());
            applied.resolved = self.resolved.clone();
        });
        if self.judged && !moved.is_empty() && desired::flows::may_refuse(&changes) {
            self.judge(pictures, before, Some(moved)).await;
        }
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

    /// The connections that the standing table keeps cut, to stay so in the next one. A table without them is better than none.
    fn kept_cut() -> Vec<Element> {
        let cut = Elements::open().and_then(|mut channel| channel.cut());
        cut.inspect_err(|error| tracing::debug!("nothing is kept cut: {error:#}")).unwrap_or_default()
    }

    async fn replace(&mut self, pictures: &Pictures, wish: Wish) -> anyhow::Result<()> {
        let hosts = Arc::new(wish.hosts());
        let Wish { config, bindings, resolved } = wish;
        let policy = Arc::new(Policy::compile(&config));
        let elements = Arc::new(desired::elements(&policy, &hosts));
        let ruleset = ruleset(&policy).await;
        let mut meter = pictures.meter.lock().await;
        let changed = self.change_table(&mut meter, &policy, (&ruleset, &elements)).await;
        // Where the table is made whole, what stood before tells nothing: for a moment it lets in what a set of ranges denies.
        let before = self.law().filter(|_| self.judged && changed.is_some());
        let put = match changed {
            Some(planned) => Ok(planned),
            None => Self::put_table(&mut meter, &policy, (&ruleset, &elements)).await,
        };
        match put {
            Ok(planned) => meter.replaced(&policy, planned),
            Err(error) => {
                let refused = Some((config, format!("error: {error:#}")));
                pictures.applied.send_modify(|applied| applied.refused = refused);
                return Err(error);
            }
        }
        drop(meter);
        let ruleset = Arc::new(ruleset);
        (self.policy, self.hosts) = (Some((config.clone(), policy)), hosts);
        (self.ruleset, self.elements) = (ruleset.clone(), elements.clone());
        (self.bindings, self.resolved) = (bindings.clone(), resolved.clone());
        self.judge(pictures, before, None).await;
        pictures.applied.send_replace(Applied {
            config: Some(config),
            refused: None,
            replaced_unix: clock::now().unix,
            ruleset,
            elements,
            bindings,
            resolved,
        });
        pictures.report("firewall", true, "the table inet labgate stands as the file says");
        Ok(())
    }

    /// Turns the table that stands into the next one by what differs; `None` where none stands, or not as it is believed to.
    async fn change_table(&self, meter: &mut Meter, policy: &Policy, next: Table<'_>) -> Option<Standing> {
        self.policy.as_ref()?;
        let replacement = Replacement::new((&self.ruleset, &self.elements), next);
        let planned = meter.plan(policy, next.1, |set, key| replacement.stays(set, key));
        let counters = planned.counters();
        let change = async {
            if let Some(first) = replacement.first(&counters) {
                nft::apply(&first).await?;
            }
            nft::apply(&replacement.text(&counters)).await
        };
        match change.await {
            Ok(()) => Some(planned),
            Err(error) => {
                tracing::warn!("the table is not as it was left, it is made anew: {error:#}");
                None
            }
        }
    }

    /// Makes the whole table, whatever was there.
    async fn put_table(meter: &mut Meter, policy: &Policy, next: Table<'_>) -> anyhow::Result<Standing> {
        let ruleset = next.0.clone().keeping_cut(Self::kept_cut());
        let planned = meter.plan(policy, next.1, |_, _| false);
        nft::apply(&ruleset.text_with(next.1, &planned.counters())).await?;
        Ok(planned)
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
