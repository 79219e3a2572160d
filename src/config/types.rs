//! The configuration as the other floors see it: checked, resolved, in file order. A [`Config`] exists only where the file has no error.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::model::{DomainName, MacAddr};

/// Where something stands in the person's files: shown as `labgate.toml:36`. Two places are equal where they are shown alike.
#[derive(Clone)]
pub struct Place {
    /// The file's name without its folder.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// The very stretch, for messages that underline it.
    pub stretch: Stretch,
}

/// A stretch of one of the files that were checked together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    /// Index of the file.
    pub file: u32,
    /// First octet.
    pub start: u32,
    /// Octet after the last.
    pub end: u32,
}

impl Place {
    fn shown(&self) -> (&str, u32) {
        (&self.file, self.line)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown()
    }
}

impl Eq for Place {}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.shown().hash(state);
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.shown().cmp(&other.shown())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name of the kernel's for a network interface: 1 to 15 characters, no space, no slash.
pub type InterfaceName = Arc<str>;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[wan]`; `None` where there is no uplink.
    pub wan: Option<Wan>,
    /// `[network.NAME]`, in file order.
    pub networks: Vec<Network>,
    /// `[host]`, in file order.
    pub hosts: Vec<Host>,
    /// `[group]`, in file order.
    pub groups: Vec<Group>,
    /// Names of the outside that groups and rules mention, each once: groups first, then `[firewall]`.
    pub outside_names: Vec<OutsideName>,
    /// `[dns]`.
    pub dns: Dns,
    /// `[firewall]`.
    pub firewall: Firewall,
    /// `[port-forward]`, in file order.
    pub forwards: Vec<PortForward>,
    /// `[log]`.
    pub log: Log,
}

/// `[gateway]`: the router itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The router's own name, one label.
    pub name: DomainName,
    /// The local domain.
    pub domain: DomainName,
}

/// `[wan]`: the uplink.
#[derive(Clone, Debug, PartialEq)]
pub struct Wan {
    /// The uplink's interface.
    pub interface: InterfaceName,
    /// Who configures its address.
    pub address: WanAddress,
    /// Where it stands.
    pub place: Place,
}

/// Who configures the uplink's address.
#[derive(Clone, Debug, PartialEq)]
pub enum WanAddress {
    /// The operating system; followed through netlink.
    System,
    /// Our own DHCP client.
    Dhcp,
    /// The file.
    Static {
        /// Address and prefix length.
        address: Ipv4Net,
        /// The default router.
        gateway: Ipv4Addr,
    },
}

/// `[network.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// NAME: one LDH label.
    pub name: Arc<str>,
    /// How the network reaches the machine.
    pub interface: NetworkInterface,
    /// The router's own address with the prefix length.
    pub address: Ipv4Net,
    /// What DHCP serves; `None` where `dhcp = false`.
    pub dhcp: Option<Scope>,
    /// May its hosts open connections to the internet.
    pub internet: bool,
    /// May its hosts reach SSH, the page and metrics on the router. In a one-network file that network is admin.
    pub admin: bool,
    /// Its domain; `gateway.domain` where the file gives none.
    pub domain: DomainName,
    /// Where it stands.
    pub place: Place,
}

impl Network {
    /// The interface that carries the router's address: the one of the file, or the bridge made from the list.
    pub fn link(&self) -> &InterfaceName {
        match &self.interface {
            NetworkInterface::Plain(name) => name,
            NetworkInterface::Vlan { name, .. } => name,
            NetworkInterface::Bridge { name, .. } => name,
        }
    }

    /// The router's address on this network.
    pub fn router(&self) -> Ipv4Addr {
        self.address.addr()
    }
}

/// `network.NAME.interface`.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkInterface {
    /// An interface that exists.
    Plain(InterfaceName),
    /// `eth1.20`: an 802.1Q sub-interface, created if absent.
    Vlan {
        /// `eth1.20`.
        name: InterfaceName,
        /// `eth1`.
        parent: InterfaceName,
        /// VLAN identifier, 1 to 4094.
        id: u16,
    },
    /// A list: a bridge over its members, created if absent.
    Bridge {
        /// The bridge's name: `br-NAME`, cut to 15 characters.
        name: InterfaceName,
        /// Its members (a member may be `eth1.20`: created like a plain VLAN).
        members: Vec<InterfaceName>,
    },
}

/// What DHCP serves on one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Address ranges for clients without a reservation, in file order, not overlapping, inside the network, without the router's address.
    pub pools: Vec<RangeInclusive<Ipv4Addr>>,
    /// How long a lease lasts.
    pub lease_time: Duration,
    /// `options`: what the file adds or replaces, encoded, by option code.
    pub options: Vec<(u8, Vec<u8>)>,
    /// `boot`: what network boot needs.
    pub boot: Option<Boot>,
    /// `private-mac`: for clients with a made-up MAC.
    pub private_mac: Option<PrivateMac>,
    /// `known-only`: only clients with a `[host]` entry are served.
    pub known_only: bool,
}

/// `dhcp.boot = { server = "192.168.1.5", file = "pxe.0" }`: siaddr and options 66, 67.
#[derive(Clone, Debug, PartialEq)]
pub struct Boot {
    /// Where the boot file is fetched from; the router where the file gives none.
    pub server: Option<Ipv4Addr>,
    /// Name of the boot file.
    pub file: String,
}

/// `dhcp.private-mac = { pool = "…", lease-time = "1h" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivateMac {
    /// Pools for them alone; disjoint from the ordinary pools. Empty: the ordinary pools.
    pub pools: Vec<RangeInclusive<Ipv4Addr>>,
    /// Their lease time.
    pub lease_time: Duration,
}

