//! Cuts the connections that lost their permission, and says which.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::desired::{self, Devices, flows};
use crate::firewall::{HostAddresses, Policy};
use crate::linux::conntrack;
use crate::linux::nfnetlink::Channel;
use crate::linux::nft_elements::Elements;
use crate::model::{Bindings, Flow, Links};

/// How many connections are named in the log.
const EXAMPLES: usize = 3;

/// What the kernel's table was made from.
pub(super) struct Law {
    pub policy: Arc<Policy>,
    pub hosts: Arc<HostAddresses>,
}

/// What is to be judged.
pub(super) struct Case {
    pub now: Law,
    /// What was in effect before; `None` where that is not known.
    pub before: Option<Law>,
    /// The addresses that hosts left or took, where nothing else has changed.
    pub moved: Option<HashSet<IpAddr>>,
    pub links: Arc<Links>,
    pub bindings: Bindings,
}

/// Cuts what the case says. A failure is told; the new policy holds for new connections all the same.
pub(super) async fn cut(case: Case) {
    // A hundred thousand connections take a while to read.
    let judged = tokio::task::spawn_blocking(move || judge(&case)).await;
    match judged.map_err(anyhow::Error::from).flatten() {
        Ok(None) => {}
        Ok(Some(words)) => tracing::info!("{words}"),
        Err(error) => tracing::warn!("connections that lost their permission may go on: {error:#}"),
    }
}

fn judge(case: &Case) -> anyhow::Result<Option<String>> {
    let mut channel = Channel::open()?;
    let mut open = conntrack::flows(&mut channel)?;
    if let Some(moved) = &case.moved {
        open.retain(|flow| flows::touches(flow, moved));
    }
    let around = |law: &Law| desired::surroundings(&law.policy, &law.hosts, &case.links);
    let now_around = around(&case.now);
    let before = case.before.as_ref().map(|before| (before, around(before)));
    let now = flows::Law { policy: &case.now.policy, around: &now_around };
    let before = before.as_ref().map(|(before, around)| flows::Law { policy: &before.policy, around });
    let lost = match before {
        Some(before) => flows::refused(now, Some(before), &open),
        None => flows::refused_at_start(now, &open),
    };
    let lost: Vec<Flow> = lost.into_iter().map(|index| open[index]).collect();
    if lost.is_empty() {
        return Ok(None);
    }
    // First what keeps them cut: the next packet of one may be under way.
    if let Err(error) = Elements::open().and_then(|mut elements| elements.change(&flows::barriers(&lost))) {
        tracing::warn!("a connection that is cut may be taken up again by its answers: {error:#}");
    }
    let count = conntrack::delete(&mut channel, &lost)?;
    if count == 0 {
        return Ok(None);
    }
    let devices = Devices { policy: now.policy, around: now.around, bindings: &case.bindings };
    let mut examples: Vec<String> = lost.iter().map(|flow| devices.asked(&flow.original)).collect();
    examples.sort_unstable();
    examples.dedup();
    let more = if examples.len() > EXAMPLES { ", ..." } else { "" };
    examples.truncate(EXAMPLES);
    let noun = if count == 1 { "connection" } else { "connections" };
    Ok(Some(format!("cut {count} {noun} that lost permission: {}{more}", examples.join(", "))))
}
