//! The tree → drafts, table by table. Every reader goes on after a problem, so that one run finds them all.

mod dns;
mod expect;
mod firewall;
mod forward;
mod host;
mod network;

pub(super) use forward::ForwardDraft;
pub(super) use host::HostDraft;
pub(super) use network::{NetworkDraft, PoolDraft};

use super::context::{Context, Fields};
use super::cross;
use super::keys;
use super::names::{Names, OutsideNames};
use super::source::{At, Span};
use super::tree::{Node, Table, Value};
use super::types::{Config, Gateway, Log, Wan, WanAddress};
use super::values::{self, shown};
use crate::model::DomainName;

/// What the readers of later tables know about the earlier ones.
pub(super) struct Known<'a> {
    pub names: &'a Names,
    pub gateway: &'a Gateway,
    pub networks: &'a [NetworkDraft],
    pub hosts: &'a [HostDraft],
    pub reserved: &'a cross::Reserved,
    /// Names of the outside, as they are met.
    pub outside: OutsideNames,
}

/// Reads and checks everything. `Some` exactly where no error was found.
pub(super) fn config(context: &mut Context, root: &Table) -> Option<Config> {
    let fields = context.fields(root, &keys::ROOT, "");
    let mut names = Names::collect(context, root);
    let gateway = gateway(context, fields)?;
    let wan = wan(context, fields);
    let mut networks = entries(context, fields, "network")
        .into_iter()
        .map(|(key, span, node)| network::network(context, key, span, node))
        .collect::<Vec<_>>();
    cross::networks(context, &mut networks, wan.as_ref(), fields.get("network").map(|node| node.span));
    let hosts = entries(context, fields, "host")
        .into_iter()
        .map(|(key, span, node)| host::host(context, key, span, node))
        .collect::<Vec<_>>();
    for host in &hosts {
        for alias in &host.aliases {
            names.aliases.insert(alias.value.as_str().to_owned(), host.name.to_string());
        }
    }
    let reserved = cross::hosts(context, &networks, &hosts, &gateway);
    let outside = OutsideNames::default();
    let mut known =
        Known { names: &names, gateway: &gateway, networks: &networks, hosts: &hosts, reserved: &reserved, outside };
    let groups = entries(context, fields, "group")
        .into_iter()
        .map(|(key, span, node)| firewall::group(context, &mut known, key, span, node))
        .collect();
    let dns = dns::dns(context, fields, &known, wan.as_ref());
    let firewall = firewall::firewall(context, fields, &mut known);
    cross::outside_names(context, &known.outside, &dns.records);
    let forwards: Vec<ForwardDraft> = entries(context, fields, "port-forward")
        .into_iter()
        .filter_map(|(key, span, node)| forward::forward(context, &known, key, span, node))
        .collect();
    cross::forwards(context, &forwards, &hosts, wan.is_some());
    let log = log(context, fields);
    if context.errors() > 0 {
        return None;
    }
    let outside_names = known.outside.found.into_iter().map(|(name, _)| name).collect();
    let networks_done = networks.iter().map(|draft| draft.finish(&gateway)).collect::<Option<Vec<_>>>()?;
    Some(Config {
        hosts: hosts.into_iter().map(|draft| draft.finish(&networks)).collect(),
        networks: networks_done,
        gateway,
        wan: wan.and_then(|wan| wan.value),
        groups,
        outside_names,
        dns,
        firewall,
        forwards: forwards.into_iter().map(|draft| draft.value).collect(),
        log,
    })
}

/// The keys of a table whose names the person chooses.
fn entries<'t>(context: &mut Context, fields: Fields<'t>, key: &str) -> Vec<(&'t str, Span, &'t Node)> {
    let Some(table) = fields.get(key).and_then(|node| context.table(node, key)) else { return Vec::new() };
    table.entries.iter().map(|entry| (entry.key.as_str(), entry.key_span, &entry.node)).collect()
}

/// A value where the key is given and right.
fn read<'t, T>(
    context: &mut Context,
    fields: Fields<'t>,
    key: &str,
    read: impl FnOnce(&mut Context, &'t Node) -> Option<T>,
) -> Option<T> {
    fields.get(key).and_then(|node| read(context, node))
}

/// A local domain; `.local` belongs to multicast DNS.
fn domain(context: &mut Context, node: &Node) -> Option<DomainName> {
    let domain = context.parse(node, "domain", values::domain)?;
    if domain.labels().next_back() == Some("local") {
        context
            .warn(
                "local-domain",
                node.span,
                format!("{} ends in `.local`, which belongs to multicast DNS", shown(domain.as_str())),
            )
            .help("many clients never ask a DNS server for it (RFC 6762); `home.arpa` is made for this");
    }
    Some(domain)
}

