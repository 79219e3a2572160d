//! Every target of `fuzz/` on any toolchain: its corpus as it is, and each input changed in many ways by a fixed seed.
//!
//! `LABGATE_FUZZ_SEEDS=FOLDER` adds a folder of further inputs for all targets, `LABGATE_FUZZ_ROUNDS=N` more changes.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Changed copies of each input of a corpus; a file takes longer to check than a packet.
const ROUNDS: usize = 200;
const ROUNDS_OF_FILES: usize = 30;

#[test]
fn config() {
    run("config");
}

#[test]
fn dhcp() {
    run("dhcp");
}

#[test]
fn dns() {
    run("dns");
}

#[test]
fn upstream() {
    run("upstream");
}

#[test]
fn hosts() {
    run("hosts");
}

#[test]
fn every_target_is_run() {
    let runs = include_str!("fuzz.rs").matches("\n    run(\"").count();
    let binaries = include_str!("../fuzz/Cargo.toml").matches("[[bin]]").count();
    assert_eq!((runs, binaries), (targets::TARGETS.len(), targets::TARGETS.len()));
}

fn run(name: &str) {
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name").1;
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "the corpus of {name} is empty");
    let usual = if name == "config" { ROUNDS_OF_FILES } else { ROUNDS };
    let rounds = std::env::var("LABGATE_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut runs = 0;
    for (path, input) in &inputs {
        hold(target, input, path);
        for _ in 0..rounds {
            let mut changed = input.clone();
            for _ in 0..1 + random.below(4) {
                change(&mut changed, &inputs[random.below(inputs.len())].1, &mut random);
            }
            hold(target, &changed, path);
            runs += 1;
        }
    }
    println!("{name}: {} inputs, {runs} changed", inputs.len());
}

/// Runs one input; where it does not hold, keeps the input beside the build so that it can become a test.
fn hold(target: targets::Target, input: &[u8], origin: &Path) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}.bin", std::process::id()));
        fs::write(&kept, input).expect("the input can be kept");
        eprintln!("from {}; the input is kept as {}", origin.display(), kept.display());
        std::panic::resume_unwind(panic);
    }
}

fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("fuzz/corpus").join(name)];
    if name == "config" {
        folders.extend([root.join("config"), root.join("config/examples"), root.join("tests/config")]);
    }
    if let Some(more) = std::env::var_os("LABGATE_FUZZ_SEEDS") {
        folders.push(PathBuf::from(more));
    }
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_file() {
                found.push((entry.path(), fs::read(entry.path()).expect("an input can be read")));
            }
        }
    }
    found.sort();
    found
}

/// One change: what a broken sender, a cut cable or an enemy does to a message.
fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const TELLING: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
    let at = random.below(input.len().max(1));
    match random.below(7) {
        _ if input.is_empty() => input.extend_from_slice(other),
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = TELLING[random.below(TELLING.len())],
        2 => input.truncate(at),
        3 => input.insert(at, TELLING[random.below(TELLING.len())]),
        4 => drop(input.drain(at..(at + 1 + random.below(16)).min(input.len()))),
        5 => {
            let piece = input[at..(at + random.below(64)).min(input.len())].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let from = random.below(other.len().max(1)).min(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(65_507);
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
