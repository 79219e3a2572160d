//! What stands: the revision that runs, the one it falls back to, and how a new one is written down.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Source;
use crate::desired::revision::{Moment, Record, changed_lines};
use crate::linux::config_files;
use crate::linux::history::{History, How, Revision};

/// What stands, with the texts.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Which revision is which.
    pub record: Record,
    /// The files of the revision that runs.
    pub running: Arc<[Source]>,
    /// The files of the revision that stays, which is the running one unless that waits to be confirmed.
    pub base: Arc<[Source]>,
    /// The person's files as they were dealt with last.
    pub seen: Arc<[Source]>,
    /// Revisions that were handed out to be written into those files: to find one there is no new wish.
    pub handed_out: Vec<(u64, Arc<[Source]>)>,
}

/// So many are remembered.
const MOST_HANDED_OUT: usize = 8;

/// A revision that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Waiting {
    /// Its number.
    pub revision: u64,
    /// The revision that runs again if nobody confirms it.
    pub base: u64,
    /// How long it still waits, rounded up.
    pub seconds_left: u64,
}

/// Texts that run and are not in the person's files yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Install {
    /// Files and what is to stand in them, the main one first.
    pub files: Vec<(PathBuf, String)>,
    /// Fragments that are there and do not belong to what runs: only a person takes them away.
    pub extra: Vec<PathBuf>,
}

/// A text that is about to be a revision.
pub struct Entry {
    /// How it came.
    pub how: How,
    /// Who asked for it.
    pub who: String,
    /// Its files.
    pub sources: Arc<[Source]>,
    /// Whether those are the person's files as they lie there.
    pub from_file: bool,
    /// How long it waits for its confirmation.
    pub confirm: Option<Duration>,
    /// Whether it means what already runs.
    pub same: bool,
}

impl Standing {
    /// What stands after a new revision. Nothing is written yet.
    pub fn next(&self, number: u64, entry: &Entry, now: Moment) -> Self {
        let Entry { sources, from_file, .. } = entry;
        let record = if entry.same {
            self.record.rewritten(number, *from_file)
        } else {
            self.record.applied(number, *from_file, entry.confirm, now)
        };
        Standing {
            base: if record.pending.is_some() { self.base.clone() } else { sources.clone() },
            seen: if *from_file { sources.clone() } else { self.seen.clone() },
            running: sources.clone(),
            handed_out: self.handed_out.clone(),
            record,
        }
    }

    /// What stands once the running texts were handed out.
    pub fn hand_out(&self) -> Self {
        let mut after = self.clone();
        after.handed_out.push((self.record.running(), self.running.clone()));
        let surplus = after.handed_out.len().saturating_sub(MOST_HANDED_OUT);
        after.handed_out.drain(..surplus);
        after
    }

    /// What stands once texts that were handed out are found in the person's files; `None` where these are others.
    pub fn found(&self, sources: &[Source]) -> Option<Self> {
        let at = self.handed_out.iter().rposition(|(_, texts)| **texts == *sources)?;
        let (number, texts) = self.handed_out[at].clone();
        let handed_out = self.handed_out[at + 1..].to_vec();
        Some(Standing { record: self.record.seen_as(Some(number)), seen: texts, handed_out, ..self.clone() })
    }

    /// What stands after the pending revision was taken back.
    pub fn undo(&self, why: &str, now: &Moment) -> Self {
        Standing { record: self.record.undo(why, now), running: self.base.clone(), ..self.clone() }
    }

    /// What stands after the pending revision was confirmed.
    pub fn confirm(&self) -> Self {
        Standing { record: self.record.confirm(), base: self.running.clone(), ..self.clone() }
    }

    /// What stands once the person's files say what runs.
    pub fn seen_running(&self) -> Self {
        Standing {
            record: self.record.seen_as(Some(self.record.running())),
            seen: self.running.clone(),
            ..self.clone()
        }
    }

