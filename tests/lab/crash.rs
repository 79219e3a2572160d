//! `kill -9` at random moments while clients come, go and come back: an acknowledged lease is neither forgotten nor given to another.

use std::time::Duration;

use labgate::cli::lab::Options;

use crate::change::{Tool, crowd, large};
use crate::support::{leases, options, start};

/// How often the gateway is killed: a few times here, many in the nightly form.
fn kills() -> u32 {
    if std::env::var_os("LABGATE_NIGHTLY").is_some() { 200 } else { 20 }
}

#[test]
fn no_acknowledged_lease_is_forgotten_over_kill_9() {
    let Some(mut lab) = start(Options { config: large(""), ..options().home(crowd()) }) else { return };
    let mut crowd = Tool::start(&lab.host("crowd").expect("crowd"), &["load", "eth0"]);
    crowd.says(0, Duration::from_secs(5), "ready");
    crowd.tell("churn");
    let mut seed = u64::from(std::process::id()) | 1;
    println!("seed {seed}");
    for kill in 0..kills() {
        // A number of acknowledgements, not a time, decides the moment: under load it falls anywhere in a write.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let from = crowd.lines.len();
        crowd.says(from, Duration::from_secs(60), "acks");
        let spins = (seed >> 33) % 20_000;
        (0..spins).for_each(|_| std::hint::spin_loop());
        lab.gateway().expect("the gateway").kill().expect("kill -9");
        lab.start_gateway().unwrap_or_else(|error| panic!("no start after kill {kill}: {error:#}"));
    }
    let from = crowd.lines.len();
    crowd.tell("rest");
    crowd.says(from, Duration::from_secs(10), "done:");
    let from = crowd.lines.len();
    crowd.tell("confirm");
    let done = crowd.says(from, Duration::from_secs(180), "done:");
    let violations: Vec<String> = crowd.lines.all().into_iter().filter(|line| line.starts_with("violation")).collect();
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(done.ends_with("0 violations"), "{done}");
    let held: usize = done.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("a number of leases");
    assert!(held > 0 && leases(&lab).len() >= held, "{done}, and the gateway knows {}", leases(&lab).len());
}
