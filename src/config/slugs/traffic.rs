//! Problems of rules and port forwards.

use super::Slug;

pub(super) const SLUGS: &[Slug] = &[
    Slug {
        name: "bad-port",
        text: "The text is no protocol with a port. It is written `tcp/443`, `udp/1000-2000` or `tcp+udp/53`, with ports from 1 to 65535 and the lower one first. \
               A rule also takes `tcp`, `udp` and `icmp` alone, and service names.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp/80a0\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp/8080\" }]",
    },
    Slug {
        name: "unknown-service",
        text: "No service has this name. About a hundred common names of the IANA registry are known, such as `https` and `postgresql`. \
               Any other port is written with its protocol, as in `tcp/25565`.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"htpps\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"https\" }]",
    },
    Slug {
        name: "except-without-effect",
        text: "An exception takes nothing out of its rule, or all of it. Most likely a port was mistyped, and the rule does something else than it says. \
               Change the exception, or take it out.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp/80\", except = \"tcp/22\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp\", except = \"tcp/22\" }]",
    },
    Slug {
        name: "literal-address",
        text: "A rule holds an address for which the file has a name. Rules that use the name follow the host when its address changes, and read better. \
               Write the name instead.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"192.168.1.10\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\" }]",
    },
    Slug {
        name: "forward-twice",
        text: "Two forwards take the same outside port. A connection can lead to one host only. \
               Choose another outside port for one of them.",
        wrong: "[port-forward]\n\"tcp/8000-8100\" = \"nas\"\n\"tcp/8080\"      = \"nas\"",
        right: "[port-forward]\n\"tcp/8000-8079\" = \"nas\"\n\"tcp/8080\"      = \"nas\"",
    },
    Slug {
        name: "forward-range-target",
        text: "A range of outside ports cannot lead to one port of the host. A range keeps its ports, so that connections stay apart. \
               Name the host alone, or forward the ports one by one.",
        wrong: "[port-forward]\n\"udp/27000-27100\" = \"nas:27000\"",
        right: "[port-forward]\n\"udp/27000-27100\" = \"nas\"",
    },
    Slug {
        name: "forward-follows-lease",
        text: "The forward leads to a host without a fixed address. It works as long as the host has a lease, and follows it when the address changes. \
               Add `ip` to the host where it must always work.",
        wrong: "[port-forward]\n\"tcp/631\" = \"printer\"",
        right: "[port-forward]\n\"tcp/443\" = \"nas\"",
    },
    Slug {
        name: "forward-without-uplink",
        text: "There are port forwards but no uplink they could come from. Without `[wan]` nothing reaches the router from outside. \
               Add the uplink, or take the forwards out.",
        wrong: "# no uplink\n[port-forward]\n\"tcp/443\" = \"nas\"",
        right: "[wan]\ninterface = \"eth0\"\n\n[port-forward]\n\"tcp/443\" = \"nas\"",
    },
];
