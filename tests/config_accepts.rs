//! Right files, and the effect of each key on the [`Config`].

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use labgate::config::*;
use labgate::model::DomainName;

const LAN: &str = "[wan]\ninterface = \"eth0\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";

fn source(text: &str) -> Source {
    Source { name: "labgate.toml".to_owned(), text: text.into() }
}

#[track_caller]
fn read(text: &str) -> Config {
    let checked = check(&[source(text)]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

/// The smallest file and what the test adds.
#[track_caller]
fn lan(more: &str) -> Config {
    read(&format!("{LAN}{more}"))
}

/// `[network.lan]` with a DHCP table.
#[track_caller]
fn scope(dhcp: &str) -> Scope {
    lan(&format!("[network.lan.dhcp]\n{dhcp}")).networks[0].dhcp.clone().expect("a scope")
}

fn name(text: &str) -> DomainName {
    DomainName::parse(text).expect("a name")
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn pool(first: &str, last: &str) -> std::ops::RangeInclusive<Ipv4Addr> {
    ip(first)..=ip(last)
}

fn port(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

#[test]
fn the_five_lines_have_every_default() {
    let config = read(include_str!("../config/examples/five-line.toml"));
    assert_eq!((config.gateway.name, config.gateway.domain), (name("gateway"), name("home.arpa")));
    let wan = config.wan.expect("an uplink");
    assert_eq!(
        (&*wan.interface, wan.address, wan.place.to_string()),
        ("eth0", WanAddress::System, "labgate.toml:1".into())
    );
    let [lan] = config.networks.as_slice() else { panic!("one network") };
    assert_eq!((&*lan.name, lan.interface.clone()), ("lan", NetworkInterface::Plain("eth1".into())));
    assert!(lan.admin && lan.internet);
    assert_eq!((lan.domain.clone(), lan.place.line), (name("home.arpa"), 3));
    let scope = lan.dhcp.as_ref().expect("a scope");
    assert_eq!(scope.pools, [pool("192.168.1.100", "192.168.1.249")]);
    assert_eq!((scope.lease_time, scope.known_only), (Duration::from_secs(43_200), false));
    assert_eq!((scope.options.len(), &scope.boot, &scope.private_mac), (0, &None, &None));
    let dns = config.dns;
    assert!(dns.upstreams.is_empty() && dns.forward.is_empty() && dns.hosts_files.is_empty() && dns.records.is_empty());
    assert!(dns.rebind_protection);
    assert_eq!((dns.cache_size, dns.cache_stale), (100_000, Duration::from_secs(86_400)));
    assert_eq!((config.firewall, config.forwards.len(), config.log.level.as_str()), (Firewall::default(), 0, "info"));
}

#[test]
fn the_home_lab() {
    let config = read(include_str!("../config/examples/home.toml"));
    let admins: Vec<bool> = config.networks.iter().map(|network| network.admin).collect();
    assert_eq!(admins, [true, false, false, false]);
    assert!(!config.networks[3].internet);
    let vlan = NetworkInterface::Vlan { name: "eth1.20".into(), parent: "eth1".into(), id: 20 };
    assert_eq!(config.networks[1].interface, vlan);
    let nas = &config.hosts[0];
    assert_eq!(
        (nas.network, nas.ip, nas.aliases.as_slice()),
        (Some(0), Some(ip("192.168.1.10")), [name("cloud")].as_slice())
    );
    assert_eq!(config.hosts[3].network, Some(3));
    let [first, second] = config.firewall.allow.as_slice() else { panic!("two rules") };
    assert_eq!(
        (first.from.as_slice(), first.to.as_slice()),
        ([Endpoint::Network(0)].as_slice(), [Endpoint::Network(1), Endpoint::Network(2)].as_slice())
    );
    assert_eq!((second.services.as_slice(), second.place.line), ([Service::Tcp(port(5432, 5432))].as_slice(), 34));
    let forward = &config.forwards[0];
    assert_eq!((forward.host, forward.ports, forward.target_port, forward.place.line), (0, port(443, 443), None, 38));
    assert_eq!(forward.transports, [Transport::Tcp]);
}

#[test]
fn gateway_and_uplink() {
    let config = lan("[gateway]\nname = \"Router-1\"\ndomain = \"lab.example\"\n");
    assert_eq!((config.gateway.name, config.gateway.domain), (name("router-1"), name("lab.example")));
    assert_eq!(config.networks[0].domain, name("lab.example"));
    let wan = |text: &str| {
        let network = "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";
        read(&format!("{network}[wan]\ninterface = \"eth0\"\n{text}")).wan.expect("an uplink").address
    };
    assert_eq!(wan("address = \"system\""), WanAddress::System);
    assert_eq!(wan("address = \"dhcp\""), WanAddress::Dhcp);
    let fixed = WanAddress::Static { address: "203.0.113.5/24".parse().unwrap(), gateway: ip("203.0.113.1") };
    assert_eq!(wan("address = \"203.0.113.5/24\"\ngateway = \"203.0.113.1\""), fixed);
    assert_eq!(read("[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"").wan, None);
}

#[test]
fn networks() {
    let config = read(
        "[network.LAN]\ninterface = [\"eth1\", \"eth2.7\"]\naddress = \"10.0.0.1/16\"\ndhcp = false\ninternet = false\n\
         admin = true\ndomain = \"lan.example\"\nrelayed = false\n[network.averylongnameindeed]\ninterface = [\"eth3\"]\naddress = \"10.1.0.1/30\"",
    );
    let network = &config.networks[0];
    let bridge = NetworkInterface::Bridge { name: "br-lan".into(), members: vec!["eth1".into(), "eth2.7".into()] };
    assert_eq!((&*network.name, &network.interface, network.link().as_ref()), ("lan", &bridge, "br-lan"));
    assert_eq!((&network.dhcp, network.internet, network.admin), (&None, false, true));
    assert_eq!((network.domain.clone(), network.router()), (name("lan.example"), ip("10.0.0.1")));
    let other = &config.networks[1];
    assert_eq!(other.link().as_ref(), "br-averylongnam");
    assert_eq!(other.dhcp.as_ref().unwrap().pools, [pool("10.1.0.2", "10.1.0.2")]);
}

#[test]
fn scopes() {
    let scope_of = scope(
        "pool = [\"192.168.1.50-192.168.1.60\", \"192.168.1.70\"]\nlease-time = \"1h30m\"\nknown-only = true\n\
         boot = { server = \"192.168.1.5\", file = \"pxe.0\" }\nprivate-mac = { pool = \"192.168.1.80-192.168.1.90\", lease-time = \"10m\" }",
    );
    assert_eq!(scope_of.pools, [pool("192.168.1.50", "192.168.1.60"), pool("192.168.1.70", "192.168.1.70")]);
    assert_eq!((scope_of.lease_time, scope_of.known_only), (Duration::from_secs(5400), true));
    assert_eq!(scope_of.boot, Some(Boot { server: Some(ip("192.168.1.5")), file: "pxe.0".to_owned() }));
    let private =
        PrivateMac { pools: vec![pool("192.168.1.80", "192.168.1.90")], lease_time: Duration::from_secs(600) };
    assert_eq!(scope_of.private_mac, Some(private));
    let around = scope("private-mac = { pool = \"192.168.1.150-192.168.1.160\" }");
    assert_eq!(around.pools, [pool("192.168.1.100", "192.168.1.149"), pool("192.168.1.161", "192.168.1.249")]);
    assert_eq!(around.private_mac.unwrap().lease_time, Duration::from_secs(3600));
    let inside = read("[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.200/24\"");
    let pools = &inside.networks[0].dhcp.as_ref().unwrap().pools;
    assert_eq!(*pools, [pool("192.168.1.100", "192.168.1.199"), pool("192.168.1.201", "192.168.1.249")]);
}

#[test]
fn options_as_octets() {
    for (option, code, octets) in [
        ("subnet-mask = \"255.255.255.0\"", 1, vec![255, 255, 255, 0]),
        ("time-offset = -3600", 2, vec![0xff, 0xff, 0xf1, 0xf0]),
        ("routers = \"192.168.1.2\"", 3, vec![192, 168, 1, 2]),
        ("router = [\"10.0.0.1\", \"10.0.0.2\"]", 3, vec![10, 0, 0, 1, 10, 0, 0, 2]),
        ("domain-name-servers = \"9.9.9.9\"", 6, vec![9, 9, 9, 9]),
        ("host-name = \"box\"", 12, b"box".to_vec()),
        ("domain-name = \"lab.example\"", 15, b"lab.example".to_vec()),
        ("ip-forwarding = true", 19, vec![1]),
        ("policy-filter = \"10.0.0.0 255.0.0.0\"", 21, vec![10, 0, 0, 0, 255, 0, 0, 0]),
        ("default-ip-ttl = 64", 23, vec![64]),
        ("path-mtu-plateau-table = [68, 1500]", 25, vec![0, 68, 5, 220]),
        ("interface-mtu = 1400", 26, vec![5, 120]),
        ("26 = 1400", 26, vec![5, 120]),
        ("broadcast-address = \"192.168.1.255\"", 28, vec![192, 168, 1, 255]),
        ("ntp-servers = [\"10.0.0.5\"]", 42, vec![10, 0, 0, 5]),
        ("vendor-specific = \"hex:01:04:c0a8 0101\"", 43, vec![1, 4, 192, 168, 1, 1]),
        ("43 = [1, 2, 255]", 43, vec![1, 2, 255]),
        ("renewal-time = \"1h\"", 58, vec![0, 0, 14, 16]),
        ("rebinding-time = 90", 59, vec![0, 0, 0, 90]),
        ("tftp-server-name = \"nas\"", 66, b"nas".to_vec()),
        ("bootfile-name = \"pxe.0\"", 67, b"pxe.0".to_vec()),
        ("81 = \"hex:03\"", 81, vec![3]),
        ("ipv6-only-preferred = \"30m\"", 108, vec![0, 0, 7, 8]),
        ("captive-portal = \"https://p\"", 114, b"https://p".to_vec()),
        ("domain-search = [\"a.bc\", \"d\"]", 119, vec![1, b'a', 2, b'b', b'c', 0, 1, b'd', 0]),
        (
            "classless-static-route = [\"10.8.0.0/13 via 192.168.1.2\", \"default via 192.168.1.1\"]",
            121,
            vec![13, 10, 8, 192, 168, 1, 2, 0, 192, 168, 1, 1],
        ),
        ("252 = \"http://wpad/wpad.dat\"", 252, b"http://wpad/wpad.dat".to_vec()),
        ("224 = 7", 224, vec![7]),
        ("224 = 700", 224, vec![2, 188]),
        ("224 = 70000", 224, vec![0, 1, 17, 112]),
        ("224 = true", 224, vec![1]),
        ("224 = \"10.0.0.1\"", 224, vec![10, 0, 0, 1]),
        ("224 = \"text:10.0.0.1\"", 224, b"10.0.0.1".to_vec()),
        ("224 = [\"10.0.0.1\", 5]", 224, vec![10, 0, 0, 1, 5]),
        ("interface-mtu = \"hex:0578\"", 26, vec![5, 120]),
    ] {
        assert_eq!(scope(&format!("options = {{ {option} }}")).options, [(code, octets)], "{option}");
    }
    let several = scope("options = { ntp-servers = \"10.0.0.5\", 6 = \"10.0.0.6\" }").options;
    assert_eq!(several.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [6, 42]);
}

#[test]
fn hosts_and_groups() {
    let config = lan(
        "[host]\nNAS = { mac = [\"52:54:00:00:01:10\", \"52-54-00-00-01-11\"], alias = [\"cloud\", \"files.example.net\"] }\n\
         vm = { client-id = \"01:02:0A\" }\nhexed = { client-id = \"hex:ff00\" }\nworded = { client-id = \"my box\", ip = \"192.168.1.20\" }\n\
         [group]\nall = [\"nas\", \"LAN\", \"198.51.100.0/24\", \"fd00::/8\"]\none = \"vm\"",
    );
    let nas = &config.hosts[0];
    assert_eq!((&*nas.name, nas.macs.len(), nas.ip, nas.network), ("nas", 2, None, None));
    assert_eq!(nas.aliases, [name("cloud"), name("files.example.net")]);
    let ids: Vec<_> = config.hosts[1..].iter().map(|host| host.client_id.clone().unwrap()).collect();
    assert_eq!(ids, [vec![1, 2, 10], vec![255, 0], b"my box".to_vec()]);
    let cidr = |text: &str| Endpoint::Cidr(text.parse().unwrap());
    let all = [Endpoint::Host(0), Endpoint::Network(0), cidr("198.51.100.0/24"), cidr("fd00::/8")];
    assert_eq!(
        (config.groups[0].members.as_slice(), config.groups[1].members.as_slice()),
        (all.as_slice(), [Endpoint::Host(1)].as_slice())
    );
}

#[test]
fn outside_names_are_one_each_wherever_they_stand() {
    let config = lan("[group]\nupdates = [\"b.example.net\", \"198.51.100.0/24\"]\n[firewall]\n\
         allow = [{ from = \"lan\", to = [\"A.example.NET.\", \"b.example.net\"], port = \"https\" }]\n\
         deny = [{ from = \"a.example.net\", to = \"updates\" }]");
    let known: Vec<_> =
        config.outside_names.iter().map(|outside| (outside.name.as_str(), outside.place.line)).collect();
    assert_eq!(known, [("b.example.net", 7), ("a.example.net", 9)]);
    assert_eq!(config.groups[0].members[0], Endpoint::Name(0));
    assert_eq!(config.firewall.allow[0].to, [Endpoint::Name(1), Endpoint::Name(0)]);
    assert_eq!(config.firewall.deny[0].from, [Endpoint::Name(1)]);
}

#[test]
fn dns() {
    let dns = lan(
        "[host]\nnas = { ip = \"192.168.1.10\", alias = \"cloud\" }\n[dns]\n\
         upstream = [\"9.9.9.9\", \"tcp://1.1.1.1\", \"udp://10.0.0.53:5353\", \"2620:fe::fe\", \"tcp://[2620:fe::9]:53\"]\n\
         forward = { \"corp.example\" = \"10.0.0.53\", \"10.in-addr.arpa\" = [\"10.0.0.53\", \"tcp://10.0.0.54\"] }\n\
         hosts = \"/etc/hosts\"\nrebind-protection = false\ndnssec = false\ncache = { size = 5, stale = \"0s\" }\n\
         [dns.record]\ngrafana = \"NAS\"\n\"www.home.arpa\" = [\"192.168.1.40\", \"fd00::40\"]\n\"*.apps\" = \"cloud\"\n\
         search = \"www.example.net\"\nself = \"gateway\"\nabout = { txt = [\"a\", \"b\"] }\n\
         \"_ldap._tcp\" = { srv = { target = \"nas\", port = 389 } }\n\"mail.example.org\" = { mx = { exchange = \"nas\" } }\nnas = { txt = \"box\" }",
    )
    .dns;
    let plain = |transport, server: &str| Upstream { transport, server: server.parse::<SocketAddr>().unwrap() };
    use Transport::{Tcp, Udp};
    let upstreams = [
        (Udp, "9.9.9.9:53"),
        (Tcp, "1.1.1.1:53"),
        (Udp, "10.0.0.53:5353"),
        (Udp, "[2620:fe::fe]:53"),
        (Tcp, "[2620:fe::9]:53"),
    ];
    assert_eq!(dns.upstreams, upstreams.map(|(transport, server)| plain(transport, server)));
    assert_eq!(dns.forward[0], (name("corp.example"), vec![plain(Udp, "10.0.0.53:53")]));
    assert_eq!(dns.forward[1].1, [plain(Udp, "10.0.0.53:53"), plain(Tcp, "10.0.0.54:53")]);
    assert_eq!(dns.hosts_files, [std::path::PathBuf::from("/etc/hosts")]);
    assert_eq!((dns.rebind_protection, dns.cache_size, dns.cache_stale), (false, 5, Duration::ZERO));
    let records: Vec<(String, RecordData)> =
        dns.records.into_iter().map(|record| (record.name.to_string(), record.data)).collect();
    let expected = [
        ("grafana.home.arpa", RecordData::Host(0)),
        ("www.home.arpa", RecordData::Address("192.168.1.40".parse().unwrap())),
        ("www.home.arpa", RecordData::Address("fd00::40".parse().unwrap())),
        ("*.apps.home.arpa", RecordData::Host(0)),
        ("search.home.arpa", RecordData::Alias(name("www.example.net"))),
        ("self.home.arpa", RecordData::Alias(name("gateway.home.arpa"))),
        ("about.home.arpa", RecordData::Txt(vec!["a".into(), "b".into()])),
        ("_ldap._tcp.home.arpa", RecordData::Srv { priority: 0, weight: 0, port: 389, target: name("nas.home.arpa") }),
        ("mail.example.org", RecordData::Mx { preference: 10, exchange: name("nas.home.arpa") }),
        ("nas.home.arpa", RecordData::Txt(vec!["box".into()])),
    ];
    assert_eq!(records, expected.map(|(name, data)| (name.to_owned(), data)));
}

#[test]
fn rules_and_forwards() {
    let config = lan("[host]\nnas = { ip = \"192.168.1.10\" }\n[group]\nmedia = \"nas\"\n[firewall]\nallow = [\n\
         { from = \"internet\", to = \"router\", port = [\"udp/1000-2000\", \"tcp\", \"icmp\", \"dns\", \"tcp+udp/7\"] },\n\
         { from = [\"media\", \"198.51.100.7\"], to = \"nas\", except = \"ssh\", name = \"all but ssh\" } ]\n\
         deny = [{ from = \"lan\", to = \"internet\", port = \"smtp\" }]\n[port-forward]\n\"tcp/8080\" = \"nas:80\"\n\
         \"udp/27000-27100\" = \"nas\"\n\"tcp+udp/6881\" = { to = \"NAS:6881\", from = [\"198.51.100.0/24\", \"203.0.113.9\"], name = \"torrent\" }\n[log]\nlevel = \"debug\"");
    let [first, second] = config.firewall.allow.as_slice() else { panic!("two rules") };
    assert_eq!(
        (first.from.as_slice(), first.to.as_slice()),
        ([Endpoint::Internet].as_slice(), [Endpoint::Router].as_slice())
    );
    let one = |number| port(number, number);
    let services = [
        Service::Udp(port(1000, 2000)),
        Service::Tcp(PortRange::ALL),
        Service::Icmp,
        Service::Tcp(one(53)),
        Service::Udp(one(53)),
        Service::Tcp(one(7)),
        Service::Udp(one(7)),
    ];
    assert_eq!(first.services, services);
    assert_eq!(second.from, [Endpoint::Group(0), Endpoint::Cidr("198.51.100.7/32".parse().unwrap())]);
    assert_eq!((second.services.len(), second.except.as_slice()), (0, [Service::Tcp(one(22))].as_slice()));
    assert_eq!((second.name.as_deref(), second.place.line), (Some("all but ssh"), 13));
    assert_eq!(config.firewall.deny[0].services, [Service::Tcp(one(25))]);
    let [web, range, torrent] = config.forwards.as_slice() else { panic!("three forwards") };
    assert_eq!((web.target_port, web.ports), (Some(80), one(8080)));
    assert_eq!(
        (range.ports, range.target_port, range.transports.as_slice()),
        (port(27000, 27100), None, [Transport::Udp].as_slice())
    );
    assert_eq!((torrent.transports.len(), torrent.target_port, torrent.name.as_deref()), (2, None, Some("torrent")));
    assert_eq!(torrent.from, ["198.51.100.0/24".parse().unwrap(), "203.0.113.9/32".parse().unwrap()]);
    assert_eq!(config.log.level, "debug");
}

#[test]
fn fragments_are_merged_by_table() {
    let fragment = |name: &str, text: &str| Source { name: format!("labgate.d/{name}"), text: text.into() };
    let sources = [
        source(LAN),
        fragment("10.toml", "[network.lan]\nadmin = true\n[host]\nnas = { ip = \"192.168.1.10\" }"),
        fragment(
            "20.toml",
            "[network.iot]\ninterface = \"eth2\"\naddress = \"192.168.2.1/24\"\n[host]\ntv = { ip = \"192.168.2.10\" }",
        ),
    ];
    let checked = check(&sources);
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    assert_eq!(config.networks.iter().map(|network| &*network.name).collect::<Vec<_>>(), ["lan", "iot"]);
    assert!(config.networks[0].admin);
    assert_eq!(config.hosts[1].place.to_string(), "20.toml:5");
}

#[test]
fn warnings_do_not_keep_a_file_out() {
    let checked = check(&[source(&format!("{LAN}domain = \"lan.local\""))]);
    assert!(checked.config.is_some());
    assert_eq!((checked.report.errors, checked.report.warnings), (0, 1));
    assert_eq!(checked.report.summary(), "1 warning in labgate.toml");
    assert_eq!(check(&[source(LAN)]).report.summary(), "no problems in labgate.toml");
}

#[test]
fn a_report_is_data_too() {
    let checked = check(&[source(&format!("{LAN}adress = 1"))]);
    let json = serde_json::to_value(&checked.report).expect("JSON");
    assert_eq!(json["errors"], 1);
    let problem = &json["problems"][0];
    assert_eq!((problem["slug"].as_str(), problem["severity"].as_str()), (Some("unknown-key"), Some("error")));
    assert_eq!((problem["place"]["line"].as_u64(), problem["place"]["column"].as_u64()), (Some(6), Some(1)));
    assert_eq!(problem["help"], "did you mean `address`?");
    assert!(checked.report.refusal().ends_with("; nothing was changed, the running configuration stays"));
    assert!(checked.report.render(true).contains("\u{1b}["));
}
