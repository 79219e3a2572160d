//! The keeper: a process of its own that makes the namespaces of a lab, holds them by file descriptor without a name, and ends whatever
//! runs in them once its standard input ends. However its lab dies, nothing stays behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};
use serde::{Deserialize, Serialize};

use super::home::{Addressing, Home, UPSTREAM};

/// The namespace with the bridges that stand for cables and switches.
pub const SWITCH: &str = "switch";

/// The namespace labgate runs in.
pub const GATEWAY: &str = "gateway";

/// What the keeper is told: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What to build.
    pub home: Home,
    /// Where the machines' own files lie.
    pub work: PathBuf,
}

/// What the keeper answers once everything stands: one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The keeper's process.
    pub keeper: i32,
    /// Whether the namespaces lie in a user namespace of their own.
    pub rootless: bool,
    /// The namespaces of each machine.
    pub machines: BTreeMap<String, Machine>,
}

/// The namespaces of one machine, as the keeper's file descriptors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Network namespace.
    pub net: i32,
    /// Mount namespace.
    pub mnt: i32,
    /// Inode of the network namespace: the mark of the processes that live there.
    pub inode: u64,
}

impl Kept {
    /// The path that opens the network namespace of a machine.
    pub fn net_path(&self, machine: &str) -> Option<PathBuf> {
        let machine = self.machines.get(machine)?;
        Some(PathBuf::from(format!("/proc/{}/fd/{}", self.keeper, machine.net)))
    }
}

/// First half: leaves the caller's user and mount namespaces, then starts over. The new start matters: only after an `exec` may the
/// unprivileged parent look at this process's file descriptors.
pub fn enter(rootless: bool) -> Result<()> {
    if rootless {
        let (uid, gid) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER).context(
            "this kernel gives no user namespace to an ordinary user (see /proc/sys/user/max_user_namespaces); run as root",
        )?;
        fs::write("/proc/self/setgroups", "deny").context("cannot deny setgroups")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("cannot map the user")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("cannot map the group")?;
    }
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts private")?;
    let error =
        Command::new("/proc/self/exe").args(["lab", "internal", "hold"]).args(rootless.then_some("--rootless")).exec();
    Err(error).context("cannot start the keeper again")
}

/// Second half: builds what the plan on standard input says, tells where it is on standard output, and waits for the end of the input.
pub fn hold(rootless: bool) -> Result<()> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line).context("the keeper's plan cannot be read")?;
    let keeper = Keeper::build(&plan)?;
    let kept = Kept { keeper: std::process::id().cast_signed(), rootless, machines: keeper.machines() };
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &kept)?;
    output.write_all(b"\n")?;
    output.flush()?;
    // The lab's end, whichever way it came, closes this pipe.
    io::copy(&mut input.by_ref(), &mut io::sink())?;
    keeper.end_all();
    let _ = fs::remove_dir_all(&plan.work);
    Ok(())
}

struct Held {
    net: File,
    mnt: File,
    inode: u64,
}

struct Keeper {
    base: File,
    held: BTreeMap<String, Held>,
}

impl Keeper {
    fn build(plan: &Plan) -> Result<Self> {
        let mut keeper = Keeper { base: File::open("/proc/self/ns/mnt")?, held: BTreeMap::new() };
        for name in [SWITCH, GATEWAY].into_iter().chain(plan.home.hosts.iter().map(|host| host.name.as_str())) {
            keeper.make(name, &plan.work).with_context(|| format!("cannot make the namespaces of {name}"))?;
        }
        keeper.ip(SWITCH, &keeper.cables(&plan.home)?)?;
        for (machine, script) in addresses(&plan.home) {
            keeper.ip(&machine, &script)?;
        }
        Ok(keeper)
    }

