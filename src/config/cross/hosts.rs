//! Hosts against each other and the networks.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::context::Context;
use crate::config::decode::{HostDraft, NetworkDraft};
use crate::config::source::{At, Span};
use crate::config::types::Gateway;
use crate::model::DomainName;

/// What the hosts take: later tables look here.
pub(in crate::config) struct Reserved {
    /// Reserved address → host.
    pub addresses: HashMap<Ipv4Addr, usize>,
    /// The router's own address → network.
    pub routers: HashMap<Ipv4Addr, usize>,
    /// Range → network.
    pub networks: HashMap<Ipv4Net, usize>,
    /// Name in the local domain, or a full name → who has it.
    names: HashMap<String, (String, Option<Span>)>,
}

impl Reserved {
    /// Who has a DNS name already.
    pub fn name_owner(&self, name: &DomainName, domain: &DomainName) -> Option<(&str, Option<Span>)> {
        let (owner, span) = self.names.get(short(name, domain))?;
        Some((owner, *span))
    }
}

/// `nas.home.arpa` → `nas`, other names as they are.
fn short<'n>(name: &'n DomainName, domain: &DomainName) -> &'n str {
    match name.as_str().strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.')) {
        Some(label) if !label.contains('.') => label,
        _ => name.as_str(),
    }
}

/// Checks the hosts among themselves and against the networks.
pub(in crate::config) fn hosts(
    context: &mut Context,
    networks: &[NetworkDraft],
    hosts: &[HostDraft],
    gateway: &Gateway,
) -> Reserved {
    let macs = hosts.iter().flat_map(|host| host.macs.iter().map(move |mac| (host, mac)));
    unique(context, "duplicate-mac", "MAC address", macs, |mac| mac.to_string());
    let ids = hosts.iter().filter_map(|host| Some((host, host.client_id.as_ref()?)));
    unique(context, "duplicate-client-id", "client identifier", ids, |id| octets(id));
    let ips = hosts.iter().filter_map(|host| Some((host, host.ip.as_ref()?)));
    unique(context, "duplicate-address", "address", ips, |ip| ip.to_string());
    placed(context, networks, hosts);
    let mut addresses = HashMap::new();
    for (index, host) in hosts.iter().enumerate() {
        if let Some(ip) = &host.ip {
            addresses.entry(ip.value).or_insert(index);
        }
    }
    let nets =
        || networks.iter().enumerate().filter_map(|(index, network)| Some((network.address.as_ref()?.value, index)));
    Reserved {
        addresses,
        routers: nets().map(|(net, index)| (net.addr(), index)).collect(),
        networks: nets().map(|(net, index)| (net.trunc(), index)).collect(),
        names: names(context, hosts, gateway),
    }
}

/// Reports every value that two hosts have.
fn unique<'h, T: Hash + Eq + 'h>(
    context: &mut Context,
    slug: &'static str,
    what: &str,
    values: impl Iterator<Item = (&'h HostDraft, &'h At<T>)>,
    show: impl Fn(&T) -> String,
) {
    let mut owners: HashMap<&T, (&HostDraft, Span)> = HashMap::new();
    for (host, value) in values {
        let Some((first_host, first)) = owners.get(&value.value) else {
            owners.insert(&value.value, (host, value.span));
            continue;
        };
        let same = std::ptr::eq(*first_host, host);
        let who = if same { "one host has twice" } else { "two hosts have" };
        context
            .error(slug, value.span, format!("{who} the {what} {}", show(&value.value)))
            .label(format!("given again to `{}`", host.name))
            .also(*first, format!("first given to `{}`", first_host.name))
            .help = help(slug, same);
    }
}

fn help(slug: &str, same: bool) -> Option<String> {
    match (slug, same) {
        (_, true) => Some("keep one of them".to_owned()),
        ("duplicate-mac", _) => Some("one device is one host; `alias` gives it further names".to_owned()),
        _ => None,
    }
}

