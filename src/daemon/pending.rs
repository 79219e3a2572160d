//! A revision that waits to be confirmed: the task that takes it back when nobody does, and the two verbs that do not wait for that.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::change::{self, Outcome};
use super::pictures::Pictures;
use super::prepare;
use super::standing::{Standing, Waiting};
use crate::desired::revision::{self, Seat};
use crate::linux::clock;
use crate::linux::history::History;

/// How often systemd is told how long it still is; also how late a machine that slept may notice.
const TELL: Duration = Duration::from_secs(1);

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Waiting { revision, base, seconds_left } = self;
        write!(
            f,
            "revision {revision} waits for `labgate confirm` from a new session; in {seconds_left} s revision {base} runs again"
        )
    }
}

/// Somebody at the control socket.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `alice (uid 1000)`.
    pub who: String,
    /// When the connection was accepted, on the boot clock.
    pub accepted: Duration,
    /// Where the process at the other end sits, as far as we can see it.
    pub seat: Option<Seat>,
}

/// Takes back what nobody confirms in time, until the token ends.
///
/// # Errors
/// Never by itself.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let mut standing = pictures.standing.subscribe();
    let mut told = false;
    loop {
        let now = clock::moment();
        let (waits, rest) = {
            let standing = standing.borrow_and_update();
            tell(&standing, &now, &mut told);
            let pending = standing.record.pending.as_ref();
            (pending.is_some(), pending.and_then(|pending| pending.remaining(&now)))
        };
        if waits && rest.is_none() {
            if let Err(reason) = take_back(&pictures, "nobody confirmed it in time", true).await {
                tracing::debug!("not taken back: {reason}");
                tokio::time::sleep(TELL).await;
            }
            continue;
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            changed = standing.changed() => changed?,
            () = tokio::time::sleep(rest.unwrap_or(TELL).min(TELL)), if waits => {}
        }
    }
}

/// Tells systemd what is waited for, and once that it is over.
fn tell(standing: &Standing, now: &revision::Moment, told: &mut bool) {
    let waiting = standing.waiting(now);
    if waiting.is_some() || *told {
        let words = waiting.as_ref().map_or("running".to_owned(), Waiting::to_string);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&words)]);
    }
    *told = waiting.is_some();
}

/// `labgate confirm`: the pending revision stays.
///
/// # Errors
/// That none waits; why the caller proves nothing; that the disk does not take it.
pub async fn confirm(pictures: &Arc<Pictures>, caller: &Caller, claimed: Seat) -> Result<Outcome, String> {
    let _alone = pictures.changing.lock().await;
    let standing = pictures.standing.borrow().clone();
    let now = clock::moment();
    let Some(pending) = &standing.record.pending else {
        return Err(format!("nothing waits to be confirmed: revision {} stays", standing.record.confirmed));
    };
    if pending.remaining(&now).is_none() {
        return Err(format!("the time of revision {} is over", pending.revision));
    }
    let seats: Vec<Seat> = caller.seat.clone().into_iter().chain([claimed]).collect();
    revision::proves(pending, &now, caller.accepted, &seats)?;
    let after = standing.confirm();
    let history = History::open(&pictures.paths.state).history;
    history.stand(&after.record).map_err(|error| format!("that it is confirmed cannot be written down: {error}"))?;
    tracing::info!("revision {} is confirmed by {}", pending.revision, caller.who);
    let install = change::stand(pictures, after);
    Ok(Outcome::Applied { revision: pending.revision, warnings: String::new(), waiting: None, install })
}

/// `labgate revert`: the pending revision is taken back now.
///
/// # Errors
/// That none waits.
pub async fn revert(pictures: &Arc<Pictures>, caller: &Caller) -> Result<Outcome, String> {
    take_back(pictures, &format!("taken back by {}", caller.who), false).await
}

/// Publishes the base again: every part follows by what differs, so only what the change touched is touched. `when_over`: only where its time
/// has run out by now, for somebody may have confirmed it in the meantime.
async fn take_back(pictures: &Arc<Pictures>, why: &str, when_over: bool) -> Result<Outcome, String> {
    let (pictures, why) = (pictures.clone(), why.to_owned());
    // To its end, even if the one who asked goes away.
    let done = tokio::spawn(async move { to_the_base(&pictures, &why, when_over).await }).await;
    done.unwrap_or_else(|_| Err("it died; the log says why".to_owned()))
}

async fn to_the_base(pictures: &Arc<Pictures>, why: &str, when_over: bool) -> Result<Outcome, String> {
    let _alone = pictures.changing.lock().await;
    let standing = pictures.standing.borrow().clone();
    let now = clock::moment();
    let Some(pending) = &standing.record.pending else {
        return Err(format!("nothing waits to be confirmed: revision {} stays", standing.record.confirmed));
    };
    if when_over && let Some(waiting) = standing.waiting(&now) {
        return Err(waiting.to_string());
    }
    let after = standing.undo(why, &now);
    // A disk that does not take it changes nothing: the next start finds the time over and takes it back again.
    if let Err(error) = History::open(&pictures.paths.state).history.stand(&after.record) {
        tracing::error!("that revision {} is taken back cannot be written down: {error}", pending.revision);
    }
    let loaded = prepare::check_aside(after.running.to_vec()).await?;
    let published = change::publish(pictures, loaded.config, &loaded.hosts).await;
    pictures.standing.send_replace(Arc::new(after.clone()));
    let base = after.record.confirmed;
    tracing::warn!("revision {} is undone, revision {base} runs again: {why}", pending.revision);
    if let Err(reason) = published {
        tracing::error!("the kernel does not take revision {base} yet, it is tried again: {reason}");
    }
    Ok(Outcome::Applied { revision: base, warnings: String::new(), waiting: None, install: None })
}
