//! Interfaces, addresses, routes, forwarding, sizes of packets.

use super::machine::of_link;
use super::{Facts, Finding};
use crate::config::{Config, Network, NetworkInterface, WanAddress};
use crate::desired::network::{IP_FORWARD, WAN};
use crate::dhcp::code;
use crate::model::{Link, Links};

/// What hosts assume where nobody tells them otherwise.
const ETHERNET_MTU: u32 = 1500;

/// One finding for the uplink and for each network: there, up, with a carrier, with its address.
pub(super) fn interfaces(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(wan) = &config.wan {
        found.push(looked(format!("interface {WAN}"), facts, |links| {
            let address = match &wan.address {
                WanAddress::Static { address, .. } => Some(*address),
                _ => None,
            };
            let missing = match &wan.address {
                WanAddress::System => "the system gives it none: set it there, or `wan.address = \"dhcp\"`",
                WanAddress::Dhcp => "no DHCP server of the provider has given one: is its box up?",
                WanAddress::Static { .. } => "the running gateway sets it: `systemctl start labgate`",
            };
            match links.by_name.get(&wan.interface) {
                Some(link) if link.addresses.is_empty() && usable(&wan.interface, link).is_none() => {
                    Err((format!("{} has no IPv4 address", wan.interface), missing.to_owned()))
                }
                link => state(&wan.interface, link, address),
            }
        }));
    }
    for network in &config.networks {
        found.push(looked(format!("interface {}", network.name), facts, |links| {
            if let NetworkInterface::Bridge { name, members } = &network.interface {
                for member in members {
                    let link = links.by_name.get(member);
                    state(member, link, None)?;
                    if link.is_some_and(|link| link.master.as_deref() != Some(&**name)) {
                        let seen = format!("{member} is not a member of {name}");
                        return Err((seen, format!("ip link set {member} master {name}")));
                    }
                }
            }
            state(network.link(), links.by_name.get(network.link()), Some(network.address))
        }));
    }
    found
}

fn looked(name: String, facts: &Facts, judge: impl FnOnce(&Links) -> Result<String, (String, String)>) -> Finding {
    match &facts.links {
        Err(words) => Finding::unknown(name, format!("cannot look: {words}")),
        Ok(links) => match judge(links) {
            Ok(seen) => Finding::good(name, seen),
            Err((seen, fix)) => Finding::bad(name, seen, fix),
        },
    }
}

/// What keeps a link from carrying anything, and what helps.
fn usable(name: &str, link: &Link) -> Option<(String, String)> {
    if !link.up {
        return Some((format!("{name} is down"), format!("ip link set {name} up")));
    }
    let fix = "plug the cable in; where it is, look at the machine at its other end and at `ethtool`";
    (!link.carrier).then(|| (format!("{name} is up and has no carrier"), fix.to_owned()))
}

fn state(name: &str, link: Option<&Link>, address: Option<ipnet::Ipv4Net>) -> Result<String, (String, String)> {
    let Some(link) = link else {
        let fix = "`ip link` lists what there is: plug it in, load its driver, or give the file the right name";
        return Err((format!("there is no interface {name}"), fix.to_owned()));
    };
    if let Some(bad) = usable(name, link) {
        return Err(bad);
    }
    if let Some(address) = address.filter(|address| !link.addresses.contains(address)) {
        let has = list(&link.addresses);
        let fix = format!("the running gateway sets it; by hand: ip addr add {address} dev {name}");
        return Err((format!("{name} has {has} and not {address}"), fix));
    }
    Ok(format!("{name} is up and has {}", list(&link.addresses)))
}

fn list(addresses: &[ipnet::Ipv4Net]) -> String {
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if words.is_empty() { "no address".to_owned() } else { words.join(" and ") }
}

pub(super) fn default_route(config: &Config, facts: &Facts) -> Option<Finding> {
    let wan = config.wan.as_ref()?;
    Some(looked("default route".to_owned(), facts, |links| match &links.default_route {
        None => Err((
            "there is no default route: nothing beyond the own networks is reached".to_owned(),
            match &wan.address {
                WanAddress::System => "the system sets it (its network configuration), or `wan.address = \"dhcp\"`",
                _ => "the running gateway sets it; see the check `interface wan`",
            }
            .to_owned(),
        )),
        Some((_, link)) if *link != wan.interface => Err((
            format!("the default route leads through {link}, the file's uplink is {}", wan.interface),
            format!("remove that route (ip route del default dev {link}), or name {link} in [wan]"),
        )),
        Some((router, link)) => Ok(match router {
            Some(router) => format!("through {router} on {link}"),
            None => format!("on {link}"),
        }),
    }))
}

