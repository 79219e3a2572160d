//! The model of the policy against the kernel: random homes and random packets. What `Policy::evaluate` says of each packet is what the
//! ruleset does with it in a network namespace, before and after NAT, for new connections and for those there are.
//!
//! `tests/differential/*.toml` are cases on which they once differed, or that a feature needs; they come first. `LABGATE_NIGHTLY=1` tries
//! many more seeds, `LABGATE_DIFFERENTIAL_SEED=7` that one alone.

#[path = "differential/aim.rs"]
mod aim;
#[path = "differential/case.rs"]
mod case;
#[path = "differential/frames.rs"]
mod frames;
#[path = "differential/homes.rs"]
mod homes;
#[path = "differential/judge.rs"]
mod judge;
#[path = "common/netns.rs"]
#[allow(dead_code)]
mod netns;
#[path = "differential/packets.rs"]
mod packets;
#[path = "differential/places.rs"]
mod places;
#[path = "differential/random.rs"]
mod random;
#[path = "differential/shrink.rs"]
mod shrink;
#[path = "differential/traffic.rs"]
mod traffic;
#[path = "differential/trial.rs"]
mod trial;
#[path = "differential/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use case::Case;
use netns::in_namespace;
use random::Random;
use trial::{Outcome, run};

const PACKETS: usize = 200;
const SEEDS: u64 = 12;
const NIGHTLY_SEEDS: u64 = 250;

fn kept() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// The case of a seed; `None` where chance has made a configuration that is refused.
fn random_case(seed: u64) -> Option<Case> {
    let mut random = Random::new(seed);
    let case = homes::home(&mut random);
    let home = case.home()?;
    let packets = traffic::packets(&mut random, &home, PACKETS);
    Some(case.with_packets(packets))
}

#[test]
fn cases_that_were_kept() {
    in_namespace(|| {
        wire::one_processor();
        let kept = kept();
        assert!(kept.len() >= 6, "the kept cases are not where they were");
        for path in kept {
            let text = fs::read_to_string(&path).expect("a case is UTF-8");
            let case: Case = text.parse().unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
            let outcome = run(&case).unwrap_or_else(|| panic!("{}: not a valid case", path.display()));
            let words: Vec<String> = outcome.disagreements.into_iter().map(|(_, words)| words).collect();
            assert!(words.is_empty(), "{}:\n{}", path.display(), words.join("\n"));
        }
    });
}

#[test]
fn model_and_kernel_agree() {
    in_namespace(|| {
        wire::one_processor();
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let seeds = match number("LABGATE_DIFFERENTIAL_SEED") {
            Some(one) => one..one + 1,
            None if number("LABGATE_NIGHTLY").is_some() => 0..NIGHTLY_SEEDS,
            None => 0..SEEDS,
        };
        let count = seeds.end - seeds.start;
        let (mut tried, mut packets, mut fates) = (0, 0, BTreeMap::new());
        for seed in seeds {
            let Some(case) = random_case(seed) else { continue };
            let outcome = run(&case).expect("a valid case");
            if !outcome.disagreements.is_empty() {
                report(seed, &case, &outcome);
            }
            tried += 1;
            packets += outcome.packets;
            for (fate, count) in outcome.fates {
                *fates.entry(fate).or_insert(0) += count;
            }
        }
        println!("{tried} configurations, {packets} packets: {fates:?}");
        assert!(tried * 10 >= count * 9 || count == 1, "only {tried} of {count} random configurations are valid");
    });
}

/// Makes the case as small as it goes and fails with it.
fn report(seed: u64, case: &Case, outcome: &Outcome) -> ! {
    let words: Vec<&str> = outcome.disagreements.iter().take(5).map(|(_, words)| &**words).collect();
    let count = outcome.disagreements.len();
    eprintln!("LABGATE_DIFFERENTIAL_SEED={seed}: {count} disagreements, among them\n{}", words.join("\n"));
    let Some((small, words)) = shrink::smallest(case, outcome) else {
        panic!("seed {seed}: it does not happen again with the one packet alone");
    };
    panic!("seed {seed}, made small; keep it as tests/differential/NAME.toml:\n{small}\n{words}");
}
