//! What is told of the revisions: `labgate history`, `diff`, and in which way the person's file is not what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pictures::Pictures;
use super::standing::Standing;
use crate::desired::revision::Record;
use crate::linux::history::{History, How};
use crate::linux::{clock, config_files};
use crate::model::{UnixSeconds, utc_text};

/// One row of `labgate history`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Its number.
    pub revision: u64,
    /// When it was put into effect, on the wall clock.
    pub unix: UnixSeconds,
    /// Who asked for it.
    pub who: String,
    /// How it came to be.
    pub how: How,
    /// `running`, `waiting`, `confirmed` or `undone`.
    pub state: String,
    /// Why it was undone.
    pub why: Option<String>,
    /// Lines that what ran before did not have.
    pub added: usize,
    /// Lines that only what ran before had.
    pub removed: usize,
}

/// The texts of one revision.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Texts {
    /// Its number.
    pub revision: u64,
    /// The number of the one before it, where that is kept.
    pub before: Option<u64>,
    /// File name → text, `labgate.d/…` for fragments.
    pub files: BTreeMap<String, String>,
}

/// Builds `labgate history`, the newest first.
///
/// # Errors
/// Where the folder cannot be read at all.
pub async fn history(pictures: &Arc<Pictures>) -> anyhow::Result<Vec<Row>> {
    let (state, standing) = (pictures.paths.state.clone(), pictures.standing.borrow().clone());
    let rows = tokio::task::spawn_blocking(move || {
        let history = History::open(&state).history;
        let rows = history.numbers().into_iter().rev().filter_map(|number| row(&history, &standing.record, number));
        rows.collect()
    });
    Ok(rows.await?)
}

fn row(history: &History, record: &Record, number: u64) -> Option<Row> {
    let revision = history.revision(number).inspect_err(|error| tracing::error!("{error}")).ok()?;
    let undone = record.undone.get(&number);
    let state = match (record.running() == number, undone) {
        (true, _) if record.pending.is_some() => "waiting",
        (true, _) => "running",
        (false, Some(_)) => "undone",
        // Written down and never put into effect: the power went.
        (false, None) if number > record.running() => "undone",
        (false, None) => "confirmed",
    };
    Some(Row {
        revision: number,
        unix: revision.unix,
        state: state.to_owned(),
        why: undone.map(|undone| undone.why.clone()),
        added: revision.added,
        removed: revision.removed,
        how: revision.how,
        who: revision.who,
    })
}

/// The texts of revision `number`, or of what runs.
///
/// # Errors
/// Where there is none of that number.
pub async fn texts(pictures: &Arc<Pictures>, number: Option<u64>) -> anyhow::Result<Texts> {
    let state = pictures.paths.state.clone();
    let standing = pictures.standing.borrow().clone();
    let number = number.unwrap_or(standing.record.running());
    tokio::task::spawn_blocking(move || {
        let history = History::open(&state).history;
        let sources = match history.revision(number) {
            Ok(revision) => revision.sources(),
            // It may run without having found room on the disk.
            Err(_) if number == standing.record.running() => standing.running.to_vec(),
            Err(error) => return Err(error.into()),
        };
        let text = |source: crate::config::Source| (source.name, String::from_utf8_lossy(&source.text).into_owned());
        let before = history.numbers().into_iter().rev().find(|before| *before < number);
        Ok(Texts { revision: number, before, files: sources.into_iter().map(text).collect() })
    })
    .await?
}

/// Which revision `labgate undo` puts into effect again: the given one, or the newest older one that stayed and says something else.
///
/// # Errors
/// Where a revision waits to be confirmed, which `revert` takes back; where there is none before.
pub async fn to_undo(pictures: &Arc<Pictures>, number: Option<u64>) -> anyhow::Result<u64> {
    if let Some(number) = number {
        return Ok(number);
    }
    let (state, standing) = (pictures.paths.state.clone(), pictures.standing.borrow().clone());
    if let Some(waiting) = standing.waiting(&clock::moment()) {
        anyhow::bail!("revision {} waits to be confirmed: `labgate revert` takes it back", waiting.revision);
    }
    let record = &standing.record;
    let history = History::open(&state).history;
    let stayed = |number: &u64| *number < record.running() && !record.undone.contains_key(number);
    let other = |number: &u64| history.revision(*number).is_ok_and(|it| *it.sources() != *standing.running);
    let found = history.numbers().into_iter().rev().filter(stayed).find(other);
    found.ok_or_else(|| anyhow::anyhow!("there is no revision before {} that says something else", record.running()))
}

/// In which way the person's file is not what runs; `None` where it is.
pub fn file_differs(pictures: &Pictures, standing: &Standing) -> Option<String> {
    let lying = config_files::read(&pictures.paths.config).ok()?;
    if *lying == *standing.running {
        return None;
    }
    let record = &standing.record;
    let undone = record.seen.filter(|_| *lying == *standing.seen).and_then(|seen| record.undone.get(&seen));
    Some(match undone {
        Some(undone) => format!(
            "the file as it stands was undone at {} ({}); save it again changed, or `labgate apply`",
            utc_text(undone.unix),
            undone.why
        ),
        None if record.pending.is_some() => {
            format!("revision {} is not in the file yet: `labgate confirm` writes it there", record.running())
        }
        None => format!(
            "the file is not what runs, revision {0}: `labgate diff` shows in what; `labgate apply` takes the file, \
             `labgate undo {0}` writes what runs over it",
            record.running()
        ),
    })
}
