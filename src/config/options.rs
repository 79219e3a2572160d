//! DHCP options by IANA name or number: the file's values → the octets that go over the wire (RFC 2132 and others).

use std::net::Ipv4Addr;

use super::context::Context;
use super::source::Span;
use super::tree::{Entry, Node, Table, Value};
use super::values::{self, Wrong, shown};

/// What an option holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ip,
    Ips,
    /// Pairs of addresses, written `"a b"`.
    IpPairs,
    Text,
    Boolean,
    U8,
    U16,
    U16s,
    I32,
    /// Seconds in 32 bits, also written as a duration.
    Seconds,
    /// Domain search list (RFC 3397).
    Search,
    /// Classless routes (RFC 3442), written `"10.0.0.0/8 via 192.168.1.2"`.
    Routes,
    /// Whatever the number's value looks like.
    Free,
    /// The server fills it itself; the text says what to write instead.
    Owned(&'static str),
}

use Kind::*;

/// Name, code, kind. Where a code has several names, the registry's comes first.
const OPTIONS: &[(&str, u8, Kind)] = &[
    ("subnet-mask", 1, Ip),
    ("time-offset", 2, I32),
    ("router", 3, Ips),
    ("routers", 3, Ips),
    ("time-servers", 4, Ips),
    ("name-servers", 5, Ips),
    ("domain-name-servers", 6, Ips),
    ("domain-server", 6, Ips),
    ("dns-server", 6, Ips),
    ("dns-servers", 6, Ips),
    ("log-servers", 7, Ips),
    ("quotes-servers", 8, Ips),
    ("lpr-servers", 9, Ips),
    ("impress-servers", 10, Ips),
    ("resource-location-servers", 11, Ips),
    ("hostname", 12, Text),
    ("host-name", 12, Text),
    ("boot-file-size", 13, U16),
    ("merit-dump-file", 14, Text),
    ("domain-name", 15, Text),
    ("swap-server", 16, Ip),
    ("root-path", 17, Text),
    ("extensions-path", 18, Text),
    ("ip-forwarding", 19, Boolean),
    ("non-local-source-routing", 20, Boolean),
    ("policy-filter", 21, IpPairs),
    ("max-datagram-reassembly", 22, U16),
    ("default-ip-ttl", 23, U8),
    ("path-mtu-aging-timeout", 24, Seconds),
    ("path-mtu-plateau-table", 25, U16s),
    ("interface-mtu", 26, U16),
    ("mtu", 26, U16),
    ("all-subnets-local", 27, Boolean),
    ("broadcast-address", 28, Ip),
    ("mask-discovery", 29, Boolean),
    ("mask-supplier", 30, Boolean),
    ("router-discovery", 31, Boolean),
    ("router-solicitation-address", 32, Ip),
    ("static-routes", 33, IpPairs),
    ("trailer-encapsulation", 34, Boolean),
    ("arp-timeout", 35, Seconds),
    ("ethernet-encapsulation", 36, Boolean),
    ("default-tcp-ttl", 37, U8),
    ("tcp-keepalive-interval", 38, Seconds),
    ("tcp-keepalive-garbage", 39, Boolean),
    ("nis-domain", 40, Text),
    ("nis-servers", 41, Ips),
    ("ntp-servers", 42, Ips),
    ("vendor-specific", 43, Free),
    ("vendor-encapsulated-options", 43, Free),
    ("netbios-name-servers", 44, Ips),
    ("netbios-dd-servers", 45, Ips),
    ("netbios-node-type", 46, U8),
    ("netbios-scope", 47, Text),
    ("x-font-servers", 48, Ips),
    ("x-display-managers", 49, Ips),
    ("requested-address", 50, Owned("a client asks with it; reserve an address with `host.NAME.ip`")),
    ("lease-time", 51, Owned("write `lease-time` beside `options`")),
    ("ip-address-lease-time", 51, Owned("write `lease-time` beside `options`")),
    ("overload", 52, Owned("the server decides it for each message")),
    ("message-type", 53, Owned("the protocol decides it")),
    ("server-identifier", 54, Owned("it is the router's address on this network")),
    ("parameter-request-list", 55, Owned("only clients send it")),
    ("message", 56, Owned("the server writes it when it refuses")),
    ("max-message-size", 57, Owned("only clients send it")),
    ("renewal-time", 58, Seconds),
    ("t1", 58, Seconds),
    ("rebinding-time", 59, Seconds),
    ("t2", 59, Seconds),
    ("class-id", 60, Text),
    ("vendor-class-identifier", 60, Text),
    ("client-id", 61, Owned("only clients send it; write `host.NAME.client-id` to know a client by it")),
    ("client-identifier", 61, Owned("only clients send it; write `host.NAME.client-id` to know a client by it")),
    ("netware-ip-domain", 62, Text),
    ("nis-domain-name", 64, Text),
    ("nisplus-domain", 64, Text),
    ("nisplus-servers", 65, Ips),
    ("server-name", 66, Text),
    ("tftp-server-name", 66, Text),
    ("bootfile-name", 67, Text),
    ("home-agent-addresses", 68, Ips),
    ("smtp-servers", 69, Ips),
    ("pop3-servers", 70, Ips),
    ("nntp-servers", 71, Ips),
    ("www-servers", 72, Ips),
    ("finger-servers", 73, Ips),
    ("irc-servers", 74, Ips),
    ("streettalk-servers", 75, Ips),
    ("stda-servers", 76, Ips),
    ("user-class", 77, Owned("only clients send it")),
    ("rapid-commit", 80, Owned("the protocol decides it")),
    ("client-fqdn", 81, Free),
    ("relay-agent-information", 82, Owned("only relay agents send it")),
    ("uap-servers", 98, Text),
    ("pcode", 100, Text),
    ("tcode", 101, Text),
    ("ipv6-only-preferred", 108, Seconds),
    ("captive-portal", 114, Text),
    ("auto-config", 116, U8),
    ("subnet-selection", 118, Owned("only clients send it")),
    ("domain-search", 119, Search),
    ("sip-servers", 120, Free),
    ("classless-static-route", 121, Routes),
    ("classless-static-routes", 121, Routes),
    ("vendor-identifying-class", 124, Free),
    ("vendor-identifying-options", 125, Free),
    ("tftp-server-address", 150, Ips),
    ("mud-url", 161, Text),
    ("pxelinux-magic", 208, Free),
    ("configuration-file", 209, Text),
    ("path-prefix", 210, Text),
    ("reboot-time", 211, Seconds),
    ("private-classless-static-route", 249, Routes),
    ("wpad", 252, Text),
    ("web-proxy-auto-discovery", 252, Text),
];

