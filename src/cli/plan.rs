//! `labgate plan`: what a file would change, in effects.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::verbs::wait;
use super::{Common, ERROR, apply, show};
use crate::config;
use crate::daemon::control::{self, Request};
use crate::desired;
use crate::desired::plan::{self, Plan, Session, Standing};
use crate::firewall::{HostAddresses, Policy};
use crate::linux::history::History;
use crate::linux::{clock, config_files};
use crate::model::{Bindings, utc_text};

/// Exit code where something would change.
const CHANGES: u8 = 2;

/// Compares a text, or the configured file as it lies there, with what runs.
pub fn run(common: &Common, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut plan = match wait(control::ask(&common.runtime_dir, &request(file)?))? {
        Ok(document) => {
            serde_json::from_value(document).context("the running gateway speaks another version of labgate")?
        }
        Err(error) if error.downcast_ref::<std::io::Error>().is_some() => {
            let Some(plan) = without_daemon(common, file)? else { return Err(error) };
            plan
        }
        Err(problems) => {
            show::line(format!("{problems:#}").trim())?;
            return Ok(ExitCode::from(ERROR));
        }
    };
    plan.file = file.unwrap_or(&common.config).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if common.json {
        show::json(&plan)?;
    } else {
        show::line(text(&plan).trim_end())?;
    }
    Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}

/// The question for the running gateway.
pub fn request(file: Option<&Path>) -> anyhow::Result<Request> {
    Ok(Request::Plan { text: file.map(apply::read).transpose()?, session: session() })
}

/// The remote end of the SSH session that this process is in, as OpenSSH tells it: `client port server port`.
fn session() -> Option<Session> {
    let told = std::env::var("SSH_CONNECTION").ok()?;
    let mut words = told.split_whitespace();
    let address = words.next()?.parse().ok()?;
    Some(Session { address, port: words.nth(2)?.parse().ok()? })
}

/// The plan with its heading.
pub fn text(plan: &Plan) -> String {
    let when = plan.applied_unix.map_or(String::new(), |unix| format!(" (applied {})", utc_text(unix)));
    match plan.is_empty() {
        true => format!("{} changes nothing of what is running{when}\n{plan}", plan.file),
        false => format!("{} differs from what is running{when}\n{plan}", plan.file),
    }
}

/// Where no gateway runs, its last revision stands in for it; `None` where there is none. Leases and open connections are not known then.
fn without_daemon(common: &Common, file: Option<&Path>) -> anyhow::Result<Option<Plan>> {
    let opened = History::open(&common.state_dir);
    let Some(revision) = opened.record.and_then(|record| opened.history.revision(record.running()).ok()) else {
        return Ok(None);
    };
    let judged = |checked: crate::config::Checked| {
        checked.config.ok_or_else(|| format!("{}\n{}", checked.report.render(false).trim(), checked.report.summary()))
    };
    let sources = match file {
        Some(file) => config_files::with_main(&common.config, apply::read(file)?.into_bytes())?,
        None => config_files::read(&common.config)?,
    };
    let (old, new) = match (judged(config::check(&revision.sources())), judged(desired::check(&sources))) {
        (Ok(old), Ok(new)) => (old, new),
        (_, Err(problems)) | (Err(problems), _) => bail!("{problems}"),
    };
    let side = |config| {
        let policy = Policy::compile(config);
        let hosts: HostAddresses = desired::host_addresses(config, &Bindings::default(), &Default::default());
        (policy, hosts)
    };
    let (before, after) = (side(&old), side(&new));
    let standing = |config, (policy, hosts)| Standing { config, policy, hosts, uplink: &[] };
    let mut plan = plan::plan(
        &standing(&old, (&before.0, &before.1)),
        &standing(&new, (&after.0, &after.1)),
        &Bindings::default(),
        session(),
        clock::now(),
    );
    plan.applied_unix = Some(revision.unix);
    Ok(Some(plan))
}
