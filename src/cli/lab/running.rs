//! A running lab, as the verbs and the end-to-end tests use them.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::client::Client;
use super::gateway::Gateway;
use super::home::{Addressing, Home, Service};
use super::keeper::{Kept, Plan};
use super::lines::Lines;

/// How long a machine may take to do what it is started for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a lab is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The labgate program, started for the gateway and as the helper inside the namespaces.
    pub labgate: PathBuf,
    /// Machines and cables.
    pub home: Home,
    /// The gateway's file.
    pub config: String,
    /// Use a user namespace even where the caller is root.
    pub rootless: bool,
    /// Show the gateway's log on standard error as it comes.
    pub show_log: bool,
}

impl Options {
    /// The built-in home with the built-in file.
    pub fn new(labgate: impl Into<PathBuf>) -> Self {
        Options {
            labgate: labgate.into(),
            home: Home::built_in(),
            config: super::home::BUILT_IN_CONFIG.to_owned(),
            rootless: !geteuid().is_root(),
            show_log: false,
        }
    }

    /// The same with another file for the gateway.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self
    }

    /// The same with other machines.
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }
}

/// A running lab. Its end, however it comes, ends everything in it.
pub struct Lab {
    options: Options,
    kept: Kept,
    keeper: Child,
    work: PathBuf,
    services: Vec<Child>,
    gateway: Option<Gateway>,
    clients: Vec<(String, Client)>,
}

impl Lab {
    /// Everything: the namespaces, the services, the gateway until it says READY, and a lease for every client.
    pub fn start(options: Options) -> Result<Self> {
        let mut lab = Lab::lay(options)?;
        lab.start_gateway()?;
        lab.start_clients()?;
        Ok(lab)
    }

    /// The namespaces, cables and services alone, without gateway and clients.
    pub fn lay(options: Options) -> Result<Self> {
        let work = work_folder()?;
        let prepared = (|| -> Result<(Child, Kept)> {
            for folder in ["etc", "state", "run"] {
                fs::create_dir(work.join(folder))?;
            }
            fs::write(work.join("etc/labgate.toml"), &options.config)?;
            start_keeper(&options, &work)
        })();
        let (keeper, kept) = match prepared {
            Ok(both) => both,
            Err(error) => {
                let _ = fs::remove_dir_all(&work);
                return Err(error);
            }
        };
        let (services, gateway, clients) = (Vec::new(), None, Vec::new());
        let mut lab = Lab { options, kept, keeper, work, services, gateway, clients };
        lab.start_services()?;
        Ok(lab)
    }

    /// Starts `labgate run` in the gateway and waits until it says READY.
    pub fn start_gateway(&mut self) -> Result<()> {
        self.gateway = None;
        self.gateway = Some(Gateway::start(self)?);
        Ok(())
    }

    /// Starts the gateway without waiting for READY: its end or its lines tell what became of it.
    pub fn spawn_gateway(&self) -> Result<Gateway> {
        Gateway::spawn(self)
    }

    /// The running gateway.
    pub fn gateway(&mut self) -> Result<&mut Gateway> {
        self.gateway.as_mut().context("the gateway is not running")
    }

    /// What the gateway wrote so far.
    pub fn log(&self) -> Lines {
        self.gateway.as_ref().map(|gateway| gateway.lines.clone()).unwrap_or_default()
    }

    /// Starts a DHCP client on each machine that has its address from DHCP, and waits for all leases.
    pub fn start_clients(&mut self) -> Result<()> {
        let names: Vec<String> = self
            .options
            .home
            .hosts
            .iter()
            .filter(|host| matches!(host.addressing, Addressing::Dhcp))
            .map(|host| host.name.clone())
            .collect();
        for name in &names {
            let client = Client::start(&self.host(name)?)?;
            self.clients.push((name.clone(), client));
        }
        for (name, client) in &mut self.clients {
            client.bound(PATIENCE).with_context(|| format!("{name} got no lease"))?;
        }
        Ok(())
    }

