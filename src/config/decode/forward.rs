//! `[port-forward]`.

use super::firewall::rule_name;
use super::{Known, read};
use crate::config::context::Context;
use crate::config::source::{At, Span};
use crate::config::tree::{Node, Value};
use crate::config::types::{Endpoint, PortForward};
use crate::config::values::{self, shown};
use crate::config::{keys, names};

/// A forward, and the place of its key.
pub(in crate::config) type ForwardDraft = At<PortForward>;

pub(super) fn forward(
    context: &mut Context,
    known: &Known<'_>,
    key: &str,
    span: Span,
    node: &Node,
) -> Option<ForwardDraft> {
    let outside = match values::transport_ports(key) {
        Ok(outside) => Some(outside),
        Err(wrong) => {
            context.error(wrong.slug, span, wrong.message).help = wrong.help;
            None
        }
    };
    let (to, mut from, mut name) = (node, Vec::new(), None);
    let mut to = Some(to);
    if let Value::Table(table) = &node.value {
        let title = format!("port-forward.\"{key}\"");
        let fields = context.fields(table, &keys::FORWARD, &title);
        to = fields.require(context, "to", &title, span);
        if let Some(node) = fields.get("from") {
            let items = context.one_or_many(node, "from");
            from = items.iter().filter_map(|item| context.parse(item, "from", values::cidr4)).collect();
        }
        name = read(context, fields, "name", |context, node| context.text(node, "name"));
        if let (Some(name), Some(node)) = (name, fields.get("name")) {
            rule_name(context, name, node);
        }
    }
    let to = to?;
    let target = target(context, known, to);
    let ((transports, ports), (host, target_port)) = (outside?, target?);
    if target_port.is_some() && ports.first != ports.last {
        context
            .error("forward-range-target", to.span, "a range of ports cannot lead to one port")
            .label("names a port")
            .also(span, "a range")
            .help("a range keeps its ports: name the host alone, or forward the ports one by one");
    }
    let value = PortForward {
        transports,
        ports,
        host,
        target_port: target_port.filter(|port| *port != ports.first),
        from,
        name: name.map(str::to_owned),
        place: context.place(span),
    };
    Some(At { value, span })
}

/// `"nas"` or `"nas:8443"` → the host and its port.
fn target(context: &mut Context, known: &Known<'_>, node: &Node) -> Option<(usize, Option<u16>)> {
    let text = context.text(node, "to")?;
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = match port.map(|port| values::transport_ports(&format!("tcp/{port}"))) {
        None => None,
        Some(Ok((_, ports))) if ports.first == ports.last => Some(ports.first),
        Some(Ok(_)) => {
            context
                .error("bad-port", node.span, "the target of a forward is one port, not a range")
                .help("name the host alone to keep the ports");
            return None;
        }
        Some(Err(wrong)) => {
            context.error(wrong.slug, node.span, wrong.message).help("as in `\"nas:8443\"`");
            return None;
        }
    };
    match known.names.get(name) {
        Some(Endpoint::Host(index)) => Some((*index, port)),
        Some(other) => {
            let what = names::kind(other);
            context
                .error("unknown-name", node.span, format!("{} is a {what}, and a forward leads to a host", shown(name)))
                .help("name a host of `[host]`");
            None
        }
        None if name.parse::<std::net::IpAddr>().is_ok() => {
            let named = name.parse().ok().and_then(|address| known.reserved.addresses.get(&address));
            let help = match named {
                Some(index) => format!("write `\"{}\"`", known.hosts[*index].name),
                None => format!("give it a name in `[host]`, as in `nas = {{ ip = \"{name}\" }}`"),
            };
            context
                .error("unknown-name", node.span, format!("a forward leads to a host by name, not to {name}"))
                .help(help);
            None
        }
        None => {
            known.names.unknown(context, node.span, name, "a host");
            None
        }
    }
}
