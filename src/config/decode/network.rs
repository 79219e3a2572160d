//! `[network.NAME]` and its `dhcp` table.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::{domain, read};
use crate::config::context::Context;
use crate::config::source::{At, Span};
use crate::config::tree::{Node, Value};
use crate::config::types::{Boot, Gateway, InterfaceName, Network, NetworkInterface, Place, PrivateMac, Scope};
use crate::config::{keys, options, pools, values};
use crate::model::DomainName;

/// A range of addresses and its place.
pub(in crate::config) type PoolDraft = At<RangeInclusive<Ipv4Addr>>;

/// A network while it is being checked.
pub(in crate::config) struct NetworkDraft {
    pub name: Arc<str>,
    /// The key, for messages.
    pub span: Span,
    pub place: Place,
    /// The kernel interfaces the file names, one or the members of a bridge.
    pub interfaces: Vec<At<InterfaceName>>,
    /// The bridge over them, where the file gives a list.
    pub bridge: Option<InterfaceName>,
    pub address: Option<At<Ipv4Net>>,
    pub internet: bool,
    pub admin: Option<At<bool>>,
    pub domain: Option<DomainName>,
    pub dhcp: Option<ScopeDraft>,
}

/// What DHCP serves, while it is being checked.
pub(in crate::config) struct ScopeDraft {
    /// `None`: the default pool.
    pub pools: Option<Vec<PoolDraft>>,
    pub lease_time: Duration,
    pub options: Vec<(u8, Vec<u8>)>,
    pub boot: Option<Boot>,
    pub private_mac: Option<(Vec<PoolDraft>, Duration)>,
    pub known_only: bool,
}

const LEASE_TIME: Duration = Duration::from_secs(12 * 3600);
const PRIVATE_LEASE_TIME: Duration = Duration::from_secs(3600);

pub(super) fn network(context: &mut Context, key: &str, span: Span, node: &Node) -> NetworkDraft {
    let mut draft = NetworkDraft {
        name: key.to_ascii_lowercase().into(),
        span,
        place: context.place(span),
        interfaces: Vec::new(),
        bridge: None,
        address: None,
        internet: true,
        admin: None,
        domain: None,
        dhcp: None,
    };
    let title = format!("network.{key}");
    let Some(table) = context.table(node, &title) else { return draft };
    let fields = context.fields(table, &keys::NETWORK, &title);
    let relayed = read(context, fields, "relayed", |context, node| context.boolean(node, "relayed")) == Some(true);
    if let Some(node) =
        if relayed { fields.get("interface") } else { fields.require(context, "interface", &title, span) }
    {
        interfaces(context, node, &mut draft);
    }
    draft.address = fields
        .require(context, "address", &title, span)
        .and_then(|node| Some(At { value: context.parse(node, "address", values::router_address)?, span: node.span }));
    let internet = read(context, fields, "internet", |context, node| context.boolean(node, "internet"));
    draft.internet = internet.unwrap_or(true);
    draft.admin = read(context, fields, "admin", |context, node| {
        Some(At { value: context.boolean(node, "admin")?, span: node.span })
    });
    draft.domain = read(context, fields, "domain", domain);
    draft.dhcp = match fields.get("dhcp") {
        None => Some(ScopeDraft::default()),
        Some(node) => match &node.value {
            Value::Boolean(wanted) => wanted.then(ScopeDraft::default),
            Value::Table(_) => scope(context, node, &format!("{title}.dhcp")),
            _ => {
                context.wrong_type(node, "dhcp", "true, false or a table");
                None
            }
        },
    };
    draft
}

fn interfaces(context: &mut Context, node: &Node, draft: &mut NetworkDraft) {
    let items = context.one_or_many(node, "interface");
    for item in items {
        let Some(name) = context.parse(item, "interface", values::interface) else { continue };
        if let Err(wrong) = values::vlan(&name) {
            context.error(wrong.slug, item.span, wrong.message).help = wrong.help;
        }
        draft.interfaces.push(At { value: name, span: item.span });
    }
    if matches!(node.value, Value::Array(_)) {
        let name: String = format!("br-{}", draft.name).chars().take(15).collect();
        draft.bridge = Some(name.into());
    }
}

