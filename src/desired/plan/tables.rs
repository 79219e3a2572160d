//! What the tables of the file say otherwise: networks, hosts, forwards, names, settings.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Effect, Sign, Standing};
use crate::config::{Config, Host, Network, PortForward, PortRange, Transport};
use crate::model::{Binding, Bindings, Now, span_text};

/// So many names are told one by one.
const TOLD: usize = 20;

pub(super) fn effects(old: &Standing<'_>, new: &Standing<'_>, bindings: &Bindings, now: Now) -> Vec<Effect> {
    let mut teller = Teller { old: old.config, new: new.config, effects: Vec::new() };
    teller.uplink();
    teller.networks();
    teller.hosts(bindings, now);
    teller.forwards(old, new);
    teller.names();
    teller.settings();
    teller.effects
}

struct Teller<'a> {
    old: &'a Config,
    new: &'a Config,
    effects: Vec<Effect>,
}

impl Teller<'_> {
    fn tell(&mut self, subject: impl Into<String>, sign: Sign, words: impl Into<String>, note: impl Into<String>) {
        self.effects.push(Effect { subject: subject.into(), sign, words: words.into(), note: note.into() });
    }

    fn uplink(&mut self) {
        let words = |config: &Config| {
            config.wan.as_ref().map(|wan| match &wan.address {
                crate::config::WanAddress::System => format!("{}, address of the system", wan.interface),
                crate::config::WanAddress::Dhcp => format!("{}, address by DHCP", wan.interface),
                crate::config::WanAddress::Static { address, gateway } => {
                    format!("{}, {address} by {gateway}", wan.interface)
                }
            })
        };
        match (words(self.old), words(self.new)) {
            (old, new) if old == new => {}
            (Some(old), Some(new)) => self.tell("wan", Sign::Other, new, format!("was: {old}")),
            (Some(old), None) => self.tell("wan", Sign::Less, old, "there is no uplink any more"),
            (None, new) => self.tell("wan", Sign::More, new.unwrap_or_default(), ""),
        }
    }

    fn networks(&mut self) {
        let find = |list: &[Network], name: &str| list.iter().find(|network| *network.name == *name).cloned();
        for network in &self.old.networks {
            if find(&self.new.networks, &network.name).is_none() {
                let words = format!("{} on {}", network.address, network.link());
                self.tell(
                    format!("network {}", network.name),
                    Sign::Less,
                    words,
                    "its hosts are on no network any more",
                );
            }
        }
        for network in &self.new.networks {
            let subject = format!("network {}", network.name);
            match find(&self.old.networks, &network.name) {
                None => self.tell(subject, Sign::More, format!("{} on {}", network.address, network.link()), ""),
                Some(old) => self.network(&subject, &old, network),
            }
        }
    }

    fn network(&mut self, subject: &str, old: &Network, new: &Network) {
        if old.address != new.address {
            let note = "the router moves at once; leases move when they are renewed";
            self.tell(subject, Sign::Other, format!("address {} -> {}", old.address, new.address), note);
        }
        if old.interface != new.interface {
            self.tell(subject, Sign::Other, format!("interface {} -> {}", old.link(), new.link()), "");
        }
        for (key, old, new) in [("internet", old.internet, new.internet), ("admin", old.admin, new.admin)] {
            if old != new {
                self.tell(subject, Sign::More, format!("{key} = {new}"), format!("was: {old}"));
            }
        }
        if old.domain != new.domain {
            self.tell(subject, Sign::Other, format!("domain {} -> {}", old.domain, new.domain), "its names move");
        }
        match (&old.dhcp, &new.dhcp) {
            (Some(_), None) => self.tell(subject, Sign::Less, "dhcp", "leases run out and are not renewed"),
            (None, Some(_)) => self.tell(subject, Sign::More, "dhcp", ""),
            (Some(old), Some(new)) if old.pools != new.pools => {
                let pools = |pools: &[std::ops::RangeInclusive<Ipv4Addr>]| {
                    let words: Vec<String> =
                        pools.iter().map(|pool| format!("{}-{}", pool.start(), pool.end())).collect();
                    words.join(", ")
                };
                let note = "leases outside move when they are renewed";
                self.tell(subject, Sign::Other, format!("pool {} -> {}", pools(&old.pools), pools(&new.pools)), note);
            }
            (Some(old), Some(new)) if old != new => {
                self.tell(subject, Sign::Other, "dhcp options or times", "taken over when a lease is renewed");
            }
            _ => {}
        }
    }

    fn hosts(&mut self, bindings: &Bindings, now: Now) {
        let find = |list: &[Host], name: &str| list.iter().find(|host| *host.name == *name).cloned();
        for host in &self.old.hosts {
            if find(&self.new.hosts, &host.name).is_none() {
                let lease = lease_of(host, bindings);
                let note = lease
                    .map_or(String::new(), |lease| format!("its lease of {} becomes an ordinary one", lease.address));
                self.tell(format!("host {}", host.name), Sign::Less, place(host), note);
            }
        }
        for host in &self.new.hosts {
            let subject = format!("host {}", host.name);
            let lease = lease_of(host, bindings);
            let moves =
                lease.filter(|lease| host.ip.is_some_and(|ip| ip != lease.address)).map(|lease| renewal(lease, now));
            match find(&self.old.hosts, &host.name) {
                None => self.tell(subject, Sign::More, place(host), moves.unwrap_or_default()),
                Some(old) => self.host(subject, &old, host, moves),
            }
        }
    }

    fn host(&mut self, subject: String, old: &Host, new: &Host, moves: Option<String>) {
        match (old.ip, new.ip) {
            (Some(old), Some(new)) if old != new => {
                self.tell(&subject, Sign::Other, format!("ip {old} -> {}", short(old, new)), moves.unwrap_or_default());
            }
            (None, Some(ip)) => self.tell(&subject, Sign::More, format!("ip {ip}"), moves.unwrap_or_default()),
            (Some(ip), None) => self.tell(&subject, Sign::Less, format!("ip {ip}"), "it follows its lease from now on"),
            _ => {}
        }
        if old.macs != new.macs || old.client_id != new.client_id {
            self.tell(subject, Sign::Other, "mac or client-id", "another device is this host from now on");
        }
    }

    fn forwards(&mut self, old: &Standing<'_>, new: &Standing<'_>) {
        let target = |standing: &Standing<'_>, forward: &PortForward| {
            let host = &standing.config.hosts[forward.host].name;
            let port = forward.target_port.map_or(String::new(), |port| format!(":{port}"));
            let address = standing.hosts.get(forward.host);
            (format!("{host}{port}"), address)
        };
        let shown = |(name, address): &(String, Option<Ipv4Addr>)| match address {
            Some(address) => format!("{name} {address}"),
            None => format!("{name}, without an address now"),
        };
        for forward in &self.old.forwards {
            if !self.new.forwards.iter().any(|other| key(other) == key(forward)) {
                self.tell(format!("forward {}", key(forward)), Sign::Less, shown(&target(old, forward)), "");
            }
        }
        for forward in &self.new.forwards {
            let subject = format!("forward {}", key(forward));
            let now = target(new, forward);
            let Some(before) = self.old.forwards.iter().find(|other| key(other) == key(forward)) else {
                self.tell(subject, Sign::More, shown(&now), "");
                continue;
            };
            let was = target(old, before);
            match (&was, &now) {
                _ if was == now => {}
                ((one, Some(from)), (other, Some(to))) if one == other => {
                    let note = "open connections keep the old target";
                    self.tell(&subject, Sign::Other, format!("{one} {from} -> {}", short(*from, *to)), note);
                }
                _ => {
                    let words = format!("{} -> {}", shown(&was), shown(&now));
                    self.tell(&subject, Sign::Other, words, "open connections keep the old target");
                }
            }
            if before.from != forward.from {
                let list = |forward: &PortForward| match forward.from.is_empty() {
                    true => "everybody".to_owned(),
                    false => forward.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                };
                self.tell(subject, Sign::Other, format!("from {}", list(forward)), format!("was: {}", list(before)));
            }
        }
    }

    /// Names that come and go: those of hosts, their aliases, and records.
    fn names(&mut self) {
        let names = |config: &Config| -> BTreeSet<String> {
            let aliases = config.hosts.iter().flat_map(|host| host.aliases.iter().map(ToString::to_string));
            let records = config.dns.records.iter().map(|record| record.name.to_string());
            aliases.chain(records).collect()
        };
        if self.old.gateway.domain != self.new.gateway.domain {
            let words = format!("{} -> {}", self.old.gateway.domain, self.new.gateway.domain);
            self.tell("domain", Sign::Other, words, "every name of the home moves");
        }
        let (old, new) = (names(self.old), names(self.new));
        for (sign, more, less) in [(Sign::Less, &old, &new), (Sign::More, &new, &old)] {
            let found: Vec<&String> = more.difference(less).collect();
            for name in found.iter().take(TOLD) {
                self.tell(
                    format!("name {name}"),
                    sign,
                    if sign == Sign::More { "answers" } else { "is not known any more" },
                    "",
                );
            }
            if found.len() > TOLD {
                self.tell("names", sign, format!("and {} more", found.len() - TOLD), "");
            }
        }
        for record in &self.new.dns.records {
            let before = self.old.dns.records.iter().find(|old| old.name == record.name);
            let kept = old.contains(&record.name.to_string());
            if kept && before.is_some_and(|old| old.data != record.data) {
                self.tell(format!("name {}", record.name), Sign::Other, "another answer", "");
            }
        }
    }

    fn settings(&mut self) {
        let (old, new) = (&self.old.dns, &self.new.dns);
        if old.upstreams != new.upstreams || old.forward != new.forward {
            self.tell("dns", Sign::Other, "upstream servers", "the cache stays");
        }
        if old.hosts_files != new.hosts_files {
            self.tell("dns", Sign::Other, "hosts files", "");
        }
        if old.rebind_protection != new.rebind_protection {
            let words = format!("rebind-protection = {}", new.rebind_protection);
            self.tell("dns", Sign::Other, words, format!("was: {}", old.rebind_protection));
        }
        if (old.cache_size, old.cache_stale) != (new.cache_size, new.cache_stale) {
            self.tell("dns", Sign::Other, "cache", "");
        }
        if self.old.gateway.name != self.new.gateway.name {
            let words = format!("name {} -> {}", self.old.gateway.name, self.new.gateway.name);
            self.tell("gateway", Sign::Other, words, "");
        }
        if self.old.log != self.new.log {
            self.tell(
                "log",
                Sign::Other,
                format!("level = {}", self.new.log.level),
                format!("was: {}", self.old.log.level),
            );
        }
    }
}

