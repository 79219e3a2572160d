//! One machine of a running lab: commands run in it, connections are opened from it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use super::join;
use super::keeper::{GATEWAY, SWITCH};
use super::reach::Attempt;
use super::running::Lab;

/// One machine of a running lab.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Its lab.
    pub lab: &'a Lab,
    name: &'a str,
}

impl Lab {
    /// A machine: a host of the home, `gateway` or `switch`.
    pub fn host(&self, name: &str) -> Result<Host<'_>> {
        match self.kept().machines.get_key_value(name) {
            Some((name, _)) => Ok(Host { lab: self, name }),
            None => {
                let known: Vec<&str> = self.kept().machines.keys().map(String::as_str).collect();
                bail!("there is no machine {name}; there are {}", known.join(", "))
            }
        }
    }

    /// The gateway's namespace, whether labgate runs there or not.
    pub fn router(&self) -> Result<Host<'_>> {
        self.host(GATEWAY)
    }

    /// The namespace with the bridges.
    pub fn switch(&self) -> Result<Host<'_>> {
        self.host(SWITCH)
    }
}

impl Host<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The folder with its own files: `run` is its `/run`.
    pub fn folder(&self) -> PathBuf {
        self.lab.work().join("machines").join(self.name)
    }

    /// The path that opens its network namespace.
    pub fn net_path(&self) -> PathBuf {
        self.lab.kept().net_path(self.name).unwrap_or_default()
    }

    /// A command that will run here. Killing the child kills the command itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        join::command(&self.lab.options().labgate, self.lab.kept(), self.lab.kept().machines[self.name], program)
    }

    /// labgate's own program, here.
    pub fn labgate(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.lab.options().labgate);
        command.args(arguments);
        command
    }

    /// Runs a command to its end and gives what it said, whatever its exit code.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let (program, arguments) = words.split_first().context("no command is given")?;
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output();
        output.with_context(|| format!("cannot run {words:?} on {}", self.name))
    }

    /// Runs a command that must succeed, and gives its standard output.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{words:?} on {} failed ({}): {out}{err}", self.name, output.status);
        }
        Ok(out.into_owned())
    }

    /// Opens a TCP connection from here to `HOST:PORT`, the name resolved as any program here would.
    pub fn connect(&self, target: &str) -> Result<Attempt> {
        let output = self.labgate(&["lab", "internal", "connect", target]).stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("no result of the connection to {target}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// The IPv4 address of `eth0`.
    pub fn address(&self) -> Result<std::net::Ipv4Addr> {
        let text = self.run(&["ip", "-4", "-o", "addr", "show", "dev", "eth0", "scope", "global"])?;
        let address = text.split_whitespace().skip_while(|word| *word != "inet").nth(1);
        let address = address.and_then(|cidr| cidr.split('/').next()).and_then(|ip| ip.parse().ok());
        address.with_context(|| format!("{} has no address", self.name))
    }
}