fn scope(context: &mut Context, node: &Node, title: &str) -> Option<ScopeDraft> {
    let table = context.table(node, "dhcp")?;
    let fields = context.fields(table, &keys::DHCP, title);
    let mut scope =
        ScopeDraft { pools: fields.get("pool").map(|node| pool_list(context, node)), ..ScopeDraft::default() };
    if let Some(time) =
        read(context, fields, "lease-time", |context, node| context.duration(node, "lease-time", values::lease_time))
    {
        scope.lease_time = time;
    }
    if let Some(table) = read(context, fields, "options", |context, node| context.table(node, "options")) {
        scope.options = options::decode(context, table);
    }
    scope.boot = read(context, fields, "boot", |context, node| boot(context, node, title));
    scope.private_mac = read(context, fields, "private-mac", |context, node| private_mac(context, node, title));
    let known_only = read(context, fields, "known-only", |context, node| context.boolean(node, "known-only"));
    scope.known_only = known_only.unwrap_or(false);
    Some(scope)
}

fn pool_list(context: &mut Context, node: &Node) -> Vec<PoolDraft> {
    let items = context.one_or_many(node, "pool");
    items
        .iter()
        .filter_map(|item| Some(At { value: context.parse(item, "pool", values::pool)?, span: item.span }))
        .collect()
}

fn boot(context: &mut Context, node: &Node, title: &str) -> Option<Boot> {
    let title = format!("{title}.boot");
    let table = context.table(node, "boot")?;
    let fields = context.fields(table, &keys::BOOT, &title);
    let server = read(context, fields, "server", |context, node| context.parse(node, "server", values::host_address));
    let file_node = fields.require(context, "file", &title, node.span)?;
    let file = context.text(file_node, "file")?.to_owned();
    if file.is_empty() || file.len() > 127 {
        context
            .error("bad-option", file_node.span, format!("a boot file name of {} characters", file.len()))
            .help("a DHCP message has room for 1 to 127");
    }
    Some(Boot { server, file })
}

fn private_mac(context: &mut Context, node: &Node, title: &str) -> Option<(Vec<PoolDraft>, Duration)> {
    let table = context.table(node, "private-mac")?;
    let fields = context.fields(table, &keys::PRIVATE_MAC, &format!("{title}.private-mac"));
    let pools = fields.get("pool").map(|node| pool_list(context, node)).unwrap_or_default();
    let time =
        read(context, fields, "lease-time", |context, node| context.duration(node, "lease-time", values::lease_time));
    Some((pools, time.unwrap_or(PRIVATE_LEASE_TIME)))
}

impl Default for ScopeDraft {
    fn default() -> Self {
        ScopeDraft {
            pools: None,
            lease_time: LEASE_TIME,
            options: Vec::new(),
            boot: None,
            private_mac: None,
            known_only: false,
        }
    }
}

impl NetworkDraft {
    /// The checked network; `None` where something required is missing.
    pub fn finish(&self, gateway: &Gateway) -> Option<Network> {
        let address = self.address.as_ref()?.value;
        let interface = match (&self.bridge, self.interfaces.as_slice()) {
            (Some(name), members) => NetworkInterface::Bridge {
                name: name.clone(),
                members: members.iter().map(|member| member.value.clone()).collect(),
            },
            (None, [one, ..]) => match values::vlan(&one.value).ok()? {
                Some((parent, id)) => NetworkInterface::Vlan { name: one.value.clone(), parent, id },
                None => NetworkInterface::Plain(one.value.clone()),
            },
            (None, []) => return None,
        };
        Some(Network {
            name: self.name.clone(),
            interface,
            address,
            dhcp: self.dhcp.as_ref().map(|dhcp| dhcp.finish(address)),
            internet: self.internet,
            admin: self.admin.as_ref().is_some_and(|admin| admin.value),
            domain: self.domain.clone().unwrap_or_else(|| gateway.domain.clone()),
            place: self.place.clone(),
        })
    }
}

impl ScopeDraft {
    fn finish(&self, address: Ipv4Net) -> Scope {
        let ranges = |drafts: &[PoolDraft]| drafts.iter().map(|draft| draft.value.clone()).collect::<Vec<_>>();
        let private =
            self.private_mac.as_ref().map(|(pools, time)| PrivateMac { pools: ranges(pools), lease_time: *time });
        let pools = match &self.pools {
            Some(drafts) => ranges(drafts),
            None => {
                let mut taken = vec![address.addr()..=address.addr()];
                taken.extend(private.iter().flat_map(|private| private.pools.iter().cloned()));
                pools::without(pools::default_pool(address), taken)
            }
        };
        Scope {
            pools,
            lease_time: self.lease_time,
            options: self.options.clone(),
            boot: self.boot.clone(),
            private_mac: private,
            known_only: self.known_only,
        }
    }
}
