//! The pictures: each has one writer, and whoever needs it reads the latest one. Level, not edge: a slow reader skips pictures and is still right.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::standing::Standing;
use super::usage::Meter;
use crate::config::Config;
use crate::desired::network::UplinkAddress;
use crate::dns::LocalNames;
use crate::dns::outside::Resolved;
use crate::firewall::{Ruleset, SetElements};
use crate::model::Links;
use crate::model::{Bindings, UnixSeconds};

/// Folders and files of this instance, from the command line or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The person's file.
    pub config: PathBuf,
    /// What must survive a reboot: the lease store, the last lease of the uplink, the last addresses of outside names.
    pub state: PathBuf,
    /// What must not: `control.sock`.
    pub runtime: PathBuf,
}

/// What the uplink learned from its DHCP server or the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Resolvers, in order of preference.
    pub resolvers: Vec<Ipv4Addr>,
    /// A sentence for `labgate status`.
    pub state: String,
    /// What our own DHCP client holds there.
    pub address: UplinkAddress,
}

/// How one subsystem is, for `labgate status`: each task writes its own row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Health {
    /// Whether it does all it should.
    pub good: bool,
    /// One sentence: what it does, or what hinders it and what helps.
    pub words: String,
}

/// What nft has.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The configuration the kernel's table was made from; `None` before the first.
    pub config: Option<Arc<Config>>,
    /// The configuration that the kernel refused last, and its words; gone as soon as one is taken.
    pub refused: Option<(Arc<Config>, String)>,
    /// When the table was last replaced, on the wall clock.
    pub replaced_unix: UnixSeconds,
    /// Chains and sets as they stand in the kernel.
    pub ruleset: Arc<Ruleset>,
    /// Set elements as they stand in the kernel.
    pub elements: Arc<SetElements>,
    /// The leases that the elements were made from.
    pub bindings: Bindings,
    /// The outside names that the elements were made from.
    pub resolved: Arc<Resolved>,
}

/// All pictures, and the folders.
pub struct Pictures {
    /// Where things are.
    pub paths: Paths,
    /// The running configuration. Writer: `daemon::change`.
    pub config: watch::Sender<Arc<Config>>,
    /// All live leases. Writer: the DHCP task, through `daemon::dhcp`.
    pub bindings: watch::Sender<Bindings>,
    /// Has seen the bindings of before the DHCP task began.
    no_bindings: watch::Receiver<Bindings>,
    /// Interfaces of the kernel. Writer: the network task.
    pub links: watch::Sender<Arc<Links>>,
    /// What the uplink learned. Writer: the uplink task.
    pub uplink: watch::Sender<Arc<Uplink>>,
    /// Names that are answered locally. Two writers, `daemon::change` for the fixed part and the DHCP task for leases, so changes go through
    /// [`Pictures::update_names`].
    pub names: ArcSwap<LocalNames>,
    names_writer: Mutex<()>,
    /// Addresses of the outside names that rules mention. Writer: the DNS task, before the asker hears the answer.
    pub resolved: watch::Sender<Arc<Resolved>>,
    /// Held while the configuration changes: one change at a time.
    pub changing: tokio::sync::Mutex<()>,
    /// Which revision runs, and which waits. Writer: whoever holds `changing`.
    pub standing: watch::Sender<Arc<Standing>>,
    /// What is wrong with the file as it stands, rendered, when an older one is running because of it. Writer: `daemon::change`.
    pub rejected: watch::Sender<Option<Arc<str>>>,
    /// What the kernel's table was made from. Writer: reconcile.
    pub applied: watch::Sender<Applied>,
    /// What rules and forwards have counted. Whoever changes elements in the kernel holds it meanwhile.
    pub meter: tokio::sync::Mutex<Meter>,
    /// Health by subsystem (`dhcp`, `dns`, `names`, `firewall`, `network`, `uplink`, `config`, and finer: `dhcp lan`).
    pub health: watch::Sender<Arc<std::collections::BTreeMap<String, Health>>>,
}

impl Pictures {
    /// Empty pictures around a first configuration.
    pub fn new(paths: Paths, config: Arc<Config>) -> Self {
        let bindings = watch::Sender::default();
        Pictures {
            paths,
            config: watch::Sender::new(config),
            no_bindings: bindings.subscribe(),
            bindings,
            links: watch::Sender::default(),
            uplink: watch::Sender::default(),
            names: ArcSwap::default(),
            names_writer: Mutex::default(),
            resolved: watch::Sender::default(),
            changing: tokio::sync::Mutex::default(),
            standing: watch::Sender::default(),
            rejected: watch::Sender::default(),
            applied: watch::Sender::default(),
            meter: tokio::sync::Mutex::default(),
            health: watch::Sender::default(),
        }
    }

    /// Whether the leases of before the start have been read: until then no binding means nothing.
    pub fn leases_are_known(&self) -> bool {
        self.no_bindings.has_changed().unwrap_or(false)
    }

    /// Changes the local names; readers see the old or the new ones, whole.
    pub fn update_names<R>(&self, change: impl FnOnce(&LocalNames) -> (LocalNames, R)) -> R {
        let _alone = self.names_writer.lock().unwrap_or_else(|poison| poison.into_inner());
        let (names, result) = change(&self.names.load());
        self.names.store(Arc::new(names));
        result
    }

    /// Writes one row of the health table; readers wake only where it changed. Where it turns bad, or good again, the log says so once.
    pub fn report(&self, subsystem: &str, good: bool, words: impl Into<String>) {
        let row = Health { good, words: words.into() };
        let mut before = None;
        let changed = self.health.send_if_modified(|table| {
            before = table.get(subsystem).map(|row| row.good);
            if table.get(subsystem) == Some(&row) {
                return false;
            }
            Arc::make_mut(table).insert(subsystem.to_owned(), row.clone());
            true
        });
        match (before, row.good) {
            (Some(true) | None, false) if changed => tracing::warn!("{subsystem}: {}", row.words),
            (Some(false), true) if changed => tracing::info!("{subsystem}: {}", row.words),
            _ => {}
        }
    }

    /// Takes a row out of the health table.
    pub fn forget_report(&self, subsystem: &str) {
        self.health.send_if_modified(|table| {
            table.contains_key(subsystem) && Arc::make_mut(table).remove(subsystem).is_some()
        });
    }
}
