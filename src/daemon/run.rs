//! The life of the daemon: close the box, then the networks, then the services; READY; signals; a clean end that leaves the ruleset standing.

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::change::{self, Change, EDITOR, Texts};
use super::pictures::{Paths, Pictures};
use super::{control, logging, reconcile, start, usage};
use crate::config::Config;
use crate::linux::history::How;
use crate::linux::{config_files, hosts_files, resolved_names, watch};

/// How long the tasks may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long READY waits for services that do not even say what keeps them.
const SERVICE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a part that died rests before it is started again.
const RESTART_REST: Duration = Duration::from_millis(500);

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// Where another instance runs, neither the file nor a revision of it can be used, or the kernel refuses the firewall.
pub fn run(paths: Paths) -> anyhow::Result<()> {
    for folder in [&paths.state, &paths.runtime] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let _alone = lock(&paths.runtime)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(live(paths));
    runtime.shutdown_timeout(STOP_PATIENCE);
    result
}

/// One daemon per runtime folder.
fn lock(runtime: &Path) -> anyhow::Result<Flock<std::fs::File>> {
    let path = runtime.join("labgate.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow::anyhow!("another labgate is already running with the runtime folder {}", runtime.display())
    })
}

/// Whether a daemon holds this runtime folder.
pub fn is_running(runtime: &Path) -> bool {
    runtime.join("labgate.lock").exists() && lock(runtime).is_err()
}

async fn live(paths: Paths) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let first = start::first(&paths).await?;
    let pictures = Arc::new(Pictures::new(paths, Arc::new(first.loaded.config)));
    pictures.standing.send_replace(Arc::new(first.standing));
    pictures.resolved.send_replace(Arc::new(resolved_names::load(&pictures.paths.state)));
    let edits = watch::watch(&pictures.paths.config, pictures.config.subscribe());
    let config = pictures.config.borrow().clone();
    logging::set_level(&config.log.level);
    if !first.loaded.warnings.is_empty() {
        tracing::warn!("{}", first.loaded.warnings);
    }
    if let Some(reason) = first.rejected {
        tracing::error!("what ran before runs on, because the file cannot be used:\n{reason}");
        pictures.rejected.send_replace(Some(reason.into()));
    }
    let token = CancellationToken::new();
    let tasks = TaskTracker::new();

    super::dhcp::foretell(&pictures);
    *pictures.meter.lock().await = usage::open(&pictures);
    reconcile::first_pass(&pictures).await.context("the box could not be closed")?;
    // Read again now that they are watched: an edit between the two would be noticed by nobody.
    change::publish_names(&pictures, &config, &hosts_files::read(&config.dns.hosts_files).0);
    super::network::first_pass(&pictures).await.context("the networks could not be set up")?;
    let listener = control::listen(&pictures.paths.runtime)?;

    keep_running(&tasks, &token, &pictures, "firewall", reconcile::run);
    keep_running(&tasks, &token, &pictures, "refusals", super::refusals::run);
    keep_running(&tasks, &token, &pictures, "counters", usage::run);
    keep_running(&tasks, &token, &pictures, "network", super::network::run);
    keep_running(&tasks, &token, &pictures, "uplink", super::uplink::run);
    keep_running(&tasks, &token, &pictures, "dhcp", super::dhcp::run);
    keep_running(&tasks, &token, &pictures, "dns", super::dns::run);
    keep_running(&tasks, &token, &pictures, "confirm", super::pending::run);
    tasks.spawn(control::run(listener, pictures.clone(), token.clone()));

    served(&pictures, &config).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("labgate {} is ready", env!("CARGO_PKG_VERSION"));
    if config_files::read(&pictures.paths.config).ok() != first.file {
        follow(&pictures, How::Edit).await;
    }
    attend(&pictures, signals, edits).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    token.cancel();
    tasks.close();
    if tokio::time::timeout(STOP_PATIENCE, tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    let _ = std::fs::remove_file(control::socket_path(&pictures.paths.runtime));
    tracing::info!("stopped; the ruleset stays (`labgate teardown` removes it)");
    Ok(())
}

/// Waits until DNS and the DHCP of every network have said how they stand, good or bad: whoever waits for READY wants to be served.
async fn served(pictures: &Pictures, config: &Config) {
    let mut awaited = vec!["dns".to_owned()];
    let served = config.networks.iter().filter(|network| network.dhcp.is_some());
    awaited.extend(served.map(|network| format!("dhcp {}", network.name)));
    let mut health = pictures.health.subscribe();
    let told = health.wait_for(|table| {
        let no_dhcp = table.get("dhcp").is_some_and(|row| !row.good);
        awaited.iter().all(|row| table.contains_key(row) || no_dhcp && row.starts_with("dhcp "))
    });
    if tokio::time::timeout(SERVICE_PATIENCE, told).await.is_err() {
        tracing::warn!("not every service has come up yet; `labgate status` tells which");
    }
}

/// The signals that steer the daemon. Listened to from the first moment: an unheard SIGHUP would end the process.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Waits for what comes from outside, signals and edits of the file, until it is time to end.
async fn attend(pictures: &Arc<Pictures>, mut signals: Signals, mut edits: mpsc::Receiver<()>) {
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hangup.recv() => follow(pictures, How::Reload).await,
            Some(()) = edits.recv() => follow(pictures, How::Edit).await,
            _ = watchdog.tick() => {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
}

/// Follows the person's files, and tells systemd so.
async fn follow(pictures: &Arc<Pictures>, how: How) {
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Reloading,
        sd_notify::NotifyState::monotonic_usec_now().unwrap_or(sd_notify::NotifyState::Reloading),
    ]);
    let who = if how == How::Edit { EDITOR } else { "SIGHUP" }.to_owned();
    change::change(pictures, Change { texts: Texts::File, how, who, confirm: None, force: false }).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Ticks at a third of what systemd's watchdog allows; once an hour where it does not watch.
fn watchdog() -> tokio::time::Interval {
    let period = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |limit| limit / 3);
    let mut interval = tokio::time::interval(period.max(Duration::from_millis(100)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

/// Runs one part until the token ends; a part that fails or panics is started again, and the others do not notice.
fn keep_running<F, R>(
    tasks: &TaskTracker,
    token: &CancellationToken,
    pictures: &Arc<Pictures>,
    name: &'static str,
    part: F,
) where
    F: Fn(Arc<Pictures>, CancellationToken) -> R + Send + 'static,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (token, pictures) = (token.clone(), pictures.clone());
    tasks.spawn(async move {
        while !token.is_cancelled() {
            let words = match tokio::spawn(part(pictures.clone(), token.clone())).await {
                Ok(Ok(())) if token.is_cancelled() => return,
                Ok(Ok(())) => "ended by itself".to_owned(),
                Ok(Err(error)) => format!("{error:#}"),
                Err(panic) => format!("died: {panic}"),
            };
            tracing::error!("{name}: {words}; starting it again");
            pictures.report(name, false, words);
            tokio::select! {
                () = token.cancelled() => {}
                () = tokio::time::sleep(RESTART_REST) => {}
            }
        }
    });
}
