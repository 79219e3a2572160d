//! The names that are answered locally: a fixed part from configuration and hosts files, and a part that follows the leases.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::hosts::{Addresses, Hosts};
use super::wire::{NameBuf, WireName, is_within, labels, suffixes};
use crate::model::SharedMap;

type Map<K, V> = HashMap<K, V, FixedState>;

/// What one local record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// The router itself: A with its address on the asker's network.
    Router,
    /// A configured host without a fixed address: A with the addresses it has leased, on networks of `domain` where that is given.
    Follow {
        /// `host.NAME`.
        host: Arc<str>,
        /// Only leases of networks with this domain.
        domain: Option<WireName>,
    },
    /// CNAME.
    Alias(WireName),
    /// TXT: its character strings in wire form.
    Txt(Box<[u8]>),
    /// SRV (RFC 2782): priority, weight, port; target.
    Srv([u16; 3], WireName),
    /// MX: preference; exchange.
    Mx(u16, WireName),
}

/// The fixed part: what the configuration and the hosts files say.
#[derive(Clone, Debug, Default)]
pub struct FixedNames {
    records: Map<WireName, Vec<Data>>,
    /// By the name above `*`.
    wild: Map<WireName, Vec<Data>>,
    /// Names without data that have names below them (RFC 8020).
    between: HashSet<WireName, FixedState>,
    reverse: Map<IpAddr, Vec<WireName>>,
    /// Configured hosts by what a client shows: see [`FixedNames::add_client`].
    clients: Map<Box<[u8]>, usize>,
    hosts: Hosts,
    /// Own domains, `gateway.domain` first, none twice.
    domains: Vec<WireName>,
    /// By network: its domain, and the router's address there.
    networks: Vec<(WireName, Ipv4Addr)>,
    /// The router's full name.
    router: Option<WireName>,
}

impl FixedNames {
    /// No record yet. `domain` and `router` are the local domain and the router's full name, `networks` domain and router address by network.
    pub fn new(domain: WireName, router: WireName, networks: Vec<(WireName, Ipv4Addr)>, hosts: Hosts) -> Self {
        let mut domains = vec![domain];
        for (domain, _) in &networks {
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        FixedNames { hosts, domains, networks, router: Some(router), ..FixedNames::default() }
    }

    /// Adds a record; a first label `*` stands for every name below the rest.
    pub fn add(&mut self, name: &WireName, data: Data) {
        let (map, key) = match name.as_bytes().strip_prefix(b"\x01*") {
            Some(parent) => (&mut self.wild, WireName::from_wire(parent)),
            None => (&mut self.records, name.clone()),
        };
        let list = map.entry(key.clone()).or_default();
        if !list.contains(&data) {
            list.push(data);
        }
        // Every name between this one and its domain exists, although it has no data.
        for above in suffixes(key.as_bytes()).skip(1) {
            let below = |domain: &WireName| domain.as_bytes() != above && is_within(above, domain.as_bytes());
            if !self.domains.iter().any(below) || self.domains.iter().any(|domain| domain.as_bytes() == above) {
                break;
            }
            self.between.insert(WireName::from_wire(above));
        }
    }

    /// Adds a reverse name.
    pub fn add_reverse(&mut self, address: IpAddr, name: &WireName) {
        let list = self.reverse.entry(address).or_default();
        if !list.contains(name) {
            list.push(name.clone());
        }
    }

    /// Notes that the client that shows `identity` is the configured host of that index. The identity's octets are the caller's affair.
    pub fn add_client(&mut self, identity: &[u8], host: usize) {
        self.clients.entry(identity.into()).or_insert(host);
    }

    /// The configured host that shows `identity`.
    pub fn host_of(&self, identity: &[u8]) -> Option<usize> {
        self.clients.get(identity).copied()
    }

    /// Own domains, `gateway.domain` first.
    pub fn domains(&self) -> &[WireName] {
        &self.domains
    }

    /// The router's full name.
    pub fn router(&self) -> Option<&WireName> {
        self.router.as_ref()
    }

    /// The router's address on a network, or on the first one.
    pub fn router_address(&self, network: Option<usize>) -> Option<Ipv4Addr> {
        let (_, address) = network.and_then(|index| self.networks.get(index)).or_else(|| self.networks.first())?;
        Some(*address)
    }

    /// The domains in the order in which a bare name is looked for by an asker of `network`.
    pub fn search(&self, network: Option<usize>) -> impl Iterator<Item = &WireName> {
        let own = network.and_then(|index| self.networks.get(index)).map(|(domain, _)| domain);
        own.into_iter().chain(self.domains.iter().filter(move |&domain| Some(domain) != own))
    }

    /// Whether the file or a hosts file has this very name (wire form, lower case), so that no client may have it.
    pub fn is_taken(&self, name: &[u8]) -> bool {
        self.records.contains_key(name) || self.between.contains(name) || self.in_hosts(name).is_some()
    }

    /// Whether the file gives the address a name.
    pub fn has_reverse(&self, address: Ipv4Addr) -> bool {
        self.reverse.contains_key(&IpAddr::V4(address)) || self.hosts.names_of(address.into()).next().is_some()
    }

    /// Whether a name ends as an own domain does.
    fn may_be_own(&self, name: &[u8]) -> bool {
        self.domains.iter().any(|domain| name.ends_with(domain.as_bytes()))
    }

    /// A bare name of a hosts file also answers below an own domain.
    fn in_hosts(&self, name: &[u8]) -> Option<Addresses<'_>> {
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.addresses(name).or_else(|| {
            let label = labels(name).next()?;
            let parent = name.get(1 + label.len()..)?;
            self.domains.iter().find(|domain| domain.as_bytes() == parent)?;
            let mut bare = NameBuf::new();
            bare.push_label(label)?;
            bare.push_suffix(&[0])?;
            self.hosts.addresses(bare.as_bytes())
        })
    }

