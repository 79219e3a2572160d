//! `network.json`: what labgate itself has put into the kernel, so that exactly that can be taken out again.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::desired::network::Owned;

const VERSION: u32 = 1;

/// The record with the kernel it speaks of.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// The boot it was written in: after the next one nothing of it is true.
    boot: String,
    /// The network namespace, by inode, for the same reason.
    namespace: u64,
    owned: Owned,
}

/// Where the record lies below the state folder.
pub fn path(state: &Path) -> PathBuf {
    state.join("network.json")
}

/// The identifier of this boot.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |meta| meta.ino())
}

/// Reads the record of this boot and namespace; an empty one where there is none.
///
/// # Errors
/// A record that cannot be read or understood. Nothing is then known to be ours, and the file is left for a person to look at.
pub fn load(state: &Path) -> io::Result<Owned> {
    let text = match std::fs::read(path(state)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owned::default()),
        Err(error) => return Err(error),
    };
    let stored: Stored = serde_json::from_slice(&text)?;
    if stored.version != VERSION {
        let words = format!("it has version {}, this labgate writes {VERSION}", stored.version);
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let here = stored.boot == boot() && stored.namespace == namespace();
    Ok(if here { stored.owned } else { Owned::default() })
}

/// Puts a record that cannot be read aside, so that the next one can be written.
pub fn put_aside(state: &Path) -> io::Result<PathBuf> {
    let aside = state.join("network.json.damaged");
    std::fs::rename(path(state), &aside)?;
    Ok(aside)
}

/// Writes the record, whole or not at all.
///
/// # Errors
/// Where the disk refuses.
pub fn save(state: &Path, owned: &Owned) -> io::Result<()> {
    if owned.is_empty() {
        return match std::fs::remove_file(path(state)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let stored = Stored { version: VERSION, boot: boot(), namespace: namespace(), owned: owned.clone() };
    write_atomically(&path(state), &serde_json::to_vec_pretty(&stored)?)
}

/// Replaces a small file of ours: after a power cut there is the old or the new one, never neither.
///
/// # Errors
/// Where the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::network::OwnedLink;

    #[test]
    fn speaks_of_this_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert_eq!(load(state).unwrap(), Owned::default());
        let owned = Owned { links: vec![OwnedLink { name: "br-lan".to_owned(), index: 7 }], ..Owned::default() };
        save(state, &owned).unwrap();
        assert_eq!(load(state).unwrap(), owned);

        let text = std::fs::read_to_string(path(state)).unwrap();
        std::fs::write(path(state), text.replace(&boot(), "another boot")).unwrap();
        assert_eq!(load(state).unwrap(), Owned::default());

        std::fs::write(path(state), text.replace("\"version\": 1", "\"version\": 9")).unwrap();
        assert!(load(state).unwrap_err().to_string().contains("version 9"));
        std::fs::write(path(state), "\0\0\0").unwrap();
        assert!(load(state).is_err());
        assert!(put_aside(state).unwrap().exists());

        save(state, &Owned::default()).unwrap();
        assert!(!path(state).exists());
    }
}
