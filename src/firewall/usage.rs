//! What rules and forwards have been used for: a book of tallies that outlives every table.
//!
//! The kernel counts by set element, and elements come and go with edits, leases, reboots and strangers who flush the table. So its
//! counters are only ever *read for what was added* since they were read last; the sums stand here. An element that comes gets the sum of
//! its tally to go on from, so that nft too lists the whole.
//!
//! Time is counted on a clock of the book's own, which goes while the book is kept: neither a jump of the wall clock nor a month in a
//! drawer makes a rule look unused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::ruleset::{Counter, Counters, ElementChange, Field, Key, SetElements};
use super::tally::{Tally, comment_words};
use super::text::plain_comment;
use super::wire;
use crate::model::{Now, UnixSeconds};

const VERSION: u32 = 1;

/// How many tallies are kept that no rule has any more, for the day the rule comes back.
const LEFT_AT_MOST: usize = 2000;

/// The book.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The book's clock when this run began, and the boot clock at that moment.
    began: u64,
    began_instant: Duration,
    tallies: HashMap<Box<str>, Seen>,
    standing: Standing,
    changed: bool,
}

/// What one tally has seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) total: Counter,
    /// Since when it is counted.
    pub(super) first: Moment,
    /// When a growth was noticed last.
    pub(super) last: Option<Moment>,
    /// On the book's clock: since when no rule has it.
    left: Option<u64>,
    /// What its elements in the kernel show together.
    shown: Counter,
}

/// A moment on the book's clock, and on the wall clock as it was told in the run that wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment(pub(super) u64, UnixSeconds);

/// The elements of a table that count, each with its tally and what its counter showed last.
#[derive(Clone, Debug, Default)]
pub struct Standing(HashMap<Arc<str>, HashMap<Box<[u8]>, Standee>>);

#[derive(Clone, Debug)]
struct Standee {
    tally: Arc<Tally>,
    shown: Counter,
}

/// One element's counter as the kernel tells it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The key's octets; its lower end in a set of ranges.
    pub key: &'a [u8],
    /// The element's comment.
    pub comment: &'a str,
    /// Its counter.
    pub counter: Counter,
}

/// The book as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    clock_seconds: u64,
    tallies: BTreeMap<String, StoredTally>,
}

/// Packets, bytes, first, last, left.
type StoredTally = (u64, u64, Moment, Option<Moment>, Option<u64>);

impl Standing {
    /// What to write into the table's text.
    pub fn counters(&self) -> Counters {
        let counted = |by_key: &HashMap<Box<[u8]>, Standee>| {
            let begun = by_key.iter().filter(|(_, standee)| standee.shown != Counter::default());
            begun.map(|(key, standee)| (key.clone(), standee.shown)).collect()
        };
        self.0.iter().map(|(set, by_key)| (set.clone(), counted(by_key))).collect()
    }

    /// Names of the sets that count.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    fn elements(&self) -> impl Iterator<Item = &Standee> {
        self.0.values().flat_map(HashMap::values)
    }
}

impl Usage {
    /// An empty book.
    pub fn new(now: Now) -> Usage {
        Usage {
            began: 0,
            began_instant: now.instant,
            tallies: HashMap::new(),
            standing: Standing::default(),
            changed: false,
        }
    }