/// A value longer than this fits no ordinary message.
const LONGEST: usize = 510;

/// Reads `dhcp.options`, in the order of the codes.
pub(super) fn decode(context: &mut Context, table: &Table) -> Vec<(u8, Vec<u8>)> {
    let mut found: Vec<(u8, Vec<u8>, Span)> = Vec::new();
    for entry in &table.entries {
        let Some((code, kind)) = find(context, entry) else { continue };
        if let Some((.., first)) = found.iter().find(|(known, ..)| *known == code) {
            let first = *first;
            context
                .error("duplicate-key", entry.key_span, format!("option {code} is given twice"))
                .label("given again")
                .also(first, "first given")
                .help("keep one of them");
            continue;
        }
        let octets = encode(context, entry, kind).unwrap_or_default();
        if octets.len() > LONGEST {
            let message = format!("option {} takes {} octets", shown(&entry.key), octets.len());
            context.error("bad-option", entry.node.span, message).label(format!("at most {LONGEST} fit a message"));
        }
        found.push((code, octets, entry.key_span));
    }
    found.sort_by_key(|(code, ..)| *code);
    found.into_iter().map(|(code, octets, _)| (code, octets)).collect()
}

fn find(context: &mut Context, entry: &Entry) -> Option<(u8, Kind)> {
    let key = entry.key.as_str();
    let known = if key.starts_with(|first: char| first.is_ascii_digit()) {
        match key.parse::<u8>() {
            Ok(code @ 1..=254) => {
                OPTIONS.iter().find(|(_, known, _)| *known == code).copied().or(Some(("", code, Free)))
            }
            _ => None,
        }
    } else {
        OPTIONS.iter().find(|(name, ..)| *name == key).copied()
    };
    match known {
        Some((_, code, Owned(instead))) => {
            let by_number = key.starts_with(|first: char| first.is_ascii_digit());
            let name = if by_number { code.to_string() } else { format!("{} ({code})", shown(key)) };
            context.error("option-owned", entry.key_span, format!("option {name} is the server's own")).help(instead);
            None
        }
        Some((_, code, kind)) => Some((code, kind)),
        None => {
            let near = context.nearest(key, OPTIONS.iter().map(|(name, ..)| *name));
            let finding = context.error("unknown-option", entry.key_span, format!("{} is no DHCP option", shown(key)));
            match near {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding.help("write a name of the IANA registry, as `ntp-servers`, or a number from 1 to 254"),
            };
            None
        }
    }
}

