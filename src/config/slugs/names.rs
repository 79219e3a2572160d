//! Problems of hosts, groups and DNS.

use super::Slug;

pub(super) const SLUGS: &[Slug] = &[
    Slug {
        name: "bad-name",
        text: "The text cannot be a name of this kind. Hosts and networks have names of letters, digits and inner hyphens, at most 63 of them, because they become DNS names. \
               The hint offers one that would do.",
        wrong: "[host]\nliving_room = { mac = \"52:54:00:00:01:10\" }",
        right: "[host]\nliving-room = { mac = \"52:54:00:00:01:10\" }",
    },
    Slug {
        name: "reserved-name",
        text: "The name has a meaning of its own. In rules `internet` is what lies beyond the uplink and `router` is this machine, and `localhost` is every machine itself. \
               Choose another name.",
        wrong: "[host]\nrouter = { mac = \"52:54:00:00:01:10\" }",
        right: "[host]\nold-router = { mac = \"52:54:00:00:01:10\" }",
    },
    Slug {
        name: "name-collision",
        text: "Two things have one name. Networks, hosts and groups share their names, because rules mention them side by side. \
               Rename one of them.",
        wrong: "[host]\niot = { mac = \"52:54:00:00:01:10\" }",
        right: "[host]\niot-hub = { mac = \"52:54:00:00:01:10\" }",
    },
    Slug {
        name: "duplicate-name",
        text: "One DNS name is given twice, by hosts, aliases, records or the router itself. Only one answer could be right. \
               Names without a dot and the same names in the local domain are one.",
        wrong: "[host]\nnas   = { mac = \"52:54:00:00:01:10\", alias = \"cloud\" }\ncloud = { mac = \"52:54:00:00:01:11\" }",
        right: "[host]\nnas   = { mac = \"52:54:00:00:01:10\", alias = \"files\" }\ncloud = { mac = \"52:54:00:00:01:11\" }",
    },
    Slug {
        name: "unknown-name",
        text: "Nothing in the file has this name. Rules, groups and forwards know the names of networks, hosts and groups, and the words `internet` and `router`. \
               The hint offers the nearest one.",
        wrong: "[firewall]\nallow = [{ from = \"iot\", to = \"nsa\" }]",
        right: "[firewall]\nallow = [{ from = \"iot\", to = \"nas\" }]",
    },
    Slug {
        name: "host-without-identity",
        text: "Nothing tells which device the host is. A MAC address or a client identifier recognises it when it asks for an address; an address alone is enough for a device that is set by hand. \
               Give one of them.",
        wrong: "[host]\nnas = { alias = \"cloud\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\", alias = \"cloud\" }",
    },
    Slug {
        name: "bad-mac",
        text: "The text is no hardware address. It is six pairs of hexadecimal digits with colons or dashes between them. \
               The label of the device has it, and so has `ip neigh` once the device is on.",
        wrong: "[host]\nnas = { mac = \"5254.0000.0110\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\" }",
    },
    Slug {
        name: "multicast-mac",
        text: "The hardware address is that of a group of devices: the lowest bit of its first octet is set. No device sends from such an address, so no device could ever be this host. \
               Look at the device again.",
        wrong: "[host]\nnas = { mac = \"01:00:5e:00:00:01\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\" }",
    },
    Slug {
        name: "bad-client-id",
        text: "The text is no client identifier. It is written as octets with colons, as `hex:` and pairs of hexadecimal digits, or as a text of its own. \
               It has 1 to 255 octets.",
        wrong: "[host]\nvm = { client-id = \"hex:015\" }",
        right: "[host]\nvm = { client-id = \"01:52:54:00:00:01:10\" }",
    },
    Slug {
        name: "duplicate-address",
        text: "Two hosts have the same reserved address. Whichever asked first would have it, and the other one would get none. \
               Give each host an address of its own.",
        wrong: "[host]\nnas     = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\nprinter = { mac = \"52:54:00:00:01:11\", ip = \"192.168.1.10\" }",
        right: "[host]\nnas     = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\nprinter = { mac = \"52:54:00:00:01:11\", ip = \"192.168.1.11\" }",
    },
    Slug {
        name: "duplicate-mac",
        text: "Two hosts have the same hardware address, so nothing tells them apart. One device is one host. \
               Further names for it stand in `alias`.",
        wrong: "[host]\nnas   = { mac = \"52:54:00:00:01:10\" }\ncloud = { mac = \"52:54:00:00:01:10\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\", alias = \"cloud\" }",
    },
    Slug {
        name: "duplicate-client-id",
        text: "Two hosts have the same client identifier, so nothing tells them apart. Cloned virtual machines often share one until it is made anew. \
               Give each host its own, or know them by their MAC.",
        wrong: "[host]\nvm1 = { client-id = \"machine\" }\nvm2 = { client-id = \"machine\" }",
        right: "[host]\nvm1 = { client-id = \"machine-1\" }\nvm2 = { client-id = \"machine-2\" }",
    },
    Slug {
        name: "outside-every-network",
        text: "The reserved address lies in no network of the file. The host could never use it here. \
               Take an address from one of the networks, which the hint lists.",
        wrong: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.99.10\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }",
    },
    Slug {
        name: "reserved-address",
        text: "The address is the router's own, or the first or last of its network. None of them can belong to a host. \
               Choose another one.",
        wrong: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.1\" }",
        right: "[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }",
    },
    Slug {
        name: "group-member",
        text: "A group holds hosts, networks, addresses and outside names, and no other groups. That keeps every rule readable in one step. \
               Name the members themselves, or name both groups in the rule.",
        wrong: "[group]\nmedia = [\"nas\"]\nall   = [\"media\", \"printer\"]",
        right: "[group]\nmedia = [\"nas\"]\nall   = [\"nas\", \"printer\"]",
    },
    Slug {
        name: "wildcard-name",
        text: "A rule names every name below a domain at once. A rule follows the addresses of the names it mentions, and nobody can list all names of somebody else's domain. \
               Name each of them, or an address range.",
        wrong: "[firewall]\ndeny = [{ from = \"iot\", to = \"*.example.net\", port = \"https\" }]",
        right: "[firewall]\ndeny = [{ from = \"iot\", to = [\"updates.example.net\", \"time.example.net\"], port = \"https\" }]",
    },
    Slug {
        name: "own-record",
        text: "A rule names a name of the outside that `dns.record` answers here. Clients would go where the record says, and the rule would follow somewhere else. \
               Name in the rule what the record leads to.",
        wrong: "[dns.record]\n\"www.example.net\" = \"nas\"\n\n[firewall]\nallow = [{ from = \"iot\", to = \"www.example.net\", port = \"https\" }]",
        right: "[dns.record]\n\"www.example.net\" = \"nas\"\n\n[firewall]\nallow = [{ from = \"iot\", to = \"nas\", port = \"https\" }]",
    },
    Slug {
        name: "bad-upstream",
        text: "The text is no DNS server that can be asked. A server is an address, with `udp://` or `tcp://` before it and a port after it where they differ from the usual. \
               A name would need a resolver before there is one.",
        wrong: "[dns]\nupstream = [\"dns.example.net\"]",
        right: "[dns]\nupstream = [\"9.9.9.9\", \"tcp://10.0.0.53:5353\"]",
    },
    Slug {
        name: "upstream-is-ourselves",
        text: "The server is this router itself. Every question would come back to where it started. \
               Name a server outside, or take the key out to use the ones the uplink learned.",
        wrong: "[dns]\nupstream = [\"192.168.1.1\"]",
        right: "[dns]\nupstream = [\"9.9.9.9\"]",
    },
    Slug {
        name: "upstream-on-this-machine",
        text: "The server is another resolver on this machine. That works as long as it does not ask labgate in turn, as resolvers that follow /etc/resolv.conf may do. \
               Name the server it would ask, to be sure.",
        wrong: "[dns]\nupstream = [\"127.0.0.1\"]",
        right: "[dns]\nupstream = [\"9.9.9.9\"]",
    },
    Slug {
        name: "forward-own-domain",
        text: "The domain is the local one, which labgate answers itself. Forwarding it would hide the names of all hosts. \
               Forward a domain below it, or choose another `gateway.domain`.",
        wrong: "[dns.forward]\n\"home.arpa\" = \"10.0.0.53\"",
        right: "[dns.forward]\n\"corp.example\" = \"10.0.0.53\"",
    },
    Slug {
        name: "bad-record",
        text: "The record cannot be answered. A name has an alias or other values but not both, a string of a TXT record holds 255 octets, and a table names one of `txt`, `srv` and `mx`. \
               Several values of one name are a list.",
        wrong: "[dns.record]\n\"www\" = [\"nas\", \"www.example.net\"]",
        right: "[dns.record]\n\"www\" = [\"nas\", \"192.168.1.20\"]",
    },
];
