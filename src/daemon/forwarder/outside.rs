//! Names of the outside that rules mention: what upstreams say of them is published before the asker hears it, they are asked again before
//! their time ends, and what was good last is kept on disk.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Forwarder, Settings, Waiter};
use crate::config::Config;
use crate::daemon::pictures::Pictures;
use crate::desired::names_moved;
use crate::dns::cache::Freshness;
use crate::dns::outside::{Heard, Resolution, Resolved, ask_at, hear, is_outside};
use crate::dns::wire::{ExtendedError, Key, WireName, rcode, rtype};
use crate::dns::{Ask, Entry, Route};
use crate::linux::{clock, resolved_names};
use crate::model::{DomainName, Now};

/// How long an answer waits for the rules to know its addresses: the kernel takes far less, unless it has just got a whole new table.
const RULES_PATIENCE: Duration = Duration::from_millis(250);
/// How often the disk is written at most: addresses that rotate do so with every answer.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// How often the age of the answers is told anew.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// The least time between two questions for a name that fails while links come and go.
const RENEWED_REST: Duration = Duration::from_secs(1);
/// How many names that fail are told by name.
const MOST_TOLD: usize = 3;

/// Publishes what `entry` says of the name asked for, where a rule mentions it, and waits until the rules know new addresses.
pub(super) async fn publish(pictures: &Pictures, settings: &Settings, ask: &Ask, entry: &Entry) {
    let Some(name) = mentioned(settings, &ask.key) else { return };
    let started = Instant::now();
    let Some(addresses) = learn(pictures, settings, name, ask.route, entry, clock::now()) else { return };
    let mut applied = pictures.applied.subscribe();
    let known = |resolved: &Resolved| {
        resolved
            .get(name)
            .is_some_and(|found| addresses.iter().all(|(address, _)| found.addresses.contains_key(address)))
    };
    let follows = timeout(RULES_PATIENCE, applied.wait_for(|applied| known(&applied.resolved))).await.is_ok();
    let micros = started.elapsed().as_micros();
    match follows {
        true => tracing::debug!(micros, "rules know the addresses of {name}"),
        false => tracing::warn!("rules do not know the new addresses of {name} yet, clients hear of them all the same"),
    }
}

fn mentioned<'a>(settings: &'a Settings, key: &Key) -> Option<&'a DomainName> {
    if key.qtype() == rtype::A { settings.outside.get(key.name()) } else { None }
}

/// Puts an answer that was given at `at` into the picture. Gives its addresses where one of them is new.
fn learn(
    pictures: &Pictures,
    settings: &Settings,
    name: &DomainName,
    route: Route,
    entry: &Entry,
    at: Now,
) -> Option<Vec<(Ipv4Addr, u32)>> {
    let forwarded = matches!(route, Route::Forward(_));
    let heard = hear(entry, |address| is_outside(address, forwarded, &settings.own, &settings.zones.subnets));
    let mut before = None;
    pictures.resolved.send_modify(|resolved| {
        before = resolved.get(name).cloned();
        Arc::make_mut(resolved).set(name.clone(), before.clone().unwrap_or_default().after(&heard, at));
    });
    let before = before.unwrap_or_default();
    match (&heard, &before.failure) {
        (Heard::Nothing(why), None) => tracing::warn!("rules name {name}, and {why}; {}", what_stays(&before)),
        (Heard::Addresses(..), Some(_)) => tracing::info!("{name} has addresses again"),
        _ => {}
    }
    let Heard::Addresses(found, _) = heard else { return None };
    found.iter().any(|(address, _)| !before.addresses.contains_key(address)).then_some(found)
}

fn what_stays(known: &Resolution) -> &'static str {
    if known.addresses.is_empty() { "no rule that names it is in effect" } else { "its last addresses stay" }
}

/// Keeps the names of the running configuration fresh. Part of the DNS task, which calls [`Outside::round`] at every change and in time.
#[derive(Default)]
pub struct Outside {
    /// When each name was asked for.
    asked: HashMap<DomainName, Duration>,
    /// What the disk has: the addresses by name.
    saved: Option<(Duration, Arc<Resolved>)>,
}

impl Outside {
    /// Asks what is due, tells how the names are, and keeps them. `renewed` says that the way to the upstreams may have changed, so that what
    /// failed is tried again. Gives when to come again, on the engine's clock.
    pub fn round(
        &mut self,
        forwarder: &Arc<Forwarder>,
        config: &Config,
        resolved: &Arc<Resolved>,
        renewed: bool,
    ) -> Duration {
        let engine = &forwarder.engine;
        let settings = engine.settings.load_full();
        let now = clock::now();
        if renewed {
            let fails = |name: &DomainName| resolved.get(name).is_some_and(|known| known.failure.is_some());
            let mentioned = |name: &DomainName| settings.outside.contains_key(WireName::new(name).as_bytes());
            self.asked.retain(|name, at| mentioned(name) && !(*at + RENEWED_REST <= now.instant && fails(name)));
        }
        let mut next = now.instant + TELL_EVERY;
        for outside in &config.outside_names {
            let name = &outside.name;
            let asked = self.asked.get(name).copied();
            let mut due = ask_at(resolved.get(name), asked);
            if due <= now.instant {
                self.asked.insert(name.clone(), now.instant);
                ask(forwarder, &settings, name, resolved.get(name).is_none(), now);
                due = ask_at(None, Some(now.instant));
            }
            next = next.min(due);
        }
        tell(&engine.pictures, config, resolved, now);
        next.min(self.keep(&engine.pictures, config, resolved, now).unwrap_or(next))
    }

