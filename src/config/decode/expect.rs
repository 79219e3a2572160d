//! `firewall.expect`.

use std::net::IpAddr;

use super::Known;
use super::firewall::{endpoints, named, services};
use crate::config::context::{Context, Fields};
use crate::config::keys;
use crate::config::tree::{Node, Value};
use crate::config::types::{Endpoint, Expectation, Service};
use crate::config::values::{self, shown};

pub(super) fn expectations(context: &mut Context, fields: Fields<'_>, known: &mut Known<'_>) -> Vec<Expectation> {
    let Some(node) = fields.get("expect") else { return Vec::new() };
    let Value::Array(items) = &node.value else {
        context
            .wrong_type(node, "expect", "a list of expectations")
            .help("as in `expect = [{ from = \"iot\", to = \"nas:443\", result = \"deny\" }]`");
        return Vec::new();
    };
    items.iter().flat_map(|item| expectation(context, known, item)).collect()
}

/// One entry: an expectation for each port that its targets name, mostly one.
fn expectation(context: &mut Context, known: &mut Known<'_>, node: &Node) -> Vec<Expectation> {
    let Value::Table(table) = &node.value else {
        context
            .error("wrong-type", node.span, format!("an expectation must be a table, not {}", node.value.type_name()))
            .label("expected an expectation")
            .help("as in `{ from = \"iot\", to = \"nas:443\", result = \"deny\" }`");
        return Vec::new();
    };
    let fields = context.fields(table, &keys::EXPECT, "an expectation");
    let from = match fields.require(context, "from", "an expectation", node.span) {
        Some(node) => endpoints(context, known, node, "from"),
        None => Vec::new(),
    };
    let targets = match fields.require(context, "to", "an expectation", node.span) {
        Some(node) => targets(context, known, node),
        None => Vec::new(),
    };
    let result = fields.require(context, "result", "an expectation", node.span);
    let allowed = result.and_then(|node| allowed(context, node));
    let ports = services(context, fields, "port");
    let named = targets.iter().any(|(services, _)| !services.is_empty());
    if let (Some(port), true) = (fields.get("port"), named) {
        context
            .error("expect-port-twice", port.span, "this expectation names its port twice")
            .label("named again")
            .help("keep `port`, or the port behind the name in `to`");
    }
    let place = context.place(node.span);
    let Some(allowed) = allowed else { return Vec::new() };
    let one = |(services, to): (Vec<Service>, Vec<Endpoint>)| {
        let services = if services.is_empty() { ports.clone() } else { services };
        Expectation { from: from.clone(), to, services, allowed, place: place.clone() }
    };
    targets.into_iter().map(one).collect()
}

/// Targets by the port they name: `nas:443`, `[2001:db8::1]:22`, `router:ssh`, or without one.
fn targets(context: &mut Context, known: &mut Known<'_>, node: &Node) -> Vec<(Vec<Service>, Vec<Endpoint>)> {
    let mut targets: Vec<(Vec<Service>, Vec<Endpoint>)> = Vec::new();
    for item in context.one_or_many(node, "to") {
        let Some(text) = context.text(item, "to") else { continue };
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if text.parse::<IpAddr>().is_err() && !text.contains('/') => (name, Some(port)),
            _ => (text, None),
        };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let services = match port {
            None => Some(Vec::new()),
            Some(port) => context.parse(item, "to", |_| target_port(port)),
        };
        let endpoint = named(context, known, item, "to", name);
        let (Some(services), Some(endpoint)) = (services, endpoint) else { continue };
        match targets.iter_mut().find(|(known, _)| *known == services) {
            Some((_, ends)) => ends.push(endpoint),
            None => targets.push((services, vec![endpoint])),
        }
    }
    targets
}

/// A number is a TCP port; a name is a service.
fn target_port(text: &str) -> values::Parsed<Vec<Service>> {
    let number = text.starts_with(|first: char| first.is_ascii_digit());
    values::service(&if number { format!("tcp/{text}") } else { text.to_owned() })
}

fn allowed(context: &mut Context, node: &Node) -> Option<bool> {
    let text = context.text(node, "result")?;
    match text {
        "allow" => return Some(true),
        "deny" => return Some(false),
        _ => {}
    }
    let near = context.nearest(text, keys::RESULTS.iter().copied());
    let finding = context.error("bad-choice", node.span, format!("{} is no result of an expectation", shown(text)));
    match near {
        Some(near) => finding.help(format!("did you mean `\"{near}\"`?")),
        None => finding.help("`\"allow\"` or `\"deny\"`"),
    };
    None
}
