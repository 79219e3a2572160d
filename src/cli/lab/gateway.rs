//! `labgate run` inside the gateway's namespaces: started, waited for, asked, killed.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lines::Lines;
use super::running::{Lab, PATIENCE};

/// A running `labgate run`. Dropping it kills the process.
pub struct Gateway {
    child: Child,
    notify: UnixDatagram,
    notify_path: PathBuf,
    /// What it tells the service manager.
    told: Lines,
    /// What it writes to standard output and standard error.
    pub lines: Lines,
}

impl Gateway {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let mut gateway = Gateway::spawn(lab)?;
        gateway.ready(PATIENCE)?;
        Ok(gateway)
    }

    pub(super) fn spawn(lab: &Lab) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let notify_path = lab.work().join(format!("notify.{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let notify = UnixDatagram::bind(&notify_path).context("cannot listen for READY")?;
        let mut child = verb(lab, &["run"])?
            .env("NOTIFY_SOCKET", &notify_path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = Lines::default();
        let show = lab.options().show_log;
        let print = move |line: &str| {
            if show {
                eprintln!("  {line}");
            }
        };
        if let Some(stdout) = child.stdout.take() {
            lines.follow(stdout, print);
        }
        if let Some(stderr) = child.stderr.take() {
            lines.follow(stderr, print);
        }
        let told = Lines::default();
        follow(notify.try_clone()?, told.clone());
        Ok(Gateway { child, notify, notify_path, told, lines })
    }

    /// Waits for the READY that systemd would wait for.
    pub fn ready(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            // A short wait at a time: a gateway that ends instead must be noticed.
            if self.told.wait(0, Duration::from_millis(100), |line| line == "READY=1").is_some() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                self.lines.wait(0, Duration::from_secs(2), |_| false);
                bail!("labgate run ended before it was ready ({status}):\n{}", self.lines.all().join("\n"));
            }
        }
        bail!("labgate run was not ready in {within:?}:\n{}", self.lines.all().join("\n"))
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()), signal)?)
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        self.lines.wait(usize::MAX, within, |_| false);
        // Its output is closed a moment before its exit code is there.
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::yield_now();
        }
        bail!("labgate run did not end in {within:?}:\n{}", self.lines.all().join("\n"))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended(PATIENCE)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.notify.shutdown(std::net::Shutdown::Both);
        let _ = std::fs::remove_file(&self.notify_path);
    }
}

/// Reads on after READY too, as a service manager does: who tells it of a reload would wait for ever once the socket is full.
fn follow(notify: UnixDatagram, told: Lines) {
    std::thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length @ 1..) = notify.recv(&mut message) {
            String::from_utf8_lossy(&message[..length]).lines().for_each(|line| told.push(line.to_owned()));
        }
    });
}

/// A verb of labgate inside the gateway, with the paths of this lab.
pub fn verb(lab: &Lab, words: &[&str]) -> Result<Command> {
    let mut command = lab.router()?.labgate(words);
    command.envs(settings(lab.work())).stdin(Stdio::null());
    Ok(command)
}

/// The paths of the gateway of a lab, as the environment names them.
pub fn settings(work: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("LABGATE_CONFIG", work.join("etc/labgate.toml")),
        ("LABGATE_STATE_DIR", work.join("state")),
        ("LABGATE_RUNTIME_DIR", work.join("run")),
    ]
}

impl Lab {
    /// Runs a verb of labgate inside the gateway and reads its JSON document, whatever the exit code.
    pub fn ask(&self, words: &[&str]) -> Result<serde_json::Value> {
        let output = verb(self, words)?.arg("--json").output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            format!("labgate {words:?} --json gave no JSON ({}): {out}{err}", output.status)
        })
    }
}
