//! What a virtual home is made of: segments, hosts and what they serve. Plain values; the keeper makes them real.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

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
    /// The provider's DHCP server, on this interface: hands out the gateway's public address.
    Provider(String),
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
    pub fn internet() -> Self {
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