fn encode(context: &mut Context, entry: &Entry, kind: Kind) -> Option<Vec<u8>> {
    let (node, key) = (&entry.node, entry.key.as_str());
    if let Value::Text(text) = &node.value
        && let Some(digits) = text.strip_prefix("hex:")
    {
        let octets = values::hex(digits).filter(|octets| !octets.is_empty());
        if octets.is_none() {
            context
                .error("bad-option", node.span, format!("{} is not made of pairs of hexadecimal digits", shown(digits)))
                .help("as in `\"hex:0104c0a80101\"`");
        }
        return octets;
    }
    match kind {
        Ip => context.parse(node, key, values::ipv4).map(|address| address.octets().to_vec()),
        Ips => each(context, node, key, |text| values::ipv4(text).map(|address| address.octets().to_vec())),
        IpPairs => each(context, node, key, pair),
        Search => each(context, node, key, |text| values::domain(text).map(|name| wire_name(name.labels()))),
        Routes => each(context, node, key, route),
        Text => text(context, node, key),
        Boolean => context.boolean(node, key).map(|value| vec![u8::from(value)]),
        U8 => context.integer(node, key, 0, 255).map(|number| vec![number as u8]),
        U16 => context.integer(node, key, 0, 65535).map(|number| (number as u16).to_be_bytes().to_vec()),
        U16s => {
            let items = context.one_or_many(node, key);
            let numbers: Vec<_> = items.iter().map(|item| context.integer(item, key, 0, 65535)).collect();
            numbers
                .into_iter()
                .map(|number| Some((number? as u16).to_be_bytes()))
                .collect::<Option<Vec<_>>>()
                .map(|all| all.concat())
        }
        I32 => context
            .integer(node, key, i32::MIN.into(), i32::MAX.into())
            .map(|number| (number as i32).to_be_bytes().to_vec()),
        Seconds => seconds(context, node, key),
        Free => free(context, node, key),
        Owned(_) => None,
    }
}

/// Encodes every item of a list; all are read, so that all problems are reported.
fn each(
    context: &mut Context,
    node: &Node,
    key: &str,
    encode: impl Fn(&str) -> Result<Vec<u8>, Wrong>,
) -> Option<Vec<u8>> {
    let items = context.one_or_many(node, key);
    let parts: Vec<Option<Vec<u8>>> = items.iter().map(|item| context.parse(item, key, &encode)).collect();
    parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat())
}

