//! The network task: keeps links, addresses, routes and kernel settings as the configuration asks, and publishes what the kernel has.
//!
//! It wakes for news from the kernel, for a new configuration, for the uplink's lease and for the ruleset, and every time asks the same
//! question: what differs? So whatever was missed is seen the next time, and an interface that comes back is served again at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::pictures::Pictures;
use crate::config::Config;
use crate::desired::network::{IP_FORWARD, NetworkPlan, Step, WAN, plan};
use crate::linux::network::{Keeper, Outcome};
use crate::model::Links;

/// Between two passes: news come in bursts.
const SETTLE: Duration = Duration::from_millis(20);
/// Between two passes where somebody keeps undoing what we do.
const LONGEST_SETTLE: Duration = Duration::from_secs(5);
/// Passes in a row that change something, before they slow down.
const PATIENCE: u32 = 6;
/// After that long without a change, all is calm.
const CALM: Duration = Duration::from_secs(10);
/// Until the kernel is asked again where it could not be read.
const KERNEL_RETRY: Duration = Duration::from_secs(1);

/// Brings the network to the configuration once, without forwarding: before anything else starts. What is missing is reported, not fatal.
///
/// # Errors
/// Where there is no netlink socket, or the kernel cannot be read.
pub async fn first_pass(pictures: &Pictures) -> Result<()> {
    let mut keeper = Keeper::open(&pictures.paths.state).context("no netlink socket")?;
    let (plan, config) = wish(pictures);
    let outcome = keeper.pass(&plan, false).await.context("the kernel's interfaces cannot be read")?;
    publish(pictures, &plan, &config, &outcome, &mut Vec::new());
    Ok(())
}

/// Keeps the network as configured until `token` ends it. Nothing is taken out then: `labgate teardown` does that.
///
/// # Errors
/// Where there is no netlink socket.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> Result<()> {
    let mut keeper = Keeper::open(&pictures.paths.state).context("no netlink socket")?;
    let mut config = pictures.config.subscribe();
    let mut uplink = pictures.uplink.subscribe();
    let mut applied = pictures.applied.subscribe();
    let mut pace = Pace::default();
    let mut rows = Vec::new();
    loop {
        config.mark_unchanged();
        uplink.mark_unchanged();
        let closed = applied.borrow_and_update().config.is_some();
        let (plan, configuration) = wish(&pictures);
        let retry = match keeper.pass(&plan, closed).await {
            Ok(outcome) => {
                publish(&pictures, &plan, &configuration, &outcome, &mut rows);
                pace.passed(&outcome);
                outcome.retry
            }
            Err(error) => {
                pictures.report("network", false, format!("the kernel's interfaces cannot be read: {error}"));
                Some(Instant::now() + KERNEL_RETRY)
            }
        };
        let again = async {
            match retry {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = keeper.changed() => {}
            changed = config.changed() => changed?,
            changed = uplink.changed() => changed?,
            changed = applied.wait_for(|applied| applied.config.is_some() != closed) => drop(changed?),
            () = again => {}
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = sleep(pace.settle) => {}
        }
    }
}

fn wish(pictures: &Pictures) -> (NetworkPlan, Arc<Config>) {
    let config = pictures.config.borrow().clone();
    let plan = plan(&config, &pictures.uplink.borrow().address);
    (plan, config)
}

/// How fast passes follow one another.
struct Pace {
    settle: Duration,
    active: u32,
    last: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { settle: SETTLE, active: 0, last: Instant::now() }
    }
}

impl Pace {
    fn passed(&mut self, outcome: &Outcome) {
        let calm = self.last.elapsed() > CALM;
        if outcome.done.is_empty() && !calm {
            return;
        }
        self.last = Instant::now();
        self.active = if calm { 0 } else { self.active + 1 };
        let before = self.settle;
        self.settle = match self.active.checked_sub(PATIENCE) {
            None => SETTLE,
            Some(more) => (SETTLE * 2_u32.saturating_pow(more.min(16))).min(LONGEST_SETTLE),
        };
        if self.settle == LONGEST_SETTLE && before != self.settle {
            warn!(
                "something keeps undoing labgate's changes to the network; trying again every {} s",
                LONGEST_SETTLE.as_secs()
            );
        }
    }
}

/// Publishes the picture of the links, and one row of health for each network.
fn publish(pictures: &Pictures, plan: &NetworkPlan, config: &Config, outcome: &Outcome, rows: &mut Vec<String>) {
    pictures.links.send_if_modified(|links| {
        let news = **links != outcome.links;
        if news {
            *links = Arc::new(outcome.links.clone());
        }
        news
    });
    let mut hindered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (network, words) in &outcome.obstacles {
        hindered.entry(network.clone()).or_default().push(words.clone());
    }
    let mut general: Vec<String> = outcome.unstored.iter().cloned().collect();
    // `rp_filter` of a link is a second line behind the ruleset: where it cannot be written, the log has said so.
    let second_line = |step: &Step| matches!(step, Step::WriteSysctl { link: Some(_), .. });
    for (step, words) in outcome.failed.iter().filter(|(step, _)| !second_line(step)) {
        match step.link().and_then(|link| plan.find(link)) {
            Some(link) => hindered.entry(link.network.to_string()).or_default().push(words.clone()),
            None => general.push(words.clone()),
        }
    }
    let mut written = Vec::new();
    let networks = config.networks.iter().map(|network| (&*network.name, &**network.link()));
    let uplink = plan.links.iter().filter(|link| &*link.network == WAN).map(|link| (WAN, &*link.name)).next_back();
    for (network, link) in networks.chain(uplink) {
        let row = format!("network {network}");
        match hindered.get(network) {
            Some(words) => pictures.report(&row, false, words.join("; ")),
            None => pictures.report(&row, true, sentence(link, &outcome.links)),
        }
        written.push(row);
    }
    if general.is_empty() {
        let forwards = crate::linux::sysctl::read(IP_FORWARD).as_deref() == Some("1");
        pictures.report(
            "network",
            true,
            if forwards { "forwarding is on" } else { "forwarding is off until the firewall is closed" },
        );
    } else {
        pictures.report("network", false, general.join("; "));
    }
    for gone in rows.iter().filter(|row| !written.contains(row)) {
        pictures.forget_report(gone);
    }
    *rows = written;
}

fn sentence(link: &str, links: &Links) -> String {
    match links.by_name.get(link) {
        Some(now) => {
            let addresses: Vec<String> = now.addresses.iter().map(ToString::to_string).collect();
            let carrier = if now.carrier { "" } else { ", no carrier" };
            match addresses.is_empty() {
                true => format!("{link} is up, without an address{carrier}"),
                false => format!("{link} has {}{carrier}", addresses.join(" and ")),
            }
        }
        None => format!("{link} is being made"),
    }
}
