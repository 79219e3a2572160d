//! Beside the firewalls of others, the real ones: what they refuse, what the doctor says of it, and that its own fixes let it pass.

use std::path::{Path, PathBuf};
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

fn check(lab: &Lab, name: &str) -> Value {
    let document = lab.ask(&["doctor"]).expect("doctor");
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).expect("the check").clone()
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
    let found = check(&lab, "other firewalls");
    assert_eq!(found["verdict"], "bad", "{found:#}");
    let commands = commands(&found, "ufw");
    assert!(commands.contains(&"ufw route allow in on eth1 out on eth0".to_owned()), "{found:#}");
    assert!(commands.contains(&"ufw allow in on eth1".to_owned()), "{found:#}");
    commands.iter().for_each(|command| drop(ufw.run(command)));
    let found = check(&lab, "other firewalls");
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
    let found = check(&lab, "other firewalls");
    assert!(found["evidence"].to_string().contains("table legacy filter, chain FORWARD"), "{found:#}");
    // The table of the old interface takes the old program.
    for command in commands(&found, "iptables") {
        let command = command.split(", or ").next().expect("a command").replace("iptables -I", "iptables-legacy -I");
        router.run(&["sh", "-ec", &command]).expect("the fix");
    }
    assert_eq!(check(&lab, "other firewalls")["verdict"], "good");
    assert!(reaches(&lab, "198.51.100.80:80"));
}

/// A Docker daemon in the gateway's network; its end is the test's.
struct Docker {
    folder: PathBuf,
    daemon: Child,
}

impl Docker {
    fn start(lab: &Lab) -> Self {
        let folder = lab.work().join("docker");
        std::fs::create_dir(&folder).expect("a folder");
        let words = format!(
            "exec nsenter --net={} dockerd --host unix://{work}/docker.sock --data-root {work}/data --exec-root {work}/exec \
             --pidfile {work}/pid >{work}/log 2>&1",
            lab.router().expect("the gateway").net_path().display(),
            work = folder.display(),
        );
        let daemon = Command::new("sh").args(["-ec", &words]).stdin(Stdio::null()).spawn().expect("dockerd");
        let docker = Docker { folder, daemon };
        eventually("Docker's daemon is there", 60, || docker.output(&["version"]).status.success());
        docker
    }

    fn output(&self, words: &[&str]) -> std::process::Output {
        let host = format!("unix://{}/docker.sock", self.folder.display());
        Command::new("docker").args(["--host", &host]).args(words).output().expect("docker")
    }

    #[track_caller]
    fn run(&self, words: &[&str]) {
        let output = self.output(words);
        assert!(output.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// An image that can sleep: this machine's program with its libraries.
    fn make_image(&self) {
        let tar = self.folder.join("image.tar");
        let script = "tar -chf \"$0\" /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*') 2>/dev/null";
        let made = Command::new("sh").args(["-ec", script]).arg(&tar).status().expect("tar");
        assert!(made.success());
        self.run(&["import", &tar.to_string_lossy(), "sleeper"]);
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.output(&["rm", "--force", "published"]);
        let pid = nix::unistd::Pid::from_raw(self.daemon.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.daemon.wait();
    }
}

/// A Docker daemon that is started before the gateway switches forwarding on lets nothing but its own containers through.
#[test]
fn docker_refuses_until_it_is_told_what_the_doctor_says() {
    if std::env::var_os("LABGATE_NIGHTLY").is_none() {
        return skip("a Docker daemon of its own is started with LABGATE_NIGHTLY=1 alone");
    }
    if !installed("dockerd") || !nix::unistd::geteuid().is_root() || !possible() {
        return skip("needs root and docker.io");
    }
    let mut lab = Lab::lay(options().home(home([laptop(), web1()]))).expect("the lab is laid");
    let docker = Docker::start(&lab);
    lab.start_gateway().expect("the gateway");
    lab.start_clients().expect("leases");
    assert!(!reaches(&lab, "198.51.100.80:80"), "Docker's policy refuses what is not its own");
    let found = check(&lab, "other firewalls");
    assert_eq!(found["verdict"], "bad", "{found:#}");
    assert!(found["evidence"].to_string().contains("chain FORWARD (priority 0), policy drop"), "{found:#}");
    let commands = commands(&found, "Docker");
    assert!(commands.contains(&"iptables -I DOCKER-USER -i eth1 -o eth0 -j ACCEPT".to_owned()), "{found:#}");
    let router = lab.router().expect("the gateway");
    commands.iter().for_each(|command| drop(router.run(&["sh", "-ec", command]).expect("the fix")));
    let found = check(&lab, "other firewalls");
    assert_eq!(found["verdict"], "good", "{found:#}");
    assert!(reaches(&lab, "198.51.100.80:80"));

    docker.make_image();
    docker.run(&["run", "--detach", "--name", "published", "--publish", "443:80", "sleeper", "/bin/sleep", "600"]);
    let found = check(&lab, "other translations");
    assert_eq!(found["verdict"], "bad", "{found:#}");
    assert!(found["evidence"].to_string().contains("the forwarded port tcp/443"), "{found:#}");
    assert!(found["fix"].to_string().contains("publish another port than tcp/443"), "{found:#}");
    docker.run(&["rm", "--force", "published"]);
    docker.run(&["run", "--detach", "--name", "published", "--publish", "8443:80", "sleeper", "/bin/sleep", "600"]);
    for name in ["other translations", "other firewalls"] {
        assert_eq!(check(&lab, name)["verdict"], "good", "a published port that is no forward's is nobody's business");
    }
    assert!(reaches(&lab, "198.51.100.80:80"));
}
