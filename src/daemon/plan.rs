//! `labgate plan`: what the file, or another text, would change in what runs now.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::change::{Texts, gather};
use super::pictures::Pictures;
use super::prepare;
use crate::config::Config;
use crate::desired::plan::{Plan, Session, Standing, plan};
use crate::desired::{self, Devices, flows};
use crate::firewall::{HostAddresses, Policy};
use crate::linux::history::History;
use crate::linux::nfnetlink::Channel;
use crate::linux::{clock, conntrack};
use crate::model::{Bindings, Flow, Links};

/// Compares. Nothing changes.
///
/// # Errors
/// All problems of the text, rendered.
pub async fn ask(pictures: &Arc<Pictures>, text: Option<String>, session: Option<Session>) -> anyhow::Result<Plan> {
    let texts = text.map_or(Texts::File, Texts::Main);
    let sources = gather(pictures, &texts).await.map_err(anyhow::Error::msg)?;
    let loaded = prepare::check_aside(sources).await.map_err(anyhow::Error::msg)?;
    let revision = pictures.standing.borrow().record.running();
    let applied_unix = History::open(&pictures.paths.state).history.revision(revision).ok().map(|found| found.unix);
    let case = Case {
        old: pictures.config.borrow().clone(),
        new: loaded.config,
        bindings: pictures.bindings.borrow().clone(),
        resolved: pictures.resolved.borrow().clone(),
        links: pictures.links.borrow().clone(),
        session,
    };
    let mut plan = tokio::task::spawn_blocking(move || case.compare()).await?;
    plan.applied_unix = applied_unix;
    Ok(plan)
}

/// Logs what a change that is in effect has changed. Nobody waits for that.
pub(super) fn tell(pictures: &Arc<Pictures>, old: Arc<Config>, revision: u64) {
    let case = Case {
        old,
        new: (**pictures.config.borrow()).clone(),
        bindings: pictures.bindings.borrow().clone(),
        resolved: pictures.resolved.borrow().clone(),
        links: pictures.links.borrow().clone(),
        session: None,
    };
    tokio::task::spawn_blocking(move || {
        let (old, new) = (Side::new(&case.old, &case), Side::new(&case.new, &case));
        let found = plan(&old.standing(), &new.standing(), &case.bindings, None, clock::now());
        if !found.effects.is_empty() {
            let told = Plan { effects: found.effects, ..Plan::default() };
            tracing::info!("revision {revision} has changed:\n{}", told.to_string().trim_end());
        }
    });
}

/// Everything that is compared.
struct Case {
    old: Arc<Config>,
    new: Config,
    bindings: Bindings,
    resolved: Arc<crate::dns::outside::Resolved>,
    links: Arc<Links>,
    session: Option<Session>,
}

/// One side, with what it is made of.
struct Side<'a> {
    config: &'a Config,
    policy: Policy,
    hosts: HostAddresses,
    uplink: Vec<Ipv4Addr>,
}

impl<'a> Side<'a> {
    fn new(config: &'a Config, case: &Case) -> Self {
        let policy = Policy::compile(config);
        let hosts = desired::host_addresses(config, &case.bindings, &case.resolved);
        let around = desired::surroundings(&policy, &hosts, &case.links);
        let uplink = around.uplink.iter().map(|net| net.addr()).collect();
        Side { config, policy, hosts, uplink }
    }

    fn standing(&self) -> Standing<'_> {
        Standing { config: self.config, policy: &self.policy, hosts: &self.hosts, uplink: &self.uplink }
    }
}

impl Case {
    fn compare(&self) -> Plan {
        let (old, new) = (Side::new(&self.old, self), Side::new(&self.new, self));
        let mut found = plan(&old.standing(), &new.standing(), &self.bindings, self.session, clock::now());
        if *self.old != self.new {
            match Channel::open().and_then(|mut channel| conntrack::flows(&mut channel)) {
                Ok(open) => found.cut = self.cut(&old, &new, &open),
                Err(error) => tracing::debug!("open connections cannot be looked at: {error}"),
            }
        }
        found
    }

    /// The open connections that would lose their permission.
    fn cut(&self, old: &Side<'_>, new: &Side<'_>, open: &[Flow]) -> Vec<String> {
        let around = |side: &Side<'_>| desired::surroundings(&side.policy, &side.hosts, &self.links);
        let (before, now) = (around(old), around(new));
        let before_law = flows::Law { policy: &old.policy, around: &before };
        let now_law = flows::Law { policy: &new.policy, around: &now };
        let devices = Devices { policy: &old.policy, around: &before, bindings: &self.bindings };
        let lost = flows::refused(now_law, Some(before_law), open);
        lost.into_iter().map(|index| devices.asked(&open[index].original)).collect()
    }
}
