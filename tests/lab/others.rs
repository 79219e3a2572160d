//! Beside the firewalls of others, the real ones: what they refuse, what the doctor says of it, and that its own fixes let it pass.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use labgate::cli::lab::{HostSpec, Lab, Outcome, PATIENCE};
use serde_json::Value;

use crate::support::{dig, eventually, home, options, possible, skip, start, web1};

fn laptop() -> HostSpec {
    HostSpec::client("laptop", "lan", "52:54:00:00:01:20")
}

fn installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

fn reaches(lab: &Lab, target: &str) -> bool {
    lab.host("laptop").expect("laptop").connect(target).expect("an attempt").outcome == Outcome::Connected
}

fn other_firewalls(lab: &Lab) -> Value {
    let document = lab.ask(&["doctor"]).expect("doctor");
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == "other firewalls").expect("the check").clone()
}

/// The commands among the fixes: `TOOL: COMMAND`.
fn commands(found: &Value, tool: &str) -> Vec<String> {
    let fixes = found["fix"].as_array().expect("fixes").iter().filter_map(Value::as_str);
    fixes.filter_map(|fix| fix.strip_prefix(&format!("{tool}: "))).map(str::to_owned).collect()
}

/// ufw with a configuration of its own, in the gateway.
struct Ufw<'a>(&'a Lab);

impl Ufw<'_> {
    fn run(&self, command: &str) -> String {
        let own = self.0.work().join("ufw");
        let own = own.display();
        let script = format!(
            "test -d {own} || cp -a /etc/ufw {own}; mount --bind {own} /etc/ufw; mount -t tmpfs none /run; {command}"
        );
        let router = self.0.router().expect("the gateway");
        router.run(&["unshare", "--mount", "sh", "-ec", &script]).expect("ufw")
    }
}

#[test]
fn ufw_refuses_until_it_is_told_what_the_doctor_says() {
    if !nix::unistd::geteuid().is_root() {
        return skip("ufw wants to be root");
    }
    if !installed("ufw") {
        return skip("ufw is not installed");
    }
    let Some(mut lab) = start(options().home(home([laptop(), web1()]))) else { return };
    assert!(reaches(&lab, "198.51.100.80:80"));
    let ufw = Ufw(&lab);
    ufw.run("ufw --force enable");
    assert!(!reaches(&lab, "198.51.100.80:80"), "ufw refuses what it was not told of");
    let found = other_firewalls(&lab);
    assert_eq!(found["verdict"], "bad", "{found:#}");
    let commands = commands(&found, "ufw");
    assert!(commands.contains(&"ufw route allow in on eth1 out on eth0".to_owned()), "{found:#}");
    assert!(commands.contains(&"ufw allow in on eth1".to_owned()), "{found:#}");
    commands.iter().for_each(|command| drop(ufw.run(command)));
    let found = other_firewalls(&lab);
    assert_eq!(found["verdict"], "good", "{found:#}");
    assert!(reaches(&lab, "198.51.100.80:80"));
    assert_eq!(dig(&lab.host("laptop").expect("laptop"), &["@192.168.1.1", "nas.home.arpa"]), "192.168.1.10");
    lab.client("laptop").expect("a client").renew(PATIENCE).expect("the lease again");
}

#[test]
fn legacy_iptables_are_seen_too() {
    if !installed("iptables-legacy") {
        return skip("iptables is not installed");
    }
    let Some(lab) = start(options().home(home([laptop(), web1()]))) else { return };
    let router = lab.router().expect("the gateway");
    if let Err(error) = router.run(&["iptables-legacy", "-P", "FORWARD", "DROP"]) {
        return skip(&format!("this kernel has no legacy tables: {error:#}"));
    }
    assert!(!reaches(&lab, "198.51.100.80:80"));
    let found = other_firewalls(&lab);
    assert!(found["evidence"].to_string().contains("table legacy filter, chain FORWARD"), "{found:#}");
    // The table of the old interface takes the old program.
    for command in commands(&found, "iptables") {
        let command = command.split(", or ").next().expect("a command").replace("iptables -I", "iptables-legacy -I");
        router.run(&["sh", "-ec", &command]).expect("the fix");
    }
    assert_eq!(other_firewalls(&lab)["verdict"], "good");
    assert!(reaches(&lab, "198.51.100.80:80"));
}

/// A Docker daemon in the gateway's network; its end is the test's.
struct Docker<'a>(&'a Lab, Child);

impl<'a> Docker<'a> {
    fn start(lab: &'a Lab) -> Self {
        let work = lab.work().join("docker");
        std::fs::create_dir(&work).expect("a folder");
        let work = work.display();
        let words = format!(
            "exec nsenter --net={} dockerd --host unix://{work}/docker.sock --data-root {work}/data --exec-root {work}/exec \
             --pidfile {work}/pid >{work}/log 2>&1",
            lab.router().expect("the gateway").net_path().display()
        );
        let child = Command::new("sh").args(["-ec", &words]).stdin(Stdio::null()).spawn().expect("dockerd");
        let docker = Docker(lab, child);
        eventually("Docker's daemon is there", 60, || docker.say(&["version"]).status.success());
        docker
    }

    fn say(&self, words: &[&str]) -> std::process::Output {
        let host = format!("unix://{}/docker/docker.sock", self.0.work().display());
        Command::new("docker").args(["--host", &host]).args(words).output().expect("docker")
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.1.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.1.wait();
    }
}

/// A Docker daemon that is started before the gateway switches forwarding on, and lets nothing but its own containers through.
#[test]
fn docker_refuses_until_it_is_told_what_the_doctor_says() {
    if std::env::var_os("LABGATE_NIGHTLY").is_none() {
        return skip("a Docker daemon of its own is started with LABGATE_NIGHTLY=1 alone");
    }
    if !installed("dockerd") || !nix::unistd::geteuid().is_root() || !possible() {
        return skip("needs root and docker.io");
    }
    let mut lab = Lab::lay(options().home(home([laptop(), web1()]))).expect("the lab is laid");
    {
        let docker = Docker::start(&lab);
        let rules = lab.router().expect("the gateway").run(&["iptables-save"]).expect("its rules");
        assert!(rules.contains(":FORWARD DROP") && rules.contains("-A FORWARD -j DOCKER-USER"), "{rules}");
        assert!(docker.say(&["info"]).status.success());
    }
    lab.start_gateway().expect("the gateway");
    lab.start_clients().expect("leases");
    assert!(!reaches(&lab, "198.51.100.80:80"), "Docker's policy refuses what is not its own");
    let found = other_firewalls(&lab);
    assert_eq!(found["verdict"], "bad", "{found:#}");
    assert!(found["evidence"].to_string().contains("chain FORWARD (priority 0), policy drop"), "{found:#}");
    let commands = commands(&found, "Docker");
    assert!(commands.contains(&"iptables -I DOCKER-USER -i eth1 -o eth0 -j ACCEPT".to_owned()), "{found:#}");
    let router = lab.router().expect("the gateway");
    commands.iter().for_each(|command| drop(router.run(&["sh", "-ec", command]).expect("the fix")));
    let found = other_firewalls(&lab);
    assert_eq!(found["verdict"], "good", "{found:#}");
    assert!(reaches(&lab, "198.51.100.80:80"));
}
