//! What the control socket tells: the pictures as documents. The command line prints the same documents as text.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counted::{self, Counted};
use super::pictures::{Health, Pictures};
use super::revisions;
use super::standing::Waiting;
use crate::config::{Config, Host};
use crate::desired;
use crate::dns::outside::Resolved;
use crate::firewall::{self, Policy};
use crate::linux::{clock, neighbours, vendors};
use crate::model::{Binding, DomainName, MacAddr, Now, UnixSeconds};

/// `labgate status`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// `good` or `degraded`.
    pub state: String,
    /// Of the running program.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// The file that is steered by.
    pub config: String,
    /// The revision that runs.
    pub revision: u64,
    /// That it waits to be confirmed.
    pub waiting: Option<Waiting>,
    /// What is wrong with the file as it stands, when an older one is running because of it.
    pub rejected: Option<String>,
    /// In which way the file is not what runs, where it could be used.
    pub file: Option<String>,
    /// When the firewall's table was last replaced, on the wall clock.
    pub ruleset_replaced_unix: UnixSeconds,
    /// Each subsystem's own word.
    pub subsystems: BTreeMap<String, Health>,
    /// The uplink, in words.
    pub uplink: String,
    /// Resolvers that the uplink learned.
    pub resolvers: Vec<Ipv4Addr>,
    /// The networks.
    pub networks: Vec<NetworkRow>,
    /// Outside names that rules mention.
    pub names: Vec<NameRow>,
}

/// One network in [`Status`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkRow {
    /// `network.NAME`.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// The router's address there.
    pub address: String,
    /// The interface is there and has a carrier.
    pub up: bool,
    /// Live leases.
    pub leases: usize,
}

/// One outside name in [`Status`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NameRow {
    /// The name.
    pub name: String,
    /// Its addresses, in order.
    pub addresses: Vec<Ipv4Addr>,
    /// Seconds since the last good answer; `None`: there never was one.
    pub age_seconds: Option<u64>,
    /// Why lookups fail since then.
    pub failure: Option<String>,
}

/// Builds `labgate status`.
pub fn status(pictures: &Pictures) -> Status {
    let config = pictures.config.borrow().clone();
    let links = pictures.links.borrow().clone();
    let mut leases: HashMap<Arc<str>, usize> = HashMap::new();
    for (_, binding) in pictures.bindings.borrow().iter() {
        *leases.entry(binding.network.clone()).or_default() += 1;
    }
    let networks = config.networks.iter().map(|network| NetworkRow {
        name: network.name.to_string(),
        interface: network.link().to_string(),
        address: network.address.to_string(),
        up: links.by_name.get(network.link()).is_some_and(|link| link.up && link.carrier),
        leases: leases.get(&network.name).copied().unwrap_or(0),
    });
    let subsystems = (**pictures.health.borrow()).clone();
    let uplink = pictures.uplink.borrow().clone();
    let rejected = pictures.rejected.borrow().as_ref().map(|text| text.to_string());
    let standing = pictures.standing.borrow().clone();
    let waiting = standing.waiting(&clock::moment());
    let file = if rejected.is_none() { revisions::file_differs(pictures, &standing) } else { None };
    let good =
        rejected.is_none() && (file.is_none() || waiting.is_some()) && subsystems.values().all(|health| health.good);
    Status {
        state: if good { "good" } else { "degraded" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config: pictures.paths.config.display().to_string(),
        revision: standing.record.running(),
        waiting,
        rejected,
        file,
        ruleset_replaced_unix: pictures.applied.borrow().replaced_unix,
        subsystems,
        uplink: uplink.state.clone(),
        resolvers: uplink.resolvers.clone(),
        networks: networks.collect(),
        names: names(&config, &pictures.resolved.borrow()),
    }
}

fn names(config: &Config, resolved: &Resolved) -> Vec<NameRow> {
    let now = clock::now();
    let row = |name: &DomainName| NameRow {
        name: name.to_string(),
        addresses: resolved.addresses(name).collect(),
        age_seconds: resolved.get(name).and_then(|known| known.age(now)).map(|age| age.as_secs()),
        failure: resolved.get(name).and_then(|known| known.failure).map(|failure| failure.why.to_owned()),
    };
    config.outside_names.iter().map(|outside| row(&outside.name)).collect()
}

/// One row of `labgate leases`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// The leased address.
    pub address: Ipv4Addr,
    /// The configured host's name, or the name the device gave itself.
    pub name: Option<String>,
    /// `network.NAME`.
    pub network: String,
    /// Hardware address, where it is Ethernet.
    pub mac: Option<String>,
    /// Client identifier or hardware address, in hexadecimal.
    pub client: String,
    /// `reserved` or `dynamic`.
    pub how: String,
    /// Seconds the lease still lasts; `None`: without end.
    pub remaining_seconds: Option<u64>,
    /// Its end on the wall clock.
    pub expires_unix: Option<UnixSeconds>,
}

