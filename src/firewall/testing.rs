//! Small configurations for the tests of this room and its neighbours.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::config::*;
use crate::model::DomainName;

/// A place in the file.
pub fn place(line: u32) -> Place {
    Place { file: "labgate.toml".into(), line, stretch: Stretch::default() }
}

/// A network called `name` on `interface` with `address`.
pub fn network(name: &str, interface: &str, address: &str) -> Network {
    Network {
        name: name.into(),
        interface: NetworkInterface::Plain(interface.into()),
        address: address.parse().unwrap(),
        dhcp: Some(Scope {
            pools: Vec::new(),
            lease_time: Duration::from_secs(3600),
            options: Vec::new(),
            boot: None,
            private_mac: None,
            known_only: false,
        }),
        internet: true,
        admin: name == "lan",
        domain: DomainName::parse("home.arpa").unwrap(),
        place: place(4),
    }
}

/// A host.
pub fn host(name: &str, ip: Option<[u8; 4]>) -> Host {
    Host {
        name: name.into(),
        macs: Vec::new(),
        client_id: None,
        ip: ip.map(Ipv4Addr::from),
        aliases: Vec::new(),
        network: None,
        place: place(20),
    }
}

/// An outside name.
pub fn outside_name(name: &str) -> OutsideName {
    OutsideName { name: DomainName::parse(name).unwrap(), place: place(30) }
}

/// A rule at a line.
pub fn rule(from: &[Endpoint], to: &[Endpoint], services: &[Service], line: u32) -> Rule {
    Rule {
        from: from.to_vec(),
        to: to.to_vec(),
        services: services.to_vec(),
        except: Vec::new(),
        name: None,
        place: place(line),
    }
}

/// A forward of one TCP port at a line.
pub fn forward(port: u16, host: usize, line: u32) -> PortForward {
    PortForward {
        transports: vec![Transport::Tcp],
        ports: PortRange { first: port, last: port },
        host,
        target_port: None,
        from: Vec::new(),
        name: None,
        place: place(line),
    }
}

/// One port as a rule names it.
pub fn tcp(port: u16) -> Service {
    Service::Tcp(PortRange { first: port, last: port })
}

/// An uplink and two networks, `lan` and `iot`, with nothing allowed.
pub fn config() -> Config {
    Config {
        gateway: Gateway {
            name: DomainName::parse("gateway").unwrap(),
            domain: DomainName::parse("home.arpa").unwrap(),
        },
        wan: Some(Wan { interface: "eth0".into(), address: WanAddress::System, place: place(1) }),
        networks: vec![network("lan", "eth1", "192.168.1.1/24"), network("iot", "eth1.20", "192.168.20.1/24")],
        hosts: Vec::new(),
        groups: Vec::new(),
        outside_names: Vec::new(),
        dns: Dns {
            upstreams: Vec::new(),
            forward: Vec::new(),
            hosts_files: Vec::new(),
            records: Vec::new(),
            rebind_protection: true,
            cache_size: 1000,
            cache_stale: Duration::ZERO,
        },
        firewall: Firewall::default(),
        forwards: Vec::new(),
        log: Log { level: "info".into() },
    }
}
