//! What the end-to-end tests share.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use labgate::cli::lab::{Lab, Options};

/// The program under test.
pub const LABGATE: &str = env!("CARGO_BIN_EXE_labgate");

/// How a lab starts here.
pub fn options() -> Options {
    Options::new(LABGATE)
}

/// A lab, or a loud skip where this machine gives neither root nor user namespaces.
pub fn start(options: Options) -> Option<Lab> {
    if let Err(reason) = possible() {
        skip(&reason);
        return None;
    }
    Some(Lab::start(options).expect("the lab starts"))
}

/// The namespaces and services of a lab alone, or a loud skip.
pub fn lay(options: Options) -> Option<Lab> {
    if let Err(reason) = possible() {
        skip(&reason);
        return None;
    }
    Some(Lab::lay(options).expect("the lab is laid"))
}

/// Says that a test is skipped and why; `make test` shows these lines.
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

fn possible() -> Result<(), String> {
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let tried = unshare.args(["--net", "--mount", "true"]).stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no namespaces here: neither root with CAP_SYS_ADMIN nor user namespaces ({})",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("unshare cannot be run: {error}")),
    }
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
