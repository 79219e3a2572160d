//! The DHCP task on a wire: real frames over a veth pair, a real client (`udhcpc`), the store on a real disk.
//!
//! The test runs itself again in namespaces of its own (`unshare`), as root or rootless where the kernel allows it, and says so where it cannot.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Source};
use labgate::daemon::{Paths, Pictures, dhcp};
use labgate::model::MacAddr;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

const INSIDE: &str = "LABGATE_TEST_INSIDE";
const CONFIG: &str = r#"
[network.lan]
interface = "gw0"
address = "192.168.1.1/24"
[network.later]
interface = "gw1"
address = "192.168.2.1/24"
admin = true
[host]
nas = { mac = "52:54:00:00:01:10", ip = "192.168.1.10" }
"#;

/// What udhcpc runs: the address goes onto the interface, because a RELEASE is sent from it.
const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
    deconfig) ip -4 address flush dev "$interface" ;;
    bound | renew) ip address replace "$ip/$mask" dev "$interface" ;;
esac
echo "$1 $ip $router $dns $domain $lease $serverid" > "$FIFO"
"#;

fn has(program: &str) -> bool {
    Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn a_real_client_gets_renews_and_gives_back() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    for program in ["unshare", "nsenter", "ip", "udhcpc"] {
        if !has(program) {
            eprintln!("skipped: {program} is not installed");
            return;
        }
    }
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).args(arguments);
        command
    };
    if !unshare(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: the kernel gives no user namespaces");
        return;
    }
    let own = std::env::current_exe().expect("the test's own path");
    let status = unshare(&[])
        .arg(own)
        .args(["--exact", "a_real_client_gets_renews_and_gives_back", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare starts");
    assert!(status.success(), "the test inside failed");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().expect("ip starts");
    assert!(status.success(), "ip {arguments}");
}

/// A namespace for clients, held by a sleeping process.
struct Beyond(Child);

impl Beyond {
    fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().expect("unshare starts");
        let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
        let theirs = format!("/proc/{}/ns/net", child.id());
        while fs::read_link(&theirs).is_ok_and(|link| link == own) {
            std::thread::yield_now();
        }
        Beyond(child)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }

    fn link(&self, near: &str, far: &str, mac: &str) {
        ip(&format!("link add {near} type veth peer name {far} address {mac} netns {}", self.0.id()));
        ip(&format!("link set {near} up"));
        let status = self.command("ip").args(["link", "set", far, "up"]).status().expect("ip starts");
        assert!(status.success());
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running udhcpc.
struct Client(Child);

impl Client {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("the client runs");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What clients tell through their script, line by line.
struct Told(BufReader<File>);

impl Told {
    fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        // Opened both ways, it never ends.
        Told(BufReader::new(File::options().read(true).write(true).open(path).expect("a pipe")))
    }

    fn until(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line");
            if line.starts_with(word) {
                return line.trim_end().to_owned();
            }
        }
    }
}

fn pictures(state: &Path) -> Arc<Pictures> {
    let checked = config::check(&[Source { name: "labgate.toml".into(), text: CONFIG.as_bytes().to_vec() }]);
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    let paths = Paths { config: state.join("labgate.toml"), state: state.to_owned(), runtime: state.to_owned() };
    Arc::new(Pictures::new(paths, Arc::new(config)))
}

fn inside() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let beyond = Beyond::new();
    ip("link set lo up");
    beyond.link("gw0", "lan0", "52:54:00:00:01:10");
    ip("address add 192.168.1.1/24 dev gw0");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pictures = pictures(folder.path());
        let token = CancellationToken::new();
        let task = tokio::spawn(dhcp::run(pictures.clone(), token.clone()));
        serves(&pictures, "dhcp lan").await;
        told(&pictures, "dhcp later", false).await;

        let mut told_by_client = Told::new(&folder.path().join("fifo"));
        let udhcpc = |interface: &str| {
            let mut command = beyond.command("udhcpc");
            command.args(["-f", "-n", "-t", "5", "-T", "1", "-i", interface, "-x", "hostname:My_NAS", "-s"]);
            command.arg(&script).env("FIFO", folder.path().join("fifo")).stdout(Stdio::null()).stderr(Stdio::null());
            Client(command.spawn().expect("udhcpc starts"))
        };
        // Reserved, and given back.
        let client = udhcpc("lan0");
        let line = tokio::task::block_in_place(|| told_by_client.until("bound"));
        assert_eq!(line, "bound 192.168.1.10 192.168.1.1 192.168.1.1 home.arpa 43200 192.168.1.1");
        let mut bindings = pictures.bindings.subscribe();
        client.signal(Signal::SIGUSR1);
        let line = tokio::task::block_in_place(|| told_by_client.until("renew"));
        assert!(line.contains(" 192.168.1.10 "), "{line}");
        client.signal(Signal::SIGUSR2);
        let empty = bindings.wait_for(|bindings| bindings.is_empty());
        tokio::time::timeout(Duration::from_secs(5), empty).await.expect("the RELEASE arrived").unwrap();
        drop(client);

        // Again, and kept. The interface of the other network comes late.
        let first = udhcpc("lan0");
        tokio::task::block_in_place(|| told_by_client.until("bound"));
        let held = pictures.bindings.borrow().get(&Ipv4Addr::new(192, 168, 1, 10)).cloned().expect("a lease");
        assert_eq!(held.mac, Some(MacAddr([0x52, 0x54, 0, 0, 1, 0x10])));
        assert_eq!(held.host_name.as_deref(), Some("my-nas"));
        tokio::task::block_in_place(|| beyond.link("gw1", "late0", "52:54:00:00:02:07"));
        ip("address add 192.168.2.1/24 dev gw1");
        pictures.links.send_modify(|_| {});
        serves(&pictures, "dhcp later").await;
        let second = udhcpc("late0");
        let line = tokio::task::block_in_place(|| told_by_client.until("bound"));
        assert!(line.starts_with("bound 192.168.2.") && line.contains(" 192.168.2.1 "), "{line}");
        drop((first, second));

        // A new task on the same disk knows both.
        token.cancel();
        task.await.expect("no panic").expect("a clean end");
        let again = self::pictures(folder.path());
        let token = CancellationToken::new();
        let task = tokio::spawn(dhcp::run(again.clone(), token.clone()));
        serves(&again, "dhcp lan").await;
        assert_eq!(again.bindings.borrow().len(), 2);
        token.cancel();
        task.await.expect("no panic").expect("a clean end");
    });
}

async fn serves(pictures: &Pictures, row: &str) {
    told(pictures, row, true).await;
}

async fn told(pictures: &Pictures, row: &str, good: bool) {
    let mut health = pictures.health.subscribe();
    let wanted = health.wait_for(|table| table.get(row).is_some_and(|health| health.good == good));
    tokio::time::timeout(Duration::from_secs(10), wanted).await.unwrap_or_else(|_| panic!("{row}: {good}")).unwrap();
}
