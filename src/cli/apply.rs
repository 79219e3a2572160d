//! The verbs that change what runs, and those that look back: `apply`, `confirm`, `revert`, `undo`, `reload`, `history`, `diff`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use similar::TextDiff;

use super::verbs::{ask, wait};
use super::{Common, ERROR, plan, show};
use crate::config;
use crate::daemon::change::Outcome;
use crate::daemon::control::{self, Request};
use crate::daemon::revisions::{Row, Texts};
use crate::daemon::standing::Install;
use crate::desired::plan::Plan;
use crate::linux::{config_files, install, session};
use crate::model::utc_text;

/// How long two texts are compared before the rest counts as changed.
const DIFF_PATIENCE: Duration = Duration::from_secs(2);

/// What a server of remote sessions leaves in the environment.
const MARKS: [&str; 2] = ["SSH_CONNECTION", "SSH_TTY"];

type Done = anyhow::Result<ExitCode>;

/// What `apply` and `undo` take.
#[derive(Debug, clap::Args)]
pub struct Manner {
    /// Undo it again unless `labgate confirm` comes from a new session within this time, as in 60s; as the file says where not given
    #[arg(long, value_name = "TIME", value_parser = confirm_time)]
    confirm: Option<Duration>,
    /// Apply it although no administrator could get in afterwards
    #[arg(long)]
    force: bool,
}

fn confirm_time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    if time.is_zero() { Err("at least a second, as in 60s".to_owned()) } else { Ok(time) }
}

/// Puts a text, or the configured file as it lies there, into effect.
pub fn apply(common: &Common, file: Option<&Path>, manner: &Manner) -> Done {
    let text = file.map(read).transpose()?;
    let confirm_seconds = manner.confirm.map(|time| time.as_secs());
    show_plan(common, file)?;
    change(common, Request::Apply { text, confirm_seconds, force: manner.force })
}

/// Shows what is about to change. Why there is no plan, `apply` itself says.
fn show_plan(common: &Common, file: Option<&Path>) -> anyhow::Result<()> {
    let Ok(document) = wait(control::ask(&common.runtime_dir, &plan::request(file)?))? else { return Ok(()) };
    let mut found: Plan = serde_json::from_value(document)?;
    if common.json || found.is_empty() {
        return Ok(());
    }
    found.file = file.unwrap_or(&common.config).file_name().unwrap_or_default().to_string_lossy().into_owned();
    found.lock_out = None;
    show::line(plan::text(&found))
}

/// The text of a file that may take the place of the main one.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("{0} is not UTF-8; `labgate check {0}` shows where", path.display()))
}

/// Puts an earlier revision into effect again.
pub fn undo(common: &Common, number: Option<u64>, manner: &Manner) -> Done {
    let confirm_seconds = manner.confirm.map(|time| time.as_secs());
    change(common, Request::Undo { number, confirm_seconds, force: manner.force })
}

/// Makes the running gateway read its file again.
pub fn reload(common: &Common) -> Done {
    change(common, Request::Reload)
}

/// Lets what waits stay. The request goes over a connection of its own, as every verb's does.
pub fn confirm(common: &Common) -> Done {
    let marked = MARKS.iter().any(|mark| std::env::var_os(mark).is_some());
    change(common, Request::Confirm { seat: session::own_seat(marked) })
}

/// Takes back what waits.
pub fn revert(common: &Common) -> Done {
    change(common, Request::Revert)
}