/// `tcp/443`, `tcp+udp/6881-6889`: the key of a forward.
fn key(forward: &PortForward) -> String {
    let names = |transport: &Transport| if *transport == Transport::Tcp { "tcp" } else { "udp" };
    let transports: Vec<&str> = forward.transports.iter().map(names).collect();
    let PortRange { first, last } = forward.ports;
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    format!("{}/{ports}", transports.join("+"))
}

fn place(host: &Host) -> String {
    host.ip.map_or_else(|| "follows its lease".to_owned(), |ip| ip.to_string())
}

/// The second address without what it shares with the first: `.12`.
fn short(from: Ipv4Addr, to: Ipv4Addr) -> String {
    let [.., last] = to.octets();
    if from.octets()[..3] == to.octets()[..3] { format!(".{last}") } else { to.to_string() }
}

fn lease_of<'b>(host: &Host, bindings: &'b Bindings) -> Option<&'b Binding> {
    let by_identifier = |binding: &Binding| {
        let identifier = binding.client.identifier();
        identifier.is_some() && identifier == host.client_id.as_deref()
    };
    let held = |binding: &Binding| by_identifier(binding) || binding.mac.is_some_and(|mac| host.macs.contains(&mac));
    let found = bindings.iter().map(|(_, binding)| &**binding).filter(|binding| held(binding));
    found.max_by_key(|binding| binding.acknowledged_unix)
}

/// A client asks again when half of its lease is over (RFC 2131 §4.4.5).
fn renewal(lease: &Binding, now: Now) -> String {
    let Some(ends) = lease.expires_unix else { return "the client keeps its lease until it asks again".to_owned() };
    let half = lease.acknowledged_unix + ends.saturating_sub(lease.acknowledged_unix) / 2;
    match half.saturating_sub(now.unix) {
        0 => "lease moves at its next renewal".to_owned(),
        seconds => format!("lease moves at its next renewal (in {})", span_text(seconds)),
    }
}
