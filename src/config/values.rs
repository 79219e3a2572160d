//! Texts → addresses, durations, ports: each reader says what is wrong and what would be right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::types::{InterfaceName, PortRange, Service, Transport, Upstream};
use super::{services, suggest};
use crate::model::{DomainName, MacAddr, is_ldh_label};

/// Why a text is refused.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub slug: &'static str,
    pub message: String,
    pub help: Option<String>,
}

/// What a reader gives.
pub(super) type Parsed<T> = Result<T, Wrong>;

impl Wrong {
    pub fn new(slug: &'static str, message: impl Into<String>) -> Self {
        Wrong { slug, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A person's text inside a message: quoted, harmless, not too long.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    format!("`{}`", short.replace("\\\"", "\"").replace("\\'", "'"))
}

/// `90s`, `30m`, `12h`, `1d`, `2w`, and `1h30m`.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let wrong = |why: &str| {
        let hint = if text.bytes().all(|byte| byte.is_ascii_digit()) && (1..=9).contains(&text.len()) {
            format!("write `\"{text}s\"`, `\"{text}m\"` or `\"{text}h\"`")
        } else {
            "write a number and a unit: s, m, h, d or w, as in `\"12h\"`".to_owned()
        };
        Wrong::new("bad-duration", format!("{} {why}", shown(text))).help(hint)
    };
    let mut seconds: u64 = 0;
    let mut rest = text;
    if text.is_empty() {
        return Err(wrong("is no duration"));
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong("is no duration"))?;
        let mut letters = rest[digits..].chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) => return Err(wrong("has a unit that is none of s, m, h, d, w")),
            None => return Err(wrong("has no unit")),
        };
        rest = letters.as_str();
        let more = number.checked_mul(unit).and_then(|more| seconds.checked_add(more));
        seconds = more.filter(|seconds| *seconds <= 315_360_000).ok_or_else(|| wrong("is longer than ten years"))?;
    }
    Ok(Duration::from_secs(seconds))
}

/// [`duration`], but not zero.
pub(super) fn lease_time(text: &str) -> Parsed<Duration> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err(Wrong::new("bad-duration", "a lease must last at least a second"));
    }
    Ok(time)
}

/// [`duration`] in which a person can open a session and confirm.
pub(super) fn confirm(text: &str) -> Parsed<Duration> {
    let time = duration(text)?;
    if !(5..=3600).contains(&time.as_secs()) {
        let wrong = Wrong::new("bad-duration", "a change waits between 5 seconds and an hour for its confirmation");
        return Err(wrong.help("`\"60s\"` is enough to open a new session and to say `labgate confirm`"));
    }
    Ok(time)
}

/// `52:54:00:00:01:10`
pub(super) fn mac(text: &str) -> Parsed<MacAddr> {
    let mac: MacAddr = text
        .parse()
        .map_err(|why: &str| Wrong::new("bad-mac", format!("{} is no MAC address", shown(text))).help(why))?;
    if mac.is_multicast() {
        return Err(Wrong::new("multicast-mac", format!("{} is a multicast address", shown(text)))
            .help("the address of a device has an even first octet; look at the device again"));
    }
    if mac == MacAddr([0; 6]) {
        return Err(Wrong::new("bad-mac", "a MAC address of all zeros belongs to no device"));
    }
    Ok(mac)
}

/// `192.168.1.10`
pub(super) fn ipv4(text: &str) -> Parsed<Ipv4Addr> {
    text.parse().map_err(|_| {
        let wrong = Wrong::new("bad-address", format!("{} is no IPv4 address", shown(text)));
        match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(_), _) => wrong.help("IPv6 has no place here yet"),
            (_, Ok(net)) => wrong.help(format!("write the address alone: `\"{}\"`", net.addr())),
            _ => wrong.help("four numbers from 0 to 255 with dots, as in `\"192.168.1.10\"`"),
        }
    })
}

/// An address that one machine can have.
pub(super) fn host_address(text: &str) -> Parsed<Ipv4Addr> {
    let address = ipv4(text)?;
    if is_unusable(address) {
        return Err(Wrong::new("bad-address", format!("{} can be the address of no host", shown(text)))
            .help("loopback, multicast and reserved ranges are not for hosts"));
    }
    Ok(address)
}

fn is_unusable(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first == 0 || first >= 224 || address.is_loopback()
}