pub(super) fn forwarding(config: &Config, facts: &Facts) -> Finding {
    let value = |name: &str| facts.settings.get(name).map(String::as_str);
    let mut bad = Vec::new();
    let persistent = |key: String| format!("sysctl -w {key}=1, and `{key} = 1` in /etc/sysctl.d/60-labgate.conf");
    if value(IP_FORWARD) == Some("0") {
        bad.push((
            "net.ipv4.ip_forward is 0: no packet passes the router".to_owned(),
            persistent("net.ipv4.ip_forward".to_owned()),
        ));
    } else {
        let uplink = config.wan.iter().map(|wan| &wan.interface);
        for link in uplink.chain(config.networks.iter().map(Network::link)) {
            if value(&of_link(link, "forwarding")) == Some("0") {
                let seen = format!("forwarding is off on {link} alone: nothing that comes in there passes the router");
                bad.push((seen, persistent(key(&of_link(link, "forwarding")))));
            }
        }
    }
    Finding::of("forwarding", "on", bad)
}

/// A setting as sysctl(8) writes it: a dot inside an interface's name becomes a slash.
fn key(path: &str) -> String {
    let swapped = |c| {
        if c == '/' {
            '.'
        } else if c == '.' {
            '/'
        } else {
            c
        }
    };
    path.chars().map(swapped).collect()
}

/// The kernel takes the larger value of `all` and the interface. Strict on the uplink is wrong where answers leave another way.
pub(super) fn reverse_path(config: &Config, facts: &Facts) -> Option<Finding> {
    let wan = config.wan.as_ref()?;
    let value = |link: &str| facts.settings.get(&of_link(link, "rp_filter"))?.parse::<u8>().ok();
    let effective = value(&wan.interface)?.max(value("all").unwrap_or(0));
    let elsewhere = facts.links.as_ref().ok()?.default_route.as_ref().filter(|(_, link)| *link != wan.interface);
    Some(match elsewhere {
        Some((_, link)) if effective == 1 => Finding::bad(
            "reverse path filter",
            format!(
                "strict on {}, and the default route leads through {link}: what comes in there is dropped",
                wan.interface
            ),
            format!("sysctl -w {}=2", key(&of_link(&wan.interface, "rp_filter"))),
        ),
        _ => Finding::good("reverse path filter", format!("{effective} on {}", wan.interface)),
    })
}

/// Packets that are too large for the next link vanish where nobody is told: hosts by DHCP, TCP by our clamp.
pub(super) fn packet_sizes(config: &Config, facts: &Facts) -> Option<Finding> {
    let links = facts.links.as_ref().ok()?;
    let mut bad = Vec::new();
    let mut sizes = Vec::new();
    for network in &config.networks {
        let Some(link) = links.by_name.get(network.link()) else { continue };
        sizes.push(format!("{} {}", network.link(), link.mtu));
        let told = network.dhcp.as_ref().and_then(|scope| {
            let (_, value) = scope.options.iter().find(|(option, _)| *option == code::INTERFACE_MTU)?;
            Some(u32::from(u16::from_be_bytes(value[..].try_into().ok()?)))
        });
        let assumed = told.unwrap_or(ETHERNET_MTU);
        if link.mtu < assumed {
            bad.push((
                format!(
                    "{} takes {} octets and its hosts send up to {assumed}: larger packets vanish, small ones pass",
                    network.link(),
                    link.mtu
                ),
                format!(
                    "ip link set {} mtu {assumed}; or tell the hosts, [network.{}] dhcp.options = {{ mtu = {} }}",
                    network.link(),
                    network.name,
                    link.mtu
                ),
            ));
        }
    }
    if let Some(uplink) = config.wan.as_ref().and_then(|wan| Some((wan, links.by_name.get(&wan.interface)?))) {
        let (wan, link) = uplink;
        sizes.push(format!("{} {}", wan.interface, link.mtu));
        let larger = config
            .networks
            .iter()
            .any(|network| links.by_name.get(network.link()).is_some_and(|inside| inside.mtu > link.mtu));
        let clamped = match &facts.chains {
            Ok(chains) => chains.iter().any(|chain| chain.is_ours() && chain.name == "mss" && !chain.rules.is_empty()),
            // Then it is not known, and another check says so.
            Err(_) => true,
        };
        if larger && !clamped {
            bad.push((
                format!(
                    "{} takes {} octets, less than the networks, and TCP is not told: large transfers hang",
                    wan.interface, link.mtu
                ),
                "the running gateway's table tells it (chain mss): systemctl start labgate".to_owned(),
            ));
        }
    }
    Some(Finding::of("packet size", sizes.join(", "), bad))
}
