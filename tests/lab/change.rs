//! The file is edited while everything is in use: what the edit does not mention must not notice.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use labgate::cli::lab::{Home, Host, HostSpec, Lab, Lines, Options, Outcome, PATIENCE};

use crate::support::{HEAD, dig, eventually, fixed, home, leases, options, possible, start};

/// A helper of labgate's own that runs on a machine and is told things.
pub struct Tool {
    child: Child,
    input: Option<ChildStdin>,
    /// What it says.
    pub lines: Lines,
}

impl Tool {
    /// Starts one of the hidden tools on a machine.
    pub fn start(host: &Host<'_>, words: &[&str]) -> Self {
        let mut child = host
            .labgate(&[&["lab", "internal"], words].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let lines = Lines::default();
        lines.follow(child.stdout.take().expect("output"), |_| {});
        lines.follow(child.stderr.take().expect("errors"), |_| {});
        let input = child.stdin.take();
        Tool { child, input, lines }
    }

    /// Tells it something.
    pub fn tell(&mut self, words: &str) {
        writeln!(self.input.as_mut().expect("its input"), "{words}").expect("it listens");
    }

    /// Waits for a line that starts so.
    #[track_caller]
    pub fn says(&self, from: usize, within: Duration, start: &str) -> String {
        let line = self.lines.wait(from, within, |line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start:?} in {within:?}: {:#?}", self.lines.all()))
    }

    /// Closes its input and waits for its end.
    pub fn finish(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network large enough for a thousand clients, one to look from.
pub fn large(more: &str) -> String {
    format!(
        r#"{HEAD}
[network.lan]
interface = "eth1"
address = "10.10.0.1/20"
admin = true
dhcp = {{ pool = "10.10.1.0-10.10.14.255", lease-time = "12h" }}
[network.web]
interface = "eth3"
address = "192.168.30.1/24"
[host]
web1 = {{ mac = "52:54:00:00:30:10", ip = "192.168.30.10" }}
{more}"#
    )
}

/// A machine that is a thousand clients, and web1.
pub fn crowd() -> Home {
    let crowd = HostSpec::client("crowd", "lan", "52:54:00:00:01:99").silent();
    home([crowd, fixed("web1", "web", "52:54:00:00:30:10", "192.168.30.10")])
}

fn applied(lab: &Lab, from: usize) -> Option<String> {
    lab.log().wait(from, PATIENCE, |line| line.contains("is in effect") || line.contains("applied"))
}

#[test]
fn an_edit_costs_no_byte_no_lease_and_no_cached_name() {
    let Some(lab) = start(Options { config: large(""), ..options().home(crowd()) }) else { return };
    let mut crowd = Tool::start(&lab.host("crowd").expect("crowd"), &["load", "eth0"]);
    crowd.tell("get 1000");
    crowd.says(0, Duration::from_secs(60), "done: 1000 leases");
    assert_eq!(leases(&lab).len(), 1000);
    let web1 = lab.host("web1").expect("web1");
    let mut transfer = Tool::start(&web1, &["transfer", "198.51.100.80:7"]);
    transfer.says(0, PATIENCE, "moving");
    assert_eq!(dig(&web1, &["@192.168.30.1", "www.example.com"]), "198.51.100.80");
    assert_eq!(lab.upstream_queries("www.example.com"), 1);

    // A new port forward and a new rule: seen from outside, so seen when it is in effect.
    let internet = lab.host("internet").expect("internet");
    assert_eq!(internet.connect("203.0.113.2:8080").expect("an attempt").outcome, Outcome::Silent);
    let more = "[firewall]\nallow = [{ from = \"web\", to = \"lan\" }]\n[port-forward]\n\"tcp/8080\" = \"web1:80\"\n";
    let start = Instant::now();
    let from = lab.log().len();
    lab.edit(&large(more)).expect("the edit");
    applied(&lab, from).unwrap_or_else(|| panic!("not applied: {:#?}", lab.log().all()));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "the edit took {took:?}");
    assert_eq!(
        internet.connect("203.0.113.2:8080").expect("an attempt").outcome,
        Outcome::Refused,
        "web1 serves nothing there"
    );

    // A mistake: nothing changes, and the place is told.
    let before = leases(&lab);
    let wrong = large(&more.replace("web1:80\"", "web9:80\""));
    let line = wrong.lines().position(|line| line.contains("web9")).expect("the mistake") + 1;
    let place = format!("labgate.toml:{line}:");
    let from = lab.log().len();
    lab.edit(&wrong).expect("the edit");
    lab.log()
        .wait(from, PATIENCE, |line| line.contains(&place))
        .unwrap_or_else(|| panic!("{place} is not in {:#?}", lab.log().all()));
    eventually("status tells the mistake", 5, || {
        let status = lab.ask(&["status"]).expect("status");
        status["state"] == "degraded"
            && status["rejected"].as_str().is_some_and(|text| text.contains(&place) && text.contains("web9"))
    });
    assert_eq!(
        internet.connect("203.0.113.2:8080").expect("an attempt").outcome,
        Outcome::Refused,
        "the forward stays"
    );
    assert_eq!(leases(&lab).len(), before.len());

    assert_eq!(dig(&web1, &["@192.168.30.1", "www.example.com"]), "198.51.100.80");
    assert_eq!(lab.upstream_queries("www.example.com"), 1, "the cache was lost");
    transfer.finish();
    transfer.says(0, PATIENCE, "whole");
    let from = crowd.lines.len();
    crowd.tell("confirm");
    let done = crowd.says(from, Duration::from_secs(60), "done:");
    assert!(done.contains("1000 leases") && done.ends_with("0 violations"), "{done}");
}

#[test]
fn every_way_of_saving_the_file_is_noticed() {
    let Some(lab) = start(Options { config: large(""), ..options().home(crowd()) }) else { return };
    let domain = |name: &str| format!("[gateway]\ndomain = \"{name}\"\n{}", large(""));
    let web1 = lab.host("web1").expect("web1");
    let answers = |name: &str| {
        eventually(name, 10, || dig(&web1, &["@192.168.30.1", &format!("web1.{name}")]) == "192.168.30.10");
    };
    // Written in place.
    std::fs::write(lab.config_path(), domain("in-place.example.net")).expect("a write");
    answers("in-place.example.net");
    // Renamed over.
    lab.edit(&domain("renamed.example.net")).expect("a rename");
    answers("renamed.example.net");
    // A link to a folder that is swapped, as Kubernetes and some editors do.
    let etc = lab.work().join("etc");
    std::fs::create_dir_all(etc.join("one")).expect("a folder");
    std::fs::write(etc.join("one/labgate.toml"), domain("linked.example.net")).expect("a write");
    let link = etc.join("labgate.toml.link");
    std::os::unix::fs::symlink("one/labgate.toml", &link).expect("a link");
    std::fs::rename(&link, lab.config_path()).expect("a swap");
    answers("linked.example.net");
    // Asked by hand.
    let mut gateway_hup = lab;
    std::fs::write(etc.join("one/labgate.toml"), domain("signal.example.net")).expect("a write");
    gateway_hup.gateway().expect("the gateway").signal(nix::sys::signal::Signal::SIGHUP).expect("SIGHUP");
    let web1 = gateway_hup.host("web1").expect("web1");
    eventually("signal.example.net", 10, || {
        dig(&web1, &["@192.168.30.1", "web1.signal.example.net"]) == "192.168.30.10"
    });
}

#[test]
fn a_single_file_that_is_bind_mounted_as_into_a_container_is_noticed_too() {
    if !possible() {
        return;
    }
    let mut lab = Lab::lay(Options { config: large(""), ..options().home(crowd()) }).expect("the lab is laid");
    let outside = lab.work().join("outside.toml");
    std::fs::write(&outside, large("")).expect("a file");
    let (from, to) = (outside.to_string_lossy().into_owned(), lab.config_path().to_string_lossy().into_owned());
    lab.router().expect("the gateway").run(&["mount", "--bind", &from, &to]).expect("a bind mount");
    lab.start_gateway().expect("the gateway starts");
    std::fs::write(&outside, format!("[gateway]\ndomain = \"bound.example.net\"\n{}", large("")))
        .expect("an edit outside");
    let web1 = lab.host("web1").expect("web1");
    eventually("bound.example.net", 10, || dig(&web1, &["@192.168.30.1", "web1.bound.example.net"]) == "192.168.30.10");
}

#[test]
fn a_file_in_which_an_expectation_fails_is_never_applied() {
    let Some(lab) = start(Options { config: large(""), ..options().home(crowd()) }) else { return };
    let before = lab.ask(&["status"]).expect("status")["revision"].clone();
    let more = "[firewall]\nallow = [{ from = \"web\", to = \"lan\", port = \"tcp/22\" }]\n\
                expect = [{ from = \"web\", to = \"lan\", result = \"deny\" }]\n";
    let text = large(more);
    let line = |words: &str| text.lines().position(|line| line.starts_with(words)).expect("the line") + 1;
    let (rule, expectation) = (format!("{} | allow", line("allow")), format!("labgate.toml:{}:", line("expect")));
    lab.edit(&text).expect("the edit");
    eventually("status shows the expectation and the rule that breaks it", 10, || {
        let status = lab.ask(&["status"]).expect("status");
        let told = status["rejected"].as_str().unwrap_or("");
        told.contains("error[expectation]") && told.contains(&expectation) && told.contains(&rule)
    });
    let status = lab.ask(&["status"]).expect("status");
    assert_eq!(status["revision"], before, "{status}");
    let file = lab.config_path().to_string_lossy().into_owned();
    let applied =
        labgate::cli::lab::verb(&lab, &["apply", &file, "--force"]).expect("the verb").output().expect("apply");
    assert_eq!(applied.status.code(), Some(1), "not even by force");
}