/// Builds `labgate leases`, by address.
pub fn leases(pictures: &Pictures) -> Vec<Lease> {
    let config = pictures.config.borrow().clone();
    let index = HostIndex::new(&config);
    let now = clock::now();
    let mut rows: Vec<Lease> =
        pictures.bindings.borrow().iter().map(|(_, binding)| lease(binding, &index, now)).collect();
    rows.sort_by_key(|row| row.address);
    rows
}

fn lease(binding: &Binding, index: &HostIndex, now: Now) -> Lease {
    let host = index.of(binding);
    Lease {
        address: binding.address,
        name: host
            .map(|host| host.name.to_string())
            .or_else(|| binding.host_name.as_ref().map(|name| name.to_string())),
        network: binding.network.to_string(),
        mac: binding.mac.map(|mac| mac.to_string()),
        client: format!("{:?}", binding.client),
        how: if host.is_some_and(|host| host.ip == Some(binding.address)) { "reserved" } else { "dynamic" }.to_owned(),
        remaining_seconds: binding.expires.map(|end| end.saturating_sub(now.instant).as_secs()),
        expires_unix: binding.expires_unix,
    }
}

/// Configured hosts by what identifies them.
struct HostIndex<'a> {
    by_mac: HashMap<MacAddr, &'a Host>,
    by_client_id: HashMap<&'a [u8], &'a Host>,
}

impl<'a> HostIndex<'a> {
    fn new(config: &'a Config) -> Self {
        let by_mac = config.hosts.iter().flat_map(|host| host.macs.iter().map(move |mac| (*mac, host))).collect();
        let by_client_id = config.hosts.iter().filter_map(|host| Some((host.client_id.as_deref()?, host))).collect();
        HostIndex { by_mac, by_client_id }
    }

    fn of(&self, binding: &Binding) -> Option<&'a Host> {
        let by_id = binding.client.identifier().and_then(|id| self.by_client_id.get(id).copied());
        by_id.or_else(|| self.by_mac.get(&binding.mac?).copied())
    }
}

/// One row of `labgate hosts`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// Configured name, or the device's own; `None`: nameless.
    pub name: Option<String>,
    /// Its address now, or the reserved one.
    pub address: Option<Ipv4Addr>,
    /// Network the address lies in.
    pub network: Option<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Who made it; `private` where the device made the address up.
    pub vendor: Option<String>,
    /// `reserved`, `lease`, `static` (seen without a lease).
    pub how: String,
    /// Seconds the lease still lasts.
    pub remaining_seconds: Option<u64>,
    /// Whether the neighbour table holds it now.
    pub seen: bool,
    /// What is odd about it.
    pub note: Option<String>,
}

