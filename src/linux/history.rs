//! `revisions.json` and `history/NNNNNN.json`: every text that was put into effect, and which of them stands.
//!
//! A revision is written before it is put into effect and never changed again. What becomes of it stands in the record. Both are replaced
//! whole or not at all. A file that cannot be understood is put aside and told of; it never keeps the gateway from starting.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::network_record::write_atomically;
use crate::config::Source;
use crate::desired::revision::Record;
use crate::model::UnixSeconds;

const VERSION: u32 = 1;
const FOLDER: &str = "history";
const RECORD: &str = "revisions.json";
/// So many revisions are kept, and so many octets of them; the oldest go first.
const MOST_REVISIONS: usize = 500;
const MOST_OCTETS: u64 = 64 << 20;

/// How a revision came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The file had changed when the daemon started.
    Start,
    /// The file was saved.
    Edit,
    /// `labgate reload`, or SIGHUP.
    Reload,
    /// `labgate apply`.
    Apply,
    /// `labgate undo`.
    Undo,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Start => "start",
            How::Edit => "edit",
            How::Reload => "reload",
            How::Apply => "apply",
            How::Undo => "undo",
        })
    }
}

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    version: u32,
    /// Its number, from 1.
    pub number: u64,
    /// When it was put into effect, on the wall clock.
    pub unix: UnixSeconds,
    /// Who asked for it: `alice (uid 1000)`, or what did.
    pub who: String,
    /// How it came to be.
    pub how: How,
    /// Lines that what ran before did not have.
    pub added: usize,
    /// Lines that only what ran before had.
    pub removed: usize,
    sources: Vec<(String, String)>,
}

impl Revision {
    /// A revision of these files, which passed the check and are therefore text.
    pub fn new(
        number: u64,
        unix: UnixSeconds,
        (how, who): (How, &str),
        (added, removed): (usize, usize),
        sources: &[Source],
    ) -> Self {
        let text = |source: &Source| (source.name.clone(), String::from_utf8_lossy(&source.text).into_owned());
        let sources = sources.iter().map(text).collect();
        Revision { version: VERSION, number, unix, who: who.to_owned(), how, added, removed, sources }
    }

    /// Its files, the main one first.
    pub fn sources(&self) -> Vec<Source> {
        let source = |(name, text): &(String, String)| Source { name: name.clone(), text: text.clone().into_bytes() };
        self.sources.iter().map(source).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    version: u32,
    record: Record,
}

/// The folder of the revisions, and the record beside it.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
    record: PathBuf,
}

/// A history that was opened.
pub struct Opened {
    /// The history.
    pub history: History,
    /// What stands, where that is known.
    pub record: Option<Record>,
    /// What a person should know of damage.
    pub notes: Vec<String>,
}

impl History {
    /// Opens the history below the state folder.
    pub fn open(state: &Path) -> Opened {
        let history = History { folder: state.join(FOLDER), record: state.join(RECORD) };
        let mut notes = Vec::new();
        if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&history.folder) {
            notes.push(format!("cannot make {}: {error}", history.folder.display()));
        }
        let record = match read::<StoredRecord>(&history.record, |stored| stored.version) {
            Ok(stored) => Some(stored.record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                notes.push(format!("which revision stands is not known: {error}"));
                None
            }
        };
        Opened { history, record, notes }
    }

    /// The number of the next revision: never one that was used, damaged files included.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn next(&self) -> io::Result<u64> {
        let names = std::fs::read_dir(&self.folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let number = |name: String| -> Option<u64> {
            name.strip_suffix(".damaged").unwrap_or(&name).strip_suffix(".json")?.parse().ok()
        };
        Ok(names.filter_map(number).max().unwrap_or(0) + 1)
    }

    /// Keeps a revision.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn keep(&self, revision: &Revision) -> io::Result<()> {
        write_atomically(&self.path(revision.number), &serde_json::to_vec_pretty(revision)?)
    }

    /// Reads a revision.
    ///
    /// # Errors
    /// Where there is none of that number, or it cannot be understood; it is then put aside.
    pub fn revision(&self, number: u64) -> io::Result<Revision> {
        read::<Revision>(&self.path(number), |revision| revision.version)
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn stand(&self, record: &Record) -> io::Result<()> {
        let stored = StoredRecord { version: VERSION, record: record.clone() };
        write_atomically(&self.record, &serde_json::to_vec_pretty(&stored)?)
    }

    /// The numbers of all revisions, from the oldest.
    pub fn numbers(&self) -> Vec<u64> {
        let names = std::fs::read_dir(&self.folder).into_iter().flatten();
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Throws the oldest away where there are too many, never one that the record needs. Gives the numbers that went.
    pub fn prune(&self, record: &Record) -> Vec<u64> {
        self.prune_to(record, MOST_REVISIONS, MOST_OCTETS)
    }

    fn prune_to(&self, record: &Record, most: usize, most_octets: u64) -> Vec<u64> {
        let size = |number: &u64| std::fs::metadata(self.path(*number)).map_or(0, |meta| meta.len());
        let numbers = self.numbers();
        let (mut count, mut octets) = (numbers.len(), numbers.iter().map(size).sum::<u64>());
        let mut gone = Vec::new();
        for number in numbers {
            if count <= most && octets <= most_octets {
                break;
            }
            let length = size(&number);
            if !record.needs(number) && std::fs::remove_file(self.path(number)).is_ok() {
                (count, octets) = (count - 1, octets.saturating_sub(length));
                gone.push(number);
            }
        }
        gone
    }

    fn path(&self, number: u64) -> PathBuf {
        revision_path(&self.folder, number)
    }
}

/// The texts of the revision that runs, for somebody who only looks: nothing is made, and nothing put aside.
pub fn running(state: &Path) -> Option<Vec<Source>> {
    let stored: StoredRecord = serde_json::from_slice(&std::fs::read(state.join(RECORD)).ok()?).ok()?;
    let path = revision_path(&state.join(FOLDER), stored.record.running());
    let revision: Revision = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (stored.version == VERSION && revision.version == VERSION).then(|| revision.sources())
}

fn revision_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.json"))
}

