//! The DHCP task on a wire: real frames over a veth pair, a real client (`udhcpc`), the store on a real disk.
//!
//! The test runs itself again in namespaces of its own (`unshare`), as root or rootless where the kernel allows it, and says so where it cannot.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Source};
use labgate::daemon::{Paths, Pictures, dhcp};
use labgate::model::MacAddr;
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

fn pictures(state: &Path) -> Arc<Pictures> {
    let checked = config::check(&[Source { name: "labgate.toml".into(), text: CONFIG.as_bytes().to_vec() }]);
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    let paths = Paths { config: state.join("labgate.toml"), state: state.to_owned(), runtime: state.to_owned() };
    Arc::new(Pictures::new(paths, Arc::new(config)))
}

fn inside() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\necho \"$1 $ip $router $dns $domain $lease $serverid\" >> \"$LOG\"\n").unwrap();
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
        assert!(!pictures.health.borrow()["dhcp later"].good, "gw1 is not there yet");

        let udhcpc = |interface: &str, more: &[&str]| {
            let log = folder.path().join(format!("log-{interface}"));
            let mut command = beyond.command("udhcpc");
            command.args(["-f", "-n", "-q", "-t", "5", "-T", "1", "-i", interface, "-x", "hostname:My_NAS", "-s"]);
            command.arg(&script).args(more).env("LOG", &log).stdout(Stdio::null()).stderr(Stdio::null());
            let status = command.status().expect("udhcpc starts");
            assert!(status.success(), "udhcpc on {interface} got a lease");
            fs::read_to_string(log).expect("the script ran")
        };
        // Reserved, and released at the end (-R).
        let log = tokio::task::block_in_place(|| udhcpc("lan0", &["-R"]));
        assert!(log.contains("bound 192.168.1.10 192.168.1.1 192.168.1.1 home.arpa 43200 192.168.1.1\n"), "{log}");
        let mut bindings = pictures.bindings.subscribe();
        let empty = bindings.wait_for(|bindings| bindings.is_empty());
        tokio::time::timeout(Duration::from_secs(5), empty).await.expect("the RELEASE arrived").unwrap();

        // Again, and kept. The interface of the other network comes late.
        tokio::task::block_in_place(|| udhcpc("lan0", &[]));
        let held = pictures.bindings.borrow().get(&Ipv4Addr::new(192, 168, 1, 10)).cloned().expect("a lease");
        assert_eq!(held.mac, Some(MacAddr([0x52, 0x54, 0, 0, 1, 0x10])));
        assert_eq!(held.host_name.as_deref(), Some("my-nas"));
        tokio::task::block_in_place(|| beyond.link("gw1", "late0", "52:54:00:00:02:07"));
        ip("address add 192.168.2.1/24 dev gw1");
        pictures.links.send_modify(|_| {});
        serves(&pictures, "dhcp later").await;
        let log = tokio::task::block_in_place(|| udhcpc("late0", &[]));
        assert!(log.contains("bound 192.168.2.") && log.contains(" 192.168.2.1 "), "{log}");

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
    let mut health = pictures.health.subscribe();
    let good = health.wait_for(|table| table.get(row).is_some_and(|health| health.good));
    tokio::time::timeout(Duration::from_secs(10), good).await.unwrap_or_else(|_| panic!("{row} serves")).unwrap();
}