fn octets(id: &[u8]) -> String {
    let pairs: Vec<String> = id.iter().take(20).map(|octet| format!("{octet:02x}")).collect();
    pairs.join(":")
}

fn placed(context: &mut Context, networks: &[NetworkDraft], hosts: &[HostDraft]) {
    // While a network's address is unreadable, nothing can be said to lie outside.
    let complete = networks.iter().all(|network| network.address.is_some());
    let mut ranges: Vec<(Ipv4Net, &NetworkDraft)> =
        networks.iter().filter_map(|network| Some((network.address.as_ref()?.value, network))).collect();
    ranges.sort_by_key(|(net, _)| (net.network(), net.broadcast()));
    for host in hosts {
        let Some(ip) = &host.ip else { continue };
        let index = ranges.partition_point(|(net, _)| net.network() <= ip.value);
        let found = ranges[..index].last().filter(|(net, _)| net.contains(&ip.value));
        // Overlapping networks are reported elsewhere; there the nearest start may not be the one that holds the address.
        let found = found.or_else(|| ranges[..index].iter().rev().take(8).find(|(net, _)| net.contains(&ip.value)));
        match found {
            Some((net, network)) => taken(context, host, ip, *net, network),
            None if complete && !networks.is_empty() => outside(context, networks, host, ip),
            None => {}
        }
    }
}

fn taken(context: &mut Context, host: &HostDraft, ip: &At<Ipv4Addr>, net: Ipv4Net, network: &NetworkDraft) {
    let what = match ip.value {
        address if address == net.addr() => "the router's own address",
        address if address == net.network() => "the network address",
        address if address == net.broadcast() => "the broadcast address",
        _ => return,
    };
    let range = network.address.as_ref().map_or(network.span, |address| address.span);
    context
        .error("reserved-address", ip.span, format!("{} is {what} of `{}`", ip.value, network.name))
        .label(format!("given to `{}`", host.name))
        .also(range, "the network")
        .help("choose another address");
}

fn outside(context: &mut Context, networks: &[NetworkDraft], host: &HostDraft, ip: &At<Ipv4Addr>) {
    let ranges: Vec<String> = networks
        .iter()
        .take(8)
        .filter_map(|network| Some(format!("{} ({})", network.address.as_ref()?.value.trunc(), network.name)))
        .collect();
    context
        .error("outside-every-network", ip.span, format!("{} lies in no network", ip.value))
        .label(format!("reserved for `{}`", host.name))
        .help(format!("the networks are {}", ranges.join(", ")));
}

/// Collects the DNS names of hosts, and reports those given twice.
fn names(context: &mut Context, hosts: &[HostDraft], gateway: &Gateway) -> HashMap<String, (String, Option<Span>)> {
    let mut names = HashMap::new();
    names.insert(gateway.name.as_str().to_owned(), ("the router's own name".to_owned(), None));
    for host in hosts {
        add_name(context, &mut names, &host.name, host.span, format!("the host `{}`", host.name));
    }
    for host in hosts {
        for alias in &host.aliases {
            let name = short(&alias.value, &gateway.domain);
            add_name(context, &mut names, name, alias.span, format!("an alias of `{}`", host.name));
        }
    }
    names
}

fn add_name(
    context: &mut Context,
    names: &mut HashMap<String, (String, Option<Span>)>,
    name: &str,
    span: Span,
    owner: impl Display,
) {
    let owner = owner.to_string();
    let Some((first_owner, first)) = names.get(name) else {
        names.insert(name.to_owned(), (owner, Some(span)));
        return;
    };
    // The same key twice, in another case, is reported with the names of rules.
    if owner == *first_owner && owner.starts_with("the host") {
        return;
    }
    let (first_owner, first) = (first_owner.clone(), *first);
    let finding = context.error("duplicate-name", span, format!("the name `{name}` is given twice"));
    finding.label(format!("given again as {owner}"));
    match first {
        Some(first) => finding.also(first, format!("first given as {first_owner}")),
        None => finding.help(format!("`{name}` is {first_owner}: choose another, or set `gateway.name`")),
    };
}
