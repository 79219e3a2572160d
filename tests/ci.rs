//! Tests that need namespaces, nft or a client skip with a word where the machine has none. In CI (`CI` is set) nothing may be
//! skipped that way without notice: this is the one place that says so.

use std::process::Command;

#[test]
fn ci_gives_what_the_tests_need() {
    if std::env::var_os("CI").is_none() {
        println!("not in CI: skips are allowed here");
        return;
    }
    let unshare: &[&str] = if nix::unistd::geteuid().is_root() { &["--net", "--mount"] } else { &["-Urnm"] };
    let tried = Command::new("unshare").args(unshare).args(["nft", "add", "table", "inet", "probe"]).output();
    let tried = tried.expect("unshare (package util-linux) can be run");
    assert!(tried.status.success(), "no namespace with nftables: {}", String::from_utf8_lossy(&tried.stderr));

    let missing: Vec<&str> = ["ip", "udhcpc", "dhclient", "dhcpcd", "dig", "ping", "sysctl", "systemd-analyze"]
        .into_iter()
        .filter(|program| !std::env::split_paths(&path()).any(|folder| folder.join(program).is_file()))
        .collect();
    assert!(missing.is_empty(), "scripts/install-deps did not install {missing:?}");
}

/// Debian keeps many of them in sbin, which is not in everybody's PATH.
fn path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}
