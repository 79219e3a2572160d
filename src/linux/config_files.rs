//! Reads the person's files.

use std::io;
use std::path::Path;

use crate::config::Source;

/// A file past this size is read only so far that the check can say it is too large.
const READ_LIMIT: u64 = 5 * 1024 * 1024;

/// Reads the configuration: the main file, then `labgate.d/*.toml` beside it by name.
///
/// # Errors
/// What the system says of the first file that cannot be read, with its path.
pub fn read(path: &Path) -> io::Result<Vec<Source>> {
    let main = read_one(path, file_name(path))?;
    with_fragments(path, main)
}

/// The configuration with `text` in the place of the main file at `path`.
///
/// # Errors
/// As [`read`].
pub fn with_main(path: &Path, text: Vec<u8>) -> io::Result<Vec<Source>> {
    with_fragments(path, Source { name: file_name(path), text })
}

fn with_fragments(path: &Path, main: Source) -> io::Result<Vec<Source>> {
    let mut sources = vec![main];
    let folder = path.parent().unwrap_or(Path::new(".")).join("labgate.d");
    let mut fragments = match std::fs::read_dir(&folder) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
            .collect::<Vec<_>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(with_path(&folder, error)),
    };
    fragments.sort();
    for fragment in fragments {
        let name = format!("labgate.d/{}", file_name(&fragment));
        sources.push(read_one(&fragment, name)?);
    }
    Ok(sources)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn read_one(path: &Path, name: String) -> io::Result<Source> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| with_path(path, error))?;
    let mut text = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut text).map_err(|error| with_path(path, error))?;
    Ok(Source { name, text })
}

fn with_path(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
