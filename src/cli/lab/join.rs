//! Going into a machine of a lab: this process leaves its namespaces for the machine's and becomes the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use super::keeper::{Kept, Machine};

/// A command that runs inside a machine, by way of `labgate lab internal join`.
pub fn command(labgate: &Path, kept: &Kept, machine: Machine, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(labgate);
    command
        .args(["lab", "internal", "join"])
        .args(["--keeper", &kept.keeper.to_string()])
        .args(["--net", &machine.net.to_string(), "--mnt", &machine.mnt.to_string()])
        .args(kept.rootless.then_some("--rootless"))
        .arg("--")
        .arg(program);
    command
}

/// Enters the namespaces and becomes the command. Returns only where that fails.
pub fn join(
    keeper: i32,
    net: i32,
    mnt: i32,
    rootless: bool,
    command: &[OsString],
    settings: &[(&str, PathBuf)],
) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("no command is given") };
    // All three are opened first: once inside the mount namespace, /proc may show something else.
    let gone = || format!("the lab is gone: no namespaces at process {keeper}");
    let net = File::open(format!("/proc/{keeper}/fd/{net}")).with_context(gone)?;
    let mnt = File::open(format!("/proc/{keeper}/fd/{mnt}")).with_context(gone)?;
    let folder = std::env::current_dir();
    if rootless {
        let user = File::open(format!("/proc/{keeper}/ns/user")).with_context(gone)?;
        setns(&user, CloneFlags::CLONE_NEWUSER).context("cannot enter the user namespace of the lab")?;
    }
    setns(&net, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
    setns(&mnt, CloneFlags::CLONE_NEWNS).context("cannot enter the mount namespace")?;
    if let Ok(folder) = folder {
        let _ = std::env::set_current_dir(folder);
    }
    let error = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// `PATH`, with the folders of the network tools that an ordinary user's may lack, and labgate's own.
pub fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin:/usr/bin:/bin");
    if let Some(own) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        path.push(":");
        path.push(own);
    }
    path
}
