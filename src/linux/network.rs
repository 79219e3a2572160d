//! Brings the kernel's network to the plan, and back to what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::netlink::Netlink;
use super::{arp, network_record, sysctl};
use crate::desired::network::{Kernel, NetworkPlan, Owned, Step, obstacles, steps};
use crate::model::{Link, Links};

/// Links, then their members and addresses, then routes, then what is taken out: more rounds than that are somebody else's doing.
const ROUNDS: usize = 6;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Keeps the kernel as planned. It alone writes the record of what is ours.
pub struct Keeper {
    netlink: Netlink,
    state: PathBuf,
    owned: Owned,
    stored: Owned,
    unstored: Option<String>,
    seen_up: BTreeSet<u32>,
    failing: Vec<Failing>,
    /// Links by number with the addresses their neighbours were told of.
    announced: BTreeSet<(u32, Ipv4Addr)>,
}

/// A step that failed, and when it is worth another try.
struct Failing {
    step: Step,
    words: String,
    /// The link as it stood: where it has changed, the next try does not wait.
    link: Option<Link>,
    wait: Duration,
    due: Instant,
}

/// What a pass found and did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The kernel afterwards.
    pub links: Links,
    /// What was done.
    pub done: Vec<Step>,
    /// What cannot be done now: step and reason.
    pub failed: Vec<(Step, String)>,
    /// What hinders a network and no step can mend: network and sentence.
    pub obstacles: Vec<(String, String)>,
    /// When the first failed step is due again.
    pub retry: Option<Instant>,
    /// Why the record of what is ours is not on disk.
    pub unstored: Option<String>,
}

impl Keeper {
    /// Opens netlink and reads the record. Must be called inside a runtime.
    ///
    /// # Errors
    /// Where there is no netlink socket.
    pub fn open(state: &Path) -> io::Result<Self> {
        let owned = match network_record::load(state) {
            Ok(owned) => owned,
            Err(error) => {
                let aside = match network_record::put_aside(state) {
                    Ok(aside) => format!("; it is kept as {}", aside.display()),
                    Err(_) => String::new(),
                };
                warn!("the record of what labgate put into the kernel cannot be read ({error}){aside}");
                Owned::default()
            }
        };
        Ok(Keeper {
            netlink: Netlink::open()?,
            state: state.to_owned(),
            stored: owned.clone(),
            unstored: None,
            owned,
            seen_up: BTreeSet::new(),
            failing: Vec::new(),
            announced: BTreeSet::new(),
        })
    }

    /// Waits for news from the kernel.
    pub async fn changed(&self) {
        self.netlink.changed().await;
    }

    /// Reads the kernel and does what is missing. `closed` says that the ruleset is in the kernel.
    ///
    /// # Errors
    /// Where the kernel cannot be read: nothing is then changed.
    pub async fn pass(&mut self, plan: &NetworkPlan, closed: bool) -> io::Result<Outcome> {
        if !self.netlink.is_alive() {
            self.netlink = Netlink::open()?;
        }
        let mut outcome = Outcome::default();
        let mut tried: Vec<Step> = Vec::new();
        for _ in 0..ROUNDS {
            let links = self.netlink.links().await.map_err(io::Error::other)?;
            self.notice(plan, &links);
            let sysctls = self.read_sysctls(plan);
            let kernel =
                Kernel { links: &links, sysctls: &sysctls, owned: &self.owned, seen_up: &self.seen_up, closed };
            let wanted = steps(plan, kernel);
            outcome.obstacles = obstacles(plan, kernel);
            self.failing.retain(|failing| wanted.contains(&failing.step));
            // A step that was done and is wanted again at once is being undone by somebody: it waits for the next pass.
            let now: Vec<Step> =
                wanted.into_iter().filter(|step| !tried.contains(step) && self.is_due(step, &links)).collect();
            if now.is_empty() {
                outcome.links = links;
                break;
            }
            tried.extend(now.iter().cloned());
            outcome.done.extend(self.execute(now, &links, &sysctls).await);
            outcome.links = links;
        }
        self.announce(plan, &outcome.links);
        outcome.failed = self.failing.iter().map(|failing| (failing.step.clone(), failing.words.clone())).collect();
        outcome.unstored.clone_from(&self.unstored);
        outcome.retry = self.failing.iter().map(|failing| failing.due).min();
        Ok(outcome)
    }

