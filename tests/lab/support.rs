//! What the end-to-end tests share.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use labgate::cli::lab::home::{Addressing, BUILT_IN_CONFIG};
use labgate::cli::lab::{Home, Host, HostSpec, Lab, Options};

/// The program under test.
pub const LABGATE: &str = env!("CARGO_BIN_EXE_labgate");

/// The first part of every file: the uplink and the lab's own upstream.
pub const HEAD: &str = "[wan]\ninterface = \"eth0\"\n[dns]\nupstream = [\"udp://198.51.100.53\"]\n";

/// How a lab starts here.
pub fn options() -> Options {
    Options::new(LABGATE)
}

/// A lab of the built-in segments with these machines beside the internet.
pub fn home(hosts: impl IntoIterator<Item = HostSpec>) -> Home {
    let mut home = Home::built_in().only(&[]);
    home.hosts.extend(hosts);
    home
}

/// A machine with an address of its own, `192.168.…/24`, and `.1` of that network as its router.
pub fn fixed(name: &str, segment: &str, mac: &str, address: &str) -> HostSpec {
    let (net, _) = address.rsplit_once('.').expect("an IPv4 address");
    let mut host = HostSpec::client(name, segment, mac);
    let router = format!("{net}.1").parse().expect("a router");
    host.addressing = Addressing::Fixed(vec![("eth0".to_owned(), format!("{address}/24"))], Some(router));
    host
}

/// web1 of the built-in file, with its address set by hand: the other network from which things are looked at.
pub fn web1() -> HostSpec {
    fixed("web1", "web", "52:54:00:00:30:10", "192.168.30.10")
}

/// The built-in file with other words at one place.
#[track_caller]
pub fn built_in_with(old: &str, new: &str) -> String {
    assert!(BUILT_IN_CONFIG.contains(old), "the built-in file has no {old:?}");
    BUILT_IN_CONFIG.replace(old, new)
}

/// A lab, or a loud skip where this machine gives neither root nor user namespaces.
pub fn start(options: Options) -> Option<Lab> {
    possible().then(|| Lab::start(options).expect("the lab starts"))
}

/// The namespaces and services of a lab alone, or a loud skip.
pub fn lay(options: Options) -> Option<Lab> {
    possible().then(|| Lab::lay(options).expect("the lab is laid"))
}

/// Says that a test is skipped and why; `make test` shows these lines.
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Whether this machine gives namespaces; where not, the reason is told.
pub fn possible() -> bool {
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let tried = unshare.args(["--net", "--mount", "true"]).stdin(Stdio::null()).output();
    let reason = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare cannot be run: {error}"),
    };
    skip(&format!("no namespaces here, neither as root nor as a user: {reason}"));
    false
}

/// Looks again and again until `condition` holds; fails the test after `seconds`.
#[track_caller]
pub fn eventually(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::yield_now();
    }
}

/// What a name server says to a machine, one answer a line, asked once and without a second try.
#[track_caller]
pub fn dig(host: &Host<'_>, words: &[&str]) -> String {
    let asked = host.run(&[&["dig", "+short", "+tries=1", "+time=2"], words].concat());
    asked.unwrap_or_else(|error| panic!("dig {words:?} on {}: {error:#}", host.name())).trim().to_owned()
}

/// The gateway's live leases.
#[track_caller]
pub fn leases(lab: &Lab) -> Vec<serde_json::Value> {
    let answer = lab.ask(&["leases"]).expect("leases");
    answer.as_array().unwrap_or_else(|| panic!("leases are {answer}")).clone()
}

/// The lease of one address.
pub fn lease_of(lab: &Lab, address: &str) -> Option<serde_json::Value> {
    leases(lab).into_iter().find(|lease| lease["address"] == address)
}