    /// The book as [`Usage::store`] wrote it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn load(stored: &[u8], now: Now) -> Result<Usage, String> {
        let stored: Stored = serde_json::from_slice(stored).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("it has version {}, this labgate writes {VERSION}", stored.version));
        }
        let seen = |(name, (packets, bytes, first, last, left)): (String, _)| {
            let total = Counter { packets, bytes };
            (name.into_boxed_str(), Seen { total, first, last, left, shown: Counter::default() })
        };
        let tallies = stored.tallies.into_iter().map(seen).collect();
        // One later, so that no moment of an earlier run looks like one of this.
        Ok(Usage { began: stored.clock_seconds + 1, tallies, ..Usage::new(now) })
    }

    /// The book as text, for [`Usage::load`].
    pub fn store(&mut self, now: Now) -> Vec<u8> {
        self.changed = false;
        let moment = |moment: Moment| Moment(moment.0, self.unix(moment, now));
        let tallies = self.tallies.iter().map(|(name, seen)| {
            let Counter { packets, bytes } = seen.total;
            (name.to_string(), (packets, bytes, moment(seen.first), seen.last.map(moment), seen.left))
        });
        let stored = Stored { version: VERSION, clock_seconds: self.clock(now), tallies: tallies.collect() };
        serde_json::to_vec(&stored).expect("numbers and names are JSON")
    }

    /// Whether anything was counted since [`Usage::store`].
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The table that is counted.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Seconds for which the book has been kept, over all runs.
    pub(super) fn clock(&self, now: Now) -> u64 {
        self.began + now.instant.saturating_sub(self.began_instant).as_secs()
    }

    /// When a moment was, on the wall clock. Those of this run are counted back from now, whatever the wall clock did in between.
    pub(super) fn unix(&self, moment: Moment, now: Now) -> UnixSeconds {
        if moment.0 < self.began {
            return moment.1;
        }
        now.unix.saturating_sub(self.clock(now).saturating_sub(moment.0))
    }

    pub(super) fn seen(&self, name: &str) -> Option<&Seen> {
        self.tallies.get(name)
    }

    fn moment(&self, now: Now) -> Moment {
        Moment(self.clock(now), now.unix)
    }

    /// The elements that a table of this policy will have. Those that stay in the kernel go on counting; the first other element of a tally
    /// gets what the tally has seen beyond them.
    pub fn plan(&self, policy: &Policy, elements: &SetElements, stays: impl Fn(&str, &Key) -> bool) -> Standing {
        let mut planned = Standing::default();
        let mut shown: HashMap<&str, Counter> = HashMap::new();
        let mut come = Vec::new();
        for set in policy.counted_sets() {
            let before = self.standing.0.get(&set.name);
            let by_key = planned.0.entry(set.name.clone()).or_default();
            for element in set.fixed.iter().chain(elements.members(&set.name)) {
                let Some(tally) = &element.tally else { continue };
                let key: Box<[u8]> = wire::lower(&element.key).into();
                let stays = before.and_then(|before| before.get(&key)).filter(|_| stays(&set.name, &element.key));
                let Some(standee) = stays else {
                    come.push((set.name.clone(), key, tally));
                    continue;
                };
                let sum = shown.entry(&tally.name).or_default();
                *sum = sum.plus(standee.shown);
                by_key.insert(key, Standee { tally: tally.clone(), shown: standee.shown });
            }
        }
        for (set, key, tally) in come {
            let shown_by_others = shown.entry(&tally.name).or_default();
            let total = self.tallies.get(&tally.name).map(|seen| seen.total).unwrap_or_default();
            let standee = Standee { tally: tally.clone(), shown: total.minus(*shown_by_others) };
            *shown_by_others = shown_by_others.plus(standee.shown);
            planned.0.entry(set).or_default().insert(key, standee);
        }
        planned
    }

    /// The table was replaced by what was planned: rules that are new are counted from now on.
    pub fn replaced(&mut self, policy: &Policy, planned: Standing, now: Now) {
        let (clock, moment) = (self.clock(now), self.moment(now));
        self.changed = true;
        for seen in self.tallies.values_mut() {
            seen.shown = Counter::default();
            seen.left.get_or_insert(clock);
        }
        for tally in policy.tallies() {
            let seen = self.tallies.entry(tally.name.clone()).or_insert_with(|| Seen::from(moment));
            // Time in which the rule was gone is no time in which nobody used it.
            if let Some(left) = seen.left.take() {
                seen.first.0 += clock.saturating_sub(left);
                seen.first.1 = seen.first.1.saturating_add(clock.saturating_sub(left));
            }
        }
        for standee in planned.elements() {
            if let Some(seen) = self.tallies.get_mut(&standee.tally.name) {
                seen.shown = seen.shown.plus(standee.shown);
            }
        }
        self.standing = planned;
        self.forget();
    }

    /// Forgets the tallies that left longest ago, where there are too many.
    fn forget(&mut self) {
        let mut left: Vec<(u64, Box<str>)> =
            self.tallies.iter().filter_map(|(name, seen)| Some((seen.left?, name.clone()))).collect();
        let Some(many) = left.len().checked_sub(LEFT_AT_MOST) else { return };
        left.sort_unstable();
        for (_, name) in &left[..many] {
            self.tallies.remove(name);
        }
    }

    /// A table that an earlier run left in the kernel: what it counted beyond the book is added. An element counts where it means what the
    /// policy means by it: the same set, ends and service, whatever its line, and whichever address its host has had.
    pub fn adopt<'a>(&mut self, policy: &Policy, readings: impl IntoIterator<Item = (&'a str, Reading<'a>)>, now: Now) {
        let (mut meant, mut widths) = (HashMap::new(), HashMap::new());
        for set in policy.counted_sets() {
            for element in set.fixed.iter().chain(&set.following) {
                let Some(tally) = &element.tally else { continue };
                let service = service(&element.key);
                widths.insert(&*set.name, service.len());
                let words = comment_words(&plain_comment(&element.comment)).to_owned();
                meant.entry((&*set.name, words, service)).or_insert(&tally.name);
            }
        }
        let mut shown: HashMap<Box<str>, Counter> = HashMap::new();
        for (set, reading) in readings {
            let Some(begin) = widths.get(set).and_then(|width| reading.key.len().checked_sub(*width)) else { continue };
            let meaning = (set, comment_words(reading.comment).to_owned(), reading.key[begin..].to_vec());
            let Some(name) = meant.get(&meaning) else { continue };
            let sum = shown.entry((*name).clone()).or_default();
            *sum = sum.plus(reading.counter);
        }
        let moment = self.moment(now);
        for (name, counter) in shown {
            let seen = self.tallies.entry(name).or_insert_with(|| Seen::from(moment));
            let more = counter.minus(seen.total);
            if more.packets > 0 {
                (seen.total, seen.last) = (seen.total.plus(more), Some(moment));
                self.changed = true;
            }
        }
    }

    /// Adds what the elements of a set have counted since they were read last.
    pub fn absorb<'a>(&mut self, set: &str, readings: impl IntoIterator<Item = Reading<'a>>, now: Now) {
        let moment = self.moment(now);
        let Some(by_key) = self.standing.0.get_mut(set) else { return };
        for reading in readings {
            let Some(standee) = by_key.get_mut(reading.key).filter(|standee| standee.shown != reading.counter) else {
                continue;
            };
            let before = std::mem::replace(&mut standee.shown, reading.counter);
            let Some(seen) = self.tallies.get_mut(&standee.tally.name) else { continue };
            // A counter that shows less was set back by somebody, and began anew.
            let set_back = reading.counter.packets < before.packets;
            let more = if set_back { reading.counter } else { reading.counter.minus(before) };
            seen.total = seen.total.plus(more);
            seen.shown = seen.shown.minus(before).plus(reading.counter);
            if more.packets > 0 {
                (seen.last, self.changed) = (Some(moment), true);
            }
        }
    }

    /// Says to the elements that come where their counters begin: at what their tally has seen and no other element shows.
    pub fn begin(&self, changes: &mut [ElementChange]) {
        let mut begun = HashMap::new();
        for change in changes {
            let Some(tally) = &change.element.tally else { continue };
            let Some(seen) = self.tallies.get(&tally.name) else { continue };
            let leaves = self.shown_of(change);
            let begun: &mut Counter = begun.entry(tally.name.clone()).or_insert(seen.shown);
            if change.add {
                change.counter = seen.total.minus(*begun);
                *begun = begun.plus(change.counter);
            } else {
                *begun = begun.minus(leaves);
            }
        }
    }

    fn shown_of(&self, change: &ElementChange) -> Counter {
        let standee =
            self.standing.0.get(&change.set).and_then(|by_key| by_key.get(&wire::lower(&change.element.key)[..]));
        standee.map(|standee| standee.shown).unwrap_or_default()
    }

    /// Elements went, with these last readings, and others came.
    pub fn followed(&mut self, changes: &[ElementChange], last: &Counters, now: Now) {
        for (set, by_key) in last {
            let readings = by_key.iter().map(|(key, counter)| Reading { key, comment: "", counter: *counter });
            self.absorb(set, readings, now);
        }
        for change in changes {
            let Some(tally) = &change.element.tally else { continue };
            let key: Box<[u8]> = wire::lower(&change.element.key).into();
            let by_key = self.standing.0.entry(change.set.clone()).or_default();
            let gone = if change.add {
                by_key.insert(key, Standee { tally: tally.clone(), shown: change.counter })
            } else {
                by_key.remove(&key)
            };
            if let Some(gone) = gone {
                let seen = self.tallies.get_mut(&gone.tally.name);
                seen.into_iter().for_each(|seen| seen.shown = seen.shown.minus(gone.shown));
            }
            if let Some(seen) = self.tallies.get_mut(&tally.name).filter(|_| change.add) {
                seen.shown = seen.shown.plus(change.counter);
            }
        }
    }
}

/// The service of a key, which stands at its end, as the kernel holds it.
fn service(key: &Key) -> Vec<u8> {
    let fields = key.iter().filter(|field| matches!(field, Field::Protocol(_) | Field::Ports(_)));
    wire::lower(&fields.cloned().collect::<Key>())
}

impl Seen {
    fn from(moment: Moment) -> Seen {
        Seen { total: Counter::default(), first: moment, last: None, left: None, shown: Counter::default() }
    }
}
