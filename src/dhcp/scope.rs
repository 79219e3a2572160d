//! What the configuration says, laid out for the server: a scope per network, hosts by what identifies them.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ipnet::Ipv4Net;

use super::code;
use super::pool::{Audience, Pool};
use crate::config::{Config, Network};
use crate::model::{DomainName, MacAddr};

/// Leases of this length have no end (RFC 2131 §3.3).
const INFINITE: u32 = u32::MAX;

/// How long a lease lasts; `None` is for ever.
pub(super) type LeaseTime = Option<Duration>;

fn lease_time(duration: Duration) -> LeaseTime {
    (duration.as_secs() < u64::from(INFINITE)).then_some(duration)
}

/// The number that says so in option 51.
pub(super) fn lease_seconds(lease: LeaseTime) -> u32 {
    lease.map_or(INFINITE, |duration| duration.as_secs().min(u64::from(INFINITE)) as u32)
}

/// An option of a scope.
#[derive(Clone, Debug)]
pub(super) struct ScopeOption {
    pub code: u8,
    pub data: Vec<u8>,
    /// Written in the file, so sent where there is room even to clients that do not ask.
    pub explicit: bool,
}

/// What DHCP serves on one network.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub network: usize,
    pub name: Arc<str>,
    pub router: Ipv4Addr,
    pub prefix: Ipv4Net,
    pub domain: DomainName,
    pub lease: LeaseTime,
    pub private_lease: Option<LeaseTime>,
    /// Whether clients with a made-up MAC have pools of their own.
    pub private_pools: bool,
    pub known_only: bool,
    pub options: Vec<ScopeOption>,
    pub siaddr: u32,
    pub boot_file: Vec<u8>,
    /// Pools as indices into the table's, by audience.
    pub pools: Vec<usize>,
    pub private: Vec<usize>,
}

/// `host.NAME` as DHCP needs it.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub name: Arc<str>,
    pub macs: Vec<MacAddr>,
    pub client_id: Option<Vec<u8>>,
    pub ip: Option<u32>,
}

impl Host {
    /// Whether a client identifier is the host's: as written, or behind the type octet 0 that says "a text".
    pub fn has_identifier(&self, identifier: &[u8]) -> bool {
        let Some(own) = &self.client_id else { return false };
        identifier == own || identifier.strip_prefix(&[0]).is_some_and(|text| text == own)
    }
}

/// Hosts by what identifies them.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    all: Vec<Host>,
    by_mac: HashMap<MacAddr, usize>,
    by_identifier: HashMap<Vec<u8>, usize>,
    by_address: HashMap<u32, usize>,
}

impl Hosts {
    fn new(config: &Config) -> Self {
        let mut hosts = Hosts::default();
        for (index, host) in config.hosts.iter().enumerate() {
            for mac in &host.macs {
                hosts.by_mac.entry(*mac).or_insert(index);
            }
            if let Some(identifier) = &host.client_id {
                hosts.by_identifier.entry(identifier.clone()).or_insert(index);
            }
            let ip = host.ip.map(u32::from);
            if let Some(ip) = ip {
                hosts.by_address.entry(ip).or_insert(index);
            }
            hosts.all.push(Host {
                name: host.name.clone(),
                macs: host.macs.clone(),
                client_id: host.client_id.clone(),
                ip,
            });
        }
        hosts
    }

    /// The host a client is: by client identifier, else by MAC whatever identifier it sends.
    pub fn find(&self, mac: Option<MacAddr>, identifier: Option<&[u8]>) -> Option<usize> {
        let by_identifier = identifier.and_then(|identifier| {
            let text = identifier.strip_prefix(&[0]).unwrap_or(identifier);
            self.by_identifier.get(identifier).or_else(|| self.by_identifier.get(text)).copied()
        });
        by_identifier.or_else(|| self.by_mac.get(&mac?).copied())
    }

    pub fn get(&self, index: usize) -> &Host {
        &self.all[index]
    }

    /// The host an address is reserved for.
    pub fn reserved_for(&self, address: u32) -> Option<usize> {
        self.by_address.get(&address).copied()
    }
}

fn addresses(list: &[Ipv4Addr]) -> Vec<u8> {
    list.iter().flat_map(Ipv4Addr::octets).collect()
}