    /// The DHCP client that was started for a machine.
    pub fn client(&mut self, name: &str) -> Result<&mut Client> {
        let found = self.clients.iter_mut().find(|(of, _)| of == name);
        Ok(&mut found.with_context(|| format!("no DHCP client runs on {name}"))?.1)
    }

    /// Where the gateway's file lies.
    pub fn config_path(&self) -> PathBuf {
        self.work.join("etc/labgate.toml")
    }

    /// The lab's own folder: `etc`, `state` and `run` of the gateway, `machines/NAME` of the others.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Where the namespaces are, for another process.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Replaces the gateway's file as editors do: a new file, renamed over the old one.
    pub fn edit(&self, text: &str) -> Result<()> {
        let new = self.work.join("etc/.labgate.toml.new");
        fs::write(&new, text)?;
        fs::rename(new, self.config_path())?;
        Ok(())
    }

    /// How often the upstream was asked for a name: what did not come from labgate's cache.
    pub fn upstream_queries(&self, name: &str) -> usize {
        let asked = fs::read_to_string(self.work.join("machines/internet/queries")).unwrap_or_default();
        asked.lines().filter(|line| line.split(' ').next() == Some(name)).count()
    }

    /// Tells the upstream what to say from now on: lines `NAME TTL ADDRESS…` and `NAME failure`, before what it says of itself.
    pub fn tell_upstream(&self, lines: &str) -> Result<()> {
        let folder = self.work.join("machines/internet");
        fs::write(folder.join("zone.new"), lines)?;
        Ok(fs::rename(folder.join("zone.new"), folder.join("zone"))?)
    }

    fn start_services(&mut self) -> Result<()> {
        let mut waiting = Vec::new();
        for host in &self.options.home.hosts {
            for service in &host.services {
                let machine = self.host(&host.name)?;
                let mut command = machine.labgate(&["lab", "internal", "serve", "--name", &host.name]);
                match service {
                    Service::Dns(address) => {
                        let log = self.work.join("machines").join(&host.name).join("queries");
                        command.arg("dns").arg(address.to_string()).arg(log)
                    }
                    Service::Provider(interface) => command.arg("provider").arg(interface),
                    Service::Web(port) => command.arg("web").arg(port.to_string()),
                    Service::Echo(port) => command.arg("echo").arg(port.to_string()),
                };
                let mut child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
                waiting.push((host.name.clone(), child.stdout.take()));
                self.services.push(child);
            }
        }
        for (name, stdout) in waiting {
            let mut line = String::new();
            BufReader::new(stdout.context("a service has no output")?).read_line(&mut line)?;
            if line.trim() != "ready" {
                bail!("a service of {name} did not start");
            }
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.clients.clear();
        self.gateway = None;
        // The keeper ends everything that is left once its input ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        for service in &mut self.services {
            let _ = service.wait();
        }
        let _ = fs::remove_dir_all(&self.work);
    }
}

fn work_folder() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let temp = std::env::temp_dir();
    loop {
        let path = temp.join(format!("labgate-lab.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        match fs::DirBuilder::new().mode(0o711).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

fn start_keeper(options: &Options, work: &Path) -> Result<(Child, Kept)> {
    let mut keeper = Command::new(&options.labgate)
        .args(["lab", "internal", "keep"])
        .args(options.rootless.then_some("--rootless"))
        // Ctrl-C is for the lab alone; the keeper ends when the lab does.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", options.labgate.display()))?;
    let plan = Plan { home: options.home.clone(), work: work.to_owned() };
    let mut line = String::new();
    let told = (|| -> Result<Kept> {
        let stdin = keeper.stdin.as_mut().context("the keeper has no input")?;
        stdin.write_all(format!("{}\n", serde_json::to_string(&plan)?).as_bytes())?;
        let stdout = keeper.stdout.take().context("the keeper has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    })();
    match told {
        Ok(kept) => Ok((keeper, kept)),
        Err(_) => {
            let output = keeper.wait_with_output()?;
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("the virtual home cannot be built: {}", words.trim())
        }
    }
}
