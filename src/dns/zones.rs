//! Which suffix decides about a name: own domains, special-use names, private reverse zones, conditional forwarding.

use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::Ipv4Net;

use super::answer::Route;
use super::wire::{WireName, labels, suffixes};
use crate::config::{Config, Upstream};
use crate::model::DomainName;

/// Names that stay here although nothing is known about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `localhost.` and names below (RFC 6761 §6.3).
    Localhost,
    /// `local.`: multicast DNS (RFC 6762).
    Local,
    /// `onion.` (RFC 7686).
    Onion,
    /// `invalid.` (RFC 6761 §6.4).
    Invalid,
    /// `test.` (RFC 6761 §6.2).
    Test,
    /// `home.arpa.` where it is not the own domain (RFC 8375).
    HomeArpa,
    /// `internal.`, reserved for private use.
    Internal,
    /// `alt.` (RFC 9476).
    Alt,
    /// `resolver.arpa.` (RFC 9462).
    ResolverArpa,
    /// Reverse names of private addresses (RFC 6303).
    PrivateReverse,
    /// A name of one label: it means something at home or nothing.
    SingleLabel,
}

/// Who decides about the names of a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A domain of ours: what is not known does not exist.
    Own,
    /// Answered here, never forwarded.
    Special(Special),
    /// `dns.forward`: index into [`Zones::forward`].
    Forward(usize),
    /// Nobody; only on the way to a longer suffix.
    Between,
}

/// Conditional forwarding: a suffix and its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardZone {
    /// The suffix.
    pub name: WireName,
    /// Who is asked.
    pub servers: Vec<Upstream>,
}

/// The part of the configuration that decides about suffixes, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Zones {
    by_suffix: HashMap<WireName, Kind, FixedState>,
    /// `dns.forward`.
    pub forward: Vec<ForwardZone>,
    /// Prefixes of the own networks.
    pub subnets: Vec<Ipv4Net>,
    /// `dns.rebind-protection`.
    pub rebind_protection: bool,
    /// `dns.cache.stale`.
    pub stale: Duration,
}

const SPECIAL: [(&str, Special); 10] = [
    ("localhost", Special::Localhost),
    ("local", Special::Local),
    ("onion", Special::Onion),
    ("invalid", Special::Invalid),
    ("test", Special::Test),
    ("home.arpa", Special::HomeArpa),
    ("internal", Special::Internal),
    ("alt", Special::Alt),
    ("resolver.arpa", Special::ResolverArpa),
    ("127.in-addr.arpa", Special::Localhost),
];