    fn make(&mut self, name: &str, work: &Path) -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        own_files(name, work)?;
        let net = File::open("/proc/self/ns/net")?;
        let mnt = File::open("/proc/self/ns/mnt")?;
        let inode = net.metadata()?.ino();
        self.held.insert(name.to_owned(), Held { net, mnt, inode });
        setns(&self.base, CloneFlags::CLONE_NEWNS).context("cannot return to the mounts")?;
        Ok(())
    }

    /// The commands that lay all cables, to be run in the switch.
    fn cables(&self, home: &Home) -> Result<String> {
        let mut script = String::from("link set lo up\n");
        let pid = std::process::id();
        for segment in &home.segments {
            let (name, port, gateway) = (&segment.name, &segment.port, self.held(GATEWAY)?.net.as_raw_fd());
            script += &format!("link add {name} type bridge\nlink set {name} up\n");
            script += &format!("link add gw-{name} type veth peer name {port} netns /proc/{pid}/fd/{gateway}\n");
            script += &format!("link set gw-{name} master {name} up\n");
        }
        for host in &home.hosts {
            let (name, mac, segment) = (&host.name, &host.mac, &host.segment);
            if !home.segments.iter().any(|known| known.name == *segment) {
                bail!("host {name} is plugged into the unknown segment {segment}");
            }
            let fd = self.held(name)?.net.as_raw_fd();
            script += &format!("link add p-{name} type veth peer name eth0 address {mac} netns /proc/{pid}/fd/{fd}\n");
            script += &format!("link set p-{name} master {segment} up\n");
        }
        Ok(script)
    }

    fn held(&self, name: &str) -> Result<&Held> {
        self.held.get(name).with_context(|| format!("there is no machine {name}"))
    }

    /// Runs commands of `ip` inside a machine.
    fn ip(&self, machine: &str, script: &str) -> Result<()> {
        setns(&self.held(machine)?.net, CloneFlags::CLONE_NEWNET)?;
        let mut child = Command::new("ip")
            .args(["-batch", "-"])
            .env("PATH", super::join::search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip (package iproute2)")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip failed in {machine}: {}\n{script}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn machines(&self) -> BTreeMap<String, Machine> {
        let machine = |held: &Held| Machine { net: held.net.as_raw_fd(), mnt: held.mnt.as_raw_fd(), inode: held.inode };
        self.held.iter().map(|(name, held)| (name.clone(), machine(held))).collect()
    }

    /// Kills every process that lives in one of the namespaces, until none is left: daemons that left their parents too.
    fn end_all(&self) {
        loop {
            let mut found = false;
            for pid in self.inhabitants() {
                found |= kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
            }
            if !found {
                return;
            }
        }
    }

    fn inhabitants(&self) -> Vec<i32> {
        let own = std::process::id().cast_signed();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|&pid| pid != own && self.lives_here(pid))
            .collect()
    }

    fn lives_here(&self, pid: i32) -> bool {
        let zombie = fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')))
            .unwrap_or(true);
        let inode = fs::metadata(format!("/proc/{pid}/ns/net")).map(|namespace| namespace.ino());
        !zombie && inode.is_ok_and(|inode| self.held.values().any(|held| held.inode == inode))
    }
}

/// Gives the current mount namespace the files a machine has for itself: `/run`, the resolver's file, the clients' lease files.
fn own_files(name: &str, work: &Path) -> Result<()> {
    let own = work.join("machines").join(name);
    let run = own.join("run");
    fs::create_dir_all(&run)?;
    let resolv = own.join("resolv.conf");
    let resolvers = if name == GATEWAY { format!("nameserver {UPSTREAM}\n") } else { String::new() };
    fs::write(&resolv, &resolvers)?;
    // Where the machine's file is a link into /run, it must be found in the new /run.
    match fs::canonicalize("/etc/resolv.conf") {
        Ok(target) if target.starts_with("/run") => {
            let inside = run.join(target.strip_prefix("/run").unwrap_or(&target));
            fs::create_dir_all(inside.parent().unwrap_or(&run))?;
            fs::write(&inside, &resolvers)?;
            fs::remove_file(&resolv)?;
            fs::hard_link(&inside, &resolv)?;
        }
        Ok(target) => bind(&resolv, &target)?,
        Err(_) => {}
    }
    bind(&run, Path::new("/run"))?;
    for folder in ["/var/lib/dhcp", "/var/lib/dhcpcd"] {
        if Path::new(folder).is_dir() {
            let own = own.join(folder.trim_start_matches('/').replace('/', "-"));
            fs::create_dir_all(&own)?;
            bind(&own, Path::new(folder))?;
        }
    }
    // Clients look at interfaces there too; read-only tells systemd-networkd that there is no udev. Not every container allows it.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::MS_RDONLY, None::<&str>);
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot put {} over {}", from.display(), to.display()))
}

/// The commands that give each machine its own settings.
fn addresses(home: &Home) -> Vec<(String, String)> {
    let mut gateway = String::from("link set lo up\n");
    for (interface, address) in &home.gateway_addresses {
        gateway += &format!("link set {interface} up\naddr add {address} dev {interface}\n");
    }
    if let Some(router) = home.gateway_router {
        gateway += &format!("route add default via {router}\n");
    }
    let mut all = vec![(GATEWAY.to_owned(), gateway)];
    for host in &home.hosts {
        let mut script = String::from("link set lo up\nlink set eth0 up\n");
        if let Addressing::Fixed(addresses, router) = &host.addressing {
            for (interface, address) in addresses {
                script += &format!("addr add {address} dev {interface}\n");
            }
            if let Some(router) = router {
                script += &format!("route add default via {router}\n");
            }
        }
        all.push((host.name.clone(), script));
    }
    all
}
