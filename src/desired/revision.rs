//! Revisions of the configuration: which one runs, which one waits to be confirmed, and what a start does with that.
//!
//! Every text that was put into effect is a revision with a number, kept in the state folder. A [`Record`] says which of them stands; it
//! is one value, replaced as a whole, so that after a power cut there is the standing before a step or after it, never between.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Source;
use crate::model::{Now, UnixSeconds};

/// A moment that can be told after a restart, and after a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// The boot it was in.
    pub boot: String,
    /// On the clock of that boot.
    pub instant: Duration,
    /// On the wall clock.
    pub unix: UnixSeconds,
}

impl Moment {
    /// This moment of this boot.
    pub fn new(boot: &str, now: Now) -> Self {
        Moment { boot: boot.to_owned(), instant: now.instant, unix: now.unix }
    }

    /// How long ago it was. Within one boot the boot clock tells; after it the wall clock, where that does not stand before the moment
    /// itself. `None`: nobody knows.
    fn age(&self, now: &Moment) -> Option<Duration> {
        if self.boot == now.boot {
            return Some(now.instant.saturating_sub(self.instant));
        }
        now.unix.checked_sub(self.unix).map(Duration::from_secs)
    }
}

/// A revision that is undone unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    /// Its number.
    pub revision: u64,
    /// When it was applied.
    pub applied: Moment,
    /// How long it waits.
    pub period: Duration,
}

impl Pending {
    /// How long it still waits; `None` when its time is over, or when no clock can tell.
    pub fn remaining(&self, now: &Moment) -> Option<Duration> {
        let rest = self.period.saturating_sub(self.applied.age(now)?);
        (!rest.is_zero()).then_some(rest)
    }
}

/// When and why a revision was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Undone {
    /// On the wall clock.
    pub unix: UnixSeconds,
    /// In words: "nobody confirmed it in 60 s".
    pub why: String,
}

/// Which revision stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// The last revision that stays: what a pending one falls back to, and what runs when the file cannot be used. 0: none yet.
    pub confirmed: u64,
    /// The revision that runs for the time being, if one does.
    pub pending: Option<Pending>,
    /// The revision that has the file's text as it was dealt with last. A file that still says that is no new wish, whether it was
    /// undone since or another text was applied beside it.
    pub seen: Option<u64>,
    /// Revisions that were taken back.
    pub undone: BTreeMap<u64, Undone>,
}

impl Record {
    /// The revision that runs.
    pub fn running(&self) -> u64 {
        self.pending.as_ref().map_or(self.confirmed, |pending| pending.revision)
    }

    /// After `revision` was applied. With `confirm` it waits; without, it stays. While another one waits, what comes after it waits too: the
    /// base stays and the clock starts anew.
    #[must_use]
    pub fn applied(&self, revision: u64, from_file: bool, confirm: Option<Duration>, now: Moment) -> Self {
        let period = confirm.or(self.pending.as_ref().map(|pending| pending.period));
        let pending = period.map(|period| Pending { revision, applied: now, period });
        let confirmed = if pending.is_some() { self.confirmed } else { revision };
        Record { confirmed, pending, ..self.seen_as(if from_file { Some(revision) } else { self.seen }) }
    }

    /// After another text of the same meaning took the place of the one that runs: nothing begins and nothing ends.
    #[must_use]
    pub fn rewritten(&self, revision: u64, from_file: bool) -> Self {
        let mut record = self.seen_as(if from_file { Some(revision) } else { self.seen });
        match &mut record.pending {
            Some(pending) => pending.revision = revision,
            None => record.confirmed = revision,
        }
        record
    }

    /// After `revision` was to be applied and the kernel refused it.
    #[must_use]
    pub fn refused(&self, revision: u64, from_file: bool, why: &str, now: &Moment) -> Self {
        let mut record = self.seen_as(if from_file { Some(revision) } else { self.seen });
        record.undone.insert(revision, Undone { unix: now.unix, why: why.to_owned() });
        record
    }

    /// After revisions were thrown away because of their age.
    #[must_use]
    pub fn without(&self, gone: &[u64]) -> Self {
        let mut record = self.clone();
        record.undone.retain(|revision, _| !gone.contains(revision));
        record
    }

    /// After the file was found to say what revision `seen` says.
    #[must_use]
    pub fn seen_as(&self, seen: Option<u64>) -> Self {
        Record { seen, ..self.clone() }
    }

    /// After the pending revision was confirmed; the same record where none waits.
    #[must_use]
    pub fn confirm(&self) -> Self {
        Record { confirmed: self.running(), pending: None, ..self.clone() }
    }