    fn notice(&mut self, plan: &NetworkPlan, links: &Links) {
        self.owned.prune(links);
        self.seen_up.retain(|index| links.by_name.values().any(|link| link.index == *index));
        let up = plan.links.iter().filter_map(|wish| links.by_name.get(&wish.name)).filter(|link| link.up);
        self.seen_up.extend(up.map(|link| link.index));
    }

    /// Tells the neighbours of an address as soon as there is a carrier to tell them over, and again after it was lost.
    fn announce(&mut self, plan: &NetworkPlan, links: &Links) {
        let mut reachable = BTreeSet::new();
        for wish in &plan.links {
            let Some(link) = links.by_name.get(&wish.name).filter(|link| link.up && link.carrier) else { continue };
            for address in wish.addresses.iter().filter(|address| link.addresses.contains(address)) {
                reachable.insert((link.index, address.addr()));
                if self.announced.contains(&(link.index, address.addr())) {
                    continue;
                }
                if let Err(error) = arp::announce(&wish.name, address.addr()) {
                    debug!("{} could not be announced on {}: {error}", address.addr(), wish.name);
                }
            }
        }
        self.announced = reachable;
    }

    fn read_sysctls(&self, plan: &NetworkPlan) -> BTreeMap<String, String> {
        let names = plan.sysctls.iter().map(|wish| &wish.name).chain(self.owned.sysctls.keys());
        names.filter_map(|name| Some((name.clone(), sysctl::read(name)?))).collect()
    }

    fn is_due(&self, step: &Step, links: &Links) -> bool {
        let Some(failing) = self.failing.iter().find(|failing| failing.step == *step) else { return true };
        let link = step.link().and_then(|name| links.by_name.get(name));
        failing.due <= Instant::now() || link != failing.link.as_ref()
    }

    /// The record is on disk before the kernel changes: what a crash leaves behind is known to be ours.
    async fn execute(&mut self, now: Vec<Step>, links: &Links, sysctls: &BTreeMap<String, String>) -> Vec<Step> {
        let mut noted = Vec::with_capacity(now.len());
        for step in now {
            let before = match &step {
                Step::WriteSysctl { name, .. } => sysctls.get(name).map(String::as_str),
                _ => None,
            };
            let news = self.owned.note(&step, links, before);
            noted.push((step, news));
        }
        self.store();
        let mut done = Vec::new();
        for (step, news) in noted {
            match self.netlink.apply(&step, links).await {
                Ok(()) => {
                    info!("{step}");
                    self.failing.retain(|failing| failing.step != step);
                    if takes_out(&step) {
                        self.owned.forget(&step, links);
                    }
                    done.push(step);
                }
                Err(error) if is_done_already(&step, &error) => self.owned.forget(&step, links),
                Err(error) => {
                    if news {
                        self.owned.forget(&step, links);
                    }
                    self.fail(step, links, &error);
                }
            }
        }
        self.store();
        done
    }

    fn fail(&mut self, step: Step, links: &Links, error: &io::Error) {
        let words = explain(&step, error);
        let link = step.link().and_then(|name| links.by_name.get(name)).cloned();
        match self.failing.iter_mut().find(|failing| failing.step == step) {
            Some(failing) => {
                failing.wait = (failing.wait * 2).min(LONGEST_RETRY);
                failing.due = Instant::now() + failing.wait;
                (failing.words, failing.link) = (words, link);
            }
            None => {
                warn!("could not {step}: {words}");
                self.failing.push(Failing { step, words, link, wait: FIRST_RETRY, due: Instant::now() + FIRST_RETRY });
            }
        }
    }

