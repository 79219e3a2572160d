//! Which labs run: a small file per lab, so that `labgate lab exec` and `labgate lab status` of another shell find it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::keeper::Kept;
use super::running::Lab;

/// A lab as its file tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The process of `labgate lab`.
    pub pid: i32,
    /// Its namespaces.
    pub kept: Kept,
    /// Its folder: the gateway's `etc`, `state` and `run`.
    pub work: PathBuf,
}

/// The file of a running lab; it goes when this value goes.
pub struct Registered(PathBuf);

/// Writes the file of a lab.
pub fn register(lab: &Lab) -> Result<Registered> {
    let folder = folder()?;
    let entry = Entry { pid: std::process::id().cast_signed(), kept: lab.kept().clone(), work: lab.work().to_owned() };
    let path = folder.join(format!("{}.json", entry.pid));
    fs::write(&path, serde_json::to_vec_pretty(&entry)?)?;
    Ok(Registered(path))
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// All labs of this user that still run, the newest last.
pub fn running() -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder()?)? {
        let path = file?.path();
        let Some(entry) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Entry>(&text).ok()) else {
            continue;
        };
        if alive(&entry) {
            found.push((fs::metadata(&path)?.mtime(), entry));
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    found.sort_by_key(|(made, entry)| (*made, entry.pid));
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// The lab with this process id, or the newest.
pub fn find(pid: Option<i32>) -> Result<Entry> {
    let mut all = running()?;
    match pid {
        Some(pid) => {
            all.into_iter().find(|entry| entry.pid == pid).with_context(|| format!("no lab runs as process {pid}"))
        }
        None => all.pop().context("no lab is running; start one with `labgate lab`"),
    }
}

/// A process id alone could be another's by now; the namespace behind the descriptor cannot.
fn alive(entry: &Entry) -> bool {
    entry.kept.machines.iter().all(|(name, machine)| {
        let path = entry.kept.net_path(name);
        path.and_then(|path| fs::metadata(path).ok()).is_some_and(|found| found.ino() == machine.inode)
    })
}

fn folder() -> Result<PathBuf> {
    let uid = geteuid();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(base) if Path::new(&base).is_dir() => Path::new(&base).join("labgate-lab"),
        _ => PathBuf::from(format!("/tmp/labgate-lab-{uid}")),
    };
    if let Err(error) = DirBuilder::new().mode(0o700).create(&folder)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot make {}", folder.display()));
    }
    // In /tmp anybody may have been first.
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != uid.as_raw() {
        bail!("{} belongs to somebody else", folder.display());
    }
    Ok(folder)
}