/// `host.NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// NAME: one LDH label, lower case.
    pub name: Arc<str>,
    /// Hardware addresses; any of them identifies the host.
    pub macs: Vec<MacAddr>,
    /// Client identifier (option 61), as octets.
    pub client_id: Option<Vec<u8>>,
    /// The reserved address; without it the address follows the lease.
    pub ip: Option<Ipv4Addr>,
    /// Further names, each one label or several.
    pub aliases: Vec<DomainName>,
    /// Index into [`Config::networks`] of the network `ip` lies in; `None` without `ip`.
    pub network: Option<usize>,
    /// Where it stands.
    pub place: Place,
}

/// `group.NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// NAME.
    pub name: Arc<str>,
    /// Hosts, networks, CIDRs, names of the outside.
    pub members: Vec<Endpoint>,
    /// Where it stands.
    pub place: Place,
}

/// A DNS name that this router does not answer for and that groups, rules or expectations mention: it stands for the IPv4 addresses it has at the moment.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideName {
    /// The name, absolute.
    pub name: DomainName,
    /// Where it stands first.
    pub place: Place,
}

/// One end of a rule, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Index into [`Config::networks`].
    Network(usize),
    /// Index into [`Config::hosts`].
    Host(usize),
    /// Index into [`Config::groups`]. Groups do not nest.
    Group(usize),
    /// `"internet"`: whatever lies beyond the uplink.
    Internet,
    /// `"router"`: this machine.
    Router,
    /// An address or CIDR, IPv4 or IPv6.
    Cidr(IpNet),
    /// Index into [`Config::outside_names`].
    Name(usize),
}

/// Ports and protocol of a rule: one item of `port` or `except`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// `"tcp/443"`, `"tcp/1000-2000"`, `"tcp"` (all ports).
    Tcp(PortRange),
    /// `"udp/53"` and so on.
    Udp(PortRange),
    /// `"icmp"`: ICMP, and ICMPv6 where that is meant.
    Icmp,
}

/// Ports from first to last, both included, ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// All ports: what `"tcp"` alone means.
    pub const ALL: PortRange = PortRange { first: 0, last: u16::MAX };
}

/// A rule of `firewall.allow` or `firewall.deny`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Who opens the connection.
    pub from: Vec<Endpoint>,
    /// To whom.
    pub to: Vec<Endpoint>,
    /// Which ports; empty means everything, whatever the protocol.
    pub services: Vec<Service>,
    /// Ports taken out of the rule.
    pub except: Vec<Service>,
    /// `name`, for logs and counters.
    pub name: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// `[firewall]`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Firewall {
    /// What is permitted.
    pub allow: Vec<Rule>,
    /// What is refused although a rule permits it.
    pub deny: Vec<Rule>,
    /// What must hold of all that: a file in which one fails is not applied.
    pub expect: Vec<Expectation>,
}

/// An entry of `firewall.expect`: a test of the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Who opens the connection: every address of every end is meant.
    pub from: Vec<Endpoint>,
    /// To whom.
    pub to: Vec<Endpoint>,
    /// Which ports; empty means everything, whatever the protocol.
    pub services: Vec<Service>,
    /// Whether all of it must be allowed, or none.
    pub allowed: bool,
    /// Where it stands.
    pub place: Place,
}

/// Transport protocols that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An entry of `[port-forward]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PortForward {
    /// One or both (`"tcp+udp/6881"`).
    pub transports: Vec<Transport>,
    /// Outside ports.
    pub ports: PortRange,
    /// Index into [`Config::hosts`] of the target.
    pub host: usize,
    /// Target port; `None` keeps the outside port (always so for a range).
    pub target_port: Option<u16>,
    /// Who may use it from outside; empty means everyone.
    pub from: Vec<Ipv4Net>,
    /// `name`, for logs and counters.
    pub name: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// `[dns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// `upstream`; empty: the resolvers the uplink learned.
    pub upstreams: Vec<Upstream>,
    /// `forward`: zone → servers.
    pub forward: Vec<(DomainName, Vec<Upstream>)>,
    /// `hosts`: hosts files.
    pub hosts_files: Vec<PathBuf>,
    /// `record`.
    pub records: Vec<Record>,
    /// `rebind-protection`.
    pub rebind_protection: bool,
    /// `cache.size`, entries.
    pub cache_size: usize,
    /// `cache.stale`: how long past its end an answer may still serve while upstreams fail (RFC 8767). Zero: never.
    pub cache_stale: Duration,
}

/// A plain upstream server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// How it is asked first.
    pub transport: Transport,
    /// Where it listens; port 53 where the file gives none.
    pub server: SocketAddr,
}

/// An entry of `dns.record`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name, absolute; a first label `*` stands for every name below.
    pub name: DomainName,
    /// What it says.
    pub data: RecordData,
    /// Where it stands.
    pub place: Place,
}

/// What a record of the file says.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordData {
    /// `"192.168.30.10"` or an IPv6 address.
    Address(IpAddr),
    /// `"web1"`: the same addresses as a host.
    Host(usize),
    /// `"name.example"`: a CNAME.
    Alias(DomainName),
    /// `{ txt = "…" }`, one or several strings.
    Txt(Vec<String>),
    /// `{ srv = { target, port, priority = 0, weight = 0 } }` (RFC 2782).
    Srv {
        /// Priority.
        priority: u16,
        /// Weight.
        weight: u16,
        /// Port.
        port: u16,
        /// Host that serves.
        target: DomainName,
    },
    /// `{ mx = { preference = 10, exchange = "mail" } }`.
    Mx {
        /// Preference.
        preference: u16,
        /// Mail exchanger.
        exchange: DomainName,
    },
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `level`: `"error"`, `"warn"`, `"info"` (default), `"debug"`.
    pub level: String,
}
