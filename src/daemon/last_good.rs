//! The last configuration that was in effect, kept in the state folder, so that a file broken before a reboot does not take the house off the net.

use std::io::Write;
use std::path::Path;

use crate::config::Source;

const FILE: &str = "last-good.json";

/// Keeps `sources`, old or new, never neither: written beside, synced, renamed. A failure is logged, not fatal.
pub fn keep(state: &Path, sources: &[Source]) {
    let pairs: Vec<(&str, String)> = sources
        .iter()
        .map(|source| (source.name.as_str(), String::from_utf8_lossy(&source.text).into_owned()))
        .collect();
    let write = || -> std::io::Result<()> {
        let beside = state.join(format!("{FILE}.new"));
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&pairs)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, state.join(FILE))?;
        std::fs::File::open(state)?.sync_all()
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "cannot keep the configuration in {}", state.display());
    }
}

/// What was kept; `None` where nothing was, or it cannot be read.
pub fn read(state: &Path) -> Option<Vec<Source>> {
    let pairs: Vec<(String, String)> = serde_json::from_slice(&std::fs::read(state.join(FILE)).ok()?).ok()?;
    Some(pairs.into_iter().map(|(name, text)| Source { name, text: text.into_bytes() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_none());
        keep(folder.path(), &[Source { name: "labgate.toml".into(), text: b"[wan]\n".to_vec() }]);
        let back = read(folder.path()).unwrap();
        assert_eq!((back[0].name.as_str(), back[0].text.as_slice()), ("labgate.toml", b"[wan]\n".as_slice()));
        std::fs::write(folder.path().join(FILE), [0; 64]).unwrap();
        assert!(read(folder.path()).is_none());
    }
}
