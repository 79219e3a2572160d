//! From texts to a configuration that may run: everything here can refuse, and nothing has happened yet.

use super::pictures::Applied;
use super::reconcile;
use crate::config::{Config, Source};
use crate::desired;
use crate::dns;
use crate::dns::outside::Resolved;
use crate::firewall::{Policy, Replacement};
use crate::linux::{hosts_files, nft};
use crate::model::Bindings;

/// A configuration that may run, with the hosts files it names.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The hosts files.
    pub hosts: dns::Hosts,
    /// Warnings, rendered; empty where there are none.
    pub warnings: String,
    /// The files as they were read.
    pub sources: Vec<Source>,
}

/// Checks the texts.
///
/// # Errors
/// All problems, rendered.
pub fn check(sources: Vec<Source>) -> Result<Loaded, String> {
    let checked = desired::check(&sources);
    let rendered = |last: String| format!("{}\n\n{last}", checked.report.render(false).trim_end());
    let Some(config) = &checked.config else { return Err(rendered(checked.report.refusal())) };
    let mut warnings = if checked.report.warnings > 0 { rendered(checked.report.summary()) } else { String::new() };
    let (hosts, skipped) = hosts_files::read(&config.dns.hosts_files);
    for problem in skipped {
        warnings.push_str(&format!("\nwarning: {problem}"));
    }
    Ok(Loaded { config: checked.config.expect("seen above"), hosts, warnings: warnings.trim().to_owned(), sources })
}

/// [`check`] on a thread that may block.
///
/// # Errors
/// As [`check`].
pub async fn check_aside(sources: Vec<Source>) -> Result<Loaded, String> {
    let checked = tokio::task::spawn_blocking(move || check(sources)).await;
    checked.unwrap_or_else(|_| Err("error: the check died".to_owned()))
}

/// Whether what was checked may take the place of what runs: an administrator still gets in, and the kernel takes the table in the place of
/// the one that is standing.
///
/// # Errors
/// Why not, with the packet that proves it or the kernel's words.
pub async fn may_run(
    config: &Config,
    bindings: &Bindings,
    resolved: &Resolved,
    standing: &Applied,
    force: bool,
) -> Result<(), String> {
    let policy = Policy::compile(config);
    let hosts = desired::host_addresses(config, bindings, resolved);
    if !force && let Some(lock_out) = desired::lock_out(config, &policy, &hosts) {
        return Err(lock_out.to_string());
    }
    let (ruleset, elements) = (reconcile::ruleset(&policy).await, desired::elements(&policy, &hosts));
    if standing.config.is_some() {
        let text = Replacement::new((&standing.ruleset, &standing.elements), (&ruleset, &elements)).whole();
        if nft::check(&text).await.is_ok() {
            return Ok(());
        }
    }
    // What stands may not be what we believe; what counts is the table as a whole.
    let checked = nft::check(&ruleset.text(&elements)).await;
    checked.map_err(|error| format!("error: the kernel would refuse the firewall of this file: {error:#}"))
}
