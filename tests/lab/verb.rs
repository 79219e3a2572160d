//! `labgate lab` as a person starts it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::{LABGATE, possible};

#[test]
fn the_demonstration_goes_well_and_ends_with_zero() {
    if !possible() {
        return;
    }
    let output = Command::new(LABGATE).args(["lab", "--once"]).output().expect("labgate lab");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for words in
        ["laptop has 192.168.1.", "laptop asks for nas: 192.168.1.10", "masqueraded", "web1 -> db1:22  refused"]
    {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    let output = Command::new(LABGATE).args(["lab", "--once", "--json"]).output().expect("labgate lab --json");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["good"], true, "{document}");
}

#[test]
fn another_shell_runs_commands_in_a_running_home_until_it_ends() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let labgate = |words: &[&str]| {
        let mut command = Command::new(LABGATE);
        command.args(words).env("XDG_RUNTIME_DIR", folder.path()).env_remove("LABGATE_CONFIG");
        command
    };
    let mut lab = labgate(&["lab"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("labgate lab");
    let mut lines = BufReader::new(lab.stdout.take().expect("its output")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("stays until Ctrl-C"))), "the home does not stay");
    let exec = labgate(&["lab", "exec", "laptop", "--", "getent", "ahostsv4", "nas"]).output().expect("exec");
    assert!(String::from_utf8_lossy(&exec.stdout).starts_with("192.168.1.10"), "{exec:?}");
    let code = labgate(&["lab", "exec", "cam", "--", "sh", "-c", "exit 7"]).status().expect("exec").code();
    assert_eq!(code, Some(7), "the command's exit code is handed on");
    let status = labgate(&["lab", "exec", "gateway", "--", "labgate", "status", "--json"]).output().expect("exec");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["state"], "good", "{status}");
    let listed = labgate(&["lab", "status"]).output().expect("status");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("gateway"), "{listed:?}");
    let unknown = labgate(&["lab", "exec", "toaster", "--", "true"]).output().expect("exec");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there are cam, db1"), "{unknown:?}");
    let pid = nix::unistd::Pid::from_raw(lab.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("Ctrl-C");
    assert!(lab.wait().expect("its end").success());
    let gone = labgate(&["lab", "exec", "laptop", "--", "true"]).output().expect("exec");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no lab is running"), "{gone:?}");
}

#[test]
fn a_file_of_ones_own_gets_a_home_that_fits_it() {
    if !possible() {
        return;
    }
    if labgate::cli::lab::find("busybox").is_none() {
        return crate::support::skip("busybox is not installed, whose udhcpd is the provider's server here");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.toml");
    let text = "[wan]\ninterface = \"wan0\"\naddress = \"dhcp\"\n[network.home]\ninterface = \"lan0\"\naddress = \"10.0.0.1/24\"\n\
        admin = true\n[network.guest]\ninterface = \"lan0.20\"\naddress = \"10.0.20.1/24\"\n\
        [host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"10.0.0.10\" }\n[dns]\nupstream = [\"9.9.9.9\"]\n";
    std::fs::write(&file, text).expect("a file");
    let output = Command::new(LABGATE).args(["lab", "--once", "--config"]).arg(&file).output().expect("labgate lab");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        "nas has 10.0.0.10 on home",
        "guest-pc has 10.0.20.",
        "guest-pc -> internet (198.51.100.80:80) reaches it: internet: you are 203.0.113.2",
        "guest-pc -> nas (10.0.0.10:80) is refused",
    ] {
        assert!(told.contains(words), "{words:?} is missing in\n{told}");
    }
    std::fs::write(&file, text.replace("10.0.20.1/24", "10.0.0.9/24")).expect("a mistake");
    let output = Command::new(LABGATE).args(["lab", "--once", "--config"]).arg(&file).output().expect("labgate lab");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("own.toml:"), "{words}");
}