fn gateway(context: &mut Context, fields: Fields<'_>) -> Option<Gateway> {
    let table = read(context, fields, "gateway", |context, node| context.table(node, "gateway"));
    let mut gateway =
        Gateway { name: DomainName::parse("gateway").ok()?, domain: DomainName::parse("home.arpa").ok()? };
    if let Some(table) = table {
        let fields = context.fields(table, &keys::GATEWAY, "gateway");
        if let Some(name) = read(context, fields, "name", |context, node| context.parse(node, "name", values::label)) {
            gateway.name = DomainName::parse(&name).ok()?;
        }
        if let Some(domain) = read(context, fields, "domain", domain) {
            gateway.domain = domain;
        }
    }
    Some(gateway)
}

/// `[wan]`, with the places the cross-checks show.
pub(super) struct WanDraft {
    pub interface: Option<At<super::types::InterfaceName>>,
    pub value: Option<Wan>,
}

fn wan(context: &mut Context, fields: Fields<'_>) -> Option<WanDraft> {
    let node = fields.get("wan")?;
    let table = context.table(node, "wan")?;
    let fields = context.fields(table, &keys::WAN, "wan");
    let interface = fields
        .require(context, "interface", "wan", node.span)
        .and_then(|node| Some(At { value: context.parse(node, "interface", values::interface)?, span: node.span }));
    if let Some(interface) = &interface
        && let Err(wrong) = values::vlan(&interface.value)
    {
        context.error(wrong.slug, interface.span, wrong.message).help = wrong.help;
    }
    let address = wan_address(context, fields, node.span);
    let place = context.place(node.span);
    let value = match (&interface, address) {
        (Some(interface), Some(address)) => Some(Wan { interface: interface.value.clone(), address, place }),
        _ => None,
    };
    Some(WanDraft { interface, value })
}

fn wan_address(context: &mut Context, fields: Fields<'_>, owner: Span) -> Option<WanAddress> {
    let gateway = fields.get("gateway");
    let address = fields.get("address");
    let text = address.map_or(Some("system"), |node| context.text(node, "address"))?;
    if matches!(text, "system" | "dhcp") {
        if let Some(gateway) = gateway {
            context
                .error(
                    "wan-gateway",
                    gateway.span,
                    format!("`wan.gateway` has no effect while `wan.address` is `\"{text}\"`"),
                )
                .help("take it out, or give `address` as an address with its prefix length");
        }
        return Some(if text == "dhcp" { WanAddress::Dhcp } else { WanAddress::System });
    }
    let node = address?;
    let looks_like_word = text.starts_with(|first: char| first.is_ascii_alphabetic());
    if looks_like_word {
        let near = context.nearest(text, ["system", "dhcp"].into_iter());
        let finding = context.error("bad-address", node.span, format!("{} is no way to get an address", shown(text)));
        match near {
            Some(near) => finding.help(format!("did you mean `\"{near}\"`?")),
            None => finding.help("write `\"system\"`, `\"dhcp\"`, or an address as in `\"203.0.113.5/24\"`"),
        };
        return None;
    }
    let net = context.parse(node, "address", values::uplink_address)?;
    let Some(gateway_node) = gateway else {
        context
            .error("wan-gateway", owner, "a fixed `wan.address` needs `wan.gateway`")
            .label("needs `gateway`")
            .also(node.span, "fixed here")
            .help("add the address of the provider's router, as in `gateway = \"203.0.113.1\"`");
        return None;
    };
    let gateway = context.parse(gateway_node, "gateway", values::host_address)?;
    if !net.contains(&gateway) || gateway == net.addr() {
        let why =
            if gateway == net.addr() { "is the router's own address" } else { "lies outside the uplink's network" };
        context
            .error("wan-gateway", gateway_node.span, format!("the gateway {gateway} {why}"))
            .label(if gateway == net.addr() {
                "the same address".to_owned()
            } else {
                format!("not in {}", net.trunc())
            })
            .also(node.span, "the uplink's address")
            .help("the provider tells which address its router has");
        return None;
    }
    Some(WanAddress::Static { address: net, gateway })
}

fn log(context: &mut Context, fields: Fields<'_>) -> Log {
    let mut log = Log { level: "info".to_owned() };
    let Some(table) = read(context, fields, "log", |context, node| context.table(node, "log")) else { return log };
    let fields = context.fields(table, &keys::LOG, "log");
    let Some(node) = fields.get("level") else { return log };
    let Value::Text(level) = &node.value else {
        context.wrong_type(node, "level", "a text in quotes");
        return log;
    };
    if keys::LOG_LEVELS.contains(&level.as_str()) {
        log.level.clone_from(level);
    } else {
        let near = context.nearest(level, keys::LOG_LEVELS.iter().copied());
        let finding = context.error("bad-choice", node.span, format!("{} is no level of the log", shown(level)));
        match near {
            Some(near) => finding.help(format!("did you mean `\"{near}\"`?")),
            None => finding.help("one of `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`"),
        };
    }
    log
}