    /// The records of the closest wildcard above `name`, unless a name that exists stands in between (RFC 4592).
    fn in_wild(&self, name: &[u8]) -> Option<&[Data]> {
        if self.wild.is_empty() {
            return None;
        }
        for above in suffixes(name).skip(1) {
            if let Some(data) = self.wild.get(above) {
                return Some(data);
            }
            if self.records.contains_key(above) || self.between.contains(above) {
                return None;
            }
        }
        None
    }
}

/// Where a local name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration: a record, a host, the router itself.
    Config,
    /// A hosts file.
    HostsFile,
    /// A lease.
    Lease,
    /// Names below it exist.
    Between,
}

/// What is known locally about one name.
#[derive(Debug)]
pub struct Local<'a> {
    /// Where the name comes from.
    pub source: Source,
    /// Records of the configuration.
    pub data: &'a [Data],
    /// Addresses of the hosts files.
    pub hosts: Option<Addresses<'a>>,
    /// The address leased under this name.
    pub lease: Option<Ipv4Addr>,
}

/// A lease name: the holder answers, others wait in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeaseName {
    holder: Ipv4Addr,
    last: Ipv4Addr,
}

/// What one leased address is called, or waits to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    name: WireName,
    before: Option<Ipv4Addr>,
    after: Option<Ipv4Addr>,
}

/// An address that a configured host without a fixed one has leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The leased address.
    pub address: Ipv4Addr,
    /// The domain of its network.
    pub domain: WireName,
}

/// All names that are answered locally. A clone is cheap, a change costs what it changes.
#[derive(Clone, Debug, Default)]
pub struct LocalNames {
    fixed: Arc<FixedNames>,
    leases: SharedMap<WireName, LeaseName>,
    claims: SharedMap<Ipv4Addr, Claim>,
    followers: SharedMap<Arc<str>, Arc<[Follower]>>,
    follower_names: SharedMap<Ipv4Addr, WireName>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The name answers with this address now.
    Holds,
    /// The name is held by another address; this one waits.
    Waits {
        /// Who holds it.
        holder: Ipv4Addr,
    },
}

impl LocalNames {
    /// The names of the file alone: no lease.
    pub fn new(fixed: impl Into<Arc<FixedNames>>) -> Self {
        LocalNames { fixed: fixed.into(), ..LocalNames::default() }
    }

    /// The fixed part.
    pub fn fixed(&self) -> &Arc<FixedNames> {
        &self.fixed
    }

