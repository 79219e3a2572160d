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
        name: "expect-port-twice",
        text: "An expectation names its ports in two places. The port behind a name in `to` is a TCP port, and `port` takes every other kind. \
               Keep one of them.",
        wrong: "[firewall]\nexpect = [{ from = \"iot\", to = \"nas:443\", port = \"udp/53\", result = \"deny\" }]",
        right: "[firewall]\nexpect = [{ from = \"iot\", to = \"nas\", port = [\"tcp/443\", \"udp/53\"], result = \"deny\" }]",
    },
    Slug {
        name: "expectation",
        text: "An expectation of the file does not hold: a packet proves it, and the line that decides about that packet is shown. \
               Without a port an expectation is about all ports, and a network or group stands for all its addresses, those of hosts that follow a lease included. \
               Change the rule or the expectation: a file with a broken one is never applied.",
        wrong: "[firewall]\nallow  = [{ from = \"iot\", to = \"nas\", port = \"tcp/443\" }]\nexpect = [{ from = \"iot\", to = \"lan\", result = \"deny\" }]",
        right: "[firewall]\nallow  = [{ from = \"iot\", to = \"nas\", port = \"tcp/443\" }]\nexpect = [{ from = \"iot\", to = \"nas:22\", result = \"deny\" }]",
    },
    Slug {
        name: "rule-shadowed",
        text: "Everything that a rule allows is denied by others. Rules have no order, and a denial beats an allowance wherever it stands. \
               Take one of them out, or make the denial smaller.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp/443\" }]\ndeny  = [{ from = \"iot\", to = \"lan\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"tcp/443\" }]\ndeny  = [{ from = \"iot\", to = \"lan\", port = \"tcp/22\" }]",
    },
    Slug {
        name: "rule-inside-another",
        text: "A rule says nothing that other rules do not say already. It does no harm, but whoever takes the other rule out later will wonder why nothing changes. \
               Take the smaller rule out, or the larger one.",
        wrong: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\" }, { from = \"nas\", to = \"iot\", port = \"tcp/80\" }]",
        right: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\" }]",
    },
    Slug {
        name: "rule-without-effect",
        text: "No packet can ever match a rule. Inside one network nothing is filtered, what the router itself sends is allowed anyway, and a host that can have no address is nowhere. \
               Change its ends, or take it out.",
        wrong: "[firewall]\nallow = [{ from = \"nas\", to = \"lan\" }]",
        right: "[firewall]\nallow = [{ from = \"nas\", to = \"iot\" }]",
    },
    Slug {
        name: "unused-group",
        text: "No rule and no expectation names a group. Most likely a rule was taken out or its name was mistyped. \
               Name the group in a rule, or take it out.",
        wrong: "[group]\nthings = [\"nas\", \"printer\"]",
        right: "[group]\nthings = [\"nas\", \"printer\"]\n[firewall]\nallow = [{ from = \"iot\", to = \"things\" }]",
    },
    Slug {
        name: "unused-host",
        text: "No rule, group or forward names a host. It still has its reservation and its name, so nothing is wrong, and only `labgate check --hints` tells it. \
               Take it out where the device is gone.",
        wrong: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\n[firewall]\nallow = [{ from = \"iot\", to = \"nas\" }]",
    },
    Slug {
        name: "forward-to-nobody",
        text: "A port forward leads to a host that can never have an address. It has no `ip`, and no network hands addresses out by DHCP. \
               Give the host an `ip`.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\ndhcp = false\n[host]\ncam = { mac = \"52:54:00:00:01:12\" }\n[port-forward]\n\"tcp/80\" = \"cam\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\ndhcp = false\n[host]\ncam = { mac = \"52:54:00:00:01:12\", ip = \"192.168.1.12\" }\n[port-forward]\n\"tcp/80\" = \"cam\"",
    },
    Slug {
        name: "forward-denied",
        text: "Everything that a port forward leads to its host from the internet is denied by rules. A denial beats a forward as it beats an allowance. \
               Take one of them out, or make the denial smaller.",
        wrong: "[firewall]\ndeny = [{ from = \"internet\", to = \"nas\" }]\n[port-forward]\n\"tcp/443\" = \"nas\"",
        right: "[firewall]\ndeny = [{ from = \"iot\", to = \"nas\" }]\n[port-forward]\n\"tcp/443\" = \"nas\"",
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
