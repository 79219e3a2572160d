//! `labgate doctor`: looks at the machine, has it judged, and prints the chain of checks.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{Common, ERROR, show};
use crate::config::{self, Config, Transport, Upstream};
use crate::daemon::control::{self, Request};
use crate::daemon::{self, views};
use crate::desired;
use crate::desired::doctor::{self, Daemon, Facts, Finding, Look, Verdict};
use crate::linux::netlink::Netlink;
use crate::linux::{clock, config_files, doctor as look, history, resolv_conf, sysctl};
use crate::model::Links;

/// How long another DHCP server may take to offer an address.
const SERVER_PATIENCE: Duration = Duration::from_secs(1);
/// How long an upstream may take to answer.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(3);
const DNS: u16 = 53;
const DHCP: u16 = 67;

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// `good` or `degraded`.
    state: &'static str,
    /// The first check that failed: the likely cause of the others.
    first: Option<&'a str>,
    checks: &'a [Finding],
}

pub fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let chain = runtime.block_on(examine(common));
    let first = chain.iter().find(|finding| finding.verdict == Verdict::Bad);
    if common.json {
        let state = if first.is_some() { "degraded" } else { "good" };
        show::json(&Document { state, first: first.map(|finding| finding.name.as_str()), checks: &chain })?;
    } else {
        chain.iter().try_for_each(print)?;
        show::line("")?;
        show::line(closing(&chain, first))?;
    }
    Ok(if first.is_some() { ExitCode::from(ERROR) } else { ExitCode::SUCCESS })
}

fn print(finding: &Finding) -> anyhow::Result<()> {
    let mark = match finding.verdict {
        Verdict::Good => "ok  ",
        Verdict::Bad => "BAD ",
        Verdict::Unknown => "-   ",
    };
    if finding.verdict == Verdict::Bad {
        show::line(format!("{mark} {}", finding.name))?;
        finding.evidence.iter().try_for_each(|words| show::line(format!("       evidence: {}", indented(words))))?;
    } else {
        show::line(format!("{mark} {}: {}", finding.name, finding.evidence.join("; ")))?;
    }
    finding.fix.iter().try_for_each(|words| show::line(format!("       fix:      {}", indented(words))))
}

/// The further lines of a text stand below its first.
fn indented(words: &str) -> String {
    words.replace('\n', "\n                 ")
}

fn closing(chain: &[Finding], first: Option<&Finding>) -> String {
    let unseen = chain.iter().filter(|finding| finding.verdict == Verdict::Unknown).count();
    let bad = chain.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    match (first, unseen) {
        (None, 0) => "everything is as it should be".to_owned(),
        (None, unseen) => format!("nothing is wrong as far as could be seen; {unseen} checks (-) do not tell"),
        (Some(first), _) if bad == 1 => format!("the failure is: {}", first.name),
        (Some(first), _) => {
            format!("{bad} checks failed; begin with the first, the others may follow from it: {}", first.name)
        }
    }
}

async fn examine(common: &Common) -> Vec<Finding> {
    let (configuration, config) = configuration(common);
    let status = status(common).await;
    let resolvers = match &status {
        Ok(status) => status.resolvers.clone(),
        Err(_) => resolv_conf::resolvers(),
    };
    let upstreams = config.as_ref().map(|config| upstreams(config, &resolvers)).unwrap_or_default();
    let (links, chains, offers, upstreams) =
        tokio::join!(links(), look::chains(), offers(config.as_ref()), look::upstreams(&upstreams, UPSTREAM_PATIENCE));
    let settings = doctor::settings(config.as_ref());
    let facts = Facts {
        configuration,
        daemon: status.map_or_else(|absent| absent, running),
        now_unix: clock::now().unix,
        clock_synchronised: clock::synchronised().map_err(|error| error.to_string()),
        links,
        settings: settings.into_iter().filter_map(|name| sysctl::read(&name).map(|value| (name, value))).collect(),
        chains: chains.map_err(|error| as_root(&error)),
        holders: look::holders(&[DNS, DHCP]).map_err(|error| error.to_string()),
        offers,
        upstreams,
    };
    doctor::judge(config.as_ref(), &facts)
}

/// The file; where it cannot be used, the one that the gateway would run by.
fn configuration(common: &Common) -> (Look<String>, Option<Config>) {
    let sources = match config_files::read(&common.config) {
        Ok(sources) => sources,
        Err(error) => return (Err(error.to_string()), last_one(common)),
    };
    let checked = desired::check(&sources);
    match checked.config {
        Some(config) => (Ok(format!("{}: {}", common.config.display(), checked.report.summary())), Some(config)),
        None => {
            (Err(format!("{}\n{}", checked.report.render(false).trim(), checked.report.summary())), last_one(common))
        }
    }
}

fn last_one(common: &Common) -> Option<Config> {
    config::check(&history::running(&common.state_dir)?).config
}

async fn status(common: &Common) -> Result<views::Status, Daemon> {
    let answer = control::ask(&common.runtime_dir, &Request::Status).await;
    let read = answer.and_then(|document| Ok(serde_json::from_value(document)?));
    read.map_err(|error: anyhow::Error| {
        let forbidden =
            error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied);
        match daemon::is_running(&common.runtime_dir) {
            _ if forbidden => Daemon::Hidden(as_root(&error)),
            true => Daemon::Silent(format!("{error:#}")),
            false => Daemon::Absent,
        }
    })
}

fn running(status: views::Status) -> Daemon {
    let health = status.subsystems.into_iter().map(|(name, health)| (name, health.good, health.words));
    Daemon::Running { pid: status.pid, health: health.collect(), rejected: status.rejected }
}

async fn links() -> Look<Links> {
    let netlink = Netlink::open().map_err(|error| error.to_string())?;
    netlink.links().await.map_err(|error| error.to_string())
}

/// Asks all networks at once that we serve.
async fn offers(config: Option<&Config>) -> BTreeMap<std::sync::Arc<str>, Look<Vec<doctor::Offered>>> {
    let served = config.iter().flat_map(|config| &config.networks).filter(|network| network.dhcp.is_some());
    let asked = served.map(async |network| {
        let found = look::dhcp_servers(network.link(), SERVER_PATIENCE).await;
        (network.name.clone(), found.map_err(|error| as_root(&error.into())))
    });
    futures_util::future::join_all(asked).await.into_iter().collect()
}

fn upstreams(config: &Config, resolvers: &[std::net::Ipv4Addr]) -> Vec<Upstream> {
    if !config.dns.upstreams.is_empty() {
        return config.dns.upstreams.clone();
    }
    let own = |address: &&std::net::Ipv4Addr| !config.networks.iter().any(|network| network.router() == **address);
    let learned = resolvers.iter().filter(own);
    learned.map(|address| Upstream { transport: Transport::Udp, server: (*address, DNS).into() }).collect()
}

fn as_root(error: &anyhow::Error) -> String {
    if nix::unistd::geteuid().is_root() { format!("{error:#}") } else { format!("{error:#}; run as root") }
}
