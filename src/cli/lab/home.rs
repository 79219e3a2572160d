//! What a virtual home is made of: segments, hosts and what they serve. Plain values; the keeper makes them real.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::{self, Config, NetworkInterface, Source};

/// The file of the built-in home: the home lab of the manual, with the lab's interfaces and its own upstream.
pub const BUILT_IN_CONFIG: &str = include_str!("home.toml");

/// Where the lab's own DNS upstream listens.
pub const UPSTREAM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);

/// Where the lab's web server on the internet listens; `www.example.com` says so too.
pub const WWW: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);

/// The provider's router, on the uplink of the gateway.
pub const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The gateway's public address.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A whole home: one gateway, its segments, and the hosts on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Home {
    /// The segments, each an interface of the gateway.
    pub segments: Vec<Segment>,
    /// Addresses the gateway's system sets before labgate starts: (interface, address with prefix length).
    pub gateway_addresses: Vec<(String, String)>,
    /// The gateway's default router as its system sets it.
    pub gateway_router: Option<Ipv4Addr>,
    /// Machines beside the gateway.
    pub hosts: Vec<HostSpec>,
}

/// A cable or switch: an interface of the gateway and everything plugged in there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Its name; also the bridge's in the switch namespace, so at most 12 characters.
    pub name: String,
    /// The gateway's interface on it.
    pub port: String,
}

/// One machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its name, at most 12 characters; also its DHCP host name.
    pub name: String,
    /// The segment its `eth0` is plugged into.
    pub segment: String,
    /// The hardware address of `eth0`.
    pub mac: String,
    /// Where its address comes from.
    pub addressing: Addressing,
    /// What it serves.
    pub services: Vec<Service>,
}

/// Where a machine's address comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Addressing {
    /// From DHCP: a client is started with the home.
    Dhcp,
    /// Set by the lab: (interface, address with prefix length), and the default router.
    Fixed(Vec<(String, String)>, Option<Ipv4Addr>),
    /// None: a test brings its own client.
    Unset,
}

/// What a machine serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// The DNS upstream with the synthetic zone, on port 53 of this address.
    Dns(Ipv4Addr),
    /// A web server on this TCP port that says its name and the peer's address.
    Web(u16),
    /// A TCP port that greets with its name and the peer's address and then echoes.
    Echo(u16),
}

impl Home {
    /// The home of the manual: internet, lan with nas and laptop, iot with a camera, web and db.
    pub fn built_in() -> Self {
        let segments = [("wan", "eth0"), ("lan", "eth1"), ("iot", "eth2"), ("web", "eth3"), ("db", "eth4")];
        Home {
            segments: segments.map(|(name, port)| Segment { name: name.to_owned(), port: port.to_owned() }).to_vec(),
            gateway_addresses: vec![("eth0".to_owned(), format!("{PUBLIC}/24"))],
            gateway_router: Some(PROVIDER),
            hosts: vec![
                HostSpec::internet(),
                HostSpec::client("nas", "lan", "52:54:00:00:01:10").serving(Service::Web(443)),
                HostSpec::client("laptop", "lan", "52:54:00:00:01:20"),
                HostSpec::client("cam", "iot", "52:54:00:00:20:10"),
                HostSpec::client("web1", "web", "52:54:00:00:30:10").serving(Service::Web(80)),
                HostSpec::client("db1", "db", "52:54:00:00:40:10")
                    .serving(Service::Echo(5432))
                    .serving(Service::Echo(22)),
            ],
        }
    }

    /// The same home with one more machine.
    pub fn with(mut self, host: HostSpec) -> Self {
        self.hosts.push(host);
        self
    }

    /// The same home without the machines that `keep` refuses; the internet stays.
    pub fn only(mut self, keep: &[&str]) -> Self {
        self.hosts.retain(|host| host.name == "internet" || keep.contains(&host.name.as_str()));
        self
    }

    /// The machine with this name.
    pub fn host_mut(&mut self, name: &str) -> Option<&mut HostSpec> {
        self.hosts.iter_mut().find(|host| host.name == name)
    }
}

