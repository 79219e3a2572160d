//! What runs when the daemon starts: the revision that ran, or, where the person's file says something new, that.
//!
//! A revision whose time to be confirmed is over is taken back before anything runs. Nothing that is damaged keeps the gateway from
//! starting as long as one text can be used.

use std::path::Path;
use std::sync::Arc;

use super::change::EDITOR;
use super::pictures::{Applied, Paths};
use super::prepare::{self, Loaded};
use super::standing::{self, Entry, Standing};
use crate::config::Source;
use crate::desired::revision::{AtStart, Moment, Pending, Record};
use crate::linux::history::{History, How};
use crate::linux::{clock, config_files, resolved_names};
use crate::model::Bindings;

/// What a start begins with.
pub struct First {
    /// What runs.
    pub loaded: Loaded,
    /// Which revision that is.
    pub standing: Standing,
    /// Why the person's file cannot be used, where it cannot.
    pub rejected: Option<String>,
    /// The person's files as they were read.
    pub file: Option<Vec<Source>>,
}

/// Decides what runs.
///
/// # Errors
/// Where neither the file nor any revision can be used.
pub async fn first(paths: &Paths) -> anyhow::Result<First> {
    let opened = History::open(&paths.state);
    for note in &opened.notes {
        tracing::error!("{note}");
    }
    let (history, now) = (opened.history, clock::moment());
    let ran = opened.record.and_then(|record| what_ran(&history, undo_first(&history, record, &now)));
    let file = config_files::read(&paths.config);
    let lying = file.as_ref().ok().cloned();
    let seen = |standing: &Standing| lying.as_deref() == Some(&*standing.seen);
    let (loaded, standing, rejected) = match (file, ran) {
        (_, Some((standing, loaded))) if seen(&standing) => (loaded, standing, None),
        (Ok(sources), ran) => match (new_text((&history, &paths.state), sources, ran.as_ref(), now).await, ran) {
            (Ok((standing, loaded)), _) => (loaded, standing, None),
            (Err(reason), Some((standing, loaded))) => (loaded, standing, Some(reason)),
            (Err(reason), None) => newest(&history, reason)?,
        },
        (Err(error), Some((standing, loaded))) => (loaded, standing, Some(format!("error: {error}"))),
        (Err(error), None) => newest(&history, format!("error: {error}"))?,
    };
    Ok(First { loaded, standing, rejected, file: lying })
}

/// The file cannot be used and nobody knows what ran: the newest revision that can be used is better than none.
fn newest(history: &History, reason: String) -> anyhow::Result<(Loaded, Standing, Option<String>)> {
    let confirmed = history.numbers().last().copied();
    let found = confirmed.and_then(|confirmed| what_ran(history, Record { confirmed, ..Record::default() }));
    match found {
        Some((standing, loaded)) => Ok((loaded, standing, Some(reason))),
        None => anyhow::bail!("{reason}"),
    }
}

/// Takes back what nobody confirmed while nobody was there to take it back.
fn undo_first(history: &History, record: Record, now: &Moment) -> Record {
    let (Some(pending), AtStart::Undo(why)) = (&record.pending, record.at_start(now)) else { return record };
    let undone = record.undo(why, now);
    tracing::warn!("revision {} is undone, revision {} runs again: {why}", pending.revision, undone.confirmed);
    if let Err(error) = history.stand(&undone) {
        tracing::error!("that revision {} is undone cannot be written down: {error}", pending.revision);
    }
    undone
}

/// The revision that ran; where its text cannot be used, the one it falls back to, and before that the newest older one that can.
fn what_ran(history: &History, record: Record) -> Option<(Standing, Loaded)> {
    let mut base = None;
    let older = history.numbers().into_iter().rev().filter(|number| *number < record.confirmed);
    for number in [record.confirmed].into_iter().chain(older) {
        if record.undone.contains_key(&number) {
            continue;
        }
        match load(history, number) {
            Ok(loaded) => {
                base = Some((number, loaded));
                break;
            }
            Err(reason) => tracing::error!("revision {number} cannot be used: {reason}"),
        }
    }
    let read = |number: u64| history.revision(number).map(|revision| revision.sources()).unwrap_or_default();
    let seen: Arc<[Source]> = record.seen.map_or_else(Vec::new, read).into();
    let waits = |pending: &Pending| {
        let loaded = load(history, pending.revision);
        loaded.inspect_err(|reason| tracing::error!("revision {} cannot be used: {reason}", pending.revision)).ok()
    };
    let pending = record.pending.as_ref().and_then(waits);
    let (base, pending) = match (base, pending) {
        (Some((number, base)), pending) => ((number, base), pending),
        // Nothing to go back to: what waits stays.
        (None, Some(pending)) => ((record.running(), pending), None),
        (None, None) => return None,
    };
    let record = Record { confirmed: base.0, pending: record.pending.filter(|_| pending.is_some()), ..record };
    let stays: Arc<[Source]> = base.1.sources.clone().into();
    let loaded = pending.unwrap_or(base.1);
    Some((
        Standing { record, running: loaded.sources.clone().into(), base: stays, seen, handed_out: Vec::new() },
        loaded,
    ))
}

fn load(history: &History, number: u64) -> Result<Loaded, String> {
    prepare::check(history.revision(number).map_err(|error| error.to_string())?.sources())
}

/// The person's file says something new: a change like any other, but one that waits for nothing where nothing ran before.
async fn new_text(
    (history, state): (&History, &Path),
    sources: Vec<Source>,
    ran: Option<&(Standing, Loaded)>,
    now: Moment,
) -> Result<(Standing, Loaded), String> {
    let loaded = prepare::check(sources)?;
    let same = ran.is_some_and(|(_, running)| running.config == loaded.config);
    if ran.is_some() && !same {
        let (bindings, resolved) = (Bindings::default(), resolved_names::load(state));
        prepare::may_run(&loaded.config, &bindings, &resolved, &Applied::default(), false).await?;
    }
    let entry = Entry {
        how: How::Start,
        who: EDITOR.to_owned(),
        sources: loaded.sources.clone().into(),
        from_file: true,
        confirm: loaded.config.apply.confirm.filter(|_| ran.is_some()),
        same,
    };
    let nothing = Standing::default();
    let before = ran.map_or(&nothing, |(standing, _)| standing);
    let (after, written) = if *before.running == *entry.sources {
        let after = before.seen_running();
        let written = history.stand(&after.record);
        (after, written)
    } else {
        standing::write_down(history, before, &entry, now)
    };
    if let Err(error) = written {
        tracing::error!("revision {} cannot be written down and runs all the same: {error}", after.record.running());
    }
    Ok((after, loaded))
}
