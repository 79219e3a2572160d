//! Every key of the file, once: the decoder refuses what is not here, the schema is made from it, and the reference file is checked against it.

/// Whether a key has an effect in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It has.
    Now,
    /// It is understood and refused.
    NotYet,
    /// `false` is right, `true` is refused.
    OnlyFalse,
}

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A text.
    Text,
    /// A text, one of these.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// A whole number between two others.
    Number(i64, i64),
    /// A list.
    List(&'static Shape),
    /// One value or a list of them.
    OneOrMany(&'static Shape),
    /// A table with known keys.
    Table(&'static Keys),
    /// A table with names of the person's choice, and what each names.
    Map(&'static Shape),
    /// One of several shapes.
    Any(&'static [Shape]),
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// A right value, as TOML.
    pub example: &'static str,
    /// One sentence for editors.
    pub text: &'static str,
    /// Whether it has an effect.
    pub status: Status,
}

/// The keys of one table.
#[derive(Debug)]
pub(super) struct Keys {
    /// The keys, in the order people read them.
    pub keys: &'static [Key],
}

const fn key(name: &'static str, shape: Shape, example: &'static str, text: &'static str) -> Key {
    Key { name, shape, example, text, status: Status::Now }
}

const fn later(name: &'static str, shape: Shape, text: &'static str) -> Key {
    Key { name, shape, example: "", text, status: Status::NotYet }
}

const fn only_false(name: &'static str, text: &'static str) -> Key {
    Key { name, shape: Boolean, example: "false", text, status: Status::OnlyFalse }
}

use Shape::{Any, Boolean, Choice, List, Map, Number, OneOrMany, Table, Text};

const TEXTS: Shape = OneOrMany(&Text);
const ANYTHING: Shape = Any(&[Text, Boolean, Number(i64::MIN, i64::MAX), List(&Text), Map(&Text)]);

/// The whole file.
pub(super) static ROOT: Keys = Keys {
    keys: &[
        key("gateway", Table(&GATEWAY), "{ name = \"gateway\" }", "The router itself."),
        key("wan", Table(&WAN), "{ interface = \"eth0\" }", "The uplink; leave it out where there is none."),
        key("network", Map(&Table(&NETWORK)), "", "The networks, each a table `[network.NAME]`."),
        key("host", Map(&Table(&HOST)), "", "Known devices: reservation, DNS name and name in rules at once."),
        key("group", Map(&TEXTS), "", "Names for several hosts, networks, addresses and outside names."),
        key("dns", Table(&DNS), "", "Names: upstream servers, own records, protection."),
        key("firewall", Table(&FIREWALL), "", "What may pass between networks."),
        key(
            "port-forward",
            Map(&FORWARD_TARGET),
            "",
            "Ports of the uplink that lead to a host, such as `\"tcp/443\" = \"nas\"`.",
        ),
        key("log", Table(&LOG), "{ level = \"info\" }", "What is logged."),
        later("web", ANYTHING, "The web page."),
        later("metrics", ANYTHING, "Metrics for a monitoring system."),
        later("notify", ANYTHING, "Messages about events."),
        later("apply", ANYTHING, "How a changed file is applied."),
    ],
};

/// `[gateway]`
pub(super) static GATEWAY: Keys = Keys {
    keys: &[
        key("name", Text, "\"gateway\"", "The router's own name, one label."),
        key("domain", Text, "\"home.arpa\"", "The local domain: never asked upstream, and DHCP option 15."),
    ],
};

/// `[wan]`
pub(super) static WAN: Keys = Keys {
    keys: &[
        key("interface", Text, "\"eth0\"", "The uplink's interface."),
        key(
            "address",
            Text,
            "\"system\"",
            "`system` (the operating system configures it), `dhcp` (labgate's own client), or an address with its prefix length.",
        ),
        key("gateway", Text, "\"203.0.113.1\"", "The default router, for a fixed address."),
    ],
};

/// `[network.NAME]`
pub(super) static NETWORK: Keys = Keys {
    keys: &[
        key("interface", TEXTS, "\"eth1\"", "The interface; `eth1.20` is VLAN 20 on eth1, a list becomes a bridge."),
        key("address", Text, "\"192.168.1.1/24\"", "The router's own address on this network, with the prefix length."),
        key("dhcp", Any(&[Boolean, Table(&DHCP)]), "true", "Whether addresses are handed out, or how."),
        key("internet", Boolean, "true", "May its hosts open connections to the internet."),
        key("admin", Boolean, "false", "May its hosts reach SSH on the router."),
        key("domain", Text, "\"home.arpa\"", "A domain of its own."),
        only_false("relayed", "Whether a relay agent stands between (only `false` yet)."),
    ],
};

/// `network.NAME.dhcp`
pub(super) static DHCP: Keys = Keys {
    keys: &[
        key("pool", TEXTS, "\"192.168.1.100-192.168.1.249\"", "Addresses for clients without a reservation."),
        key("lease-time", Text, "\"12h\"", "How long a lease lasts."),
        key(
            "options",
            Map(&OPTION_VALUE),
            "{ ntp-servers = [\"192.168.1.1\"] }",
            "DHCP options by IANA name or number.",
        ),
        key("boot", Table(&BOOT), "{ file = \"pxelinux.0\" }", "Network boot."),
        key(
            "private-mac",
            Table(&PRIVATE_MAC),
            "{ lease-time = \"1h\" }",
            "For devices that make up their MAC address.",
        ),
        key("known-only", Boolean, "false", "Serve only clients with a `[host]` entry."),
    ],
};

const OPTION_VALUE: Shape =
    Any(&[Text, Boolean, Number(i32::MIN as i64, u32::MAX as i64), List(&Any(&[Text, Number(0, u32::MAX as i64)]))]);

/// `network.NAME.dhcp.boot`
pub(super) static BOOT: Keys = Keys {
    keys: &[
        key("server", Text, "\"192.168.1.5\"", "Where the boot file is fetched from; the router without it."),
        key("file", Text, "\"pxelinux.0\"", "Name of the boot file."),
    ],
};

/// `network.NAME.dhcp.private-mac`
pub(super) static PRIVATE_MAC: Keys = Keys {
    keys: &[
        key(
            "pool",
            TEXTS,
            "\"192.168.1.200-192.168.1.249\"",
            "Addresses for them alone; the ordinary pools without it.",
        ),
        key("lease-time", Text, "\"1h\"", "How long their leases last."),
    ],
};

/// `host.NAME`
pub(super) static HOST: Keys = Keys {
    keys: &[
        key("mac", TEXTS, "\"52:54:00:00:01:10\"", "Its hardware address, or several."),
        key("ip", Text, "\"192.168.1.10\"", "Its reserved address; without it the address follows the lease."),
        key("alias", TEXTS, "[\"cloud\"]", "Further names."),
        key(
            "client-id",
            Text,
            "\"01:52:54:00:00:01:10\"",
            "Its DHCP client identifier: octets `01:52:…`, `hex:…`, or a text.",
        ),
    ],
};

/// `[dns]`
pub(super) static DNS: Keys = Keys {
    keys: &[
        key("upstream", TEXTS, "[\"9.9.9.9\"]", "Servers to ask; the ones the uplink learned without it."),
        key("forward", Map(&TEXTS), "{ \"corp.example\" = \"10.0.0.53\" }", "Domains that other servers answer."),
        key("hosts", TEXTS, "[\"/etc/hosts\"]", "Hosts files, read again when they change."),
        key("record", Map(&RECORD_VALUE), "{ \"grafana\" = \"web1\" }", "Own records."),
        later("blocklist", TEXTS, "Names that are refused."),
        later("allowlist", TEXTS, "Names that are never refused."),
        key("rebind-protection", Boolean, "true", "Drop private addresses in answers from upstream."),
        only_false("dnssec", "Validate answers (only `false` yet)."),
        key("cache", Table(&CACHE), "{ size = 100000, stale = \"1d\" }", "The cache."),
    ],
};

/// `dns.cache`
pub(super) static CACHE: Keys = Keys {
    keys: &[
        key("size", Number(0, 10_000_000), "100000", "Entries kept."),
        key("stale", Text, "\"1d\"", "How long an expired answer may still serve while upstreams fail; `0s` is never."),
    ],
};

const RECORD_VALUE: Shape = Any(&[TEXTS, Table(&RECORD)]);

/// A table under `dns.record`
pub(super) static RECORD: Keys = Keys {
    keys: &[
        key("txt", TEXTS, "\"v=spf1 -all\"", "A TXT record, of one string or several."),
        key("srv", Table(&SRV), "{ target = \"nas\", port = 389 }", "An SRV record."),
        key("mx", Table(&MX), "{ exchange = \"mail\" }", "An MX record."),
    ],
};

/// `srv` of a record
pub(super) static SRV: Keys = Keys {
    keys: &[
        key("target", Text, "\"nas\"", "The host that serves."),
        key("port", Number(1, 65535), "389", "Its port."),
        key("priority", Number(0, 65535), "0", "Lower is asked first."),
        key("weight", Number(0, 65535), "0", "Share among equal priorities."),
    ],
};

/// `mx` of a record
pub(super) static MX: Keys = Keys {
    keys: &[
        key("exchange", Text, "\"mail\"", "The mail exchanger."),
        key("preference", Number(0, 65535), "10", "Lower is asked first."),
    ],
};

/// `[firewall]`
pub(super) static FIREWALL: Keys = Keys {
    keys: &[
        key("allow", List(&Table(&RULE)), "[{ from = \"lan\", to = \"iot\" }]", "What may pass."),
        key(
            "deny",
            List(&Table(&RULE)),
            "[{ from = \"lan\", to = \"iot\" }]",
            "What may not, although a rule allows it.",
        ),
        key(
            "expect",
            List(&Table(&EXPECT)),
            "[{ from = \"iot\", to = \"nas:443\", result = \"deny\" }]",
            "What must hold: tests of the policy.",
        ),
    ],
};

/// An expectation
pub(super) static EXPECT: Keys = Keys {
    keys: &[
        key("from", TEXTS, "\"iot\"", "Who opens the connection; every address of it is meant."),
        key("to", TEXTS, "\"nas:443\"", "To whom, with a TCP port where one is meant."),
        key("port", TEXTS, "\"udp/53\"", "Which ports; everything without it."),
        key("result", Choice(RESULTS), "\"deny\"", "Whether all of it must be allowed, or none."),
    ],
};

/// Values of `result`.
pub(super) const RESULTS: &[&str] = &["allow", "deny"];

/// A rule
pub(super) static RULE: Keys = Keys {
    keys: &[
        key("from", TEXTS, "\"lan\"", "Who opens the connection; a name with a dot is an outside DNS name."),
        key("to", TEXTS, "\"nas\"", "To whom; a name with a dot is an outside DNS name."),
        key("port", TEXTS, "\"tcp/443\"", "Which ports; everything without it."),
        key("except", TEXTS, "\"tcp/22\"", "Ports taken out of the rule."),
        key("name", Text, "\"web\"", "A name for logs and counters."),
        later("log", ANYTHING, "Log what the rule decides."),
        later("limit", ANYTHING, "Limit the rate."),
    ],
};

const FORWARD_TARGET: Shape = Any(&[Text, Table(&FORWARD)]);

/// A table under `port-forward`
pub(super) static FORWARD: Keys = Keys {
    keys: &[
        key("to", Text, "\"nas:8443\"", "The host, and its port where that differs."),
        key("from", TEXTS, "[\"198.51.100.0/24\"]", "Who may use it from outside; everyone without it."),
        key("name", Text, "\"web\"", "A name for logs and counters."),
    ],
};

/// `[log]`
pub(super) static LOG: Keys = Keys { keys: &[key("level", Choice(LOG_LEVELS), "\"info\"", "How much is logged.")] };

/// Values of `log.level`.
pub(super) const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug"];
