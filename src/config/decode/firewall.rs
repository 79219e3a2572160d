//! `[group]` and `[firewall]`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Known, expect, read};
use crate::config::context::{Context, Fields};
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::config::types::{Endpoint, Firewall, Group, Rule, Service};
use crate::config::values::{self, shown};
use crate::config::{cross, keys};

pub(super) fn group(context: &mut Context, known: &mut Known<'_>, key: &str, span: Span, node: &Node) -> Group {
    let items = context.one_or_many(node, key);
    let mut members = Vec::new();
    for item in items {
        let Some(member) = endpoint(context, known, item, key) else { continue };
        match member {
            Endpoint::Group(_) => {
                context
                    .error("group-member", item.span, format!("the group `{key}` names a group"))
                    .label("is a group itself")
                    .help("groups do not nest: name its members, or name both groups in the rule");
            }
            Endpoint::Internet | Endpoint::Router => {
                context
                    .error("group-member", item.span, "a group holds hosts, networks, addresses and outside names")
                    .label("has a meaning of its own")
                    .help("name it in the rule itself, beside the group");
            }
            member => members.push(member),
        }
    }
    Group { name: key.to_ascii_lowercase().into(), members, place: context.place(span) }
}

pub(super) fn firewall(context: &mut Context, fields: Fields<'_>, known: &mut Known<'_>) -> Firewall {
    let mut firewall = Firewall::default();
    let Some(table) = read(context, fields, "firewall", |context, node| context.table(node, "firewall")) else {
        return firewall;
    };
    let fields = context.fields(table, &keys::FIREWALL, "firewall");
    firewall.allow = rules(context, fields, known, "allow");
    firewall.deny = rules(context, fields, known, "deny");
    firewall.expect = expect::expectations(context, fields, known);
    firewall
}

fn rules(context: &mut Context, fields: Fields<'_>, known: &mut Known<'_>, key: &str) -> Vec<Rule> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let Value::Array(items) = &node.value else {
        context
            .wrong_type(node, key, "a list of rules")
            .help(format!("as in `{key} = [{{ from = \"lan\", to = \"iot\" }}]`"));
        return Vec::new();
    };
    items.iter().filter_map(|item| rule(context, known, item, key)).collect()
}

fn rule(context: &mut Context, known: &mut Known<'_>, node: &Node, key: &str) -> Option<Rule> {
    let Value::Table(table) = &node.value else {
        context
            .error(
                "wrong-type",
                node.span,
                format!("a rule of `{key}` must be a table, not {}", node.value.type_name()),
            )
            .label("expected a rule")
            .help("as in `{ from = \"lan\", to = \"iot\" }`");
        return None;
    };
    let fields = context.fields(table, &keys::RULE, "a rule");
    let mut end = |key: &str| match fields.require(context, key, "a rule", node.span) {
        Some(node) => endpoints(context, known, node, key),
        None => Vec::new(),
    };
    let (from, to) = (end("from"), end("to"));
    let services = services(context, fields, "port");
    let except = services_with_places(context, fields, "except");
    let without_port = fields.get("port").is_none();
    if without_port || !services.is_empty() {
        cross::except(context, &services, &except);
    }
    let name = read(context, fields, "name", |context, node| context.text(node, "name"));
    if let (Some(name), Some(node)) = (name, fields.get("name")) {
        rule_name(context, name, node);
    }
    Some(Rule {
        from,
        to,
        services,
        except: except.into_iter().map(|(service, _)| service).collect(),
        name: name.map(str::to_owned),
        place: context.place(node.span),
    })
}

/// Names of rules and forwards appear in comments of the kernel's ruleset, which are short.
pub(super) fn rule_name(context: &mut Context, name: &str, node: &Node) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ._-+/:()".contains(&byte);
    if name.is_empty() || name.len() > 60 || !name.bytes().all(plain) {
        context
            .error("bad-name", node.span, format!("{} is no name for a rule", shown(name)))
            .help("1 to 60 letters, digits, spaces and . _ - + / : ( )");
    }
}

pub(super) fn endpoints(context: &mut Context, known: &mut Known<'_>, node: &Node, key: &str) -> Vec<Endpoint> {
    let items = context.one_or_many(node, key);
    items.iter().filter_map(|item| endpoint(context, known, item, key)).collect()
}

/// One end of a rule, or a member of a group.
pub(super) fn endpoint(context: &mut Context, known: &mut Known<'_>, node: &Node, key: &str) -> Option<Endpoint> {
    let text = context.text(node, key)?;
    named(context, known, node, key, text)
}

