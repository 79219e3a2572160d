//! `[dns]`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Known, WanDraft, entries, read};
use crate::config::context::{Context, Fields};
use crate::config::keys;
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::config::types::{Dns, Endpoint, Record, RecordData, Upstream, WanAddress};
use crate::config::values::{self, Parsed, Wrong, shown};
use crate::model::DomainName;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn dns(context: &mut Context, fields: Fields<'_>, known: &Known<'_>, wan: Option<&WanDraft>) -> Dns {
    let mut dns = Dns {
        upstreams: Vec::new(),
        forward: Vec::new(),
        hosts_files: Vec::new(),
        records: Vec::new(),
        rebind_protection: true,
        cache_size: 100_000,
        cache_stale: DAY,
    };
    let Some(table) = read(context, fields, "dns", |context, node| context.table(node, "dns")) else { return dns };
    let fields = context.fields(table, &keys::DNS, "dns");
    let own = own_addresses(known, wan);
    if let Some(node) = fields.get("upstream") {
        dns.upstreams = upstreams(context, node, "upstream", &own);
    }
    for (key, span, node) in entries(context, fields, "forward") {
        let servers = upstreams(context, node, key, &own);
        if let Some(zone) = zone(context, key, span, known) {
            dns.forward.push((zone, servers));
        }
    }
    if let Some(node) = fields.get("hosts") {
        let items = context.one_or_many(node, "hosts");
        dns.hosts_files = items.iter().filter_map(|item| context.parse(item, "hosts", path)).collect();
    }
    dns.records = records(context, fields, known);
    if let Some(value) =
        read(context, fields, "rebind-protection", |context, node| context.boolean(node, "rebind-protection"))
    {
        dns.rebind_protection = value;
    }
    read(context, fields, "dnssec", |context, node| context.boolean(node, "dnssec"));
    if let Some(table) = read(context, fields, "cache", |context, node| context.table(node, "cache")) {
        let fields = context.fields(table, &keys::CACHE, "dns.cache");
        if let Some(size) = read(context, fields, "size", |context, node| context.integer(node, "size", 0, 10_000_000))
        {
            dns.cache_size = size as usize;
        }
        if let Some(stale) =
            read(context, fields, "stale", |context, node| context.duration(node, "stale", values::duration))
        {
            dns.cache_stale = stale;
        }
    }
    dns
}

fn path(text: &str) -> Parsed<PathBuf> {
    if text.starts_with('/') && !text.ends_with('/') {
        return Ok(text.into());
    }
    Err(Wrong::new("bad-path", format!("{} is no full path of a file", shown(text))).help("as in `\"/etc/hosts\"`"))
}

/// The addresses this router answers on, with what they are.
fn own_addresses(known: &Known<'_>, wan: Option<&WanDraft>) -> HashMap<IpAddr, (String, Option<Span>)> {
    let mut own = HashMap::new();
    for network in known.networks {
        if let Some(address) = &network.address {
            let what = format!("the router's own address on `{}`", network.name);
            own.insert(IpAddr::V4(address.value.addr()), (what, Some(address.span)));
        }
    }
    if let Some(WanAddress::Static { address, .. }) = wan.and_then(|wan| wan.value.as_ref()).map(|wan| &wan.address) {
        own.insert(IpAddr::V4(address.addr()), ("the router's own address on the uplink".to_owned(), None));
    }
    own
}

fn upstreams(
    context: &mut Context,
    node: &Node,
    key: &str,
    own: &HashMap<IpAddr, (String, Option<Span>)>,
) -> Vec<Upstream> {
    let items = context.one_or_many(node, key);
    let mut servers = Vec::new();
    for item in items {
        let Some(upstream) = context.parse(item, key, values::upstream) else { continue };
        let address = upstream.server.ip();
        if let Some((what, place)) = own.get(&address) {
            let finding = context.error("upstream-is-ourselves", item.span, format!("{address} is {what}"));
            finding
                .label("would ask itself")
                .help("name a server outside this machine, or take `upstream` out to use the uplink's");
            if let Some(place) = place {
                finding.also(*place, "the router's address");
            }
        } else if address.is_loopback() && upstream.server.port() == 53 {
            context
                .warn("upstream-on-this-machine", item.span, format!("{address} is a resolver on this machine"))
                .help("fine unless that resolver asks labgate in turn: then every question would go round in circles");
        }
        servers.push(upstream);
    }
    servers
}

fn zone(context: &mut Context, key: &str, span: Span, known: &Known<'_>) -> Option<DomainName> {
    let zone = match DomainName::parse(key) {
        Ok(zone) if !zone.as_str().is_empty() => zone,
        other => {
            let why = other
                .map_or_else(|why| why.to_string(), |_| "it is empty; `dns.upstream` is for everything".to_owned());
            context.error("bad-name", span, format!("{} is no domain name: {why}", shown(key)));
            return None;
        }
    };
    let own = |domain: &DomainName| *domain == zone;
    if own(&known.gateway.domain) || known.networks.iter().any(|network| network.domain.as_ref().is_some_and(own)) {
        context
            .error("forward-own-domain", span, format!("{} is the local domain, which is answered here", shown(key)))
            .help("forward a domain below it, or choose another `gateway.domain`");
    }
    Some(zone)
}