/// `192.168.1.1/24`, host part kept.
pub(super) fn router_address(text: &str) -> Parsed<Ipv4Net> {
    let net: Ipv4Net = text.parse().map_err(|_| {
        let wrong = Wrong::new("bad-address", format!("{} is no address with a prefix length", shown(text)));
        match text.split_once('/') {
            None if text.parse::<Ipv4Addr>().is_ok() => {
                wrong.help(format!("write `\"{text}/24\"` for a network of 254 hosts"))
            }
            Some((address, mask)) => match mask.parse::<Ipv4Addr>().map(prefix_of) {
                Ok(Some(length)) => wrong.help(format!("write the mask as a length: `\"{address}/{length}\"`")),
                Ok(None) => {
                    wrong.help(format!("the mask {mask} has holes; write a length, as in `\"192.168.1.1/24\"`"))
                }
                Err(_) => wrong.help("as in `\"192.168.1.1/24\"`; the length is a number from 1 to 30"),
            },
            None => wrong.help("as in `\"192.168.1.1/24\"`"),
        }
    })?;
    let length = net.prefix_len();
    if length == 0 || length > 30 {
        return Err(Wrong::new("network-size", format!("a /{length} is no network for hosts"))
            .help("a network has a prefix length from /1 to /30; a /24 holds 254 hosts"));
    }
    if is_unusable(net.addr()) {
        return Err(Wrong::new("bad-address", format!("{} can be the address of no network", net.addr()))
            .help("loopback, multicast and reserved ranges are not for networks; `192.168.1.1/24` is a good start"));
    }
    let (what, other) = if net.addr() == net.network() {
        ("the address of the network itself", u32::from(net.network()) + 1)
    } else if net.addr() == net.broadcast() {
        ("the broadcast address of its network", u32::from(net.broadcast()) - 1)
    } else {
        return Ok(net);
    };
    Err(Wrong::new("network-address", format!("{} is {what}, so the router cannot have it", net.addr()))
        .help(format!("write `\"{}/{length}\"`", Ipv4Addr::from(other))))
}

fn prefix_of(mask: Ipv4Addr) -> Option<u32> {
    let bits = u32::from(mask);
    (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == u32::MAX).then(|| bits.leading_ones())
}

/// An address or CIDR of either family, without host bits.
pub(super) fn cidr(text: &str) -> Parsed<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = text.parse().map_err(|_| {
        Wrong::new("bad-address", format!("{} is no address and no CIDR", shown(text)))
            .help("as in `\"192.168.1.10\"` or `\"10.0.0.0/8\"`")
    })?;
    if net.addr() != net.network() {
        return Err(Wrong::new("bad-address", format!("{} has host bits", shown(text))).help(format!(
            "write `\"{}\"` for the whole range, or `\"{}\"` for the one address",
            net.trunc(),
            net.addr()
        )));
    }
    Ok(net)
}

/// [`cidr`] of IPv4.
pub(super) fn cidr4(text: &str) -> Parsed<Ipv4Net> {
    match cidr(text)? {
        IpNet::V4(net) => Ok(net),
        IpNet::V6(_) => Err(Wrong::new("bad-address", format!("{} is IPv6; only IPv4 is forwarded", shown(text)))),
    }
}

/// `192.168.1.100-192.168.1.249`, or one address.
pub(super) fn pool(text: &str) -> Parsed<RangeInclusive<Ipv4Addr>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let side = |side: &str| {
        side.trim().parse::<Ipv4Addr>().map_err(|_| {
            Wrong::new("bad-address", format!("{} is no range of addresses", shown(text)))
                .help("as in `\"192.168.1.100-192.168.1.249\"`")
        })
    };
    let (first, last) = (side(first)?, side(last)?);
    if first > last {
        return Err(Wrong::new("pool-reversed", format!("the pool ends at {last}, before its start {first}"))
            .help(format!("write `\"{last}-{first}\"`")));
    }
    Ok(first..=last)
}

/// A name of the kernel's for an interface.
pub(super) fn interface(text: &str) -> Parsed<InterfaceName> {
    let wrong = |why: &str| Wrong::new("bad-interface", format!("{} is no name of an interface: {why}", shown(text)));
    if text.is_empty() {
        return Err(Wrong::new("bad-interface", "the name of an interface is empty"));
    }
    if text.len() > 15 {
        return Err(wrong("the kernel allows 15 characters").help("`ip link` shows the names this machine has"));
    }
    if text == "." || text == ".." || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
    {
        return Err(
            wrong("letters, digits and `.`, `_`, `-` make a name").help("`ip link` shows the names this machine has")
        );
    }
    if text == "lo" {
        return Err(wrong("the loopback interface reaches nobody else"));
    }
    Ok(text.into())
}