fn text(context: &mut Context, node: &Node, key: &str) -> Option<Vec<u8>> {
    let text = context.text(node, key)?;
    if text.is_empty() {
        context.error("bad-option", node.span, format!("option {} is empty", shown(key))).help("leave the key out");
        return None;
    }
    Some(text.as_bytes().to_vec())
}

fn seconds(context: &mut Context, node: &Node, key: &str) -> Option<Vec<u8>> {
    let seconds = match &node.value {
        Value::Text(_) => context.parse(node, key, values::duration)?.as_secs(),
        _ => context.integer(node, key, 0, u32::MAX.into())? as u64,
    };
    Some(u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes().to_vec())
}

/// A number's value, read from its looks: an address is four octets, a small number one, other texts stand for themselves.
fn free(context: &mut Context, node: &Node, key: &str) -> Option<Vec<u8>> {
    match &node.value {
        Value::Text(_) => {
            let octets = text(context, node, key)?;
            let plain = std::str::from_utf8(&octets).unwrap_or_default();
            Some(match (plain.parse::<Ipv4Addr>(), plain.strip_prefix("text:")) {
                (Ok(address), _) => address.octets().to_vec(),
                (_, Some(rest)) => rest.as_bytes().to_vec(),
                _ => octets,
            })
        }
        Value::Boolean(value) => Some(vec![u8::from(*value)]),
        Value::Integer(_) => {
            let number = context.integer(node, key, 0, u32::MAX.into())? as u32;
            Some(match number {
                0..=0xff => vec![number as u8],
                0x100..=0xffff => (number as u16).to_be_bytes().to_vec(),
                _ => number.to_be_bytes().to_vec(),
            })
        }
        Value::Array(_) => {
            let items = context.one_or_many(node, key);
            let parts: Vec<Option<Vec<u8>>> = items
                .iter()
                .map(|item| match &item.value {
                    Value::Integer(_) => context.integer(item, key, 0, 255).map(|number| vec![number as u8]),
                    _ => context.parse(item, key, values::ipv4).map(|address| address.octets().to_vec()),
                })
                .collect();
            parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat())
        }
        _ => {
            context.wrong_type(node, key, "a text, a number, a list or `\"hex:…\"`");
            None
        }
    }
}

fn pair(text: &str) -> Result<Vec<u8>, Wrong> {
    let mut addresses = text.split_whitespace().map(values::ipv4);
    match (addresses.next(), addresses.next(), addresses.next()) {
        (Some(one), Some(other), None) => Ok([one?.octets(), other?.octets()].concat()),
        _ => Err(Wrong::new("bad-option", format!("{} is no pair of addresses", shown(text)))
            .help("as in `\"10.0.0.0 192.168.1.2\"`")),
    }
}

/// RFC 3442: prefix length, the octets of the network that matter, the router.
fn route(text: &str) -> Result<Vec<u8>, Wrong> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [network, "via", router] = words.as_slice() else {
        return Err(Wrong::new("bad-option", format!("{} is no route", shown(text)))
            .help("as in `\"10.0.0.0/8 via 192.168.1.2\"`"));
    };
    let network = values::cidr4(if *network == "default" { "0.0.0.0/0" } else { network })?;
    let router = values::ipv4(router)?;
    let length = network.prefix_len();
    let mut octets = vec![length];
    octets.extend(&network.network().octets()[..usize::from(length.div_ceil(8))]);
    octets.extend(router.octets());
    Ok(octets)
}

/// RFC 1035 §3.1: labels with their lengths, and the root.
fn wire_name<'n>(labels: impl Iterator<Item = &'n str>) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in labels {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_and_a_code_has_one_kind() {
        for (index, (name, code, kind)) in OPTIONS.iter().enumerate() {
            for (other, other_code, other_kind) in &OPTIONS[..index] {
                assert_ne!(name, other);
                assert!(code != other_code || kind == other_kind, "{name}, {other}");
            }
        }
        assert!(OPTIONS.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }
}