    /// After the pending revision was taken back; the same record where none waits.
    #[must_use]
    pub fn undo(&self, why: &str, now: &Moment) -> Self {
        let mut record = Record { pending: None, ..self.clone() };
        if let Some(pending) = &self.pending {
            record.undone.insert(pending.revision, Undone { unix: now.unix, why: why.to_owned() });
        }
        record
    }

    /// Revisions that must not be thrown away however old they are.
    pub fn needs(&self, revision: u64) -> bool {
        [Some(self.confirmed), Some(self.running()), self.seen].contains(&Some(revision))
    }

    /// What a start does: a pending revision goes on waiting for the rest of its time, or is taken back first.
    pub fn at_start(&self, now: &Moment) -> AtStart {
        match &self.pending {
            None => AtStart::Run,
            Some(pending) if pending.remaining(now).is_some() => AtStart::Run,
            Some(pending) if pending.applied.boot == now.boot => AtStart::Undo("its time to be confirmed ran out"),
            Some(_) => AtStart::Undo("the machine started anew and its time to be confirmed is over"),
        }
    }
}

/// What a start does with a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// The revision that ran runs on.
    Run,
    /// The pending revision is taken back before anything runs; why.
    Undo(&'static str),
}

/// From where somebody speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seat {
    /// From a session over the network that began then, on the boot clock.
    Remote {
        /// The process that serves it, such as `sshd`.
        server: String,
        /// When it began, on the boot clock.
        began: Duration,
    },
    /// From inside a terminal multiplexer or the like, which was started from a session over the network: whether that still
    /// stands cannot be told.
    Detached,
    /// From the console, or from a program of this machine.
    Local,
}