/// A record's name: `www` stands below the local domain, as do `*.apps` and `_ldap._tcp`; a name with more labels is absolute.
fn absolute(text: &str, domain: &DomainName) -> Parsed<DomainName> {
    let wrong = |why: String| Wrong::new("bad-name", format!("{} is no domain name: {why}", shown(text)));
    let name = DomainName::parse(text).map_err(|why| wrong(why.to_string()))?;
    if name.as_str().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    let plain = name.labels().skip_while(|label| *label == "*" || label.starts_with('_')).count();
    if text.ends_with('.') || plain > 1 {
        return Ok(name);
    }
    name.below(domain).map_err(|why| wrong(why.to_string()))
}

fn records(context: &mut Context, fields: Fields<'_>, known: &Known<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut places: HashMap<DomainName, Span> = HashMap::new();
    for (key, span, node) in entries(context, fields, "record") {
        let name = match absolute(key, &known.gateway.domain) {
            Ok(name) => name,
            Err(wrong) => {
                context.error(wrong.slug, span, wrong.message).help = wrong.help;
                continue;
            }
        };
        if let Some(first) = places.insert(name.clone(), span) {
            context
                .error("duplicate-name", span, format!("two records have the name `{name}`"))
                .label("given again")
                .also(first, "first given")
                .help("a list holds several values of one name");
        }
        let of_a_table = matches!(node.value, Value::Table(_));
        if let Some((owner, first)) = known.reserved.name_owner(&name, &known.gateway.domain).filter(|_| !of_a_table) {
            let finding = context.error("duplicate-name", span, format!("`{name}` is already {owner}"));
            finding.label("given again");
            if let Some(first) = first {
                finding.also(first, "first given");
            }
            finding.help("a host answers by its name without a record");
        }
        let place = context.place(span);
        let data = record_data(context, known, node, key);
        let several = data.len() > 1 && data.iter().any(|data| matches!(data, RecordData::Alias(_)));
        if several {
            context
                .error("bad-record", node.span, format!("{} has an alias beside other values", shown(key)))
                .help("a name with an alias (CNAME) has nothing else (RFC 1034 §3.6.2)");
        }
        records.extend(data.into_iter().map(|data| Record { name: name.clone(), data, place: place.clone() }));
    }
    records
}

fn record_data(context: &mut Context, known: &Known<'_>, node: &Node, key: &str) -> Vec<RecordData> {
    let Value::Table(table) = &node.value else {
        let items = context.one_or_many(node, key);
        return items.iter().filter_map(|item| plain_record(context, known, item, key)).collect();
    };
    let fields = context.fields(table, &keys::RECORD, &format!("dns.record.\"{key}\""));
    if table.entries.is_empty() {
        context
            .error("bad-record", node.span, format!("the record {} is empty", shown(key)))
            .help("as in `{ txt = \"…\" }`");
    }
    let mut found = Vec::new();
    if let Some(node) = fields.get("txt") {
        let items = context.one_or_many(node, "txt");
        let texts: Vec<String> = items.iter().filter_map(|item| context.parse(item, "txt", txt)).collect();
        found.push(RecordData::Txt(texts));
    }
    found.extend(read(context, fields, "srv", |context, node| srv(context, known, node)));
    found.extend(read(context, fields, "mx", |context, node| mx(context, known, node)));
    found
}

fn txt(text: &str) -> Parsed<String> {
    if text.len() <= 255 {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("bad-record", format!("a text of {} octets", text.len()))
        .help("one string of a TXT record holds 255: write a list of strings"))
}

/// An address, a host, or the name of something else.
fn plain_record(context: &mut Context, known: &Known<'_>, node: &Node, key: &str) -> Option<RecordData> {
    let text = context.text(node, key)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(RecordData::Address(address));
    }
    let lower = text.to_ascii_lowercase();
    let host = known.names.aliases.get(&lower).map_or(lower.as_str(), String::as_str);
    if let Some(Endpoint::Host(index)) = known.names.get(host) {
        return Some(RecordData::Host(*index));
    }
    let domain = &known.gateway.domain;
    if lower == known.gateway.name.as_str() {
        return known.gateway.name.below(domain).ok().map(RecordData::Alias);
    }
    if text.contains('.') {
        return context.parse(node, key, |text| absolute(text, domain)).map(RecordData::Alias);
    }
    known.names.unknown(context, node.span, text, "a host, an address or a full domain name");
    None
}

fn srv(context: &mut Context, known: &Known<'_>, node: &Node) -> Option<RecordData> {
    let table = context.table(node, "srv")?;
    let fields = context.fields(table, &keys::SRV, "srv");
    let number = |context: &mut Context, key: &str| {
        read(context, fields, key, |context, node| context.integer(node, key, 0, 65535))
            .map_or(0, |number| number as u16)
    };
    let (priority, weight) = (number(context, "priority"), number(context, "weight"));
    let port =
        fields.require(context, "port", "srv", node.span).and_then(|node| context.integer(node, "port", 1, 65535));
    let target = fields
        .require(context, "target", "srv", node.span)
        .and_then(|node| context.parse(node, "target", |text| absolute(text, &known.gateway.domain)));
    Some(RecordData::Srv { priority, weight, port: port? as u16, target: target? })
}

fn mx(context: &mut Context, known: &Known<'_>, node: &Node) -> Option<RecordData> {
    let table = context.table(node, "mx")?;
    let fields = context.fields(table, &keys::MX, "mx");
    let preference = read(context, fields, "preference", |context, node| context.integer(node, "preference", 0, 65535));
    let exchange = fields
        .require(context, "exchange", "mx", node.span)
        .and_then(|node| context.parse(node, "exchange", |text| absolute(text, &known.gateway.domain)));
    Some(RecordData::Mx { preference: preference.unwrap_or(10) as u16, exchange: exchange? })
}
