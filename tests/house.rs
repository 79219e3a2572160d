//! The order of the house: imports go down only, the engines are strangers, the pure floors stay pure, and files stay
//! short enough to be read. ARCHITECTURE.md says why; this says where, with file and line.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by floor. A room may name rooms of lower floors and itself, and nothing else.
const FLOORS: &[&[&str]] =
    &[&["model"], &["config"], &["dhcp", "dns", "firewall"], &["desired"], &["linux"], &["daemon"], &["cli"]];

/// The highest floor that knows no clock, socket, file, lock, process, thread and no `async`.
const HIGHEST_PURE_FLOOR: usize = 3;

/// Paths that a pure floor never names: `a::b` forbids everything below it too.
const IMPURE_PATHS: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::io::stdin",
    "std::env",
    "std::thread",
    "std::process",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::os",
    "arc_swap",
    "getrandom",
    "libc",
    "nix",
    "notify",
    "rtnetlink",
    "rusqlite",
    "socket2",
    "tokio",
    "tokio_util",
];

/// Words that a pure floor never says.
const IMPURE_WORDS: &[&str] = &["async", "await", "unsafe"];

const LINES_AT_MOST: usize = 500;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn imports_go_down_and_pure_floors_stay_pure() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (floor, rooms) in FLOORS.iter().enumerate() {
        for room in *rooms {
            for file in rust_files(&root().join("src").join(room)).into_iter().filter(|file| !is_test(file)) {
                seen += 1;
                let text = fs::read_to_string(&file).expect("a source file can be read");
                let depth = module_depth(&file);
                for fault in faults(&text, floor, room, depth) {
                    broken.push(format!("{}:{fault}", shown(&file)));
                }
            }
        }
    }
    assert!(seen >= 9, "only {seen} files were looked at: has the tree moved?");
    assert!(broken.is_empty(), "the order of the house is broken:\n{}", broken.join("\n"));
}

#[test]
fn files_stay_short() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        for file in rust_files(&root().join(folder)) {
            let lines = fs::read_to_string(&file).expect("a source file can be read").lines().count();
            let name = shown(&file);
            match LONG_FILES.iter().find(|(listed, _)| *listed == name) {
                None if lines > LINES_AT_MOST => {
                    long.push(format!("{name}: {lines} lines; split it where it is two things"))
                }
                Some(_) if lines <= LINES_AT_MOST => long.push(format!("{name}: short again, take it off LONG_FILES")),
                _ => {}
            }
        }
    }
    for (listed, _) in LONG_FILES {
        assert!(root().join(listed).exists(), "LONG_FILES names {listed}, which is not there");
    }
    assert!(long.is_empty(), "files over {LINES_AT_MOST} lines:\n{}", long.join("\n"));
}

#[test]
fn every_room_is_on_a_floor() {
    let known: Vec<&str> = FLOORS.concat();
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
    let rooms: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(rooms, known, "the `pub mod` lines of src/lib.rs are the floors, in reading order");
}

#[test]
fn the_house_rules_see_what_they_should() {
    let seen = |text: &str| faults(text, 2, "dhcp", 2);
    assert!(seen("use crate::model::{Now, MacAddr};\nuse crate::config::Config;\nuse super::message;").is_empty());
    assert!(seen("// tokio, async\n/* crate::linux */ let x = \"std::fs\"; r#\"crate::cli\"#; '\"';").is_empty());
    assert!(seen("fn f() {}\n#[cfg(test)]\nmod tests { use crate::linux::clock; }").is_empty());
    assert_eq!(seen("use crate::{model::Now,\n    dns::Name};").len(), 1);
    assert_eq!(seen("use std::{net::{Ipv4Addr, UdpSocket}, time::{Duration, Instant}};").len(), 2);
    assert_eq!(seen("\nfn f() { super::super::daemon::run() }"), ["2: `dhcp` (floor 2) names `daemon` (floor 5)"]);
    assert_eq!(seen("async fn f() { tokio::spawn(g()).await }").len(), 3);
    assert_eq!(seen("fn f() { ::std::fs::read(\"x\") }").len(), 1);
    assert!(faults("use crate::dhcp::Server;\nuse tokio::net::UdpSocket;", 4, "linux", 2).is_empty());
}

