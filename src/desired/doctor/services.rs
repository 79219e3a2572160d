//! Who holds our ports, who else gives out addresses, who answers names.

use std::net::Ipv4Addr;

use super::{Facts, Finding, Holder, Transport};
use crate::config::{Config, Network};

const DNS: u16 = 53;
const DHCP: u16 = 67;

/// One finding for each of the ports 53 and 67.
pub(super) fn ports(config: &Config, facts: &Facts) -> Vec<Finding> {
    let serving: Vec<&Network> = config.networks.iter().filter(|network| network.dhcp.is_some()).collect();
    let all: Vec<&Network> = config.networks.iter().collect();
    [(DNS, all), (DHCP, serving)]
        .into_iter()
        .filter(|(_, networks)| !networks.is_empty())
        .map(|(port, networks)| one_port(port, &networks, facts))
        .collect()
}

fn one_port(port: u16, networks: &[&Network], facts: &Facts) -> Finding {
    let name = format!("port {port}");
    let holders = match &facts.holders {
        Ok(holders) => holders,
        Err(words) => return Finding::unknown(name, format!("cannot look: {words}")),
    };
    let own = facts.daemon.pid();
    let is_ours = |holder: &Holder| own.is_some() && holder.process.as_ref().map(|process| process.pid) == own;
    let here = |holder: &&Holder| holder.port == port && concerns(holder, networks, facts);
    let (ours, others): (Vec<&Holder>, Vec<&Holder>) = holders.iter().filter(here).partition(|holder| is_ours(holder));
    // A socket at our very address is heard before one at every address; for DHCP, broadcasts go to both.
    let in_the_way = |holder: &&&Holder| port == DHCP || holder.address.is_some() || !has_own(holder, &ours, networks);
    let mut bad = Vec::new();
    let mut hidden = 0;
    for holder in others.iter().filter(in_the_way) {
        if holder.process.is_none() && own.is_some() {
            hidden += 1;
            continue;
        }
        let entry = (format!("{} is held by {}", place(holder), owner(holder)), fix(holder, networks));
        if !bad.contains(&entry) {
            bad.push(entry);
        }
    }
    if bad.is_empty() && hidden > 0 {
        return Finding::unknown(name, "cannot look whose sockets these are: run as root");
    }
    let seen = match (ours.len(), own) {
        (0, None) => "free".to_owned(),
        (0, Some(_)) => "the gateway runs and does not listen here".to_owned(),
        (count, _) => format!("{count} sockets of the gateway"),
    };
    if bad.is_empty() && ours.is_empty() && own.is_some() {
        return Finding::bad(name, seen, "`labgate status` says why");
    }
    Finding::of(name, seen, bad)
}

/// Whether a socket hears what hosts of these networks send to the router.
fn concerns(holder: &Holder, networks: &[&Network], facts: &Facts) -> bool {
    let at_us = holder.address.is_none_or(|address| networks.iter().any(|network| network.router() == address));
    let link_of = |network: &&Network| Some(facts.links.as_ref().ok()?.by_name.get(network.link())?.index);
    let on_us = holder.link.is_none_or(|link| networks.iter().filter_map(link_of).any(|index| index == link));
    at_us && on_us
}

fn has_own(holder: &Holder, ours: &[&Holder], networks: &[&Network]) -> bool {
    networks.iter().all(|network| {
        ours.iter().any(|own| own.transport == holder.transport && own.address == Some(network.router()))
    })
}

fn place(holder: &Holder) -> String {
    let transport = match holder.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let address = holder.address.map_or("every address".to_owned(), |address: Ipv4Addr| address.to_string());
    format!("{transport}/{} on {address}", holder.port)
}

fn owner(holder: &Holder) -> String {
    match &holder.process {
        Some(process) => format!("{} (pid {})", process.name, process.pid),
        None => "a process that only root may see".to_owned(),
    }
}

fn fix(holder: &Holder, networks: &[&Network]) -> String {
    let links: Vec<&str> = networks.iter().map(|network| &**network.link()).collect();
    let name = holder.process.as_ref().map_or("", |process| process.name.as_str());
    match (name, holder.port) {
        ("systemd-resolve", DNS) => {
            "`DNSStubListenerExtra=` in /etc/systemd/resolved.conf puts it there: take that line out, systemctl restart systemd-resolved".to_owned()
        }
        ("dnsmasq", DNS) => format!(
            "systemctl disable --now dnsmasq; where it has other work (libvirt), give it `bind-interfaces` and `except-interface={}`",
            links.join(",")
        ),
        ("dnsmasq", _) => format!(
            "systemctl disable --now dnsmasq; where it has other work, give it `no-dhcp-interface={}`",
            links.join(",")
        ),
        ("named" | "unbound", DNS) => {
            format!("systemctl disable --now {name}, or let it listen on 127.0.0.1 alone and name it in [dns] upstream")
        }
        ("dhcpd" | "kea-dhcp4" | "udhcpd", DHCP) => format!("stop {name} and disable its unit: one server is enough"),
        ("", _) => format!("`ss -lnp sport = :{}` as root shows it; stop it, or tie it to other addresses", holder.port),
        (name, _) => format!("stop {name} and disable its unit, or tie it to other addresses"),
    }
}

/// One finding for each network on which we serve DHCP: who else offered an address.
pub(super) fn other_servers(config: &Config, facts: &Facts) -> Vec<Finding> {
    let judge = |network: &Network| {
        let name = format!("dhcp server {}", network.name);
        Some(match facts.offers.get(&network.name)? {
            Err(words) => Finding::unknown(name, format!("cannot look: {words}")),
            Ok(offers) => {
                let others = offers.iter().filter(|offer| offer.server != network.router());
                let bad = others.map(|offer| {
                    (
                        format!("{} offered {} on {}", offer.server, offer.address, network.link()),
                        format!(
                            "switch DHCP off on {}: two servers give out the same addresses; \
                             `ip neigh show {0}` tells its hardware address",
                            offer.server
                        ),
                    )
                });
                Finding::of(name, "nobody else offers addresses", bad.collect())
            }
        })
    };
    config.networks.iter().filter_map(judge).collect()
}

pub(super) fn upstreams(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "upstreams";
    if facts.upstreams.is_empty() {
        return Some(Finding::bad(
            NAME,
            "there is nobody to ask for outside names: the file names no upstream, and the uplink has learned none",
            "[dns] upstream = [\"9.9.9.9\"]",
        ));
    }
    let words = |(server, answer): &(_, Result<(), String>)| match answer {
        Ok(()) => format!("{server} answers"),
        Err(error) => format!("{server}: {error}"),
    };
    let evidence = facts.upstreams.iter().map(words).collect();
    let answers = facts.upstreams.iter().any(|(_, answer)| answer.is_ok());
    let fix = "is the uplink alive (checks above)? else name other servers in [dns] upstream";
    Some(Finding {
        name: NAME.to_owned(),
        verdict: if answers { super::Verdict::Good } else { super::Verdict::Bad },
        evidence,
        fix: if answers { Vec::new() } else { vec![fix.to_owned()] },
    })
}