/// Whether a connection to the control socket that was accepted at `accepted`, by somebody at `seats`, proves that the pending change
/// lets people in: all of that must have begun after it.
///
/// # Errors
/// Why it proves nothing, and what does.
pub fn proves(pending: &Pending, now: &Moment, accepted: Duration, seats: &[Seat]) -> Result<(), String> {
    if pending.applied.boot != now.boot {
        return Ok(());
    }
    if accepted < pending.applied.instant {
        return Err("this connection to the control socket was open before the change and proves nothing; \
                    open a new one"
            .to_owned());
    }
    for seat in seats {
        match seat {
            Seat::Remote { server, began } if *began < pending.applied.instant => {
                return Err(format!(
                    "this session ({server}) was open before the change and proves nothing; open a new one and confirm from there"
                ));
            }
            Seat::Detached => {
                return Err("this shell outlived the session it was started from, so it proves nothing; \
                            open a new session and confirm in it directly, as in `ssh ROUTER labgate confirm`"
                    .to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many lines of `new` are not in `old`, and the other way round. The order of lines has no meaning in the file and is not looked at.
pub fn changed_lines(old: &[Source], new: &[Source]) -> (usize, usize) {
    let mut balance: HashMap<(&str, &[u8]), i64> = HashMap::new();
    for (sources, sign) in [(new, 1), (old, -1)] {
        for source in sources {
            for line in source.text.split(|byte| *byte == b'\n') {
                *balance.entry((&source.name, line)).or_default() += sign;
            }
        }
    }
    balance.values().fold((0, 0), |(added, removed), count| {
        (added + (*count).max(0).unsigned_abs() as usize, removed + (*count).min(0).unsigned_abs() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(boot: &str, instant: u64, unix: u64) -> Moment {
        Moment::new(boot, Now { instant: Duration::from_secs(instant), unix })
    }

    fn first() -> Record {
        Record { confirmed: 1, seen: Some(1), ..Record::default() }
    }

    /// Revision 1 stays, revision 2 of the file waits for a minute from second 1000 of boot `a` on.
    fn waiting() -> Record {
        first().applied(2, true, Some(MINUTE), at("a", 1000, 1_800_000_000))
    }

    fn rest(record: &Record, now: &Moment) -> Option<u64> {
        record.pending.as_ref().expect("one waits").remaining(now).map(|rest| rest.as_secs())
    }

    #[test]
    fn a_change_without_a_wish_to_confirm_stays() {
        let record = first().applied(2, true, None, at("a", 1000, 5));
        assert_eq!((record.running(), record.confirmed, record.pending.clone()), (2, 2, None));
        assert_eq!(record.at_start(&at("b", 1, 0)), AtStart::Run);
    }

    #[test]
    fn the_clock_of_one_boot_does_not_ask_the_wall() {
        let record = waiting();
        assert_eq!(rest(&record, &at("a", 1042, 7)), Some(18));
        assert_eq!(rest(&record, &at("a", 1042, 4_000_000_000)), Some(18));
        assert_eq!(record.at_start(&at("a", 1042, 7)), AtStart::Run);
        assert_eq!(rest(&record, &at("a", 1060, 7)), None);
        assert!(matches!(record.at_start(&at("a", 1060, 7)), AtStart::Undo(_)));
    }

    #[test]
    fn after_a_boot_the_wall_clock_tells_where_it_can() {
        let record = waiting();
        assert_eq!(rest(&record, &at("b", 3, 1_800_000_042)), Some(18));
        assert_eq!(rest(&record, &at("b", 3, 1_800_000_060)), None);
        // 1970, or a clock that was set back: nobody knows, so it is undone.
        assert_eq!(rest(&record, &at("b", 3, 7)), None);
        assert_eq!(rest(&record, &at("b", 3, 1_799_999_999)), None);
        assert!(matches!(record.at_start(&at("b", 3, 7)), AtStart::Undo(_)));
    }

    #[test]
    fn confirmed_it_stays_and_undone_the_base_runs() {
        let record = waiting();
        assert_eq!((record.running(), record.confirmed), (2, 1));
        let stays = record.confirm();
        assert_eq!((stays.running(), stays.confirmed, stays.seen), (2, 2, Some(2)));
        let gone = record.undo("nobody confirmed it", &at("a", 1060, 1_800_000_060));
        assert_eq!(
            (gone.running(), gone.seen),
            (1, Some(2)),
            "the file still says revision 2, and that is no new wish"
        );
        assert_eq!(gone.undone[&2].unix, 1_800_000_060);
        assert_eq!(gone.undo("again", &at("a", 1061, 0)), gone, "nothing waits");
    }

    #[test]
    fn a_second_change_keeps_the_base_and_starts_the_clock_anew() {
        let second = waiting().applied(3, false, None, at("a", 1050, 1_800_000_050));
        assert_eq!((second.running(), second.confirmed, second.seen), (3, 1, Some(2)));
        assert_eq!(rest(&second, &at("a", 1100, 0)), Some(10));
        let third = second.applied(4, true, Some(MINUTE * 2), at("a", 1060, 0));
        assert_eq!(rest(&third, &at("a", 1060, 0)), Some(120));
        assert_eq!(third.undo("no", &at("a", 1200, 9)).running(), 1);
    }

    #[test]
    fn another_text_of_the_same_meaning_begins_nothing() {
        let record = waiting().rewritten(3, true);
        assert_eq!((record.running(), record.confirmed, record.seen), (3, 1, Some(3)));
        assert_eq!(rest(&record, &at("a", 1042, 0)), Some(18));
        assert_eq!(first().rewritten(2, false).confirmed, 2);
    }

    #[test]
    fn a_text_that_the_kernel_refuses_is_no_new_wish_either() {
        let record = first().refused(2, true, "no memory", &at("a", 5, 9));
        assert_eq!((record.running(), record.seen, record.undone[&2].unix), (1, Some(2), 9));
        assert!(record.without(&[2]).undone.is_empty());
    }

    #[test]
    fn what_it_speaks_of_is_needed() {
        let record = waiting().applied(5, false, None, at("a", 1001, 0));
        let needed: Vec<u64> = (0..8).filter(|revision| record.needs(*revision)).collect();
        assert_eq!(needed, [1, 2, 5]);
    }

    #[test]
    fn only_what_began_after_the_change_proves_anything() {
        let (record, now) = (waiting(), at("a", 1010, 0));
        let pending = record.pending.as_ref().unwrap();
        let seconds = Duration::from_secs;
        let ssh = |began| Seat::Remote { server: "sshd".to_owned(), began: seconds(began) };
        let proof = |accepted, seats: &[Seat]| proves(pending, &now, seconds(accepted), seats);
        assert_eq!(proof(1005, &[Seat::Local]), Ok(()));
        assert_eq!(proof(1005, &[ssh(1002)]), Ok(()));
        assert!(proof(999, &[Seat::Local]).unwrap_err().contains("connection"));
        assert!(proof(1005, &[Seat::Local, ssh(900)]).unwrap_err().contains("open before the change"));
        assert!(proof(1005, &[Seat::Detached]).unwrap_err().contains("ssh ROUTER labgate confirm"));
        // After a boot nothing is older than the change, whatever the clock of the boot says.
        assert_eq!(proves(pending, &at("b", 20, 0), seconds(20), &[ssh(15)]), Ok(()));
    }

    #[test]
    fn lines_are_counted_without_their_order() {
        let source = |text: &str| vec![Source { name: "labgate.toml".into(), text: text.into() }];
        assert_eq!(changed_lines(&source("a\nb\nb\n"), &source("b\na\nc\nd\n")), (2, 1));
        assert_eq!(changed_lines(&[], &source("a\nb")), (2, 0));
    }
}
