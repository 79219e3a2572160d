//! `usage.json`: what rules and forwards have counted, kept over restarts and reboots.

use std::io;
use std::path::{Path, PathBuf};

use super::network_record::write_atomically;

/// Where the book lies below the state folder.
pub fn path(state: &Path) -> PathBuf {
    state.join("usage.json")
}

/// Reads the book; `None` where there is none.
///
/// # Errors
/// Where the disk refuses.
pub fn read(state: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path(state)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the book, whole or not at all.
///
/// # Errors
/// Where the disk refuses.
pub fn save(state: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(&path(state), bytes)
}

/// Puts a book that cannot be understood aside, so that the next one can be written, and tells where it is.
///
/// # Errors
/// Where the disk refuses.
pub fn put_aside(state: &Path) -> io::Result<PathBuf> {
    let aside = state.join("usage.json.damaged");
    std::fs::rename(path(state), &aside)?;
    Ok(aside)
}