fn change(common: &Common, request: Request) -> Done {
    let confirmed = matches!(request, Request::Confirm { .. });
    let document = wait(control::ask(&common.runtime_dir, &request))??;
    if common.json {
        show::json(&document)?;
    }
    let (lines, written) = match serde_json::from_value(document)? {
        Outcome::Rejected { reason } => {
            if !common.json {
                show::line(reason.trim())?;
            }
            return Ok(ExitCode::from(ERROR));
        }
        Outcome::Unchanged { warnings, waiting, install } => {
            let waiting = waiting.map(|waiting| waiting.to_string()).unwrap_or_default();
            (vec![warnings, "this is already running".to_owned(), waiting], install)
        }
        Outcome::Applied { revision, warnings, waiting, install } => {
            let words = if confirmed { "is confirmed and stays" } else { "is in effect" };
            let waiting = waiting.map(|waiting| waiting.to_string()).unwrap_or_default();
            (vec![warnings, format!("revision {revision} {words}"), waiting], install)
        }
    };
    if !common.json {
        lines.iter().filter(|line| !line.is_empty()).try_for_each(show::line)?;
    }
    if let Some(install) = written {
        write(common, &install)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what runs over the person's files. Where that does not succeed, it still runs: a start finds it in the history.
fn write(common: &Common, texts: &Install) -> anyhow::Result<()> {
    if let Some(extra) = texts.extra.first() {
        eprintln!(
            "labgate: it runs, and your files are left as they are, because {} is not part of it: take that away, then `labgate undo` with \
             the number of this revision writes the others",
            extra.display()
        );
        return Ok(());
    }
    for (path, text) in &texts.files {
        match install::install(path, text.as_bytes()) {
            Ok(()) if common.json => {}
            Ok(()) => show::line(format!("wrote {}", path.display()))?,
            Err(error) => {
                eprintln!(
                    "labgate: it runs, and could not be written: {error}; `labgate undo` with its number, by somebody who may, writes it"
                );
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Lists the revisions, the newest first.
pub fn history(common: &Common) -> Done {
    if let Some(rows) = ask::<Vec<Row>>(common, Request::History)? {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let state = row.why.map_or(row.state.clone(), |why| format!("{}: {why}", row.state));
                let lines = format!("+{} -{}", row.added, row.removed);
                [row.revision.to_string(), utc_text(row.unix), row.how.to_string(), row.who, lines, state]
            })
            .collect();
        show::table(["REVISION", "WHEN", "HOW", "WHO", "LINES", "STATE"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Texts of one side of a difference: file name → text.
type Side = (String, BTreeMap<String, String>);

/// Shows in what two revisions differ, or the file as it lies there and what runs.
pub fn diff(common: &Common, first: Option<u64>, second: Option<u64>) -> Done {
    let revision = |number: Option<u64>| -> anyhow::Result<Texts> {
        let document = wait(control::ask(&common.runtime_dir, &Request::Revision { number }))??;
        serde_json::from_value(document).context("the running gateway speaks another version of labgate")
    };
    let named = |texts: Texts| (format!("revision {}", texts.revision), texts.files);
    let newer = revision(second.or(first))?;
    let (old, new): (Side, Side) = match (first, second) {
        (Some(first), Some(_)) => (named(revision(Some(first))?), named(newer)),
        (Some(first), None) => {
            let Some(before) = newer.before else { bail!("revision {first} is the first that is kept") };
            (named(revision(Some(before))?), named(newer))
        }
        (None, _) => (named(newer), ("file".to_owned(), lying(common)?)),
    };
    let text = unified(&old, &new);
    if common.json {
        show::json(&serde_json::json!({ "from": old.0, "to": new.0, "diff": text }))?;
    } else if !text.is_empty() {
        show::line(text.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The person's files, where the running gateway has them.
fn lying(common: &Common) -> anyhow::Result<BTreeMap<String, String>> {
    let status = wait(control::ask(&common.runtime_dir, &Request::Status))??;
    let path = status["config"].as_str().map_or_else(|| common.config.clone(), PathBuf::from);
    let text = |source: config::Source| (source.name, String::from_utf8_lossy(&source.text).into_owned());
    Ok(config_files::read(&path)?.into_iter().map(text).collect())
}

/// The unified difference of two sets of files.
fn unified((old_name, old): &Side, (new_name, new): &Side) -> String {
    let files: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |side: &BTreeMap<String, String>, file: &String| side.get(file).cloned().unwrap_or_default();
    let differences = files.into_iter().map(|file| {
        let (before, after) = (text(old, file), text(new, file));
        let difference = TextDiff::configure().timeout(DIFF_PATIENCE).diff_lines(&before, &after);
        difference.unified_diff().header(&format!("{file} ({old_name})"), &format!("{file} ({new_name})")).to_string()
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_files_and_sides() {
        let side = |name: &str, files: &[(&str, &str)]| -> Side {
            let owned = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
            (name.to_owned(), files.iter().map(owned).collect())
        };
        let old = side("revision 1", &[("labgate.toml", "a\nb\nc\n"), ("labgate.d/10.toml", "x\n")]);
        let new = side("revision 2", &[("labgate.toml", "a\nB\nc\n"), ("labgate.d/10.toml", "x\n")]);
        let text = unified(&old, &new);
        assert_eq!(
            text,
            "--- labgate.toml (revision 1)\n+++ labgate.toml (revision 2)\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        );
        assert_eq!(unified(&old, &old), "");
    }

    #[test]
    fn a_confirmation_may_take_a_second_and_not_none() {
        assert_eq!(confirm_time("1s"), Ok(Duration::from_secs(1)));
        assert!(confirm_time("0s").is_err());
        assert!(confirm_time("60").unwrap_err().contains("60s"));
    }
}