    /// What is known about a name in wire form and lower case; `None` where nothing is.
    pub fn find(&self, name: &[u8]) -> Option<Local<'_>> {
        let fixed = &*self.fixed;
        let hosts = fixed.in_hosts(name);
        let found = |source, data, hosts, lease| Some(Local { source, data, hosts, lease });
        if let Some(data) = fixed.records.get(name) {
            return found(Source::Config, &data[..], hosts, None);
        }
        if hosts.is_some() {
            return found(Source::HostsFile, &[][..], hosts, None);
        }
        // Both stand below own domains only; most names asked for do not, and the last label tells.
        if fixed.may_be_own(name) {
            if let Some(lease) = self.leases.get(name) {
                return found(Source::Lease, &[], None, Some(lease.holder));
            }
            if fixed.between.contains(name) {
                return found(Source::Between, &[], None, None);
            }
        }
        fixed.in_wild(name).and_then(|data| found(Source::Config, data, None, None))
    }

    /// The names of an address, in wire form, and where they come from.
    pub fn find_reverse(&self, address: IpAddr, mut each: impl FnMut(&[u8])) -> Option<Source> {
        let mut source = None;
        for name in self.fixed.reverse.get(&address).into_iter().flatten() {
            each(name.as_bytes());
            source = Some(Source::Config);
        }
        if source.is_some() {
            return source;
        }
        for name in self.fixed.hosts.names_of(address) {
            each(name);
            source = Some(Source::HostsFile);
        }
        let IpAddr::V4(address) = address else { return source };
        if source.is_none() {
            let claim = self.claims.get(&address).filter(|claim| claim.before.is_none()).map(|claim| &claim.name);
            if let Some(name) = self.follower_names.get(&address).or(claim) {
                each(name.as_bytes());
                source = Some(Source::Lease);
            }
        }
        source
    }

    /// The addresses that a configured host without a fixed one has leased.
    pub fn followers(&self, host: &str) -> &[Follower] {
        self.followers.get(host).map_or(&[], |list| list)
    }

    /// The name an address holds or waits for, and the holder.
    pub fn claim_of(&self, address: Ipv4Addr) -> Option<(&WireName, Ipv4Addr)> {
        let claim = self.claims.get(&address)?;
        Some((&claim.name, self.leases.get(claim.name.as_bytes())?.holder))
    }

    /// Names that leases hold, with their addresses, in no order.
    pub fn lease_names(&self) -> impl Iterator<Item = (&WireName, Ipv4Addr)> {
        self.leases.iter().map(|(name, lease)| (name, lease.holder))
    }

    /// Lets `address` have `name`, or wait for it. What the address was called before has to be given up first.
    pub fn claim(&mut self, address: Ipv4Addr, name: WireName) -> Claimed {
        let Some(mut lease) = self.leases.get(name.as_bytes()).copied() else {
            self.leases.insert(name.clone(), LeaseName { holder: address, last: address });
            self.claims.insert(address, Claim { name, before: None, after: None });
            return Claimed::Holds;
        };
        if let Some(last) = self.claims.get(&lease.last).cloned() {
            self.claims.insert(lease.last, Claim { after: Some(address), ..last });
        }
        self.claims.insert(address, Claim { name: name.clone(), before: Some(lease.last), after: None });
        lease.last = address;
        self.leases.insert(name, lease);
        Claimed::Waits { holder: lease.holder }
    }

    /// Takes from `address` what it is called or waits for. Gives the name, and its next holder where it moved.
    pub fn give_up(&mut self, address: Ipv4Addr) -> Option<(WireName, Option<Ipv4Addr>)> {
        let Claim { name, before, after } = self.claims.remove(&address)?;
        for (neighbour, set) in [(before, true), (after, false)] {
            if let Some((neighbour, claim)) = neighbour.and_then(|at| Some((at, self.claims.get(&at)?.clone()))) {
                let claim = if set { Claim { after, ..claim } } else { Claim { before, ..claim } };
                self.claims.insert(neighbour, claim);
            }
        }
        let lease = *self.leases.get(name.as_bytes())?;
        match (before, after) {
            (None, None) => {
                self.leases.remove(name.as_bytes());
            }
            (None, Some(next)) => {
                self.leases.insert(name.clone(), LeaseName { holder: next, ..lease });
                return Some((name, Some(next)));
            }
            (Some(previous), None) => {
                self.leases.insert(name.clone(), LeaseName { last: previous, ..lease });
            }
            (Some(_), Some(_)) => {}
        }
        Some((name, None))
    }

    /// Lets a configured host without a fixed address answer with a leased one; `name` is its full name on that network.
    pub fn follow(&mut self, host: &Arc<str>, follower: Follower, name: WireName) {
        let others = self.followers(host).iter().filter(|old| old.address != follower.address).cloned();
        let list: Arc<[Follower]> = others.chain([follower.clone()]).collect();
        self.followers.insert(host.clone(), list);
        self.follower_names.insert(follower.address, name);
    }

    /// Undoes [`LocalNames::follow`].
    pub fn unfollow(&mut self, host: &str, address: Ipv4Addr) {
        self.follower_names.remove(&address);
        let rest: Arc<[Follower]> = self.followers(host).iter().filter(|old| old.address != address).cloned().collect();
        match self.followers.get(host) {
            Some(_) if rest.is_empty() => {
                self.followers.remove(host);
            }
            Some(_) => {
                self.followers.insert(host.into(), rest);
            }
            None => {}
        }
    }

    /// Gives an address a reverse name without a forward one: a configured host on an address other than its own.
    pub fn set_reverse(&mut self, address: Ipv4Addr, name: Option<WireName>) {
        match name {
            Some(name) => {
                self.follower_names.insert(address, name);
            }
            None => {
                self.follower_names.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainName;

    fn wire(name: &str) -> WireName {
        WireName::new(&DomainName::parse(name).unwrap())
    }

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, last)
    }

    #[test]
    fn a_name_passes_to_who_waited_longest() {
        let fixed = FixedNames::new(wire("home.arpa"), wire("gateway.home.arpa"), Vec::new(), Hosts::default());
        let mut names = LocalNames::new(fixed);
        let phone = wire("phone.home.arpa");
        assert_eq!(names.claim(at(1), phone.clone()), Claimed::Holds);
        for last in 2..=4 {
            assert_eq!(names.claim(at(last), phone.clone()), Claimed::Waits { holder: at(1) });
        }
        assert_eq!(names.give_up(at(3)), Some((phone.clone(), None)));
        assert_eq!(names.give_up(at(1)), Some((phone.clone(), Some(at(2)))));
        assert_eq!(names.find(phone.as_bytes()).unwrap().lease, Some(at(2)));
        assert_eq!(names.claim(at(5), phone.clone()), Claimed::Waits { holder: at(2) });
        assert_eq!(names.give_up(at(2)), Some((phone.clone(), Some(at(4)))));
        assert_eq!(names.give_up(at(4)), Some((phone.clone(), Some(at(5)))));
        assert_eq!(names.give_up(at(5)), Some((phone.clone(), None)));
        assert!(names.find(phone.as_bytes()).is_none() && names.give_up(at(5)).is_none());
    }

    #[test]
    fn wildcards_end_where_a_name_exists() {
        let networks = vec![(wire("home.arpa"), at(1))];
        let mut fixed = FixedNames::new(wire("home.arpa"), wire("gateway.home.arpa"), networks, Hosts::default());
        fixed.add(&wire("*.apps.home.arpa"), Data::A(at(9)));
        fixed.add(&wire("x.deep.apps.home.arpa"), Data::A(at(8)));
        let names = LocalNames::new(Arc::new(fixed));
        let find = |name: &str| names.find(wire(name).as_bytes()).map(|local| (local.source, local.data.to_vec()));
        assert_eq!(find("a.apps.home.arpa"), Some((Source::Config, vec![Data::A(at(9))])));
        assert_eq!(find("a.b.apps.home.arpa"), Some((Source::Config, vec![Data::A(at(9))])));
        assert_eq!(find("deep.apps.home.arpa"), Some((Source::Between, vec![])));
        assert_eq!(find("y.deep.apps.home.arpa"), None);
        assert_eq!(find("home.arpa"), None);
    }
}