/// Reads one of our files; puts it aside where it cannot be understood.
fn read<T: serde::de::DeserializeOwned>(path: &Path, version: impl Fn(&T) -> u32) -> io::Result<T> {
    let text = std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display())))?;
    let wrong = match serde_json::from_slice::<T>(&text) {
        Ok(stored) if version(&stored) == VERSION => return Ok(stored),
        Ok(stored) => format!("it has version {}, this labgate reads {VERSION}", version(&stored)),
        Err(error) => format!("it is damaged ({error})"),
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let kept = match std::fs::rename(path, &aside) {
        Ok(()) => format!("kept as {}", Path::new(&aside).display()),
        Err(error) => format!("left where it is: {error}"),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {wrong}; {kept}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::revision::Undone;
    use std::os::unix::fs::PermissionsExt;

    fn revision(number: u64, text: &str) -> Revision {
        let source = Source { name: "labgate.toml".into(), text: text.into() };
        Revision::new(number, 1_800_000_000, (How::Edit, "the watched file"), (1, 0), &[source])
    }

    fn stands(confirmed: u64) -> Record {
        let undone = Undone { unix: 7, why: "nobody confirmed it".to_owned() };
        Record { confirmed, seen: Some(confirmed), undone: [(9000, undone)].into(), ..Record::default() }
    }

    fn open(state: &Path) -> History {
        History::open(state).history
    }

    #[test]
    fn keeps_and_reads_back_for_the_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        let history = open(state.path());
        assert_eq!(history.next().unwrap(), 1);
        history.keep(&revision(1, "[wan]\n")).unwrap();
        history.stand(&stands(1)).unwrap();
        let again = History::open(state.path());
        assert_eq!((again.record, again.notes.len()), (Some(stands(1)), 0));
        assert_eq!(running(state.path()), Some(again.history.revision(1).unwrap().sources()));
        assert_eq!(again.history.revision(1).unwrap().sources()[0].text, b"[wan]\n");
        assert_eq!(history.next().unwrap(), 2);
        for (path, mode) in [("history", 0o700), ("history/000001.json", 0o600), ("revisions.json", 0o600)] {
            let found = std::fs::metadata(state.path().join(path)).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{path} has mode {found:o}");
        }
    }

    #[test]
    fn what_is_damaged_is_put_aside_and_its_number_is_not_used_again() {
        let state = tempfile::tempdir().unwrap();
        let history = open(state.path());
        history.keep(&revision(7, "a")).unwrap();
        let path = state.path().join("history/000007.json");
        for wreck in [&b""[..], &[0; 64], b"{\"version\":1", b"{\"version\":9}", b"\xff\xfe"] {
            std::fs::write(&path, wreck).unwrap();
            std::fs::write(state.path().join("revisions.json"), wreck).unwrap();
            assert_eq!(running(state.path()), None);
            let error = history.revision(7).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let opened = History::open(state.path());
            assert_eq!((opened.record, opened.notes.len()), (None, 1));
            assert_eq!(std::fs::read(state.path().join("history/000007.json.damaged")).unwrap(), wreck);
            assert_eq!(std::fs::read(state.path().join("revisions.json.damaged")).unwrap(), wreck);
            assert_eq!((history.numbers(), history.next().unwrap()), (vec![], 8));
        }
    }

    #[test]
    fn a_torn_write_leaves_what_was_there() {
        let state = tempfile::tempdir().unwrap();
        let history = open(state.path());
        history.keep(&revision(1, "a")).unwrap();
        history.stand(&stands(1)).unwrap();
        std::fs::write(state.path().join("history/000002.json.new"), "{\"vers").unwrap();
        std::fs::write(state.path().join("revisions.json.new"), [0; 8]).unwrap();
        let opened = History::open(state.path());
        assert_eq!((opened.record.unwrap().confirmed, opened.notes.len()), (1, 0));
        assert_eq!(history.numbers(), [1]);
        history.keep(&revision(2, "b")).unwrap();
        assert_eq!(history.numbers(), [1, 2]);
    }

    #[test]
    fn the_oldest_go_and_the_base_stays() {
        let state = tempfile::tempdir().unwrap();
        let history = open(state.path());
        for number in 1..=8 {
            history.keep(&revision(number, "a")).unwrap();
        }
        assert_eq!(history.prune_to(&stands(1), 5, MOST_OCTETS), [2, 3, 4]);
        assert_eq!(history.numbers(), [1, 5, 6, 7, 8]);
        history.keep(&revision(9, &"x".repeat(10_000))).unwrap();
        assert_eq!(history.prune_to(&stands(6), MOST_REVISIONS, 10_000), [1, 5, 7, 8, 9]);
        assert_eq!(history.numbers(), [6], "however large, what stays is never thrown away");
    }
}