    /// A disk that refuses does not keep the network down: the record then lives in memory until it can be written.
    fn store(&mut self) {
        if self.owned == self.stored && self.unstored.is_none() {
            return;
        }
        match network_record::save(&self.state, &self.owned) {
            Ok(()) => {
                self.stored = self.owned.clone();
                self.unstored = None;
            }
            Err(error) => {
                let file = network_record::path(&self.state);
                let words = format!(
                    "{} cannot be written ({error}): a teardown after a restart would miss something",
                    file.display()
                );
                if self.unstored.is_none() {
                    warn!("{words}");
                }
                self.unstored = Some(words);
            }
        }
    }
}

fn takes_out(step: &Step) -> bool {
    matches!(
        step,
        Step::ClearMaster { .. }
            | Step::RemoveAddress { .. }
            | Step::RemoveRoute { .. }
            | Step::DeleteLink { .. }
            | Step::SetDown { .. }
            | Step::RestoreMtu { .. }
            | Step::RestoreSysctl { .. }
    )
}

/// Somebody was faster: what is there is then not ours, and what is gone is gone.
fn is_done_already(step: &Step, error: &io::Error) -> bool {
    let code = error.raw_os_error();
    match step {
        Step::AddAddress { .. } | Step::CreateBridge { .. } | Step::CreateVlan { .. } => code == Some(libc::EEXIST),
        Step::RemoveAddress { .. } => code == Some(libc::EADDRNOTAVAIL) || code == Some(libc::ENODEV),
        Step::RemoveRoute { .. } => code == Some(libc::ESRCH) || code == Some(libc::ENODEV),
        Step::DeleteLink { .. } | Step::SetDown { .. } | Step::ClearMaster { .. } => code == Some(libc::ENODEV),
        _ => false,
    }
}

/// What the kernel said, in words that help.
fn explain(step: &Step, error: &io::Error) -> String {
    match (step, error.raw_os_error()) {
        (Step::CreateVlan { name, .. }, Some(libc::EOPNOTSUPP)) => {
            format!("{name} cannot be made: this kernel has no 802.1Q VLANs loaded; run `modprobe 8021q` as root")
        }
        (Step::CreateBridge { name }, Some(libc::EOPNOTSUPP)) => {
            format!("{name} cannot be made: this kernel has no bridges loaded; run `modprobe bridge` as root")
        }
        (_, Some(libc::EPERM)) => {
            format!("could not {step}: labgate may not change the network here; it needs CAP_NET_ADMIN")
        }
        (Step::WriteSysctl { .. } | Step::RestoreSysctl { .. }, _) => error.to_string(),
        _ => format!("could not {step}: {error}"),
    }
}

/// Takes out everything that labgate has put into the kernel: addresses, routes, bridges, VLANs, and puts settings back. What was there
/// before stays. Gives back what was done, in words.
///
/// # Errors
/// The first thing that could not be put back; the record then keeps it.
pub async fn teardown(state: &Path) -> io::Result<Vec<String>> {
    let mut keeper = Keeper::open(state)?;
    let mut outcome = keeper.pass(&NetworkPlan::default(), false).await?;
    let links = &outcome.links;
    let name = |index: u32| links.by_name.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone());
    let lowered: Vec<Step> =
        keeper.owned.raised.iter().filter_map(|link| name(link.index)).map(|link| Step::SetDown { link }).collect();
    let links = keeper.netlink.links().await.map_err(io::Error::other)?;
    outcome.done.extend(keeper.execute(lowered, &links, &BTreeMap::new()).await);
    match keeper.failing.first() {
        Some(failing) => Err(io::Error::other(failing.words.clone())),
        None => {
            // A setting of an interface that is gone went with it.
            keeper.owned = Owned::default();
            keeper.store();
            match keeper.unstored {
                Some(words) => Err(io::Error::other(words)),
                None => Ok(outcome.done.iter().map(ToString::to_string).collect()),
            }
        }
    }
}