    /// Writes to the disk where addresses have changed and the last time is long enough ago; else gives when that will be.
    fn keep(
        &mut self,
        pictures: &Arc<Pictures>,
        config: &Config,
        resolved: &Arc<Resolved>,
        now: Now,
    ) -> Option<Duration> {
        if !self.is_unsaved(config, resolved) {
            return None;
        }
        let at = self.saved.as_ref().map_or(Duration::ZERO, |(at, _)| *at + SAVE_EVERY);
        if at > now.instant {
            return Some(at);
        }
        self.saved = Some((now.instant, resolved.clone()));
        let (pictures, config, resolved) = (pictures.clone(), config.clone(), resolved.clone());
        tokio::task::spawn_blocking(move || save(&pictures, &config, &resolved));
        None
    }

    fn is_unsaved(&self, config: &Config, resolved: &Resolved) -> bool {
        let nothing = Resolved::default();
        let saved = self.saved.as_ref().map_or(&nothing, |(_, saved)| saved);
        names_moved(config, saved, resolved)
    }

    /// The last word before the end: what is not on the disk yet.
    pub fn finish(&self, pictures: &Pictures) {
        let (config, resolved) = (pictures.config.borrow().clone(), pictures.resolved.borrow().clone());
        if self.is_unsaved(&config, &resolved) {
            save(pictures, &config, &resolved);
        }
    }
}

fn save(pictures: &Pictures, config: &Config, resolved: &Resolved) {
    let names = config.outside_names.iter().map(|outside| &outside.name);
    if let Err(error) = resolved_names::save(&pictures.paths.state, resolved, names) {
        tracing::warn!(%error, "cannot keep the addresses of names in {}", pictures.paths.state.display());
    }
}

/// Asks for a name as a client would, but past the cache: its time is nearly over. The `first` time the cache may know already what clients do.
fn ask(forwarder: &Arc<Forwarder>, settings: &Arc<Settings>, name: &DomainName, first: bool, now: Now) {
    let wire = WireName::new(name);
    let Some(key) = Key::new(wire.as_bytes(), rtype::A, false, false) else { return };
    let Some(route) = settings.zones.route_of(wire.as_bytes()) else {
        let entry = Entry::failure(&key, rcode::NXDOMAIN, 0, ExtendedError::NOT_AUTHORITATIVE);
        learn(&forwarder.engine.pictures, settings, name, Route::Upstream, &entry, now);
        return;
    };
    let cached = if first { forwarder.engine.look_up(&key, now.instant) } else { None };
    if let Some(hit) = cached.filter(|hit| hit.freshness == Freshness::Fresh && hit.entry.rcode() == rcode::NOERROR) {
        let age = Duration::from_secs(hit.age.into());
        let given = Now { instant: now.instant.saturating_sub(age), unix: now.unix.saturating_sub(age.as_secs()) };
        learn(&forwarder.engine.pictures, settings, name, route, &hit.entry, given);
        return;
    }
    forwarder.ask(Ask { key, route, stale: false }, Waiter::nobody(), settings.clone());
}

/// The row `names`: how many have addresses, and what is wrong with the others.
fn tell(pictures: &Pictures, config: &Config, resolved: &Resolved, now: Now) {
    if config.outside_names.is_empty() {
        return pictures.forget_report("names");
    }
    let mut good = true;
    let mut known = 0;
    let mut failing = Vec::new();
    for name in config.outside_names.iter().map(|outside| &outside.name) {
        let Some(found) = resolved.get(name) else { continue };
        known += usize::from(!found.addresses.is_empty());
        good &= found.is_good(now);
        let Some(failure) = found.failure else { continue };
        failing.push(match found.age(now).map(|age| age.as_secs() / 60) {
            None => format!("{name}: {}, no rule that names it is in effect", failure.why),
            Some(minutes) => format!("{name}: {}, its addresses are {minutes} min old", failure.why),
        });
    }
    let mut words = vec![format!("{known} of {} outside names in rules have addresses", config.outside_names.len())];
    let more = failing.len().saturating_sub(MOST_TOLD);
    words.extend(failing.into_iter().take(MOST_TOLD));
    words.extend((more > 0).then(|| format!("and {more} more without an answer")));
    pictures.report("names", good, words.join("; "));
}
