//! The one way to another configuration: an edit of the file, `reload`, `apply`, `undo`. Everything that can refuse refuses before the new
//! revision is written down; once it is, a crash or a reboot takes back what nobody confirms.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pictures::Pictures;
use super::prepare::{self, Loaded};
use super::standing::{self, Entry, Install, Standing, Waiting};
use super::{logging, plan};
use crate::config::{Config, Source};
use crate::desired;
use crate::dns;
use crate::linux::history::{History, How};
use crate::linux::{clock, config_files, hosts_files};

/// How long the kernel may take to accept the new table before a change says so.
const APPLY_PATIENCE: Duration = Duration::from_secs(20);

/// Who edits the file is not known.
pub const EDITOR: &str = "the watched file";

/// A wish for another configuration.
pub struct Change {
    /// Which.
    pub texts: Texts,
    /// How it came.
    pub how: How,
    /// Who asks for it.
    pub who: String,
    /// How long it waits for its confirmation; `None`: as its file says.
    pub confirm: Option<Duration>,
    /// Whether it may lock the administrators out.
    pub force: bool,
}

/// The texts of a [`Change`].
pub enum Texts {
    /// The person's files as they lie there.
    File,
    /// This in the place of the main file, with the fragments as they lie there.
    Main(String),
    /// Those of an earlier revision.
    Revision(u64),
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// The texts say what is already running.
    Unchanged {
        /// Warnings of the texts, rendered.
        warnings: String,
        /// What still waits to be confirmed.
        waiting: Option<Waiting>,
        /// What runs and is not in the person's files.
        install: Option<Install>,
    },
    /// The new configuration is in effect.
    Applied {
        /// Its number.
        revision: u64,
        /// Warnings of the texts, rendered.
        warnings: String,
        /// That it waits to be confirmed.
        waiting: Option<Waiting>,
        /// What runs and is not in the person's files.
        install: Option<Install>,
    },
    /// The old configuration stays.
    Rejected {
        /// Why, with the place.
        reason: String,
    },
}

/// Makes a change. One at a time, and to its end even if the one who asked goes away.
pub async fn change(pictures: &Arc<Pictures>, change: Change) -> Outcome {
    let pictures = pictures.clone();
    let done = tokio::spawn(async move { to_its_end(&pictures, change).await }).await;
    done.unwrap_or_else(|_| Outcome::Rejected { reason: "error: the change died; the log says why".to_owned() })
}

async fn to_its_end(pictures: &Arc<Pictures>, change: Change) -> Outcome {
    let _alone = pictures.changing.lock().await;
    let from_file = matches!(change.texts, Texts::File);
    let about = format!("{}, {}", change.how, change.who);
    let outcome = attempt(pictures, change).await.unwrap_or_else(|reason| Outcome::Rejected { reason });
    match &outcome {
        Outcome::Unchanged { .. } => tracing::info!("nothing changes ({about})"),
        Outcome::Applied { revision, warnings, waiting, .. } => {
            let wait = waiting.as_ref().map_or(String::new(), |waiting| format!("; {waiting}"));
            let warnings = if warnings.is_empty() { String::new() } else { format!("\n{warnings}") };
            tracing::info!("revision {revision} is in effect ({about}){wait}{warnings}");
        }
        Outcome::Rejected { reason } => tracing::error!("the running configuration stays ({about}):\n{reason}"),
    }
    if from_file {
        pictures.rejected.send_replace(match &outcome {
            Outcome::Rejected { reason } => Some(reason.as_str().into()),
            _ => None,
        });
    }
    outcome
}

async fn attempt(pictures: &Arc<Pictures>, change: Change) -> Result<Outcome, String> {
    let standing = pictures.standing.borrow().clone();
    let sources = gather(pictures, &change.texts).await?;
    let history = History::open(&pictures.paths.state).history;
    if change.how == How::Edit
        && let Some(after) = no_wish(&standing, &sources)
    {
        if after.record != standing.record
            && let Err(error) = history.stand(&after.record)
        {
            tracing::warn!("what the file says cannot be written down: {error}");
        }
        refresh_hosts(pictures).await;
        let waiting = after.waiting(&clock::moment());
        pictures.standing.send_replace(Arc::new(after));
        return Ok(Outcome::Unchanged { warnings: String::new(), waiting, install: None });
    }
    let loaded = prepare::check_aside(sources).await?;
    let same = **pictures.config.borrow() == loaded.config;
    if !same {
        let (bindings, resolved) = (pictures.bindings.borrow().clone(), pictures.resolved.borrow().clone());
        let standing = pictures.applied.borrow().clone();
        prepare::may_run(&loaded.config, &bindings, &resolved, &standing, change.force).await?;
    }
    let from_file = matches!(change.texts, Texts::File);
    let entry = Entry {
        how: change.how,
        who: change.who,
        sources: loaded.sources.clone().into(),
        from_file,
        confirm: change.confirm.or(loaded.config.apply.confirm),
        same,
    };
    if same {
        return rewrite(pictures, &history, &standing, &entry, loaded);
    }
    let (after, written) = standing::write_down(&history, &standing, &entry, clock::moment());
    written.map_err(|error| cannot_keep(pictures, &error))?;
    take_effect(pictures, &history, &standing, after, &entry, loaded).await
}

fn cannot_keep(pictures: &Pictures, error: &io::Error) -> String {
    format!(
        "error: the change cannot be kept in {}, so it could not be undone: {error}\n  = help: make room there, and apply it again",
        pictures.paths.state.display()
    )
}

