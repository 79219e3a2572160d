//! Hidden verbs: the program starts itself again for what must be a process of its own.

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::reach::Attempt;
use super::{hold, join, keeper, knock, load, serve, transfer};

/// `labgate lab internal …`.
#[derive(Debug, Args)]
pub struct InternalArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Leave the caller's namespaces and become the keeper
    Keep {
        #[arg(long)]
        rootless: bool,
    },
    /// The keeper
    Hold {
        #[arg(long)]
        rootless: bool,
    },
    /// Enter a machine and become a command
    Join {
        #[arg(long)]
        keeper: i32,
        #[arg(long)]
        net: i32,
        #[arg(long)]
        mnt: i32,
        #[arg(long)]
        rootless: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Be a service
    Serve {
        #[arg(long)]
        name: String,
        #[command(subcommand)]
        service: ServeWhat,
    },
    /// Open one TCP connection and tell how it went
    Connect { target: String },
    /// Be many DHCP clients
    Load { interface: String },
    /// Move bytes until told to stop
    Transfer { target: String },
    /// Open TCP connections one after another until told to stop
    Knock { target: SocketAddr },
    /// Hold many TCP connections
    HoldOpen,
}

#[derive(Debug, Subcommand)]
enum ServeWhat {
    Dns { address: Ipv4Addr, log: PathBuf },
    Web { port: u16 },
    Echo { port: u16 },
    Provider { interface: String },
}

/// Plays the role.
pub fn run(args: InternalArgs) -> Result<()> {
    // A thousand connections are more files than a process may have unasked.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    match args.role {
        Role::Keep { rootless } => keeper::enter(rootless),
        Role::Hold { rootless } => keeper::hold(rootless),
        Role::Join { keeper, net, mnt, rootless, command } => join::join(keeper, net, mnt, rootless, &command, &[]),
        Role::Serve { name, service } => match service {
            ServeWhat::Dns { address, log } => serve::dns(address, &log),
            ServeWhat::Web { port } => serve::web(&name, port),
            ServeWhat::Echo { port } => serve::echo(&name, port),
            ServeWhat::Provider { interface } => serve::provider(&interface),
        },
        Role::Connect { target } => {
            let mut out = std::io::stdout();
            serde_json::to_writer(&mut out, &Attempt::make(&target))?;
            Ok(out.write_all(b"\n")?)
        }
        Role::Load { interface } => load::run(&interface),
        Role::Transfer { target } => transfer::run(&target),
        Role::Knock { target } => knock::run(target),
        Role::HoldOpen => hold::run(),
    }
}