/// `eth1.20` → eth1 and 20; `None` for a name that is no VLAN.
pub(super) fn vlan(name: &str) -> Parsed<Option<(InterfaceName, u16)>> {
    let Some((parent, digits)) = name.rsplit_once('.') else { return Ok(None) };
    if parent.is_empty() || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match digits.parse::<u16>() {
        Ok(id @ 1..=4094) => Ok(Some((parent.into(), id))),
        _ => Err(Wrong::new("bad-interface", format!("{} would be VLAN {digits}", shown(name)))
            .help("VLAN identifiers go from 1 to 4094")),
    }
}

/// A domain of host labels.
pub(super) fn domain(text: &str) -> Parsed<DomainName> {
    let wrong = |why: String| Wrong::new("bad-name", format!("{} is no domain name: {why}", shown(text)));
    let name = DomainName::parse(text).map_err(|why| wrong(why.to_string()))?;
    if name.as_str().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    if let Some(label) = name.labels().find(|label| !is_ldh_label(label)) {
        return Err(wrong(format!("`{label}` is not made of letters, digits and inner hyphens")));
    }
    Ok(name)
}

/// A name of one label for a host or network; in lower case.
pub(super) fn label(text: &str) -> Parsed<String> {
    if is_ldh_label(text) {
        return Ok(text.to_ascii_lowercase());
    }
    let wrong =
        Wrong::new("bad-name", format!("{} is no name: letters, digits and inner hyphens, at most 63", shown(text)));
    if !text.is_ascii() {
        return Err(wrong);
    }
    let mended: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mended = mended.trim_matches('-');
    Err(if is_ldh_label(mended) { wrong.help(format!("`{mended}` would do")) } else { wrong })
}

/// `01:52:54:…`, `hex:0152…`, or a text.
pub(super) fn client_id(text: &str) -> Parsed<Vec<u8>> {
    let pairs: Vec<&str> = text.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let octets = if let Some(digits) = text.strip_prefix("hex:") {
        hex(digits).ok_or_else(|| {
            Wrong::new("bad-client-id", format!("{} is not made of pairs of hexadecimal digits", shown(text)))
        })?
    } else if pairs.len() > 1 && pairs.iter().all(is_pair) {
        hex(text).unwrap_or_default()
    } else {
        text.as_bytes().to_vec()
    };
    if (1..=255).contains(&octets.len()) {
        return Ok(octets);
    }
    Err(Wrong::new("bad-client-id", format!("a client identifier of {} octets", octets.len()))
        .help("it has 1 to 255 octets"))
}

/// Pairs of hexadecimal digits, with or without `:` between.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':' && *byte != b' ').collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks(2).map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()).collect()
}

/// `443` or `1000-2000`.
fn port_range(text: &str) -> Parsed<PortRange> {
    let port = |text: &str| -> Parsed<u16> {
        let number: Option<u32> = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match number {
            Some(0) => Err(Wrong::new("bad-port", "there is no port 0").help("ports go from 1 to 65535")),
            Some(number) if number <= 65535 => Ok(number as u16),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
                Err(Wrong::new("bad-port", format!("port {} is too large", shown(text)))
                    .help("ports go from 1 to 65535"))
            }
            _ => Err(Wrong::new("bad-port", format!("{} is no port", shown(text)))
                .help("a port is a number from 1 to 65535, as in `\"tcp/443\"` or `\"udp/1000-2000\"`")),
        }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(Wrong::new("bad-port", format!("the ports end at {last}, before their start {first}"))
            .help(format!("write `{last}-{first}`")));
    }
    Ok(PortRange { first, last })
}

/// `tcp/443`, `udp/1000-2000`, `tcp+udp/53`.
pub(super) fn transport_ports(text: &str) -> Parsed<(Vec<Transport>, PortRange)> {
    let wrong = || Wrong::new("bad-port", format!("{} is no protocol with a port", shown(text)));
    let Some((protocol, ports)) = text.split_once('/') else {
        let number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && !text.is_empty();
        let named = services::find(text).and_then(|found| found.first().copied());
        if let Some(Service::Tcp(ports) | Service::Udp(ports)) = named {
            let protocol = if matches!(named, Some(Service::Tcp(_))) { "tcp" } else { "udp" };
            return Err(wrong().help(format!("write `\"{protocol}/{}\"`", ports.first)));
        }
        return Err(match number {
            true => wrong().help(format!("write `\"tcp/{text}\"` or `\"udp/{text}\"`")),
            false => wrong().help("as in `\"tcp/443\"`, `\"udp/1000-2000\"` or `\"tcp+udp/53\"`"),
        });
    };
    let transports = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => vec![Transport::Tcp],
        "udp" => vec![Transport::Udp],
        "tcp+udp" | "udp+tcp" => vec![Transport::Tcp, Transport::Udp],
        _ if matches!(ports, "tcp" | "udp") => return Err(wrong().help(format!("write `\"{ports}/{protocol}\"`"))),
        _ => return Err(wrong().help("the protocol is `tcp`, `udp` or `tcp+udp`")),
    };
    Ok((transports, port_range(ports)?))
}