/// The texts of a wish.
pub(super) async fn gather(pictures: &Arc<Pictures>, texts: &Texts) -> Result<Vec<Source>, String> {
    let paths = pictures.paths.clone();
    let lying = move || config_files::read(&paths.config).map_err(|error| format!("error: {error}"));
    let state = pictures.paths.state.clone();
    let found = match texts {
        Texts::File => tokio::task::spawn_blocking(lying).await,
        Texts::Main(text) => {
            let (text, config) = (text.clone().into_bytes(), pictures.paths.config.clone());
            tokio::task::spawn_blocking(move || {
                let read = config_files::with_main(&config, text);
                read.map_err(|error| format!("error: {error}"))
            })
            .await
        }
        Texts::Revision(number) => {
            let number = *number;
            tokio::task::spawn_blocking(move || {
                let revision = History::open(&state).history.revision(number);
                revision.map(|revision| revision.sources()).map_err(|error| format!("error: {error}"))
            })
            .await
        }
    };
    found.unwrap_or_else(|_| Err("error: the files could not be read".to_owned()))
}

/// What stands where a saved file is no new wish: only a hosts file has changed, the file is back at what it said, or we wrote it.
fn no_wish(standing: &Standing, sources: &[Source]) -> Option<Standing> {
    if *sources == *standing.seen { Some(standing.clone()) } else { standing.found(sources) }
}

/// Publishes what stands, and hands out what the command line should write into the person's files: nothing as long as it may still be
/// undone.
pub(super) fn stand(pictures: &Pictures, standing: Standing) -> Option<Install> {
    let install = if standing.record.pending.is_some() {
        None
    } else {
        let install = standing::to_install(&pictures.paths.config, &standing.running);
        install.inspect_err(|error| tracing::debug!("what lies there cannot be compared: {error}")).ok().flatten()
    };
    let standing = if install.is_some() { standing.hand_out() } else { standing };
    pictures.standing.send_replace(Arc::new(standing));
    install
}

/// Another text, or the same, with the meaning of what runs: nothing takes effect.
fn rewrite(
    pictures: &Arc<Pictures>,
    history: &History,
    standing: &Standing,
    entry: &Entry,
    loaded: Loaded,
) -> Result<Outcome, String> {
    publish_names(pictures, &pictures.config.borrow().clone(), &loaded.hosts);
    let (after, written) = if *entry.sources != *standing.running {
        standing::write_down(history, standing, entry, clock::moment())
    } else if entry.from_file {
        let after = standing.seen_running();
        let written = if after.record == standing.record { Ok(()) } else { history.stand(&after.record) };
        (after, written)
    } else {
        (standing.clone(), Ok(()))
    };
    written.map_err(|error| cannot_keep(pictures, &error))?;
    let waiting = after.waiting(&clock::moment());
    Ok(Outcome::Unchanged { warnings: loaded.warnings, waiting, install: stand(pictures, after) })
}

/// Publishes the new configuration and waits for the kernel. Where that refuses after all, the old one is published again.
async fn take_effect(
    pictures: &Arc<Pictures>,
    history: &History,
    before: &Standing,
    after: Standing,
    entry: &Entry,
    loaded: Loaded,
) -> Result<Outcome, String> {
    let revision = after.record.running();
    let old = pictures.config.borrow().clone();
    if let Err(reason) = publish(pictures, loaded.config, &loaded.hosts).await {
        pictures.config.send_replace(old);
        refresh_hosts(pictures).await;
        let record = before.record.refused(revision, entry.from_file, "the kernel refused it", &clock::moment());
        if let Err(error) = history.stand(&record) {
            tracing::error!("that revision {revision} was refused cannot be written down: {error}");
        }
        let seen = if entry.from_file { entry.sources.clone() } else { before.seen.clone() };
        pictures.standing.send_replace(Arc::new(Standing { record, seen, ..before.clone() }));
        return Err(reason);
    }
    plan::tell(pictures, old, revision);
    let waiting = after.waiting(&clock::moment());
    Ok(Outcome::Applied { revision, warnings: loaded.warnings, waiting, install: stand(pictures, after) })
}

/// Publishes a configuration and waits until the kernel has its table.
///
/// # Errors
/// The kernel's words, or that it took too long.
pub(super) async fn publish(pictures: &Arc<Pictures>, config: Config, hosts: &dns::Hosts) -> Result<(), String> {
    let config = Arc::new(config);
    publish_names(pictures, &config, hosts);
    let mut applied = pictures.applied.subscribe();
    pictures.config.send_replace(config.clone());
    logging::set_level(&config.log.level);
    let settled = applied.wait_for(|applied| {
        applied.config.as_ref().is_some_and(|now| Arc::ptr_eq(now, &config))
            || applied.refused.as_ref().is_some_and(|(now, _)| Arc::ptr_eq(now, &config))
    });
    match tokio::time::timeout(APPLY_PATIENCE, settled).await {
        Ok(Ok(applied)) => applied.refused.as_ref().map_or(Ok(()), |(_, words)| Err(words.clone())),
        _ => Err("error: the firewall did not take the new table in time".to_owned()),
    }
}

/// Reads the hosts files of the running configuration again.
async fn refresh_hosts(pictures: &Arc<Pictures>) {
    let config = pictures.config.borrow().clone();
    let files = config.dns.hosts_files.clone();
    if let Ok((hosts, _)) = tokio::task::spawn_blocking(move || hosts_files::read(&files)).await {
        publish_names(pictures, &config, &hosts);
    }
}

/// Makes the local names anew from the configuration, the hosts files and the live leases.
pub fn publish_names(pictures: &Pictures, config: &Config, hosts: &dns::Hosts) {
    let events = pictures.update_names(|names| {
        desired::names::rebuild(names, desired::names::fixed(config, hosts), config, &pictures.bindings.borrow())
    });
    for event in events {
        tracing::debug!("{event}");
    }
}
