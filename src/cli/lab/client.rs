//! The DHCP client of a lab's machine: busybox's `udhcpc` where it is installed, else `dhclient`; both with a script of our own, because
//! the distribution's would touch files of the machine below.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::Host;
use super::lines::Lines;

const UDHCPC_SCRIPT: &str = include_str!("udhcpc.sh");
const DHCLIENT_SCRIPT: &str = include_str!("dhclient.sh");

/// A DHCP client that runs in the foreground on a machine. Dropping it kills it without a release.
pub struct Client {
    child: Child,
    kind: Kind,
    seen: usize,
    /// What it writes.
    pub lines: Lines,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udhcpc,
    Dhclient,
}

impl Client {
    /// Starts the first client that is installed, on `eth0`, with the machine's name as host name.
    pub fn start(host: &Host<'_>) -> Result<Self> {
        if find("udhcpc").is_some() {
            return Self::udhcpc(host, &[]);
        }
        if find("dhclient").is_some() {
            return Self::dhclient(host, &[]);
        }
        bail!("no DHCP client is installed: neither udhcpc (package udhcpc) nor dhclient (package isc-dhcp-client)")
    }

    /// Starts busybox's client with further arguments.
    pub fn udhcpc(host: &Host<'_>, arguments: &[&str]) -> Result<Self> {
        let script = script(host, "udhcpc.sh", UDHCPC_SCRIPT)?;
        let name = format!("hostname:{}", host.name());
        let mut command = host.command("udhcpc");
        command
            .args(["-f", "-i", "eth0", "-t", "20", "-T", "1", "-A", "1", "-x", &name, "-s"])
            .arg(script)
            .args(arguments);
        Self::spawn(command, Kind::Udhcpc)
    }

    /// Starts ISC's client with further arguments.
    pub fn dhclient(host: &Host<'_>, arguments: &[&str]) -> Result<Self> {
        let script = script(host, "dhclient.sh", DHCLIENT_SCRIPT)?;
        let file = host.folder().join("run/dhclient.conf");
        let asked = "subnet-mask, routers, domain-name-servers, domain-name, host-name, ntp-servers, interface-mtu";
        let text = format!(
            "send host-name \"{}\";\nrequest {asked};\ntimeout 30;\nretry 2;\ninitial-interval 1;\n",
            host.name()
        );
        fs::write(&file, text)?;
        let mut command = host.command("dhclient");
        command
            .args(["-d", "-4", "-cf"])
            .arg(&file)
            .args(["-lf", "/run/dhclient.leases", "-pf", "/run/dhclient.pid", "-sf"])
            .arg(script)
            .args(arguments)
            .arg("eth0");
        Self::spawn(command, Kind::Dhclient)
    }

    fn spawn(mut command: std::process::Command, kind: Kind) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines = Lines::default();
        if let Some(stdout) = child.stdout.take() {
            lines.follow(stdout, |_| {});
        }
        if let Some(stderr) = child.stderr.take() {
            lines.follow(stderr, |_| {});
        }
        Ok(Client { child, kind, seen: 0, lines })
    }

    /// Waits for the next lease, or the next renewal, and gives its address.
    pub fn bound(&mut self, within: Duration) -> Result<Ipv4Addr> {
        let line = self.lines.wait(self.seen, within, |line| line.starts_with("labgate-lab bound "));
        let Some(line) = line else { bail!("no lease in {within:?}:\n{}", self.lines.all().join("\n")) };
        self.seen = self.lines.len();
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        address.with_context(|| format!("the client's script said {line:?}"))
    }

    /// Asks for a renewal of the lease now and waits for it. `dhclient` has no way to be told.
    pub fn renew(&mut self, within: Duration) -> Result<Ipv4Addr> {
        if self.kind != Kind::Udhcpc {
            bail!("dhclient renews by its own clock only");
        }
        self.seen = self.lines.len();
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGUSR1)?;
        self.bound(within)
    }

    /// Gives the lease back and ends the client.
    pub fn release(&mut self, host: &Host<'_>) -> Result<()> {
        match self.kind {
            Kind::Udhcpc => {
                let from = self.lines.len();
                kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGUSR2)?;
                // Its script may run on when the client is gone, and would take from the machine what comes next.
                for word in ["entering released state", "labgate-lab deconfigured"] {
                    let gone = self.lines.wait(from, Duration::from_secs(10), |line| line.contains(word));
                    gone.context("udhcpc did not release its lease")?;
                }
                self.child.kill()?;
            }
            Kind::Dhclient => {
                let script = host.folder().join("run/dhclient.sh");
                let script = script.to_string_lossy();
                let files = ["-lf", "/run/dhclient.leases", "-pf", "/run/dhclient.pid"];
                host.run(&[&["dhclient", "-r", "-sf", &script][..], &files, &["eth0"]].concat())?;
            }
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(host: &Host<'_>, name: &str, text: &str) -> Result<PathBuf> {
    let path = host.folder().join("run").join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Where a program is installed, as a machine of the lab would find it.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&super::join::search_path())
        .map(|folder| folder.join(program))
        .find(|path| Path::is_file(path))
}
