//! Keeps the book of what rules and forwards are used for: reads the kernel's counters now and then, and stores the book.
//!
//! Nothing is written to the kernel here. Reconcile, which writes there, tells the meter of every table and element.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::pictures::Pictures;
use crate::firewall::{Counters, ElementChange, Key, Policy, Reading, SetElements, Standing, Usage};
use crate::linux::nft_elements::Elements;
use crate::linux::nft_netlink::DumpedElement;
use crate::linux::{clock, usage_store};

/// How often the counters are read: so much is lost when somebody removes the table.
const PERIOD: Duration = Duration::from_secs(30);
/// A reading may cost this part of the time: with very many elements it comes less often.
const COST: u32 = 2000;
/// How often a book that grew is stored: so much is lost when the power is cut.
const STORE: Duration = Duration::from_secs(300);
/// How often it is stored where nothing was counted: its clock has gone on.
const STORE_IDLE: Duration = Duration::from_secs(3600);

/// The book, and the way to the kernel's counters.
pub struct Meter {
    book: Usage,
    channel: Option<Elements>,
    /// Whether what an earlier run left in the kernel has been looked at.
    adopted: bool,
    /// Whether the disk refused the book last.
    failing: bool,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { book: Usage::new(clock::now()), channel: None, adopted: false, failing: false }
    }
}

impl Meter {
    /// The book as it stands.
    pub fn book(&self) -> &Usage {
        &self.book
    }

    /// Reads the kernel's counters.
    pub fn sample(&mut self) {
        let sets: Vec<Arc<str>> = self.book.standing().sets().cloned().collect();
        let read = self.read(&sets);
        let now = clock::now();
        for (set, elements) in &read {
            self.book.absorb(set, elements.iter().filter_map(reading), now);
        }
    }

    /// What a new table begins with. To be asked as shortly before it as can be: what is counted in between is lost.
    /// Elements that stay lose nothing.
    pub fn plan(&mut self, policy: &Policy, elements: &SetElements, stays: impl Fn(&str, &Key) -> bool) -> Standing {
        if self.adopted {
            self.sample();
            return self.book.plan(policy, elements, stays);
        }
        let sets: Vec<Arc<str>> = self.book.plan(policy, elements, &stays).sets().cloned().collect();
        let read = self.read(&sets);
        let readings = read
            .iter()
            .flat_map(|(set, elements)| elements.iter().filter_map(move |element| Some((&**set, reading(element)?))));
        self.book.adopt(policy, readings, clock::now());
        self.adopted = true;
        self.book.plan(policy, elements, stays)
    }

    /// The table stands as planned.
    pub fn replaced(&mut self, policy: &Policy, planned: Standing) {
        self.book.replaced(policy, planned, clock::now());
    }

    /// Says to the elements that come where their counters begin.
    pub fn begin(&self, changes: &mut [ElementChange]) {
        self.book.begin(changes);
    }

    /// Elements came, and others went with these last counters.
    pub fn followed(&mut self, changes: &[ElementChange], last: &Counters) {
        self.book.followed(changes, last, clock::now());
    }

    /// What the kernel has of these sets; less where the table is not there, as after somebody removed it.
    fn read(&mut self, sets: &[Arc<str>]) -> HashMap<Arc<str>, Vec<DumpedElement>> {
        let mut read = HashMap::new();
        if self.channel.is_none() {
            self.channel = Elements::open().inspect_err(|error| tracing::warn!("rule counters: {error:#}")).ok();
        }
        let Some(channel) = &mut self.channel else { return read };
        for set in sets {
            match channel.read(set) {
                Ok(elements) => drop(read.insert(set.clone(), elements)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!("rule counters cannot be read: {error}");
                    self.channel = None;
                    break;
                }
            }
        }
        read
    }

    fn store(&mut self, pictures: &Pictures) {
        let bytes = self.book.store(clock::now());
        let saved = usage_store::save(&pictures.paths.state, &bytes);
        if let Err(error) = &saved {
            let words = format!("cannot store them, a reboot would lose what was counted: {error}");
            pictures.report("counters", false, words);
        } else if self.failing {
            pictures.forget_report("counters");
        }
        self.failing = saved.is_err();
    }
}

fn reading(element: &DumpedElement) -> Option<Reading<'_>> {
    let comment = element.comment.as_deref().unwrap_or_default();
    Some(Reading { key: &element.key, comment, counter: element.counter? })
}

/// Opens the stored book. A damaged one is put aside and told of, and counting begins at zero.
pub fn open(pictures: &Pictures) -> Meter {
    let book = load(&pictures.paths.state).unwrap_or_else(|reason| {
        tracing::warn!("{reason}");
        pictures.report("counters", true, reason);
        Usage::new(clock::now())
    });
    Meter { book, ..Meter::default() }
}

fn load(state: &Path) -> Result<Usage, String> {
    let stored = usage_store::read(state).map_err(|error| error.to_string());
    let now = clock::now();
    let book = stored.and_then(|bytes| bytes.map_or(Ok(Usage::new(now)), |bytes| Usage::load(&bytes, now)));
    book.map_err(|reason| match usage_store::put_aside(state) {
        Ok(aside) => format!("began at zero, the stored ones are damaged and lie in {}: {reason}", aside.display()),
        Err(error) => format!("began at zero, the stored ones are damaged: {reason}; and stay where they are: {error}"),
    })
}

/// Reads and stores until the token ends.
///
/// # Errors
/// Never.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let mut stored = clock::now().instant;
    loop {
        let mut meter = pictures.meter.lock().await;
        let begin = Instant::now();
        tokio::task::block_in_place(|| meter.sample());
        let period = PERIOD.max(begin.elapsed() * COST);
        let due = if meter.book.changed() { STORE } else { STORE_IDLE };
        if token.is_cancelled() || clock::now().instant.saturating_sub(stored) >= due {
            meter.store(&pictures);
            stored = clock::now().instant;
        }
        drop(meter);
        if token.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            () = token.cancelled() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_book_is_put_aside_and_counting_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert!(load(state).is_ok(), "no book is no damage");
        for damage in [&b"\0\0\0\0"[..], b"", b"{\"version\":9,\"clock_seconds\":1,\"tallies\":{}}"] {
            usage_store::save(state, damage).unwrap();
            let words = load(state).unwrap_err();
            assert!(words.contains("usage.json.damaged"), "{words}");
            assert_eq!(std::fs::read(state.join("usage.json.damaged")).unwrap(), damage);
            usage_store::save(state, &load(state).unwrap().store(clock::now())).unwrap();
            assert!(load(state).is_ok(), "the next book is a whole one");
        }
    }
}