    /// The revision that waits, if one does and its time is not over.
    pub fn waiting(&self, now: &Moment) -> Option<Waiting> {
        let pending = self.record.pending.as_ref()?;
        let seconds_left = pending.remaining(now)?.as_secs_f64().ceil() as u64;
        Some(Waiting { revision: pending.revision, base: self.record.confirmed, seconds_left })
    }
}

/// Writes a new revision down: the text first, then the record that speaks of it. From here on a crash undoes what nobody confirms.
///
/// # Errors
/// Where the disk refuses. What stands after it is given all the same: a start goes on without.
pub fn write_down(history: &History, standing: &Standing, entry: &Entry, now: Moment) -> (Standing, io::Result<()>) {
    let next = history.next();
    let number = next.as_ref().map_or(standing.record.running() + 1, |number| *number);
    let lines = changed_lines(&standing.running, &entry.sources);
    let revision = Revision::new(number, now.unix, (entry.how, &entry.who), lines, &entry.sources);
    let mut after = standing.next(number, entry, now);
    let written = next.and_then(|_| {
        history.keep(&revision)?;
        history.stand(&after.record)
    });
    if written.is_ok() {
        after.record = after.record.without(&history.prune(&after.record));
    }
    (after, written)
}

/// What must be written so that the person's files say what runs; `None` where they do.
///
/// # Errors
/// Where the fragments cannot be read.
pub fn to_install(config: &Path, running: &[Source]) -> io::Result<Option<Install>> {
    let lying = match config_files::read(config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        lying => lying?,
    };
    if lying == running {
        return Ok(None);
    }
    let config = std::path::absolute(config)?;
    let folder = config.parent().unwrap_or(Path::new("/")).to_owned();
    let path = |at: usize, source: &Source| if at == 0 { config.clone() } else { folder.join(&source.name) };
    let files = running.iter().enumerate().filter(|(_, source)| !lying.contains(source));
    let files = files.map(|(at, source)| (path(at, source), String::from_utf8_lossy(&source.text).into_owned()));
    let extra = lying.iter().skip(1).filter(|there| !running.iter().skip(1).any(|source| source.name == there.name));
    Ok(Some(Install { files: files.collect(), extra: extra.map(|there| folder.join(&there.name)).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    #[test]
    fn what_was_handed_out_and_comes_back_late_is_no_wish() {
        let text = |text: &str| -> Arc<[Source]> { vec![source("labgate.toml", text)].into() };
        let entry = |letter: &str| Entry {
            how: How::Apply,
            who: String::new(),
            sources: text(letter),
            from_file: false,
            confirm: None,
            same: false,
        };
        let now = Moment { boot: String::new(), instant: Duration::ZERO, unix: 0 };
        let mut standing = Standing::default();
        for (number, letter) in [(1, "a"), (2, "b"), (3, "a")] {
            standing = standing.next(number, &entry(letter), now.clone()).hand_out();
        }
        assert!(standing.found(&text("c")).is_none());
        let late = standing.found(&text("b")).expect("handed out");
        assert_eq!((late.record.seen, late.record.running()), (Some(2), 3));
        assert!(late.found(&text("b")).is_none(), "once");
        assert_eq!(late.found(&text("a")).expect("handed out").record.seen, Some(3));
    }

    #[test]
    fn what_is_to_be_installed_is_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("labgate.toml");
        let running = [source("labgate.toml", "a"), source("labgate.d/10.toml", "b")];
        let all = to_install(&config, &running).unwrap().unwrap();
        assert_eq!(all.files.len(), 2, "nothing is there yet");
        fs::create_dir(folder.path().join("labgate.d")).unwrap();
        for (path, text) in &all.files {
            fs::write(path, text).unwrap();
        }
        assert_eq!(to_install(&config, &running).unwrap(), None);
        fs::write(folder.path().join("labgate.d/10.toml"), "c").unwrap();
        fs::write(folder.path().join("labgate.d/20.toml"), "d").unwrap();
        let some = to_install(&config, &running).unwrap().unwrap();
        assert_eq!(some.files, [(folder.path().join("labgate.d/10.toml"), "b".to_owned())]);
        assert_eq!(some.extra, [folder.path().join("labgate.d/20.toml")]);
    }
}
