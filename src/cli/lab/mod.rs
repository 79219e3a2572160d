//! The virtual home: internet, gateway, lan, iot, web and db in unnamed network namespaces of this machine, with real clients. The way to
//! try labgate on a laptop, and the bench for the end-to-end tests: both use [`Lab`].

mod client;
mod gateway;
pub mod home;
mod hold;
mod host;
mod internal;
mod join;
pub mod keeper;
mod knock;
mod lines;
mod load;
mod own;
mod reach;
mod running;
mod serve;
mod show;
mod state;
mod transfer;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub use client::{Client, find};
pub use gateway::{Gateway, settings, verb};
pub use home::{Home, HostSpec, Service};
pub use host::Host;
pub use lines::Lines;
pub use reach::{Attempt, Outcome};
pub use running::{Lab, Options, PATIENCE};

use super::Common;
use show::Show;

/// What `labgate lab` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LabArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show the demonstration, then end: exit 0 where all went as it should, else 1
    #[arg(long)]
    once: bool,
    /// Use a user namespace although you are root
    #[arg(long)]
    rootless: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a command inside a machine of a running lab
    Exec {
        /// The process of the lab, where several run
        #[arg(long, value_name = "PID")]
        lab: Option<i32>,
        /// The machine: gateway, internet, nas, laptop, cam, web1, db1
        machine: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// List the running labs and their machines
    Status,
    #[command(hide = true)]
    Internal(internal::InternalArgs),
}

/// Runs the verb.
pub fn run(common: &Common, args: LabArgs) -> Result<ExitCode> {
    match args.action {
        None => home(common, &args),
        Some(Action::Exec { lab, machine, command }) => exec(lab, &machine, &command),
        Some(Action::Status) => status(common.json),
        Some(Action::Internal(args)) => internal::run(args).map(|()| ExitCode::SUCCESS),
    }
}

fn home(common: &Common, args: &LabArgs) -> Result<ExitCode> {
    let mut options = Options::new(std::env::current_exe().context("cannot find this program's own file")?);
    options.rootless |= args.rootless;
    options.show_log = !args.once && !common.json;
    let own = own_config(common);
    if let Some(path) = own {
        let (text, home) = own::from_file(path)?;
        options = options.config(text).home(home);
    }
    let mut show = Show::new(common.json);
    show.say("a virtual home, made of network namespaces; nothing outside of it is touched");
    let lab = Lab::start(options)?;
    let registered = state::register(&lab)?;
    if own.is_some() {
        show::look_around(&lab, &mut show)?
    } else {
        show::tour(&lab, &mut show)?
    }
    let good = show.good();
    if common.json {
        println!("{}", serde_json::json!({ "good": good, "steps": show.steps }));
    } else if !args.once {
        stay(&lab, &show)?;
    }
    drop(registered);
    drop(lab);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The file of `--config` or `LABGATE_CONFIG`, where one is named; the installed gateway's own is not for a lab.
fn own_config(common: &Common) -> Option<&Path> {
    (common.config != Path::new("/etc/labgate/labgate.toml")).then_some(common.config.as_path())
}

/// Shows the gateway's log until Ctrl-C or SIGTERM.
fn stay(lab: &Lab, show: &Show) -> Result<()> {
    show.say("\nthe home stays until Ctrl-C. In another terminal:");
    show.say("  labgate lab exec laptop -- ping -c 3 nas");
    show.say("  labgate lab exec gateway -- labgate status");
    show.say(&format!("  edit {}  (applied as soon as it is saved)\n", lab.config_path().display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done?,
            _ = terminated.recv() => {}
        }
        Ok(())
    })
}

fn exec(lab: Option<i32>, machine: &str, command: &[OsString]) -> Result<ExitCode> {
    let entry = state::find(lab)?;
    let known: Vec<&str> = entry.kept.machines.keys().map(String::as_str).collect();
    let namespaces = entry
        .kept
        .machines
        .get(machine)
        .with_context(|| format!("there is no machine {machine}; there are {}", known.join(", ")))?;
    let settings = if machine == keeper::GATEWAY { gateway::settings(&entry.work).to_vec() } else { Vec::new() };
    join::join(entry.kept.keeper, namespaces.net, namespaces.mnt, entry.kept.rootless, command, &settings)?;
    Ok(ExitCode::FAILURE)
}

fn status(json: bool) -> Result<ExitCode> {
    let all = state::running()?;
    if json {
        println!("{}", serde_json::to_string(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        println!("no lab is running; start one with `labgate lab`");
    }
    let labgate = std::env::current_exe()?;
    for entry in all {
        println!("lab {} in {}", entry.pid, entry.work.display());
        for (name, machine) in &entry.kept.machines {
            println!("  {name:<12} {}", addresses(&labgate, &entry.kept, *machine).unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn addresses(labgate: &Path, kept: &keeper::Kept, machine: keeper::Machine) -> Result<String> {
    let output =
        join::command(labgate, kept, machine, "ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some(format!("{} {}", words.next()?, words.nth(1)?))
    });
    Ok(shown.collect::<Vec<_>>().join(", "))
}