/// Builds `labgate hosts`: what is reserved, leased or seen, each device once, by address.
pub fn hosts(pictures: &Pictures) -> Vec<Device> {
    let config = pictures.config.borrow().clone();
    let index = HostIndex::new(&config);
    let now = clock::now();
    let seen: HashMap<Ipv4Addr, MacAddr> =
        neighbours::read().into_iter().map(|seen| (seen.address, seen.mac)).collect();
    let vendors = vendors::load();
    let network_of = |address: Ipv4Addr| config.networks.iter().find(|network| network.address.contains(&address));
    let device = |address: Option<Ipv4Addr>, mac: Option<MacAddr>, how: &str| Device {
        name: None,
        address,
        network: address.and_then(network_of).map(|network| network.name.to_string()),
        mac: mac.map(|mac| mac.to_string()),
        vendor: mac.and_then(|mac| vendors.name(mac)),
        how: how.to_owned(),
        remaining_seconds: None,
        seen: address.is_some_and(|address| seen.contains_key(&address)),
        note: None,
    };
    let mut rows: BTreeMap<(Option<Ipv4Addr>, String), Device> = BTreeMap::new();
    for host in &config.hosts {
        let mut row = device(host.ip, host.macs.first().copied(), if host.ip.is_some() { "reserved" } else { "named" });
        row.name = Some(host.name.to_string());
        rows.insert((host.ip, if host.ip.is_some() { String::new() } else { host.name.to_string() }), row);
    }
    for (address, binding) in pictures.bindings.borrow().iter() {
        let host = index.of(binding);
        let mut row = device(
            Some(*address),
            binding.mac,
            if host.is_some_and(|host| host.ip == Some(*address)) { "reserved" } else { "lease" },
        );
        row.name =
            host.map(|host| host.name.to_string()).or_else(|| binding.host_name.as_ref().map(|name| name.to_string()));
        row.remaining_seconds = binding.expires.map(|end| end.saturating_sub(now.instant).as_secs());
        if let Some(host) = host.filter(|host| host.ip.is_none()) {
            rows.remove(&(None, host.name.to_string()));
        }
        rows.insert((Some(*address), String::new()), row);
    }
    for (address, mac) in &seen {
        let Some(network) = network_of(*address) else { continue };
        rows.entry((Some(*address), String::new())).or_insert_with(|| {
            let mut row = device(Some(*address), Some(*mac), "static");
            let in_pool =
                network.dhcp.as_ref().is_some_and(|scope| scope.pools.iter().any(|pool| pool.contains(address)));
            row.note = in_pool.then(|| "in the pool without a lease".to_owned());
            row
        });
    }
    rows.into_values().collect()
}

/// Builds `labgate rules`; with `all` also what holds with nothing written.
pub async fn rules(pictures: &Pictures, all: bool) -> Vec<Counted> {
    let config = pictures.config.borrow().clone();
    let mut meter = pictures.meter.lock().await;
    meter.sample();
    counted::rules(&config, &Policy::compile(&config), meter.book(), all, clock::now())
}

/// Builds `labgate forwards`.
pub async fn forwards(pictures: &Pictures) -> Vec<Counted> {
    let config = pictures.config.borrow().clone();
    let addresses = desired::host_addresses(&config, &pictures.bindings.borrow(), &pictures.resolved.borrow());
    let mut meter = pictures.meter.lock().await;
    meter.sample();
    counted::forwards(&config, &Policy::compile(&config), &addresses, meter.book(), clock::now())
}

/// The address of the device that has this name by its lease: `laptop`, or whole `laptop.home.arpa`.
fn leased(pictures: &Pictures, wanted: &str) -> Option<Ipv4Addr> {
    let names = pictures.names.load();
    let is_wanted = |name: &str| name == wanted || name.split('.').next() == Some(wanted);
    names.lease_names().find(|(name, _)| is_wanted(&name.to_string())).map(|(_, address)| address)
}

/// Builds `labgate explain` from the running policy.
///
/// # Errors
/// Where a name is unknown or a port no port.
pub async fn explain(pictures: &Pictures, from: &str, to: &str, proto: &str) -> anyhow::Result<firewall::Explanation> {
    let config = pictures.config.borrow().clone();
    let addresses = desired::host_addresses(&config, &pictures.bindings.borrow(), &pictures.resolved.borrow());
    let query = firewall::Query::parse(&config, |name| leased(pictures, name), (from, to), proto)?;
    let policy = Policy::compile(&config);
    let mut meter = pictures.meter.lock().await;
    meter.sample();
    let counters = counted::by_place(&policy, meter.book(), clock::now());
    let around = desired::surroundings(&policy, &addresses, &pictures.links.borrow());
    Ok(firewall::explain(&policy, &around, &query).with_counters(&counters))
}
