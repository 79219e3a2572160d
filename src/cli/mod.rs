//! Floor 6: the verbs. Each prints text for a person, or one JSON document with `--json`.

pub mod counted;
mod doctor;
mod init;
pub mod lab;
mod show;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::daemon::Paths;

/// Exit code of an error.
const ERROR: u8 = 1;

/// The brain of a home-lab router: DHCP, DNS, NAT and a zone firewall from one TOML file.
#[derive(Debug, Parser)]
#[command(
    name = "labgate",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The configuration file
    #[arg(
        long,
        global = true,
        env = "LABGATE_CONFIG",
        default_value = "/etc/labgate/labgate.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// Folder of what survives a reboot: leases, the last good configuration
    #[arg(long, global = true, env = "LABGATE_STATE_DIR", default_value = "/var/lib/labgate", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Folder of the control socket
    #[arg(long, global = true, env = "LABGATE_RUNTIME_DIR", default_value = "/run/labgate", value_name = "DIR")]
    pub runtime_dir: PathBuf,
    /// Print one JSON document
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    fn paths(&self) -> Paths {
        Paths { config: self.config.clone(), state: self.state_dir.clone(), runtime: self.runtime_dir.clone() }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway in the foreground
    Run,
    /// Find the interfaces and write a first configuration
    Init(init::InitArgs),
    /// Check a file: syntax, meaning and everything across the subsystems
    Check {
        /// The file; the running configuration's where none is given
        file: Option<PathBuf>,
        /// Show what nobody has to mend, too
        #[arg(long)]
        hints: bool,
    },
    /// Print the JSON schema of the file, for editors
    Schema,
    /// Tell how everything is: exit 0 good, 1 degraded
    Status,
    /// Look for what hinders the gateway, the likely cause first, with evidence and fix: exit 0 good, 1 degraded
    Doctor,
    /// List the live leases
    Leases,
    /// List every device that is configured, leased to or seen
    Hosts,
    /// List the rules with their counters, the time of the last hit, and hints where a rule is wider than its use
    Rules {
        /// Also what holds with nothing written: internet, DNS, admin
        #[arg(long)]
        all: bool,
    },
    /// List the port forwards with their counters and the time of the last hit
    Forwards,
    /// Tell the way of one packet and the line that decides: exit 0 allowed, 3 denied
    Explain {
        /// Who opens the connection: host, network, address, internet
        from: String,
        /// To whom: host, network, address, internet, router, with :PORT
        to: String,
        /// tcp, udp or icmp
        #[arg(long, default_value = "tcp")]
        proto: String,
    },
    /// Make the running gateway read its file again
    Reload,
    /// Remove the firewall table, addresses and settings that labgate made
    Teardown,
    /// Load a closed firewall before the network is up (for labgate-early.service)
    #[command(hide = true)]
    Early,
    /// Start a virtual home to try labgate in, or act inside one
    Lab(lab::LabArgs),
    /// Explain a problem of the file by its slug; without one, list them
    Help {
        /// As in error[SLUG], or the name of a verb
        slug: Option<String>,
    },
    /// Print the completions of a shell
    Completions {
        /// bash, zsh, fish, elvish, powershell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// The whole program: arguments → verb → exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = cli.common;
    let result = match cli.verb {
        Verb::Run => verbs::run(&common),
        Verb::Init(args) => init::run(&common, &args),
        Verb::Check { file, hints } => verbs::check(&common, file.as_deref(), hints),
        Verb::Schema => verbs::schema(),
        Verb::Status => verbs::status(&common),
        Verb::Doctor => doctor::run(&common),
        Verb::Leases => verbs::leases(&common),
        Verb::Hosts => verbs::hosts(&common),
        Verb::Rules { all } => verbs::rules(&common, all),
        Verb::Forwards => verbs::forwards(&common),
        Verb::Explain { from, to, proto } => verbs::explain(&common, from, to, proto),
        Verb::Reload => verbs::reload(&common),
        Verb::Teardown => verbs::teardown(&common),
        Verb::Early => verbs::early(&common),
        Verb::Lab(args) => lab::run(&common, args),
        Verb::Help { slug } => verbs::help(&common, slug.as_deref()),
        Verb::Completions { shell } => verbs::completions(shell),
        Verb::Man => verbs::man(),
    };
    result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        if common.json {
            println!("{}", serde_json::json!({ "error": format!("{error:#}") }));
        }
        eprintln!("labgate: {error:#}");
        ExitCode::from(ERROR)
    })
}

/// Whether the reader of our output went away, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