/// One item of a rule's `port`.
pub(super) fn service(text: &str) -> Parsed<Vec<Service>> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => return Ok(vec![Service::Tcp(PortRange::ALL)]),
        "udp" => return Ok(vec![Service::Udp(PortRange::ALL)]),
        "tcp+udp" => return Ok(vec![Service::Tcp(PortRange::ALL), Service::Udp(PortRange::ALL)]),
        "icmp" => return Ok(vec![Service::Icmp]),
        "any" | "all" | "*" => {
            return Err(Wrong::new("bad-port", format!("{} is no port", shown(text)))
                .help("leave the key out: that means everything"));
        }
        _ => {}
    }
    let digits = text.starts_with(|first: char| first.is_ascii_digit());
    if text.contains('/') || digits {
        let (transports, ports) = transport_ports(text)?;
        let one = |transport| match transport {
            Transport::Tcp => Service::Tcp(ports),
            Transport::Udp => Service::Udp(ports),
        };
        return Ok(transports.into_iter().map(one).collect());
    }
    services::find(text).ok_or_else(|| {
        let wrong = Wrong::new("unknown-service", format!("{} is no service name", shown(text)));
        match suggest::nearest(text, services::names().chain(["tcp", "udp", "icmp"])) {
            Some(near) => wrong.help(format!("did you mean `{near}`?")),
            None => wrong.help("write protocol and port, as in `\"tcp/443\"`"),
        }
    })
}

/// `9.9.9.9`, `udp://9.9.9.9:53`, `tcp://[2620:fe::fe]`.
pub(super) fn upstream(text: &str) -> Parsed<Upstream> {
    let (transport, server) = match text.split_once("://") {
        None => (Transport::Udp, text),
        Some(("udp", server)) => (Transport::Udp, server),
        Some(("tcp", server)) => (Transport::Tcp, server),
        Some((scheme @ ("tls" | "https" | "quic"), _)) => {
            return Err(Wrong::new(
                "not-supported-yet",
                format!("upstream servers over `{scheme}://` are not supported yet"),
            )
            .help("write a plain address for now, as in `\"9.9.9.9\"`"));
        }
        Some((scheme, _)) => {
            return Err(Wrong::new("bad-upstream", format!("{} is no way to ask a DNS server", shown(scheme)))
                .help("`udp://` or `tcp://` before the address, or nothing"));
        }
    };
    let bare = server.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let server = match (bare, server.parse::<SocketAddr>()) {
        (Some(address), _) => SocketAddr::new(address, 53),
        (None, Ok(server)) if server.port() > 0 => server,
        _ => {
            return Err(Wrong::new("bad-upstream", format!("{} is no address of a DNS server", shown(text)))
                .help("an upstream is an address, as in `\"9.9.9.9\"` or `\"10.0.0.53:5353\"`: a name would need a resolver first"));
        }
    };
    let unusable = match server.ip() {
        IpAddr::V4(address) => !address.is_loopback() && is_unusable(address),
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    };
    if unusable {
        return Err(Wrong::new("bad-upstream", format!("{} can be the address of no server", server.ip())));
    }
    Ok(Upstream { transport, server })
}

/// The uplink's fixed address; a provider may hand out any prefix length.
pub(super) fn uplink_address(text: &str) -> Parsed<Ipv4Net> {
    let net: Ipv4Net = text.parse().map_err(|_| {
        Wrong::new("bad-address", format!("{} is no address with a prefix length", shown(text)))
            .help("as in `\"203.0.113.5/24\"`, or `\"system\"`, or `\"dhcp\"`")
    })?;
    if is_unusable(net.addr()) || net.prefix_len() == 0 {
        return Err(Wrong::new("bad-address", format!("{} can be the address of no uplink", shown(text))));
    }
    Ok(net)
}
