//! Problems of networks, the uplink and DHCP.

use super::Slug;

pub(super) const SLUGS: &[Slug] = &[
    Slug {
        name: "no-network",
        text: "The file has no network, so there is nothing to route. A router needs one network at least, with the interface and its own address there. \
               The smallest file has five lines.",
        wrong: "# nothing else",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"",
    },
    Slug {
        name: "no-admin",
        text: "No network may reach SSH on the router, so nobody could ever repair a mistake from outside the box. A file with one network makes that network admin by itself. \
               With several, write `admin = true` in the one you sit in.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\n\n[network.iot]\ninterface = \"eth1.20\"\naddress   = \"192.168.20.1/24\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\nadmin     = true\n\n[network.iot]\ninterface = \"eth1.20\"\naddress   = \"192.168.20.1/24\"",
    },
    Slug {
        name: "bad-interface",
        text: "The text cannot be the name of a network interface. The kernel allows 15 characters, and a VLAN is written `eth1.20` with a number from 1 to 4094. \
               `ip link` shows the names this machine has.",
        wrong: "[network.lan]\ninterface = \"eth1.5000\"\naddress   = \"192.168.1.1/24\"",
        right: "[network.lan]\ninterface = \"eth1.50\"\naddress   = \"192.168.1.1/24\"",
    },
    Slug {
        name: "interface-twice",
        text: "One interface is given to two networks, or to a network and the uplink. A packet would then belong to both, and the firewall could not tell them apart. \
               A VLAN such as `eth1.20` makes several networks of one port.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\nadmin     = true\n\n[network.iot]\ninterface = \"eth1\"\naddress   = \"192.168.20.1/24\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\nadmin     = true\n\n[network.iot]\ninterface = \"eth1.20\"\naddress   = \"192.168.20.1/24\"",
    },
    Slug {
        name: "bad-address",
        text: "The text is no address of the kind the key takes. A router's own address has a prefix length, as in 192.168.1.1/24; a host's address has none; a range in a rule has no host bits. \
               Loopback, multicast and reserved addresses are for no host.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"",
    },
    Slug {
        name: "network-size",
        text: "The prefix length leaves no room for hosts beside the router. A network has a length from /1 to /30, and a /24 holds 254 hosts. \
               Most home networks are a /24.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/32\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"",
    },
    Slug {
        name: "network-address",
        text: "The router cannot have the first or the last address of a network: they mean the network itself and everybody in it. The key wants the router's own address there. \
               The first address after the network's is usual.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.0/24\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"",
    },
    Slug {
        name: "overlapping-networks",
        text: "Two networks share addresses. The kernel would send packets for the shared part to only one of them. \
               Give each network a range of its own.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\nadmin     = true\n\n[network.iot]\ninterface = \"eth2\"\naddress   = \"192.168.1.129/25\"",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\nadmin     = true\n\n[network.iot]\ninterface = \"eth2\"\naddress   = \"192.168.2.1/24\"",
    },
    Slug {
        name: "wan-gateway",
        text: "A fixed address on the uplink needs the address of the provider's router, which lies in the same network. With `system` or `dhcp` the router is learned, and the key has no place. \
               The provider's letter names both.",
        wrong: "[wan]\ninterface = \"eth0\"\naddress   = \"203.0.113.5/24\"",
        right: "[wan]\ninterface = \"eth0\"\naddress   = \"203.0.113.5/24\"\ngateway   = \"203.0.113.1\"",
    },
    Slug {
        name: "local-domain",
        text: "Names in `.local` belong to multicast DNS (RFC 6762). Many clients never ask a DNS server for them, so they would find nobody. \
               `home.arpa` is made for home networks (RFC 8375).",
        wrong: "[gateway]\ndomain = \"house.local\"",
        right: "[gateway]\ndomain = \"home.arpa\"",
    },
    Slug {
        name: "pool-reversed",
        text: "The range ends before it starts. Write the lower address first. \
               Both ends belong to the range.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.1.200-192.168.1.100\" }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.1.100-192.168.1.200\" }",
    },
    Slug {
        name: "pool-outside-network",
        text: "The pool holds addresses that are not in its network. A client with such an address could reach nobody. \
               Take the range from the network's own, or change the network's address.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.2.100-192.168.2.200\" }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.1.100-192.168.1.200\" }",
    },
    Slug {
        name: "pool-contains-edge",
        text: "The pool holds the first or the last address of its network. They mean the network itself and everybody in it, and no client can have them. \
               Start one later, or end one earlier.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.1.100-192.168.1.255\" }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = \"192.168.1.100-192.168.1.254\" }",
    },
    Slug {
        name: "pool-contains-router",
        text: "The pool holds the router's own address, which would one day be given to a client. The default pool steps around it, but a pool in the file is taken at its word. \
               Write a list of two ranges that leave it out.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.150/24\"\ndhcp      = { pool = \"192.168.1.100-192.168.1.200\" }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.150/24\"\ndhcp      = { pool = [\"192.168.1.100-192.168.1.149\", \"192.168.1.151-192.168.1.200\"] }",
    },
    Slug {
        name: "pool-overlap",
        text: "Two pools of one network share addresses. The pool for made-up MACs is kept apart from the ordinary one, so they may not share any either. \
               Make them one range, or keep them apart.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = [\"192.168.1.100-192.168.1.150\", \"192.168.1.150-192.168.1.200\"] }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { pool = [\"192.168.1.100-192.168.1.149\", \"192.168.1.160-192.168.1.200\"] }",
    },
    Slug {
        name: "unknown-option",
        text: "No DHCP option has this name. The names are those of the IANA registry in lower case with hyphens, such as `ntp-servers`. \
               Any option can also be given by its number, from 1 to 254.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { options = { ntp-server = \"192.168.1.5\" } }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { options = { ntp-servers = \"192.168.1.5\" } }",
    },
    Slug {
        name: "option-owned",
        text: "The server fills this option itself, or only clients send it. A second source for it would break the protocol. \
               The hint says which key has the effect you want.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { options = { lease-time = \"1h\" } }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { lease-time = \"1h\" }",
    },
    Slug {
        name: "bad-option",
        text: "The value does not fit the option. Each known option has a type, and raw octets are written `hex:` and pairs of hexadecimal digits. \
               A route is written `10.0.0.0/8 via 192.168.1.2`.",
        wrong: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { options = { classless-static-routes = \"10.0.0.0/8\" } }",
        right: "[network.lan]\ninterface = \"eth1\"\naddress   = \"192.168.1.1/24\"\ndhcp      = { options = { classless-static-routes = \"10.0.0.0/8 via 192.168.1.2\" } }",
    },
];
