//! Kernel settings below `/proc/sys`.

use std::io;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// The value of a setting (`net/ipv4/ip_forward`); `None` where there is none of that name.
pub fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(path(name)).ok().map(|text| text.trim_end().to_owned())
}

/// Writes a setting. A setting that already has the value counts as written, so that a read-only `/proc/sys` is fine where the machine is
/// set up as it should be.
///
/// # Errors
/// What the kernel says, with what helps.
pub fn write(name: &str, value: &str) -> Result<(), String> {
    let Err(error) = std::fs::write(path(name), value) else { return Ok(()) };
    if read(name).as_deref() == Some(value) {
        return Ok(());
    }
    // A dot inside an interface's name is written as a slash in sysctl.d, and the other way round.
    let key: String = name
        .chars()
        .map(|c| {
            if c == '/' {
                '.'
            } else if c == '.' {
                '/'
            } else {
                c
            }
        })
        .collect();
    Err(match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => format!(
            "{key} cannot be written here ({error}); put `{key} = {value}` into /etc/sysctl.d/60-labgate.conf and run `sysctl --system`"
        ),
        _ => format!("{key} cannot be set to {value}: {error}"),
    })
}