/// What is wrong in the text of one file, each as `line: words`.
fn faults(text: &str, floor: usize, room: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (line, path) in paths(text) {
        let parts: Vec<&str> = path.split("::").collect();
        let supers = parts.iter().take_while(|part| **part == "super").count();
        let other = match parts[0] {
            "crate" | "labgate" => parts.get(1),
            "super" if supers >= depth => parts.get(supers),
            _ => None,
        };
        if let Some(other) = other
            && let Some(theirs) = FLOORS.iter().position(|rooms| rooms.contains(other))
            && *other != room
            && theirs >= floor
        {
            found.push(format!("{line}: `{room}` (floor {floor}) names `{other}` (floor {theirs})"));
        }
        if floor <= HIGHEST_PURE_FLOOR {
            let below = |banned: &&&str| path == **banned || path.starts_with(&format!("{banned}::"));
            if let Some(banned) = IMPURE_PATHS.iter().find(below) {
                found.push(format!("{line}: `{room}` is pure and names `{banned}`"));
            }
            if let Some(word) = IMPURE_WORDS.iter().find(|word| path == **word) {
                found.push(format!("{line}: `{room}` is pure and says `{word}`"));
            }
        }
    }
    found
}

/// Every path and word of the code with its line, groups opened: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
/// Comments, strings and the tests at the bottom of the file do not count.
fn paths(text: &str) -> Vec<(usize, String)> {
    let code = code_only(text);
    let mut found = Vec::new();
    let mut groups: Vec<String> = Vec::new();
    let mut path = String::new();
    let mut line = 1;
    let mut rest = code.as_str();
    while let Some(next) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word > 0 {
            if !path.ends_with("::") {
                path = groups.last().cloned().unwrap_or_default();
            }
            path.push_str(&rest[..word]);
            rest = &rest[word..];
            if !rest.starts_with("::") {
                found.push((line, std::mem::take(&mut path)));
            }
        } else if let Some(after) = rest.strip_prefix("::") {
            // A leading `::` starts a path at the crates; elsewhere it goes on.
            if !path.is_empty() {
                path.push_str("::");
            }
            rest = after;
        } else {
            match next {
                '{' if path.ends_with("::") => groups.push(std::mem::take(&mut path)),
                '{' => groups.push(groups.last().cloned().unwrap_or_default()),
                '}' => drop(groups.pop()),
                '\n' => line += 1,
                _ => {}
            }
            if !next.is_whitespace() {
                path.clear();
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    found
}

/// The text with comments, string and character literals blanked, up to its `#[cfg(test)]` module; lines keep their numbers.
fn code_only(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '"' => quoted(rest, '"'),
            // A lifetime has no closing quote nearby: only what is surely a character is skipped.
            '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        let taken = if skipped == 0 { next.len_utf8() } else { skipped };
        if skipped == 0 {
            code.push(next);
        } else {
            code.push(';');
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        }
        rest = &rest[taken..];
    }
    code
}

/// The length of the literal at the start, from its quote to the closing one.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string at the start, 0 where none starts.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..].find(&closing).map_or(text.len(), |end| start + end + closing.len())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// How many `super::` lead from a file's module to the crate: `src/dhcp/mod.rs` 1, `src/dhcp/server.rs` 2.
fn module_depth(file: &Path) -> usize {
    let inside = file.strip_prefix(root().join("src")).expect("a file of src");
    let parts = inside.components().count();
    if inside.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// Whether a file under `src/` holds nothing but tests, which may look at every floor.
fn is_test(file: &Path) -> bool {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests" || name == "testing" || name.ends_with("_tests")
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
