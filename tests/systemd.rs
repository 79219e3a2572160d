//! The units as systemd's own judge sees them: they verify, they stay hardened, and they ask for three capabilities.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `systemd-analyze security` at most: 2.0 (dnsmasq, unbound and named in Debian 12: 9.6).
const EXPOSURE_AT_MOST: f64 = 2.0;

#[test]
fn units_are_exposed_at_most_two_points_of_ten() {
    for unit in ["labgate.service", "labgate-early.service"] {
        let Some(output) = analyze(&["security", "--offline=true", "--no-pager"], &[units().join(unit).as_path()])
        else {
            return;
        };
        let level = output.split("Overall exposure level for ").nth(1).and_then(|rest| rest.split_whitespace().nth(1));
        let level: f64 = level.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no level in:\n{output}"));
        println!("{unit}: {level}");
        assert!(level <= EXPOSURE_AT_MOST, "{unit} has {level}:\n{output}");
    }
}

#[test]
fn units_verify() {
    // The verifier wants the program to be there: the one just built stands in for the installed one.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files: Vec<PathBuf> = ["labgate.service", "labgate-early.service"]
        .map(|unit| {
            let text = read(&units().join(unit))
                .replace("=/usr/bin/labgate ", concat!("=", env!("CARGO_BIN_EXE_labgate"), " "));
            let path = folder.path().join(unit);
            fs::write(&path, text).expect("a unit can be written");
            path
        })
        .into();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let Some(output) = analyze(&["verify", "--man=no", "--recursive-errors=no"], &files) else { return };
    let ours: Vec<&str> = output.lines().filter(|line| line.contains("labgate")).collect();
    assert!(ours.is_empty(), "systemd has objections:\n{}", ours.join("\n"));
}

#[test]
fn the_daemon_asks_for_three_capabilities_and_no_root() {
    let wanted = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE";
    let daemon = read(&units().join("labgate.service"));
    assert_eq!(value(&daemon, "AmbientCapabilities"), wanted);
    assert_eq!(value(&daemon, "CapabilityBoundingSet"), wanted);
    let early = read(&units().join("labgate-early.service"));
    assert_eq!(value(&early, "CapabilityBoundingSet"), "CAP_NET_ADMIN");
    for unit in [&daemon, &early] {
        assert_eq!(value(unit, "User"), "labgate");
        assert_eq!(value(unit, "NoNewPrivileges"), "yes");
    }
    assert!(read(&units().join("sysusers.d/labgate.conf")).lines().any(|line| line.starts_with("u labgate ")));
}

#[test]
fn the_box_is_closed_before_the_network_and_forwarding_waits_for_the_rules() {
    let early = read(&units().join("labgate-early.service"));
    assert!(value(&early, "Before").contains("network-pre.target"));
    assert!(value(&early, "Wants").contains("network-pre.target"));
    let daemon = read(&units().join("labgate.service"));
    assert!(value(&daemon, "After").contains("labgate-early.service"));
    assert_eq!(value(&daemon, "ReadWritePaths"), "-/proc/sys/net", "the daemon itself switches forwarding on");
    assert!(!units().join("sysctl.d").exists(), "sysctl.d would switch forwarding on before the rules stand");
}

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value of a key that a unit has once.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let first = found.next().unwrap_or_else(|| panic!("no {key}="));
    assert_eq!(found.next(), None, "{key}= stands twice");
    first
}

/// What `systemd-analyze` says, on both outputs; nothing where this machine does not have it, which CI never allows.
fn analyze(arguments: &[&str], files: &[&Path]) -> Option<String> {
    match Command::new("systemd-analyze").args(arguments).args(files).env("SYSTEMD_EMOJI", "0").output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze: {error}; scripts/install-deps installs it");
            println!("skipped: systemd-analyze is not on this machine ({error})");
            None
        }
    }
}