/// Domain search (RFC 3397), without compression, which it permits and does not ask for.
fn search_list(domains: &[&DomainName]) -> Vec<u8> {
    let mut data = Vec::new();
    for domain in domains {
        for label in domain.labels() {
            data.push(label.len() as u8);
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
    }
    data
}

fn scope_options(config: &Config, network: &Network) -> Vec<ScopeOption> {
    let router = network.router();
    let mut search = vec![&network.domain];
    if network.domain != config.gateway.domain {
        search.push(&config.gateway.domain);
    }
    let mut options: Vec<ScopeOption> = [
        (code::SUBNET_MASK, addresses(&[network.address.netmask()])),
        (code::ROUTER, addresses(&[router])),
        (code::DNS_SERVER, addresses(&[router])),
        (code::DOMAIN_NAME, network.domain.as_str().as_bytes().to_vec()),
        (code::BROADCAST, addresses(&[network.address.broadcast()])),
        (code::DOMAIN_SEARCH, search_list(&search)),
    ]
    .into_iter()
    .map(|(code, data)| ScopeOption { code, data, explicit: false })
    .collect();
    let scope = network.dhcp.as_ref();
    if let Some(boot) = scope.and_then(|scope| scope.boot.as_ref()) {
        let server = boot.server.unwrap_or(router).to_string().into_bytes();
        options.push(ScopeOption { code: code::TFTP_SERVER_NAME, data: server, explicit: false });
        options.push(ScopeOption { code: code::BOOT_FILE, data: boot.file.clone().into_bytes(), explicit: false });
    }
    for (code, data) in scope.map_or(&[][..], |scope| &scope.options) {
        let option = ScopeOption { code: *code, data: data.clone(), explicit: true };
        match options.iter_mut().find(|found| found.code == *code) {
            Some(found) => *found = option,
            None => options.push(option),
        }
    }
    // An empty value in the file takes a default out.
    options.retain(|option| !(option.data.is_empty() && matches!(option.code, 1 | 3 | 6 | 15 | 28 | 66 | 67 | 119)));
    options
}

/// All that the server takes from a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// By index of the network; `None` where DHCP is off.
    pub scopes: Vec<Option<Scope>>,
    pub hosts: Arc<Hosts>,
    pub pools: Vec<Pool>,
}

impl Plan {
    pub fn new(config: &Config) -> Self {
        let hosts = Arc::new(Hosts::new(config));
        let mut plan = Plan { hosts, ..Plan::default() };
        for (index, network) in config.networks.iter().enumerate() {
            let scope = network.dhcp.as_ref().map(|scope| {
                let private = scope.private_mac.as_ref();
                let (siaddr, boot_file) = scope.boot.as_ref().map_or((0, Vec::new()), |boot| {
                    (u32::from(boot.server.unwrap_or(network.router())), boot.file.clone().into_bytes())
                });
                Scope {
                    network: index,
                    name: network.name.clone(),
                    router: network.router(),
                    prefix: network.address.trunc(),
                    domain: network.domain.clone(),
                    lease: lease_time(scope.lease_time),
                    private_lease: private.map(|private| lease_time(private.lease_time)),
                    private_pools: private.is_some_and(|private| !private.pools.is_empty()),
                    known_only: scope.known_only,
                    options: scope_options(config, network),
                    siaddr,
                    boot_file,
                    pools: plan.add_pools(index, Audience::Everyone, &scope.pools, network.router()),
                    private: plan.add_pools(
                        index,
                        Audience::PrivateMac,
                        private.map_or(&[][..], |private| &private.pools),
                        network.router(),
                    ),
                }
            });
            plan.scopes.push(scope);
        }
        plan
    }

    fn add_pools(
        &mut self,
        network: usize,
        audience: Audience,
        ranges: &[RangeInclusive<Ipv4Addr>],
        router: Ipv4Addr,
    ) -> Vec<usize> {
        let mut added = Vec::new();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let hosts = &self.hosts;
            let taken = |address| address == u32::from(router) || hosts.by_address.contains_key(&address);
            added.push(self.pools.len());
            self.pools.push(Pool::new(network, audience, range, taken));
        }
        added
    }

    /// The scope whose network holds `address`.
    pub fn scope_of(&self, address: u32) -> Option<&Scope> {
        self.scopes.iter().flatten().find(|scope| scope.prefix.contains(&Ipv4Addr::from(address)))
    }
}
