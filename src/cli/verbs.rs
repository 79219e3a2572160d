//! The verbs that ask, check and steer.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::CommandFactory;
use serde::de::DeserializeOwned;

use super::show::{self, or_dash};
use super::{Cli, Common, ERROR};
use crate::config;
use crate::daemon::control::{self, Request};
use crate::daemon::counted::Counted;
use crate::daemon::{self, logging, views};
use crate::desired;
use crate::dns::outside::Resolved;
use crate::firewall::{self, Explanation, Policy, Surroundings};
use crate::linux::{clock, config_files, network, nft};
use crate::model::{Bindings, span_text};

/// Exit code of `explain` for a denial.
const DENIED: u8 = 3;

type Done = anyhow::Result<ExitCode>;

pub(super) fn wait<F: Future>(future: F) -> anyhow::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// Asks the daemon; prints the document where `--json` asks for it, else gives it back to be shown.
pub(super) fn ask<T: DeserializeOwned>(common: &Common, request: Request) -> anyhow::Result<Option<T>> {
    let document = wait(control::ask(&common.runtime_dir, &request))??;
    if common.json {
        show::json(&document)?;
        return Ok(None);
    }
    Ok(Some(serde_json::from_value(document).context("the running gateway speaks another version of labgate")?))
}

pub fn run(common: &Common) -> Done {
    logging::start();
    daemon::run(common.paths())?;
    Ok(ExitCode::SUCCESS)
}

pub fn check(common: &Common, file: Option<&Path>, hints: bool) -> Done {
    let path = file.unwrap_or(&common.config);
    let sources = config_files::read(path)?;
    let checked = desired::check(&sources);
    let good = checked.config.is_some();
    if common.json {
        show::json(&checked.report)?;
    } else {
        let mut text = checked.report.render(show::colour());
        if hints {
            text.push_str(&checked.report.render_hints(show::colour()));
        }
        if !text.trim().is_empty() {
            show::line(text.trim_end())?;
            show::line("")?;
        }
        show::line(checked.report.summary())?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(ERROR) })
}

pub fn schema() -> Done {
    show::json(&config::schema())?;
    Ok(ExitCode::SUCCESS)
}

pub fn status(common: &Common) -> Done {
    let document = wait(control::ask(&common.runtime_dir, &Request::Status))??;
    let status: views::Status = serde_json::from_value(document.clone())?;
    let code = if status.state == "good" { ExitCode::SUCCESS } else { ExitCode::from(ERROR) };
    if common.json {
        show::json(&document)?;
        return Ok(code);
    }
    show::line(format!("labgate {}  {}  (pid {}, {})", status.version, status.state, status.pid, status.config))?;
    if let Some(reason) = &status.rejected {
        show::line(format!("\nThe file cannot be used as it stands; what ran before runs on:\n{reason}"))?;
    }
    if let Some(waiting) = &status.waiting {
        show::line(format!("\n{waiting}"))?;
    }
    if let Some(words) = &status.file {
        show::line(format!("\n{words}"))?;
    }
    show::line("")?;
    let rows: Vec<_> = status
        .networks
        .iter()
        .map(|row| {
            [
                row.name.clone(),
                row.interface.clone(),
                row.address.clone(),
                if row.up { "up" } else { "down" }.to_owned(),
                row.leases.to_string(),
            ]
        })
        .collect();
    show::table(["NETWORK", "INTERFACE", "ADDRESS", "LINK", "LEASES"], &rows)?;
    show::line("")?;
    if !status.names.is_empty() {
        let rows: Vec<_> = status.names.iter().map(name_row).collect();
        show::table(["NAME IN RULES", "ADDRESSES", "ANSWERED", "SINCE THEN"], &rows)?;
        show::line("")?;
    }
    if !status.uplink.is_empty() {
        let resolvers: Vec<String> = status.resolvers.iter().map(|address| address.to_string()).collect();
        show::line(format!(
            "uplink: {}; resolvers: {}",
            status.uplink,
            if resolvers.is_empty() { "none".to_owned() } else { resolvers.join(", ") }
        ))?;
    }
    for (name, health) in &status.subsystems {
        show::line(format!("{} {name}: {}", if health.good { "ok  " } else { "BAD " }, health.words))?;
    }
    Ok(code)
}

fn name_row(row: &views::NameRow) -> [String; 4] {
    let mut addresses: Vec<String> = row.addresses.iter().take(3).map(ToString::to_string).collect();
    let more = row.addresses.len() - addresses.len();
    addresses.extend((more > 0).then(|| format!("and {more} more")));
    let shown = if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") };
    let answered = row.age_seconds.map_or("never".to_owned(), |age| format!("{} ago", span_text(age)));
    [row.name.clone(), shown, answered, or_dash(row.failure.as_ref())]
}

