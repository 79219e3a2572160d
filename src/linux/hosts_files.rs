//! Reads hosts files.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::dns::Hosts;
use crate::dns::hosts::HostsReader;

/// The largest hosts file that is read: 10 times what the largest lists have.
const LARGEST: u64 = 256 << 20;

/// What is wrong with a hosts file. The rest of it, and the other files, are in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, in words.
    pub words: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.words)
    }
}

/// Reads all files into one table. A file that cannot be read, and lines that make no sense, are told and left out.
pub fn read(paths: &[PathBuf]) -> (Hosts, Vec<Problem>) {
    let mut reader = HostsReader::default();
    let mut problems = Vec::new();
    for path in paths {
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem { path: path.clone(), words: format!("cannot be read: {error}") });
                continue;
            }
        };
        let skipped = reader.add(&text);
        let told = skipped.first.iter().map(|(line, why)| format!("line {line}: {why}"));
        problems.extend(told.map(|words| Problem { path: path.clone(), words }));
        if skipped.count > skipped.first.len() {
            let words = format!("{} more lines were skipped", skipped.count - skipped.first.len());
            problems.push(Problem { path: path.clone(), words });
        }
    }
    (reader.finish(), problems)
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 256 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("hosts");
        std::fs::write(&good, "192.168.1.5 nas\nnonsense\n").unwrap();
        let (hosts, problems) = read(&[folder.path().join("gone"), folder.path().to_owned(), good.clone()]);
        assert_eq!(hosts.len(), 1);
        assert_eq!(problems.len(), 3);
        assert_eq!(
            problems[2].to_string(),
            format!("{}: line 2: the line does not start with an address", good.display())
        );
    }
}
