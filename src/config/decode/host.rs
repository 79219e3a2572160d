//! `host.NAME`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{NetworkDraft, read};
use crate::config::context::Context;
use crate::config::source::{At, Span};
use crate::config::tree::{Node, Value};
use crate::config::types::{Host, Place};
use crate::config::{keys, values};
use crate::model::{DomainName, MacAddr};

/// A host while it is being checked.
pub(in crate::config) struct HostDraft {
    pub name: Arc<str>,
    /// The key, for messages.
    pub span: Span,
    pub place: Place,
    pub macs: Vec<At<MacAddr>>,
    pub client_id: Option<At<Vec<u8>>>,
    pub ip: Option<At<Ipv4Addr>>,
    /// Whether the file gives an `ip`, right or wrong.
    pub has_ip: bool,
    pub aliases: Vec<At<DomainName>>,
}

pub(super) fn host(context: &mut Context, key: &str, span: Span, node: &Node) -> HostDraft {
    let mut draft = HostDraft {
        name: key.to_ascii_lowercase().into(),
        span,
        place: context.place(span),
        macs: Vec::new(),
        client_id: None,
        ip: None,
        has_ip: false,
        aliases: Vec::new(),
    };
    let title = format!("host.{key}");
    if let Value::Text(text) = &node.value {
        let field = if text.contains(':') { "mac" } else { "ip" };
        let help = format!("write `{key} = {{ {field} = \"{}\" }}`", text.escape_debug());
        context.wrong_type(node, &title, "a table").help(help);
        return draft;
    }
    let Some(table) = context.table(node, &title) else { return draft };
    let fields = context.fields(table, &keys::HOST, &title);
    if let Some(node) = fields.get("mac") {
        let items = context.one_or_many(node, "mac");
        draft.macs = items
            .iter()
            .filter_map(|item| Some(At { value: context.parse(item, "mac", values::mac)?, span: item.span }))
            .collect();
    }
    draft.client_id = read(context, fields, "client-id", |context, node| {
        Some(At { value: context.parse(node, "client-id", values::client_id)?, span: node.span })
    });
    draft.ip = read(context, fields, "ip", |context, node| {
        Some(At { value: context.parse(node, "ip", values::host_address)?, span: node.span })
    });
    draft.has_ip = fields.get("ip").is_some();
    if let Some(node) = fields.get("alias") {
        let items = context.one_or_many(node, "alias");
        draft.aliases = items
            .iter()
            .filter_map(|item| Some(At { value: context.parse(item, "alias", values::domain)?, span: item.span }))
            .collect();
    }
    if ["mac", "client-id", "ip"].iter().all(|key| fields.get(key).is_none()) {
        context
            .error("host-without-identity", span, format!("nothing tells which device `{key}` is"))
            .label("has neither `mac`, `client-id` nor `ip`")
            .help("add `mac = \"…\"` for a device that asks for its address, or `ip = \"…\"` for one with a fixed address");
    }
    draft
}

impl HostDraft {
    /// The checked host.
    pub fn finish(self, networks: &[NetworkDraft]) -> Host {
        let inside = |draft: &NetworkDraft| match (&draft.address, &self.ip) {
            (Some(address), Some(ip)) => address.value.contains(&ip.value),
            _ => false,
        };
        Host {
            network: networks.iter().position(inside),
            name: self.name,
            macs: self.macs.into_iter().map(|mac| mac.value).collect(),
            client_id: self.client_id.map(|id| id.value),
            ip: self.ip.map(|ip| ip.value),
            aliases: self.aliases.into_iter().map(|alias| alias.value).collect(),
            place: self.place,
        }
    }
}
