//! Scenarios as text, in virtual time: a configuration, then timed events of clients and what is expected of the server.
//!
//! `tests/scenarios/README.md` tells the language. A bug report becomes a file there.

#[path = "scenarios/expect.rs"]
mod expect;
#[path = "scenarios/lines.rs"]
mod lines;
#[path = "../src/dhcp/testing.rs"]
mod packet;
#[path = "scenarios/world.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    found.sort();
    found
}

#[test]
fn dhcp() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/dhcp");
    let files = files(&folder);
    assert!(files.len() >= 25, "only {} scenarios", files.len());
    let mut failures = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a scenario is UTF-8");
        if let Err(words) = world::run(&text) {
            failures.push(format!("{}:{words}", file.file_name().unwrap_or_default().display()));
        }
    }
    assert!(failures.is_empty(), "{} scenarios failed:\n{}", failures.len(), failures.join("\n"));
}