pub fn leases(common: &Common) -> Done {
    if let Some(rows) = ask::<Vec<views::Lease>>(common, Request::Leases)? {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| {
                [
                    or_dash(row.name),
                    row.address.to_string(),
                    row.network,
                    or_dash(row.mac),
                    row.how,
                    row.remaining_seconds.map_or("for ever".to_owned(), span_text),
                ]
            })
            .collect();
        show::table(["NAME", "ADDRESS", "NETWORK", "MAC", "HOW", "REMAINS"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn hosts(common: &Common) -> Done {
    if let Some(rows) = ask::<Vec<views::Device>>(common, Request::Hosts)? {
        let how = |row: &views::Device| {
            let how =
                row.remaining_seconds.map_or(row.how.clone(), |seconds| format!("{} {}", row.how, span_text(seconds)));
            row.note.as_ref().map_or(how.clone(), |note| format!("{how}, {note}"))
        };
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let seen = if row.seen { "now" } else { "-" }.to_owned();
                [
                    or_dash(row.name.as_ref()),
                    or_dash(row.address),
                    or_dash(row.network.as_ref()),
                    or_dash(row.mac.as_ref()),
                    or_dash(row.vendor.as_ref()),
                    how(row),
                    seen,
                ]
            })
            .collect();
        show::table(["NAME", "ADDRESS", "NETWORK", "MAC", "VENDOR", "HOW", "SEEN"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn rules(common: &Common, all: bool) -> Done {
    counted(common, Request::Rules { all }, "RULE")
}

pub fn forwards(common: &Common) -> Done {
    counted(common, Request::Forwards, "FORWARD")
}

fn counted(common: &Common, request: Request, heading: &str) -> Done {
    if let Some(rows) = ask::<Vec<Counted>>(common, request)? {
        show::line(super::counted::render(&rows, heading, clock::now().unix).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a gateway runs by this very file. Where it runs by another, `--config` names a file that is not in effect yet.
fn runs_by_this_file(common: &Common) -> bool {
    let Ok(Ok(status)) = wait(control::ask(&common.runtime_dir, &Request::Status)) else { return false };
    let same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    status["config"].as_str().is_some_and(|running| same(Path::new(running), &common.config))
}

/// Asks the running gateway, which knows the leases; where none runs by this file, the file alone decides.
pub fn explain(common: &Common, from: String, to: String, proto: String) -> Done {
    let explanation: Explanation = if runs_by_this_file(common) {
        serde_json::from_value(wait(control::ask(&common.runtime_dir, &Request::Explain { from, to, proto }))??)?
    } else {
        // A file in which an expectation fails is explained all the same: why it fails is the question.
        let checked = config::check(&config_files::read(&common.config)?);
        let Some(config) = checked.config else {
            bail!("{}\n{}", checked.report.render(false), checked.report.summary())
        };
        let query = firewall::Query::parse(&config, |_| None, (&from, &to), &proto)?;
        let hosts = desired::host_addresses(&config, &Bindings::default(), &Resolved::default());
        let around = Surroundings { hosts, ..Surroundings::default() };
        firewall::explain(&Policy::compile(&config), &around, &query)
    };
    if common.json {
        show::json(&explanation)?;
    } else {
        show::line(explanation.to_string().trim_end())?;
    }
    Ok(if explanation.allowed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

pub fn teardown(common: &Common) -> Done {
    if daemon::is_running(&common.runtime_dir) {
        bail!("a gateway is running and would put everything back; stop it first (systemctl stop labgate)");
    }
    let done = wait(async {
        let mut done = network::teardown(&common.state_dir).await?;
        if nft::table_present().await? {
            nft::delete_table().await?;
            done.push("removed the table inet labgate".to_owned());
        }
        anyhow::Ok(done)
    })??;
    if common.json {
        show::json(&done)?;
    } else if done.is_empty() {
        show::line("there was nothing of labgate's to remove")?;
    } else {
        done.iter().try_for_each(show::line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Closes the box before the network is up; where the table already stands, that is closed enough.
pub fn early(common: &Common) -> Done {
    let config = config_files::read(&common.config).ok().and_then(|sources| config::check(&sources).config);
    wait(async {
        if nft::table_present().await? {
            return Ok(());
        }
        nft::apply(&firewall::closed_ruleset(config.as_ref())).await
    })??;
    Ok(ExitCode::SUCCESS)
}

pub fn help(common: &Common, slug: Option<&str>) -> Done {
    let Some(slug) = slug else {
        Cli::command().print_help()?;
        show::line("\nProblems of the file that `labgate help SLUG` explains:")?;
        config::slugs::all().try_for_each(|slug| show::line(format!("  {}", slug.name)))?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(found) = config::slugs::find(slug) {
        if common.json {
            show::json(&serde_json::json!({ "slug": found.name, "text": found.text, "example": found.right }))?;
        } else {
            show::line(found.render().trim_end())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut command = Cli::command();
    if let Some(verb) = command.find_subcommand_mut(slug) {
        verb.print_long_help()?;
        return Ok(ExitCode::SUCCESS);
    }
    bail!("there is no problem and no verb called {slug}; `labgate help` lists them")
}

pub fn completions(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut Cli::command(), "labgate", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

pub fn man() -> Done {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