/// [`endpoint`] for a part of a text.
pub(super) fn named(
    context: &mut Context,
    known: &mut Known<'_>,
    node: &Node,
    key: &str,
    text: &str,
) -> Option<Endpoint> {
    match text {
        "internet" => return Some(Endpoint::Internet),
        "router" => return Some(Endpoint::Router),
        _ => {}
    }
    if let Some(endpoint) = known.names.get(text) {
        return Some(endpoint.clone());
    }
    let like_address = text.contains(['/', ':']) || text.parse::<IpAddr>().is_ok() || is_dotted_number(text);
    if like_address {
        let net = context.parse(node, key, |_| values::cidr(text))?;
        literal(context, known, node.span, net);
        return Some(Endpoint::Cidr(net));
    }
    if text.contains('.') {
        return outside_name(context, known, node.span, text).map(Endpoint::Name);
    }
    known.names.unknown(context, node.span, text, "a network, host or group");
    None
}

fn is_dotted_number(text: &str) -> bool {
    text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A name with a dot: of the outside, unless it is one of ours written long. Gives its index.
fn outside_name(context: &mut Context, known: &mut Known<'_>, span: Span, text: &str) -> Option<usize> {
    if text.starts_with("*.") {
        context
            .error("wildcard-name", span, format!("{} is not one name but any number of them", shown(text)))
            .label("stands for every name below")
            .help("a rule follows the addresses of single names: name each of them, or an address range");
        return None;
    }
    let name = match values::domain(text) {
        Ok(name) => name,
        Err(wrong) => {
            context.error(wrong.slug, span, wrong.message).help = wrong.help;
            return None;
        }
    };
    let mut own = known.networks.iter().filter_map(|network| network.domain.as_ref()).chain([&known.gateway.domain]);
    if own.any(|domain| name.is_within(domain)) {
        let help = match known.names.get(name.labels().next().unwrap_or_default()) {
            Some(_) => format!("rules use the short name: write `{}`", name.labels().next().unwrap_or_default()),
            None => "rules use the short names of this file".to_owned(),
        };
        context.error("unknown-name", span, format!("{} is a local name", shown(text))).label("unknown").help(help);
        return None;
    }
    if known.names.aliases.contains_key(name.as_str()) {
        known.names.unknown(context, span, text, "a network, host or group");
        return None;
    }
    Some(known.outside.index(context, name, span))
}

/// A literal address where the file has a name for it: the name would follow a change.
fn literal(context: &mut Context, known: &Known<'_>, span: Span, net: IpNet) {
    let IpNet::V4(net) = net else { return };
    let reserved = known.reserved;
    let single = (net.prefix_len() == 32).then_some(net.addr());
    let (what, name, place) = if let Some(host) = single.and_then(|address| reserved.addresses.get(&address)) {
        let host = &known.hosts[*host];
        (net.addr().to_string(), host.name.to_string(), host.span)
    } else if let Some(index) = single.and_then(|address| reserved.routers.get(&address)) {
        let place = known.networks[*index].address.as_ref().map_or(span, |address| address.span);
        (net.addr().to_string(), "router".to_owned(), place)
    } else if let Some(index) = reserved.networks.get(&net) {
        let network = &known.networks[*index];
        (net.to_string(), network.name.to_string(), network.span)
    } else {
        return;
    };
    context
        .warn("literal-address", span, format!("{what} is `{name}`"))
        .label("written as an address")
        .also(place, "has a name here")
        .help(format!("write `\"{name}\"`: the rule then follows a change of the address"));
}

pub(super) fn services(context: &mut Context, fields: Fields<'_>, key: &str) -> Vec<Service> {
    services_with_places(context, fields, key).into_iter().map(|(service, _)| service).collect()
}

fn services_with_places(context: &mut Context, fields: Fields<'_>, key: &str) -> Vec<(Service, Span)> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let mut found = Vec::new();
    let items = context.one_or_many(node, key);
    for item in items {
        if let Value::Integer(port) = &item.value {
            let help = format!("write `\"tcp/{port}\"` or `\"udp/{port}\"`");
            context.wrong_type(item, key, "a text in quotes").help(help);
            continue;
        }
        let services = context.parse(item, key, values::service).unwrap_or_default();
        found.extend(services.into_iter().map(|service| (service, item.span)));
    }
    found
}