/// RFC 6303 and RFC 7793, but for the two ranges that are counted out below.
const PRIVATE_REVERSE: [&str; 17] = [
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

fn wire(text: &str) -> Option<WireName> {
    DomainName::parse(text).ok().map(|name| WireName::new(&name))
}

impl Zones {
    /// Compiles the configuration.
    pub fn new(config: &Config) -> Self {
        let mut zones = Zones {
            by_suffix: HashMap::default(),
            forward: Vec::new(),
            subnets: config.networks.iter().map(|network| network.address.trunc()).collect(),
            rebind_protection: config.dns.rebind_protection,
            stale: config.dns.cache_stale,
        };
        for (name, special) in SPECIAL {
            zones.set(wire(name), Kind::Special(special));
        }
        let private = PRIVATE_REVERSE.iter().map(ToString::to_string);
        let counted = (16..32).map(|i| format!("{i}.172.in-addr.arpa"));
        let shared = (64..128).map(|i| format!("{i}.100.in-addr.arpa"));
        for name in private.chain(counted).chain(shared) {
            zones.set(wire(&name), Kind::Special(Special::PrivateReverse));
        }
        for domain in config.networks.iter().map(|network| &network.domain).chain([&config.gateway.domain]) {
            zones.set(Some(WireName::new(domain)), Kind::Own);
        }
        for (name, servers) in &config.dns.forward {
            let name = WireName::new(name);
            zones.set(Some(name.clone()), Kind::Forward(zones.forward.len()));
            zones.forward.push(ForwardZone { name, servers: servers.clone() });
        }
        zones
    }

    fn set(&mut self, name: Option<WireName>, kind: Kind) {
        let Some(name) = name else { return };
        for above in suffixes(name.as_bytes()).skip(1).filter(|above| above.len() > 1) {
            self.by_suffix.entry(WireName::from_wire(above)).or_insert(Kind::Between);
        }
        self.by_suffix.insert(name, kind);
    }

    /// The longest suffix of `name` (wire form, lower case) that somebody decides about: who, and the suffix.
    /// Walks from the right and stops at the first unknown label, so that an outside name costs one look.
    pub fn find<'n>(&self, name: &'n [u8]) -> Option<(Kind, &'n [u8])> {
        let mut starts = [0u8; 128];
        let mut count = 0;
        let mut position = 0;
        for label in labels(name).take(127) {
            starts[count] = position;
            count += 1;
            position += 1 + label.len() as u8;
        }
        let mut found =
            self.by_suffix.get(&[0u8][..]).map(|&kind| (kind, name.get(usize::from(position)..).unwrap_or(&[0])));
        for &start in starts[..count].iter().rev() {
            let suffix = &name[usize::from(start)..];
            match self.by_suffix.get(suffix) {
                None => break,
                Some(Kind::Between) => {}
                Some(&kind) => found = Some((kind, suffix)),
            }
        }
        found
    }

    /// Which servers are asked for `name` (wire form, lower case), were it not known here; `None` where nobody is, whatever is known.
    pub fn route_of(&self, name: &[u8]) -> Option<Route> {
        match self.find(name) {
            Some((Kind::Forward(index), _)) => Some(Route::Forward(index)),
            Some((Kind::Own | Kind::Special(_), _)) => None,
            _ => Some(Route::Upstream),
        }
    }

    /// Whether an address belongs to an own network that no conditional forwarding takes away: `forward` is the zone the reverse name falls into.
    pub fn is_own_address(&self, address: IpAddr, forward: Option<&[u8]>) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let Some(subnet) = self.subnets.iter().find(|subnet| subnet.contains(&address)) else { return false };
        // `10.in-addr.arpa` has one label before `in-addr`: eight bits.
        forward.is_none_or(|zone| labels(zone).count().saturating_sub(2) * 8 < usize::from(subnet.prefix_len()))
    }

    /// Whether answers that were given by other zones than these may differ, so that a cache has to be emptied.
    pub fn answers_differ(&self, other: &Zones) -> bool {
        self.forward != other.forward || self.rebind_protection != other.rebind_protection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::config;

    #[test]
    fn the_longest_suffix_decides() {
        let mut config = config();
        let server = |text: &str| Upstream { transport: crate::config::Transport::Udp, server: text.parse().unwrap() };
        config.dns.forward = vec![
            (DomainName::parse("corp.example").unwrap(), vec![server("10.0.0.53:53")]),
            (DomainName::parse("10.in-addr.arpa").unwrap(), vec![server("10.0.0.53:53")]),
        ];
        let zones = Zones::new(&config);
        let kind = |name: &str| zones.find(wire(name).unwrap().as_bytes()).map(|(kind, _)| kind);
        assert_eq!(kind("nas.home.arpa"), Some(Kind::Own));
        assert_eq!(kind("home.arpa"), Some(Kind::Own));
        assert_eq!(kind("www.example"), None);
        assert_eq!(kind("a.corp.example"), Some(Kind::Forward(0)));
        assert_eq!(kind("1.2.3.10.in-addr.arpa"), Some(Kind::Forward(1)));
        assert_eq!(kind("1.2.20.172.in-addr.arpa"), Some(Kind::Special(Special::PrivateReverse)));
        assert_eq!(kind("1.2.32.172.in-addr.arpa"), None);
        assert_eq!(kind("printer.local"), Some(Kind::Special(Special::Local)));
        assert_eq!(kind("arpa"), None);
        assert_eq!(kind(""), None);
        assert!(zones.is_own_address("192.168.1.77".parse().unwrap(), None));
        assert!(!zones.is_own_address("192.168.99.77".parse().unwrap(), None));
        let (block, host) = (wire("168.192.in-addr.arpa").unwrap(), wire("1.168.192.in-addr.arpa").unwrap());
        assert!(zones.is_own_address("192.168.1.77".parse().unwrap(), Some(block.as_bytes())));
        assert!(!zones.is_own_address("192.168.1.77".parse().unwrap(), Some(host.as_bytes())));
    }
}
