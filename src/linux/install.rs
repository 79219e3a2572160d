//! Puts a text in the place of the person's file, at their wish: the daemon never does.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Replaces a file, whole or not at all where the folder allows that: written beside, synced, renamed; mode and owner stay, and a
/// symbolic link is followed. In a folder that takes no new file, or for a file that is a mount of its own, it is written in place.
///
/// # Errors
/// What the system says, with the path.
pub fn install(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let done = match replace(&path, text) {
        Err(error) if path.exists() => {
            tracing::debug!("{} is written in place: {error}", path.display());
            write_in_place(&path, text)
        }
        done => done,
    };
    done.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let beside = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let renamed = (|| {
        file.write_all(text)?;
        match std::fs::metadata(path) {
            Ok(old) => {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
                file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
            }
            Err(_) => file.set_permissions(std::fs::Permissions::from_mode(0o644))?,
        }
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if renamed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    renamed
}

fn write_in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("labgate.toml"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        install(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_takes_no_new_file_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labgate.toml");
        fs::write(&path, "a longer old text").unwrap();
        // What stands in the way even of root: the name beside is a folder.
        fs::create_dir(folder.path().join(".labgate.toml.new")).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        install(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "written in place");
        assert!(install(&folder.path().join("none/labgate.toml"), b"x").is_err());
    }
}
