//! From the file to the running configuration. Everything that can refuse refuses before the new configuration is published.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pictures::Pictures;
use super::reconcile;
use crate::config::{Config, Source};
use crate::desired;
use crate::dns;
use crate::firewall::Policy;
use crate::linux::{config_files, hosts_files, nft};

/// How long the kernel may take to accept the new table before a reload says so.
const APPLY_PATIENCE: Duration = Duration::from_secs(20);

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// The file says what is already running.
    Unchanged {
        /// Warnings of the file, rendered.
        warnings: String,
    },
    /// The new configuration is in effect.
    Applied {
        /// Warnings of the file, rendered.
        warnings: String,
    },
    /// The old configuration stays.
    Rejected {
        /// Why, with the place.
        reason: String,
    },
}

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

/// Reads and checks the person's files.
///
/// # Errors
/// All problems, rendered, or why a file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, String> {
    check(config_files::read(path).map_err(|error| format!("error: {error}"))?)
}

/// Checks sources that were read before.
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

/// Reads the file again and puts it into effect. One at a time.
pub async fn reload(pictures: &Arc<Pictures>) -> Outcome {
    let _alone = pictures.reloading.lock().await;
    let path = pictures.paths.config.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&path))
        .await
        .unwrap_or_else(|_| Err("error: the check died".to_owned()));
    let outcome = match loaded {
        Ok(loaded) => put_into_effect(pictures, loaded).await,
        Err(reason) => Outcome::Rejected { reason },
    };
    match &outcome {
        Outcome::Unchanged { .. } => tracing::info!("the file says what is already running"),
        Outcome::Applied { warnings } => {
            tracing::info!("the new configuration is in effect{}", after_line_break(warnings))
        }
        Outcome::Rejected { reason } => tracing::error!("the running configuration stays:\n{reason}"),
    }
    pictures.rejected.send_replace(match &outcome {
        Outcome::Rejected { reason } => Some(reason.as_str().into()),
        _ => None,
    });
    outcome
}

fn after_line_break(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}

async fn put_into_effect(pictures: &Arc<Pictures>, loaded: Loaded) -> Outcome {
    let Loaded { config, hosts, warnings, sources } = loaded;
    let config = Arc::new(config);
    let same_config = **pictures.config.borrow() == *config;
    if !same_config {
        let policy = Policy::compile(&config);
        let hosts = desired::host_addresses(&config, &pictures.bindings.borrow(), &pictures.resolved.borrow());
        let text = reconcile::ruleset(&policy).await.text(&desired::elements(&policy, &hosts));
        if let Err(error) = nft::check(&text).await {
            return Outcome::Rejected {
                reason: format!("error: the kernel would refuse the firewall of this file: {error:#}"),
            };
        }
    }
    publish_names(pictures, &config, &hosts);
    if same_config {
        return Outcome::Unchanged { warnings };
    }
    let mut applied = pictures.applied.subscribe();
    pictures.config.send_replace(config.clone());
    let settled = applied.wait_for(|applied| {
        applied.config.as_ref().is_some_and(|now| Arc::ptr_eq(now, &config))
            || applied.refused.as_ref().is_some_and(|(now, _)| Arc::ptr_eq(now, &config))
    });
    let reason = match tokio::time::timeout(APPLY_PATIENCE, settled).await {
        Ok(Ok(applied)) => applied.refused.as_ref().map(|(_, words)| words.clone()),
        _ => Some("error: the firewall did not take the new table in time; it is tried again".to_owned()),
    };
    match reason {
        Some(reason) => Outcome::Rejected { reason },
        None => {
            super::last_good::keep(&pictures.paths.state, &sources);
            Outcome::Applied { warnings }
        }
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
