//! Service names: those of the IANA registry, and a few that people say instead, with the transports they really use.

use super::types::{PortRange, Service};

const TCP: u8 = 1;
const UDP: u8 = 2;
const BOTH: u8 = 3;

/// Name, transports, port. Sorted by name.
const SERVICES: &[(&str, u8, u16)] = &[
    ("afpovertcp", TCP, 548),
    ("amqp", TCP, 5672),
    ("amqps", TCP, 5671),
    ("bgp", TCP, 179),
    ("bittorrent", BOTH, 6881),
    ("bootpc", UDP, 68),
    ("bootps", UDP, 67),
    ("coap", UDP, 5683),
    ("cups", TCP, 631),
    ("dhcpv6-client", UDP, 546),
    ("dhcpv6-server", UDP, 547),
    ("dns", BOTH, 53),
    ("docker", TCP, 2375),
    ("docker-s", TCP, 2376),
    ("domain", BOTH, 53),
    ("domain-s", BOTH, 853),
    ("elasticsearch", TCP, 9200),
    ("epmd", TCP, 4369),
    ("etcd-client", TCP, 2379),
    ("etcd-server", TCP, 2380),
    ("finger", TCP, 79),
    ("ftp", TCP, 21),
    ("ftps", TCP, 990),
    ("git", TCP, 9418),
    ("gopher", TCP, 70),
    ("grafana", TCP, 3000),
    ("http", TCP, 80),
    ("http-alt", TCP, 8080),
    ("https", TCP, 443),
    ("https-alt", TCP, 8443),
    ("imap", TCP, 143),
    ("imaps", TCP, 993),
    ("influxdb", TCP, 8086),
    ("iperf3", BOTH, 5201),
    ("ipp", TCP, 631),
    ("ipsec-nat-t", UDP, 4500),
    ("irc", TCP, 6667),
    ("ircs-u", TCP, 6697),
    ("isakmp", UDP, 500),
    ("iscsi-target", TCP, 3260),
    ("jetdirect", TCP, 9100),
    ("kafka", TCP, 9092),
    ("kerberos", BOTH, 88),
    ("kubernetes", TCP, 6443),
    ("l2tp", UDP, 1701),
    ("ldap", BOTH, 389),
    ("ldaps", TCP, 636),
    ("llmnr", BOTH, 5355),
    ("mdns", UDP, 5353),
    ("memcache", BOTH, 11211),
    ("microsoft-ds", TCP, 445),
    ("mongodb", TCP, 27017),
    ("mosh", UDP, 60001),
    ("mqtt", TCP, 1883),
    ("ms-sql-s", TCP, 1433),
    ("ms-wbt-server", BOTH, 3389),
    ("mysql", TCP, 3306),
    ("nats", TCP, 4222),
    ("netbios-dgm", UDP, 138),
    ("netbios-ns", UDP, 137),
    ("netbios-ssn", TCP, 139),
    ("nfs", BOTH, 2049),
    ("nntp", TCP, 119),
    ("ntp", UDP, 123),
    ("openvpn", BOTH, 1194),
    ("oracle", TCP, 1521),
    ("plex", TCP, 32400),
    ("pop3", TCP, 110),
    ("pop3s", TCP, 995),
    ("postgresql", TCP, 5432),
    ("pptp", TCP, 1723),
    ("printer", TCP, 515),
    ("prometheus", TCP, 9090),
    ("radius", UDP, 1812),
    ("radius-acct", UDP, 1813),
    ("rdp", BOTH, 3389),
    ("redis", TCP, 6379),
    ("rfb", TCP, 5900),
    ("rsync", TCP, 873),
    ("rtsp", BOTH, 554),
    ("secure-mqtt", TCP, 8883),
    ("sip", BOTH, 5060),
    ("sips", TCP, 5061),
    ("smb", TCP, 445),
    ("smtp", TCP, 25),
    ("smtps", TCP, 465),
    ("snmp", UDP, 161),
    ("snmptrap", UDP, 162),
    ("socks", TCP, 1080),
    ("squid", TCP, 3128),
    ("ssdp", UDP, 1900),
    ("ssh", TCP, 22),
    ("stun", BOTH, 3478),
    ("stuns", TCP, 5349),
    ("submission", TCP, 587),
    ("submissions", TCP, 465),
    ("sunrpc", BOTH, 111),
    ("svn", TCP, 3690),
    ("syncthing", BOTH, 22000),
    ("syslog", UDP, 514),
    ("syslog-tls", TCP, 6514),
    ("telnet", TCP, 23),
    ("tftp", UDP, 69),
    ("turn", BOTH, 3478),
    ("vnc", TCP, 5900),
    ("whois", TCP, 43),
    ("winrm", TCP, 5985),
    ("wireguard", UDP, 51820),
    ("x11", TCP, 6000),
    ("xmpp-client", TCP, 5222),
    ("xmpp-server", TCP, 5269),
];

/// The ports of a service.
pub(super) fn find(name: &str) -> Option<Vec<Service>> {
    let name = name.to_ascii_lowercase();
    let index = SERVICES.binary_search_by(|(known, ..)| (*known).cmp(&name)).ok()?;
    let (_, transports, port) = SERVICES[index];
    let range = PortRange { first: port, last: port };
    let mut services = Vec::new();
    if transports & TCP != 0 {
        services.push(Service::Tcp(range));
    }
    if transports & UDP != 0 {
        services.push(Service::Udp(range));
    }
    Some(services)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(SERVICES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(find("PostgreSQL"), Some(vec![Service::Tcp(PortRange { first: 5432, last: 5432 })]));
        assert_eq!(find("dns").map(|services| services.len()), Some(2));
        assert_eq!(find("nonsense"), None);
    }
}