impl HostSpec {
    /// A machine that asks DHCP for its address.
    pub fn client(name: &str, segment: &str, mac: &str) -> Self {
        HostSpec {
            name: name.to_owned(),
            segment: segment.to_owned(),
            mac: mac.to_owned(),
            addressing: Addressing::Dhcp,
            services: Vec::new(),
        }
    }

    /// The same machine without an address: a test brings its own client.
    pub fn silent(mut self) -> Self {
        self.addressing = Addressing::Unset;
        self
    }

    /// The same machine, serving this too.
    pub fn serving(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// The other side of the uplink: the provider's router, the DNS upstream and a web server. It has no route to
    /// private addresses, as the real one.
    fn internet() -> Self {
        let addresses =
            [("eth0", format!("{PROVIDER}/24")), ("lo", format!("{UPSTREAM}/32")), ("lo", format!("{WWW}/32"))];
        HostSpec {
            name: "internet".to_owned(),
            segment: "wan".to_owned(),
            mac: "52:54:00:00:00:01".to_owned(),
            addressing: Addressing::Fixed(
                addresses.map(|(interface, address)| (interface.to_owned(), address)).to_vec(),
                None,
            ),
            services: vec![Service::Dns(UPSTREAM), Service::Web(80), Service::Echo(7)],
        }
    }
}

/// The home that fits a file of the person's own: a cable per interface, a machine per reserved host, and a guest on every network.
pub fn from_file(path: &Path) -> Result<(String, Home)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let checked = config::check(&[Source { name, text: text.clone().into_bytes() }]);
    match checked.config {
        Some(config) => Ok((text, Home::of(&config))),
        None => bail!("{}", checked.report.render(false).trim_end()),
    }
}

impl Home {
    fn of(config: &Config) -> Self {
        let mut home =
            Home { segments: Vec::new(), gateway_addresses: Vec::new(), gateway_router: None, hosts: Vec::new() };
        let mut internet = HostSpec::internet();
        if let Some(wan) = &config.wan {
            home.segments.push(Segment { name: "wan".to_owned(), port: wan.interface.to_string() });
            if wan.address == config::WanAddress::System {
                home.gateway_addresses.push((wan.interface.to_string(), format!("{PUBLIC}/24")));
                home.gateway_router = Some(PROVIDER);
            }
            internet.answer_for(config);
            home.hosts.push(internet);
        }
        for (index, network) in config.networks.iter().enumerate() {
            let segment = network.name.chars().take(12).collect::<String>();
            home.segments.push(Segment { name: segment.clone(), port: port(&network.interface) });
            let guest = format!("{}-pc", segment.chars().take(9).collect::<String>());
            if network.dhcp.is_some() {
                let mac = format!("52:54:00:ff:{:02x}:01", index & 0xff);
                home.hosts.push(HostSpec::client(&guest, &segment, &mac).serving(Service::Web(80)));
            }
            for host in config.hosts.iter().filter(|host| host.network == Some(index) && host.name.len() <= 12) {
                if let (Some(mac), Some(_)) = (host.macs.first(), &network.dhcp) {
                    home.hosts.push(HostSpec::client(&host.name, &segment, &mac.to_string()).serving(Service::Web(80)));
                }
            }
        }
        home
    }
}

/// The interface of the gateway that gets the cable. A VLAN's name is given to a cable of its own, so that no 802.1Q is needed.
fn port(interface: &NetworkInterface) -> String {
    match interface {
        NetworkInterface::Plain(name) | NetworkInterface::Vlan { name, .. } => name.to_string(),
        NetworkInterface::Bridge { members, name } => members.first().unwrap_or(name).to_string(),
    }
}

impl HostSpec {
    /// Lets the internet answer at the addresses of the file's own upstreams.
    fn answer_for(&mut self, config: &Config) {
        let upstreams: BTreeSet<Ipv4Addr> = config
            .dns
            .upstreams
            .iter()
            .filter_map(|upstream| match upstream.server.ip() {
                IpAddr::V4(address) if address != UPSTREAM => Some(address),
                _ => None,
            })
            .collect();
        if let Addressing::Fixed(addresses, _) = &mut self.addressing {
            addresses.extend(upstreams.iter().map(|address| ("lo".to_owned(), format!("{address}/32"))));
        }
        self.services.extend(upstreams.into_iter().map(Service::Dns));
    }
}
